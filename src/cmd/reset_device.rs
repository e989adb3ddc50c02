//! `reset-device`: a device's stream begun anew, and what Redis holds of it forgotten.

use std::sync::Arc;

use super::archiving::database;
use super::assembly::{open_store_to_clean, retention_settings, target_duration_secs};
use super::progress::mebibytes;
use super::redis::mirror_settings;
use super::{CommandError, say};
use crate::archive::ArchiveCleanup;
use crate::cli::ResetDeviceArgs;
use crate::config::Config;
use crate::model::{DeviceKey, SystemClock};
use crate::retention::{Reset, ResetReport, Resetter};
use crate::session::{MirrorSettings, SessionMirror};

/// Begins the device's stream anew and has Redis forget it, or says what would go.
///
/// # Errors
/// A worker that owns the device, a device of which there is nothing, a storage that fails. A
/// Redis that is away: then the storage's part is done, and the sentence says how to do the rest.
pub async fn run(config: Config, args: ResetDeviceArgs) -> Result<(), CommandError> {
    let key = DeviceKey::new(&args.client, &args.device).map_err(|e| {
        CommandError::because(format!("{:?} {:?} is no device", args.client, args.device), e)
    })?;
    // The storage first: it knows whether the device may be reset. A worker that has it tells
    // Redis of the new stream with its next commit, whatever was forgotten in between.
    if !args.skip_storage {
        reset(&config, &args, &key).await?;
    }
    match mirror_settings(&config.redis).filter(|_| !args.skip_redis) {
        Some(redis) => forget(&redis, &args, &key).await,
        None => Ok(()),
    }
}

async fn reset(
    config: &Config,
    args: &ResetDeviceArgs,
    key: &DeviceKey,
) -> Result<(), CommandError> {
    let store = open_store_to_clean(&config.storage, &config.processing).await?;
    let resetter = Resetter::new(
        store.clone(),
        Arc::new(SystemClock),
        retention_settings(config),
        config.archive.offline_threshold,
        target_duration_secs(config.processing.segment_duration_secs),
    );
    let how = Reset {
        dry_run: args.dry_run,
        force: args.force,
        with_frames: args.with_frames,
        with_archives: args.with_archives,
    };
    let report = resetter
        .reset(key, how)
        .await
        .map_err(|e| CommandError::because("the device was not reset", e))?;
    tell(key, &report, args.dry_run);
    if args.with_archives {
        let database = database(config)?;
        let rows = ArchiveCleanup::new(store, Arc::new(SystemClock), database, args.dry_run);
        if let Err(error) = rows.bring_up(key, true).await {
            tracing::warn!(%error, "the rows of its archives stay until they have expired");
        }
    }
    Ok(())
}

async fn forget(
    redis: &MirrorSettings,
    args: &ResetDeviceArgs,
    key: &DeviceKey,
) -> Result<(), CommandError> {
    let names = match args.dry_run {
        true => SessionMirror::recall(redis, key).await,
        false => SessionMirror::forget(redis, key).await,
    };
    let names = names.map_err(|e| {
        let done = match (args.dry_run, args.skip_storage) {
            (true, _) => format!("what Redis holds of {key} cannot be said"),
            (false, true) => format!("Redis still holds what it did of {key}"),
            (false, false) => format!(
                "the stream of {key} was begun anew, but Redis still holds what it did; do that \
                 part alone with `stream-processor reset-device {} {} --skip-storage`",
                key.client, key.device,
            ),
        };
        CommandError::because(done, e)
    })?;
    let would = if args.dry_run { "would be " } else { "" };
    match names.as_slice() {
        [] => say("Redis holds nothing of it"),
        names => say(&format!("{would}removed from Redis: {}", names.join(", "))),
    }
    Ok(())
}

fn tell(key: &DeviceKey, report: &ResetReport, dry_run: bool) {
    let would = if dry_run { "would be " } else { "" };
    say(&format!(
        "{key}: {} files of its stream ({:.1} MiB) {would}removed; it {} with segment {}",
        report.stream.files,
        mebibytes(report.stream.bytes),
        if dry_run { "would go on" } else { "goes on" },
        report.next_segment,
    ));
    if report.state_was_lost {
        say("its state was lost or could not be read: the number is after all that was found");
    }
    if report.unarchived > 0 {
        say(&format!("{} segments among them were still to be archived", report.unarchived));
    }
    for (what, tally) in [("frames", report.frames), ("files of archives", report.archive_files)] {
        if tally.files > 0 {
            say(&format!(
                "{} {what} ({:.1} MiB) {would}removed",
                tally.files,
                mebibytes(tally.bytes)
            ));
        }
    }
}
