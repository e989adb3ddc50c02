//! A commit killed at every named instant, in a process of its own; then the device is opened
//! again and the stream goes on.
#![cfg(feature = "failpoints")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may panic.

#[path = "support/history.rs"]
mod history;
#[path = "support/store_fixture.rs"]
mod store_fixture;

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use history::HistoryChecker;
use store_fixture::*;
use stream_processor::store::{DeviceState, steps};

/// Names the base folder to the child process; without it the child's part does nothing.
const CHILD_BASE: &str = "STORE_CRASH_BASE";

/// The child's part: opens the device, commits the segment that is due, reports what it opened.
#[test]
fn child_commits_one_segment() {
    let Some(base) = std::env::var_os(CHILD_BASE) else { return };
    let _scenario = fail::FailScenario::setup();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let store = store(Path::new(&base));
        let state = store.open(&key()).await.unwrap();
        let (number, mut segment) = (state.next_segment, segment(state.next_segment));
        segment.init = Some(Bytes::from(format!("init of {number}")));
        let (timeline, now) = (timeline(number), commits_at(number));
        store.commit(&key(), &state, vec![segment], timeline, now).await.unwrap();
    });
}

/// Runs the child with the fail points set; whether it was killed.
fn run_child(base: &Path, failpoints: &str) -> bool {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_commits_one_segment", "--test-threads=1"])
        .env(CHILD_BASE, base)
        .env("FAILPOINTS", failpoints)
        .output()
        .unwrap();
    let killed = output.status.signal() == Some(9);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(killed || output.status.success(), "{failpoints}: {}\n{said}", output.status);
    killed
}

/// A stream whose next commit does everything a commit can do: a history file is due, and the
/// child's init file is new. And the number of the segment that is next.
async fn eventful_stream() -> (tempfile::TempDir, u64) {
    let trial = tempfile::tempdir().unwrap();
    let spilled = || std::fs::read_dir(hls(trial.path()).join("history")).unwrap().count() > 0;
    let mut number = 1;
    fill(&store(trial.path()), number).await;
    while !spilled() {
        number += 1;
        assert!(number < 100, "no history file is ever written");
        fill(&store(trial.path()), number).await;
    }
    let base = tempfile::tempdir().unwrap();
    fill(&store(base.path()), number - 1).await;
    (base, number - 1)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, target).unwrap();
        }
    }
}

/// Opens what a crash left, goes on from there, and checks the whole.
async fn mend_and_go_on(base: &Path, checker: &mut HistoryChecker, step: &str) -> DeviceState {
    let store = store(base);
    let mut state = store.open(&key()).await.unwrap();
    checker.feed(&playlist(base));
    let temporaries = std::fs::read_dir(hls(base).join(".tmp")).unwrap().count();
    assert_eq!(temporaries, 0, "{step} left temporary files");
    for _ in 0..2 {
        let number = state.next_segment;
        let mut segment = segment(number);
        segment.init = Some(Bytes::from_static(b"init"));
        // As a worker does that gets the frames again: what is committed is not shown again.
        for frame in frames(number.saturating_sub(1)) {
            assert!(store.is_committed(&key(), &state, &frame).await.unwrap(), "{step}");
        }
        for frame in &segment.frames {
            assert!(!store.is_committed(&key(), &state, frame).await.unwrap(), "{step}");
        }
        let (timeline, now) = (timeline(number), commits_at(number));
        state = store.commit(&key(), &state, vec![segment], timeline, now).await.unwrap();
        checker.feed(&playlist(base));
    }
    let segments = store.committed_segments(&key()).await.unwrap();
    for (number, record) in segments.iter().enumerate() {
        assert_eq!(record.number, number as u64, "{step}");
        checker.expect_size(&format!("segments/{}", record.file), record.size_bytes);
    }
    let shown: Vec<_> = store.committed_frames(&key()).await.unwrap().collect();
    let distinct: BTreeSet<_> = shown.iter().map(|frame| frame.event_id.clone()).collect();
    assert_eq!(distinct.len(), shown.len(), "{step}: a frame is there twice");
    assert_eq!(shown.len() as u64, state.next_segment * FRAMES, "{step}: a frame is lost");
    assert!(shown.is_sorted_by_key(|frame| frame.captured_at), "{step}");
    state
}

#[tokio::test]
async fn a_commit_killed_at_any_step_loses_and_repeats_nothing() {
    let (stream, due) = eventful_stream().await;
    let mut before_state = true;
    for step in steps::ALL.iter().take(5).flat_map(steps::WriteSteps::names) {
        before_state &= step != steps::STATE.renamed;
        let base = tempfile::tempdir().unwrap();
        copy(stream.path(), base.path());
        let mut checker = HistoryChecker::of_folder(&hls(base.path()));
        checker.feed(&playlist(base.path()));
        assert!(run_child(base.path(), &format!("{step}=return")), "{step} was not reached");
        checker.feed(&playlist(base.path()));
        let committed = if before_state { due } else { due + 1 };
        let state = mend_and_go_on(base.path(), &mut checker, step).await;
        assert_eq!(state.next_segment, committed + 2, "{step}");
        checker.finish().assert_clean();
    }
}

#[tokio::test]
async fn mending_killed_at_any_step_is_mended_the_next_time() {
    let (stream, due) = eventful_stream().await;
    let published = playlist(stream.path());
    assert!(run_child(stream.path(), "commit.playlist.begin=return"));
    for step in steps::ALL.iter().skip(5).flat_map(steps::WriteSteps::names) {
        let base = tempfile::tempdir().unwrap();
        copy(stream.path(), base.path());
        let mut checker = HistoryChecker::of_folder(&hls(base.path()));
        checker.feed(&published);
        assert!(run_child(base.path(), &format!("{step}=return")), "{step} was not reached");
        checker.feed(&playlist(base.path()));
        let state = mend_and_go_on(base.path(), &mut checker, step).await;
        assert_eq!(state.next_segment, due + 3, "{step}");
        checker.finish().assert_clean();
    }
}

#[tokio::test]
async fn the_first_commit_killed_at_any_step_leaves_a_stream_that_begins() {
    for write in [steps::INIT, steps::SEGMENT, steps::STATE, steps::PLAYLIST] {
        for step in write.names() {
            let base = tempfile::tempdir().unwrap();
            assert!(run_child(base.path(), &format!("{step}=return")), "{step} was not reached");
            assert!(!run_child(base.path(), ""));
            let mut checker = HistoryChecker::of_folder(&hls(base.path()));
            mend_and_go_on(base.path(), &mut checker, step).await;
            checker.finish().assert_clean();
        }
    }
}

#[test]
fn two_processes_take_turns_and_neither_commits_over_the_other() {
    let base = tempfile::tempdir().unwrap();
    let watcher = history::watch::Watcher::of(&hls(base.path()));
    let commits: u64 = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| (0..6).filter(|_| try_child(base.path())).count() as u64))
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    watcher.stop().assert_clean();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let state = runtime.block_on(store(base.path()).open(&key())).unwrap();
    assert!(commits > 0);
    assert_eq!((state.generation, state.next_segment), (commits, commits));
}

/// Runs the child; whether it committed, or else was fenced.
fn try_child(base: &Path) -> bool {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_commits_one_segment", "--test-threads=1"])
        .env(CHILD_BASE, base)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let said = format!("{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() || said.contains("Fenced"), "{said}");
    output.status.success()
}
