//! Clean-ups that go on until they are told to stop.

use std::time::{Duration, Instant};

use crate::archive_fixture::{Camera, archives_folder};
use crate::consumer::Consumer;
use crate::fleet::{device, film};
use crate::rig::*;
use crate::store_fixture::{roomy_base, store};

async fn until(running: &Consumer, name: &str, wanted: f64) {
    let begun = Instant::now();
    while running.metric(name).await < wanted {
        assert!(begun.elapsed() < Duration::from_secs(30), "{name}:\n{}", running.log_text());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn cleanup_goes_on_shows_itself_and_leaves_in_order() {
    let base = roomy_base();
    let store = store(base.path());
    film(&store, &device("gone"), 30).await;
    let mut command = command(base.path(), &["cleanup", "--continuous", "--interval", "1"]);
    command.env("ARCHIVE_ENABLED", "false").env("RETENTION_GRACE_SECONDS", "1");
    let running = Consumer::run_command(&mut command).await;
    until(&running, "segments_deleted_total", 1.0).await;
    let media = names(&hls(base.path(), "gone").join("segments")).len();
    assert_eq!(running.metric("segments_deleted_total").await, (30 - media) as f64);
    let runs = running.metric("chore_runs_total{chore=\"cleanup\"}").await;
    until(&running, "chore_runs_total{chore=\"cleanup\"}", runs + 2.0).await;
    assert!(running.metric("cleanup_duration_seconds_count").await >= 2.0);
    let (is_ready, said) = running.probe("/readyz").await;
    assert!(is_ready && said.contains("storage") && !said.contains("source"), "{said}");
    assert!(running.probe("/healthz").await.0);
    let cleaned = running.log().iter().filter(|line| line["message"] == "cleaned up").count();
    assert_eq!(cleaned, 1, "what changes nothing is not told of:\n{}", running.log_text());
    assert!(running.leave().await.success());
}

#[tokio::test]
async fn a_storage_that_cannot_be_listed_is_told_of_once_and_when_it_is_mended() {
    let base = roomy_base();
    film(&store(base.path()), &device("a"), 3).await;
    let cleanup = command(base.path(), &["cleanup", "--continuous", "--interval", "1"]);
    let running = Consumer::run_command(&mut limited(&cleanup)).await;
    let clients = base.path().join("client_ids");
    set_mode(&clients, 0o000);
    until(&running, "chore_failures_total{chore=\"cleanup\"}", 2.0).await;
    let (is_ready, said) = running.probe("/readyz").await;
    assert!(!is_ready && said.contains("Permission denied"), "{said}");
    assert!(running.probe("/healthz").await.0);
    set_mode(&clients, 0o755);
    let told =
        |message: &str| running.log().into_iter().filter(|line| line["message"] == message).count();
    running.until("it is mended", |_| (told("mended: it is done again") > 0).then_some(())).await;
    assert_eq!(told("it cannot be done now: it is tried again"), 1, "{}", running.log_text());
    assert!(running.probe("/readyz").await.0);
    assert!(running.leave().await.success());
}

#[tokio::test]
async fn archive_cleanup_goes_on_as_well() {
    let base = roomy_base();
    let camera = Camera::of(store(base.path()));
    camera.film(4, &[]).await;
    camera.end_session().await;
    let arguments = ["archive-cleanup", "--continuous", "--interval", "1"];
    let running = Consumer::run_command(&mut command(base.path(), &arguments)).await;
    // It is made while the other is at work, and has expired at once: it is from long ago.
    assert_eq!(camera.run().await.archived, 1);
    until(&running, "archives_deleted_total", 1.0).await;
    assert!(names(&archives_folder(base.path())).is_empty());
    let runs = running.metric("chore_runs_total{chore=\"archive_cleanup\"}").await;
    until(&running, "chore_runs_total{chore=\"archive_cleanup\"}", runs + 1.0).await;
    assert!(running.leave().await.success());
}

#[test]
fn what_cannot_go_on_is_refused() {
    let base = roomy_base();
    for arguments in [
        ["cleanup", "--continuous", "--dry-run"],
        ["cleanup", "--continuous", "--orphans"],
        ["cleanup", "--continuous", "--interval=0"],
        ["archive-cleanup", "--continuous", "--dry-run"],
        ["archive-cleanup", "--continuous", "--rebuild-database"],
        ["archive-cleanup", "--continuous", "--interval=0"],
    ] {
        assert_eq!(run(base.path(), &arguments).code, Some(2), "{arguments:?}");
    }
}
