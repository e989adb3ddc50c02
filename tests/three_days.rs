//! Three days of fifty devices under a clock that is moved: the live windows are exactly a day,
//! the archives exactly the sessions, nothing is gone that was owed and nothing is left that
//! should have gone; with Redis, without it, and with one that is killed in between. All of it
//! follows from one seed, which is printed; `LIFE_SEED` takes it again.
//!
//! What encoding would make is made up: a segment is some hundred bytes and lasts about five
//! minutes, so that three days are some twenty thousand commits. The store, the rules of
//! sessions, the checker, the archiver, the clean-up, the archives' expiry and the mirror are
//! the real ones.
#![cfg(feature = "failpoints")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may panic.

#[path = "three_days/draw.rs"]
mod draw;
#[path = "three_days/look.rs"]
mod look;
#[path = "three_days/oracle.rs"]
mod oracle;
#[path = "support/redis_agreement.rs"]
mod redis_agreement;
#[path = "support/servers/mod.rs"]
mod servers;
#[path = "three_days/upkeep.rs"]
mod upkeep;
#[path = "three_days/world.rs"]
mod world;

use world::{Redis, World};

fn seed() -> u64 {
    let given = std::env::var("LIFE_SEED").ok().map(|seed| seed.parse().expect("a number"));
    let seed = given.unwrap_or(1_795_500_000_000);
    eprintln!("LIFE_SEED={seed}");
    seed
}

async fn three_days(redis: Redis) {
    // Fail points are the process's: one life at a time.
    let _scenario = fail::FailScenario::setup();
    world::keep_quiet_about_drawn_crashes();
    let mut world = World::new(seed(), redis).await;
    world.live().await;
    world.fade_out().await;
    world.tell();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_days_without_redis() {
    three_days(Redis::Off).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_days_with_redis() {
    three_days(Redis::On).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_days_with_a_redis_that_is_killed_and_comes_back_empty() {
    three_days(Redis::Killed).await;
}
