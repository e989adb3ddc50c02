//! What becomes an archive, and what is in it.

use std::os::unix::fs::MetadataExt;

use bytes::Bytes;
use m3u8_rs::{MediaPlaylist, MediaPlaylistType};
use sha2::{Digest, Sha256};
use stream_processor::archive::document::Status;
use stream_processor::archive::{ArchiveSettings, Outcome};

use super::archive_fixture::*;
use super::store_fixture::*;

fn parsed(text: &str) -> MediaPlaylist {
    let (rest, list) = m3u8_rs::parse_media_playlist(text.as_bytes()).unwrap();
    assert!(rest.is_empty());
    list
}

fn uris(list: &MediaPlaylist) -> Vec<String> {
    list.segments.iter().map(|segment| segment.uri.clone()).collect()
}

fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn finished_sessions_of_at_least_the_minimum_become_archives_and_no_others() {
    let base = tempfile::tempdir().unwrap();
    let camera = Camera::of(store(base.path()));
    // Two minutes, 30 s, a minute, and one that goes on.
    camera.film(10, &[4, 5, 7]).await;
    let outcome = camera.run().await;
    assert_eq!((outcome.archived, outcome.dismissed, outcome.failed), (2, 1, 0));
    assert_eq!(camera.archives().await, [session(0).to_string(), session(5).to_string()]);
    assert_eq!(camera.media(&session(0)).await, media_names(0..4));
    assert_eq!(camera.media(&session(5)).await, media_names(5..7));
    let ledger = camera.ledger().await;
    assert!(ledger.may_go(6) && !ledger.may_go(7), "{ledger:?}");

    camera.end_session().await;
    assert_eq!(camera.run().await.archived, 1);
    assert_eq!(camera.media(&session(7)).await, media_names(7..10));
    let before = everything(base.path());
    assert_eq!(camera.run().await, Outcome::default(), "nothing is left to do");
    assert_eq!(everything(base.path()), before);
}

#[tokio::test]
async fn an_archive_says_what_it_is_and_its_playlist_has_an_end() {
    let base = tempfile::tempdir().unwrap();
    let camera = Camera::of(store(base.path()));
    camera.film(6, &[2]).await;
    camera.end_session().await;
    let now = starts_at(9);
    camera.clock.set(now);
    camera.run().await;

    let id = session(2);
    let text = camera.vod(&id).await;
    let list = parsed(&text);
    assert!(list.end_list && list.playlist_type == Some(MediaPlaylistType::Vod));
    assert_eq!((list.media_sequence, list.target_duration), (0, 30));
    assert_eq!(uris(&list), ["2", "3", "4", "5"].map(|n| format!("segments/seg_00000{n}.ts")));
    assert!(list.segments.iter().all(|segment| segment.duration == 30.0));
    let date = list.segments[0].program_date_time.unwrap();
    assert_eq!(date.timestamp_millis(), starts_at(2).0);

    let document = camera.document(&id).await.unwrap();
    assert_eq!(document.status, Status::Ready);
    assert_eq!((document.started_at, document.ended_at), (starts_at(2), starts_at(6)));
    assert_eq!(document.duration_seconds, 120.0);
    assert_eq!(
        (document.first_committed_at, document.last_committed_at),
        (commits_at(2), commits_at(5))
    );
    assert_eq!((document.first_segment_number, document.last_segment_number), (2, 5));
    assert_eq!((document.segment_count, document.frame_count), (4, 4 * FRAMES));
    assert_eq!(document.archived_at, now);
    assert_eq!(document.expires_at, now.plus(camera.settings.keep));
    assert_eq!(document.owner_client_id, document.client_id);
    assert_eq!(
        base.path().join(&document.archive_path),
        archives_folder(base.path()).join(id.as_str())
    );
    assert_eq!(document.playlist_sha256, Some(sha256_hex(text.as_bytes())));
    let mut total_bytes = 0;
    for listed in &document.segments {
        let path = archives_folder(base.path()).join(format!("{id}/segments/{}", listed.file));
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(sha256_hex(&bytes), listed.sha256);
        assert_eq!(bytes.len() as u64, listed.size_bytes);
        assert_eq!(listed.captured_at, starts_at(listed.number));
        // The file of the stream under a second name.
        let original = std::fs::metadata(hls(base.path()).join("segments").join(&listed.file));
        assert_eq!(std::fs::metadata(&path).unwrap().ino(), original.unwrap().ino());
        total_bytes += listed.size_bytes;
    }
    assert_eq!(document.size_bytes, total_bytes);
}

#[tokio::test]
async fn discontinuities_and_init_files_are_the_archives_too() {
    let base = tempfile::tempdir().unwrap();
    let camera = Camera::of(store(base.path()));
    let change = |next: &mut stream_processor::store::NewSegment| {
        let number = u64::try_from(next.captured_at.millis_since(START) / 30_000).unwrap();
        next.init = Some(Bytes::from(if number < 4 { "one" } else { "two" }));
        next.discontinuity = number == 2 || number == 4;
    };
    // The session before ends with another init file than the one after begins with.
    camera.film_as(8, &[2], change).await;
    camera.end_session().await;
    camera.run().await;
    let text = camera.vod(&session(2)).await;
    let list = parsed(&text);
    let broken: Vec<_> = list.segments.iter().map(|segment| segment.discontinuity).collect();
    assert_eq!(broken, [false, false, true, false, false, false], "{text}");
    let maps: Vec<_> = list.segments.iter().filter_map(|s| s.map.as_ref()).collect();
    assert_eq!(maps.len(), 2, "{text}");
    let dated: Vec<_> = list.segments.iter().map(|s| s.program_date_time.is_some()).collect();
    assert!(dated[0] && dated[2], "{text}");
    for segment in &list.segments {
        assert!(segment.uri.ends_with(".m4s"));
    }
    let folder = archives_folder(base.path()).join(session(2).as_str());
    for (map, content) in maps.iter().zip(["one", "two"]) {
        assert_eq!(std::fs::read_to_string(folder.join(&map.uri)).unwrap(), content);
    }
    assert_eq!(camera.media(&session(2)).await.len(), 6 + 2);
}

#[tokio::test]
async fn a_session_longer_than_the_stream_is_kept_is_archived_before_its_segments_go() {
    let base = roomy_base();
    let mut camera = Camera::of(store(base.path()));
    camera.settings = ArchiveSettings { stream_retention: HOUR, ..archive_settings() };
    // Three hours without a break, looked after every ten minutes.
    for until in (20..=360).step_by(20) {
        camera.film(until, &[]).await;
        camera.run().await;
        // As the clean-up does: what was committed an hour ago goes, if no archive needs it.
        let may_go = match camera.store.open(&key()).await.unwrap().next_segment {
            next if next <= 120 => 0..0,
            next => 0..next - 120,
        };
        for number in may_go {
            let file = hls(base.path()).join("segments").join(media_name(number));
            if file.exists() {
                assert!(camera.ledger().await.may_go(number), "{number} is held up at {until}");
                camera.lose(number).await;
            }
        }
        assert_eq!(camera.document(&session(0)).await, None, "it is not there before its end");
    }
    camera.end_session().await;
    assert_eq!(camera.run().await.archived, 1);
    assert_eq!(camera.media(&session(0)).await, media_names(0..360));
    let document = camera.document(&session(0)).await.unwrap();
    assert!(document.missing_segments.is_empty(), "{:?}", document.missing_segments);
    assert_eq!((document.segment_count, document.duration_seconds), (360, 10_800.0));
    assert_eq!(parsed(&camera.vod(&session(0)).await).segments.len(), 360);
}

#[tokio::test]
async fn sessions_that_end_while_archives_are_off_never_become_any() {
    let base = tempfile::tempdir().unwrap();
    let mut camera = Camera::of(store(base.path()));
    camera.settings.enabled = false;
    camera.film(8, &[4]).await;
    camera.run().await;
    assert!(camera.archives().await.is_empty());
    let before = everything(base.path());
    assert_eq!(camera.run().await, Outcome::default());
    assert_eq!(everything(base.path()), before);
    camera.settings.enabled = true;
    camera.end_session().await;
    assert_eq!(camera.run().await.archived, 1);
    assert_eq!(camera.archives().await, [session(4).to_string()]);
}

#[tokio::test]
async fn many_devices_are_archived_some_at_a_time_and_a_broken_one_costs_itself() {
    let base = tempfile::tempdir().unwrap();
    let camera = Camera::of(store(base.path()));
    camera.film(4, &[]).await;
    camera.end_session().await;
    let devices = base.path().join("client_ids/client-1/device_id");
    for number in 2..20 {
        copy(&devices.join("camera-1"), &devices.join(format!("camera-{number}")));
    }
    std::fs::write(devices.join("camera-7/hls/state.json"), "{").unwrap();
    let keys = camera.store.devices().await.unwrap();
    assert_eq!(keys.len(), 19);
    let mut archived = Vec::new();
    let mut broken = Vec::new();
    let stop = tokio_util::sync::CancellationToken::new();
    let archiver = camera.archiver();
    let run = archiver.run_all(keys.clone(), 4, &stop, |key, outcome| match outcome {
        Ok(outcome) => archived.push((key.clone(), outcome.archived)),
        Err(error) => broken.push((key.clone(), error)),
    });
    run.await;
    assert!(archived.iter().all(|(_, count)| *count == 1));
    assert_eq!((archived.len(), broken.len()), (18, 1));
    assert_eq!(broken[0].0.device.as_str(), "camera-7");
    stop.cancel();
    archiver.run_all(keys, 4, &stop, |key, _| panic!("{key} after it was stopped")).await;
}
