//! `archive-cleanup`: removes the archives whose time is over. Once, again and again, or beside a
//! worker.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt, stream};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::archiving::database;
use super::assembly::open_store_to_clean;
use super::chores::{self, Chore, Troubles, listed};
use super::progress::{Progress, mebibytes};
use super::signals::stop_on_signals;
use super::{CommandError, say};
use crate::archive::expiry::Swept;
use crate::archive::{ArchiveCleanup, MirrorError};
use crate::cli::ArchiveCleanupArgs;
use crate::config::Config;
use crate::http::{Health, Metrics, serve_metrics};
use crate::model::{DeviceKey, SystemClock};
use crate::store::Store;

/// How many devices are looked at at once: the storage waits more than it works.
const AT_ONCE: usize = 8;

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
/// A storage that does not work; and when it runs once, devices that could not be cleaned up, and
/// a table that could not be written anew although that was asked for.
pub async fn run(config: Config, args: ArchiveCleanupArgs) -> Result<(), CommandError> {
    let stop = stop_on_signals()?;
    let store = open_store_to_clean(&config.storage, &config.processing).await?;
    let metrics =
        Metrics::new().map_err(|e| CommandError::because("the metrics cannot be set up", e))?;
    let interval = Duration::from_secs(args.interval_secs);
    let dry_run = args.dry_run;
    let mut sweeping = ArchiveSweeping::new(&config, store, metrics.clone(), interval, dry_run)?;
    if args.continuous {
        return chores::alone(sweeping, &config.metrics, metrics, chores::health(), stop).await;
    }
    if config.metrics.enabled {
        show_metrics(&config, &metrics, &stop).await;
    }
    sweeping.once(args.rebuild_database, &stop).await
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

/// Cleans up the archives of all devices.
pub(super) struct ArchiveSweeping {
    store: Store,
    cleanup: ArchiveCleanup,
    has_database: bool,
    metrics: Metrics,
    interval: Duration,
    dry_run: bool,
    troubles: Troubles,
    row_troubles: Troubles,
}

impl ArchiveSweeping {
    /// One that cleans up once an `interval`, or says with `dry_run` what it would remove. To be
    /// called within the async runtime.
    ///
    /// # Errors
    /// A database URL that is none.
    pub fn new(
        config: &Config,
        store: Store,
        metrics: Metrics,
        interval: Duration,
        dry_run: bool,
    ) -> Result<Self, CommandError> {
        let database = database(config)?;
        let has_database = database.is_some();
        let clock = Arc::new(SystemClock);
        let cleanup = ArchiveCleanup::new(store.clone(), clock, database, dry_run);
        let (troubles, row_troubles) = (Troubles::default(), Troubles::default());
        Ok(Self {
            store,
            cleanup,
            has_database,
            metrics,
            interval,
            dry_run,
            troubles,
            row_troubles,
        })
    }

    async fn once(
        &mut self,
        rebuild_database: bool,
        stop: &CancellationToken,
    ) -> Result<(), CommandError> {
        let health = chores::health();
        let keys = listed(self.store.devices().await, &health, &self.metrics)?;
        let progress = Progress::of("archives are looked at");
        let total = self.sweep(&keys, &progress, &health, stop).await;
        tell(&total, self.dry_run);
        log(&total, self.dry_run);
        match self.bring_up(&keys, rebuild_database, stop).await {
            Err(error) if rebuild_database => {
                let sentence = "the table deferred_transmissions could not be written anew";
                return Err(CommandError::because(sentence, error));
            }
            Err(error) => {
                tracing::warn!(%error, "the archives' rows are not up to date; later runs see to them");
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

    async fn sweep(
        &mut self,
        keys: &[DeviceKey],
        progress: &Progress,
        health: &Health,
        stop: &CancellationToken,
    ) -> Total {
        progress.begin(keys.len() as u64);
        let cleanup = &self.cleanup;
        let runs = stream::iter(keys.to_vec());
        let runs = runs.take_while(|_| std::future::ready(!stop.is_cancelled()));
        let runs = runs.map(|key| async move { (cleanup.sweep(&key).await, key) });
        let mut runs = std::pin::pin!(runs.buffer_unordered(AT_ONCE));
        let mut total = Total::default();
        while let Some((swept, key)) = runs.next().await {
            total.devices += 1;
            health.beat();
            progress.step();
            match swept {
                Ok(swept) => {
                    if !self.dry_run {
                        self.metrics.archives_deleted.inc_by(swept.expired);
                    }
                    progress.beside(|| tell_device(&swept, self.dry_run));
                    self.troubles.went_well(&key);
                    total.busy += usize::from(swept.busy);
                    total.swept.add(&swept);
                }
                Err(error) => {
                    total.failed += 1;
                    self.metrics.error("archive");
                    self.troubles.failed(&key, "its archives could not be cleaned up", &error);
                }
            }
        }
        progress.end();
        total
    }

    /// Writes the rows that may not be what the archives say, or `all` of them, of all devices
    /// that there are or that have rows. Rows whose time is over are looked at in any case: their
    /// archives may have gone by other ways.
    async fn bring_up(
        &mut self,
        keys: &[DeviceKey],
        all: bool,
        stop: &CancellationToken,
    ) -> Result<(), MirrorError> {
        if !self.has_database {
            return Ok(());
        }
        let result = self.bring_up_all(keys, all, stop).await;
        if result.is_err() {
            self.metrics.error("archive_database");
        }
        result
    }

    async fn bring_up_all(
        &mut self,
        keys: &[DeviceKey],
        all: bool,
        stop: &CancellationToken,
    ) -> Result<(), MirrorError> {
        self.cleanup.check_storage(keys).await?;
        self.bring_up_some(keys, all, stop).await?;
        let known: HashSet<&DeviceKey> = keys.iter().collect();
        let is_left = |key: &DeviceKey| !all || !known.contains(key);
        let mut left = self.cleanup.devices_with_rows(!all).await?;
        left.retain(is_left);
        self.bring_up_some(&left, true, stop).await
    }

    async fn bring_up_some(
        &mut self,
        keys: &[DeviceKey],
        all: bool,
        stop: &CancellationToken,
    ) -> Result<(), MirrorError> {
        let cleanup = &self.cleanup;
        let runs = stream::iter(keys.to_vec());
        let runs = runs.take_while(|_| std::future::ready(!stop.is_cancelled()));
        let runs = runs.map(|key| async move { (cleanup.bring_up(&key, all).await, key) });
        let mut runs = std::pin::pin!(runs.buffer_unordered(AT_ONCE));
        let mut first_error = None;
        while let Some((written, key)) = runs.next().await {
            match written {
                Ok(()) => self.row_troubles.went_well(&key),
                // It would say the same of every device.
                Err(error @ MirrorError::Database(_)) => return Err(error),
                Err(error) => {
                    self.row_troubles.failed(&key, "its rows could not be written", &error);
                    first_error.get_or_insert(error);
                }
            }
        }
        first_error.map_or(Ok(()), Err)
    }
}

#[async_trait]
impl Chore for ArchiveSweeping {
    fn name(&self) -> &'static str {
        "archive_cleanup"
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    async fn run(&mut self, stop: &CancellationToken, health: &Health) -> Result<(), CommandError> {
        let keys = listed(self.store.devices().await, health, &self.metrics)?;
        let total = self.sweep(&keys, &Progress::silent(), health, stop).await;
        if total.failed > 0 || total.swept.expired + total.swept.leftovers > 0 {
            log(&total, false);
        }
        let rows = self.bring_up(&keys, false, stop).await;
        rows.map_err(|e| CommandError::because("the archives' rows are not up to date", e))
    }
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
    let Total { swept, devices, .. } = total;
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
}

fn log(total: &Total, dry_run: bool) {
    let Total { swept, devices, busy, failed } = total;
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
