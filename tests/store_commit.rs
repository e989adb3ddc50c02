//! What a commit leaves on disk, what a second writer finds, and what is mended on opening.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may panic.

#[path = "support/history.rs"]
mod history;
#[path = "support/store_fixture.rs"]
mod store_fixture;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use history::HistoryChecker;
use store_fixture::*;
use stream_processor::playlist::{PlaylistError, Window};
use stream_processor::store::{CommitError, NewSegment, Store, StoreError, StoreSettings};

fn checked(checker: &mut HistoryChecker, base: &Path) {
    checker.feed(&playlist(base));
}

#[tokio::test]
async fn every_published_version_keeps_the_rules() {
    let base = roomy_base();
    let settings = StoreSettings { retention: Duration::from_secs(600), ..settings() };
    let store = Store::at(base.path(), settings).unwrap();
    let mut checker = HistoryChecker::of_folder(&hls(base.path()));
    let mut state = store.open(&key()).await.unwrap();
    for number in 0..45 {
        let mut segment = segment(number);
        segment.discontinuity = number % 7 == 3;
        state = store
            .commit(&key(), &state, vec![segment], timeline(number), commits_at(number))
            .await
            .unwrap();
        checked(&mut checker, base.path());
    }
    for record in store.committed_segments(&key()).await.unwrap() {
        checker.expect_size(&format!("segments/{}", record.file), record.size_bytes);
    }
    checker.finish().assert_clean();
    assert_eq!(state.generation, 45);
    assert!(state.published.media_sequence >= 20, "{:?}", state.published);
    assert!(state.published.discontinuity_sequence >= 3, "{:?}", state.published);
}

#[tokio::test]
async fn a_commit_of_several_segments_is_one_generation() {
    let base = tempfile::tempdir().unwrap();
    let store = store(base.path());
    let state = store.open(&key()).await.unwrap();
    let segments = vec![segment(0), segment(1), segment(2)];
    let state = store.commit(&key(), &state, segments, timeline(2), commits_at(2)).await.unwrap();
    assert_eq!((state.generation, state.next_segment), (1, 3));
    assert_eq!(state.last_captured_at, Some(frame(2, 5).captured_at));
    assert_eq!(Window::parse(&playlist(base.path())).unwrap().entries.len(), 3);
}

#[tokio::test]
async fn a_reopened_device_goes_on_where_it_was() {
    let base = tempfile::tempdir().unwrap();
    let state = fill(&store(base.path()), 25).await;
    let before = playlist(base.path());
    let other = store(base.path());
    assert_eq!(other.open(&key()).await.unwrap(), state);
    assert_eq!(playlist(base.path()), before);
    let state = commit_next(&other, &state).await.unwrap();
    assert_eq!(state.next_segment, 26);
    assert!(playlist(base.path()).starts_with(&before), "a suffix was added");
}

#[tokio::test]
async fn a_fenced_writer_changes_nothing_on_disk() {
    let base = tempfile::tempdir().unwrap();
    let (first, second) = (store(base.path()), store(base.path()));
    let stale = fill(&first, 12).await;
    commit_next(&second, &stale).await.unwrap();
    let before = everything(base.path());
    let mut other = segment(12);
    other.media = Bytes::from_static(b"another content");
    let error =
        first.commit(&key(), &stale, vec![other], timeline(12), commits_at(12)).await.unwrap_err();
    assert!(matches!(error, CommitError::Fenced { ours: 12, stored: 13 }), "{error}");
    assert_eq!(everything(base.path()), before);
    let fresh = first.open(&key()).await.unwrap();
    assert_eq!(commit_next(&first, &fresh).await.unwrap().next_segment, 14);
}

#[tokio::test]
async fn a_writer_of_a_new_device_is_fenced_by_the_one_before() {
    let base = tempfile::tempdir().unwrap();
    let (first, second) = (store(base.path()), store(base.path()));
    let (ours, theirs) = (first.open(&key()).await.unwrap(), second.open(&key()).await.unwrap());
    commit_next(&second, &theirs).await.unwrap();
    let error = commit_next(&first, &ours).await.unwrap_err();
    assert!(matches!(error, CommitError::Fenced { ours: 0, stored: 1 }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_concurrent_writers_exactly_one_wins_each_generation() {
    let base = tempfile::tempdir().unwrap();
    let watcher = history::watch::Watcher::of(&hls(base.path()));
    let mut writers = Vec::new();
    for _ in 0..3 {
        let store = store(base.path());
        writers.push(tokio::spawn(async move {
            let mut won = Vec::new();
            let mut state = store.open(&key()).await.unwrap();
            while state.next_segment < 40 {
                match commit_next(&store, &state).await {
                    Ok(next) => {
                        won.push(next.generation);
                        state = next;
                    }
                    Err(CommitError::Fenced { .. }) => state = store.open(&key()).await.unwrap(),
                    Err(e) => panic!("{e}"),
                }
                tokio::task::yield_now().await;
            }
            won
        }));
    }
    let mut won = Vec::new();
    for writer in writers {
        won.extend(writer.await.unwrap());
    }
    won.sort_unstable();
    assert_eq!(won, (1..=40).collect::<Vec<_>>());
    watcher.stop().assert_clean();
}

#[tokio::test]
async fn a_segment_that_the_target_duration_does_not_allow_changes_nothing() {
    let base = tempfile::tempdir().unwrap();
    let store = store(base.path());
    let state = fill(&store, 2).await;
    let before = everything(base.path());
    let long = NewSegment { duration_millis: 30_500, ..segment(2) };
    let error = store
        .commit(&key(), &state, vec![segment(2), long], timeline(2), commits_at(2))
        .await
        .unwrap_err();
    let CommitError::Refused(PlaylistError::TooLong { duration_millis: 30_500, .. }) = error else {
        panic!("{error}")
    };
    assert_eq!(everything(base.path()), before);
}

#[tokio::test]
async fn a_stream_keeps_its_target_duration_when_the_setting_changes() {
    let base = tempfile::tempdir().unwrap();
    fill(&store(base.path()), 3).await;
    let changed = StoreSettings { target_duration_secs: 10, ..settings() };
    let other = Store::at(base.path(), changed).unwrap();
    let state = other.open(&key()).await.unwrap();
    assert_eq!(state.target_duration_secs, 30);
    commit_next(&other, &state).await.unwrap();
    assert!(playlist(base.path()).contains("#EXT-X-TARGETDURATION:30\n"));
}

#[tokio::test]
async fn a_lost_cut_or_edited_playlist_is_written_again_as_it_was() {
    let base = roomy_base();
    let settings = StoreSettings { retention: Duration::from_secs(1_800), ..settings() };
    let store = Store::at(base.path(), settings).unwrap();
    let state = fill(&store, 137).await;
    let path = hls(base.path()).join("playlist.m3u8");
    let right = playlist(base.path());
    assert!(state.published.media_sequence > 60);
    let cut_at_a_line = right.rfind("#EXTINF").unwrap();
    let broken: [&[u8]; 6] = [
        b"",
        &right.as_bytes()[..right.len() / 2],
        &right.as_bytes()[..cut_at_a_line],
        b"\xff\xfe not text",
        &right.replacen("#EXTINF:30.000", "#EXTINF:29.000", 1).into_bytes(),
        &right.replace("MEDIA-SEQUENCE:", "MEDIA-SEQUENCE:1").into_bytes(),
    ];
    for content in broken {
        std::fs::write(&path, content).unwrap();
        assert_eq!(store.open(&key()).await.unwrap(), state);
        assert_eq!(playlist(base.path()), right, "was {:?}", String::from_utf8_lossy(content));
    }
    std::fs::remove_file(&path).unwrap();
    assert_eq!(store.open(&key()).await.unwrap(), state);
    assert_eq!(playlist(base.path()), right);
    // A commit mends too, without being opened before.
    std::fs::remove_file(&path).unwrap();
    commit_next(&store, &state).await.unwrap();
    let mut checker = HistoryChecker::of_folder(&hls(base.path()));
    checker.feed(&right);
    checker.feed(&playlist(base.path()));
    checker.finish().assert_clean();
}

#[tokio::test]
async fn without_its_records_a_lost_playlist_still_never_steps_back() {
    let base = roomy_base();
    let store = store(base.path());
    fill(&store, 60).await;
    let right = Window::parse(&playlist(base.path())).unwrap();
    std::fs::remove_file(hls(base.path()).join("playlist.m3u8")).unwrap();
    for file in std::fs::read_dir(hls(base.path()).join("history")).unwrap().take(3) {
        std::fs::remove_file(file.unwrap().path()).unwrap();
    }
    let state = store.open(&key()).await.unwrap();
    let rebuilt = Window::parse(&playlist(base.path())).unwrap();
    assert!(rebuilt.media_sequence >= right.media_sequence);
    assert!(rebuilt.discontinuity_sequence >= right.discontinuity_sequence);
    assert_eq!(rebuilt.next_number(), 60);
    let before = playlist(base.path());
    commit_next(&store, &state).await.unwrap();
    assert!(playlist(base.path()).starts_with(&before));
}

#[tokio::test]
async fn a_lost_or_broken_state_is_an_error_that_says_what_to_do() {
    let base = tempfile::tempdir().unwrap();
    let store = store(base.path());
    let state = fill(&store, 3).await;
    let path = hls(base.path()).join("state.json");
    let right = std::fs::read_to_string(&path).unwrap();
    let newer = right.replacen("\"format\":1", "\"format\":2", 1);
    for content in [Some(""), Some("{}"), Some(&right[..right.len() / 2]), Some(&newer), None] {
        match content {
            Some(content) => std::fs::write(&path, content).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let error = store.open(&key()).await.unwrap_err();
        assert!(matches!(error, StoreError::Unreadable { .. }), "{content:?}: {error}");
        let text = error.to_string();
        assert!(text.contains("state.json") && text.contains("reset-device"), "{text}");
        assert!(commit_next(&store, &state).await.is_err());
    }
}

#[tokio::test]
async fn the_numbers_go_on_after_another_programs_playlist() {
    let base = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(hls(base.path())).unwrap();
    let foreign = "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:41\n#EXT-X-DISCONTINUITY\n#EXTINF:6,\na.ts\n\
                   #EXTINF:6,\nb.ts\n";
    std::fs::write(hls(base.path()).join("playlist.m3u8"), foreign).unwrap();
    let store = store(base.path());
    let state = store.open(&key()).await.unwrap();
    assert_eq!((state.next_segment, state.published.discontinuity_sequence), (43, 1));
    commit_next(&store, &state).await.unwrap();
    let window = Window::parse(&playlist(base.path())).unwrap();
    assert_eq!((window.media_sequence, window.discontinuity_sequence), (43, 1));
}

#[tokio::test]
async fn a_change_of_the_container_keeps_the_playlist_right() {
    let base = tempfile::tempdir().unwrap();
    let store = store(base.path());
    let mut checker = HistoryChecker::of_folder(&hls(base.path()));
    let mut state = store.open(&key()).await.unwrap();
    for number in 0..9 {
        let mut segment = segment(number);
        segment.discontinuity = number % 3 == 0;
        if (3..6).contains(&number) {
            segment.init = Some(Bytes::from_static(b"moov"));
        }
        let (timeline, now) = (timeline(number), commits_at(number));
        state = store.commit(&key(), &state, vec![segment], timeline, now).await.unwrap();
        checked(&mut checker, base.path());
    }
    checker.finish().assert_clean();
    let text = playlist(base.path());
    assert_eq!(text.matches("#EXT-X-MAP:").count(), 2, "{text}");
    assert!(text.contains("seg_000004.m4s") && text.contains("seg_000007.ts"), "{text}");
    let inits = everything(&hls(base.path()).join("segments"));
    let init = inits.iter().find(|(path, _)| path.to_string_lossy().contains("init_"));
    assert!(init.is_some());
}

#[tokio::test]
async fn a_full_day_is_extended_right_and_the_state_stays_small() {
    let base = roomy_base();
    let store = store(base.path());
    let mut state = store.open(&key()).await.unwrap();
    // A day at once is quicker to make than 2,880 commits, and says the same.
    for first in (0..2_880).step_by(48) {
        let segments = (first..first + 48).map(segment).collect();
        let (timeline, now) = (timeline(first + 47), commits_at(first + 47));
        state = store.commit(&key(), &state, segments, timeline, now).await.unwrap();
    }
    let mut checker = HistoryChecker::of_folder(&hls(base.path()));
    // What was committed together goes together: the first 48 go with the 49th one after the day.
    for number in 2_880..2_940 {
        checked(&mut checker, base.path());
        state = commit_next(&store, &state).await.unwrap();
        let bytes = std::fs::metadata(hls(base.path()).join("state.json")).unwrap().len();
        assert!(number < 2_882 || bytes < 6 * 1_024, "state.json has {bytes} bytes");
    }
    checked(&mut checker, base.path());
    checker.finish().assert_clean();
    let window = Window::parse(&playlist(base.path())).unwrap();
    assert_eq!((window.media_sequence, window.entries.len()), (48, 2_892));
}

#[tokio::test]
async fn a_device_that_another_process_holds_is_given_up_after_a_bounded_wait() {
    let base = tempfile::tempdir().unwrap();
    let settings = StoreSettings { lock_wait: Duration::from_millis(50), ..settings() };
    let store = Store::at(base.path(), settings).unwrap();
    let state = fill(&store, 1).await;
    let lock = std::fs::File::open(hls(base.path()).join(".lock")).unwrap();
    lock.lock().unwrap();
    let error = commit_next(&store, &state).await.unwrap_err();
    assert!(matches!(error, CommitError::Store(StoreError::Locked { .. })), "{error}");
    lock.unlock().unwrap();
    commit_next(&store, &state).await.unwrap();
}

#[tokio::test]
async fn readers_never_see_half_a_playlist() {
    let base = tempfile::tempdir().unwrap();
    let store = store(base.path());
    fill(&store, 1).await;
    let done = Arc::new(AtomicBool::new(false));
    let path = hls(base.path()).join("playlist.m3u8");
    let reader = std::thread::spawn({
        let done = done.clone();
        move || {
            while !done.load(Ordering::Relaxed) {
                Window::parse(&std::fs::read_to_string(&path).unwrap()).unwrap();
            }
        }
    });
    fill(&store, 60).await;
    done.store(true, Ordering::Relaxed);
    reader.join().unwrap();
}
