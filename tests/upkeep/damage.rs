//! Files that are cut, edited or foreign, for every command that comes across them; and a clock
//! that is stepped back.

use std::path::Path;

use stream_processor::archive::ArchiveCleanup;
use stream_processor::model::Clock;

use crate::archive_fixture::{Camera, DAY, HOUR};
use crate::fleet::{device, film};
use crate::rig::*;
use crate::store_fixture::{everything, key, roomy_base, store};

/// The upkeep of all devices, and what each says when it is through.
const UPKEEP: [&[&str]; 3] = [&["offline-checker"], &["cleanup"], &["archive-cleanup"]];

/// Everything but locks and what clean-ups note.
fn streams(base: &Path) -> std::collections::BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut all = everything(base);
    all.retain(|path, _| {
        let path = path.to_string_lossy();
        !path.ends_with(".lock") && !path.ends_with("cleaned.json")
    });
    all
}

#[tokio::test]
async fn a_state_that_is_cut_or_edited_is_said_by_who_meets_it_and_a_reset_mends_it() {
    let cut = |text: &str| text[..text.len() / 2].to_owned();
    let edited = |text: &str| text.replacen("\"next_segment\":3", "\"next_segment\":2", 1);
    let damages: [&dyn Fn(&str) -> String; 2] = [&cut, &edited];
    for damage in damages {
        let base = roomy_base();
        let store = store(base.path());
        for name in ["a", "b"] {
            film(&store, &device(name), 3).await;
        }
        // So that the clean-up of archives looks at it.
        let archive = base.path().join("client_ids/acme/device_id/a/archives/s");
        std::fs::create_dir_all(&archive).unwrap();
        let state = hls(base.path(), "a").join("state.json");
        let text = std::fs::read_to_string(&state).unwrap();
        let damaged = damage(&text);
        assert_ne!(damaged, text);
        std::fs::write(&state, &damaged).unwrap();
        let before = streams(&hls(base.path(), "a"));
        for arguments in UPKEEP {
            let ended = run(base.path(), arguments);
            assert_eq!(ended.code, Some(1), "{arguments:?}: {ended:?}");
            for part in ["acme/a", "state.json", "reset-device"] {
                assert!(ended.log.contains(part), "{arguments:?}: {part}: {ended:?}");
            }
        }
        assert!(store.open(&device("b")).await.unwrap().session.is_none(), "the other goes on");
        let clip = run(base.path(), COMMANDS[6]);
        assert!(clip.code == Some(1) && clip.log.contains("reset-device"), "{clip:?}");
        assert_eq!(streams(&hls(base.path(), "a")), before, "nothing is changed");

        let reset = run(base.path(), COMMANDS[4]);
        assert!(reset.code == Some(0) && reset.said.contains("segment 3"), "{reset:?}");
        for arguments in UPKEEP {
            let ended = run(base.path(), arguments);
            assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
        }
    }
}

#[tokio::test]
async fn a_playlist_of_a_gone_camera_that_is_cut_or_edited_is_rebuilt_as_it_was() {
    let base = roomy_base();
    film(&store(base.path()), &device("a"), 30).await;
    for arguments in [UPKEEP[0], UPKEEP[1]] {
        assert_eq!(run(base.path(), arguments).code, Some(0));
    }
    let playlist = hls(base.path(), "a").join("playlist.m3u8");
    let right = std::fs::read_to_string(&playlist).unwrap();
    let cut = right[..right.len() / 2].to_owned();
    let edited = right.replacen("#EXTINF:30", "#EXTINF:60", 1);
    for damaged in [Some(cut), Some(edited), Some(String::new()), None] {
        match &damaged {
            Some(text) => std::fs::write(&playlist, text).unwrap(),
            None => std::fs::remove_file(&playlist).unwrap(),
        }
        let ended = run(base.path(), &["cleanup", "--orphans"]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.log.contains("playlist mended"), "{damaged:?}: {ended:?}");
        assert_eq!(std::fs::read_to_string(&playlist).unwrap(), right, "{damaged:?}");
    }
}

#[tokio::test]
async fn what_is_foreign_in_the_tree_stops_nothing_and_stays() {
    let base = roomy_base();
    film(&store(base.path()), &device("a"), 3).await;
    let foreign = [
        "README",
        "client_ids/notes.txt",
        "client_ids/acme/device_id/notes.txt",
        "client_ids/acme/archive.zip",
        "client_ids/acme/device_id/a/hls/segments/holiday.mp4",
        "client_ids/acme/device_id/a/hls/segments/old/seg_000000.ts",
        "client_ids/acme/device_id/a/hls/notes.txt",
        "client_ids/acme/device_id/a/archives/backup/seg_000000.ts",
        "client_ids/acme/device_id/a/archives/notes.txt",
        "client_ids/acme/device_id/folder/hls/state.json/notes.txt",
        "client_ids/acme/device_id/empty/notes.txt",
    ];
    for path in foreign {
        let path = base.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "foreign").unwrap();
    }
    std::os::unix::fs::symlink("/", base.path().join("client_ids/acme/device_id/link")).unwrap();
    std::os::unix::fs::symlink("/", base.path().join("client_ids/link")).unwrap();
    for arguments in [UPKEEP[0], &["cleanup", "--orphans"], UPKEEP[2], COMMANDS[4]] {
        let ended = run(base.path(), arguments);
        assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
        for path in foreign {
            let text = std::fs::read_to_string(base.path().join(path));
            assert_eq!(text.ok().as_deref(), Some("foreign"), "{arguments:?}: {path}");
        }
    }
    assert!(!hls(base.path(), "a").join("segments/seg_000000.ts").exists(), "it was reset");
}

#[tokio::test]
async fn a_clock_that_is_stepped_back_removes_no_archive_early() {
    let base = roomy_base();
    let camera = Camera::of(store(base.path()));
    camera.film(4, &[]).await;
    camera.end_session().await;
    assert_eq!(camera.run().await.archived, 1);
    let clock = camera.clock.clone();
    let cleanup = ArchiveCleanup::new(camera.store.clone(), clock.clone(), None, false);
    clock.advance(camera.settings.keep - HOUR);
    let late = clock.now();
    for back in [HOUR, 2 * DAY, 400 * DAY] {
        let back_millis = i64::try_from(back.as_millis()).unwrap();
        clock.set(late.plus_millis(-back_millis));
        let swept = cleanup.sweep(&key()).await.unwrap();
        assert_eq!((swept.expired, swept.leftovers, swept.kept), (0, 0, 1), "{back:?}");
    }
    clock.set(late.plus(HOUR));
    assert_eq!(cleanup.sweep(&key()).await.unwrap().expired, 1);
}
