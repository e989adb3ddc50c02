//! Sessions end when devices fall silent, whoever looks and whatever the clocks say; a worker
//! that commits meanwhile loses nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may panic.

#[path = "offline_checker/command.rs"]
mod command;
#[path = "support/fleet.rs"]
mod fleet;
#[path = "support/store_fixture.rs"]
mod store_fixture;

use std::error::Error;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use fleet::*;
use store_fixture::{START, commits_at, frame, roomy_base, store};
use stream_processor::model::{Clock, DeviceKey, ManualClock};
use stream_processor::session::{AfterCheck, Afterwards, Checker, Pass};
use stream_processor::store::CommitError;
use stream_processor::store::layout::hls_folder;
use tokio_util::sync::CancellationToken;

/// A checker of its own, as another process is.
struct Look {
    checker: Checker,
    clock: Arc<ManualClock>,
    after: Arc<Counted>,
}

/// Which devices were handed on.
#[derive(Default)]
struct Counted {
    devices: Mutex<Vec<DeviceKey>>,
    failures: AtomicUsize,
}

#[async_trait]
impl AfterCheck for Counted {
    async fn run(&self, device: &DeviceKey) -> Result<Afterwards, Box<dyn Error + Send + Sync>> {
        self.devices.lock().unwrap().push(device.clone());
        let left = |left: usize| left.checked_sub(1);
        match self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, left) {
            Ok(_) => Err("the test says so".into()),
            Err(_) => Ok(Afterwards { archives: 1, ..Afterwards::default() }),
        }
    }
}

impl Look {
    fn at(base: &Path, clock: &Arc<ManualClock>) -> Self {
        let after = Arc::new(Counted::default());
        let checker = Checker::new(
            store(base),
            RULES,
            Arc::clone(clock) as _,
            None,
            Some(Arc::clone(&after) as _),
        );
        Self { checker, clock: Arc::clone(clock), after }
    }

    async fn pass(&mut self) -> Pass {
        self.checker.pass(&CancellationToken::new(), |_, _| {}).await.unwrap()
    }

    /// Passes every ten seconds, for so many; all of them together.
    async fn pass_for(&mut self, secs: u64) -> Pass {
        let mut all = Pass::default();
        for _ in 0..secs / 10 {
            self.clock.advance(Duration::from_secs(10));
            let pass = self.pass().await;
            all.devices = pass.devices;
            all.looked_at += pass.looked_at;
            all.ended += pass.ended;
            all.archives += pass.archives;
            all.errors += pass.errors;
        }
        all
    }
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(START))
}

#[tokio::test]
async fn a_session_ends_when_nothing_was_committed_for_the_threshold_and_is_followed_up() {
    let (base, clock) = (roomy_base(), clock());
    let store = store(base.path());
    film(&store, &device("a"), 3).await;
    clock.set(commits_at(2));
    let mut look = Look::at(base.path(), &clock);
    assert_eq!(look.pass().await.ended, 0);
    assert_eq!(look.checker.open_sessions(), 1);
    assert_eq!(look.pass_for(60).await.ended, 0);
    let pass = look.pass_for(10).await;
    assert_eq!((pass.ended, pass.archives, pass.errors), (1, 1, 0));
    assert_eq!(look.checker.open_sessions(), 0);
    let state = stored(&store, &device("a")).await;
    assert_eq!((state.session, state.next_segment), (None, 3));
    // The next segment begins another.
    let again = film(&store, &device("a"), 4).await;
    assert_eq!(again.session.unwrap().first_segment, 3);
    assert_eq!(look.pass_for(60).await.looked_at, 1);
    assert_eq!(look.checker.open_sessions(), 1);
}

#[tokio::test]
async fn a_live_device_costs_a_look_a_threshold_and_is_left_alone_when_the_clock_is_set() {
    let (base, clock) = (roomy_base(), clock());
    let store = store(base.path());
    let mut look = Look::at(base.path(), &clock);
    let mut state = store.open(&device("a")).await.unwrap();
    // The worker's clock, which nobody sets.
    let mut right = START;
    let mut all = Pass::default();
    for round in 0..120 {
        state = commit_at(&store, &device("a"), &state, right).await.unwrap();
        match round {
            30 => clock.set(clock.now().plus(Duration::from_secs(3_600))),
            60 => clock.set(clock.now().plus_millis(-7_200_000)),
            90 => clock.set(right.plus(Duration::from_secs(40))),
            _ => {}
        }
        let pass = look.pass_for(30).await;
        all.looked_at += pass.looked_at;
        all.ended += pass.ended;
        right = right.plus(Duration::from_secs(30));
    }
    assert_eq!(all.ended, 0);
    // An hour; twice as often while the clock is ahead.
    assert!((55..=90).contains(&all.looked_at), "{} looks", all.looked_at);
    // And when it falls silent it is found out, whatever the clock says.
    assert_eq!(look.pass_for(150).await.ended, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_checkers_at_once_end_a_session_once() {
    let (base, clock) = (roomy_base(), clock());
    let store = store(base.path());
    let names: Vec<String> = (0..12).map(|index| format!("cam-{index}")).collect();
    for name in &names {
        film(&store, &device(name), 2).await;
    }
    let generation = stored(&store, &device("cam-0")).await.generation;
    clock.set(commits_at(1));
    let mut looks: Vec<_> = (0..4).map(|_| Look::at(base.path(), &clock)).collect();
    for look in &mut looks {
        look.pass().await;
    }
    clock.advance(Duration::from_secs(61));
    let passes = looks.into_iter().map(|mut look| {
        tokio::spawn(async move {
            let pass = look.pass().await;
            (pass.ended, pass.errors)
        })
    });
    let mut ended = 0;
    for pass in passes.collect::<Vec<_>>() {
        let (by_this_one, errors) = pass.await.unwrap();
        assert_eq!(errors, 0);
        ended += by_this_one;
    }
    assert_eq!(ended, 12);
    for name in &names {
        let state = stored(&store, &device(name)).await;
        assert_eq!((state.session, state.generation), (None, generation + 1), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_commit_that_races_with_the_end_of_its_session_is_never_lost() {
    const SEGMENTS: u64 = 150;
    let (base, clock) = (roomy_base(), clock());
    let key = device("a");
    let ended = Arc::new(AtomicU64::new(0));
    let stop = CancellationToken::new();
    let checkers: Vec<_> = (0..2)
        .map(|_| {
            let (base, stop, ended) = (base.path().to_owned(), stop.clone(), Arc::clone(&ended));
            // So far ahead that every session is over at the second look.
            let clock = Arc::new(ManualClock::new(clock.now().plus(Duration::from_secs(1 << 30))));
            tokio::spawn(async move {
                let mut look = Look::at(&base, &clock);
                while !stop.is_cancelled() {
                    clock.advance(Duration::from_secs(46));
                    let pass = look.pass().await;
                    assert_eq!(pass.errors, 0);
                    ended.fetch_add(pass.ended, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let store = store(base.path());
    let mut state = store.open(&key).await.unwrap();
    let mut fenced = 0;
    while state.next_segment < SEGMENTS {
        match commit_at(&store, &key, &state, commits_at(state.next_segment)).await {
            Ok(next) => state = next,
            Err(CommitError::Fenced { .. }) => {
                fenced += 1;
                state = store.open(&key).await.unwrap();
            }
            Err(error) => panic!("{error}"),
        }
        // Now and then there is time for a second look.
        if state.next_segment % 3 == 0 {
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    }
    stop.cancel();
    for checker in checkers {
        checker.await.unwrap();
    }
    assert!(fenced > 0, "nothing raced");
    let records = store.committed_segments(&key).await.unwrap();
    let frames: Vec<_> = records.iter().flat_map(|r| &r.frames).map(|f| &f.event_id).collect();
    let expected: Vec<_> =
        (0..SEGMENTS).flat_map(|n| (0..6).map(move |i| frame(n, i).event_id)).collect();
    assert_eq!(frames, expected.iter().collect::<Vec<_>>());
    let begun = records.iter().filter(|record| record.begins_session).count() as u64;
    let open = u64::from(stored(&store, &key).await.session.is_some());
    assert_eq!(begun, ended.load(Ordering::SeqCst) + open, "each session ended once");
}

#[tokio::test]
async fn a_device_that_cannot_be_read_holds_up_no_other_and_is_tried_again() {
    let (base, clock) = (roomy_base(), clock());
    let store = store(base.path());
    for name in ["a", "b", "c"] {
        film(&store, &device(name), 2).await;
    }
    clock.set(commits_at(1));
    let broken = base.path().join(hls_folder(&device("b"))).join("state.json");
    let right = std::fs::read(&broken).unwrap();
    std::fs::write(&broken, "no state").unwrap();
    let mut look = Look::at(base.path(), &clock);
    let pass = look.pass().await;
    assert_eq!((pass.devices, pass.looked_at, pass.errors), (3, 3, 1));
    assert_eq!(look.pass_for(20).await.looked_at, 0, "not before the pause is over");
    assert_eq!(look.pass_for(50).await.ended, 2);
    std::fs::write(&broken, right).unwrap();
    let pass = look.pass_for(120).await;
    assert_eq!((pass.ended, pass.errors), (1, 0));
}

#[tokio::test]
async fn what_follows_is_done_again_until_it_works_and_then_only_when_there_is_news() {
    let (base, clock) = (roomy_base(), clock());
    film(&store(base.path()), &device("a"), 2).await;
    clock.set(commits_at(1));
    let mut look = Look::at(base.path(), &clock);
    look.after.failures.store(2, Ordering::SeqCst);
    let handed_on = |look: &Look| look.after.devices.lock().unwrap().len();
    assert_eq!(look.pass().await.errors, 1);
    // Half a minute later each time, until it works.
    let pass = look.pass_for(60).await;
    assert_eq!((pass.ended, pass.archives, pass.errors), (0, 1, 1));
    assert_eq!(handed_on(&look), 3);
    // There is news: its session has ended.
    let pass = look.pass_for(60).await;
    assert_eq!((pass.ended, pass.archives, pass.errors), (1, 1, 0));
    assert_eq!(handed_on(&look), 4);
    look.pass_for(500).await;
    assert_eq!(handed_on(&look), 4);
    look.pass_for(200).await;
    assert_eq!(handed_on(&look), 5, "now and then in any case");
}

#[tokio::test]
async fn devices_come_and_go_and_folders_without_a_stream_are_none() {
    let (base, clock) = (roomy_base(), clock());
    let store = store(base.path());
    let mut look = Look::at(base.path(), &clock);
    assert_eq!(look.pass().await, Pass::default());
    std::fs::create_dir_all(base.path().join("client_ids/acme/device_id/new/frames")).unwrap();
    assert_eq!(look.pass().await, Pass { devices: 1, looked_at: 1, ..Pass::default() });
    film(&store, &device("a"), 1).await;
    let pass = look.pass_for(10).await;
    assert_eq!((pass.devices, pass.looked_at), (2, 1), "the new one is looked at at once");
    assert_eq!(look.checker.open_sessions(), 1);
    std::fs::remove_dir_all(base.path().join("client_ids/acme/device_id/a")).unwrap();
    assert_eq!(look.pass_for(70).await.devices, 1);
    assert_eq!(look.checker.open_sessions(), 0);
}

#[tokio::test]
async fn a_pass_that_is_told_to_stop_ends_between_two_devices() {
    let (base, clock) = (roomy_base(), clock());
    let store = store(base.path());
    for index in 0..40 {
        film(&store, &device(&format!("cam-{index}")), 1).await;
    }
    let mut look = Look::at(base.path(), &clock);
    let stop = CancellationToken::new();
    let told = AtomicU64::new(0);
    let pass = look.checker.pass(&stop, |all, done| {
        assert_eq!(all, 40);
        told.store(done, Ordering::SeqCst);
        stop.cancel();
    });
    let pass = pass.await.unwrap();
    assert!((1..40).contains(&pass.looked_at), "{pass:?}");
    assert_eq!(told.load(Ordering::SeqCst), pass.looked_at);
    // The rest is looked at the next time.
    let again = look.pass().await;
    assert_eq!(pass.looked_at + again.looked_at, 40);
}
