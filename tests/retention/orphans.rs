//! What nothing lists: what is taken, after which age, and what is left.

use std::path::Path;

use stream_processor::model::{Clock, DeviceKey};
use stream_processor::retention::{RetentionSettings, Run, Tally};

use crate::rig::*;
use crate::store_fixture::key;

fn put(path: &Path, bytes: usize) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, vec![0; bytes]).unwrap();
}

/// A stream of which ten segments have been cleaned up.
async fn cleaned_up(settings: RetentionSettings) -> Rig {
    let rig = Rig::new(settings);
    rig.fill(30).await;
    rig.clean().await;
    rig.clock.advance(GRACE);
    assert_eq!(rig.clean().await.segments.files, 10);
    rig
}

#[tokio::test]
async fn what_a_crash_or_a_power_cut_left_is_found_and_taken() {
    let rig = cleaned_up(settings()).await;
    let hls = rig.hls();
    let clean = rig.everything();
    put(&hls.join("segments/seg_000003.ts"), 100);
    put(&hls.join("segments/seg_000004.m4s"), 100);
    put(&hls.join("segments/init_00ff.mp4"), 10);
    put(&hls.join("history/0000000000_0000000003_1_2.json"), 20);
    put(&hls.join(".tmp/segments+seg_000030.ts"), 1_000);
    put(&hls.join(".tmp/cleaned.json"), 1_000);
    put(&hls.join("segments/seg_000031.ts"), 10_000);
    set_modified(&hls.join("segments/seg_000031.ts"), rig.clock.now());
    let dry = rig.run(&Run { dry_run: true, orphans_now: true, ..Run::default() }).await.done;
    let done = rig.sweep().await;
    assert_eq!(done.orphans, Tally { files: 6, bytes: 100 + 100 + 10 + 20 + 1_000 + 1_000 });
    assert_eq!(done, dry);
    assert!(hls.join("segments/seg_000031.ts").exists(), "it may be about to be committed");
    rig.clock.advance(DAY);
    assert_eq!(rig.sweep().await.orphans, Tally { files: 1, bytes: 10_000 });
    let mut after = rig.everything();
    after.remove(&hls.join("cleaned.json"));
    for (path, content) in &clean {
        if !path.ends_with("cleaned.json")
            && !path.ends_with("state.json")
            && !path.ends_with("playlist.m3u8")
        {
            assert_eq!(after.get(path), Some(content), "{}", path.display());
        }
    }
    assert_eq!(rig.sweep().await.orphans, Tally::default());
}

#[tokio::test]
async fn init_files_that_a_segment_needs_are_none() {
    let rig = Rig::new(settings());
    rig.fill_device(&key(), 30, |number| with_init(number, &format!("init {}", number / 9))).await;
    let before = names(&rig.hls().join("segments"));
    assert_eq!(rig.sweep().await.orphans, Tally::default());
    assert_eq!(names(&rig.hls().join("segments")), before);
    // Also those of segments that are unlisted and not yet gone.
    rig.fill_device(&key(), 40, |number| with_init(number, "last")).await;
    rig.clean().await;
    assert_eq!(rig.sweep().await.orphans, Tally::default());
}

#[tokio::test]
async fn foreign_files_are_left_and_counted() {
    let rig = cleaned_up(settings()).await;
    let foreign = ["segments/seg_3.ts", "segments/notes.txt", "history/1.json", "segments/.nfs01"];
    for name in foreign {
        put(&rig.hls().join(name), 5);
    }
    std::fs::create_dir(rig.hls().join("segments/seg_000002.ts")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", rig.hls().join("segments/seg_000001.ts")).unwrap();
    rig.clock.advance(DAY * 2);
    let done = rig.sweep().await;
    assert_eq!((done.foreign, done.orphans.files), (5, 0));
    assert_eq!(rig.cleaned()["foreign"], 5);
    assert!(foreign.iter().all(|name| rig.hls().join(name).exists()));
    assert!(rig.hls().join("segments/seg_000002.ts").is_dir());
    assert!(Path::new("/etc/passwd").exists());
}

#[tokio::test]
async fn each_device_is_looked_at_once_a_day_at_its_own_time() {
    let rig = cleaned_up(settings()).await;
    let due_at = rig.cleaned()["orphans_due_at"].as_i64().unwrap();
    let left = due_at - rig.clock.now().0;
    assert!((1..=86_400_000).contains(&left), "{left}");
    put(&rig.hls().join("segments/seg_000003.ts"), 100);
    let mut found = 0;
    for _ in 0..24 {
        found += rig.clean().await.orphans.files;
        rig.clock.advance(MINUTE * 60);
    }
    found += rig.clean().await.orphans.files;
    assert_eq!(found, 1);
    assert_eq!(rig.cleaned()["orphans_due_at"].as_i64().unwrap(), due_at + 86_400_000);
}

#[tokio::test]
async fn frames_that_were_never_encoded_are_told_of_and_kept() {
    let rig = cleaned_up(settings()).await;
    let frames = rig.frames_folder(&key());
    let now = rig.clock.now();
    for (name, hours) in [("waits", 2), ("refused", 25), ("lost", 49)] {
        let path = frames.join(format!("{name}.jpg"));
        put(&path, 500);
        set_modified(&path, now.plus_millis(-hours * 3_600_000));
    }
    let done = rig.sweep().await;
    assert_eq!(done.unencoded, Tally { files: 2, bytes: 1_000 });
    assert_eq!(done.unencoded_removed, Tally::default());
    assert_eq!(names(&frames).len(), 20 * 6 + 3);

    let rig = Rig {
        settings: RetentionSettings { unencoded_frames: Some(DAY * 2), ..settings() },
        ..rig
    };
    let dry = rig.run(&Run { dry_run: true, orphans_now: true, ..Run::default() }).await.done;
    let done = rig.sweep().await;
    assert_eq!(dry, done);
    assert_eq!(done.unencoded, Tally { files: 1, bytes: 500 });
    assert_eq!(done.unencoded_removed, Tally { files: 1, bytes: 500 });
    assert!(!frames.join("lost.jpg").exists() && frames.join("refused.jpg").exists());
    assert_eq!(names(&frames).len(), 20 * 6 + 2, "committed ones are not among them");
}

#[tokio::test]
async fn a_device_of_which_nothing_was_ever_encoded_has_frames_alone() {
    let mut rig = Rig::new(settings());
    let new = DeviceKey::new("client-1", "new").unwrap();
    rig.write_frames(&new, 0);
    for name in names(&rig.frames_folder(&new)) {
        let path = rig.frames_folder(&new).join(name);
        set_modified(&path, rig.clock.now().plus_millis(-30 * 3_600_000));
    }
    assert_eq!(rig.clean().await, Default::default());
    assert_eq!(rig.sweep().await.unencoded.files, 6);
    assert!(!rig.device_folder(&new).join("hls").exists(), "nothing is written for it");
    rig.settings.unencoded_frames = Some(DAY);
    assert_eq!(rig.sweep().await.unencoded_removed.files, 6);
    assert!(names(&rig.frames_folder(&new)).is_empty());
}

#[tokio::test]
async fn a_device_that_is_being_committed_to_is_left_to_the_next_run() {
    let rig = cleaned_up(settings()).await;
    put(&rig.hls().join(".tmp/segments+seg_000030.ts"), 1_000);
    let lock = std::fs::File::open(rig.hls().join(".lock")).unwrap();
    lock.lock().unwrap();
    let done = rig.sweep().await;
    assert_eq!((done.busy, done.orphans.files), (1, 0));
    lock.unlock().unwrap();
    assert_eq!(rig.sweep().await.orphans.files, 1);
    let upkeep = std::fs::File::open(rig.hls().join(".upkeep.lock")).unwrap();
    upkeep.lock().unwrap();
    assert_eq!(rig.sweep().await.busy, 1);
}
