//! Whether a frame has been committed: also after it has left the state, after a restart, and
//! for a whole day.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may panic.

#[path = "support/store_fixture.rs"]
mod store_fixture;

use std::time::Instant;

use store_fixture::*;
use stream_processor::model::EventId;
use stream_processor::store::{FrameRecord, NewSegment};

fn named(id: &str, like: &FrameRecord) -> FrameRecord {
    FrameRecord { event_id: EventId::new(id).unwrap(), captured_at: like.captured_at, file: None }
}

#[tokio::test]
async fn every_frame_of_the_past_is_known_and_no_other() {
    let base = roomy_base();
    let first = store(base.path());
    let state = fill(&first, 40).await;
    assert!(state.recent.len() < 12, "older segments were spilled");
    for store in [first, store(base.path())] {
        for number in 0..40 {
            for known in frames(number) {
                assert!(store.is_committed(&key(), &state, &known).await.unwrap(), "{known:?}");
                let other = named("another", &known);
                assert!(!store.is_committed(&key(), &state, &other).await.unwrap());
            }
        }
        assert!(!store.is_committed(&key(), &state, &frame(40, 0)).await.unwrap());
        let all = store.committed_frames(&key()).await.unwrap();
        assert_eq!(all.collect::<Vec<_>>(), (0..40).flat_map(frames).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn what_another_worker_spilled_is_known() {
    let base = roomy_base();
    let (ours, theirs) = (store(base.path()), store(base.path()));
    let state = fill(&ours, 20).await;
    assert!(ours.is_committed(&key(), &state, &frame(3, 3)).await.unwrap());
    fill(&theirs, 60).await;
    let state = ours.open(&key()).await.unwrap();
    for number in 0..60 {
        assert!(ours.is_committed(&key(), &state, &frame(number, 2)).await.unwrap(), "{number}");
    }
}

#[tokio::test]
async fn two_frames_of_one_instant_are_told_apart_by_their_ids() {
    let base = tempfile::tempdir().unwrap();
    let store = store(base.path());
    let mut state = store.open(&key()).await.unwrap();
    let twins = [named("twin-a", &frame(0, 0)), named("twin-b", &frame(0, 0))];
    let segment = NewSegment { frames: twins.to_vec(), ..segment(0) };
    state = store.commit(&key(), &state, vec![segment], timeline(0), commits_at(0)).await.unwrap();
    for until in [1, 30] {
        while state.next_segment < until {
            state = commit_next(&store, &state).await.unwrap();
        }
        for twin in &twins {
            assert!(store.is_committed(&key(), &state, twin).await.unwrap());
        }
        let third = named("twin-c", &frame(0, 0));
        assert!(!store.is_committed(&key(), &state, &third).await.unwrap());
    }
}

#[tokio::test]
async fn frames_out_of_capture_order_are_found_all_the_same() {
    let base = roomy_base();
    let store = store(base.path());
    let mut state = store.open(&key()).await.unwrap();
    for number in 0..30_u64 {
        let segment = NewSegment { frames: frames((number * 7) % 30), ..segment(number) };
        let (timeline, now) = (timeline(number), commits_at(number));
        state = store.commit(&key(), &state, vec![segment], timeline, now).await.unwrap();
    }
    for number in 0..30 {
        for known in frames(number) {
            assert!(store.is_committed(&key(), &state, &known).await.unwrap(), "{known:?}");
        }
    }
}

#[tokio::test]
async fn a_day_delivered_again_is_known_frame_by_frame() {
    let base = roomy_base();
    let store = store(base.path());
    let mut state = store.open(&key()).await.unwrap();
    for first in (0..2_880).step_by(8) {
        let segments = (first..first + 8).map(segment).collect();
        let (timeline, now) = (timeline(first + 7), commits_at(first + 7));
        state = store.commit(&key(), &state, segments, timeline, now).await.unwrap();
    }
    let since = Instant::now();
    for number in 0..2_880 {
        for known in frames(number) {
            assert!(store.is_committed(&key(), &state, &known).await.unwrap(), "{known:?}");
        }
    }
    println!("17,280 frames looked up in {:?}", since.elapsed());
}
