//! The encoder pool end to end: real helper processes, judged by FFmpeg's own tools.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails says so by panicking")]

mod encode_support;

use std::time::Duration;

use encode_support::*;
use stream_processor::encode::{EncodeError, Encoder, EncoderPool, FrameFault, PoolSettings};
use stream_processor::media::{Container, Playback};

/// Repeats of a frame are half a second apart.
fn pictures(duration_millis: u32) -> String {
    (duration_millis / 500).to_string()
}

#[tokio::test]
async fn a_segment_decodes_to_exactly_its_pictures() {
    for container in [Container::Ts, Container::Fmp4] {
        let mut settings = pool_settings(1);
        settings.encode.container = container;
        let pool = EncoderPool::start(settings).await.unwrap();
        let outcome = pool.encode(job(jpegs(640, 360, 6))).await.unwrap();
        assert!(outcome.rejected.is_empty(), "{:?}", outcome.rejected);
        let [segment] = &outcome.segments[..] else { panic!("{}", outcome.segments.len()) };
        assert_eq!(segment.frames, [0, 1, 2, 3, 4, 5]);
        assert_eq!(segment.captured_at, START);
        assert_eq!(segment.duration_millis, 30_000);
        assert_eq!(segment.init.is_some(), container == Container::Fmp4);
        assert_eq!(probed(segment, "nb_read_frames"), pictures(30_000), "{container:?}");
        assert_eq!(probed(segment, "profile"), "High");
        assert_eq!(probed(segment, "color_range"), "tv");
        assert_eq!(probed(segment, "color_space"), "smpte170m");
        assert_eq!(probed(segment, "has_b_frames"), "0");
        assert!(outcome.cpu_micros > 0);
        pool.close().await;
    }
}

#[tokio::test]
async fn a_stream_goes_on_where_the_job_before_ended() {
    let pool = pool(2).await;
    let first = pool.encode(job(jpegs(320, 240, 3))).await.unwrap();
    let mut next = job(jpegs(320, 240, 3));
    next.stream.timeline = first.timeline;
    for frame in &mut next.frames {
        frame.captured_at = frame.captured_at.plus_millis(15_000);
    }
    let second = pool.encode(next).await.unwrap();
    assert!(!second.segments[0].discontinuity);
    let first_end = first.timeline.unwrap().end_ticks;
    assert_eq!(second.timeline.unwrap().end_ticks - first_end, 15 * 90_000);
    pool.close().await;
}

#[tokio::test]
async fn a_segment_fits_the_target_that_its_stream_began_with() {
    let pool = pool(1).await;
    let mut job = job(jpegs(320, 240, 6));
    job.stream.max_segment_millis = 11_499;
    let outcome = pool.encode(job).await.unwrap();
    assert!(outcome.segments.iter().all(|segment| segment.duration_millis <= 11_499));
    assert_eq!(outcome.segments.iter().map(|segment| segment.frames.len()).sum::<usize>(), 6);
    pool.close().await;
}

#[tokio::test]
async fn a_new_resolution_inside_a_job_begins_a_new_segment() {
    let pool = pool(1).await;
    let mixed = [jpegs(640, 360, 3), jpegs(320, 240, 3)].concat();
    let outcome = pool.encode(job(mixed)).await.unwrap();
    let [first, second] = &outcome.segments[..] else { panic!("{}", outcome.segments.len()) };
    assert_eq!((&first.frames[..], &second.frames[..]), (&[0, 1, 2][..], &[3, 4, 5][..]));
    assert!(second.discontinuity);
    for (segment, width) in [(first, "640"), (second, "320")] {
        assert_eq!(probed(segment, "width"), width);
        assert_eq!(probed(segment, "nb_read_frames"), pictures(segment.duration_millis));
    }
    pool.close().await;
}

#[tokio::test]
async fn a_wide_frame_is_scaled_down_and_a_narrow_one_is_left_alone() {
    let pool = pool(1).await;
    for (from, to) in [((2560, 1440), "1920,1080"), ((1281, 721), "1280,720"), ((64, 48), "64,48")]
    {
        let outcome = pool.encode(job([jpeg(from.0, from.1, 0)])).await.unwrap();
        let segment = &outcome.segments[0];
        let size = format!("{},{}", probed(segment, "width"), probed(segment, "height"));
        assert_eq!(size, to, "{from:?}");
    }
    pool.close().await;
}

/// Jobs that wait are served in turn, and all of them.
#[tokio::test]
async fn more_jobs_than_helpers_are_all_done() {
    let pool = pool(2).await;
    let jobs = (0..8).map(|_| pool.encode(job(jpegs(160, 120, 2))));
    let outcomes = futures::future::try_join_all(jobs).await.unwrap();
    assert!(outcomes.iter().all(|outcome| outcome.segments.len() == 1));
    assert_eq!((pool.stats().busy, pool.stats().restarts), (0, 0));
    pool.close().await;
}

#[tokio::test]
async fn the_same_job_gives_the_same_bytes() {
    let pool = pool(2).await;
    let (one, two) = tokio::try_join!(
        pool.encode(job(jpegs(320, 240, 4))),
        pool.encode(job(jpegs(320, 240, 4)))
    )
    .unwrap();
    assert_eq!(one.segments[0].media, two.segments[0].media);
    pool.close().await;
}

#[tokio::test]
async fn a_missing_binary_is_named() {
    let settings = PoolSettings { command: "/nonexistent/worker".into(), ..pool_settings(1) };
    let Err(error) = EncoderPool::start(settings).await else { panic!("it started") };
    assert!(matches!(error, EncodeError::Start { .. }));
    assert!(error.to_string().contains("/nonexistent/worker"), "{error}");
}

#[tokio::test]
async fn a_program_that_is_no_helper_is_not_believed() {
    let settings = PoolSettings { command: "/bin/echo".into(), ..pool_settings(1) };
    assert!(matches!(EncoderPool::start(settings).await, Err(EncodeError::Start { .. })));
}

/// The memory limit is one for the job, not for the worker.
#[tokio::test]
async fn a_job_beyond_the_memory_limit_fails_alone() {
    let settings = PoolSettings { memory_limit_bytes: 24 << 20, ..pool_settings(1) };
    let pool = EncoderPool::start(settings).await.unwrap();
    let large = pool.encode(job(jpegs(3840, 2160, 2))).await;
    let refused = match &large {
        Ok(outcome) => outcome.rejected.len() == 2,
        Err(_) => true,
    };
    assert!(refused, "{large:?}");
    let small = pool.encode(job(jpegs(64, 48, 2))).await.unwrap();
    assert_eq!(small.segments.len(), 1);
    pool.close().await;
}

#[tokio::test]
async fn a_job_that_is_dropped_leaves_its_helper_and_its_turn() {
    let pool = pool(1).await;
    let long = pool.encode(job(jpegs(1920, 1080, 6)));
    assert!(tokio::time::timeout(Duration::from_millis(30), long).await.is_err());
    let outcome = pool.encode(job(jpegs(64, 48, 2))).await.unwrap();
    assert_eq!(outcome.segments.len(), 1);
    assert_eq!(outcome.rejected.iter().filter(|r| r.fault == FrameFault::Crashed).count(), 0);
    pool.close().await;
}

/// x264 by itself spends less on pictures that follow each other faster; ours are seconds
/// apart, whatever the stream says.
#[test]
fn a_time_lapse_costs_the_same_bytes_at_every_rate() {
    let bytes_at = |frame_rate| {
        let mut settings = encode_settings();
        settings.timeline.playback = Playback::Timelapse { frame_rate };
        let outcome = Encoder::new(settings).unwrap().encode(&job(jpegs(640, 360, 6))).unwrap();
        outcome.segments[0].media.len() as f64
    };
    let [slow, fast] = [2, 30].map(bytes_at);
    assert!((slow / fast - 1.0).abs() < 0.1, "{slow} bytes at 2 a second, {fast} at 30");
}

#[test]
fn the_level_is_the_pictures_own() {
    for (width, height, level) in [(1920, 1080, "40"), (1280, 720, "31"), (320, 240, "11")] {
        let mut encoder = Encoder::new(encode_settings()).unwrap();
        let outcome = encoder.encode(&job([jpeg(width, height, 0)])).unwrap();
        assert_eq!(probed(&outcome.segments[0], "level"), level, "{width}x{height}");
    }
}
