//! What goes from a stream, what stays, and what a run costs that has nothing to do.

use std::collections::BTreeMap;

use serde_json::json;
use stream_processor::model::{Clock, UtcMillis};
use stream_processor::retention::{RetentionSettings, Tally};
use stream_processor::store::{Store, StoreSettings};

use crate::rig::*;
use crate::store_fixture::{self, commits_at, key, playlist, segment, timeline};

fn tally(files: u64, bytes: u64) -> Tally {
    Tally { files, bytes }
}

#[tokio::test]
async fn a_file_goes_after_the_grace_and_nothing_that_is_listed_ever_does() {
    let rig = Rig::new(settings());
    let mut unlisted_since: BTreeMap<u64, UtcMillis> = BTreeMap::new();
    let mut deleted = 0;
    for number in 1..120 {
        rig.fill(number).await;
        let window = rig.window();
        for gone in 0..window.media_sequence {
            unlisted_since.entry(gone).or_insert(rig.clock.now());
        }
        // Now and then, and at odd times.
        if number % 7 < 3 {
            rig.clock.advance(std::time::Duration::from_secs(number % 11));
            deleted += rig.clean().await.segments.files;
        }
        let (media, now) = (rig.media(), rig.clock.now());
        for listed in window.media_sequence..number {
            assert!(media.contains(&listed), "{listed} is listed and gone");
        }
        let young = unlisted_since.iter().filter(|(_, since)| now.since(**since) < GRACE);
        for (number, _) in young {
            assert!(media.contains(number), "{number} went before the grace was over");
        }
        assert_eq!(media, rig.framed(), "frames go with their segments");
    }
    rig.clock.advance(GRACE);
    deleted += rig.clean().await.segments.files;
    let window = rig.window();
    assert_eq!(rig.media(), (window.media_sequence..119).collect());
    assert_eq!(deleted, window.media_sequence);
    let oldest_record = rig.store.committed_segments(&key()).await.unwrap()[0].number;
    assert!(window.media_sequence - oldest_record < 10, "old records go with their files");
}

#[tokio::test]
async fn a_run_tells_what_it_removed_by_the_records() {
    let rig = Rig::new(settings());
    rig.fill(30).await;
    assert_eq!(rig.clean().await, Default::default(), "just seen");
    rig.clock.advance(GRACE);
    let done = rig.clean().await;
    assert_eq!(done.segments, tally(10, 10 * 188 * 4));
    assert_eq!(done.frames, tally(60, 60_000));
    assert_eq!(done.freed_bytes(), 10 * 188 * 4 + 60_000);
    assert!(done.other_files > 0, "history files: {done:?}");
    assert_eq!(rig.clean().await, Default::default(), "and not twice");
}

#[tokio::test]
async fn with_nothing_to_do_nothing_is_written() {
    let rig = Rig::new(settings());
    rig.fill(30).await;
    rig.clean().await;
    rig.clock.advance(GRACE);
    rig.clean().await;
    let before = std::fs::metadata(rig.hls().join("cleaned.json")).unwrap();
    let all = rig.everything();
    rig.clean().await;
    use std::os::unix::fs::MetadataExt;
    let after = std::fs::metadata(rig.hls().join("cleaned.json")).unwrap();
    assert_eq!(before.ino(), after.ino());
    assert_eq!(rig.everything(), all);
}

#[tokio::test]
async fn what_an_archive_needs_stays_and_its_records_longer() {
    let rig = Rig::new(RetentionSettings { archives: true, ..settings() });
    rig.fill(60).await;
    rig.clean().await;
    rig.clock.advance(GRACE);
    let done = rig.clean().await;
    assert_eq!((done.segments.files, done.waiting_for_archive), (0, 40), "nothing is archived");
    let all_history = rig.history_files();

    rig.write_archived(&json!({"format": 1, "archived_below": 5, "linked_below": 0}));
    assert_eq!(rig.clean().await.segments.files, 5);
    rig.write_archived(&json!({"format": 1, "archived_below": 5, "linked_below": 30}));
    let done = rig.clean().await;
    assert_eq!((done.segments.files, done.waiting_for_archive), (25, 10));
    assert_eq!(rig.media(), (30..60).collect());
    let records = rig.store.committed_segments(&key()).await.unwrap();
    let (first, count) = (records[0].number, records.len() as u64);
    assert!(first <= 5 && count == 60 - first, "an archive is still to be made of the records");
    assert!(rig.history_files() >= all_history - 2);

    rig.write_archived(&json!({"archived_below": 60}));
    assert_eq!(rig.clean().await.segments.files, 10);
    assert_eq!(rig.media(), (40..60).collect());
    let records = rig.store.committed_segments(&key()).await.unwrap();
    assert!(records[0].number > 30, "{}", records[0].number);
    let all = rig.everything();
    assert_eq!(rig.clean().await, Default::default());
    assert_eq!(rig.everything(), all);
}

#[tokio::test]
async fn an_archivers_file_that_cannot_be_read_keeps_everything_and_is_told() {
    let rig = Rig::new(RetentionSettings { archives: true, ..settings() });
    rig.fill(60).await;
    std::fs::write(rig.hls().join("archived.json"), "{").unwrap();
    rig.clean_failing("archived.json").await;
    rig.clock.advance(GRACE);
    rig.clean_failing("archived.json").await;
    assert_eq!(rig.media().len(), 60);
}

#[tokio::test]
async fn a_camera_that_has_gone_loses_all_but_its_last_three_segments() {
    let rig = Rig::new(settings());
    rig.fill(30).await;
    let until = commits_at(29).plus(RETENTION).plus(GRACE).plus(MINUTE);
    let mut runs_that_wrote = 0;
    while rig.clock.now() < until {
        rig.clock.advance(MINUTE / 2);
        let before = rig.everything();
        let done = rig.clean().await;
        runs_that_wrote += u64::from(rig.everything() != before);
        let window = rig.window();
        for listed in window.media_sequence..30 {
            assert!(rig.media().contains(&listed));
        }
        assert!(done.busy == 0);
    }
    let window = rig.window();
    assert_eq!((window.media_sequence, window.entries.len()), (20, 10), "a dated one stays");
    rig.clock.advance(DAY * 3);
    rig.clean().await;
    let all = rig.everything();
    rig.clean().await;
    assert_eq!(rig.everything(), all, "there is nothing more to do, ever");
    assert_eq!(rig.media(), (20..30).collect());
    assert_eq!(rig.framed(), (20..30).collect());
    assert!(runs_that_wrote < 30, "{runs_that_wrote}");

    // It comes back.
    let state = rig.fill(31).await;
    assert_eq!(state.next_segment, 31);
}

#[tokio::test]
async fn the_segments_of_a_playlist_that_a_crash_left_behind_stay_until_it_is_mended() {
    let rig = Rig::new(settings());
    rig.fill(30).await;
    let behind = playlist(rig.path());
    rig.fill(45).await;
    std::fs::write(rig.hls().join("playlist.m3u8"), &behind).unwrap();
    rig.dry_run().await;
    assert_eq!(playlist(rig.path()), behind, "a dry run mends nothing");
    // As if it had been noted while the playlist was right.
    let seen = json!({"format": 1, "removed_below": 0,
        "observed": [{"media_sequence": 25, "at": commits_at(0)}]});
    std::fs::write(rig.hls().join("cleaned.json"), seen.to_string()).unwrap();
    let dry = rig.dry_run().await;
    assert_eq!(dry.segments.files, 0, "what it lists is listed");
    rig.clean().await;
    assert_eq!(rig.window().media_sequence, 25, "mended");
    assert_eq!(rig.media(), (25..45).collect());
}

#[tokio::test]
async fn notes_that_are_lost_or_cut_are_begun_anew_and_newer_ones_are_left() {
    let rig = Rig::new(RetentionSettings { idle_after: DAY, ..settings() });
    rig.fill(60).await;
    rig.clean().await;
    rig.clock.advance(GRACE);
    assert_eq!(rig.clean().await.segments.files, 40);
    let file = rig.hls().join("cleaned.json");
    for content in [None, Some(""), Some("{\"format\":1,\"removed"), Some("[]")] {
        match content {
            None => std::fs::remove_file(&file).unwrap(),
            Some(content) => std::fs::write(&file, content).unwrap(),
        }
        rig.clean().await;
        rig.clock.advance(GRACE);
        assert_eq!(rig.clean().await.segments.files, 0);
        assert_eq!(rig.cleaned()["removed_below"], 40, "{content:?}");
        assert_eq!(rig.media().len(), 20);
    }
    let newer = r#"{"format":2,"removed_below":0}"#;
    std::fs::write(&file, newer).unwrap();
    rig.clean_failing("format 2").await;
    assert_eq!(std::fs::read_to_string(&file).unwrap(), newer);
}

#[tokio::test]
async fn a_clock_that_was_ahead_takes_nothing_before_its_grace() {
    let rig = Rig::new(settings());
    rig.fill(30).await;
    let right = rig.clock.now();
    rig.clock.advance(DAY * 365);
    // The window is trimmed by that clock, and the grace begins with it.
    rig.clean().await;
    rig.clock.set(right);
    assert_eq!(rig.clean().await.segments.files, 0);
    rig.fill(31).await;
    assert_eq!(rig.clean().await.segments.files, 0);
    rig.clock.advance(GRACE);
    rig.clean().await;
    assert_eq!(rig.media(), (rig.window().media_sequence..31).collect());
}

#[tokio::test]
async fn a_state_from_a_backup_is_believed_and_its_numbers_are_cleaned_up_again() {
    let rig = Rig::new(settings());
    rig.fill(40).await;
    let backup = rig.everything();
    rig.fill(80).await;
    rig.clean().await;
    rig.clock.advance(GRACE);
    rig.clean().await;
    assert_eq!(rig.cleaned()["removed_below"], 60);
    let notes = std::fs::read(rig.hls().join("cleaned.json")).unwrap();
    std::fs::remove_dir_all(rig.path().join("client_ids")).unwrap();
    for (path, content) in backup {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    std::fs::write(rig.hls().join("cleaned.json"), notes).unwrap();
    rig.clock.set(commits_at(39));
    assert_eq!(rig.clean().await.segments.files, 0, "all of it is listed, or was just now");
    rig.fill(80).await;
    rig.clean().await;
    rig.clock.advance(GRACE);
    rig.clean().await;
    assert!(rig.media().range(20..60).next().is_none(), "{:?}", rig.media());
}

#[tokio::test]
async fn an_init_file_goes_with_the_last_segment_that_needs_it() {
    let rig = Rig::new(settings());
    let make = |number| with_init(number, if number < 12 { "first" } else { "second" });
    let init_files = || {
        let names = names(&rig.hls().join("segments"));
        names.iter().filter(|name| name.starts_with("init_")).count()
    };
    rig.fill_device(&key(), 30, make).await;
    rig.clean().await;
    rig.clock.advance(GRACE);
    assert_eq!(rig.clean().await.segments.files, 10);
    assert_eq!(init_files(), 2, "one that is listed needs the first");
    rig.fill_device(&key(), 36, make).await;
    rig.clean().await;
    rig.clock.advance(GRACE);
    rig.clean().await;
    assert_eq!((init_files(), rig.media().first().copied()), (1, Some(16)));
    // A format that comes back needs its file again.
    let make = |number| with_init(number, if number < 37 { "second" } else { "first" });
    rig.fill_device(&key(), 70, make).await;
    rig.clean().await;
    rig.clock.advance(GRACE);
    rig.clean().await;
    assert_eq!(init_files(), 1);
    assert!(playlist(rig.path()).lines().filter(|line| line.contains("MAP")).all(|line| {
        let name = line.split('/').nth(1).unwrap().trim_end_matches('"');
        rig.hls().join("segments").join(name).exists()
    }));
}

#[tokio::test]
async fn records_that_were_edited_lead_to_no_other_file() {
    let rig = Rig::new(settings());
    rig.fill(30).await;
    let secret = rig.path().join("client_ids/client-1/secret.jpg");
    std::fs::write(&secret, "x").unwrap();
    let history = rig.hls().join("history");
    let first = history.join(names(&history).first().unwrap());
    let text = std::fs::read_to_string(&first).unwrap();
    let mut records: serde_json::Value = serde_json::from_str(&text).unwrap();
    records[0]["file"] = json!("seg_000029.ts");
    records[0]["frames"][0]["file"] = json!("../../../secret.jpg");
    std::fs::write(&first, records.to_string()).unwrap();
    rig.clean().await;
    rig.clock.advance(GRACE);
    rig.clean().await;
    assert!(secret.exists());
    assert!(rig.media().contains(&29));
}

#[tokio::test]
async fn frames_are_removed_where_they_are() {
    use stream_processor::config::{StorageBackend, StorageConfig, StoragePlace};
    let mut rig = Rig::new(settings());
    let elsewhere = store_fixture::roomy_base();
    let frames =
        StoragePlace { backend: StorageBackend::Filesystem, base_path: elsewhere.path().into() };
    let config = StorageConfig { frames: Some(frames), ..StorageConfig::folder(rig.path()) };
    rig.store = Store::connect(&config, store_settings()).unwrap();
    rig.fill(30).await;
    let folder = rig.frames_folder(&key());
    let target = elsewhere.path().join(folder.strip_prefix(rig.path()).unwrap());
    std::fs::create_dir_all(target.parent().unwrap()).unwrap();
    let status = std::process::Command::new("mv").arg(&folder).arg(&target).status().unwrap();
    assert!(status.success());
    rig.clean().await;
    rig.clock.advance(GRACE);
    assert_eq!(rig.clean().await.frames.files, 60);
    assert_eq!(names(&target).len(), 20 * 6);
    assert_eq!(rig.sweep().await.unencoded.files, 0);
}

#[tokio::test]
async fn one_bad_device_costs_that_device_only() {
    let rig = Rig::new(settings());
    let bad = stream_processor::model::DeviceKey::new("client-1", "bad").unwrap();
    rig.fill(30).await;
    rig.fill_device(&bad, 30, segment).await;
    std::fs::write(rig.device_folder(&bad).join("hls/state.json"), "{").unwrap();
    rig.clean_failing("client-1/bad").await;
    rig.clock.advance(GRACE);
    rig.clean_failing("state.json").await;
    assert_eq!(rig.media().len(), 20);
    assert_eq!(names(&rig.device_folder(&bad).join("hls/segments")).len(), 30);
}

#[tokio::test]
async fn a_backlog_of_deletions_is_worked_off_in_parts() {
    let rig = Rig::new(settings());
    let mut state = rig.store.open(&key()).await.unwrap();
    for first in (0..1_600).step_by(100) {
        let segments = (first..first + 100).map(segment).collect();
        let now = commits_at(first + 99);
        let committed = rig.store.commit(&key(), &state, segments, timeline(first + 99), now).await;
        state = committed.unwrap();
    }
    rig.clock.set(commits_at(1_599));
    rig.clean().await;
    rig.clock.advance(GRACE);
    let done = rig.clean().await;
    assert_eq!(done.segments.files, state.published.media_sequence);
    assert!(done.segments.files > 1_000);
    assert_eq!(rig.clean().await, Default::default());
}

#[tokio::test]
async fn a_stream_that_another_program_began_is_cleaned_up_from_its_first_number() {
    let rig = Rig::new(settings());
    std::fs::create_dir_all(rig.hls()).unwrap();
    let foreign = "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:1000\n#EXTINF:6,\na.ts\n";
    std::fs::write(rig.hls().join("playlist.m3u8"), foreign).unwrap();
    rig.clock.set(commits_at(1_001));
    rig.fill(1_040).await;
    rig.clean().await;
    rig.clock.advance(GRACE);
    let done = rig.clean().await;
    assert_eq!(done.numbers, None, "of one device only");
    assert_eq!(rig.media().first().copied(), Some(rig.window().media_sequence));
    assert_eq!(rig.clean().await, Default::default());
}

#[test]
fn the_settings_of_the_rig_are_those_of_its_store() {
    assert_eq!(store_settings(), StoreSettings { retention: RETENTION, ..Default::default() });
}
