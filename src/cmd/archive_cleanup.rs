//! `archive-cleanup`: removes the archives whose time is over, once, and ends.

use std::collections::HashSet;
use std::sync::Arc;

use futures::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::CommandError;
use super::archiving::database;
use super::assembly::open_store;
use super::cleanup::mebibytes;
use super::say;
use super::signals::stop_on_signals;
use crate::archive::expiry::Swept;
use crate::archive::{ArchiveCleanup, MirrorError};
use crate::cli::ArchiveCleanupArgs;
use crate::config::Config;
use crate::http::{Metrics, serve_metrics};
use crate::model::{DeviceKey, SystemClock};

/// How many devices are looked at at once: the storage waits more than it works.
const AT_ONCE: usize = 8;
/// Every how many devices the log says how far it is, where there is no terminal.
const TELL_EVERY: usize = 1_000;

/// What was done with all devices.
#[derive(Default)]
struct Total {
    swept: Swept,
    devices: usize,
    busy: usize,
    failed: usize,
}

/// Removes what has expired, or says what it would remove; then brings the database's table up
/// to date.
///
/// # Errors
/// A storage that does not work, devices that could not be cleaned up, a table that could not
/// be written anew although that was asked for.
pub async fn run(config: Config, args: ArchiveCleanupArgs) -> Result<(), CommandError> {
    let stop = stop_on_signals()?;
    let store = open_store(&config.storage, &config.processing).await?;
    let metrics =
        Metrics::new().map_err(|e| CommandError::because("the metrics cannot be set up", e))?;
    if config.metrics.enabled {
        show_metrics(&config, &metrics, &stop).await;
    }
    let keys = store
        .devices()
        .await
        .map_err(|e| CommandError::because("the devices cannot be listed", e))?;
    let (clock, database) = (Arc::new(SystemClock), database(&config)?);
    let has_database = database.is_some();
    let cleanup = ArchiveCleanup::new(store, clock, database, args.dry_run);
    let total = sweep_all(&cleanup, &keys, args.dry_run, &metrics, &stop).await;
    tell(&total, args.dry_run);
    let rows = match has_database {
        true => bring_up_all(&cleanup, &keys, args.rebuild_database, &stop).await,
        false => Ok(()),
    };
    match rows {
        Err(error) if args.rebuild_database => {
            let sentence = "the table deferred_transmissions could not be written anew";
            return Err(CommandError::because(sentence, error));
        }
        Err(error) => {
            tracing::warn!(%error, "the archives' rows are not up to date; later runs see to them");
            metrics.error("archive_database");
        }
        Ok(()) => {}
    }
    stop.cancel();
    match total.failed {
        0 => Ok(()),
        1 => Err(CommandError::new("a device could not be cleaned up; the log says why")),
        failed => Err(CommandError::new(format!(
            "{failed} devices could not be cleaned up; the log says why"
        ))),
    }
}

/// It works without: a worker on the same machine may have the port.
async fn show_metrics(config: &Config, metrics: &Metrics, stop: &CancellationToken) {
    let listen = config.metrics.listen;
    match TcpListener::bind(listen).await {
        Ok(listener) => {
            tokio::spawn(serve_metrics(listener, metrics.clone(), stop.clone()));
        }
        Err(error) => tracing::warn!(address = %listen, %error, "no metrics are served"),
    }
}

async fn sweep_all(
    cleanup: &ArchiveCleanup,
    keys: &[DeviceKey],
    dry_run: bool,
    metrics: &Metrics,
    stop: &CancellationToken,
) -> Total {
    let bar = progress(keys.len());
    let runs = stream::iter(keys).take_while(|_| std::future::ready(!stop.is_cancelled()));
    let mut runs = std::pin::pin!(
        runs.map(|key| async move { (key, cleanup.sweep(key).await) }).buffer_unordered(AT_ONCE)
    );
    let mut total = Total::default();
    while let Some((key, swept)) = runs.next().await {
        total.devices += 1;
        bar.inc(1);
        if bar.is_hidden() && total.devices.is_multiple_of(TELL_EVERY) {
            tracing::info!(devices = total.devices, of = keys.len(), "archives are looked at");
        }
        match swept {
            Ok(swept) => {
                if !dry_run {
                    metrics.archives_deleted.inc_by(swept.expired);
                }
                bar.suspend(|| tell_device(&swept, dry_run));
                total.busy += usize::from(swept.busy);
                total.swept.add(&swept);
            }
            Err(error) => {
                total.failed += 1;
                metrics.error("archive");
                tracing::warn!(device = %key, %error, "its archives could not be cleaned up");
            }
        }
    }
    bar.finish_and_clear();
    total
}

fn progress(devices: usize) -> ProgressBar {
    let bar = ProgressBar::new(devices as u64);
    let style = ProgressStyle::with_template("{bar:30} {pos} of {len} devices, {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

fn tell_device(swept: &Swept, dry_run: bool) {
    for (folder, bytes) in &swept.folders {
        if dry_run {
            say(&format!("would remove {folder} ({:.1} MiB)", mebibytes(*bytes)));
        } else {
            tracing::debug!(folder, bytes, "an archive is removed");
        }
    }
}

/// A file may be linked in the stream as well, and takes its room as long as that keeps it.
fn tell(total: &Total, dry_run: bool) {
    let Total { swept, devices, busy, failed } = total;
    let would = if dry_run { "would be " } else { "" };
    say(&format!(
        "{devices} devices looked at; {} archives of {} files {would}removed, {} folders of \
         half-made ones (up to {:.1} MiB in all); {} archives stay",
        swept.expired,
        swept.files,
        swept.leftovers,
        mebibytes(swept.bytes),
        swept.kept,
    ));
    if swept.foreign > 0 {
        say(&format!(
            "{} files or folders among them are not this program's: they are left",
            swept.foreign
        ));
    }
    tracing::info!(
        devices,
        expired = swept.expired,
        leftovers = swept.leftovers,
        files = swept.files,
        bytes = swept.bytes,
        kept = swept.kept,
        foreign = swept.foreign,
        busy,
        failed,
        dry_run,
        "archives are cleaned up"
    );
}

/// Writes the rows that may not be what the archives say, or `all` of them, of all devices that
/// there are or that have rows. Rows whose time is over are looked at in any case: their archives
/// may have gone by other ways.
async fn bring_up_all(
    cleanup: &ArchiveCleanup,
    keys: &[DeviceKey],
    all: bool,
    stop: &CancellationToken,
) -> Result<(), MirrorError> {
    cleanup.check_storage(keys).await?;
    bring_up_some(cleanup, keys, all, stop).await?;
    let known: HashSet<&DeviceKey> = keys.iter().collect();
    let is_left = |key: &DeviceKey| !all || !known.contains(key);
    let mut left = cleanup.devices_with_rows(!all).await?;
    left.retain(is_left);
    bring_up_some(cleanup, &left, true, stop).await
}

async fn bring_up_some(
    cleanup: &ArchiveCleanup,
    keys: &[DeviceKey],
    all: bool,
    stop: &CancellationToken,
) -> Result<(), MirrorError> {
    let runs = stream::iter(keys).take_while(|_| std::future::ready(!stop.is_cancelled()));
    let mut runs = std::pin::pin!(
        runs.map(|key| async move { (key, cleanup.bring_up(key, all).await) })
            .buffer_unordered(AT_ONCE)
    );
    let mut first_error = None;
    while let Some((key, written)) = runs.next().await {
        match written {
            Ok(()) => {}
            // It would say the same of every device.
            Err(error @ MirrorError::Database(_)) => return Err(error),
            Err(error) => {
                tracing::warn!(device = %key, %error, "its rows could not be written");
                first_error.get_or_insert(error);
            }
        }
    }
    first_error.map_or(Ok(()), Err)
}
