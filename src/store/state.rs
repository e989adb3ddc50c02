//! What is kept of a device between segments, and what of a segment.

use serde::{Deserialize, Serialize};

use crate::media::timeline::Timeline;
use crate::model::{EventId, UtcMillis};

/// One committed frame.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FrameRecord {
    /// The event that named it.
    #[serde(rename = "id")]
    pub event_id: EventId,
    /// When it was taken.
    #[serde(rename = "at")]
    pub captured_at: UtcMillis,
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
    /// The media file's size.
    pub size_bytes: u64,
    /// The frames it shows, in capture order.
    pub frames: Vec<FrameRecord>,
}

/// A device's durable state: rewritten with every segment, so it stays a few KiB.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DeviceState {
    /// The layout of this document; 1.
    pub format: u32,
    /// Counts the commits: whoever holds another number than the stored one has been fenced.
    pub generation: u64,
    /// The number of the next segment.
    pub next_segment: u64,
    /// Where media time stands; none before the first segment.
    pub timeline: Option<Timeline>,
    /// The newest capture time that was committed: a frame after it cannot be a duplicate.
    pub last_captured_at: Option<UtcMillis>,
    /// The newest segments, oldest first; older ones are in the history files.
    pub recent: Vec<SegmentRecord>,
}
