//! Archives of real media, judged by FFmpeg's own tools.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may panic.

#[path = "support/archive_fixture.rs"]
mod archive_fixture;
mod encode_support;
#[path = "support/store_fixture.rs"]
mod store_fixture;

use std::path::Path;

use archive_fixture::{Camera, archives_folder, session};
use encode_support::{jpegs, pool_settings, run};
use store_fixture::{START, key, store};
use stream_processor::encode::{EncodeJob, EncoderPool, JobFrame, StreamSoFar};
use stream_processor::media::Container;
use stream_processor::model::EventId;
use stream_processor::store::{FrameRecord, NewSegment};

/// Segments of six frames, five seconds apart; before the one with number `silent` the device
/// was silent for twenty seconds.
async fn film(camera: &Camera, container: Container, segments: i64, silent: i64) {
    let mut settings = pool_settings(1);
    settings.encode.container = container;
    let pool = EncoderPool::start(settings).await.unwrap();
    let mut state = camera.store.open(&key()).await.unwrap();
    for number in 0..segments {
        let silence_millis = if number >= silent { 20_000 } else { 0 };
        let at = |index: i64| START.plus_millis(number * 30_000 + index * 5_000 + silence_millis);
        let frames = jpegs(320, 180, 6).into_iter().zip(0..).map(|(jpeg, index)| JobFrame {
            captured_at: at(index),
            jpeg: jpeg.into(),
            caption: None,
        });
        let stream = StreamSoFar { timeline: state.timeline, ..StreamSoFar::NEW };
        let job = EncodeJob { stream, frames: frames.collect() };
        let outcome = pool.encode(job).await.unwrap();
        let encoded = outcome.segments.into_iter().map(|segment| NewSegment {
            media: segment.media,
            init: segment.init,
            duration_millis: segment.duration_millis,
            captured_at: segment.captured_at,
            discontinuity: segment.discontinuity,
            begins_session: false,
            frame_bytes: 0,
            frames: (0..6)
                .map(|index| FrameRecord {
                    event_id: EventId::new(&format!("{number}-{index}")).unwrap(),
                    captured_at: at(index),
                    file: None,
                })
                .collect(),
        });
        let (encoded, now) = (encoded.collect(), at(7));
        let key = key();
        let commit = camera.store.commit(&key, &state, encoded, outcome.timeline, now);
        state = commit.await.unwrap();
        camera.clock.set(now);
    }
    pool.close().await;
    camera.end_session().await;
}

/// What ffprobe says that the playlist lasts, and how many pictures it decodes to.
fn probed(playlist: &Path) -> (f64, usize) {
    let path = playlist.to_str().unwrap();
    let args = ["-v", "error", "-allowed_extensions", "ALL", "-count_frames"];
    let entries = ["-show_entries", "format=duration:stream=nb_read_frames", "-of", "flat", path];
    let said = String::from_utf8(run("ffprobe", &[&args[..], &entries[..]].concat())).unwrap();
    let value = |name: &str| {
        let line = said.lines().find(|line| line.contains(name)).expect(&said);
        line.split_once('=').unwrap().1.trim_matches('"').to_owned()
    };
    (value("format.duration").parse().unwrap(), value("nb_read_frames").parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_plays_for_as_long_as_its_frames_were_taken() {
    for container in [Container::Ts, Container::Fmp4] {
        let base = tempfile::tempdir().unwrap();
        let camera = Camera::of(store(base.path()));
        film(&camera, container, 4, i64::MAX).await;
        assert_eq!(camera.run().await.archived, 1);
        // It is an archive without the stream.
        std::fs::remove_dir_all(store_fixture::hls(base.path())).unwrap();
        let playlist = archives_folder(base.path()).join(format!("{}/playlist.m3u8", session(0)));
        let captured = camera.document(&session(0)).await.unwrap().duration_seconds;
        assert_eq!(captured, 120.0);
        let (secs, pictures) = probed(&playlist);
        assert!((secs - captured).abs() < 0.5, "{container:?}: {secs} s of {captured} s");
        // Two pictures a second.
        assert_eq!(pictures, 240, "{container:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_with_a_silence_and_a_missing_segment_plays_what_is_left() {
    let base = tempfile::tempdir().unwrap();
    let camera = Camera::of(store(base.path()));
    film(&camera, Container::Ts, 5, 3).await;
    camera.lose(1).await;
    assert_eq!(camera.run().await.archived, 1);
    let document = camera.document(&session(0)).await.unwrap();
    assert_eq!((document.segment_count, document.duration_seconds), (4, 170.0));
    let text = camera.vod(&session(0)).await;
    // Where the file is missing, and where the device was silent.
    assert_eq!(text.matches("#EXT-X-DISCONTINUITY\n").count(), 2, "{text}");
    let playlist = archives_folder(base.path()).join(format!("{}/playlist.m3u8", session(0)));
    let listed: u64 =
        document.segments.iter().map(|segment| u64::from(segment.duration_millis)).sum();
    let (secs, pictures) = probed(&playlist);
    assert!((secs * 1_000.0 - listed as f64).abs() < 500.0, "{secs} s of {listed} ms");
    assert_eq!(pictures as u64, listed / 500);
}
