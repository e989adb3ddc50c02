//! Runs the controllers of the namespaces that are looked after, while this operator leads.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kube::runtime::applier;
use kube::runtime::controller::{Config as ControllerConfig, Error};
use kube::runtime::events::{Recorder, Reporter};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::api_server::ApiServer;
use super::backlog;
use super::context::Context;
use super::definitions;
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
/// How often it is asked which kinds the cluster has, and how they are defined.
const LOOK_FOR_KINDS: Duration = Duration::from_secs(60);
/// The same while ours are not as they should be.
const LOOK_FOR_DEFINITIONS: Duration = Duration::from_secs(5);
/// How soon after a right is missing, or there, every object is looked at.
const LOOK_FOR_RIGHTS: Duration = Duration::from_secs(1);
/// How many times longer than an answer may take a watch is open.
const RENEW_AFTER: u32 = 4;
/// How often the process says that it is alive.
const BEAT: Duration = Duration::from_secs(5);

/// The operator, before it runs.
pub struct Operator {
    /// The API server.
    pub api: ApiServer,
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
        let own = self.api.client().default_namespace().to_owned();
        let namespace = config.lease_namespace.clone().unwrap_or(own);
        let (api, name) = (self.api.clone(), config.lease_name.as_str());
        let mut elector = Elector::new(api, &namespace, name, &config.identity, config.lease);
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
            self.metrics.not_leading();
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
        let client = self.api.client();
        let (gather, renew) = (self.config.status_interval, self.api.patience() * RENEW_AFTER);
        let watches = Watches::start(&client, namespace, gather, renew);
        let (view, queue, ask, _watching) = watches.into_parts();
        let reporter = Reporter {
            controller: FIELD_MANAGER.into(),
            instance: Some(self.config.identity.clone()),
        };
        let context = Arc::new(Context::new(
            self.api.clone(),
            view.clone(),
            namespace.is_none(),
            self.config.image.clone(),
            Recorder::new(client, reporter),
            self.metrics.clone(),
            Arc::new(SystemClock) as Arc<dyn Clock>,
        ));
        let mut beside = JoinSet::new();
        let every = self.config.backlog_interval;
        beside.spawn(backlog::watch(Arc::clone(&context), ask.clone(), every));
        find_definitions(&context).await;
        find_pod_monitors(&context).await;
        beside.spawn(look_for_kinds(Arc::clone(&context), ask.clone()));
        beside.spawn(look_for_rights(Arc::clone(&context), namespace.map(str::to_owned), ask));
        let settings =
            ControllerConfig::default().debounce(DEBOUNCE).concurrency(self.config.concurrency);
        let run = |object, context| Box::pin(reconcile(object, context));
        let metrics = &self.metrics;
        applier(run, after_failure, context, view.processors, asked(queue, turn), settings)
            .for_each(|looked| async move {
                match looked {
                    // Told where it happened.
                    Ok(_) | Err(Error::ReconcilerFailed(..)) => {}
                    Err(Error::ObjectNotFound(gone)) => {
                        metrics.devices(&gone.namespace.unwrap_or_default(), &gone.name, None);
                    }
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
        let outdated = context.definitions().outdated().is_some();
        tokio::time::sleep(if outdated { LOOK_FOR_DEFINITIONS } else { LOOK_FOR_KINDS }).await;
        if find_definitions(&context).await | find_pod_monitors(&context).await {
            ask_for_all(&context, &ask).await;
        }
    }
}

/// Whether it is news what the definitions lack. Everybody may ask for them.
async fn find_definitions(context: &Context) -> bool {
    let Ok(installed) = definitions::installed(&context.client).await else { return false };
    let outdated = installed.outdated();
    context.metrics.definitions_outdated.set(outdated.is_some().into());
    let news = context.set_definitions(installed);
    match outdated {
        Some(sentence) if news => tracing::error!("{sentence}"),
        None if news => tracing::info!("the installed definitions know every field"),
        _ => {}
    }
    news
}

/// Has every object looked at when a right is missing, or there again.
async fn look_for_rights(
    context: Arc<Context>,
    namespace: Option<String>,
    ask: mpsc::Sender<Wanted>,
) {
    let mut known = Vec::new();
    loop {
        tokio::time::sleep(LOOK_FOR_RIGHTS).await;
        let missing = context.api.missing_rights(namespace.as_deref());
        if std::mem::replace(&mut known, missing) != known {
            ask_for_all(&context, &ask).await;
        }
    }
}

async fn ask_for_all(context: &Context, ask: &mpsc::Sender<Wanted>) {
    for object in context.view.processors.state() {
        // The queue is gone when the operator stops.
        let _ = ask.send(Wanted::from_obj(object.as_ref())).await;
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
