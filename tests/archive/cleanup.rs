//! Which archives go, and which do not.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use stream_processor::archive::ArchiveCleanup;
use stream_processor::archive::expiry::Swept;
use stream_processor::model::{Clock, ManualClock, SystemClock};

use super::archive_fixture::*;
use super::store_fixture::*;

async fn sweep(camera: &Camera, dry_run: bool) -> Swept {
    let cleanup = ArchiveCleanup::new(camera.store.clone(), camera.clock.clone(), None, dry_run);
    cleanup.sweep(&key()).await.unwrap()
}

/// A device with two archives, made a day apart. The clock is the machine's, as the files are.
async fn two_archives(base: &Path) -> Camera {
    let now = SystemClock.now();
    let camera = Camera::of(store(base));
    camera.film(8, &[4]).await;
    let camera = Camera { clock: Arc::new(ManualClock::new(now)), ..camera };
    camera.run().await;
    camera.advance(DAY);
    camera.end_session().await;
    camera.run().await;
    assert_eq!(camera.archives().await.len(), 2);
    camera
}

#[tokio::test]
async fn an_archive_goes_when_its_own_time_has_come() {
    let base = tempfile::tempdir().unwrap();
    let camera = two_archives(base.path()).await;
    camera.advance(6 * DAY - HOUR);
    assert_eq!(sweep(&camera, false).await, Swept { kept: 2, ..Swept::default() });
    camera.advance(HOUR);
    let before = everything(base.path());
    let planned = sweep(&camera, true).await;
    assert_eq!(everything(base.path()), before, "a dry run changes nothing");
    assert_eq!((planned.expired, planned.kept, planned.files), (1, 1, 4));
    assert_eq!(planned.folders[0].0, format!("{}/{}", folder(""), session(0)));
    assert_eq!(planned.bytes, camera.document(&session(0)).await.unwrap().size_bytes);
    assert_eq!(sweep(&camera, false).await, planned);
    assert_eq!(camera.archives().await, [session(4).to_string()]);
    assert_eq!(camera.media(&session(4)).await, media_names(4..8));
    // The stream still has the files of its own.
    assert_eq!(std::fs::read_dir(hls(base.path()).join("segments")).unwrap().count(), 8);
    assert_eq!(camera.run().await.archived, 0);
}

fn folder(below: &str) -> String {
    format!("client_ids/client-1/device_id/camera-1/archives{below}")
}

#[tokio::test]
async fn what_is_half_made_stays_while_its_session_is_to_be_archived() {
    let base = tempfile::tempdir().unwrap();
    let camera = Camera::of(store(base.path()));
    camera.film(8, &[4]).await;
    // As a run leaves it that was killed, and as the open session's is.
    for first in [0, 4] {
        let segments = archives_folder(base.path()).join(format!("{}/segments", session(first)));
        std::fs::create_dir_all(&segments).unwrap();
        let from = hls(base.path()).join("segments").join(media_name(first));
        std::fs::hard_link(from, segments.join(media_name(first))).unwrap();
    }
    let late = Arc::new(ManualClock::new(SystemClock.now().plus(100 * DAY)));
    let camera = Camera { clock: late, ..camera };
    assert_eq!(sweep(&camera, false).await, Swept { kept: 2, ..Swept::default() });
    assert_eq!(camera.run().await.archived, 1);
    assert_eq!(camera.media(&session(0)).await, media_names(0..4));
}

#[tokio::test]
async fn what_is_left_of_an_archive_that_will_never_be_goes_once_it_is_old() {
    let base = tempfile::tempdir().unwrap();
    let mut camera = Camera::of(store(base.path()));
    camera.settings.min_duration = HOUR;
    camera.film(8, &[4]).await;
    camera.run().await;
    let segments = archives_folder(base.path()).join(format!("{}/segments", session(0)));
    std::fs::create_dir_all(&segments).unwrap();
    let from = hls(base.path()).join("segments").join(media_name(0));
    std::fs::hard_link(from, segments.join(media_name(0))).unwrap();
    camera.clock = Arc::new(ManualClock::new(SystemClock.now().plus(DAY / 2)));
    assert_eq!(sweep(&camera, false).await, Swept { kept: 1, ..Swept::default() });
    camera.advance(DAY);
    let swept = sweep(&camera, false).await;
    assert_eq!((swept.leftovers, swept.files, swept.kept), (1, 1, 0));
    assert!(camera.archives().await.is_empty());
}

#[tokio::test]
async fn files_of_others_stay_and_are_counted() {
    let base = tempfile::tempdir().unwrap();
    let camera = two_archives(base.path()).await;
    let archives = archives_folder(base.path());
    let notes = archives.join(format!("{}/segments/notes.txt", session(0)));
    let poster = archives.join(format!("{}/poster.jpg", session(0)));
    let foreign: [PathBuf; 4] =
        [archives.join("README"), archives.join("backup/archive.json"), notes, poster];
    for path in &foreign {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "not ours").unwrap();
    }
    camera.advance(7 * DAY);
    let swept = sweep(&camera, false).await;
    assert_eq!((swept.expired, swept.files, swept.foreign), (2, 8, 4));
    assert!(foreign.iter().all(|path| path.exists()));
    assert_eq!(everything(&archives).len(), foreign.len());
    let swept = sweep(&camera, false).await;
    assert_eq!((swept.expired, swept.leftovers, swept.foreign), (0, 0, 4));
    assert!(foreign.iter().all(|path| path.exists()));
}

#[tokio::test]
async fn a_document_that_cannot_be_read_protects_its_archive() {
    let base = tempfile::tempdir().unwrap();
    let camera = two_archives(base.path()).await;
    let document = archives_folder(base.path()).join(format!("{}/archive.json", session(0)));
    std::fs::write(&document, "{\"format\":1,\"status\":\"ready\",").unwrap();
    camera.advance(100 * DAY);
    let swept = sweep(&camera, false).await;
    assert_eq!((swept.expired, swept.foreign), (1, 1));
    assert_eq!(camera.media(&session(0)).await, media_names(0..4));
}

#[tokio::test]
async fn archives_of_a_device_without_a_stream_expire_as_well() {
    let base = tempfile::tempdir().unwrap();
    let camera = two_archives(base.path()).await;
    std::fs::remove_dir_all(hls(base.path())).unwrap();
    camera.advance(7 * DAY);
    assert_eq!(sweep(&camera, false).await.expired, 2);
    assert!(camera.archives().await.is_empty());
}

/// The command on a base path; its exit code, and what it says.
fn command(base: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_stream-processor"))
        .arg("archive-cleanup")
        .args(args)
        .env_clear()
        .env("STORAGE_BASE_PATH", base)
        .env("METRICS_ENABLED", "false")
        .current_dir(base)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn the_command_says_what_it_would_remove_and_then_removes_it() {
    let base = tempfile::tempdir().unwrap();
    let camera = two_archives(base.path()).await;
    let (code, said, log) = command(base.path(), &["--dry-run"]);
    assert_eq!(code, Some(0), "{log}");
    assert!(
        said.contains("; 0 archives of 0 files would be") && said.contains("2 archives stay"),
        "{said}"
    );
    // Archives that were made eight days ago.
    for first in [0, 4] {
        let path = archives_folder(base.path()).join(format!("{}/archive.json", session(first)));
        let text = std::fs::read_to_string(&path).unwrap();
        let expires_at = camera.document(&session(first)).await.unwrap().expires_at;
        let earlier = expires_at.plus_millis(-9 * 86_400_000).to_string();
        std::fs::write(&path, text.replace(&expires_at.to_string(), &earlier)).unwrap();
    }
    let (code, said, log) = command(base.path(), &["--dry-run"]);
    assert_eq!(code, Some(0), "{log}");
    assert!(said.contains(&format!("would remove {}/{}", folder(""), session(4))), "{said}");
    assert!(said.contains("; 2 archives of 8 files would be removed"), "{said}");
    assert_eq!(camera.archives().await.len(), 2);
    let (code, said, log) = command(base.path(), &[]);
    assert_eq!(code, Some(0), "{log}");
    assert!(said.contains("; 2 archives of 8 files removed"), "{said}");
    assert!(log.contains("archives are cleaned up"), "{log}");
    assert!(camera.archives().await.is_empty());
}

#[tokio::test]
async fn the_command_ends_with_2_without_a_table_to_rebuild_and_with_1_where_a_device_fails() {
    let base = tempfile::tempdir().unwrap();
    let (code, _, complaint) = command(base.path(), &["--rebuild-database"]);
    assert_eq!(code, Some(2));
    assert!(complaint.contains("ARCHIVE_DATABASE_URL"), "{complaint}");
    let camera = two_archives(base.path()).await;
    std::fs::write(hls(base.path()).join("state.json"), "{").unwrap();
    let (code, _, complaint) = command(base.path(), &[]);
    assert_eq!(code, Some(1));
    assert!(complaint.contains("client-1/camera-1"), "{complaint}");
    assert_eq!(camera.archives().await.len(), 2);
}
