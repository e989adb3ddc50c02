//! A device's stream begun anew: what goes, what stays, and that its numbers never step back.

use std::sync::Arc;

use serde_json::json;
use stream_processor::model::{Clock, DeviceKey, SessionId};
use stream_processor::playlist::Window;
use stream_processor::retention::{Reset, ResetError, ResetReport, Resetter, RetentionSettings};
use stream_processor::store::CommitError;

use crate::rig::*;
use crate::store_fixture::{START, commit_next, key, playlist, segment};

const TARGET_SECS: u32 = 33;

fn resetter(rig: &Rig) -> Resetter {
    let (store, clock) = (rig.store.clone(), Arc::clone(&rig.clock));
    Resetter::new(store, clock, rig.settings.clone(), MINUTE, TARGET_SECS)
}

async fn reset(rig: &Rig, how: Reset) -> ResetReport {
    resetter(rig).reset(&key(), how).await.unwrap()
}

/// A stream of thirty segments, three of them discontinuities, of which nothing comes any more.
async fn stream() -> Rig {
    let rig = Rig::new(settings());
    rig.fill_device(&key(), 30, |number| {
        let mut segment = with_init(number, "init");
        segment.discontinuity = number % 10 == 5;
        segment
    })
    .await;
    rig.clock.advance(MINUTE);
    rig
}

fn put_archive(rig: &Rig) -> std::path::PathBuf {
    let id = SessionId::of(START, 0);
    let archive = rig.device_folder(&key()).join(format!("archives/{id}"));
    std::fs::create_dir_all(archive.join("segments")).unwrap();
    std::fs::write(archive.join("segments/seg_000044.ts"), "media").unwrap();
    std::fs::write(archive.join("archive.json"), "{}").unwrap();
    archive
}

#[tokio::test]
async fn a_stream_goes_and_its_numbers_go_on() {
    let rig = stream().await;
    let archive = put_archive(&rig);
    let all = rig.everything();
    let dry = reset(&rig, Reset { dry_run: true, ..Reset::default() }).await;
    assert_eq!(rig.everything(), all, "a dry run changes nothing");
    let report = reset(&rig, Reset::default()).await;
    assert_eq!(report, dry);
    assert_eq!((report.next_segment, report.state_was_lost), (30, false));
    assert!(report.stream.files > 30 && report.stream.bytes > 0, "{report:?}");
    assert_eq!((report.frames.files, report.archives), (0, 0));
    assert!(rig.media().is_empty() && names(&rig.hls().join("segments")).is_empty());
    assert!(!rig.hls().join("playlist.m3u8").exists());
    assert_eq!(rig.framed().len(), 30, "frames stay");
    assert!(archive.join("segments/seg_000044.ts").exists(), "so do archives");

    let state = rig.fill(31).await;
    let window = rig.window();
    assert_eq!((window.media_sequence, window.entries.len()), (30, 1));
    assert_eq!(window.discontinuity_sequence, 4, "three, and the one that the reset is");
    assert_eq!((window.target_duration_secs, state.recent.len()), (TARGET_SECS, 1));
    let clean = rig.sweep().await;
    assert_eq!((clean.segments.files, clean.orphans.files), (0, 0), "{clean:?}");
    assert_eq!(rig.media(), [30].into());
}

#[tokio::test]
async fn a_worker_that_owned_the_device_is_fenced_and_goes_on_with_the_new_stream() {
    let rig = stream().await;
    let known = rig.state().await;
    reset(&rig, Reset { force: true, ..Reset::default() }).await;
    let refused = commit_next(&rig.store, &known).await.unwrap_err();
    assert!(matches!(refused, CommitError::Fenced { .. }), "{refused}");
    assert!(rig.media().is_empty(), "it has written nothing");
    let state = rig.store.open(&key()).await.unwrap();
    assert_eq!((state.timeline, state.session.as_ref()), (None, None));
    commit_next(&rig.store, &state).await.unwrap();
    assert_eq!(rig.window().media_sequence, 30);
}

#[tokio::test]
async fn a_device_that_a_worker_owns_is_refused_with_the_time() {
    let rig = stream().await;
    let committed_at = rig.state().await.recent.last().unwrap().committed_at;
    rig.clock.set(committed_at.plus(MINUTE).plus_millis(-1));
    let all = rig.everything();
    for dry_run in [true, false] {
        let how = Reset { dry_run, ..Reset::default() };
        let error = resetter(&rig).reset(&key(), how).await.unwrap_err();
        assert!(matches!(error, ResetError::Owned { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(&committed_at.to_string()) && text.contains("--force"), "{text}");
    }
    assert_eq!(rig.everything(), all);
    reset(&rig, Reset { force: true, ..Reset::default() }).await;
    assert!(rig.media().is_empty());
    // Once reset, nobody owns it.
    reset(&rig, Reset::default()).await;
}

#[tokio::test]
async fn a_device_that_does_not_exist_is_refused_and_not_created() {
    let rig = stream().await;
    let unknown = DeviceKey::new("client-1", "camera-l").unwrap();
    let error = resetter(&rig).reset(&unknown, Reset::default()).await.unwrap_err();
    assert!(error.to_string().contains("client-1/camera-l"), "{error}");
    assert!(!rig.device_folder(&unknown).exists());
}

#[tokio::test]
async fn frames_and_archives_go_when_asked_for() {
    let rig = stream().await;
    let archive = put_archive(&rig);
    let how = Reset { with_frames: true, with_archives: true, ..Reset::default() };
    let dry = reset(&rig, Reset { dry_run: true, ..how }).await;
    let report = reset(&rig, how).await;
    assert_eq!(report, dry);
    assert_eq!((report.frames.files, report.frames.bytes), (180, 180_000));
    assert_eq!((report.archives, report.archive_files.files), (1, 2));
    assert!(rig.framed().is_empty() && !archive.exists());
}

#[tokio::test]
async fn a_lost_cut_or_newer_state_is_what_it_is_for() {
    let newer = |text: &str| text.replacen("\"format\":1", "\"format\":2", 1);
    /// What becomes of a state's text; none: the file is gone.
    type Damage<'a> = &'a dyn Fn(&str) -> Option<String>;
    let damages: [Damage<'_>; 4] = [
        &|_| None,
        &|text| Some(text[..text.len() / 2].to_owned()),
        &|_| Some(String::new()),
        &|text| Some(newer(text)),
    ];
    for damage in damages {
        for has_playlist in [true, false] {
            let rig = stream().await;
            let known = rig.state().await;
            let file = rig.hls().join("state.json");
            let text = std::fs::read_to_string(&file).unwrap();
            match damage(&text) {
                Some(damaged) => std::fs::write(&file, damaged).unwrap(),
                None => std::fs::remove_file(&file).unwrap(),
            }
            let before = rig.window();
            if !has_playlist {
                std::fs::remove_file(rig.hls().join("playlist.m3u8")).unwrap();
            }
            assert!(rig.store.open(&key()).await.is_err());
            let dry = reset(&rig, Reset { dry_run: true, ..Reset::default() }).await;
            let report = reset(&rig, Reset::default()).await;
            assert_eq!(report, dry);
            assert!(report.state_was_lost);
            assert_eq!(report.next_segment, 30, "{has_playlist}");
            let refused = commit_next(&rig.store, &known).await.unwrap_err();
            assert!(matches!(refused, CommitError::Fenced { .. }), "{refused}");
            let state = rig.store.open(&key()).await.unwrap();
            commit_next(&rig.store, &state).await.unwrap();
            let window = rig.window();
            assert_eq!((window.media_sequence, window.next_number()), (30, 31));
            let listed = before.entries.iter().filter(|entry| entry.discontinuity).count() as u64;
            let all = before.discontinuity_sequence + listed;
            assert!(!has_playlist || window.discontinuity_sequence > all);
        }
    }
}

#[tokio::test]
async fn a_first_generation_that_was_lost_is_not_given_out_again() {
    let rig = Rig::new(settings());
    let known = rig.fill(1).await;
    assert_eq!(known.generation, 1);
    std::fs::remove_file(rig.hls().join("state.json")).unwrap();
    reset(&rig, Reset::default()).await;
    let refused = commit_next(&rig.store, &known).await.unwrap_err();
    assert!(matches!(refused, CommitError::Fenced { .. }), "{refused}");
}

#[tokio::test]
async fn numbers_go_on_after_everything_that_is_left_of_a_lost_stream() {
    for (name, content, next) in [
        ("hls/segments/seg_000070.ts", "media".to_owned(), 71),
        ("hls/history/0000000070_0000000079_1_2.json", "[]".to_owned(), 80),
        ("hls/cleaned.json", json!({"format": 1, "removed_below": 90}).to_string(), 90),
        ("hls/archived.json", json!({"archived_below": 95}).to_string(), 95),
        ("hls/playlist.m3u8", "#EXT-X-MEDIA-SEQUENCE:97\na.ts\n".to_owned(), 98),
        ("archives/s/segments/seg_000099.ts", "media".to_owned(), 100),
        ("hls/segments/seg_9999999999999999999.ts", "none of ours".to_owned(), 30),
    ] {
        let rig = stream().await;
        let path = rig.device_folder(&key()).join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        std::fs::remove_file(rig.hls().join("state.json")).unwrap();
        assert_eq!(reset(&rig, Reset::default()).await.next_segment, next, "{name}");
    }
}

#[tokio::test]
async fn an_edited_playlist_or_a_cut_record_does_not_take_its_numbers_back() {
    for history_is_cut in [false, true] {
        let rig = stream().await;
        let before = Window::parse(&playlist(rig.path())).unwrap();
        let listed = before.entries.iter().filter(|entry| entry.discontinuity).count() as u64;
        std::fs::write(rig.hls().join("playlist.m3u8"), "#EXTM3U\n").unwrap();
        if history_is_cut {
            for name in names(&rig.hls().join("history")) {
                std::fs::write(rig.hls().join("history").join(name), "[{").unwrap();
            }
        }
        reset(&rig, Reset::default()).await;
        let state = rig.store.open(&key()).await.unwrap();
        commit_next(&rig.store, &state).await.unwrap();
        let window = rig.window();
        assert_eq!(window.media_sequence, 30);
        assert!(window.discontinuity_sequence > before.discontinuity_sequence + listed);
    }
}

#[tokio::test]
async fn segments_that_are_not_archived_yet_are_told_of() {
    let mut rig = stream().await;
    rig.settings = RetentionSettings { archives: true, ..settings() };
    std::fs::write(rig.hls().join("archived.json"), r#"{"archived_below":12}"#).unwrap();
    let report = reset(&rig, Reset { dry_run: true, ..Reset::default() }).await;
    assert_eq!(report.unarchived, 18);
    assert_eq!(reset(&rig, Reset::default()).await.unarchived, 18);
}

#[tokio::test]
async fn a_device_that_is_being_cleaned_up_is_waited_for() {
    let rig = stream().await;
    rig.clean().await;
    let upkeep = std::fs::File::create(rig.hls().join(".upkeep.lock")).unwrap();
    upkeep.lock().unwrap();
    let freed = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(300));
        upkeep.unlock().unwrap();
    });
    reset(&rig, Reset::default()).await;
    freed.join().unwrap();
    assert!(rig.media().is_empty());
    rig.fill_device(&key(), 31, segment).await;
    assert!(rig.clock.now() > START);
}
