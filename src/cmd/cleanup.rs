//! `cleanup`: removes what is past its retention, once, and ends.

use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};

use super::assembly::{open_store, retention_settings};
use super::signals::stop_on_signals;
use super::{CommandError, say};
use crate::cli::CleanupArgs;
use crate::config::Config;
use crate::model::{DeviceKey, SystemClock};
use crate::retention::{Cleaner, Outcome, Report, Run, Watch};
use crate::store::StoreError;

/// Every how many devices the log says how far it is, where there is no terminal.
const TELL_EVERY: u64 = 1_000;

/// Removes what is past its retention, or says what it would remove.
///
/// # Errors
/// A storage that does not work, and devices that could not be cleaned up.
pub async fn run(config: Config, args: CleanupArgs) -> Result<(), CommandError> {
    let stop = stop_on_signals()?;
    let store = open_store(&config.storage, &config.processing).await?;
    let cleaner = Cleaner::new(store, retention_settings(&config), Arc::new(SystemClock));
    let run = Run { dry_run: args.dry_run, orphans_now: args.orphans, stop };
    let progress = Progress { bar: ProgressBar::new(0), dry_run: args.dry_run };
    let report = cleaner
        .run(&run, &progress)
        .await
        .map_err(|e| CommandError::because("the devices cannot be listed", e))?;
    progress.bar.finish_and_clear();
    tell(&report, args.dry_run);
    match report.failed {
        0 => Ok(()),
        1 => Err(CommandError::new("a device could not be cleaned up; the log says why")),
        failed => Err(CommandError::new(format!(
            "{failed} devices could not be cleaned up; the log says why"
        ))),
    }
}

/// A bar on a terminal, lines of the log elsewhere.
struct Progress {
    bar: ProgressBar,
    dry_run: bool,
}

impl Watch for Progress {
    fn begun(&self, devices: usize) {
        let style = ProgressStyle::with_template("{bar:30} {pos} of {len} devices, {eta} left");
        self.bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        self.bar.set_length(devices as u64);
    }

    fn device(&self, key: &DeviceKey, result: &Result<Outcome, StoreError>) {
        self.bar.inc(1);
        if self.bar.is_hidden() && self.bar.position().is_multiple_of(TELL_EVERY) {
            tracing::info!(devices = self.bar.position(), of = self.bar.length(), "cleaning up");
        }
        self.bar.suspend(|| match result {
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
    let Report { devices, failed, done, beyond_quota_bytes, stopped } = report;
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
    tracing::info!(
        devices,
        failed,
        segments = done.segments.files,
        frames = done.frames.files,
        orphans = done.orphans.files,
        bytes = done.freed_bytes(),
        busy = done.busy,
        dry_run,
        "cleaned up"
    );
}

#[expect(clippy::cast_precision_loss, reason = "a figure for a person")]
pub(super) fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
