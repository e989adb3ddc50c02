//! Cuts frames into segments and gives each frame its time.
//!
//! Positions are milliseconds of capture time: media time is that plus the run's constant, and
//! becomes ticks only when a segment is done.

use super::interval::{self, MIN_SHOWN_MILLIS};
use super::{
    FIRST_TICKS, RUN_TICKS, SegmentPlan, Showing, ShownFrame, TICKS_PER_MILLI, Timeline,
    TimelineSettings,
};
use crate::media::Playback;
use crate::model::UtcMillis;

/// A frame is shown again this often, in milliseconds: players seek to pictures, and browsers
/// do not play fewer than two a second.
const PICTURE_MILLIS: u64 = 500;

/// A segment has at least this many pictures, whatever it lasts: Chromium's own player holds the
/// last seven pictures of what it has back, finds nothing in a transport stream of so few, and
/// gives up (`DEMUXER_ERROR_COULD_NOT_PARSE`; measured with Chromium 156: with seven pictures a
/// segment no seek succeeds, with eight all do).
const LEAST_PICTURES: u32 = 8;

/// Captures are brought into this range of milliseconds, so that sums cannot overflow.
const FARTHEST_CAPTURE_MILLIS: i64 = 1 << 60;

/// Longer segments are never planned, whatever the settings: an hour in milliseconds, far from
/// what is left between [`RUN_TICKS`] and the wrap.
const LONGEST_SEGMENT_MILLIS: i64 = 3_600_000;

/// The frames of one call and what holds for all of them.
pub(super) struct Layout<'a> {
    frames: &'a [ShownFrame],
    captures: Vec<i64>,
    playback: Playback,
    encoding: u64,
    max_millis: i64,
    interval_millis: i64,
}

/// Where a segment begins.
struct Begin {
    ticks: u64,
    at_millis: i64,
    discontinuity: bool,
}

/// A segment's frames in time.
struct Laid {
    showings: Vec<Showing>,
    end_ticks: u64,
    end_millis: i64,
}

impl<'a> Layout<'a> {
    pub(super) fn new(
        previous: Option<&Timeline>,
        frames: &'a [ShownFrame],
        settings: &TimelineSettings,
    ) -> Self {
        let captures = ascending(frames);
        Self {
            frames,
            playback: settings.playback,
            encoding: settings.encoding,
            max_millis: i64::from(settings.max_segment_millis)
                .clamp(MIN_SHOWN_MILLIS, LONGEST_SEGMENT_MILLIS),
            interval_millis: interval::estimate(
                previous,
                &captures,
                settings.default_interval_millis,
            ),
            captures,
        }
    }

    pub(super) fn segments(
        &self,
        previous: Option<Timeline>,
    ) -> (Vec<SegmentPlan>, Option<Timeline>) {
        let mut timeline = previous;
        let mut segments = Vec::new();
        let mut first = 0;
        while let Some((frame, capture)) = self.frame(first) {
            let begin = self.begin(timeline.as_ref(), frame, capture);
            let laid = match self.playback {
                Playback::Realtime => self.lay_realtime(&begin, first, frame),
                Playback::Timelapse { frame_rate } => {
                    self.lay_timelapse(&begin, first, frame, frame_rate)
                }
            };
            // Laying always shows the first frame, so this ends.
            let next = first + laid.showings.len().max(1);
            timeline = Some(Timeline {
                end_ticks: laid.end_ticks,
                end_at: UtcMillis(laid.end_millis),
                last_captured_at: UtcMillis(self.captures.get(next - 1).map_or(capture, |at| *at)),
                interval_millis: u32::try_from(self.interval_millis).unwrap_or(u32::MAX),
                size: frame.size,
                encoding: self.encoding,
            });
            segments.push(SegmentPlan {
                frames: first..next,
                discontinuity: begin.discontinuity,
                showings: laid.showings,
            });
            first = next;
        }
        (segments, timeline)
    }

    fn frame(&self, index: usize) -> Option<(&ShownFrame, i64)> {
        Some((self.frames.get(index)?, *self.captures.get(index)?))
    }

    /// Decides whether the segment that begins with `frame` continues the one before it.
    fn begin(&self, timeline: Option<&Timeline>, frame: &ShownFrame, capture: i64) -> Begin {
        let Some(before) = timeline else {
            return Begin { ticks: FIRST_TICKS, at_millis: capture, discontinuity: false };
        };
        let used_up = before.end_ticks >= FIRST_TICKS + RUN_TICKS;
        let gap = capture.saturating_sub(before.last_captured_at.0);
        let in_step = match self.playback {
            Playback::Realtime => {
                let drift = capture.saturating_sub(before.end_at.0).saturating_abs();
                drift <= interval::tolerance_millis(self.interval_millis)
            }
            Playback::Timelapse { .. } => true,
        };
        let contiguous = !used_up
            && before.size == frame.size
            && before.encoding == self.encoding
            && gap > 0
            && !self.is_silence(gap)
            && in_step;
        Begin {
            ticks: if used_up { FIRST_TICKS } else { before.end_ticks },
            at_millis: if contiguous { before.end_at.0 } else { capture },
            discontinuity: !contiguous,
        }
    }

    fn is_silence(&self, gap_millis: i64) -> bool {
        gap_millis > interval::silence_millis(self.interval_millis)
    }

    /// The first frame begins where the segment does, each later one when it was taken.
    fn lay_realtime(&self, begin: &Begin, first: usize, frame: &ShownFrame) -> Laid {
        let tolerance = interval::tolerance_millis(self.interval_millis);
        let limit = begin.at_millis + self.max_millis;
        let mut starts = vec![begin.at_millis];
        let mut shown_from = begin.at_millis;
        let mut last = first;
        let wanted_end = loop {
            let earliest_end = shown_from + MIN_SHOWN_MILLIS;
            let capture = self.captures.get(last).map_or(shown_from, |at| *at);
            let estimated_end = (capture + self.interval_millis).max(earliest_end);
            let Some((next, next_capture)) = self.frame(last + 1) else { break estimated_end };
            if self.is_silence(next_capture - capture) {
                break estimated_end;
            }
            let next_start = next_capture.max(earliest_end);
            let out_of_step = next_start - next_capture > tolerance;
            if next.size != frame.size || out_of_step || next_start > limit {
                break next_start;
            }
            starts.push(next_start);
            shown_from = next_start;
            last += 1;
        };
        // A little too long: the last frame gives way, and the next segment, which begins
        // early, makes up for it. Much too long: the last frame gets a segment of its own.
        let gives_way =
            wanted_end - limit <= tolerance / 2 && limit - shown_from >= MIN_SHOWN_MILLIS;
        let end_millis = if wanted_end <= limit {
            wanted_end
        } else if starts.len() == 1 || gives_way {
            limit
        } else {
            starts.pop().unwrap_or(limit)
        };
        let ticks_at = |millis: i64| {
            begin.ticks + u64::try_from(millis - begin.at_millis).unwrap_or(0) * TICKS_PER_MILLI
        };
        let end_ticks = ticks_at(end_millis);
        let ends = starts.iter().skip(1).map(|start| ticks_at(*start)).chain([end_ticks]);
        // A transport stream does not say how long its last picture lasts; players take it to
        // be as long as the one before, so that one has to belong to the same frame.
        let showings = show(starts.iter().map(|start| ticks_at(*start)), ends, 2, |ticks| {
            ticks.div_ceil(PICTURE_MILLIS * TICKS_PER_MILLI)
        });
        Laid { showings, end_ticks, end_millis }
    }

    /// Every frame has the same time; what a millisecond is off is spread over the segment.
    fn lay_timelapse(
        &self,
        begin: &Begin,
        first: usize,
        frame: &ShownFrame,
        frame_rate: u32,
    ) -> Laid {
        let rate = u64::from(frame_rate.clamp(1, 1_000));
        let max_millis = self.max_millis.unsigned_abs();
        let lasts_millis = |count: u64| ((count * 1_000 + rate / 2) / rate).max(1);
        let mut last = first;
        let mut count = 1;
        while let (Some((next, next_capture)), Some(capture)) =
            (self.frame(last + 1), self.captures.get(last))
        {
            if next.size != frame.size
                || self.is_silence(next_capture - capture)
                || lasts_millis(count + 1) > max_millis
            {
                break;
            }
            last += 1;
            count += 1;
        }
        let total_ticks = lasts_millis(count).min(max_millis) * TICKS_PER_MILLI;
        let ticks_at = |index: u64| begin.ticks + total_ticks * index / count;
        let least_of_last = if count == 1 { 2 } else { 1 };
        let showings =
            show((0..count).map(ticks_at), (1..=count).map(ticks_at), least_of_last, |_| 1);
        let capture = self.captures.get(last).map_or(begin.at_millis, |at| *at);
        Laid {
            showings,
            end_ticks: begin.ticks + total_ticks,
            end_millis: capture + self.interval_millis,
        }
    }
}

/// One showing per start and end, the last of at least `least_of_last` pictures.
fn show(
    starts: impl Iterator<Item = u64>,
    ends: impl Iterator<Item = u64>,
    least_of_last: u64,
    pictures: impl Fn(u64) -> u64,
) -> Vec<Showing> {
    let count = |pictures: u64| u32::try_from(pictures).unwrap_or(u32::MAX);
    let mut showings: Vec<Showing> = starts
        .zip(ends)
        .map(|(start_ticks, end_ticks)| {
            let duration_ticks = end_ticks.saturating_sub(start_ticks);
            Showing {
                start_ticks,
                duration_ticks,
                pictures: count(pictures(duration_ticks).max(1)),
            }
        })
        .collect();
    if let Some(last) = showings.last_mut() {
        last.pictures = last.pictures.max(count(least_of_last));
    }
    if showings.iter().map(|showing| showing.pictures).sum::<u32>() < LEAST_PICTURES {
        let each = LEAST_PICTURES.div_ceil(count(showings.len() as u64));
        for showing in &mut showings {
            showing.pictures = showing.pictures.max(each);
        }
    }
    showings
}

/// Capture times that ascend by 1 ms at least.
fn ascending(frames: &[ShownFrame]) -> Vec<i64> {
    let mut earliest = i64::MIN;
    frames
        .iter()
        .map(|frame| {
            let capture = frame
                .captured_at
                .0
                .clamp(-FARTHEST_CAPTURE_MILLIS, FARTHEST_CAPTURE_MILLIS)
                .max(earliest);
            earliest = capture + 1;
            capture
        })
        .collect()
}
