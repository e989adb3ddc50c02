//! The records of older segments: immutable files of some KiB, found by the capture times in
//! their names. Answers whether a frame has been committed, however long ago.

use std::sync::Arc;

use super::device::DeviceFolder;
use super::layout::{HistoryName, Place};
use super::lru::Lru;
use super::{DeviceState, FrameRecord, Inner, SegmentRecord, Store, StoreError};
use crate::model::{DeviceKey, EventId};

/// Devices whose listing is kept: about 13 KiB each for a day of 30-second segments.
const MAX_LISTINGS: usize = 512;

/// History files whose frames are kept: about 3 KiB each.
const MAX_FILES: usize = 1_024;

/// A device's history files, as of the state whose oldest recent segment is the number.
type Listing = (u64, Arc<[HistoryName]>);

/// What has been read of late; bounded. History files never change, and a listing holds for as
/// long as nothing more has been spilled, so both stay right when another worker commits.
pub(super) struct Caches {
    listings: Lru<DeviceKey, Listing>,
    files: Lru<(DeviceKey, HistoryName), Arc<[EventId]>>,
}

impl Default for Caches {
    fn default() -> Self {
        Self { listings: Lru::new(MAX_LISTINGS), files: Lru::new(MAX_FILES) }
    }
}

impl Store {
    /// Whether a frame has been committed. Only one whose capture time is not after
    /// `last_captured_at` can have been; that, and the newest segments, take no disk access.
    /// Otherwise at most a listing and the one or two files that cover the capture time.
    ///
    /// # Errors
    /// [`StoreError`] if a history file cannot be read or is not one.
    pub async fn is_committed(
        &self,
        key: &DeviceKey,
        state: &DeviceState,
        frame: &FrameRecord,
    ) -> Result<bool, StoreError> {
        if state.last_captured_at.is_none_or(|last| frame.captured_at > last) {
            return Ok(false);
        }
        let mut recent = state.recent.iter().flat_map(|record| &record.frames);
        if recent.any(|known| known.event_id == frame.event_id) {
            return Ok(true);
        }
        let first_recent = state.first_recent();
        let known = self.inner.caches.cached_answer(key, first_recent, frame);
        if let Some(answer) = known {
            return Ok(answer);
        }
        let (key, frame) = (key.clone(), frame.clone());
        self.blocking(move |inner| look_up(inner, &key, first_recent, &frame)).await
    }

    /// Every segment ever recorded for a device, oldest first, each once: for checks. Takes no
    /// lock and changes nothing: history files are immutable, and the state says where they end.
    ///
    /// # Errors
    /// [`StoreError`] if the state or a history file cannot be read.
    pub async fn committed_segments(
        &self,
        key: &DeviceKey,
    ) -> Result<Vec<SegmentRecord>, StoreError> {
        self.on_device(key, |folder| match folder.state()? {
            Some(state) => folder.records(&state, 0),
            None => Ok(Vec::new()),
        })
        .await
    }

    /// Every frame ever recorded for a device, in the order of its segments.
    ///
    /// # Errors
    /// As [`Store::committed_segments`].
    pub async fn committed_frames(
        &self,
        key: &DeviceKey,
    ) -> Result<impl Iterator<Item = FrameRecord> + use<>, StoreError> {
        let records = self.committed_segments(key).await?;
        Ok(records.into_iter().flat_map(|record| record.frames))
    }
}

impl Caches {
    fn listing(&self, key: &DeviceKey, first_recent: u64) -> Option<Arc<[HistoryName]>> {
        let (as_of, names) = self.listings.get(key)?;
        (as_of == first_recent).then_some(names)
    }

    /// The answer, if everything it takes is in memory.
    fn cached_answer(
        &self,
        key: &DeviceKey,
        first_recent: u64,
        frame: &FrameRecord,
    ) -> Option<bool> {
        let names = self.listing(key, first_recent)?;
        for name in names.iter().filter(|name| name.may_hold(frame.captured_at)) {
            if self.files.get(&(key.clone(), *name))?.contains(&frame.event_id) {
                return Some(true);
            }
        }
        Some(false)
    }
}

fn look_up(
    inner: &Inner,
    key: &DeviceKey,
    first_recent: u64,
    frame: &FrameRecord,
) -> Result<bool, StoreError> {
    let folder = inner.device(key);
    let names = match inner.caches.listing(key, first_recent) {
        Some(names) => names,
        None => {
            let names: Arc<[HistoryName]> = list(&folder, first_recent)?.into();
            inner.caches.listings.put(key.clone(), (first_recent, names.clone()));
            names
        }
    };
    for name in names.iter().filter(|name| name.may_hold(frame.captured_at)) {
        let cached = (key.clone(), *name);
        let ids = match inner.caches.files.get(&cached) {
            Some(ids) => ids,
            None => {
                let records = read(&folder, name)?;
                let frames = records.into_iter().flat_map(|record| record.frames);
                let ids: Arc<[EventId]> = frames.map(|frame| frame.event_id).collect();
                inner.caches.files.put(cached, ids.clone());
                ids
            }
        };
        if ids.contains(&frame.event_id) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The records of the segments from number `from` on, the state's own included, oldest first.
pub(super) fn records(
    folder: &DeviceFolder,
    state: &DeviceState,
    from: u64,
) -> Result<Vec<SegmentRecord>, StoreError> {
    let mut all: Vec<SegmentRecord> = Vec::new();
    for name in list(folder, state.first_recent())?.iter().filter(|name| name.last >= from) {
        for record in read(folder, name)? {
            // After a crash, two files may hold the same record.
            if record.number >= from && all.last().is_none_or(|last| last.number < record.number) {
                all.push(record);
            }
        }
    }
    all.extend(state.recent.iter().filter(|record| record.number >= from).cloned());
    Ok(all)
}

/// The history files whose records are no longer in the state, oldest first.
pub(super) fn list(
    folder: &DeviceFolder,
    first_recent: u64,
) -> Result<Vec<HistoryName>, StoreError> {
    let listed = folder.list(Place::History)?;
    let mut names: Vec<_> =
        listed.iter().filter_map(|listed| HistoryName::parse(&listed.name)).collect();
    names.retain(|name| name.last < first_recent);
    names.sort_unstable();
    Ok(names)
}

fn read(folder: &DeviceFolder, name: &HistoryName) -> Result<Vec<SegmentRecord>, StoreError> {
    let read = folder.read_json(Place::History, &name.file_name())?;
    // Retention may remove a file between the listing and now.
    Ok(read.map(|(records, _)| records).unwrap_or_default())
}
