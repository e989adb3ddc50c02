//! Builds what archives sessions from the settings, for every command that does, and shows in
//! the metrics what it has done.

use std::sync::Arc;
use std::time::Duration;

use super::CommandError;
use crate::archive::{ArchiveSettings, Archiver, Database, Outcome};
use crate::config::Config;
use crate::http::Metrics;
use crate::model::Clock;
use crate::store::Store;

/// The archiver. To be called within the async runtime.
///
/// # Errors
/// A database URL that is none; one that leads nowhere is no such thing.
pub fn archiver(
    config: &Config,
    store: Store,
    clock: Arc<dyn Clock>,
) -> Result<Archiver, CommandError> {
    Ok(Archiver::new(store, archive_settings(config), clock, database(config)?))
}

/// The database that has a copy, if one is named.
///
/// # Errors
/// As [`archiver`].
pub fn database(config: &Config) -> Result<Option<Arc<Database>>, CommandError> {
    let Some(url) = &config.archive.database_url else { return Ok(None) };
    let database = Database::new(url)
        .map_err(|e| CommandError::because("the archive database cannot be used", e))?;
    Ok(Some(Arc::new(database)))
}

fn archive_settings(config: &Config) -> ArchiveSettings {
    const DAY_SECS: u64 = 24 * 3_600;
    const HOUR_SECS: u64 = 3_600;
    let (archive, processing) = (&config.archive, &config.processing);
    ArchiveSettings {
        enabled: archive.enabled,
        min_duration: archive.min_session_duration,
        keep: Duration::from_secs(u64::from(archive.retention_days) * DAY_SECS),
        stream_retention: Duration::from_secs(u64::from(processing.retention_hours) * HOUR_SECS),
    }
}

/// Counts what one run has done with a device.
pub fn count(metrics: &Metrics, outcome: &Outcome) {
    metrics.archives_created.inc_by(outcome.archived);
    (0..outcome.failed).for_each(|_| metrics.error("archive"));
}

/// Shows how the archiver stands after a run over all devices, of whose sessions `failing` could
/// not be archived so far.
pub fn show(metrics: &Metrics, archiver: &Archiver, failing: usize) {
    let as_gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    metrics.archives_failing.set(as_gauge(failing));
    if let Some(standing) = archiver.database() {
        metrics.archive_rows_waiting.set(as_gauge(standing.waiting));
        let counted = metrics.errors_of("archive_database");
        (counted..standing.failures).for_each(|_| metrics.error("archive_database"));
    }
}
