//! What is missing, what cannot be written, and who else is at it.

use std::sync::Arc;

use stream_processor::archive::document::{Missing, Status};
use stream_processor::archive::{ArchiveCleanup, Archiver, Database, Outcome};
use stream_processor::model::Secret;
use stream_processor::store::SegmentRecord;
use stream_processor::store::layout::HistoryName;

use super::archive_fixture::*;
use super::store_fixture::*;

#[tokio::test]
async fn a_missing_file_costs_itself_and_is_told() {
    let base = tempfile::tempdir().unwrap();
    let camera = Camera::of(store(base.path()));
    camera.film(10, &[]).await;
    camera.end_session().await;
    for number in [0, 4, 5, 9] {
        camera.lose(number).await;
    }
    assert_eq!(camera.run().await.archived, 1);
    let document = camera.document(&session(0)).await.unwrap();
    assert_eq!((document.status, document.segment_count), (Status::Ready, 6));
    let missing = [(0, 0), (4, 5), (9, 9)].map(|(first, last)| Missing { first, last });
    assert_eq!(document.missing_segments, missing);
    assert_eq!((document.first_segment_number, document.last_segment_number), (0, 9));
    let text = camera.vod(&session(0)).await;
    let (_, list) = m3u8_rs::parse_media_playlist(text.as_bytes()).unwrap();
    let broken: Vec<_> = list.segments.iter().map(|segment| segment.discontinuity).collect();
    assert_eq!(broken, [false, false, false, true, false, false], "{text}");
    let dated = list.segments[3].program_date_time.unwrap();
    assert_eq!(dated.timestamp_millis(), starts_at(6).0);
}

#[tokio::test]
async fn a_session_without_any_file_has_failed_until_they_are_back() {
    let base = tempfile::tempdir().unwrap();
    let camera = Camera::of(store(base.path()));
    camera.film(8, &[4]).await;
    let away = put_away(base.path(), 0..4);
    let outcome = camera.run().await;
    assert_eq!((outcome.archived, outcome.failed, outcome.waiting), (0, 1, 1));
    let document = camera.document(&session(0)).await.unwrap();
    assert_eq!(
        (document.status, document.segment_count, document.attempts),
        (Status::Failed, 0, 1)
    );
    assert!(document.error.unwrap().contains("4 segments"));
    assert!(!camera.ledger().await.may_go(0));
    away.bring_back();
    let waiting = Outcome { waiting: 1, ..Outcome::default() };
    assert_eq!(camera.run().await, waiting, "not its turn yet");
    camera.advance(HOUR);
    assert_eq!(camera.run().await.archived, 1);
    let document = camera.document(&session(0)).await.unwrap();
    assert_eq!((document.status, document.segment_count, document.attempts), (Status::Ready, 4, 2));
    assert!(camera.ledger().await.may_go(3));
}

/// Nothing can be written below a file.
fn block(path: &std::path::Path) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, "in the way").unwrap();
}

#[tokio::test]
async fn a_session_that_cannot_be_archived_holds_up_no_other_and_loses_nothing() {
    let base = tempfile::tempdir().unwrap();
    let camera = Camera::of(store(base.path()));
    let in_the_way = archives_folder(base.path()).join(session(4).as_str());
    block(&in_the_way);
    camera.film(12, &[4, 8]).await;
    camera.end_session().await;
    let outcome = camera.run().await;
    assert_eq!((outcome.archived, outcome.failed, outcome.waiting), (2, 1, 1));
    let ledger = camera.ledger().await;
    assert!(ledger.may_go(3) && !ledger.may_go(4), "{ledger:?}");
    assert!(ledger.failed[0].error.contains(session(4).as_str()), "{ledger:?}");
    for attempts in 2..5 {
        camera.advance(HOUR);
        camera.run().await;
        assert_eq!(camera.ledger().await.failed[0].attempts, attempts);
    }
    std::fs::remove_file(in_the_way).unwrap();
    camera.advance(HOUR);
    assert_eq!(camera.run().await.archived, 1);
    assert_eq!(camera.media(&session(4)).await, media_names(4..8));
    let ledger = camera.ledger().await;
    assert!(ledger.failed.is_empty() && ledger.may_go(11), "{ledger:?}");
}

#[tokio::test]
async fn while_no_archive_can_be_written_all_of_them_wait_and_then_come() {
    let base = roomy_base();
    let camera = Camera::of(store(base.path()));
    block(&archives_folder(base.path()));
    // Forty sessions of a minute: more than are kept account of.
    let marks: Vec<u64> = (0..80).step_by(2).collect();
    camera.film(80, &marks).await;
    camera.end_session().await;
    for _ in 0..5 {
        camera.run().await;
        camera.advance(HOUR);
    }
    let ledger = camera.ledger().await;
    assert!(!ledger.may_go(0) && ledger.failed.len() < 40, "{ledger:?}");
    std::fs::remove_file(archives_folder(base.path())).unwrap();
    let mut archived = 0;
    for _ in 0..3 {
        archived += camera.run().await.archived;
        camera.advance(HOUR);
    }
    assert_eq!((archived, camera.archives().await.len()), (40, 40));
    assert!(camera.ledger().await.may_go(79));
}

#[tokio::test]
async fn a_session_that_cannot_be_archived_is_given_up_when_its_archive_would_have_expired() {
    let base = tempfile::tempdir().unwrap();
    let camera = Camera::of(store(base.path()));
    camera.film(4, &[]).await;
    camera.end_session().await;
    for number in 0..4 {
        camera.lose(number).await;
    }
    camera.run().await;
    camera.advance(camera.settings.keep);
    assert_eq!(camera.run().await.failed, 1);
    camera.advance(HOUR);
    let outcome = camera.run().await;
    assert_eq!((outcome.given_up, outcome.waiting), (1, 0));
    assert!(camera.ledger().await.may_go(3));
    assert_eq!(camera.document(&session(0)).await.unwrap().status, Status::Failed);
}

#[tokio::test]
async fn a_ledger_that_is_lost_or_damaged_is_found_again_from_the_archives() {
    let base = tempfile::tempdir().unwrap();
    let camera = Camera::of(store(base.path()));
    camera.film(8, &[4]).await;
    camera.end_session().await;
    camera.run().await;
    let archives = everything(&archives_folder(base.path()));
    let ledger = hls(base.path()).join("archived.json");
    for damage in [None, Some("{\"format\":1,")] {
        match damage {
            Some(text) => std::fs::write(&ledger, text).unwrap(),
            None => std::fs::remove_file(&ledger).unwrap(),
        }
        camera.advance(HOUR);
        camera.run().await;
        assert_eq!(everything(&archives_folder(base.path())), archives);
        assert!(camera.ledger().await.may_go(7));
    }
    std::fs::write(&ledger, "{\"format\":2,\"archived_below\":7}").unwrap();
    let error = camera.archiver().run_device(&key()).await.unwrap_err();
    assert!(error.to_string().contains("format 2"), "{error}");
}

/// Removes the oldest segments' media and the history files of which nothing is left then, as a
/// clean-up does of what is archived. Returns the number of the oldest segment with a record.
fn clean_up_below(base: &std::path::Path, below: u64) -> u64 {
    for name in media_names(0..below) {
        let _ = std::fs::remove_file(hls(base).join("segments").join(name));
    }
    let mut oldest = u64::MAX;
    for entry in std::fs::read_dir(hls(base).join("history")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let name = HistoryName::parse(name).unwrap();
        if name.last < below {
            std::fs::remove_file(path).unwrap();
        } else {
            oldest = oldest.min(name.first);
        }
    }
    oldest
}

#[tokio::test]
async fn a_lost_ledger_archives_no_session_a_second_time_by_what_is_left_of_its_records() {
    for damage in [None, Some("{\"format\":1,")] {
        let base = tempfile::tempdir().unwrap();
        let camera = Camera::of(store(base.path()));
        // The second session is too short, the third goes on for most of the stream.
        camera.film(60, &[10, 11, 50]).await;
        assert_eq!(camera.run().await.archived, 2);
        let oldest = clean_up_below(base.path(), 45);
        assert!((12..50).contains(&oldest), "{oldest} is within the third session");
        let archives = everything(&archives_folder(base.path()));
        let known = camera.ledger().await;
        let ledger = hls(base.path()).join("archived.json");
        match damage {
            Some(text) => std::fs::write(&ledger, text).unwrap(),
            None => std::fs::remove_file(&ledger).unwrap(),
        }
        let outcome = camera.run().await;
        assert_eq!((outcome.archived, outcome.failed), (0, 0), "{damage:?}");
        assert_eq!(everything(&archives_folder(base.path())), archives, "{damage:?}");
        assert_eq!(camera.ledger().await, known, "{damage:?}");
        camera.end_session().await;
        assert_eq!(camera.run().await.archived, 1);
        assert_eq!(camera.media(&session(50)).await, media_names(50..60));
    }
}

#[tokio::test]
async fn a_lost_ledger_forgets_no_failure_and_keeps_what_is_still_to_be_archived() {
    let base = tempfile::tempdir().unwrap();
    let camera = Camera::of(store(base.path()));
    camera.film(12, &[4, 8]).await;
    camera.end_session().await;
    for number in 4..8 {
        camera.lose(number).await;
    }
    camera.run().await;
    camera.advance(HOUR);
    assert_eq!(camera.run().await.failed, 1);
    let known = camera.ledger().await;
    assert_eq!(known.failed[0].attempts, 2);
    std::fs::remove_file(hls(base.path()).join("archived.json")).unwrap();
    camera.film(16, &[12]).await;
    camera.end_session().await;
    let outcome = camera.run().await;
    assert_eq!((outcome.archived, outcome.failed, outcome.waiting), (1, 0, 1));
    let ledger = camera.ledger().await;
    assert_eq!(ledger.failed, known.failed);
    assert!(ledger.may_go(3) && !ledger.may_go(4), "{ledger:?}");
}

#[tokio::test]
async fn an_archive_that_expires_while_the_ledger_is_lost_does_not_hide_the_loss() {
    let base = tempfile::tempdir().unwrap();
    let camera = Camera::of(store(base.path()));
    camera.film(60, &[10, 50]).await;
    camera.run().await;
    clean_up_below(base.path(), 45);
    std::fs::remove_file(hls(base.path()).join("archived.json")).unwrap();
    // The first archive alone has expired: its row is noted in a ledger that knows nothing else.
    let document = archives_folder(base.path()).join(format!("{}/archive.json", session(0)));
    let text = std::fs::read_to_string(&document).unwrap();
    let expires_at = camera.document(&session(0)).await.unwrap().expires_at;
    let earlier = expires_at.plus_millis(-8 * 86_400_000).to_string();
    std::fs::write(&document, text.replace(&expires_at.to_string(), &earlier)).unwrap();
    let nowhere = Secret::new("postgres://nobody@127.0.0.1:1/none");
    let database = Some(Arc::new(Database::new(&nowhere).unwrap()));
    let cleanup = ArchiveCleanup::new(camera.store.clone(), camera.clock.clone(), database, false);
    assert_eq!(cleanup.sweep(&key()).await.unwrap().expired, 1);
    assert!(!camera.ledger().await.may_go(0), "nothing is said to be archived yet");
    assert_eq!(camera.run().await.archived, 0);
    assert_eq!(camera.archives().await, [session(10).to_string()]);
    assert!(camera.ledger().await.may_go(49));
}

#[tokio::test]
async fn lost_records_are_missing_segments() {
    let base = tempfile::tempdir().unwrap();
    let camera = Camera::of(store(base.path()));
    camera.film(30, &[]).await;
    camera.end_session().await;
    let history = hls(base.path()).join("history");
    let mut files: Vec<_> =
        std::fs::read_dir(&history).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort_unstable();
    let text = std::fs::read(&files[1]).unwrap();
    let lost: Vec<SegmentRecord> = serde_json::from_slice(&text).unwrap();
    std::fs::remove_file(&files[1]).unwrap();
    assert_eq!(camera.run().await.archived, 1);
    let document = camera.document(&session(0)).await.unwrap();
    let (first, last) = (lost[0].number, lost[lost.len() - 1].number);
    assert_eq!(document.missing_segments, [Missing { first, last }]);
    assert_eq!(document.segment_count, 30 - lost.len() as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn archivers_at_the_same_device_at_once_make_what_one_makes() {
    let base = tempfile::tempdir().unwrap();
    let camera = Camera::of(store(base.path()));
    camera.film(40, &[4, 8, 9, 20]).await;
    camera.end_session().await;
    let alone = tempfile::tempdir().unwrap();
    copy(base.path(), alone.path());
    camera.seen_by(store(alone.path())).run().await;
    let archivers: Vec<Archiver> =
        (0..4).map(|_| camera.seen_by(store(base.path())).archiver()).collect();
    let runs = archivers.iter().map(|archiver| async move {
        let mut archived = 0;
        for _ in 0..5 {
            archived += archiver.run_device(&key()).await.unwrap().archived;
        }
        archived
    });
    let archived: u64 = futures::future::join_all(runs).await.iter().sum();
    assert_eq!(archived, 4, "each session once");
    for part in ["archives", "hls/archived.json"] {
        let of = |base: &std::path::Path| match device_folder(base).join(part) {
            path if path.is_dir() => everything(&path).into_values().collect::<Vec<_>>(),
            path => vec![std::fs::read(path).unwrap()],
        };
        assert_eq!(of(base.path()), of(alone.path()), "{part}");
    }
}
