//! `archive.json`: what an archive says of itself (pure). It is written last and removed first:
//! where it is and says `ready`, the archive is whole.
//!
//! Architecture invariant: it is the truth about its archive, and everything in it follows from
//! the records of the session's segments; the database has a copy of some of it.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::sessions::Session;
use crate::model::{ClientId, DeviceId, DeviceKey, SessionId, UtcMillis};
use crate::playlist::VodEntry;
use crate::store::layout::Place;

/// The layout of [`Document`] as it is stored.
pub const DOCUMENT_FORMAT: u32 = 1;

/// How much of a document has to be read to know when a whole archive expires.
pub const HEAD_BYTES: u64 = 128;

/// What every ready document begins with, as serde writes it.
const READY_HEAD: &str = r#"{"format":1,"status":"ready","expires_at":""#;

/// Whether an archive can be played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It can.
    Ready,
    /// It could not be made so far.
    Failed,
}

impl Status {
    /// The word for it, in the document and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Failed => "failed",
        }
    }
}

/// What an archive says of itself. Times are RFC 3339 in UTC.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// The layout of this document: [`DOCUMENT_FORMAT`].
    pub format: u32,
    /// Whether it can be played.
    pub status: Status,
    /// When it may be removed.
    #[serde(with = "rfc3339")]
    pub expires_at: UtcMillis,
    /// When it was made, or tried.
    #[serde(with = "rfc3339")]
    pub archived_at: UtcMillis,
    /// Why it could not be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How often it was tried.
    pub attempts: u32,
    /// Whose device.
    pub client_id: ClientId,
    /// Which one.
    pub device_id: DeviceId,
    /// The session; the name of the archive's folder.
    pub session_id: SessionId,
    /// Whose the archive is: the client's.
    pub owner_client_id: ClientId,
    /// When the first frame was taken.
    #[serde(with = "rfc3339")]
    pub started_at: UtcMillis,
    /// When the last frame has been shown, by the camera's clock.
    #[serde(with = "rfc3339")]
    pub ended_at: UtcMillis,
    /// When the first segment was committed.
    #[serde(with = "rfc3339")]
    pub first_committed_at: UtcMillis,
    /// When the last segment was committed.
    #[serde(with = "rfc3339")]
    pub last_committed_at: UtcMillis,
    /// From `started_at` to `ended_at`, in seconds.
    pub duration_seconds: f64,
    /// The number of the session's first segment.
    pub first_segment_number: u64,
    /// The number of the session's last segment.
    pub last_segment_number: u64,
    /// How many segments the archive has.
    pub segment_count: u64,
    /// How many frames they show.
    pub frame_count: u64,
    /// How large their media files are together; init files and playlist come on top.
    pub size_bytes: u64,
    /// The archive's folder, relative to the base path.
    pub archive_path: String,
    /// SHA-256 of the playlist in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub playlist_sha256: Option<String>,
    /// The segments in the order of the playlist.
    pub segments: Vec<ArchivedSegment>,
    /// The session's segments whose files were not there any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing_segments: Vec<Missing>,
}

/// One segment of an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchivedSegment {
    /// Its number in the stream.
    pub number: u64,
    /// Its file's name within `segments`.
    pub file: String,
    /// Its init file's name within `segments`; it begins with that file's SHA-256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<String>,
    /// What it lasts.
    pub duration_millis: u32,
    /// When its first frame was taken.
    #[serde(with = "rfc3339")]
    pub captured_at: UtcMillis,
    /// How many frames it shows.
    pub frame_count: u64,
    /// Whether it does not continue the one before it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub discontinuity: bool,
    /// The media file's size.
    pub size_bytes: u64,
    /// SHA-256 of the media file in hexadecimal.
    pub sha256: String,
}

/// Segments that are missing, `first` and `last` included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// The first one's number.
    pub first: u64,
    /// The last one's number.
    pub last: u64,
}

/// What a document says besides what follows from the session.
#[derive(Clone, Copy, Debug)]
pub struct Making<'a> {
    /// Whose session it is.
    pub key: &'a DeviceKey,
    /// How manieth try it is, from 1.
    pub attempts: u32,
    /// When it is made.
    pub now: UtcMillis,
    /// How long it is kept.
    pub keep: Duration,
}

impl Document {
    /// The document of an archive that has `segments` of the session and lists them in a
    /// playlist of this checksum.
    pub fn ready(
        making: &Making<'_>,
        session: &Session<'_>,
        segments: Vec<ArchivedSegment>,
        playlist_sha256: String,
    ) -> Self {
        Self {
            segment_count: segments.len() as u64,
            frame_count: segments.iter().map(|segment| segment.frame_count).sum(),
            size_bytes: segments.iter().map(|segment| segment.size_bytes).sum(),
            playlist_sha256: Some(playlist_sha256),
            missing_segments: missing(session, &segments),
            segments,
            ..Self::about(making, session)
        }
    }

    /// The document of an archive that could not be made since `since`.
    pub fn failed(
        making: &Making<'_>,
        session: &Session<'_>,
        error: String,
        since: UtcMillis,
    ) -> Self {
        Self {
            status: Status::Failed,
            expires_at: since.plus(making.keep),
            error: Some(error),
            ..Self::about(making, session)
        }
    }

    fn about(making: &Making<'_>, session: &Session<'_>) -> Self {
        let DeviceKey { client, device } = making.key;
        let (oldest, newest) = (session.records.first(), session.records.last());
        Self {
            format: DOCUMENT_FORMAT,
            status: Status::Ready,
            expires_at: making.now.plus(making.keep),
            archived_at: making.now,
            error: None,
            attempts: making.attempts,
            client_id: client.clone(),
            device_id: device.clone(),
            session_id: session.id.clone(),
            owner_client_id: client.clone(),
            started_at: session.started_at(),
            ended_at: session.ended_at(),
            first_committed_at: oldest.map(|record| record.committed_at).unwrap_or_default(),
            last_committed_at: newest.map(|record| record.committed_at).unwrap_or_default(),
            duration_seconds: session.duration().as_secs_f64(),
            first_segment_number: oldest.map(|record| record.number).unwrap_or_default(),
            last_segment_number: newest.map(|record| record.number).unwrap_or_default(),
            segment_count: 0,
            frame_count: 0,
            size_bytes: 0,
            archive_path: Place::Archive(&session.id).folder(making.key),
            playlist_sha256: None,
            segments: Vec::new(),
            missing_segments: Vec::new(),
        }
    }

    /// Whose archive it is.
    pub fn key(&self) -> DeviceKey {
        DeviceKey { client: self.client_id.clone(), device: self.device_id.clone() }
    }
}

/// When a ready archive expires, by the first [`HEAD_BYTES`] of its document: none if these do
/// not say it, and the whole of it has to be read.
pub fn expires_at_by_head(head: &[u8]) -> Option<UtcMillis> {
    let text = std::str::from_utf8(head).ok()?;
    let (at, _) = text.strip_prefix(READY_HEAD)?.split_once('"')?;
    UtcMillis::parse_rfc3339(at)
}

/// The segments of a session whose files are there: all but those with the numbers `lost`. Where
/// one is missing the next one continues nothing.
pub fn segments_left(session: &Session<'_>, lost: &BTreeSet<u64>) -> Vec<ArchivedSegment> {
    let mut expected = None;
    let left = session.records.iter().filter(|record| !lost.contains(&record.number));
    left.map(|record| {
        let continues = expected.is_none_or(|expected| expected == record.number);
        expected = record.number.checked_add(1);
        ArchivedSegment {
            number: record.number,
            file: record.file.clone(),
            init: record.init.clone(),
            duration_millis: record.duration_millis,
            captured_at: record.captured_at,
            frame_count: record.frames.len() as u64,
            discontinuity: record.discontinuity || !continues,
            size_bytes: record.size_bytes,
            sha256: record.sha256.clone(),
        }
    })
    .collect()
}

/// What the playlist says of a segment.
pub fn entry_of(segment: &ArchivedSegment) -> VodEntry<'_> {
    VodEntry {
        file: &segment.file,
        init: segment.init.as_deref(),
        duration_millis: segment.duration_millis,
        discontinuity: segment.discontinuity,
        captured_at: segment.captured_at,
    }
}

/// The runs of numbers between a session's first and its last that no segment has.
fn missing(session: &Session<'_>, segments: &[ArchivedSegment]) -> Vec<Missing> {
    let (Some(oldest), Some(newest)) = (session.records.first(), session.records.last()) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let mut expected = oldest.number;
    let end = newest.number.saturating_add(1);
    for number in segments.iter().map(|segment| segment.number).chain([end]) {
        if expected < number {
            found.push(Missing { first: expected, last: number - 1 });
        }
        expected = number.saturating_add(1);
    }
    found
}

/// Instants as text.
mod rfc3339 {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::model::UtcMillis;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    pub fn serialize<S: Serializer>(at: &UtcMillis, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(at)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<UtcMillis, D::Error> {
        let text = String::deserialize(from)?;
        UtcMillis::parse_rfc3339(&text).ok_or_else(|| D::Error::custom("not an RFC 3339 time"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{START, run, settings};
    use super::super::sessions::finished;
    use super::*;
    use crate::store::SegmentRecord;

    fn key() -> DeviceKey {
        DeviceKey::new("client-1", "camera-1").unwrap()
    }

    fn document(records: &[SegmentRecord], lost: &[u64]) -> Document {
        let end = records.last().unwrap().number + 1;
        let session = &finished(records, 0, end)[0];
        let key = key();
        let making = Making { key: &key, attempts: 1, now: START, keep: settings().keep };
        let segments = segments_left(session, &lost.iter().copied().collect());
        Document::ready(&making, session, segments, "ab".into())
    }

    #[test]
    fn a_document_has_every_field_of_the_table_and_is_read_back() {
        let document = document(&run(&[(0, 4)]), &[]);
        let json: serde_json::Value = serde_json::to_value(&document).unwrap();
        let expected = serde_json::json!({
            "client_id": "client-1",
            "device_id": "camera-1",
            "session_id": "20260131T080000Z-000000",
            "owner_client_id": "client-1",
            "started_at": "2026-01-31T08:00:00.000Z",
            "ended_at": "2026-01-31T08:02:00.000Z",
            "duration_seconds": 120.0,
            "first_segment_number": 0,
            "last_segment_number": 3,
            "segment_count": 4,
            "archive_path":
                "client_ids/client-1/device_id/camera-1/archives/20260131T080000Z-000000",
            "status": "ready",
            "expires_at": "2026-02-07T08:00:00.000Z",
        });
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&json[name], value, "{name}");
        }
        assert_eq!((document.frame_count, document.size_bytes), (24, 4_006));
        assert_eq!(json["segments"][2]["sha256"], format!("{:064x}", 2));
        assert_eq!(serde_json::from_value::<Document>(json).unwrap(), document);
    }

    #[test]
    fn the_head_says_when_a_ready_archive_expires_and_nothing_of_any_other() {
        let head = |document: &Document| {
            let text = serde_json::to_vec(document).unwrap();
            expires_at_by_head(text.get(..usize::try_from(HEAD_BYTES).unwrap()).unwrap())
        };
        let ready = document(&run(&[(0, 4)]), &[]);
        assert_eq!(head(&ready), Some(ready.expires_at));
        let failed = Document { status: Status::Failed, ..ready };
        assert_eq!(head(&failed), None);
        assert_eq!(expires_at_by_head(b""), None);
        assert_eq!(expires_at_by_head(READY_HEAD.as_bytes()), None);
        assert_eq!(expires_at_by_head(&[READY_HEAD.as_bytes(), b"soon\""].concat()), None);
    }

    #[test]
    fn missing_segments_are_told_and_what_follows_continues_nothing() {
        let mut records = run(&[(0, 12)]);
        // Of the fifth there is no record any more either.
        records.remove(5);
        let document = document(&records, &[0, 1, 4, 9, 11]);
        let numbers: Vec<_> = document.segments.iter().map(|segment| segment.number).collect();
        assert_eq!(numbers, [2, 3, 6, 7, 8, 10]);
        let broken = document.segments.iter().filter(|segment| segment.discontinuity);
        assert_eq!(broken.map(|segment| segment.number).collect::<Vec<_>>(), [6, 10]);
        let missing: Vec<_> =
            document.missing_segments.iter().map(|gap| (gap.first, gap.last)).collect();
        assert_eq!(missing, [(0, 1), (4, 5), (9, 9), (11, 11)]);
        assert_eq!((document.first_segment_number, document.last_segment_number), (0, 11));
    }

    #[test]
    fn a_failed_archive_says_why_and_expires_by_its_first_failure() {
        let records = run(&[(0, 4)]);
        let session = &finished(&records, 0, 4)[0];
        let key = key();
        let later = START.plus_millis(1_000);
        let making = Making { key: &key, attempts: 3, now: later, keep: settings().keep };
        let document = Document::failed(&making, session, "the disk is full".into(), START);
        assert_eq!((document.status, document.segment_count), (Status::Failed, 0));
        assert_eq!(document.expires_at, START.plus(settings().keep));
        assert_eq!((document.attempts, document.archived_at), (3, later));
    }
}
