//! What is kept of a device between segments, and what of a segment.

use serde::{Deserialize, Serialize};

use crate::media::timeline::Timeline;
use crate::model::{EventId, SessionId, UtcMillis};

/// The layout of [`DeviceState`] as it is stored.
pub const STATE_FORMAT: u32 = 1;

/// One committed frame.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FrameRecord {
    /// The event that named it.
    #[serde(rename = "id")]
    pub event_id: EventId,
    /// When it was taken.
    #[serde(rename = "at")]
    pub captured_at: UtcMillis,
    /// Its file's name within the device's folder of frames, where that is not the event's id
    /// and `.jpg`. None as well for a frame from elsewhere, which is not ours to remove.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// One committed segment: what the playlist says of it and which frames it shows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SegmentRecord {
    /// Its number: counts up by one for the device's whole life.
    pub number: u64,
    /// Its file's name within the segments folder.
    pub file: String,
    /// Its init file's name within the segments folder (fMP4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<String>,
    /// What it lasts.
    pub duration_millis: u32,
    /// When its first frame was taken.
    pub captured_at: UtcMillis,
    /// When it was committed: retention goes by this.
    pub committed_at: UtcMillis,
    /// Whether it does not continue the segment before it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub discontinuity: bool,
    /// Whether a session begins with it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub begins_session: bool,
    /// The media file's size.
    pub size_bytes: u64,
    /// SHA-256 of the media file in hexadecimal; empty where a release before did not note it.
    #[serde(default)]
    pub sha256: String,
    /// The size of its frames' JPEGs together.
    #[serde(default)]
    pub frame_bytes: u64,
    /// The frames it shows, in capture order.
    pub frames: Vec<FrameRecord>,
}

impl SegmentRecord {
    /// When its last frame was taken.
    pub fn last_captured_at(&self) -> UtcMillis {
        self.frames.last().map_or(self.captured_at, |frame| frame.captured_at)
    }

    /// When its last frame has been shown, by the capture clock.
    pub fn ends_at(&self) -> UtcMillis {
        self.captured_at.plus_millis(self.duration_millis.into())
    }
}

/// The session that a device is in: what of it is known with every segment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OpenSession {
    /// Its name.
    pub id: SessionId,
    /// When its first segment was committed.
    pub started_at: UtcMillis,
    /// When its newest segment was committed.
    pub last_frame_at: UtcMillis,
    /// When its first frame was taken.
    pub first_captured_at: UtcMillis,
    /// When its newest frame was taken.
    pub last_captured_at: UtcMillis,
    /// The number of its first segment.
    pub first_segment: u64,
    /// The number of its newest segment.
    pub last_segment: u64,
    /// How many frames it has.
    pub frame_count: u64,
}

impl OpenSession {
    /// The session that begins with this segment.
    pub fn begin(record: &SegmentRecord) -> Self {
        Self {
            id: SessionId::of(record.captured_at, record.number),
            started_at: record.committed_at,
            last_frame_at: record.committed_at,
            first_captured_at: record.captured_at,
            last_captured_at: record.last_captured_at(),
            first_segment: record.number,
            last_segment: record.number,
            frame_count: record.frames.len() as u64,
        }
    }

    /// Takes in the next segment.
    pub fn extend(&mut self, record: &SegmentRecord) {
        self.last_frame_at = record.committed_at;
        self.last_captured_at = record.last_captured_at().max(self.last_captured_at);
        self.last_segment = record.number;
        self.frame_count = self.frame_count.saturating_add(record.frames.len() as u64);
    }
}

/// The playlist that belongs to a state: enough to know whether the one on disk is it, and to
/// write it again if not.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PublishedPlaylist {
    /// Its EXT-X-MEDIA-SEQUENCE: the oldest listed segment.
    pub media_sequence: u64,
    /// Its EXT-X-DISCONTINUITY-SEQUENCE.
    pub discontinuity_sequence: u64,
    /// SHA-256 of its text in hexadecimal; empty before the first segment.
    pub sha256: String,
}

/// A device's durable state: rewritten with every segment, so it stays a few KiB.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DeviceState {
    /// The layout of this document: [`STATE_FORMAT`].
    pub format: u32,
    /// Counts the commits: whoever holds another number than the stored one has been fenced.
    /// 0 before the first, when nothing is stored.
    pub generation: u64,
    /// The number of the next segment.
    pub next_segment: u64,
    /// The stream's target duration in seconds, fixed with its first segment (RFC 8216 section
    /// 6.2.1): segments are made to fit it, whatever the settings say by now.
    pub target_duration_secs: u32,
    /// The playlist that goes with this state.
    pub published: PublishedPlaylist,
    /// Where media time stands; none before the first segment.
    pub timeline: Option<Timeline>,
    /// The newest capture time that was committed: a frame after it cannot be a duplicate.
    pub last_captured_at: Option<UtcMillis>,
    /// The session that the newest segment is of, unless it has been ended.
    #[serde(default)]
    pub session: Option<OpenSession>,
    /// The newest segments, oldest first; older ones are in the history files.
    pub recent: Vec<SegmentRecord>,
}

impl DeviceState {
    /// The state of a stream without segments.
    pub fn new(target_duration_secs: u32, next_segment: u64, discontinuity_sequence: u64) -> Self {
        Self {
            format: STATE_FORMAT,
            generation: 0,
            next_segment,
            target_duration_secs,
            published: PublishedPlaylist {
                media_sequence: next_segment,
                discontinuity_sequence,
                sha256: String::new(),
            },
            timeline: None,
            last_captured_at: None,
            session: None,
            recent: Vec::new(),
        }
    }

    /// What in it cannot be, as far as its numbers tell; none of what a commit has written. A
    /// state that was edited by hand must not make a number be given out twice.
    pub(super) fn contradiction(&self) -> Option<String> {
        let Self { next_segment, published, recent, session, .. } = self;
        let numbers = || recent.iter().map(|record| record.number);
        let newest = numbers().max().max(session.as_ref().map(|session| session.last_segment));
        if let Some(newest) = newest.filter(|newest| newest >= next_segment) {
            return Some(format!("says that segment {newest} is there and {next_segment} is next"));
        }
        if published.media_sequence > *next_segment {
            let listed = published.media_sequence;
            return Some(format!("lists segments from {listed} on, and {next_segment} is next"));
        }
        let out_of_order = numbers().zip(numbers().skip(1)).find(|(one, next)| one >= next);
        out_of_order.map(|(one, next)| format!("has segment {next} after segment {one}"))
    }

    /// The number of the oldest segment in `recent`: the history files end before it.
    pub fn first_recent(&self) -> u64 {
        self.recent.first().map_or(self.next_segment, |record| record.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: u64) -> SegmentRecord {
        SegmentRecord {
            number,
            file: format!("seg_{number:06}.ts"),
            init: None,
            duration_millis: 30_000,
            captured_at: UtcMillis(0),
            committed_at: UtcMillis(0),
            discontinuity: false,
            begins_session: false,
            size_bytes: 0,
            sha256: String::new(),
            frame_bytes: 0,
            frames: Vec::new(),
        }
    }

    #[test]
    fn numbers_that_contradict_each_other_are_found() {
        let begun = DeviceState::new(33, 41, 1);
        assert_eq!(begun.contradiction(), None);
        let recent = vec![record(7), record(8)];
        let session = Some(OpenSession::begin(&record(8)));
        let mut whole = DeviceState { next_segment: 9, recent, session, ..begun };
        whole.published.media_sequence = 3;
        assert_eq!(whole.contradiction(), None);
        let found = |change: fn(&mut DeviceState)| {
            let mut changed = whole.clone();
            change(&mut changed);
            changed.contradiction().is_some()
        };
        assert!(found(|state| state.next_segment = 8));
        assert!(found(|state| {
            state.next_segment = 8;
            state.recent.pop();
        }));
        assert!(found(|state| state.published.media_sequence = 10));
        assert!(found(|state| state.recent.reverse()));
        assert!(found(|state| state.recent.push(record(8))));
        assert!(!found(|state| state.recent.clear()));
    }
}
