//! Archiving and clean-up killed at every named instant, in a process of their own; the next run
//! finishes what was begun, and the result is what an unbroken run makes.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use stream_processor::archive::{ArchiveCleanup, Database, steps};
use stream_processor::model::{Clock, ManualClock, Secret, SystemClock, UtcMillis};
use stream_processor::store::layout::HistoryName;
use stream_processor::store::steps::WriteSteps;

use super::archive_fixture::*;
use super::step_names::{killed_at, named_in};
use super::store_fixture::*;

/// Names the base folder to the child process; without it the child's part does nothing.
const CHILD_BASE: &str = "ARCHIVE_CRASH_BASE";
/// The child's time.
const CHILD_NOW: &str = "ARCHIVE_CRASH_NOW";
/// How long the child's streams keep their segments, in seconds.
const CHILD_RETENTION: &str = "ARCHIVE_CRASH_RETENTION";

/// The child's camera; none in the test run itself.
fn childs_camera() -> Option<Camera> {
    let base = std::env::var_os(CHILD_BASE)?;
    let number = |name| std::env::var(name).unwrap().parse().unwrap();
    let mut camera = Camera::of(store(Path::new(&base)));
    camera.clock.set(UtcMillis(number(CHILD_NOW)));
    let secs = u64::try_from(number(CHILD_RETENTION)).unwrap();
    camera.settings.stream_retention = Duration::from_secs(secs);
    Some(camera)
}

#[test]
fn child_archives() {
    let Some(camera) = childs_camera() else { return };
    let _scenario = fail::FailScenario::setup();
    tokio::runtime::Runtime::new().unwrap().block_on(camera.run());
}

#[test]
fn child_cleans_up() {
    let Some(camera) = childs_camera() else { return };
    let _scenario = fail::FailScenario::setup();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(cleanup(&camera).sweep(&key())).unwrap();
}

fn child(camera: &Camera, base: &Path, part: &str, failpoints: &str) -> Output {
    let part = format!("crash::{part}");
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &part, "--test-threads=1", "--nocapture"])
        .env(CHILD_BASE, base)
        .env(CHILD_NOW, as_number(camera.clock.now()))
        .env(CHILD_RETENTION, camera.settings.stream_retention.as_secs().to_string())
        .env("FAILPOINTS", failpoints)
        .output()
        .unwrap()
}

/// Runs the child with the fail points set; it has to be killed there.
fn kill_child(camera: &Camera, base: &Path, part: &str, failpoints: &str) {
    let output = child(camera, base, part, failpoints);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.signal(), Some(9), "{failpoints} was not reached\n{said}");
}

/// Everything that archiving has made, by its path below the device.
fn made(base: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let device = device_folder(base);
    let below = |path: &Path| path.strip_prefix(&device).unwrap().to_owned();
    let mut all = everything(&device);
    all.retain(|path, _| {
        let path = below(path);
        path.starts_with("archives")
            || path.starts_with("hls/.tmp")
            || path.ends_with("archived.json")
    });
    all.into_iter().map(|(path, bytes)| (below(&path), bytes)).collect()
}

/// Kills the child at each of the fail points, on a copy of `stream` each time, and compares
/// what the next run makes of it with what one makes that is not killed.
async fn unharmed_by(stream: &Path, camera: &Camera, failpoints: &[String]) {
    let whole = tempfile::tempdir().unwrap();
    copy(stream, whole.path());
    let seen = |base: &Path| camera.seen_by(store(base));
    seen(whole.path()).run().await;
    let expected = made(whole.path());
    for failpoint in failpoints {
        let base = tempfile::tempdir().unwrap();
        copy(stream, base.path());
        kill_child(camera, base.path(), "child_archives", failpoint);
        seen(base.path()).run().await;
        assert_eq!(made(base.path()), expected, "{failpoint}");

        // Once more with another process at the device, which may be first.
        let base = tempfile::tempdir().unwrap();
        copy(stream, base.path());
        std::thread::scope(|scope| {
            let doomed = scope.spawn(|| child(camera, base.path(), "child_archives", failpoint));
            while !doomed.is_finished() {
                let output = child(camera, base.path(), "child_archives", "");
                assert!(output.status.success(), "{failpoint}: {output:?}");
            }
            let output = doomed.join().unwrap();
            let ended = output.status.success() || output.status.signal() == Some(9);
            assert!(ended, "{failpoint}: {output:?}");
        });
        seen(base.path()).run().await;
        assert_eq!(made(base.path()), expected, "{failpoint}, in a pair");
    }
}

fn every_step(writes: &[WriteSteps]) -> Vec<String> {
    writes.iter().flat_map(WriteSteps::names).map(|step| format!("{step}=return")).collect()
}

/// The `nth` time that it is reached.
fn nth(step: &str, nth: usize) -> String {
    format!("{step}={}*off->return", nth - 1)
}

#[tokio::test]
async fn archiving_killed_at_any_step_is_finished_by_the_next_run() {
    let base = tempfile::tempdir().unwrap();
    let camera = Camera::of(store(base.path()));
    // Three sessions, the second one too short.
    camera.film(9, &[4, 5]).await;
    camera.end_session().await;
    unharmed_by(base.path(), &camera, &while_archiving()).await;
}

fn while_archiving() -> Vec<String> {
    let mut failpoints = every_step(&[steps::PLAYLIST, steps::DOCUMENT, steps::LEDGER]);
    failpoints.extend((1..=8).map(|count| nth(steps::FILE_LINKED, count)));
    failpoints.push(nth(steps::FILES_LINKED, 1));
    // The second archive, when the first one is there and the ledger does not know of it.
    failpoints.push(nth(steps::FILES_LINKED, 2));
    failpoints.push(nth(steps::DOCUMENT.begin, 2));
    failpoints.push(nth(steps::DOCUMENT.renamed, 2));
    failpoints
}

#[tokio::test]
async fn archiving_piece_by_piece_killed_at_any_step_is_finished_by_the_next_run() {
    let base = tempfile::tempdir().unwrap();
    let mut camera = Camera::of(store(base.path()));
    camera.settings.stream_retention = Duration::from_secs(300);
    camera.film(9, &[]).await;
    let mut failpoints = every_step(&[steps::LEDGER]);
    failpoints.extend([1, 5, 9].map(|count| nth(steps::FILE_LINKED, count)));
    failpoints.push(nth(steps::FILES_LINKED, 1));
    unharmed_by(base.path(), &camera, &failpoints).await;
}

#[tokio::test]
async fn a_failure_killed_while_it_is_noted_is_noted_by_the_next_run() {
    let base = tempfile::tempdir().unwrap();
    let camera = Camera::of(store(base.path()));
    camera.film(4, &[]).await;
    camera.end_session().await;
    for number in 0..4 {
        camera.lose(number).await;
    }
    unharmed_by(base.path(), &camera, &while_failing()).await;
}

fn while_failing() -> Vec<String> {
    every_step(&[steps::FAILURE, steps::LEDGER])
}

#[tokio::test]
async fn finding_a_lost_ledger_again_killed_at_any_step_is_finished_by_the_next_run() {
    let base = tempfile::tempdir().unwrap();
    let camera = Camera::of(store(base.path()));
    camera.film(40, &[10, 30]).await;
    camera.run().await;
    // Of the first session's records, and of some of the second's, nothing is left.
    for number in 0..25 {
        camera.lose(number).await;
    }
    let history = hls(base.path()).join("history");
    for entry in std::fs::read_dir(history).unwrap() {
        let path = entry.unwrap().path();
        let name = HistoryName::parse(path.file_name().unwrap().to_str().unwrap()).unwrap();
        if name.last < 25 {
            std::fs::remove_file(path).unwrap();
        }
    }
    std::fs::remove_file(hls(base.path()).join("archived.json")).unwrap();
    camera.end_session().await;
    let mut failpoints = every_step(&[steps::DOCUMENT, steps::LEDGER]);
    failpoints.push(nth(steps::FILES_LINKED, 1));
    unharmed_by(base.path(), &camera, &failpoints).await;
}

#[tokio::test]
async fn processes_at_the_same_device_at_once_make_what_one_makes() {
    let stream = tempfile::tempdir().unwrap();
    let camera = Camera::of(store(stream.path()));
    camera.film(40, &[10, 20, 21]).await;
    camera.end_session().await;
    let whole = tempfile::tempdir().unwrap();
    copy(stream.path(), whole.path());
    camera.seen_by(store(whole.path())).run().await;
    let base = tempfile::tempdir().unwrap();
    copy(stream.path(), base.path());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let output = child(&camera, base.path(), "child_archives", "");
                assert!(output.status.success(), "{output:?}");
            });
        }
    });
    camera.seen_by(store(base.path())).run().await;
    assert_eq!(made(base.path()), made(whole.path()));
}

#[tokio::test]
async fn clean_up_killed_at_any_step_leaves_no_archive_that_looks_whole_and_is_not() {
    let stream = tempfile::tempdir().unwrap();
    let camera = Camera::of(store(stream.path()));
    camera.film(4, &[]).await;
    camera.end_session().await;
    camera.run().await;
    // Files are as old as the machine's clock says: it has to be far behind.
    let clock = Arc::new(ManualClock::new(SystemClock.now().plus(8 * DAY)));
    let camera = Camera { clock, ..camera };
    let unbroken = tempfile::tempdir().unwrap();
    copy(stream.path(), unbroken.path());
    let whole = camera.seen_by(store(unbroken.path()));
    cleanup(&whole).sweep(&key()).await.unwrap();
    assert!(whole.archives().await.is_empty());
    assert_eq!(whole.ledger().await.unconfirmed, [session(0)], "its row is still to go");
    for failpoint in while_cleaning_up() {
        let base = tempfile::tempdir().unwrap();
        copy(stream.path(), base.path());
        kill_child(&camera, base.path(), "child_cleans_up", &failpoint);
        let seen = camera.seen_by(store(base.path()));
        let is_noted = failpoint.starts_with("archive.ledger.");
        let document = seen.document(&session(0)).await;
        assert!(is_noted || document.is_none(), "{failpoint}: it is not told of");
        cleanup(&seen).sweep(&key()).await.unwrap();
        assert_eq!(made(base.path()), made(unbroken.path()), "{failpoint}");
        assert_eq!(seen.run().await.archived, 0, "{failpoint}: it does not come back");
    }
}

fn while_cleaning_up() -> Vec<String> {
    let mut failpoints = every_step(&[steps::LEDGER]);
    let once = [steps::DOCUMENT_REMOVED, steps::UNMADE, steps::EMPTIED];
    failpoints.extend(once.map(|step| nth(step, 1)));
    failpoints.extend((1..=4).map(|count| nth(steps::FILE_REMOVED, count)));
    failpoints
}

/// A clean-up that knows of a database, which is away.
fn cleanup(camera: &Camera) -> ArchiveCleanup {
    let nowhere = Secret::new("postgres://nobody@127.0.0.1:1/none");
    let database = Some(Arc::new(Database::new(&nowhere).unwrap()));
    ArchiveCleanup::new(camera.store.clone(), camera.clock.clone(), database, false)
}

#[test]
fn at_every_step_that_has_a_name_a_run_is_killed() {
    let all = [while_archiving(), while_failing(), while_cleaning_up()].concat();
    let named = named_in(include_str!("../../src/archive/steps.rs"));
    assert_eq!(killed_at(&all), named);
}
