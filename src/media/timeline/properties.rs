//! Properties of plans that are chained over many calls, as a device's life is.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::interval::{silence_millis, tolerance_millis};
use super::*;
use crate::media::Playback;

const SIZES: [PictureSize; 2] =
    [PictureSize { width: 640, height: 360 }, PictureSize { width: 1920, height: 1080 }];

/// One frame of a camera's life: the time since the one before, and whether it changes size.
fn step() -> impl Strategy<Value = (i64, bool)> {
    let gap = prop_oneof![
        60 => 4_500_i64..5_600,
        10 => 1_i64..400,
        10 => 5_000_i64..40_000,
        2 => 60_000_i64..100_000_000,
        2 => -100_000_i64..0,
    ];
    (gap, prop::bool::weighted(0.03))
}

fn playback() -> impl Strategy<Value = Playback> {
    prop_oneof![
        3 => Just(Playback::Realtime),
        1 => (0_u32..60).prop_map(|frame_rate| Playback::Timelapse { frame_rate }),
    ]
}

/// The frames cut into calls; a step back ends a call, because a call's frames ascend.
fn calls(steps: &[(i64, bool)], per_call: usize) -> VecDeque<Vec<ShownFrame>> {
    let mut calls = VecDeque::from([Vec::new()]);
    let (mut at, mut size) = (1_700_000_000_000, 0);
    for (gap, resized) in steps {
        at += gap;
        size = (size + usize::from(*resized)) % SIZES.len();
        if *gap < 0 || calls.back().is_some_and(|call| call.len() == per_call) {
            calls.push_back(Vec::new());
        }
        let frame = ShownFrame { captured_at: UtcMillis(at), size: SIZES[size] };
        calls.back_mut().unwrap().push(frame);
    }
    calls
}

fn check_segment(segment: &SegmentPlan, max_millis: u64) -> Result<u64, TestCaseError> {
    prop_assert_eq!(segment.frames.len(), segment.showings.len());
    prop_assert!(!segment.showings.is_empty());
    let start = segment.showings[0].start_ticks;
    let mut position = start;
    for showing in &segment.showings {
        prop_assert_eq!(showing.start_ticks, position);
        prop_assert!(showing.duration_ticks > 0 && showing.pictures > 0);
        prop_assert!(showing.duration_ticks / u64::from(showing.pictures) <= 45_000 + 90_000);
        position += showing.duration_ticks;
    }
    prop_assert!(segment.showings.iter().map(|s| s.pictures).sum::<u32>() >= 8);
    prop_assert!(position - start <= max_millis * TICKS_PER_MILLI);
    prop_assert_eq!((position - start) % TICKS_PER_MILLI, 0);
    prop_assert!(position < 1 << 33);
    Ok(position)
}

proptest! {

    #[test]
    fn chained_plans_keep_every_promise(
        steps in prop::collection::vec(step(), 1..120),
        per_call in 1_usize..30,
        playback in playback(),
        max_segment_millis in 3_000_u32..60_000,
    ) {
        let settings = TimelineSettings {
            playback, max_segment_millis, default_interval_millis: 5_000, encoding: 1,
        };
        let mut timeline: Option<Timeline> = None;
        // What media time and capture time differ by in this run.
        let mut constant = 0;
        for call in &calls(&steps, per_call) {
            let (segments, next) = plan(timeline.as_ref(), call, &settings);
            let interval = i64::from(next.map_or(0, |t| t.interval_millis));
            let mut shown = 0;
            let mut expected_start = timeline.map(|t| t.end_ticks);
            for (number, segment) in segments.iter().enumerate() {
                prop_assert_eq!(segment.frames.start, shown, "each once, in order");
                shown = segment.frames.end;
                let end = check_segment(segment, u64::from(max_segment_millis))?;
                let start = segment.showings[0].start_ticks;
                let first = timeline.is_none() && number == 0;
                prop_assert!(!(first && segment.discontinuity));
                if let Some(expected) = expected_start.filter(|_| !segment.discontinuity) {
                    prop_assert_eq!(start, expected);
                }
                expected_start = Some(end);

                let shots = &call[segment.frames.clone()];
                prop_assert!(shots.iter().all(|shot| shot.size == shots[0].size));
                for pair in shots.windows(2) {
                    let gap = pair[1].captured_at.millis_since(pair[0].captured_at);
                    prop_assert!(gap <= silence_millis(interval));
                }
                if playback == Playback::Realtime {
                    let millis = |ticks: u64| i64::try_from(ticks / TICKS_PER_MILLI).unwrap();
                    if first || segment.discontinuity {
                        constant = shots[0].captured_at.0 - millis(start);
                    }
                    for (shot, showing) in shots.iter().zip(&segment.showings) {
                        prop_assert_eq!(showing.start_ticks % TICKS_PER_MILLI, 0);
                        let drift = millis(showing.start_ticks) + constant - shot.captured_at.0;
                        prop_assert!(drift.abs() <= tolerance_millis(interval), "{drift} ms");
                    }
                }
            }
            prop_assert_eq!(shown, call.len());
            if !call.is_empty() {
                prop_assert_eq!(next.map(|t| t.end_ticks), expected_start);
            }
            timeline = next;
        }
    }

    #[test]
    fn any_numbers_make_a_plan(
        captures in prop::collection::vec(any::<i64>(), 0..8),
        end_ticks in any::<u64>(),
        end_at in any::<i64>(),
        last in any::<i64>(),
        numbers in any::<(u32, u32, u32)>(),
        playback in playback(),
    ) {
        let frames: Vec<_> = captures
            .iter()
            .map(|at| ShownFrame { captured_at: UtcMillis(*at), size: SIZES[0] })
            .collect();
        let previous = Timeline {
            end_ticks,
            end_at: UtcMillis(end_at),
            last_captured_at: UtcMillis(last),
            interval_millis: numbers.0,
            size: SIZES[0],
            encoding: 1,
        };
        let settings = TimelineSettings {
            playback,
            max_segment_millis: numbers.1,
            default_interval_millis: numbers.2,
            encoding: 1,
        };
        let (segments, _) = plan(Some(&previous), &frames, &settings);
        prop_assert_eq!(segments.iter().map(|s| s.frames.len()).sum::<usize>(), frames.len());
    }
}
