//! Damaged input of every kind that comes from outside: no panic, no hang, no memory without
//! bounds. First what is kept in `corpus/`, then a fixed number of seeded inputs in every run of
//! the tests; `make fuzz` goes on for as long as it is told. An input that fails is written to a
//! file, whose name is printed.
//!
//! | variable | is |
//! |---|---|
//! | `FUZZ_SEED` | the first input's seed; a failure prints the one to give |
//! | `FUZZ_SECONDS` | goes on for so long, each kind, instead of a fixed number of inputs |

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails says so by panicking")]

mod checks;
mod corpus;
#[path = "../support/encoder.rs"]
mod encoder;
mod material;
mod mutate;

use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use corpus::Trying;
use mutate::Random;
use stream_processor::encode::EncoderPool;

/// Nothing that is given in takes a thousandth of it.
const HANG: Duration = Duration::from_secs(60);

/// Far above what all kinds take together, far below what a length that is believed costs.
const MAX_RESIDENT_KIB: u64 = 3 << 20;

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text:?} is not a whole number")))
}

/// The seeds of a run, one after the other; each is told about before its input is tried.
struct Seeds {
    kind: &'static str,
    first: u64,
    next: u64,
    inputs: u64,
    until: Option<Instant>,
    /// To a thread that waits for the next one, and no longer than [`HANG`].
    trying: SyncSender<u64>,
}

impl Seeds {
    fn new(kind: &'static str, inputs: u64) -> Self {
        let first = variable("FUZZ_SEED").unwrap_or(1);
        let until = variable("FUZZ_SECONDS").map(|s| Instant::now() + Duration::from_secs(s));
        let (trying, tried) = sync_channel(0);
        std::thread::spawn(move || {
            let mut seed = first;
            loop {
                match tried.recv_timeout(HANG) {
                    Ok(next) => seed = next,
                    Err(RecvTimeoutError::Disconnected) => return,
                    Err(RecvTimeoutError::Timeout) => {
                        eprintln!("{kind}: hangs with FUZZ_SEED={seed}");
                        std::process::abort();
                    }
                }
            }
        });
        Self { kind, first, next: first, inputs, until, trying }
    }
}

impl Iterator for Seeds {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let done = self.next.wrapping_sub(self.first);
        if self.until.map_or(done >= self.inputs, |until| Instant::now() >= until) {
            eprintln!("{}: {done} inputs from seed {}", self.kind, self.first);
            return None;
        }
        let seed = self.next;
        self.next = seed.wrapping_add(1);
        self.trying.send(seed).unwrap();
        Some(seed)
    }
}

impl Drop for Seeds {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}: fails with FUZZ_SEED={}", self.kind, self.next.wrapping_sub(1));
        }
    }
}

fn damage(kind: &'static str, inputs: u64, check: impl Fn(&[u8])) {
    for (file, input) in corpus::kept(&corpus::folder(), kind) {
        // The last one that is named is the one that fails.
        eprintln!("{kind}: {}", file.display());
        check(&input);
    }
    let (good, words) = material::of(kind);
    assert!(!good.is_empty());
    good.iter().for_each(|good| check(good));
    for seed in Seeds::new(kind, inputs) {
        let input = mutate::damaged(&good, words, &mut Random(seed));
        let _trying = Trying { kind, seed, input: &input };
        check(&input);
    }
    let peak_kib = peak_resident_kib();
    assert!(peak_kib < MAX_RESIDENT_KIB, "{kind}: {peak_kib} KiB of memory were in use");
}

/// proc(5), VmHWM.
fn peak_resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}

#[test]
fn any_message_is_an_event_or_is_refused() {
    damage("event", 200_000, checks::event);
}

#[test]
fn any_picture_is_shown_or_refused_and_costs_no_other() {
    damage("jpeg", 1_500, checks::jpeg);
}

#[test]
fn any_stream_is_muxed_or_refused() {
    damage("h264", 20_000, checks::h264);
}

#[test]
fn any_segment_is_clipped_or_refused() {
    damage("segment", 20_000, checks::segment);
}

#[test]
fn any_playlist_is_read_back_or_refused() {
    damage("playlist", 60_000, checks::playlist);
}

/// What the libraries do with a picture in their own process, behind its limits.
#[tokio::test]
async fn any_picture_leaves_the_helper_at_work() {
    let settings = encoder::pool_settings(1, checks::encode_settings());
    let pool = EncoderPool::start(settings).await.unwrap();
    for (file, picture) in corpus::kept(&corpus::folder(), "jpeg") {
        eprintln!("helper: {}", file.display());
        checks::judge(&pool.encode(checks::job_with(&picture)).await.unwrap());
        assert_eq!((pool.stats().deaths, pool.stats().time_outs), (0, 0));
    }
    let (good, words) = material::of("jpeg");
    for seed in Seeds::new("helper", 150) {
        let picture = mutate::damaged(&good, words, &mut Random(seed));
        let _trying = Trying { kind: "jpeg", seed, input: &picture };
        checks::judge(&pool.encode(checks::job_with(&picture)).await.unwrap());
        assert_eq!((pool.stats().deaths, pool.stats().time_outs), (0, 0));
    }
    pool.close().await;
}
