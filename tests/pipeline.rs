//! What the pipeline does when the world is not as it should be.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may panic.

#[path = "support/pipeline_rig.rs"]
mod pipeline_rig;

use std::sync::atomic::Ordering;
use std::time::Duration;

use pipeline_rig::{BAD_JPEG, PATIENCE, POISON_JPEG, Rig, START, device, parked};
use stream_processor::model::Clock;
use stream_processor::pipeline::captions::{CaptionZone, Captions};
use stream_processor::source::MemoryFeed;

fn every_five_seconds(frames: std::ops::Range<i64>) -> impl Iterator<Item = i64> + Clone {
    frames.map(|number| number * 5)
}

fn seconds(frames: std::ops::Range<i64>) -> Vec<i64> {
    every_five_seconds(frames).collect()
}

#[tokio::test]
async fn redelivered_frame_makes_no_second_segment() {
    let (rig, feed) = (Rig::new(), MemoryFeed::new());
    rig.publish(&feed, "a", every_five_seconds(0..6));
    let worker = rig.start(&feed);
    rig.wait_until("the segment is committed", || feed.acked() == 6).await;
    let playlist = || std::fs::read_to_string(rig.hls("a").join("playlist.m3u8")).unwrap();
    let published = playlist();

    rig.publish(&feed, "a", [0, 25, 10]);
    rig.run_until("they are dropped", || feed.acked() == 9).await;
    assert_eq!(worker.seen.duplicates.load(Ordering::SeqCst), 3);
    worker.leave().await;

    // Another worker knows nothing but what is stored.
    rig.publish(&feed, "a", every_five_seconds(0..6));
    let worker = rig.start(&feed);
    rig.wait_until("they are dropped", || feed.acked() == 15).await;
    assert_eq!(worker.seen.duplicates.load(Ordering::SeqCst), 6);
    worker.leave().await;
    assert_eq!(rig.segments("a").await.len(), 1);
    assert_eq!(playlist(), published);
    assert_eq!(parked(&feed), []);
}

#[tokio::test]
async fn frame_that_comes_twice_while_its_group_waits_is_shown_once() {
    let (rig, feed) = (Rig::new(), MemoryFeed::new());
    rig.publish(&feed, "a", [0, 5, 5, 10, 0, 15, 20, 25, 25]);
    let worker = rig.start(&feed);
    rig.run_until("all is settled", || feed.unsettled() == 0).await;
    worker.leave().await;
    assert_eq!(rig.seconds("a").await, seconds(0..6));
}

#[tokio::test]
async fn each_picture_is_captioned_with_its_own_time_in_the_zone_that_its_event_carried() {
    let (mut rig, feed) = (Rig::new(), MemoryFeed::new());
    let format = "%F %T".to_owned();
    rig.captions = Some(Captions { format, zone: CaptionZone::Frame, show_zone: true });
    let from_santiago = |second: i64, timestamp: &str| {
        let message = String::from_utf8(rig.frame("a", second).to_vec()).unwrap();
        let utc = START.plus_millis(second * 1_000).to_string();
        message.replace(&utc, timestamp)
    };
    feed.publish(from_santiago(0, "2026-02-01T23:40:00.000-03:00"));
    feed.publish(from_santiago(5, "2026-02-01T23:40:05.000-03:00"));
    rig.publish(&feed, "a", [10, 15, 20, 25]);
    let worker = rig.start(&feed);
    rig.wait_until("the segment is committed", || feed.acked() == 6).await;
    let captions = worker.encoder.captions.lock().unwrap().clone();
    worker.leave().await;
    let texts: Vec<_> = captions.iter().flatten().map(|caption| caption.as_str()).collect();
    assert_eq!(texts[..2], ["2026-02-01 23:40:00 -03:00", "2026-02-01 23:40:05 -03:00"]);
    assert_eq!(texts[2..4], ["2026-02-02 02:40:10 UTC", "2026-02-02 02:40:15 UTC"]);
    assert_eq!((rig.seconds("a").await, texts.len()), (seconds(0..6), 6));
}

#[tokio::test]
async fn late_frame_is_parked() {
    let (rig, feed) = (Rig::new(), MemoryFeed::new());
    rig.publish(&feed, "a", every_five_seconds(0..6));
    let worker = rig.start(&feed);
    rig.wait_until("the segment is committed", || feed.acked() == 6).await;
    rig.clock.set(START.plus(Duration::from_secs(30)));
    rig.publish(&feed, "a", [12, 30, 35]);
    rig.run_until("all is settled", || feed.unsettled() == 0).await;
    worker.leave().await;
    assert_eq!(parked(&feed), [("late_frame", "a-12".to_owned())]);
    assert_eq!(rig.seconds("a").await, seconds(0..8));
}

#[tokio::test]
async fn frames_of_a_group_are_shown_in_the_order_they_were_taken() {
    let (rig, feed) = (Rig::new(), MemoryFeed::new());
    rig.publish(&feed, "a", [15, 5, 0, 25, 10, 20]);
    let worker = rig.start(&feed);
    rig.wait_until("all is settled", || feed.unsettled() == 0).await;
    worker.leave().await;
    let segments = rig.segments("a").await;
    assert_eq!(rig.seconds("a").await, seconds(0..6));
    assert_eq!((segments.len(), segments[0].duration_millis), (1, 30_000));
}

#[tokio::test]
async fn clock_that_was_ahead_and_is_set_right_goes_on_after_a_discontinuity() {
    let (rig, feed) = (Rig::new(), MemoryFeed::new());
    let an_hour_ahead = || every_five_seconds(720..726);
    rig.publish(&feed, "a", an_hour_ahead());
    let worker = rig.start(&feed);
    rig.wait_until("the hour ahead is committed", || feed.acked() == 6).await;
    rig.publish(&feed, "a", every_five_seconds(0..6));
    rig.wait_until("the right time is committed", || feed.acked() == 12).await;
    // Both are known now, whichever way the clock was set.
    rig.publish(&feed, "a", an_hour_ahead().chain(every_five_seconds(0..6)));
    rig.run_until("they are dropped", || feed.acked() == 24).await;
    worker.leave().await;
    let segments = rig.segments("a").await;
    let breaks: Vec<_> = segments.iter().map(|segment| segment.discontinuity).collect();
    assert_eq!(breaks, [false, true]);
    assert_eq!(rig.seconds("a").await, [seconds(720..726), seconds(0..6)].concat());
    assert_eq!(parked(&feed), []);
}

#[tokio::test]
async fn missing_file_is_waited_for_and_then_shown() {
    let (rig, feed) = (Rig::new(), MemoryFeed::new());
    rig.publish(&feed, "a", [0, 5]);
    feed.publish(rig.message("a", 10));
    rig.publish(&feed, "a", [15, 20, 25]);
    rig.publish(&feed, "b", every_five_seconds(0..6));
    let worker = rig.start(&feed);
    rig.wait_until("the other device goes on", || feed.acked() == 6).await;
    rig.run_for(PATIENCE / 2).await;
    assert_eq!(worker.encoder.begun.load(Ordering::SeqCst), 1, "only the other device's");
    rig.write_file("a", 10, b"a picture");
    rig.run_until("all is settled", || feed.unsettled() == 0).await;
    worker.leave().await;
    assert_eq!(rig.seconds("a").await, seconds(0..6));
    assert_eq!(parked(&feed), []);
}

#[tokio::test]
async fn file_that_never_comes_costs_its_frame() {
    let (rig, feed) = (Rig::new(), MemoryFeed::new());
    feed.publish(rig.message("a", 0));
    rig.publish(&feed, "a", every_five_seconds(1..6));
    let worker = rig.start(&feed);
    let begun = rig.clock.now();
    rig.run_until("all is settled", || feed.unsettled() == 0).await;
    assert!(rig.clock.now().since(begun) >= PATIENCE);
    worker.leave().await;
    assert_eq!(parked(&feed), [("frame_missing", "a-0".to_owned())]);
    assert_eq!(rig.seconds("a").await, seconds(1..6));
}

#[tokio::test]
async fn bad_picture_costs_that_picture() {
    let (rig, feed) = (Rig::new(), MemoryFeed::new());
    rig.publish(&feed, "a", every_five_seconds(0..6));
    rig.write_file("a", 10, BAD_JPEG);
    feed.publish("no event");
    let worker = rig.start(&feed);
    rig.wait_until("all is settled", || feed.unsettled() == 0).await;
    worker.leave().await;
    let mut parked = parked(&feed);
    parked.sort();
    assert_eq!(parked, [("jpeg_decode", "a-10".to_owned()), ("message_json", String::new())]);
    assert_eq!(rig.seconds("a").await, [0, 5, 15, 20, 25]);
}

#[tokio::test]
async fn group_that_is_too_much_for_a_helper_is_done_in_parts() {
    let (rig, feed) = (Rig::new(), MemoryFeed::new());
    rig.publish(&feed, "a", every_five_seconds(0..6));
    let worker = rig.start(&feed);
    worker.encoder.most_frames.store(2, Ordering::SeqCst);
    rig.run_until("all is settled", || feed.unsettled() == 0).await;
    worker.leave().await;
    assert_eq!(rig.seconds("a").await, seconds(0..6));
    assert_eq!(parked(&feed), []);
}

#[tokio::test]
async fn frame_that_no_helper_can_encode_costs_that_frame() {
    let (rig, feed) = (Rig::new(), MemoryFeed::new());
    rig.publish(&feed, "a", every_five_seconds(0..6));
    rig.write_file("a", 10, POISON_JPEG);
    let worker = rig.start(&feed);
    rig.run_until("all is settled", || feed.unsettled() == 0).await;
    worker.leave().await;
    assert_eq!(rig.seconds("a").await, [0, 5, 15, 20, 25]);
    assert_eq!(parked(&feed), [("encode_failed", "a-10".to_owned())]);
}

#[tokio::test]
async fn device_that_cannot_be_stored_holds_up_no_other_and_goes_on_once_it_can() {
    let (rig, feed) = (Rig::new(), MemoryFeed::new());
    rig.publish(&feed, "bad", every_five_seconds(0..6));
    rig.publish(&feed, "bad", every_five_seconds(6..12));
    for name in ["b", "c", "d", "e", "f"] {
        rig.publish(&feed, name, every_five_seconds(0..12));
    }
    std::fs::write(rig.hls("bad"), "in the way").unwrap();
    let worker = rig.start(&feed);
    rig.run_until("the others are committed", || feed.acked() == 60).await;
    rig.run_for(Duration::from_secs(5)).await;
    assert!(worker.seen.troubles_of(&device("bad"), "storage") > 1);
    assert_eq!(feed.unsettled(), 12);
    std::fs::remove_file(rig.hls("bad")).unwrap();
    rig.run_until("it is committed as well", || feed.unsettled() == 0).await;
    worker.leave().await;
    assert_eq!(rig.seconds("bad").await, seconds(0..12));
    assert_eq!(parked(&feed), []);
}

#[tokio::test]
async fn entry_of_several_frames_is_acked_with_its_last_one() {
    let (rig, feed) = (Rig::new(), MemoryFeed::new());
    std::fs::create_dir_all(rig.hls("bad").parent().unwrap()).unwrap();
    std::fs::write(rig.hls("bad"), "in the way").unwrap();
    for second in seconds(0..6) {
        feed.publish_entry(vec![rig.frame("a", second), rig.frame("bad", second)]);
    }
    let worker = rig.start(&feed);
    let seen = &worker.seen;
    rig.run_until("it was tried", || seen.troubles_of(&device("bad"), "storage") > 2).await;
    rig.wait_until("the others are", || seen.committed.load(Ordering::SeqCst) == 6).await;
    rig.run_for(Duration::from_secs(1)).await;
    assert_eq!(feed.acked(), 0);
    assert_eq!(rig.seconds("a").await, seconds(0..6));
    std::fs::remove_file(rig.hls("bad")).unwrap();
    rig.run_until("all is settled", || feed.unsettled() == 0).await;
    worker.leave().await;
    assert_eq!(rig.seconds("bad").await, seconds(0..6));
}

#[tokio::test]
async fn worker_that_another_one_overtook_reads_again_and_drops_what_is_done() {
    let rig = Rig::new();
    let (slow_feed, quick_feed) = (MemoryFeed::new(), MemoryFeed::new());
    rig.publish(&slow_feed, "a", every_five_seconds(0..6));
    let slow = rig.start(&slow_feed);
    slow.encoder.open.send_replace(false);
    rig.wait_until("the slow one encodes", || slow.encoder.begun.load(Ordering::SeqCst) == 1).await;
    // Both were given the same frames, as when a consumer was believed to be dead.
    rig.publish(&quick_feed, "a", every_five_seconds(0..3));
    let quick = rig.start(&quick_feed);
    rig.run_until("the quick one commits", || quick_feed.acked() == 3).await;
    slow.encoder.open.send_replace(true);
    rig.run_until("the slow one as well", || slow_feed.acked() == 6).await;
    assert_eq!(slow.seen.troubles_of(&device("a"), "fenced"), 1);
    assert_eq!(slow.seen.duplicates.load(Ordering::SeqCst), 3);
    slow.leave().await;
    quick.leave().await;
    assert_eq!(rig.seconds("a").await, seconds(0..6));
    assert_eq!(rig.segments("a").await.len(), 2);
    assert_eq!(parked(&slow_feed), []);
}

#[tokio::test]
async fn nothing_is_acked_while_the_encoders_fail_and_nothing_is_lost() {
    let (rig, feed) = (Rig::new(), MemoryFeed::new());
    for name in ["a", "b"] {
        rig.publish(&feed, name, every_five_seconds(0..12));
    }
    let worker = rig.start(&feed);
    worker.encoder.broken.store(true, Ordering::SeqCst);
    rig.run_until("it was tried", || worker.seen.troubles_of(&device("a"), "encoder") > 4).await;
    assert_eq!((feed.acked(), feed.unsettled()), (0, 24));
    worker.encoder.broken.store(false, Ordering::SeqCst);
    rig.run_until("all is settled", || feed.unsettled() == 0).await;
    worker.leave().await;
    for name in ["a", "b"] {
        assert_eq!(rig.seconds(name).await, seconds(0..12), "{name}");
    }
    assert_eq!(parked(&feed), []);
}

#[tokio::test]
async fn flood_is_put_off_within_the_bounds_and_loses_nothing() {
    let (mut rig, feed) = (Rig::new(), MemoryFeed::new());
    rig.settings.max_held_per_device = 12;
    rig.settings.max_held = 30;
    rig.publish(&feed, "flood", every_five_seconds(0..300));
    for name in ["b", "c"] {
        rig.publish(&feed, name, every_five_seconds(0..12));
    }
    rig.clock.set(START.plus(Duration::from_secs(1_500)));
    let worker = rig.start(&feed);
    rig.run_until("all is settled", || feed.unsettled() == 0).await;
    assert!(worker.seen.deferred.load(Ordering::SeqCst) > 0);
    let most_held = worker.seen.most_held.load(Ordering::SeqCst);
    assert!((1..=30).contains(&most_held), "{most_held} frames were held");
    let jobs: Vec<_> = worker.encoder.done.lock().unwrap().iter().map(|job| job[0]).collect();
    let last_of_others = START.plus_millis(seconds(6..12)[0] * 1_000);
    let place = jobs.iter().rposition(|begins| *begins == last_of_others).unwrap();
    assert!(place < jobs.len() / 2, "the others waited: {place} of {}", jobs.len());
    worker.leave().await;
    assert_eq!(rig.seconds("flood").await, seconds(0..300));
    for name in ["b", "c"] {
        assert_eq!(rig.seconds(name).await, seconds(0..12), "{name}");
    }
    assert_eq!(parked(&feed), []);
}

#[tokio::test]
async fn worker_that_leaves_finishes_what_it_encodes_and_gives_the_rest_to_the_next() {
    let (rig, feed) = (Rig::new(), MemoryFeed::new());
    rig.publish(&feed, "a", every_five_seconds(0..10));
    let worker = rig.start(&feed);
    worker.encoder.open.send_replace(false);
    rig.wait_until("it encodes", || worker.encoder.begun.load(Ordering::SeqCst) == 1).await;
    let encoder = std::sync::Arc::clone(&worker.encoder);
    worker.tell_to_leave();
    encoder.open.send_replace(true);
    worker.has_left().await;
    assert_eq!((feed.acked(), feed.unsettled()), (6, 4));
    assert_eq!(rig.seconds("a").await, seconds(0..6));

    let next = rig.start(&feed);
    rig.run_until("all is settled", || feed.unsettled() == 0).await;
    next.leave().await;
    assert_eq!(rig.seconds("a").await, seconds(0..10));
    let breaks = rig.segments("a").await.iter().filter(|segment| segment.discontinuity).count();
    assert_eq!(breaks, 0);
}

#[tokio::test]
async fn worker_whose_grace_is_over_gives_everything_back() {
    let (rig, feed) = (Rig::new(), MemoryFeed::new());
    rig.publish(&feed, "a", every_five_seconds(0..6));
    let worker = rig.start(&feed);
    worker.encoder.open.send_replace(false);
    rig.wait_until("it encodes", || worker.encoder.begun.load(Ordering::SeqCst) == 1).await;
    worker.tell_to_leave();
    rig.run_until("it has left", || worker.is_gone()).await;
    worker.has_left().await;
    assert_eq!((feed.acked(), feed.unsettled()), (0, 6));
    let next = rig.start(&feed);
    rig.run_until("all is settled", || feed.unsettled() == 0).await;
    next.leave().await;
    assert_eq!(rig.seconds("a").await, seconds(0..6));
}
