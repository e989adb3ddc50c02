//! Quotas per device and over all: the oldest goes first, early, and never what has to stay.

use std::time::Duration;

use serde_json::json;
use stream_processor::model::{Clock, DeviceKey};
use stream_processor::retention::{RetentionSettings, Run};

use crate::rig::*;
use crate::store_fixture::{key, segment};

/// What a segment and its frames count for.
const SEGMENT_BYTES: u64 = 188 * 4 + 6_000;

fn of_segments(count: u64) -> Option<u64> {
    Some(count * SEGMENT_BYTES)
}

#[tokio::test]
async fn a_device_keeps_no_more_than_its_quota_and_the_rest_goes_after_the_grace() {
    let rig = Rig::new(RetentionSettings { device_max_bytes: of_segments(15), ..settings() });
    rig.fill(12).await;
    assert_eq!(rig.clean().await.kept_bytes, of_segments(12));
    rig.fill(18).await;
    let dry = rig.dry_run().await;
    let done = rig.clean().await;
    assert_eq!((done.unlisted, done.segments.files), (3, 0));
    assert_eq!((done.kept_bytes, dry.unlisted), (of_segments(18), 3));
    assert_eq!(rig.window().media_sequence, 3);
    rig.clock.advance(GRACE);
    let done = rig.clean().await;
    assert_eq!((done.unlisted, done.segments.files, done.kept_bytes), (0, 3, of_segments(15)));
    // The worker finds its state changed, and goes on.
    rig.fill(19).await;
    assert_eq!(rig.window().next_number(), 19);
}

#[tokio::test]
async fn a_quota_that_is_too_small_keeps_three_target_durations() {
    let rig = Rig::new(RetentionSettings { device_max_bytes: Some(1), ..settings() });
    rig.fill(18).await;
    rig.clean().await;
    rig.clock.advance(GRACE);
    rig.clean().await;
    let window = rig.window();
    assert_eq!((window.media_sequence, window.entries.len()), (10, 8), "the newest dated one");
    assert_eq!(rig.media(), (10..18).collect());
    rig.clock.advance(DAY);
    rig.clean().await;
    let all = rig.everything();
    rig.clean().await;
    assert_eq!(rig.everything(), all);
}

#[tokio::test]
async fn a_quota_takes_nothing_that_an_archive_needs() {
    let settings =
        RetentionSettings { device_max_bytes: of_segments(5), archives: true, ..settings() };
    let rig = Rig::new(settings);
    rig.fill(18).await;
    assert_eq!(rig.clean().await.unlisted, 0, "it would free nothing");
    rig.write_archived(&json!({"archived_below": 4}));
    assert_eq!(rig.clean().await.unlisted, 4);
    rig.clock.advance(GRACE);
    assert_eq!(rig.clean().await.segments.files, 4);
    assert_eq!(rig.media(), (4..18).collect());
}

#[tokio::test]
async fn what_was_counted_is_kept_up_to_date_and_counted_anew_where_it_is_in_doubt() {
    let rig = Rig::new(RetentionSettings { device_max_bytes: of_segments(1_000), ..settings() });
    for until in [7, 30, 31, 64] {
        rig.fill(until).await;
        rig.clean().await;
        rig.clock.advance(GRACE);
        let kept = rig.clean().await.kept_bytes;
        assert_eq!(kept, of_segments(rig.media().len() as u64), "{until}");
        let all = rig.everything();
        rig.clean().await;
        assert_eq!(rig.everything(), all, "counted once");
    }
    let mut notes = rig.cleaned();
    notes["counted"] = json!(null);
    std::fs::write(rig.hls().join("cleaned.json"), notes.to_string()).unwrap();
    assert_eq!(rig.clean().await.kept_bytes, of_segments(rig.media().len() as u64));
}

#[tokio::test]
async fn of_all_devices_the_oldest_segments_go_first() {
    let rig = Rig::new(RetentionSettings { total_max_bytes: of_segments(40), ..settings() });
    let device = |name| DeviceKey::new("client-1", name).unwrap();
    let (early, late) = (device("early"), device("late"));
    rig.fill_device(&early, 18, segment).await;
    rig.fill(18).await;
    // All at once, after the others.
    let mut state = rig.store.open(&late).await.unwrap();
    for number in 0..12 {
        rig.write_frames(&late, number);
        rig.clock.advance(Duration::from_secs(1));
        let (made, now) = (vec![segment(number)], rig.clock.now());
        state = rig.store.commit(&late, &state, made, None, now).await.unwrap();
    }
    let dry = rig.run(&Run { dry_run: true, ..Run::default() }).await;
    let report = rig.run(&Run::default()).await;
    assert_eq!(report.done.kept_bytes, of_segments(48));
    assert_eq!((report.done.unlisted, report.beyond_quota_bytes), (8, 0));
    assert_eq!(dry.done.unlisted, 8);
    rig.clock.advance(GRACE);
    let report = rig.run(&Run::default()).await;
    assert_eq!((report.done.segments.files, report.done.kept_bytes), (8, of_segments(40)));
    let media = |key| names(&rig.device_folder(key).join("hls/segments")).len();
    assert_eq!((media(&early), media(&key()), media(&late)), (14, 14, 12));
}

#[tokio::test]
async fn what_is_beyond_the_quota_and_cannot_go_is_told() {
    let settings = RetentionSettings {
        total_max_bytes: of_segments(10),
        archives: true,
        idle_after: DAY,
        ..settings()
    };
    let rig = Rig::new(settings);
    rig.fill(18).await;
    let report = rig.run(&Run::default()).await;
    assert_eq!(report.beyond_quota_bytes, 8 * SEGMENT_BYTES);
    rig.write_archived(&json!({"archived_below": 6}));
    let report = rig.run(&Run::default()).await;
    assert_eq!((report.done.unlisted, report.beyond_quota_bytes), (6, 2 * SEGMENT_BYTES));
}
