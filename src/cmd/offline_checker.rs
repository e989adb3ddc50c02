//! `offline-checker`: ends the sessions of devices that have gone silent, and has done what
//! follows. Once, or again and again.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;

use super::archiving::{self, archiver};
use super::assembly::{open_store, session_rules};
use super::ops::Ops;
use super::redis::start_mirror;
use super::signals::stop_on_signals;
use super::{CommandError, say};
use crate::archive::Archiver;
use crate::cli::OfflineCheckerArgs;
use crate::config::Config;
use crate::http::{Condition, Health, Metrics, Part};
use crate::model::{Clock, DeviceKey, SystemClock};
use crate::session::{AfterCheck, Afterwards, Checker, Pass, SessionMirror};

/// A pass that lists a large bucket takes some seconds between two beats; silent for this long,
/// the checker hangs.
const MAX_SILENCE: Duration = Duration::from_secs(600);
/// How long Redis may take for what it is told at the end of a single pass.
const REDIS_PATIENCE: Duration = Duration::from_secs(15);
/// How long the archive database may take for that.
const DATABASE_PATIENCE: Duration = Duration::from_secs(15);

/// Runs the checker: until it is told to stop, or until every device has been looked at.
///
/// # Errors
/// When it cannot start; and when it looks once, when something went wrong with a device.
pub async fn run(config: Config, args: OfflineCheckerArgs) -> Result<(), CommandError> {
    let stop = stop_on_signals()?;
    let metrics =
        Metrics::new().map_err(|e| CommandError::because("the metrics cannot be set up", e))?;
    let health = Health::of(MAX_SILENCE, &[Part::Storage]);
    let store = open_store(&config.storage, &config.processing).await?;
    let mirror = start_mirror(&config.redis, &store, &metrics, &health)?;
    let rules = session_rules(&config.archive, &config.processing);
    let clock = Arc::new(SystemClock);
    let archiver = Arc::new(archiver(&config, store.clone(), Arc::clone(&clock) as _)?);
    let after = Archiving { archiver: Arc::clone(&archiver), metrics: metrics.clone() };
    let checker = Checker::new(store, rules, clock, mirror.clone(), Some(Arc::new(after)));
    let run = Run { checker, archiver, metrics, health, mirror, stop };
    match args.continuous {
        true => run.continuously(&config, Duration::from_secs(args.interval_secs)).await,
        false => run.once().await,
    }
}

/// What follows a look: finished sessions are archived.
struct Archiving {
    archiver: Arc<Archiver>,
    metrics: Metrics,
}

#[async_trait]
impl AfterCheck for Archiving {
    async fn run(&self, device: &DeviceKey) -> Result<Afterwards, Box<dyn Error + Send + Sync>> {
        let outcome = self.archiver.run_device(device).await?;
        archiving::count(&self.metrics, &outcome);
        Ok(Afterwards {
            archives: outcome.archived,
            waiting: outcome.waiting,
            again: outcome.busy || outcome.waiting > 0 || outcome.database_behind,
        })
    }
}

struct Run {
    checker: Checker,
    archiver: Arc<Archiver>,
    metrics: Metrics,
    health: Health,
    mirror: Option<SessionMirror>,
    stop: CancellationToken,
}

impl Run {
    async fn continuously(
        mut self,
        config: &Config,
        interval: Duration,
    ) -> Result<(), CommandError> {
        let (metrics, health) = (self.metrics.clone(), self.health.clone());
        let ops = Ops::start(&config.metrics, metrics, health, self.stop.clone()).await?;
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            storage = %config.storage.streams,
            threshold_secs = config.archive.offline_threshold.as_secs(),
            interval_secs = interval.as_secs(),
            "the offline checker looks at all devices"
        );
        while !self.stop.is_cancelled() {
            match self.pass(|_, _| {}).await {
                Ok(pass) if pass.ended + pass.archives + pass.errors > 0 => {
                    tracing::info!(
                        devices = pass.devices,
                        looked_at = pass.looked_at,
                        ended = pass.ended,
                        archives = pass.archives,
                        errors = pass.errors,
                        "devices checked"
                    );
                }
                Ok(pass) => {
                    tracing::debug!(
                        devices = pass.devices,
                        looked_at = pass.looked_at,
                        "devices checked"
                    );
                }
                // Told by the pass.
                Err(_) => {}
            }
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = SystemClock.sleep(interval) => {}
            }
        }
        self.close_mirror().await;
        ops.ended().await;
        Ok(())
    }

    async fn once(mut self) -> Result<(), CommandError> {
        let bar = bar();
        let show = |all, done| {
            bar.set_length(all);
            bar.set_position(done);
        };
        let mut all = self.pass(show).await?;
        if let Some(pause) = self.checker.second_look_in() {
            let secs = pause.as_secs() + 1;
            tell(&bar, format!("some sessions seem to be over: looking again in {secs} s"));
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = SystemClock.sleep(pause) => {
                    let again = self.pass(show).await?;
                    all.ended += again.ended;
                    all.archives += again.archives;
                    all.errors += again.errors;
                }
            }
        }
        bar.finish_and_clear();
        if let Some(mirror) = &self.mirror
            && !mirror.flush(REDIS_PATIENCE).await
        {
            tracing::warn!("Redis has not been told of all sessions; the next check does it");
        }
        if !self.archiver.flush(DATABASE_PATIENCE).await {
            tracing::warn!("the archive database is behind; the next check brings it up to date");
        }
        self.close_mirror().await;
        say(&format!(
            "{} devices, {} sessions ended, {} archives made, {} errors",
            all.devices, all.ended, all.archives, all.errors
        ));
        match all.errors {
            0 => Ok(()),
            errors => Err(CommandError::new(format!(
                "{errors} devices could not be checked; the log says why"
            ))),
        }
    }

    async fn pass(&mut self, show: impl Fn(u64, u64)) -> Result<Pass, CommandError> {
        let health = self.health.clone();
        health.beat();
        let passed = self.checker.pass(&self.stop, |all, done| {
            health.beat();
            show(all, done);
        });
        let pass = match passed.await {
            Ok(pass) => pass,
            Err(error) => {
                self.metrics.error("storage");
                self.health.set(Part::Storage, Condition::NotReady(error.to_string()));
                tracing::warn!(%error, "the devices cannot be listed now: it is tried again");
                return Err(CommandError::because("the devices cannot be listed", error));
            }
        };
        self.health.set(Part::Storage, Condition::Ready);
        self.metrics.sessions_ended.inc_by(pass.ended);
        self.metrics.devices_checked.inc_by(pass.looked_at);
        for _ in 0..pass.errors {
            self.metrics.error("offline_check");
        }
        let open = i64::try_from(self.checker.open_sessions()).unwrap_or(i64::MAX);
        self.metrics.sessions_open.set(open);
        archiving::show(&self.metrics, &self.archiver, self.checker.sessions_waiting());
        Ok(pass)
    }

    async fn close_mirror(&self) {
        if let Some(mirror) = &self.mirror {
            mirror.close().await;
        }
    }
}

/// How far a pass is; hidden where nobody looks.
fn bar() -> ProgressBar {
    let style =
        ProgressStyle::with_template("{elapsed_precise} {wide_bar} {pos}/{len} devices {msg}");
    let bar = ProgressBar::new(0);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// A sentence on the bar, or in the log.
fn tell(bar: &ProgressBar, sentence: String) {
    match bar.is_hidden() {
        true => tracing::info!("{sentence}"),
        false => bar.set_message(sentence),
    }
}
