//! A device's stream begun anew: what it had goes, and its numbers go on. Also for a device whose
//! state is lost or cannot be read.
//!
//! Architecture invariant: the new state is durable before anything goes, and every file that
//! goes has a number below the new stream's first. So a reset that was interrupted leaves a
//! stream that a worker can go on with; another one, or the next clean-up, takes the rest.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::archived::Archived;
use super::cleaned::Cleaned;
use super::device::{Notes, Task};
use super::hand::Hand;
use super::orphans::{Sweep, take};
use super::outcome::Tally;
use super::{RetentionSettings, steps};
use crate::crash_point::reached;
use crate::model::{Clock, DeviceKey, SessionId, UtcMillis};
use crate::playlist::media_file_number;
use crate::store::layout::{ARCHIVE_FILE, HistoryName, Place};
use crate::store::{DeviceFolder, DeviceState, Listed, Store, StoreError};

/// How long whoever archives or cleans up the device is waited for.
const UPKEEP_WAIT: Duration = Duration::from_secs(10);
const UPKEEP_POLL: Duration = Duration::from_millis(100);

/// A number that no stream comes to: a thousand segments a second for thirty thousand years. A
/// file that is called by a higher one was not called so by us.
const MAX_NUMBER: u64 = 1_000_000_000_000_000;

/// Why a device was not reset.
#[derive(Debug, thiserror::Error)]
pub enum ResetError {
    /// There is nothing of such a device.
    #[error("there is no device {key}: nothing is stored of it; look at its client and its name")]
    NoSuchDevice {
        /// Which.
        key: DeviceKey,
    },
    /// A worker may be at it.
    #[error(
        "a worker owns {key}: it committed at {last_commit_at}, {} s ago, and {} s have to pass \
         (ARCHIVE_OFFLINE_THRESHOLD_SECONDS); stop the camera or the worker first, or use --force",
        .age.as_secs(), .threshold.as_secs()
    )]
    Owned {
        /// Which device.
        key: DeviceKey,
        /// When it was last committed to.
        last_commit_at: UtcMillis,
        /// How long ago that is.
        age: Duration,
        /// How long it has to be.
        threshold: Duration,
    },
    /// Somebody archives or cleans up the device.
    #[error("{key} is being archived or cleaned up; try again in a minute")]
    Busy {
        /// Which device.
        key: DeviceKey,
    },
    /// The storage failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a reset does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reset {
    /// Removes and writes nothing; says what would go.
    pub dry_run: bool,
    /// Also while a worker owns the device.
    pub force: bool,
    /// The frames go, too: also those that are still to be encoded.
    pub with_frames: bool,
    /// The archives go, too.
    pub with_archives: bool,
}

/// What a reset has removed, or would.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResetReport {
    /// The number of the new stream's first segment.
    pub next_segment: u64,
    /// Whether there was no state that can be read.
    pub state_was_lost: bool,
    /// Files of the stream: media, init and history files, what was left half written.
    pub stream: Tally,
    /// Segments among them that an archive was still to be made of.
    pub unarchived: u64,
    /// Frames.
    pub frames: Tally,
    /// Archives, and their files.
    pub archives: u64,
    /// The files of those archives.
    pub archive_files: Tally,
}

/// Begins streams anew.
pub struct Resetter {
    store: Store,
    clock: Arc<dyn Clock>,
    settings: RetentionSettings,
    offline_threshold: Duration,
    target_duration_secs: u32,
}

/// What there is of a device before its reset.
struct Found {
    state: Option<DeviceState>,
    /// The number of the next segment is this, at least.
    at_least: u64,
    unarchived: u64,
}

impl Resetter {
    /// Resets devices of `store`. A worker is taken to own a device for `offline_threshold` after
    /// its last commit. New streams have the target duration `target_duration_secs`.
    pub fn new(
        store: Store,
        clock: Arc<dyn Clock>,
        settings: RetentionSettings,
        offline_threshold: Duration,
        target_duration_secs: u32,
    ) -> Self {
        Self { store, clock, settings, offline_threshold, target_duration_secs }
    }

    /// Begins a device's stream anew.
    ///
    /// # Errors
    /// [`ResetError`]. All but the last have changed nothing; after that one, do it again.
    pub async fn reset(&self, key: &DeviceKey, how: Reset) -> Result<ResetReport, ResetError> {
        let task = Task {
            settings: self.settings.clone(),
            dry_run: how.dry_run,
            orphans_now: true,
            now: self.clock.now(),
            stop: CancellationToken::new(),
        };
        let found = self.find(key, how, &task).await?;
        if how.dry_run {
            let target_duration_secs = self.target_duration_secs;
            let dry = move |folder: &DeviceFolder| {
                dry_run(folder, &task, how, &found, target_duration_secs)
            };
            return Ok(self.store.on_device(key, dry).await?);
        }
        let _lock = self.upkeep(key).await?;
        self.store.reset_stream(key, self.target_duration_secs, found.at_least).await?;
        reached(steps::RESET_BEGUN);
        let remove = move |folder: &DeviceFolder| remove(folder, &task, how, &found);
        Ok(self.store.on_device(key, remove).await?)
    }

    /// What there is of the device, if it may be reset.
    async fn find(&self, key: &DeviceKey, how: Reset, task: &Task) -> Result<Found, ResetError> {
        let archives = task.settings.archives;
        let find = move |folder: &DeviceFolder| find(folder, archives);
        let Some(found) = self.store.on_device(key, find).await? else {
            return Err(ResetError::NoSuchDevice { key: key.clone() });
        };
        let last = found.state.as_ref().and_then(last_commit);
        if let Some(last_commit_at) = last.filter(|_| !how.force) {
            let (age, threshold) = (task.now.since(last_commit_at), self.offline_threshold);
            if age < threshold {
                return Err(ResetError::Owned { key: key.clone(), last_commit_at, age, threshold });
            }
        }
        Ok(found)
    }

    async fn upkeep(&self, key: &DeviceKey) -> Result<crate::store::Lock, ResetError> {
        let mut waited = Duration::ZERO;
        loop {
            let lock = self.store.on_device(key, |folder| {
                folder.prepare()?;
                folder.try_upkeep()
            });
            match lock.await? {
                Some(lock) => return Ok(lock),
                None if waited >= UPKEEP_WAIT => return Err(ResetError::Busy { key: key.clone() }),
                None => tokio::time::sleep(UPKEEP_POLL).await,
            }
            waited += UPKEEP_POLL;
        }
    }
}

fn last_commit(state: &DeviceState) -> Option<UtcMillis> {
    let newest = state.recent.last().map(|record| record.committed_at);
    let session = state.session.as_ref().map(|session| session.last_frame_at);
    newest.max(session)
}

/// What there is of a device; none if that is nothing.
fn find(folder: &DeviceFolder, archives: bool) -> Result<Option<Found>, StoreError> {
    let hls = folder.list(Place::Hls)?;
    if hls.is_empty() && folder.list(Place::Frames)?.is_empty() && archive_ids(folder)?.is_empty() {
        return Ok(None);
    }
    let state = match folder.state() {
        // What cannot be read is what a reset is for.
        Err(StoreError::Unreadable { .. }) => None,
        state => state?,
    };
    let archived = match Archived::read(folder) {
        Err(StoreError::Unreadable { .. }) => Archived::default(),
        archived => archived?,
    };
    let media: Vec<u64> = numbers(&folder.list(Place::Segments)?).collect();
    let mut used: Vec<u64> = media.clone();
    let history = folder.list(Place::History)?;
    used.extend(history.iter().filter_map(|listed| Some(HistoryName::parse(&listed.name)?.last)));
    if state.is_none() {
        for id in archive_ids(folder)? {
            used.extend(numbers(&folder.list(Place::ArchiveSegments(&id))?));
        }
    }
    let used = used.into_iter().filter(|number| *number < MAX_NUMBER).max();
    let noted = match Notes::read(folder) {
        Err(StoreError::Unreadable { .. }) => 0,
        notes => notes?.cleaned.removed_below,
    };
    let known = [used.map_or(0, |number| number + 1), noted, archived.segments_below()];
    let wanted = |number: &&u64| archives && **number >= archived.segments_below();
    Ok(Some(Found {
        state,
        at_least: known.into_iter().filter(|number| *number < MAX_NUMBER).max().unwrap_or(0),
        unarchived: media.iter().filter(wanted).count() as u64,
    }))
}

fn numbers(listed: &[Listed]) -> impl Iterator<Item = u64> {
    listed.iter().filter_map(|listed| media_file_number(&listed.name))
}

fn archive_ids(folder: &DeviceFolder) -> Result<Vec<SessionId>, StoreError> {
    let listed = folder.list(Place::Archives)?;
    let folders = listed.iter().filter(|listed| listed.is_folder);
    Ok(folders.filter_map(|listed| SessionId::new(&listed.name).ok()).collect())
}

/// What [`remove`] would do.
fn dry_run(
    folder: &DeviceFolder,
    task: &Task,
    how: Reset,
    found: &Found,
    target_duration_secs: u32,
) -> Result<ResetReport, StoreError> {
    let known = found.state.as_ref().map_or(0, |state| state.next_segment);
    let state = DeviceState::new(target_duration_secs, known.max(found.at_least), 0);
    let hand = Hand::new(folder, true);
    let mut report = report(&state, found);
    Sweep::of_reset(&hand, task, &state).stream(&mut report.stream)?;
    remove_besides(&hand, how, &mut report)?;
    Ok(report)
}

/// Removes everything of a stream that has been begun anew.
fn remove(
    folder: &DeviceFolder,
    task: &Task,
    how: Reset,
    found: &Found,
) -> Result<ResetReport, StoreError> {
    let hand = Hand::new(folder, false);
    let Some(state) = folder.state()? else { return Ok(ResetReport::default()) };
    // Nothing has left the new stream's playlist so far.
    let begins_at = state.published.media_sequence;
    let mut notes = match Notes::read(folder) {
        Err(StoreError::Unreadable { .. }) => Notes::in_place_of_unreadable(folder)?,
        notes => notes?,
    };
    notes.cleaned = Cleaned {
        removed_below: begins_at,
        history_below: begins_at,
        // What an interruption leaves is looked for by the next clean-up.
        orphans_due_at: Some(task.now),
        ..Cleaned::new()
    };
    notes.write(folder, task.now)?;
    reached(steps::RESET_NOTED);
    let mut report = report(&state, found);
    let mut sweep = Sweep::new(&hand, task, &state, (begins_at, begins_at));
    sweep.stream(&mut report.stream)?;
    sweep.tell_foreign(0);
    reached(steps::RESET_STREAM_REMOVED);
    remove_besides(&hand, how, &mut report)?;
    Ok(report)
}

fn report(state: &DeviceState, found: &Found) -> ResetReport {
    ResetReport {
        next_segment: state.published.media_sequence,
        state_was_lost: found.state.is_none(),
        unarchived: found.unarchived,
        ..ResetReport::default()
    }
}

fn remove_besides(hand: &Hand<'_>, how: Reset, report: &mut ResetReport) -> Result<(), StoreError> {
    if how.with_frames {
        take(hand, Place::Frames, files(hand.folder, Place::Frames)?, &mut report.frames)?;
    }
    if how.with_archives {
        for id in archive_ids(hand.folder)? {
            remove_archive(hand, &id, report)?;
        }
    }
    Ok(())
}

/// What an archive says of itself goes first: without it there is no archive.
fn remove_archive(
    hand: &Hand<'_>,
    id: &SessionId,
    report: &mut ResetReport,
) -> Result<(), StoreError> {
    let (place, media) = (Place::Archive(id), Place::ArchiveSegments(id));
    let before = report.archive_files.files;
    let (document, others) =
        files(hand.folder, place)?.into_iter().partition(|listed| listed.name == ARCHIVE_FILE);
    take(hand, place, document, &mut report.archive_files)?;
    report.archives += report.archive_files.files - before;
    hand.settle(place)?;
    reached(steps::RESET_ARCHIVE_UNMADE);
    take(hand, place, others, &mut report.archive_files)?;
    take(hand, media, files(hand.folder, media)?, &mut report.archive_files)?;
    if !hand.dry_run {
        hand.folder.remove_folder(media)?;
        hand.folder.remove_folder(place)?;
    }
    Ok(())
}

fn files(folder: &DeviceFolder, place: Place<'_>) -> Result<Vec<Listed>, StoreError> {
    let mut listed = folder.list(place)?;
    listed.retain(|listed| !listed.is_folder);
    Ok(listed)
}
