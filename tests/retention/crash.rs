//! A clean-up or a reset killed at every named instant, in a process of its own, then done once
//! more; and two of them at once.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use stream_processor::model::{Clock, ManualClock, SessionId, UtcMillis};
use stream_processor::retention::{Cleaner, Reset, Resetter, RetentionSettings, Run, Watch, steps};
use stream_processor::store::{Store, steps as store_steps};

use crate::rig::*;
use crate::step_names::{killed_at, named_in};
use crate::store_fixture::{START, fill, hls, key, playlist};

/// Tell the child process what to do; without the first its part does nothing.
const CHILD_BASE: &str = "RETENTION_CRASH_BASE";
const CHILD_NOW: &str = "RETENTION_CRASH_NOW";
const CHILD_RESETS: &str = "RETENTION_CRASH_RESETS";

fn child_settings() -> RetentionSettings {
    RetentionSettings { device_max_bytes: Some(100_000), ..settings() }
}

fn resetter(base: &Path, now: UtcMillis) -> Resetter {
    let store = Store::at(base, store_settings()).unwrap();
    Resetter::new(store, Arc::new(ManualClock::new(now)), child_settings(), MINUTE, 33)
}

const RESET_ALL: Reset =
    Reset { dry_run: false, force: false, with_frames: true, with_archives: true };

/// The child's part.
#[test]
fn child_cleans_up_or_resets() {
    let Some(base) = std::env::var_os(CHILD_BASE) else { return };
    let base = Path::new(&base);
    let now = UtcMillis(std::env::var(CHILD_NOW).unwrap().parse().unwrap());
    let _scenario = fail::FailScenario::setup();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        if std::env::var_os(CHILD_RESETS).is_some() {
            resetter(base, now).reset(&key(), RESET_ALL).await.unwrap();
            return;
        }
        let store = Store::at(base, store_settings()).unwrap();
        let cleaner = Cleaner::new(store, child_settings(), Arc::new(ManualClock::new(now)));
        let told = Told::default();
        let run = Run { orphans_now: true, ..Run::default() };
        cleaner.run(&run, &told as &dyn Watch).await.unwrap();
        assert_eq!(told.failures(), Vec::<String>::new());
    });
}

fn child(base: &Path, now: UtcMillis, failpoints: &str, resets: bool) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "crash::child_cleans_up_or_resets", "--test-threads=1"])
        .env(CHILD_BASE, base)
        .env(CHILD_NOW, now.0.to_string())
        .env("FAILPOINTS", failpoints);
    if resets {
        command.env(CHILD_RESETS, "yes");
    }
    command
}

/// Whether a child was killed; if not, it did its work.
fn was_killed(output: &Output) -> bool {
    let killed = output.status.signal() == Some(9);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(killed || output.status.success(), "{}\n{said}", output.status);
    killed
}

fn run_child(base: &Path, now: UtcMillis, failpoints: &str, resets: bool) -> bool {
    was_killed(&child(base, now, failpoints, resets).output().unwrap())
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

/// What is stored below a base, by path below it.
fn stored(base: &Path) -> BTreeMap<PathBuf, String> {
    let all = crate::store_fixture::everything(base).into_iter();
    let all = all.filter(|(path, _)| !path.to_string_lossy().ends_with(".lock"));
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    all.map(|(path, bytes)| (path.strip_prefix(base).unwrap().to_owned(), text(bytes))).collect()
}

/// A device of which nothing comes any more, with everything that a clean-up can find to do; and
/// when it is to be cleaned up.
async fn eventful() -> (Rig, UtcMillis) {
    let rig = Rig::new(RetentionSettings { idle_after: DAY, ..child_settings() });
    let make = |number| with_init(number, if number < 6 { "first" } else { "second" });
    rig.fill_device(&key(), 30, make).await;
    rig.clean().await;
    rig.clock.advance(GRACE + 6 * MINUTE);
    for (name, content) in [
        ("segments/init_00ff.mp4", "left"),
        ("history/0000000000_0000000000_1_2.json", "[]"),
        (".tmp/segments+seg_000030.ts", "left"),
    ] {
        let path = rig.hls().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let now = rig.clock.now();
    (rig, now)
}

/// Fail points that kill at every instant of a clean-up.
fn every_instant() -> Vec<String> {
    let mut points: Vec<String> = Vec::new();
    for already in [0, 1, 2, 7, 40, 59, 60, 61, 70] {
        points.push(format!("{}={already}*off->return", store_steps::ONE_REMOVED));
    }
    let writes = [store_steps::CHANGE_STATE, store_steps::CHANGE_PLAYLIST, steps::CLEANED];
    let writes = writes.iter().flat_map(store_steps::WriteSteps::names);
    let instants = steps::ALL_OF_CLEANUP.into_iter().chain(writes);
    points.extend(instants.map(|step| format!("{step}=return")));
    points
}

#[tokio::test]
async fn a_clean_up_killed_at_any_instant_comes_to_the_same_end_the_next_time() {
    let (rig, now) = eventful().await;
    let before = stored(rig.path());
    let unbroken = crate::store_fixture::roomy_base();
    copy(rig.path(), unbroken.path());
    assert!(!run_child(unbroken.path(), now, "", false));
    let end = stored(unbroken.path());
    let gone = before.keys().filter(|path| !end.contains_key(*path)).count();
    assert!(gone > 70, "{gone}");
    for point in every_instant() {
        let base = crate::store_fixture::roomy_base();
        copy(rig.path(), base.path());
        assert!(run_child(base.path(), now, &point, false), "{point} was not reached");
        let listed = stream_processor::playlist::Window::parse(&playlist(base.path())).unwrap();
        for number in listed.media_sequence..30 {
            let file = hls(base.path()).join(format!("segments/seg_{number:06}.m4s"));
            assert!(file.exists(), "{point}: {number} is listed and gone");
        }
        assert!(!run_child(base.path(), now, "", false), "{point}");
        assert_same(&stored(base.path()), &end, &point);
    }
}

/// The first to come to the device is not the one that is killed every time: then it has done
/// all, and the other nothing.
#[tokio::test]
async fn a_clean_up_killed_at_any_instant_beside_another_comes_to_the_same_end() {
    let (rig, now) = eventful().await;
    let unbroken = crate::store_fixture::roomy_base();
    copy(rig.path(), unbroken.path());
    assert!(!run_child(unbroken.path(), now, "", false));
    let end = stored(unbroken.path());
    let mut killed = 0;
    for point in every_instant() {
        let base = crate::store_fixture::roomy_base();
        copy(rig.path(), base.path());
        let mut doomed = child(base.path(), now, &point, false);
        let mut doomed = doomed.stdout(std::process::Stdio::piped()).spawn().unwrap();
        while doomed.try_wait().unwrap().is_none() {
            assert!(!run_child(base.path(), now, "", false), "{point}");
        }
        killed += usize::from(was_killed(&doomed.wait_with_output().unwrap()));
        assert!(!run_child(base.path(), now, "", false), "{point}");
        assert_same(&stored(base.path()), &end, &point);
    }
    assert!(killed > 0, "none was ever killed");
}

/// Says which files differ, and no more.
fn assert_same(left: &BTreeMap<PathBuf, String>, right: &BTreeMap<PathBuf, String>, what: &str) {
    let all: BTreeSet<_> = left.keys().chain(right.keys()).collect();
    let differ: Vec<_> =
        all.into_iter().filter(|path| left.get(*path) != right.get(*path)).collect();
    let small = differ.iter().filter(|path| path.ends_with("cleaned.json"));
    let small: Vec<_> = small.map(|path| (left.get(*path), right.get(*path))).collect();
    assert!(differ.is_empty(), "{what}: {differ:?} {small:?}");
}

#[tokio::test]
async fn clean_ups_at_the_same_time_do_it_once() {
    let (rig, now) = eventful().await;
    let unbroken = crate::store_fixture::roomy_base();
    copy(rig.path(), unbroken.path());
    assert!(!run_child(unbroken.path(), now, "", false));
    for _ in 0..5 {
        let base = crate::store_fixture::roomy_base();
        copy(rig.path(), base.path());
        let start = |_| {
            let mut command = child(base.path(), now, "", false);
            command.stdout(std::process::Stdio::piped()).spawn().unwrap()
        };
        let children: Vec<_> = (0..3).map(start).collect();
        for child in children {
            assert!(!was_killed(&child.wait_with_output().unwrap()));
        }
        // Whoever found the device taken left it.
        assert!(!run_child(base.path(), now, "", false));
        assert_same(&stored(base.path()), &stored(unbroken.path()), "three at once");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn threads_that_clean_up_while_a_worker_commits_take_nothing_that_is_listed() {
    let rig = Arc::new(Rig::new(RetentionSettings { grace: Duration::ZERO, ..settings() }));
    rig.fill(1).await;
    let cleaning = |_| {
        let rig = Arc::clone(&rig);
        tokio::spawn(async move {
            let mut removed = 0;
            while rig.state().await.next_segment < 200 {
                removed += rig.clean().await.segments.files;
            }
            removed
        })
    };
    let cleaners: Vec<_> = (0..2).map(cleaning).collect();
    for until in 2..=200 {
        rig.fill(until).await;
        let (window, media) = (rig.window(), rig.media());
        assert!((window.media_sequence..until).all(|listed| media.contains(&listed)));
    }
    let mut removed = 0;
    for cleaner in cleaners {
        removed += cleaner.await.unwrap();
    }
    removed += rig.clean().await.segments.files;
    assert_eq!(removed, rig.window().media_sequence, "each was removed once");
    assert_eq!(rig.media(), rig.framed());
}

/// A device with a stream, frames and an archive, of which nothing comes any more.
async fn to_be_reset() -> (Rig, UtcMillis) {
    let (rig, now) = eventful().await;
    let id = SessionId::of(START, 0);
    let archive = rig.device_folder(&key()).join(format!("archives/{id}"));
    std::fs::create_dir_all(archive.join("segments")).unwrap();
    std::fs::write(archive.join("segments/seg_000000.ts"), "media").unwrap();
    std::fs::write(archive.join("playlist.m3u8"), "#EXTM3U\n").unwrap();
    std::fs::write(archive.join("archive.json"), json!({"status": "ready"}).to_string()).unwrap();
    (rig, now)
}

#[tokio::test]
async fn a_reset_killed_at_any_instant_leaves_a_stream_that_goes_on_and_is_finished_the_next_time()
{
    let (rig, now) = to_be_reset().await;
    let unbroken = crate::store_fixture::roomy_base();
    copy(rig.path(), unbroken.path());
    assert!(!run_child(unbroken.path(), now, "", true));
    for (index, point) in every_instant_of_a_reset().iter().enumerate() {
        let base = crate::store_fixture::roomy_base();
        copy(rig.path(), base.path());
        assert!(run_child(base.path(), now, point, true), "{point} was not reached");
        if index % 2 == 0 {
            // A worker comes before anybody has finished it.
            let store = Store::at(base.path(), store_settings()).unwrap();
            let state = fill(&store, 31).await;
            assert_eq!(state.next_segment, 31, "{point}");
            let again = RESET_ALL;
            let later = state.recent[0].committed_at.plus(DAY);
            resetter(base.path(), later).reset(&key(), again).await.unwrap();
        } else {
            assert!(!run_child(base.path(), now, "", true), "{point}");
            assert_eq!(all_but_counts(base.path()), all_but_counts(unbroken.path()), "{point}");
        }
        let left: Vec<_> = stored(base.path()).into_keys().collect();
        let names: Vec<_> = left.iter().filter_map(|p| p.file_name()?.to_str()).collect();
        assert_eq!(names, ["cleaned.json", "state.json"], "{point}");
        let store = Store::at(base.path(), store_settings()).unwrap();
        let next = store.open(&key()).await.unwrap().next_segment;
        assert_eq!(next, if index % 2 == 0 { 31 } else { 30 }, "{point}");
    }
}

/// Fail points that kill at every instant of a reset.
fn every_instant_of_a_reset() -> Vec<String> {
    let writes = [store_steps::RESET_STATE, steps::CLEANED];
    let writes = writes.iter().flat_map(store_steps::WriteSteps::names);
    let instants = steps::ALL_OF_RESET.into_iter().chain(writes);
    let mut points: Vec<String> = instants.map(|step| format!("{step}=return")).collect();
    for already in [0, 5, 40, 100, 200] {
        points.push(format!("{}={already}*off->return", store_steps::ONE_REMOVED));
    }
    points
}

/// What is stored, but for how often the stream was begun anew: a reset that is done once more
/// counts once more.
fn all_but_counts(base: &Path) -> BTreeMap<PathBuf, serde_json::Value> {
    let parsed = stored(base).into_iter().map(|(path, text)| {
        let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
        if path.ends_with("state.json") {
            value["generation"] = 0.into();
            value["published"]["discontinuity_sequence"] = 0.into();
        }
        (path, value)
    });
    parsed.collect()
}

#[test]
fn at_every_instant_that_has_a_name_a_clean_up_or_a_reset_is_killed() {
    let all = [every_instant(), every_instant_of_a_reset()].concat();
    let store = named_in(include_str!("../../src/store/steps.rs"));
    let of_the_store =
        |name: &String| ["change.", "reset.", "remove."].iter().any(|room| name.starts_with(room));
    let mut named = named_in(include_str!("../../src/retention/steps.rs"));
    named.extend(store.into_iter().filter(of_the_store));
    assert_eq!(killed_at(&all), named);
}

#[tokio::test]
async fn what_an_interrupted_reset_left_is_taken_by_a_clean_up() {
    let (rig, now) = to_be_reset().await;
    for point in [steps::RESET_BEGUN, steps::RESET_NOTED] {
        let base = crate::store_fixture::roomy_base();
        copy(rig.path(), base.path());
        assert!(run_child(base.path(), now, &format!("{point}=return"), true));
        assert!(!run_child(base.path(), now, "", false));
        assert!(!run_child(base.path(), now.plus(GRACE), "", false));
        let media = names(&hls(base.path()).join("segments"));
        assert!(media.is_empty(), "{point}: {media:?}");
        assert!(names(&hls(base.path()).join("history")).is_empty(), "{point}");
    }
}
