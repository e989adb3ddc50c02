//! The one task that writes the slices of a worker, or of the offline checker. Each write has a
//! time limit; what fails is tried again with the next state that there is, so nothing piles up.

use std::sync::Arc;
use std::time::Duration;

use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use rand::RngExt;
use serde_json::json;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::board::Board;
use super::health::HealthRules;
use super::slices::{Page, Slices};
use crate::config::{StatusConfig, StatusPod};
use crate::http::Health;
use crate::model::Clock;
use crate::operator::crd::{DeviceSlice, GROUP, WorkerReport};
use crate::operator::names::{Component, LABEL_COMPONENT, LABEL_POD, LABEL_PROCESSOR};

/// Who applies slices.
const FIELD_MANAGER: &str = "stream-processor-worker";
/// How often the board is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a write may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest text about the worker itself, in characters.
const MAX_PROBLEM_CHARS: usize = 400;

/// Writes the slices of one worker.
pub struct Publisher {
    api: Api<DeviceSlice>,
    pod: StatusPod,
    interval: Duration,
    board: Arc<Board>,
    slices: Slices,
    clock: Arc<dyn Clock>,
    health: Option<Health>,
    problem: Problem,
    component: Component,
    /// Whether the last write failed: a trouble is told once.
    failing: bool,
}

/// What keeps the worker from its work.
#[derive(Clone, PartialEq, Default)]
struct Problem {
    /// The parts: what makes it news.
    parts: Vec<&'static str>,
    text: String,
}

impl Publisher {
    /// For the worker that `config` names; none outside of Kubernetes. With `health`, what keeps
    /// the worker itself from its work is told as well.
    pub fn new(
        client: Client,
        config: &StatusConfig,
        board: Arc<Board>,
        rules: HealthRules,
        clock: Arc<dyn Clock>,
        health: Option<Health>,
    ) -> Option<Self> {
        let pod = config.pod.clone()?;
        Some(Self {
            api: Api::namespaced(client, &pod.namespace),
            pod,
            interval: config.interval,
            board,
            slices: Slices::new(rules),
            clock,
            health,
            problem: Problem::default(),
            component: Component::Consumer,
            failing: false,
        })
    }

    /// The same for the offline checker, which tells of devices that are offline only.
    pub fn of_silent(
        client: Client,
        config: &StatusConfig,
        board: Arc<Board>,
        rules: HealthRules,
        clock: Arc<dyn Clock>,
    ) -> Option<Self> {
        let worker = Self::new(client, config, board, rules, clock, None)?;
        let slices = Slices::of_silent(rules);
        Some(Self { slices, component: Component::OfflineChecker, ..worker })
    }

    /// Writes until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        // Workers that begin together do not write together.
        let first = self.interval.mul_f64(rand::rng().random_range(0.0..0.5));
        tokio::select! {
            () = stop.cancelled() => return,
            () = self.clock.sleep(first) => {}
        }
        self.remove_leftovers().await;
        while !stop.is_cancelled() {
            self.turn().await;
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.clock.sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Looks once and writes what is due; says how many slices that were.
    pub async fn turn(&mut self) -> usize {
        self.slices.look(self.clock.now(), |see| self.board.each(see));
        let problem = self.health.as_ref().map(problem_of).unwrap_or_default();
        if problem.parts != self.problem.parts {
            self.problem = problem;
            self.slices.touch_first();
        }
        let mut written = 0;
        for page in self.slices.due(self.clock.uptime()) {
            let result = timeout(PATIENCE, self.write(&page)).await;
            let wait = self.interval.mul_f64(rand::rng().random_range(1.0..1.25));
            let not_before = self.clock.uptime() + wait;
            match result {
                Ok(Ok(())) => {
                    self.slices.written(page.number, not_before);
                    written += 1;
                    if std::mem::take(&mut self.failing) {
                        tracing::info!("DeviceSlices can be written again");
                    }
                }
                failed => {
                    self.slices.failed(page.number, not_before);
                    let why = match failed {
                        Ok(Err(error)) => error.to_string(),
                        _ => "the API server does not answer".into(),
                    };
                    if !std::mem::replace(&mut self.failing, true) {
                        tracing::warn!(
                            slice = page.number,
                            "a DeviceSlice cannot be written now, which is tried again: {why}"
                        );
                    }
                }
            }
        }
        written
    }

    async fn write(&self, page: &Page) -> kube::Result<()> {
        let name = format!("{}-{}", self.pod.name, page.number);
        // The first says that the worker is there.
        let is_worker = self.component == Component::Consumer;
        let says_so = is_worker && page.number == 0;
        if !says_so && page.devices.is_empty() {
            return match self.api.delete(&name, &DeleteParams::default()).await {
                Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
                other => other.map(drop),
            };
        }
        let worker = says_so.then(|| WorkerReport { problem: self.problem.text.clone() });
        let slice = json!({
            "apiVersion": format!("{GROUP}/v1alpha1"),
            "kind": "DeviceSlice",
            "metadata": {
                "name": name,
                "labels": {
                    LABEL_PROCESSOR: self.pod.processor, LABEL_POD: self.pod.name,
                    LABEL_COMPONENT: self.component.as_str(),
                },
                "ownerReferences": [{
                    "apiVersion": "v1", "kind": "Pod", "name": self.pod.name, "uid": self.pod.uid,
                }],
            },
            "processor": self.pod.processor,
            "worker": worker,
            "counts": page.counts,
            "devices": page.devices,
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        self.api.patch(&name, &params, &Patch::Apply(&slice)).await.map(drop)
    }

    /// A container that was started anew in its pod begins with none.
    async fn remove_leftovers(&self) {
        let ours = ListParams::default().labels(&format!("{LABEL_POD}={}", self.pod.name));
        let removed = timeout(PATIENCE, async {
            for slice in self.api.list_metadata(&ours).await? {
                self.api.delete(&slice.name_any(), &DeleteParams::default()).await?;
            }
            Ok::<_, kube::Error>(())
        });
        match removed.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "older DeviceSlices could not be removed"),
            Err(_) => tracing::warn!("older DeviceSlices could not be removed: no answer"),
        }
    }
}

fn problem_of(health: &Health) -> Problem {
    let failed: Vec<_> = health.readiness().checks.into_iter().filter(|check| !check.ok).collect();
    let text: Vec<String> = failed
        .iter()
        .map(|check| format!("{}: {}", check.name, check.reason.as_deref().unwrap_or_default()))
        .collect();
    Problem {
        parts: failed.iter().map(|check| check.name).collect(),
        text: text.join("; ").chars().take(MAX_PROBLEM_CHARS).collect(),
    }
}
