//! Archives, made by the storage itself.

use std::time::Duration;

use sha2::{Digest, Sha256};
use stream_processor::archive::ArchiveCleanup;
use stream_processor::archive::document::{Document, Status};
use stream_processor::store::{Store, StreamFile};

use super::archive_fixture::{Camera, session};
use super::site::Part;
use super::store_fixture::key;

/// The archive's document, after all that it says has been found to be so.
async fn whole_archive(store: &Store, first: u64) -> Document {
    let id = session(first);
    let read = async |file| store.read(&key(), file).await.unwrap().expect("a file");
    let document: Document =
        serde_json::from_slice(&read(StreamFile::ArchiveInfo(id.clone())).await).unwrap();
    assert_eq!(document.status, Status::Ready);
    let hash = |bytes: &[u8]| -> String {
        Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let playlist = read(StreamFile::ArchivePlaylist(id.clone())).await;
    assert_eq!(document.playlist_sha256, Some(hash(&playlist)));
    for segment in &document.segments {
        let media = read(StreamFile::ArchiveSegment(id.clone(), segment.file.clone())).await;
        assert_eq!(segment.sha256, hash(&media), "{}", segment.file);
    }
    document
}

pub async fn a_finished_session_becomes_an_archive_and_goes_when_its_time_has_come(part: Part) {
    let camera = Camera::of(part.store());
    camera.film(6, &[4]).await;
    assert_eq!(camera.run().await.archived, 1);
    camera.lose(5).await;
    camera.end_session().await;
    // One segment alone is too short.
    let outcome = camera.run().await;
    assert_eq!((outcome.archived, outcome.failed), (1, 0));
    let document = whole_archive(&part.store(), 0).await;
    assert_eq!((document.segment_count, document.duration_seconds), (4, 120.0));
    let document = whole_archive(&part.store(), 4).await;
    assert_eq!((document.segment_count, document.missing_segments.len()), (1, 1));
    // The stream's files go; the archive has its own.
    for number in 0..4 {
        camera.lose(number).await;
    }
    whole_archive(&part.store(), 0).await;

    let clock = camera.clock.clone();
    let cleanup = ArchiveCleanup::new(part.store(), clock, None, false);
    assert_eq!(cleanup.sweep(&key()).await.unwrap().expired, 0);
    camera.advance(camera.settings.keep + Duration::from_secs(1));
    let swept = cleanup.sweep(&key()).await.unwrap();
    assert_eq!((swept.expired, swept.files, swept.foreign), (2, 5, 0));
    assert!(camera.archives().await.is_empty());
    assert_eq!(camera.run().await.archived, 0, "it does not come back");
}

pub async fn archivers_at_the_same_device_at_once_make_each_archive_whole(part: Part) {
    let camera = Camera::of(part.store());
    camera.film(20, &[4, 8, 9]).await;
    camera.end_session().await;
    let archivers: Vec<_> = (0..3).map(|_| camera.seen_by(part.store()).archiver()).collect();
    let runs = archivers.iter().map(|archiver| async move {
        for _ in 0..4 {
            archiver.run_device(&key()).await.unwrap();
        }
    });
    futures::future::join_all(runs).await;
    camera.run().await;
    let ids = [0, 4, 9].map(|first| session(first).to_string());
    assert_eq!(camera.archives().await, ids);
    for (first, segments) in [(0, 4), (4, 4), (9, 11)] {
        let document = whole_archive(&part.store(), first).await;
        assert_eq!(document.segment_count, segments);
        assert!(document.missing_segments.is_empty());
    }
    let ledger = camera.ledger().await;
    assert!(ledger.may_go(19) && ledger.failed.is_empty(), "{ledger:?}");
}
