//! Runs the controllers of the namespaces that are looked after, while this operator leads.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kube::Client;
use kube::runtime::applier;
use kube::runtime::controller::{Config as ControllerConfig, Error};
use kube::runtime::events::{Recorder, Reporter};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::backlog;
use super::context::Context;
use super::leader::Elector;
use super::metrics::OperatorMetrics;
use super::names::FIELD_MANAGER;
use super::reconcile::{after_failure, reconcile};
use super::view::{Wanted, Watches};
use crate::config::OperatorConfig;
use crate::http::{Condition, Health, Part};
use crate::model::{Clock, SystemClock};

/// Changes that come together are looked at together.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// How long looks that are under way may take at the end.
const LAST_LOOKS: Duration = Duration::from_secs(10);
/// How often it is asked whether the cluster has PodMonitors.
const LOOK_FOR_KINDS: Duration = Duration::from_secs(60);
/// How often the process says that it is alive.
const BEAT: Duration = Duration::from_secs(5);

/// The operator, before it runs.
pub struct Operator {
    /// The API server.
    pub client: Client,
    /// Its settings.
    pub config: OperatorConfig,
    /// Its numbers.
    pub metrics: OperatorMetrics,
    /// Its health.
    pub health: Health,
}

impl Operator {
    /// Leads, or stands by, until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let alive = tokio::spawn(beat(self.health.clone()));
        if self.config.leader_election {
            self.lead_in_turn(&stop).await;
        } else {
            self.health.set(Part::Cluster, Condition::Ready);
            self.work(stop).await;
        }
        alive.abort();
    }

    async fn lead_in_turn(&self, stop: &CancellationToken) {
        let config = &self.config;
        let own = self.client.default_namespace().to_owned();
        let namespace = config.lease_namespace.clone().unwrap_or(own);
        let (client, name) = (self.client.clone(), config.lease_name.as_str());
        let mut elector = Elector::new(client, &namespace, name, &config.identity, config.lease);
        while !stop.is_cancelled() {
            tracing::info!(identity = config.identity, lease = name, "waiting to lead");
            self.health.set(Part::Cluster, Condition::Ready);
            if !elector.win(stop).await {
                return;
            }
            tracing::info!(identity = config.identity, "this operator leads");
            self.metrics.leader.set(1);
            let turn = CancellationToken::new();
            let mut work = std::pin::pin!(self.work(turn.clone()));
            tokio::select! {
                () = &mut work => {}
                () = elector.keep(stop) => {}
            }
            if stop.is_cancelled() {
                // The lead is still ours: what has begun is finished.
                turn.cancel();
                let _ = tokio::time::timeout(LAST_LOOKS, work).await;
                elector.release().await;
            }
            // Otherwise the work ends here and now: another may have begun.
            self.metrics.leader.set(0);
            self.metrics.processors.set(0);
            self.metrics.slices.set(0);
        }
    }

    /// One controller a namespace, or one for all.
    async fn work(&self, turn: CancellationToken) {
        let scopes: Vec<Option<&str>> = match self.config.namespaces.as_slice() {
            [] => vec![None],
            some => some.iter().map(|name| Some(name.as_str())).collect(),
        };
        let all = scopes.into_iter().map(|scope| self.look_after(scope, turn.clone()));
        futures::future::join_all(all).await;
    }

    async fn look_after(&self, namespace: Option<&str>, turn: CancellationToken) {
        let watches = Watches::start(&self.client, namespace, self.config.status_interval);
        let (view, queue, ask, _watching) = watches.into_parts();
        let reporter = Reporter {
            controller: FIELD_MANAGER.into(),
            instance: Some(self.config.identity.clone()),
        };
        let context = Arc::new(Context::new(
            self.client.clone(),
            view.clone(),
            self.config.image.clone(),
            Recorder::new(self.client.clone(), reporter),
            self.metrics.clone(),
            Arc::new(SystemClock) as Arc<dyn Clock>,
        ));
        tokio::select! {
            () = view.ready() => {}
            () = turn.cancelled() => return,
        }
        let mut beside = JoinSet::new();
        let every = self.config.backlog_interval;
        beside.spawn(backlog::watch(Arc::clone(&context), ask.clone(), every));
        find_pod_monitors(&context).await;
        beside.spawn(look_for_kinds(Arc::clone(&context), ask));
        let settings =
            ControllerConfig::default().debounce(DEBOUNCE).concurrency(self.config.concurrency);
        let run = |object, context| Box::pin(reconcile(object, context));
        applier(run, after_failure, context, view.processors, asked(queue, turn), settings)
            .for_each(|looked| async move {
                match looked {
                    // Told where it happened; and objects that are gone.
                    Ok(_) | Err(Error::ReconcilerFailed(..) | Error::ObjectNotFound(_)) => {}
                    Err(error) => tracing::warn!(%error, "the controller stumbled"),
                }
            })
            .await;
    }
}

/// The queue as a stream that ends with the turn.
fn asked(
    queue: mpsc::Receiver<Wanted>,
    turn: CancellationToken,
) -> impl futures::Stream<Item = Result<Wanted, Infallible>> {
    let next = |mut queue: mpsc::Receiver<Wanted>| async {
        queue.recv().await.map(|wanted| (Ok(wanted), queue))
    };
    futures::stream::unfold(queue, next).take_until(turn.cancelled_owned())
}

async fn look_for_kinds(context: Arc<Context>, ask: mpsc::Sender<Wanted>) {
    loop {
        tokio::time::sleep(LOOK_FOR_KINDS).await;
        if find_pod_monitors(&context).await {
            for object in context.view.processors.state() {
                let _ = ask.send(Wanted::from_obj(object.as_ref())).await;
            }
        }
    }
}

/// Whether there is news about PodMonitors. Who may log in may ask which kinds there are.
async fn find_pod_monitors(context: &Context) -> bool {
    let found = context.client.list_api_group_resources("monitoring.coreos.com/v1").await;
    match found {
        Ok(list) => context.set_pod_monitors(list.resources.iter().any(|r| r.kind == "PodMonitor")),
        Err(kube::Error::Api(status)) if status.is_not_found() => context.set_pod_monitors(false),
        Err(_) => false,
    }
}

async fn beat(health: Health) {
    loop {
        health.beat();
        tokio::time::sleep(BEAT).await;
    }
}
