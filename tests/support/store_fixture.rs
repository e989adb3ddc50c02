//! Devices, segments and states for the tests of the store.
#![allow(dead_code)] // Each test binary uses its own part of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use stream_processor::media::timeline::{PictureSize, Timeline};
use stream_processor::model::{DeviceKey, EventId, UtcMillis};
use stream_processor::store::{
    CommitError, DeviceState, FrameRecord, NewSegment, Store, StoreSettings,
};

/// When the first frame of every test was taken.
pub const START: UtcMillis = UtcMillis(1_769_846_400_000);
/// What a segment of the tests lasts.
pub const SEGMENT_MILLIS: u32 = 30_000;
/// How many frames a segment of the tests shows.
pub const FRAMES: u64 = 6;

pub fn key() -> DeviceKey {
    DeviceKey::new("client-1", "camera-1").unwrap()
}

pub fn settings() -> StoreSettings {
    StoreSettings::default()
}

pub fn store(base: &Path) -> Store {
    Store::at(base, settings()).unwrap()
}

/// A base path in memory where the machine has one, for tests that commit a whole day: syncing
/// costs nothing there.
pub fn roomy_base() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

pub fn hls(base: &Path) -> PathBuf {
    base.join("client_ids/client-1/device_id/camera-1/hls")
}

/// When segment `number` starts, for a stream without silences.
pub fn starts_at(number: u64) -> UtcMillis {
    START.plus_millis(i64::try_from(number).unwrap() * i64::from(SEGMENT_MILLIS))
}

/// When segment `number` is committed: as soon as it has ended.
pub fn commits_at(number: u64) -> UtcMillis {
    starts_at(number + 1).plus(Duration::from_millis(700))
}

/// The `index`th frame of segment `number`, with an id as long as a UUID.
pub fn frame(number: u64, index: u64) -> FrameRecord {
    let millis = i64::try_from(index).unwrap() * i64::from(SEGMENT_MILLIS) / 6;
    FrameRecord {
        event_id: EventId::new(&format!("{number:08}-0000-4000-8000-{index:012}")).unwrap(),
        captured_at: starts_at(number).plus_millis(millis),
        file: None,
    }
}

pub fn frames(number: u64) -> Vec<FrameRecord> {
    (0..FRAMES).map(|index| frame(number, index)).collect()
}

/// Segment `number` of an unbroken stream, a transport stream by its looks.
pub fn segment(number: u64) -> NewSegment {
    let mut media = vec![0x47; 188 * 3];
    media.extend(number.to_be_bytes());
    media.resize(188 * 4, 0);
    NewSegment {
        media: Bytes::from(media),
        init: None,
        duration_millis: SEGMENT_MILLIS,
        captured_at: starts_at(number),
        discontinuity: false,
        begins_session: false,
        frame_bytes: 6 * 1_000,
        frames: frames(number),
    }
}

pub fn timeline(number: u64) -> Option<Timeline> {
    Some(Timeline {
        end_ticks: (number + 1) * u64::from(SEGMENT_MILLIS) * 90,
        end_at: starts_at(number + 1),
        last_captured_at: frame(number, FRAMES - 1).captured_at,
        interval_millis: 5_000,
        size: PictureSize { width: 1_920, height: 1_080 },
        encoding: 1,
    })
}

/// Commits the next segment of an unbroken stream.
pub async fn commit_next(store: &Store, state: &DeviceState) -> Result<DeviceState, CommitError> {
    let number = state.next_segment;
    store.commit(&key(), state, vec![segment(number)], timeline(number), commits_at(number)).await
}

/// Opens the device and commits segments until it has `until` of them.
pub async fn fill(store: &Store, until: u64) -> DeviceState {
    let mut state = store.open(&key()).await.unwrap();
    while state.next_segment < until {
        state = commit_next(store, &state).await.unwrap();
    }
    state
}

pub fn playlist(base: &Path) -> String {
    std::fs::read_to_string(hls(base).join("playlist.m3u8")).unwrap()
}

/// Every file below `folder` with its content, the lock and folders left out.
pub fn everything(folder: &Path) -> std::collections::BTreeMap<PathBuf, Vec<u8>> {
    let mut found = std::collections::BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.clone(), std::fs::read(path).unwrap());
            }
        }
    }
    found
}
