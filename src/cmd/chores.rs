//! Work that comes again and again, beside a worker or alone: when a chore has its turn, and
//! what of it is logged and counted. Knows nothing of what chores do.
//!
//! Architecture invariant: a chore that fails, panics or hangs costs its own turn, and nothing
//! else: no worker and no other chore stops or waits for it, and at its next time it is tried
//! again. A stop comes between two devices, and nobody waits for it for long.

use std::any::Any;
use std::collections::HashMap;
use std::fmt::Display;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use rand::RngExt;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::CommandError;
use super::ops::Ops;
use crate::config::MetricsConfig;
use crate::http::{Condition, Health, Metrics, Part};
use crate::model::{Clock, DeviceKey, SystemClock, causes};
use crate::store::StoreError;

/// A run that lists a large bucket takes some seconds between two beats, and one that removes a
/// day of a device some minutes; silent for this long, it hangs.
const MAX_SILENCE: Duration = Duration::from_secs(600);
/// How often a process that waits for the next turn says that it is alive.
const BEAT_EVERY: Duration = Duration::from_secs(30);
/// How long chores may take to notice that they are to stop, once the worker has ended.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Beside a worker, the first turn comes within this time: workers that start together do not
/// all look at the storage together.
const FIRST_WITHIN: Duration = Duration::from_secs(10);
/// A pause is shorter or longer than the interval by up to this share, for the same reason.
const JITTER: f64 = 0.1;

/// What has to be done again and again.
#[async_trait]
pub(super) trait Chore: Send {
    /// What it is called: one of [`crate::http::metrics::CHORES`].
    fn name(&self) -> &'static str;

    /// How long to wait between two turns.
    fn interval(&self) -> Duration;

    /// Does what is due. Ends early, between two devices, when `stop` is cancelled; beats
    /// between two devices, and says how the storage is. What goes wrong with one device is not
    /// an error: the chore tells of it by itself.
    async fn run(&mut self, stop: &CancellationToken, health: &Health) -> Result<(), CommandError>;
}

/// The chores beside a worker, each with a task of its own.
pub(super) struct Chores(JoinSet<()>);

impl Chores {
    /// Has them done until `stop`.
    pub fn start(chores: Vec<Box<dyn Chore>>, metrics: &Metrics, stop: &CancellationToken) -> Self {
        let mut tasks = JoinSet::new();
        for chore in chores {
            let first = FIRST_WITHIN.min(chore.interval());
            let first = first.mul_f64(rand::rng().random_range(0.0..=1.0));
            // The worker's health is its own: streams go on without chores.
            let health = Health::of(MAX_SILENCE, &[]);
            let turns = Turns::of(chore, metrics.clone(), health, stop.clone());
            tasks.spawn(turns.take(first));
        }
        Self(tasks)
    }

    /// Waits until they have stopped, for a moment. What is still at work then is cut off, as by
    /// a kill, which costs nothing: the next run of anybody goes on with it.
    pub async fn ended(mut self) {
        let all = async { while self.0.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_WORDS, all).await.is_err() {
            tracing::info!("chores are cut off; the next run goes on with them");
            self.0.abort_all();
        }
    }
}

/// Has one chore done until `stop`, with metrics and health: what `--continuous` is.
///
/// # Errors
/// When metrics and health cannot be served.
pub(super) async fn alone(
    chore: impl Chore + 'static,
    config: &MetricsConfig,
    metrics: Metrics,
    health: Health,
    stop: CancellationToken,
) -> Result<(), CommandError> {
    let ops = Ops::start(config, metrics.clone(), health.clone(), stop.clone()).await?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        chore = chore.name(),
        interval_secs = chore.interval().as_secs(),
        "it is done again and again"
    );
    Turns::of(Box::new(chore), metrics, health, stop).take(Duration::ZERO).await;
    ops.ended().await;
    Ok(())
}

/// The health of a process that has one chore and nothing else.
pub(super) fn health() -> Health {
    Health::of(MAX_SILENCE, &[Part::Storage])
}

/// A chore's turns.
struct Turns {
    chore: Box<dyn Chore>,
    metrics: Metrics,
    health: Health,
    stop: CancellationToken,
    /// What has been logged and is not over.
    trouble: Option<String>,
}

impl Turns {
    fn of(
        chore: Box<dyn Chore>,
        metrics: Metrics,
        health: Health,
        stop: CancellationToken,
    ) -> Self {
        Self { chore, metrics, health, stop, trouble: None }
    }

    async fn take(mut self, first: Duration) {
        let mut pause = first;
        while self.waited(pause).await {
            self.take_one().await;
            let share = rand::rng().random_range(1.0 - JITTER..=1.0 + JITTER);
            pause = self.chore.interval().mul_f64(share);
        }
    }

    /// Whether the pause is over, and not the whole process.
    async fn waited(&mut self, pause: Duration) -> bool {
        let mut left = pause;
        loop {
            self.health.beat();
            if self.stop.is_cancelled() || left.is_zero() {
                return !self.stop.is_cancelled();
            }
            let slice = left.min(BEAT_EVERY);
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = SystemClock.sleep(slice) => left -= slice,
            }
        }
    }

    async fn take_one(&mut self) {
        let chore = self.chore.name();
        self.metrics.chore_begun(chore);
        // What it remembers between turns may be half changed by a panic. It can afford that:
        // every chore begins with nothing remembered as well.
        let running = AssertUnwindSafe(self.chore.run(&self.stop, &self.health)).catch_unwind();
        let result = running.await.unwrap_or_else(|panic| Err(defect(panic.as_ref())));
        match result {
            Ok(()) => {
                if self.trouble.take().is_some() {
                    tracing::info!(chore, "mended: it is done again");
                }
            }
            Err(error) => {
                self.metrics.chore_failed(chore);
                let error = causes(&error);
                if self.trouble.as_ref() != Some(&error) {
                    tracing::warn!(chore, %error, "it cannot be done now: it is tried again");
                }
                self.trouble = Some(error);
            }
        }
    }
}

fn defect(panic: &(dyn Any + Send)) -> CommandError {
    let said = panic.downcast_ref::<&str>().copied();
    let said = said.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    CommandError::new(format!("a defect of this program: {}", said.unwrap_or("it panicked")))
}

/// What a run over all devices came to. A storage whose devices cannot be listed is not ready.
///
/// # Errors
/// The same, for a person.
pub(super) fn listed<T>(
    result: Result<T, StoreError>,
    health: &Health,
    metrics: &Metrics,
) -> Result<T, CommandError> {
    match &result {
        Ok(_) => health.set(Part::Storage, Condition::Ready),
        Err(error) => {
            metrics.error("storage");
            health.set(Part::Storage, Condition::NotReady(error.to_string()));
        }
    }
    result.map_err(|e| CommandError::because("the devices cannot be listed", e))
}

/// Which devices are in trouble: each is logged when its trouble begins, when it becomes another
/// and when it is over.
#[derive(Debug, Default)]
pub(super) struct Troubles(HashMap<DeviceKey, String>);

impl Troubles {
    /// `what` could not be done with a device.
    pub fn failed(&mut self, key: &DeviceKey, what: &'static str, error: &impl Display) {
        let error = error.to_string();
        if self.0.get(key) != Some(&error) {
            tracing::warn!(device = %key, %error, "{what}");
        }
        self.0.insert(key.clone(), error);
    }

    /// Nothing went wrong with a device.
    pub fn went_well(&mut self, key: &DeviceKey) {
        if self.0.remove(key).is_some() {
            tracing::info!(device = %key, "mended: nothing is wrong with the device any more");
        }
    }
}

#[cfg(test)]
#[path = "chores_tests.rs"]
mod tests;
