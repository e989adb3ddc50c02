//! Where a device's media time stands and where its next frames go (pure).
//!
//! Within a run media time and capture time differ by a constant, kept as the pair
//! `end_ticks` and `end_at`: a frame that was shown a little early or late is corrected by the
//! next one, so errors never add up. What breaks a run is decided in one place, when a segment
//! begins.
//!
//! Architecture invariant: no clock, no bytes; every frame given is shown exactly once.

mod interval;
mod layout;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::Playback;
use crate::model::UtcMillis;

/// Media time runs at 90 kHz (ISO/IEC 13818-1, 2.4.3.6); segments begin and end on whole
/// milliseconds, so that EXTINF is exact.
pub const TICKS_PER_SECOND: u64 = 90_000;

/// Ticks of one millisecond.
pub const TICKS_PER_MILLI: u64 = TICKS_PER_SECOND / 1_000;

/// Where media time begins: ten seconds in, so that what must come before a picture (its PCR,
/// a decoder's reordering) never needs a negative time.
pub const FIRST_TICKS: u64 = 10 * TICKS_PER_SECOND;

/// How long ticks count up before they restart with a discontinuity: a PTS has 33 bits
/// (ISO/IEC 13818-1, 2.4.3.7) and would wrap after 26.5 hours.
pub const RUN_TICKS: u64 = 24 * 3_600 * TICKS_PER_SECOND;

/// The size of the pictures: when it changes, so does the encoding, and a discontinuity is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PictureSize {
    /// Width in pixels, even.
    pub width: u32,
    /// Height in pixels, even.
    pub height: u32,
}

/// Where a device's media time stands: small, kept in its durable state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Timeline {
    /// The tick at which the last segment ends and the next, if it is contiguous, begins.
    pub end_ticks: u64,
    /// The capture time that `end_ticks` stands for.
    pub end_at: UtcMillis,
    /// The newest capture time that was shown.
    pub last_captured_at: UtcMillis,
    /// How far apart frames have been of late, in milliseconds.
    pub interval_millis: u32,
    /// The size of the last segment's pictures.
    pub size: PictureSize,
    /// What else of the encoding must be the same for a contiguous segment: container,
    /// playback and quality, as one number.
    pub encoding: u64,
}

/// What the plan depends on besides the frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TimelineSettings {
    /// Real time or time lapse.
    pub playback: Playback,
    /// The longest a segment may last in milliseconds: TARGETDURATION and what rounds to it.
    pub max_segment_millis: u32,
    /// The interval assumed until two frames were seen, in milliseconds.
    pub default_interval_millis: u32,
    /// See [`Timeline::encoding`].
    pub encoding: u64,
}

/// One frame that will be shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShownFrame {
    /// When it was taken.
    pub captured_at: UtcMillis,
    /// The size it will be shown at.
    pub size: PictureSize,
}

/// How one frame is shown: `pictures` pictures, evenly spread over its time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Showing {
    /// When its first picture is shown.
    pub start_ticks: u64,
    /// How long it is shown, all its pictures together.
    pub duration_ticks: u64,
    /// How many pictures: itself and its repeats.
    pub pictures: u32,
}

/// One segment to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentPlan {
    /// Which of the frames it shows.
    pub frames: Range<usize>,
    /// Whether it does not continue the segment before it.
    pub discontinuity: bool,
    /// One per frame, contiguous.
    pub showings: Vec<Showing>,
}

/// Lays `frames`, ascending by capture time, behind `previous` and says where media time
/// stands then: `previous` itself when there are no frames. Frames that do not ascend are
/// taken to be 1 ms apart.
///
/// A segment continues the one before it unless the pictures' size or the encoding changed,
/// the captures in between were a silence, media time and capture time have come apart by more
/// than 1 s and three quarters of an interval, or [`RUN_TICKS`] are used up.
///
/// At a discontinuity ticks go on where they were (but for the last of these reasons) instead
/// of restarting. A segment's PTS then stays the playlist's own time plus one constant, so that
/// a player which handles discontinuities badly still finds every picture.
pub fn plan(
    previous: Option<&Timeline>,
    frames: &[ShownFrame],
    settings: &TimelineSettings,
) -> (Vec<SegmentPlan>, Option<Timeline>) {
    layout::Layout::new(previous, frames, settings).segments(previous.copied())
}
