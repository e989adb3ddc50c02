//! How far apart a device's frames are: an estimate that one outage does not sway.

use super::Timeline;

/// No frame is shown for less, in milliseconds.
pub(super) const MIN_SHOWN_MILLIS: i64 = 100;

/// No interval is taken to be longer: an hour in milliseconds.
const MAX_INTERVAL_MILLIS: i64 = 3_600_000;

/// A shorter gap is never a silence, in milliseconds.
const MIN_SILENCE_MILLIS: i64 = 10_000;

/// A smaller distance of media time from capture time never breaks a run, in milliseconds.
const MIN_TOLERANCE_MILLIS: i64 = 1_000;

/// How many gaps the interval known from before weighs.
const WEIGHT_OF_PREVIOUS: i64 = 2;

/// How many new gaps count at most against it.
const MAX_WEIGHT_OF_GAPS: i64 = 6;

/// Beyond this many milliseconds between two captures there was a silence.
pub(super) fn silence_millis(interval_millis: i64) -> i64 {
    interval_millis.saturating_mul(3).max(MIN_SILENCE_MILLIS)
}

/// How far media time may be from capture time within a run, in milliseconds.
pub(super) fn tolerance_millis(interval_millis: i64) -> i64 {
    (interval_millis.saturating_mul(3) / 4).max(MIN_TOLERANCE_MILLIS)
}

/// The interval to expect after `captures` (ascending, in milliseconds).
pub(super) fn estimate(previous: Option<&Timeline>, captures: &[i64], default_millis: u32) -> i64 {
    let known = previous.map(|timeline| clamp(i64::from(timeline.interval_millis)));
    let since_previous = previous
        .zip(captures.first())
        .map(|(timeline, first)| first.saturating_sub(timeline.last_captured_at.0))
        .filter(|gap| *gap > 0);
    let between = captures.windows(2).filter_map(|pair| match pair {
        [one, other] => Some(other.saturating_sub(*one)),
        _ => None,
    });
    // A silence may be the first sign of a slower camera, so it counts, but not for all it
    // lasted.
    let longest = known.map_or(MAX_INTERVAL_MILLIS, silence_millis);
    let mut gaps: Vec<i64> =
        since_previous.into_iter().chain(between).map(|gap| gap.min(longest)).collect();
    gaps.sort_unstable();
    let median = gaps.get(gaps.len().saturating_sub(1) / 2).copied();
    let weight = i64::try_from(gaps.len()).unwrap_or(i64::MAX).min(MAX_WEIGHT_OF_GAPS);
    clamp(match (known, median) {
        (Some(known), Some(median)) => {
            (known * WEIGHT_OF_PREVIOUS + median * weight) / (WEIGHT_OF_PREVIOUS + weight)
        }
        (Some(known), None) => known,
        (None, Some(median)) => median,
        (None, None) => i64::from(default_millis),
    })
}

fn clamp(interval_millis: i64) -> i64 {
    interval_millis.clamp(MIN_SHOWN_MILLIS, MAX_INTERVAL_MILLIS)
}
