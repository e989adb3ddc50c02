//! A fleet at work while everything around it fails: workers, their helpers, the broker, the
//! network, the storage, Redis, clocks. Which faults, when and for how long follows from a seed.
//! At the end everything is well again, what is left is worked off, and an oracle that knows all
//! that was published says what is wrong.
//!
//! `make chaos` runs it for long; without `CHAOS_MINUTES` it is short and small.
#![cfg(feature = "failpoints")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may panic.

#[path = "../support/broker.rs"]
#[allow(dead_code, reason = "each test binary uses its part of the rig")]
mod broker;
mod bucket_link;
mod crew;
#[path = "../support/encoder.rs"]
mod encoder;
#[path = "../support/filming.rs"]
mod filming;
#[path = "../support/history.rs"]
mod history;
mod link;
#[path = "../support/oracle/mod.rs"]
mod oracle;
mod oracle_tests;
#[path = "../support/place.rs"]
mod place;
mod plan;
mod recovery;
#[path = "../support/redis_agreement.rs"]
mod redis_agreement;
#[path = "../support/servers/mod.rs"]
mod servers;
#[path = "../support/small_disk.rs"]
#[allow(dead_code, reason = "each test binary uses its part of it")]
mod small_disk;
mod storm;
mod strike;
mod uploads;
mod verdict;
mod wire;
#[path = "../support/worker.rs"]
mod worker;
mod world;

use plan::{Plan, Storage};

/// What the environment says, as it is given to `make chaos`.
fn plan() -> Plan {
    let number = |name: &str| {
        let value = std::env::var(name).ok().filter(|value| !value.is_empty());
        value.map(|value| value.parse::<f64>().unwrap_or_else(|_| panic!("{name} is no number")))
    };
    let minutes = number("CHAOS_MINUTES");
    let default = Plan::default();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Small and positive.
    Plan {
        seed: number("CHAOS_SEED").map_or(default.seed, |seed| seed as u64),
        minutes: minutes.unwrap_or(default.minutes),
        workers: number("CHAOS_WORKERS").map_or(4, |workers| workers as usize),
        devices: number("CHAOS_DEVICES").map_or_else(
            || if minutes.is_some() { 300 } else { default.devices },
            |devices| devices as usize,
        ),
        storage: match std::env::var("CHAOS_STORAGE").as_deref() {
            Ok("s3") => Storage::Bucket,
            _ => Storage::Folder,
        },
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_loses_and_repeats_nothing_while_everything_around_it_fails() {
    let verdict = storm::run(plan()).await;
    println!("{verdict}");
    assert!(verdict.findings.is_empty(), "{} findings: see above", verdict.findings.len());
    assert!(verdict.drained.is_some(), "something was left");
}
