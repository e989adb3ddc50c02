//! One writer at a time.

use std::time::Duration;

use bytes::Bytes;
use stream_processor::model::{DeviceKey, EventId};
use stream_processor::playlist::Window;
use stream_processor::store::layout::{PLAYLIST_FILE, Place};
use stream_processor::store::{
    Expect, FrameRecord, Store, StoreSettings, StreamFile, Written, steps,
};

use super::site::Part;
use super::store_fixture::{
    commit_next, commits_at, fill, frame, key, segment, settings, timeline,
};

pub async fn playlist(store: &Store) -> String {
    let bytes = store.read(&key(), StreamFile::Playlist).await.unwrap().expect("a playlist");
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Puts a file of ours there as a crash or a person would.
pub async fn tamper(store: &Store, place: Place<'static>, name: &str, bytes: &'static [u8]) {
    let name = name.to_owned();
    let key = key();
    let written = store.on_device(&key, move |folder| {
        folder.write(place, &name, &Bytes::from_static(bytes), Expect::Anything, &steps::PROBE)
    });
    assert_eq!(written.await.unwrap(), Written::Done);
}

pub async fn a_stream_grows_and_is_read_back_by_another_process(part: Part) {
    let state = fill(&part.store(), 25).await;
    let other = part.store();
    assert_eq!(other.open(&key()).await.unwrap(), state);
    let window = Window::parse(&playlist(&other).await).unwrap();
    assert_eq!((window.media_sequence, window.entries.len()), (0, 25));
    let records = other.committed_segments(&key()).await.unwrap();
    assert_eq!(records.iter().map(|r| r.number).collect::<Vec<_>>(), (0..25).collect::<Vec<_>>());
    for record in &records {
        let file = StreamFile::Segment(record.file.clone());
        let media = other.read(&key(), file.clone()).await.unwrap().expect("a media file");
        assert_eq!(media, segment(record.number).media);
        let about = other.about(&key(), file.clone()).await.unwrap().expect("it is there");
        assert_eq!(about.len_bytes, record.size_bytes);
        let part = other.read_range(&key(), file, 188..376).await.unwrap();
        assert_eq!(part, media.slice(188..376));
    }
    assert_eq!(commit_next(&other, &state).await.unwrap().next_segment, 26);
    assert_eq!(other.devices().await.unwrap(), [key()]);
}

pub async fn a_playlist_that_was_lost_cut_or_edited_is_mended_byte_for_byte(part: Part) {
    let store = part.store();
    let state = fill(&store, 14).await;
    let before = playlist(&store).await;
    store
        .on_device(&key(), |folder| folder.remove(Place::Hls, PLAYLIST_FILE).map(|_| ()))
        .await
        .unwrap();
    assert_eq!(store.read(&key(), StreamFile::Playlist).await.unwrap(), None);
    assert_eq!(part.store().open(&key()).await.unwrap(), state);
    assert_eq!(playlist(&store).await, before);
    for damage in [&b"#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:30"[..], b"\xff\xfe", b""] {
        tamper(&store, Place::Hls, PLAYLIST_FILE, damage).await;
        part.store().open(&key()).await.unwrap();
        assert_eq!(playlist(&store).await, before);
    }
}

pub async fn a_committed_frame_is_known_however_long_ago(part: Part) {
    let state = fill(&part.store(), 40).await;
    let other = part.store();
    for number in [0, 3, 17, 39] {
        assert!(other.is_committed(&key(), &state, &frame(number, 2)).await.unwrap());
    }
    let unknown = FrameRecord { event_id: EventId::new("unknown").unwrap(), ..frame(17, 2) };
    assert!(!other.is_committed(&key(), &state, &unknown).await.unwrap());
}

pub async fn odd_names_are_names(part: Part) {
    let store = part.store();
    let odd = ["a b", "100%", "q?x=1&y", "#7", "Küche+Süd", "'quoted\"", "a%2Fb", "~t", "a:b"];
    for name in odd {
        let device = DeviceKey::new(name, name).unwrap();
        let state = store.open(&device).await.unwrap();
        let commit = store.commit(&device, &state, vec![segment(0)], timeline(0), commits_at(0));
        let state = commit.await.unwrap_or_else(|e| panic!("{name:?}: {e}"));
        assert_eq!(part.store().open(&device).await.unwrap(), state, "{name:?}");
        let file = StreamFile::Segment("seg_000000.ts".into());
        assert!(store.read(&device, file).await.unwrap().is_some(), "{name:?}");
    }
    let mut expected: Vec<_> = odd.iter().map(|n| DeviceKey::new(n, n).unwrap()).collect();
    expected.sort_unstable();
    assert_eq!(store.devices().await.unwrap(), expected);
}

pub async fn foreign_files_and_folders_are_no_devices(part: Part) {
    let store = part.store();
    assert!(store.devices().await.unwrap().is_empty());
    fill(&store, 1).await;
    for path in ["README.txt", "client_ids/note.txt", "client_ids/client-1/device_id/note.txt"] {
        part.put(path, b"not ours").await;
    }
    part.put("other/tree/file", b"not ours").await;
    assert_eq!(store.devices().await.unwrap(), [key()]);
}

pub async fn a_file_has_a_second_name_without_being_read(part: Part) {
    let store = part.store();
    fill(&store, 2).await;
    let key = key();
    let outcome = store.on_device(&key, |folder| {
        let id = stream_processor::model::SessionId::new("s-1").expect("an id");
        let target = Place::ArchiveSegments(&id);
        for _ in 0..2 {
            assert!(folder.copy(Place::Segments, target, "seg_000001.ts")?);
        }
        assert!(!folder.copy(Place::Segments, target, "seg_000009.ts")?, "there is none");
        folder.sync(target)?;
        folder.remove(Place::Segments, "seg_000001.ts")?;
        let listed: Vec<_> = folder.list(target)?.into_iter().map(|listed| listed.name).collect();
        assert_eq!(listed, ["seg_000001.ts"]);
        let copy = folder.read(target, "seg_000001.ts")?.expect("the copy stays");
        Ok::<_, stream_processor::store::StoreError>(copy.bytes)
    });
    assert_eq!(outcome.await.unwrap(), segment(1).media);
}

pub async fn a_session_is_ended_once(part: Part) {
    let store = part.store();
    let state = fill(&store, 3).await;
    let session = state.session.clone().expect("a session");
    assert_eq!((session.first_segment, session.last_segment, session.frame_count), (0, 2, 18));
    let long_ago = commits_at(1);
    assert!(!store.end_session(&key(), &session.id, long_ago).await.unwrap(), "it goes on");
    let last = session.last_frame_at;
    assert!(store.end_session(&key(), &session.id, last).await.unwrap());
    assert!(!part.store().end_session(&key(), &session.id, last).await.unwrap(), "only once");
    assert!(commit_next(&store, &state).await.is_err(), "the worker has to read it again");
    let fresh = store.open(&key()).await.unwrap();
    assert_eq!(fresh.session, None);
    let next = commit_next(&store, &fresh).await.unwrap();
    assert_eq!(next.session.map(|session| session.first_segment), Some(3));
}

pub async fn a_window_is_trimmed_while_nothing_comes(part: Part) {
    let retention = Duration::from_secs(600);
    let store = part.store_with(StoreSettings { retention, ..settings() });
    fill(&store, 30).await;
    let later = commits_at(29).plus(Duration::from_secs(280));
    assert!(store.trim_window(&key(), later, retention, 0).await.unwrap());
    let window = Window::parse(&playlist(&store).await).unwrap();
    assert!(commits_at(window.media_sequence) >= later.plus_millis(-600_000));
    assert!(!store.trim_window(&key(), later, retention, 0).await.unwrap(), "nothing is left");
    assert!(store.trim_window(&key(), later, retention, 25).await.unwrap());
    let state = part.store().open(&key()).await.unwrap();
    assert_eq!(state.published.media_sequence, 20, "a dated entry stays");
    assert_eq!(commit_next(&store, &state).await.unwrap().next_segment, 31);
}

pub async fn a_stream_begun_anew_never_steps_back(part: Part) {
    let store = part.store();
    let old = fill(&store, 12).await;
    store.reset_stream(&key(), 33, 0).await.unwrap();
    assert_eq!(store.read(&key(), StreamFile::Playlist).await.unwrap(), None);
    assert!(commit_next(&store, &old).await.is_err(), "a worker that knew it is fenced");
    let fresh = part.store().open(&key()).await.unwrap();
    assert_eq!((fresh.next_segment, fresh.session.clone()), (12, None));
    assert_eq!(fresh.target_duration_secs, 33);
    assert!(!store.is_committed(&key(), &fresh, &frame(3, 0)).await.unwrap());
    let next = commit_next(&store, &fresh).await.unwrap();
    let window = Window::parse(&playlist(&store).await).unwrap();
    assert_eq!((window.media_sequence, window.entries.len()), (12, 1));
    assert_eq!(part.store().open(&key()).await.unwrap(), next);
    // The state may be lost altogether.
    tamper(&store, Place::Hls, "state.json", b"{\"cut").await;
    assert!(store.open(&key()).await.is_err());
    store.reset_stream(&key(), 30, 40).await.unwrap();
    assert_eq!(store.open(&key()).await.unwrap().next_segment, 40);
}
