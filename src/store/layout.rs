//! The names of things below the base path (pure). Ids are single path components by their type
//! (`crate::model`), so joining them cannot leave the base path.
//!
//! What other software depends on: `client_ids/{c}/device_id/{d}/hls/playlist.m3u8` and
//! `…/hls/segments/…`. Ours alone, beside them: `hls/state.json`, `hls/.lock`, `hls/history/…`
//! and `hls/.tmp/…`.

use crate::model::{DeviceKey, UtcMillis};

use super::state::SegmentRecord;

/// The live playlist, within a device's `hls` folder.
pub const PLAYLIST_FILE: &str = "playlist.m3u8";
/// The device's durable state.
pub const STATE_FILE: &str = "state.json";
/// Held with flock(2) during a commit. Never removed: two processes could then hold a lock each.
pub const LOCK_FILE: &str = ".lock";
/// The media and init files.
pub const SEGMENTS_FOLDER: &str = "segments";
/// The records of older segments.
pub const HISTORY_FOLDER: &str = "history";
/// Files being written; whatever is in it while nobody holds the lock was left by a crash.
pub const TEMP_FOLDER: &str = ".tmp";

/// A device's `hls` folder, relative to the base path.
pub fn hls_folder(key: &DeviceKey) -> String {
    format!("client_ids/{}/device_id/{}/hls", key.client, key.device)
}

/// Which records a history file holds; all of it is in its name, so that a listing says which
/// files a capture time can be in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HistoryName {
    /// The number of its first segment.
    pub first: u64,
    /// The number of its last segment.
    pub last: u64,
    /// The oldest capture time in it.
    pub oldest: UtcMillis,
    /// The newest capture time in it.
    pub newest: UtcMillis,
}

impl HistoryName {
    /// The name of the file that holds `records`; none for no records.
    pub fn of(records: &[SegmentRecord]) -> Option<Self> {
        let times = || {
            records.iter().flat_map(|record| {
                record.frames.iter().map(|frame| frame.captured_at).chain([record.captured_at])
            })
        };
        Some(Self {
            first: records.first()?.number,
            last: records.last()?.number,
            oldest: times().min()?,
            newest: times().max()?,
        })
    }

    /// Reads a file's name; none when it is not one of ours.
    pub fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_suffix(".json")?.split('_');
        let parsed = Self {
            first: parts.next()?.parse().ok()?,
            last: parts.next()?.parse().ok()?,
            oldest: UtcMillis(parts.next()?.parse().ok()?),
            newest: UtcMillis(parts.next()?.parse().ok()?),
        };
        (parts.next().is_none() && parsed.file_name() == name).then_some(parsed)
    }

    /// The file's name: numbers padded, so that a listing sorts.
    pub fn file_name(&self) -> String {
        let Self { first, last, oldest, newest } = self;
        format!("{first:010}_{last:010}_{}_{}.json", oldest.0, newest.0)
    }

    /// Whether a frame of this capture time can be in the file.
    pub fn may_hold(&self, at: UtcMillis) -> bool {
        self.oldest <= at && at <= self.newest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_file_is_found_again_by_its_name() {
        let name = HistoryName {
            first: 7,
            last: 12_345_678_901,
            oldest: UtcMillis(-5),
            newest: UtcMillis(1_769_846_400_000),
        };
        assert_eq!(HistoryName::parse(&name.file_name()), Some(name));
        for foreign in ["7_8_1_2.json", "a.json", "0000000007_0000000008_1_2_3.json", ".json"] {
            assert_eq!(HistoryName::parse(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn the_names_are_those_of_the_contract() {
        let key = DeviceKey::new("c", "d").unwrap();
        assert_eq!(
            format!("{}/{PLAYLIST_FILE}", hls_folder(&key)),
            "client_ids/c/device_id/d/hls/playlist.m3u8"
        );
    }
}
