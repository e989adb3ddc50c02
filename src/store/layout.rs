//! The names of things below the base path (pure). Ids are single path components by their type
//! (`crate::model`), so joining them cannot leave the base path.
//!
//! What other software depends on: `client_ids/{c}/device_id/{d}/frames/{eventId}.jpg`,
//! `…/hls/playlist.m3u8`, `…/hls/segments/…` and `…/archives/{sessionId}/…`. Ours alone, beside
//! them: the other files of `hls/`.

use crate::model::{DeviceKey, EventId, SessionId, UtcMillis};

use super::state::SegmentRecord;

/// The live playlist, within a device's `hls` folder; an archive's, within its own.
pub const PLAYLIST_FILE: &str = "playlist.m3u8";
/// The device's durable state.
pub const STATE_FILE: &str = "state.json";
/// Held with flock(2) during a commit. Never removed: two processes could then hold a lock each.
pub const LOCK_FILE: &str = ".lock";
/// Held by whoever archives or cleans up; never for long, and never waited for by a commit.
pub const UPKEEP_LOCK_FILE: &str = ".upkeep.lock";
/// What has been archived; the archiver's.
pub const ARCHIVED_FILE: &str = "archived.json";
/// What has been cleaned up; the clean-up's.
pub const CLEANED_FILE: &str = "cleaned.json";
/// What an archive says of itself, within its folder: the truth about it.
pub const ARCHIVE_FILE: &str = "archive.json";
/// What of a temporary's name stands for a folder of its path.
const TEMP_SEPARATOR: &str = "+";

/// The folder of all clients.
pub const CLIENTS: &str = "client_ids";

/// A client's folder of devices.
pub fn devices_folder(client: &str) -> String {
    format!("{CLIENTS}/{client}/device_id")
}

/// One of the folders of a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place<'a> {
    /// The playlist, the state and what we know besides.
    Hls,
    /// The media and init files.
    Segments,
    /// The records of older segments.
    History,
    /// Files being written; whatever is in it while nobody holds a lock was left by a crash.
    Temporary,
    /// The JPEGs.
    Frames,
    /// All archives.
    Archives,
    /// One archive.
    Archive(&'a SessionId),
    /// The media and init files of one archive.
    ArchiveSegments(&'a SessionId),
}

impl Place<'_> {
    /// The folder, relative to the base path.
    pub fn folder(self, key: &DeviceKey) -> String {
        let device = format!("{}/{}", devices_folder(key.client.as_str()), key.device);
        match self {
            Self::Hls => format!("{device}/hls"),
            Self::Segments => format!("{device}/hls/segments"),
            Self::History => format!("{device}/hls/history"),
            Self::Temporary => format!("{device}/hls/.tmp"),
            Self::Frames => format!("{device}/frames"),
            Self::Archives => format!("{device}/archives"),
            Self::Archive(id) => format!("{device}/archives/{id}"),
            Self::ArchiveSegments(id) => format!("{device}/archives/{id}/segments"),
        }
    }
}

/// What a record says of a frame's file: its name in the device's folder of frames, none if it
/// is the event's id and `.jpg`, as the contract has it, or if the frame came from elsewhere.
pub fn frame_file(key: &DeviceKey, event_id: &EventId, frame_path: &str) -> Option<String> {
    let (folder, name) = frame_path.rsplit_once('/')?;
    let ours = folder.ends_with(&Place::Frames.folder(key));
    (ours && is_plain(name) && name != default_frame_file(event_id)).then(|| name.to_owned())
}

/// The name that the ingest service gives a frame's file.
pub fn default_frame_file(event_id: &EventId) -> String {
    format!("{event_id}.jpg")
}

/// Whether a name is one component of a path, and not a hidden one.
pub fn is_plain(name: &str) -> bool {
    const MAX_NAME_BYTES: usize = 255;
    !name.is_empty()
        && name.len() <= MAX_NAME_BYTES
        && !name.starts_with('.')
        && !name.chars().any(|c| matches!(c, '/' | '\\') || c.is_control())
}

/// A device's `hls` folder, relative to the base path.
pub fn hls_folder(key: &DeviceKey) -> String {
    Place::Hls.folder(key)
}

/// Where the file `path` is written before it gets its name: in its device's folder of
/// temporaries, under a name that tells apart what the commit and what the upkeep writes.
pub(super) fn temporary(path: &str) -> String {
    let end = path.match_indices('/').nth(3).map(|(end, _)| end);
    match end.and_then(|end| path.split_at_checked(end)) {
        Some((device, below)) if path.starts_with(CLIENTS) => {
            let below = below.trim_start_matches('/');
            let name = below.strip_prefix("hls/").unwrap_or(below);
            format!("{device}/hls/.tmp/{}", name.replace('/', TEMP_SEPARATOR))
        }
        _ => format!("{path}.tmp"),
    }
}

/// Whether a temporary belongs to a commit; the others are the upkeep's, which does not hold the
/// commit's lock.
pub(super) fn is_of_a_commit(temporary: &str) -> bool {
    let upkeep = [ARCHIVED_FILE, CLEANED_FILE];
    !upkeep.contains(&temporary) && !temporary.starts_with(&format!("archives{TEMP_SEPARATOR}"))
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
    fn what_is_being_written_has_a_place_of_its_own() {
        let of = |path: &str| temporary(&format!("client_ids/c/device_id/d/{path}"));
        let place = "client_ids/c/device_id/d/hls/.tmp";
        assert_eq!(of("hls/state.json"), format!("{place}/state.json"));
        assert_eq!(of("hls/segments/seg_000001.ts"), format!("{place}/segments+seg_000001.ts"));
        let archive = of("archives/s/archive.json");
        assert_eq!(archive, format!("{place}/archives+s+archive.json"));
        assert!(is_of_a_commit("state.json") && is_of_a_commit("segments+seg_000001.ts"));
        assert!(!is_of_a_commit("archives+s+archive.json") && !is_of_a_commit(CLEANED_FILE));
        assert_eq!(temporary("probe"), "probe.tmp");
    }

    #[test]
    fn a_frames_file_is_told_only_where_it_is_not_what_it_should_be() {
        let key = DeviceKey::new("c", "d").unwrap();
        let event = EventId::new("e").unwrap();
        let of = |path| frame_file(&key, &event, path);
        assert_eq!(of("client_ids/c/device_id/d/frames/e.jpg"), None);
        assert_eq!(of("/storage/client_ids/c/device_id/d/frames/7.jpeg"), Some("7.jpeg".into()));
        assert_eq!(of("client_ids/c/device_id/other/frames/7.jpeg"), None);
        assert_eq!(of("client_ids/c/device_id/d/hls/state.json"), None);
        assert_eq!(of("client_ids/c/device_id/d/frames/.."), None);
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
