use super::*;
use crate::media::Playback;

const SMALL: PictureSize = PictureSize { width: 640, height: 360 };
const LARGE: PictureSize = PictureSize { width: 1920, height: 1080 };
const HOUR_MILLIS: i64 = 3_600_000;

fn realtime() -> TimelineSettings {
    TimelineSettings {
        playback: Playback::Realtime,
        max_segment_millis: 33_000,
        default_interval_millis: 5_000,
        encoding: 7,
    }
}

fn timelapse(frame_rate: u32) -> TimelineSettings {
    TimelineSettings { playback: Playback::Timelapse { frame_rate }, ..realtime() }
}

fn frames(captures: &[i64]) -> Vec<ShownFrame> {
    captures.iter().map(|at| ShownFrame { captured_at: UtcMillis(*at), size: SMALL }).collect()
}

fn every(interval_millis: i64, count: i64, from: i64) -> Vec<ShownFrame> {
    frames(&(0..count).map(|index| from + index * interval_millis).collect::<Vec<_>>())
}

fn lasts_millis(segment: &SegmentPlan) -> u64 {
    segment.showings.iter().map(|s| s.duration_ticks).sum::<u64>() / TICKS_PER_MILLI
}

fn pictures(segment: &SegmentPlan) -> Vec<u32> {
    segment.showings.iter().map(|s| s.pictures).collect()
}

#[test]
fn six_frames_of_five_seconds_make_thirty_seconds() {
    let (segments, timeline) = plan(None, &every(5_000, 6, 1_000_000), &realtime());
    assert_eq!(segments.len(), 1);
    assert_eq!(lasts_millis(&segments[0]), 30_000);
    assert_eq!(pictures(&segments[0]), [10; 6]);
    assert!(!segments[0].discontinuity);
    assert_eq!(segments[0].showings[0].start_ticks, FIRST_TICKS);
    let timeline = timeline.unwrap();
    assert_eq!(timeline.end_at, UtcMillis(1_030_000));
    assert_eq!(timeline.end_ticks, FIRST_TICKS + 30 * TICKS_PER_SECOND);
    assert_eq!(timeline.interval_millis, 5_000);
}

#[test]
fn no_frames_change_nothing() {
    assert_eq!(plan(None, &[], &realtime()), (vec![], None));
    let (_, timeline) = plan(None, &every(5_000, 2, 0), &realtime());
    assert_eq!(plan(timeline.as_ref(), &[], &realtime()), (vec![], timeline));
}

#[test]
fn a_late_next_frame_is_made_up_for_by_the_one_after() {
    let (_, before) = plan(None, &every(5_000, 6, 0), &realtime());
    let (segments, after) = plan(before.as_ref(), &every(5_000, 6, 30_700), &realtime());
    assert!(!segments[0].discontinuity);
    assert_eq!(segments[0].showings[0].start_ticks, before.unwrap().end_ticks);
    assert_eq!(segments[0].showings[0].duration_ticks, 5_700 * TICKS_PER_MILLI);
    assert_eq!(segments[0].showings[1].duration_ticks, 5_000 * TICKS_PER_MILLI);
    let after = after.unwrap();
    assert_eq!(after.end_ticks - FIRST_TICKS, after.end_at.0.unsigned_abs() * TICKS_PER_MILLI);
}

#[test]
fn a_silence_ends_the_segment_and_the_run() {
    let mut shots = every(5_000, 3, 0);
    shots.extend(every(5_000, 3, 60_000));
    let (segments, _) = plan(None, &shots, &realtime());
    assert_eq!(segments.iter().map(|s| s.frames.clone()).collect::<Vec<_>>(), [0..3, 3..6]);
    assert_eq!(segments.iter().map(|s| s.discontinuity).collect::<Vec<_>>(), [false, true]);
    assert_eq!(segments.iter().map(lasts_millis).collect::<Vec<_>>(), [15_000, 15_000]);
    let end = segments[0].showings[2].start_ticks + segments[0].showings[2].duration_ticks;
    assert_eq!(segments[1].showings[0].start_ticks, end, "ticks go on");
}

#[test]
fn another_size_or_encoding_is_a_discontinuity() {
    let mut shots = every(5_000, 4, 0);
    shots[2].size = LARGE;
    shots[3].size = LARGE;
    let (segments, timeline) = plan(None, &shots, &realtime());
    assert_eq!(segments.iter().map(|s| s.frames.clone()).collect::<Vec<_>>(), [0..2, 2..4]);
    assert_eq!(lasts_millis(&segments[0]), 10_000, "it ends when the next frame was taken");
    assert!(segments[1].discontinuity);

    let mut next = every(5_000, 1, 20_000);
    next[0].size = LARGE;
    let (same, _) = plan(timeline.as_ref(), &next, &realtime());
    assert!(!same[0].discontinuity);
    let other = TimelineSettings { encoding: 8, ..realtime() };
    assert!(plan(timeline.as_ref(), &next, &other).0[0].discontinuity);
}

#[test]
fn a_backlog_is_cut_at_the_longest_segment() {
    let (segments, _) = plan(None, &every(5_000, 20, 0), &realtime());
    assert!(segments.iter().all(|s| lasts_millis(s) <= 33_000));
    assert!(segments.iter().skip(1).all(|s| !s.discontinuity));
    assert_eq!(segments.iter().map(lasts_millis).sum::<u64>(), 100_000);
}

#[test]
fn frames_a_little_too_far_apart_do_not_fall_into_crumbs() {
    let settings = TimelineSettings { max_segment_millis: 30_000, ..realtime() };
    let mut timeline = None;
    let mut lengths = Vec::new();
    for call in 0..40 {
        let (segments, next) =
            plan(timeline.as_ref(), &every(5_020, 6, call * 6 * 5_020), &settings);
        assert!(segments.iter().all(|s| !s.discontinuity));
        lengths.extend(segments.iter().map(lasts_millis));
        timeline = next;
    }
    assert!(lengths.len() <= 42, "{lengths:?}");
}

#[test]
fn a_clock_that_steps_back_breaks_the_run() {
    let (_, timeline) = plan(None, &every(5_000, 6, HOUR_MILLIS), &realtime());
    for settings in [realtime(), timelapse(10)] {
        let (segments, _) = plan(timeline.as_ref(), &every(5_000, 6, 0), &settings);
        assert!(segments[0].discontinuity, "{settings:?}");
        assert_eq!(segments[0].showings[0].start_ticks, timeline.unwrap().end_ticks);
    }
}

#[test]
fn ticks_restart_before_a_pts_can_wrap() {
    let mut timeline = None;
    let mut restarts = 0;
    for call in 0..(25 * 120) {
        let (segments, next) =
            plan(timeline.as_ref(), &every(5_000, 6, call * 30_000), &realtime());
        for segment in &segments {
            restarts += u32::from(segment.discontinuity);
            let last = segment.showings.last().unwrap();
            assert!(last.start_ticks + last.duration_ticks < 1 << 33);
        }
        timeline = next;
    }
    assert_eq!(restarts, 1);
    assert!(timeline.unwrap().end_ticks < FIRST_TICKS + 2 * RUN_TICKS / 24);
}

#[test]
fn a_slow_camera_is_learnt_although_its_gaps_look_like_silences() {
    let mut timeline = None;
    let mut discontinuities = Vec::new();
    for call in 0..20 {
        let settings = TimelineSettings { max_segment_millis: 90_000, ..realtime() };
        let (segments, next) = plan(timeline.as_ref(), &every(60_000, 1, call * 60_000), &settings);
        discontinuities.push(segments[0].discontinuity);
        timeline = next;
    }
    assert!(discontinuities[8..].iter().all(|d| !d), "{discontinuities:?}");
    assert!((55_000..=60_000).contains(&timeline.unwrap().interval_millis));
}

#[test]
fn one_outage_hardly_moves_the_interval() {
    let (_, timeline) = plan(None, &every(5_000, 6, 0), &realtime());
    let (segments, timeline) =
        plan(timeline.as_ref(), &every(5_000, 6, 8 * HOUR_MILLIS), &realtime());
    assert!(segments[0].discontinuity);
    assert_eq!(timeline.unwrap().interval_millis, 5_000);
    let (_, timeline) = plan(timeline.as_ref(), &every(5_000, 1, 16 * HOUR_MILLIS), &realtime());
    assert!(timeline.unwrap().interval_millis < 10_000, "although it is all there is to see");
}

#[test]
fn a_single_frame_lasts_the_default_interval() {
    let (segments, _) = plan(None, &frames(&[0]), &realtime());
    assert_eq!((lasts_millis(&segments[0]), pictures(&segments[0])), (5_000, vec![10]));
}

#[test]
fn however_short_a_segment_has_eight_pictures_at_an_even_pace() {
    let hasty = TimelineSettings { default_interval_millis: 1, ..realtime() };
    for (settings, count, wanted) in [
        (hasty, 1, vec![8]),
        (timelapse(10), 1, vec![8]),
        (timelapse(2), 6, vec![2; 6]),
        (timelapse(2), 8, vec![1; 8]),
        (realtime(), 1, vec![10]),
    ] {
        let (segments, _) = plan(None, &every(5_000, count, 0), &settings);
        assert_eq!(pictures(&segments[0]), wanted);
    }
    let (segments, _) = plan(None, &frames(&[0, 1_000, 2_000]), &realtime());
    assert_eq!(pictures(&segments[0]), [3, 3, 3]);
}

#[test]
fn a_time_lapse_keeps_its_rate_to_the_millisecond() {
    let (segments, timeline) = plan(None, &every(5_000, 31, 0), &timelapse(30));
    assert_eq!(segments.len(), 1);
    assert_eq!(lasts_millis(&segments[0]), 1_033);
    assert_eq!(pictures(&segments[0]), [1; 31]);
    assert!(segments[0].showings.iter().all(|s| (2_990..=3_010).contains(&s.duration_ticks)));
    let (next, _) = plan(timeline.as_ref(), &every(5_000, 6, 155_000), &timelapse(30));
    assert!(!next[0].discontinuity);
    assert_eq!(next[0].showings[0].start_ticks, timeline.unwrap().end_ticks);
}

#[test]
fn equal_and_descending_captures_still_make_a_plan() {
    let (segments, _) = plan(None, &frames(&[5, 5, 4, 3, i64::MAX, i64::MIN]), &realtime());
    assert_eq!(segments.iter().map(|s| s.frames.len()).sum::<usize>(), 6);
    assert!(segments.iter().flat_map(|s| &s.showings).all(|s| s.duration_ticks > 0));
}
