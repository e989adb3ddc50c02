//! The pipeline in worlds that follow from a seed: the worker, the store and the source are the
//! real ones; the broker, the disk or the bucket, the encoders and the time are simulated, and
//! whatever can fail or die does. In the end every frame has been committed once or put on the
//! dead-letter topic for a reason that it deserves.
//!
//! | variable | is |
//! |---|---|
//! | `SIMULATE_SEEDS` | how many worlds, instead of the few of every test run |
//! | `SIMULATE_SEED` | the one seed to run, and to tell everything of |
//!
//! A finding prints its seed, the smallest plan that still leads to one, and what happens in it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may panic.
#![allow(clippy::cast_possible_truncation)] // Of numbers that are small.

mod broker;
mod bucket;
mod disk;
mod draw;
mod encoder;
#[path = "../support/history.rs"]
mod history;
mod oracle;
mod plan;
#[path = "../support/planned.rs"]
mod planned;
mod process;
mod shrink;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use plan::Plan;
use world::{Outcome, Plant, run};

/// Worlds of every test run: these seeds, and as many of the day.
const FEW: u64 = 4_000;

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text:?} is not a whole number")))
}

#[derive(Default)]
struct Figures {
    worlds: u64,
    frames_committed: usize,
    frames_parked: usize,
    acks_checked: u64,
    versions_seen: u64,
    deaths: u64,
}

impl Figures {
    fn add(&mut self, outcome: &Outcome) {
        self.worlds += 1;
        self.frames_committed += outcome.frames_committed;
        self.frames_parked += outcome.frames_parked;
        self.acks_checked += outcome.acks_checked;
        self.versions_seen += outcome.versions_seen;
        self.deaths += outcome.deaths;
    }
}

/// Runs worlds on every core until one has a finding or there are no more seeds; the seed of the
/// first finding, if there is one.
fn search(seeds: std::ops::Range<u64>, plant: Option<Plant>) -> (Option<u64>, Figures) {
    let next = AtomicU64::new(seeds.start);
    let is_found = AtomicBool::new(false);
    let found = Mutex::new(None::<u64>);
    let figures = Mutex::new(Figures::default());
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || is_found.load(Ordering::Relaxed) {
                        return;
                    }
                    let outcome = run(&Plan::draw(seed), plant, false);
                    let mut figures = figures.lock().unwrap();
                    figures.add(&outcome);
                    if figures.worlds.is_multiple_of(10_000) {
                        let secs = begun.elapsed().as_secs();
                        eprintln!("{} worlds in {secs} s", figures.worlds);
                    }
                    if outcome.finding.is_some() {
                        let mut found = found.lock().unwrap();
                        *found = Some(found.map_or(seed, |other| other.min(seed)));
                        is_found.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    (found.into_inner().unwrap(), figures.into_inner().unwrap())
}

fn tell(seed: u64, plant: Option<Plant>) -> String {
    let plan = Plan::draw(seed);
    let first = run(&plan, plant, false).finding.unwrap_or_default();
    let begun = Instant::now();
    let smallest = shrink::shrink(&plan, |plan| {
        begun.elapsed() < Duration::from_secs(60) && run(plan, plant, false).finding.is_some()
    });
    let outcome = run(&smallest, plant, true);
    let finding = outcome.finding.unwrap_or_default();
    format!(
        "seed {seed}: {first}\nThe smallest plan that still leads to a finding:\n{smallest}\
         What happens:\n{}\n{finding}\n`make simulate SEED={seed}` runs it again.",
        outcome.trace.join("\n")
    )
}

fn no_finding(seeds: std::ops::Range<u64>) {
    let (begun, first) = (Instant::now(), seeds.start);
    let (found, figures) = search(seeds, None);
    if let Some(seed) = found {
        eprintln!("seed {seed} of {} worlds", figures.worlds);
        panic!("{}", tell(seed, None));
    }
    let secs = begun.elapsed().as_secs_f64();
    eprintln!(
        "{} worlds from seed {first} in {secs:.1} s without a finding: {} frames committed, {} \
         parked, {} processes died, {} acknowledgements and {} versions of playlists checked",
        figures.worlds,
        figures.frames_committed,
        figures.frames_parked,
        figures.deaths,
        figures.acks_checked,
        figures.versions_seen
    );
}

#[test]
fn every_frame_is_committed_once_or_parked_for_a_reason_whatever_happens() {
    if let Some(seed) = variable("SIMULATE_SEED") {
        let outcome = run(&Plan::draw(seed), None, true);
        eprintln!("{}{}", Plan::draw(seed), outcome.trace.join("\n"));
        if outcome.finding.is_some() {
            panic!("{}", tell(seed, None));
        }
        return;
    }
    match variable("SIMULATE_SEEDS") {
        Some(seeds) => no_finding(0..seeds),
        None => {
            no_finding(0..FEW);
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            let of_the_day = now.as_secs() / 86_400 * 1_000_000;
            no_finding(of_the_day..of_the_day + FEW);
        }
    }
}

#[test]
fn the_same_seed_leads_to_the_same_world() {
    for seed in 0..40 {
        let hashes = [(); 2].map(|()| run(&Plan::draw(seed), None, false).hash);
        assert_eq!(hashes[0], hashes[1], "seed {seed}");
    }
}

/// A fault that is put in is found within so many worlds.
fn is_found(plant: Plant) {
    const WORLDS: u64 = 2_000;
    let (found, figures) = search(0..WORLDS, Some(plant));
    let seed = found.unwrap_or_else(|| panic!("{plant:?} is not found in {WORLDS} worlds"));
    let finding = run(&Plan::draw(seed), Some(plant), false).finding.unwrap_or_default();
    eprintln!("{plant:?}: found in world {} (seed {seed}): {finding}", figures.worlds);
}

#[test]
fn an_acknowledgement_before_the_commit_is_found() {
    is_found(Plant::AckFirst);
}

#[test]
fn a_folder_that_is_not_synced_is_found() {
    is_found(Plant::NoFolderSync);
}

#[test]
fn duplicates_that_only_one_process_remembers_are_found() {
    is_found(Plant::MemoryOnly);
}

#[test]
fn a_worker_that_is_not_fenced_is_found() {
    is_found(Plant::NoFencing);
}

#[test]
fn a_playlist_that_lists_a_segment_too_early_is_found() {
    is_found(Plant::PlaylistFirst);
}
