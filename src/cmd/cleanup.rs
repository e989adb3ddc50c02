//! `cleanup`: removes what is past its retention. Once, again and again, or beside a worker.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::assembly::{open_store_to_clean, retention_settings};
use super::chores::{self, Chore, Troubles, listed};
use super::progress::{Progress, mebibytes};
use super::signals::stop_on_signals;
use super::{CommandError, say};
use crate::cli::CleanupArgs;
use crate::config::Config;
use crate::http::{Health, Metrics};
use crate::model::{Clock, DeviceKey, SystemClock};
use crate::retention::{Cleaner, Outcome, Report, Run, Watch};
use crate::store::{Store, StoreError};

/// Removes what is past its retention, or says what it would remove.
///
/// # Errors
/// A storage that does not work; and when it runs once, devices that could not be cleaned up.
pub async fn run(config: Config, args: CleanupArgs) -> Result<(), CommandError> {
    let stop = stop_on_signals()?;
    let store = open_store_to_clean(&config.storage, &config.processing).await?;
    if !args.continuous {
        return once(cleaner(&config, store), args, stop).await;
    }
    let metrics =
        Metrics::new().map_err(|e| CommandError::because("the metrics cannot be set up", e))?;
    let interval = args.interval_secs.map_or(config.retention.interval, Duration::from_secs);
    let cleanup = Cleanup::new(&config, store, metrics.clone(), interval);
    chores::alone(cleanup, &config.metrics, metrics, chores::health(), stop).await
}

fn cleaner(config: &Config, store: Store) -> Cleaner {
    Cleaner::new(store, retention_settings(config), Arc::new(SystemClock))
}

async fn once(
    cleaner: Cleaner,
    args: CleanupArgs,
    stop: CancellationToken,
) -> Result<(), CommandError> {
    let run = Run { dry_run: args.dry_run, orphans_now: args.orphans, stop };
    let shown = Shown { progress: Progress::of("cleaning up"), dry_run: args.dry_run };
    let report = cleaner
        .run(&run, &shown)
        .await
        .map_err(|e| CommandError::because("the devices cannot be listed", e))?;
    shown.progress.end();
    tell(&report, args.dry_run);
    log(&report, args.dry_run);
    match report.failed {
        0 => Ok(()),
        1 => Err(CommandError::new("a device could not be cleaned up; the log says why")),
        failed => Err(CommandError::new(format!(
            "{failed} devices could not be cleaned up; the log says why"
        ))),
    }
}

/// Cleans up all devices.
pub(super) struct Cleanup {
    cleaner: Cleaner,
    metrics: Metrics,
    interval: Duration,
    troubles: Mutex<Troubles>,
}

impl Cleanup {
    /// One that cleans up once an `interval`.
    pub fn new(config: &Config, store: Store, metrics: Metrics, interval: Duration) -> Self {
        let cleaner = cleaner(config, store);
        Self { cleaner, metrics, interval, troubles: Mutex::default() }
    }
}

#[async_trait]
impl Chore for Cleanup {
    fn name(&self) -> &'static str {
        "cleanup"
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    async fn run(&mut self, stop: &CancellationToken, health: &Health) -> Result<(), CommandError> {
        let begun = SystemClock.uptime();
        let run = Run { stop: stop.clone(), ..Run::default() };
        let watched = Watched { health, metrics: &self.metrics, troubles: &self.troubles };
        let report = self.cleaner.run(&run, &watched).await;
        let report = listed(report, health, &self.metrics)?;
        self.metrics.segments_deleted.inc_by(report.done.segments.files);
        let took = SystemClock.uptime().saturating_sub(begun);
        self.metrics.cleanup_duration_secs.observe(took.as_secs_f64());
        if report.failed > 0 || report.beyond_quota_bytes > 0 || report.done.freed_bytes() > 0 {
            log(&report, false);
        }
        Ok(())
    }
}

/// A run that nobody looks at: what goes wrong is told once.
struct Watched<'a> {
    health: &'a Health,
    metrics: &'a Metrics,
    troubles: &'a Mutex<Troubles>,
}

impl Watched<'_> {
    fn troubles(&self) -> MutexGuard<'_, Troubles> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch for Watched<'_> {
    fn begun(&self, _: usize) {
        self.health.beat();
    }

    fn device(&self, key: &DeviceKey, result: &Result<Outcome, StoreError>) {
        self.health.beat();
        match result {
            Ok(_) => self.troubles().went_well(key),
            Err(error) => {
                self.metrics.error("cleanup");
                self.troubles().failed(key, "it could not be cleaned up", error);
            }
        }
    }
}

/// A run that somebody waits for.
struct Shown {
    progress: Progress,
    dry_run: bool,
}

impl Watch for Shown {
    fn begun(&self, devices: usize) {
        self.progress.begin(devices as u64);
    }

    fn device(&self, key: &DeviceKey, result: &Result<Outcome, StoreError>) {
        self.progress.step();
        self.progress.beside(|| match result {
            Ok(done) if self.dry_run && done.is_worth_telling() => say(&format!(
                "would remove of {key}: {} segments, {} frames, {} other files, {} orphans \
                 ({:.1} MiB)",
                done.segments.files,
                done.frames.files,
                done.other_files,
                done.orphans.files,
                mebibytes(done.freed_bytes()),
            )),
            Ok(_) => {}
            Err(error) => tracing::warn!(device = %key, %error, "it could not be cleaned up"),
        });
    }
}

fn tell(report: &Report, dry_run: bool) {
    let Report { devices, done, beyond_quota_bytes, stopped, .. } = report;
    let would = if dry_run { "would be " } else { "" };
    say(&format!(
        "{devices} devices looked at; {} segments, {} frames and {} other files {would}removed, \
         {} orphans ({:.1} MiB in all); {} segments {would}taken out of playlists",
        done.segments.files,
        done.frames.files,
        done.other_files,
        done.orphans.files,
        mebibytes(done.freed_bytes()),
        done.unlisted,
    ));
    if done.waiting_for_archive > 0 {
        say(&format!("{} segments are kept until they are archived", done.waiting_for_archive));
    }
    if done.unencoded.files > 0 {
        say(&format!(
            "{} frames ({:.1} MiB) were never encoded: they are kept \
             (RETENTION_UNENCODED_FRAMES_DAYS)",
            done.unencoded.files,
            mebibytes(done.unencoded.bytes),
        ));
    }
    if done.foreign > 0 {
        say(&format!("{} files are not this program's: they are left", done.foreign));
    }
    if *beyond_quota_bytes > 0 {
        say(&format!(
            "{:.1} MiB are beyond RETENTION_TOTAL_MAX_BYTES and cannot go: archives need them, \
             or they are the newest of their device",
            mebibytes(*beyond_quota_bytes),
        ));
    }
    if *stopped {
        say("it was stopped before it was through; the next run goes on");
    }
}

fn log(report: &Report, dry_run: bool) {
    let Report { devices, failed, done, beyond_quota_bytes, .. } = report;
    tracing::info!(
        devices,
        failed,
        segments = done.segments.files,
        frames = done.frames.files,
        orphans = done.orphans.files,
        bytes = done.freed_bytes(),
        busy = done.busy,
        beyond_quota_bytes,
        dry_run,
        "cleaned up"
    );
}
