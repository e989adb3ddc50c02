//! `offline-checker`: ends the sessions of devices that have gone silent, and has done what
//! follows. Once, again and again, or beside a worker.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::archiving::{self, archiver};
use super::assembly::{health_rules, open_store, session_rules};
use super::chores::{self, Chore, listed};
use super::progress::Progress;
use super::redis::start_mirror;
use super::signals::stop_on_signals;
use super::{CommandError, cluster, say};
use crate::archive::Archiver;
use crate::cli::OfflineCheckerArgs;
use crate::config::Config;
use crate::http::{Health, Metrics};
use crate::model::{Clock, DeviceKey, SystemClock};
use crate::session::{AfterCheck, Afterwards, Checker, Pass, SessionMirror};
use crate::status::board::Board;
use crate::status::publish::Publisher;
use crate::store::Store;

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
    let health = chores::health();
    let store = open_store(&config.storage, &config.processing).await?;
    let mirror = start_mirror(&config.redis, &store, &metrics, &health)?;
    let interval = Duration::from_secs(args.interval_secs);
    let mut check = OfflineCheck::new(&config, store, metrics.clone(), mirror.clone(), interval)?;
    if !args.continuous {
        return once(check, mirror, health, stop).await;
    }
    tell_kubernetes(&config, &mut check, &stop).await?;
    let ended = chores::alone(check, &config.metrics, metrics, health, stop).await;
    close(mirror.as_ref()).await;
    ended
}

/// Starts to tell which devices are offline, where the settings say whose checker this is.
async fn tell_kubernetes(
    config: &Config,
    check: &mut OfflineCheck,
    stop: &CancellationToken,
) -> Result<(), CommandError> {
    if config.status.pod.is_none() {
        return Ok(());
    }
    let clock = Arc::new(SystemClock) as Arc<dyn Clock>;
    let board = Arc::new(Board::new(Arc::clone(&clock)));
    let (client, rules) = (cluster::client().await?, health_rules(config));
    let found = Arc::clone(&board);
    if let Some(publisher) = Publisher::of_silent(client, &config.status, board, rules, clock) {
        check.checker.watched_by(found);
        tokio::spawn(publisher.run(stop.clone()));
    }
    Ok(())
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

/// Looks at all devices that are due, and has finished sessions archived.
pub(super) struct OfflineCheck {
    checker: Checker,
    archiver: Arc<Archiver>,
    metrics: Metrics,
    interval: Duration,
}

impl OfflineCheck {
    /// One that looks which devices are due once an `interval`, and tells `mirror`. To be called
    /// within the async runtime.
    ///
    /// # Errors
    /// A database URL that is none.
    pub fn new(
        config: &Config,
        store: Store,
        metrics: Metrics,
        mirror: Option<SessionMirror>,
        interval: Duration,
    ) -> Result<Self, CommandError> {
        let rules = session_rules(&config.archive, &config.processing);
        let clock = Arc::new(SystemClock);
        let archiver = Arc::new(archiver(config, store.clone(), Arc::clone(&clock) as _)?);
        let after = Archiving { archiver: Arc::clone(&archiver), metrics: metrics.clone() };
        let checker = Checker::new(store, rules, clock, mirror, Some(Arc::new(after)));
        Ok(Self { checker, archiver, metrics, interval })
    }

    async fn pass(
        &mut self,
        stop: &CancellationToken,
        health: &Health,
        progress: &Progress,
    ) -> Result<Pass, CommandError> {
        health.beat();
        let passed = self.checker.pass(stop, |all, done| {
            health.beat();
            progress.show(all, done);
        });
        let pass = listed(passed.await, health, &self.metrics)?;
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
}

#[async_trait]
impl Chore for OfflineCheck {
    fn name(&self) -> &'static str {
        "offline_check"
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    async fn run(&mut self, stop: &CancellationToken, health: &Health) -> Result<(), CommandError> {
        let Pass { devices, looked_at, ended, archives, errors } =
            self.pass(stop, health, &Progress::silent()).await?;
        if ended + archives + errors > 0 {
            tracing::info!(devices, looked_at, ended, archives, errors, "devices checked");
        } else {
            tracing::debug!(devices, looked_at, "devices checked");
        }
        Ok(())
    }
}

async fn once(
    mut check: OfflineCheck,
    mirror: Option<SessionMirror>,
    health: Health,
    stop: CancellationToken,
) -> Result<(), CommandError> {
    let progress = Progress::of("devices are checked");
    let mut all = check.pass(&stop, &health, &progress).await?;
    if let Some(pause) = check.checker.second_look_in() {
        let secs = pause.as_secs() + 1;
        progress.remark(format!("some sessions seem to be over: looking again in {secs} s"));
        tokio::select! {
            () = stop.cancelled() => {}
            () = SystemClock.sleep(pause) => {
                let again = check.pass(&stop, &health, &progress).await?;
                all.ended += again.ended;
                all.archives += again.archives;
                all.errors += again.errors;
            }
        }
    }
    progress.end();
    if let Some(mirror) = &mirror
        && !mirror.flush(REDIS_PATIENCE).await
    {
        tracing::warn!("Redis has not been told of all sessions; the next check does it");
    }
    if !check.archiver.flush(DATABASE_PATIENCE).await {
        tracing::warn!("the archive database is behind; the next check brings it up to date");
    }
    close(mirror.as_ref()).await;
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

async fn close(mirror: Option<&SessionMirror>) {
    if let Some(mirror) = mirror {
        mirror.close().await;
    }
}
