//! The real worker, killed again and again while cameras publish through a real broker: at
//! random instants, and at every named instant between two durable steps; alone, and with
//! another worker beside it. Nothing may be lost, shown twice or out of order, nothing
//! acknowledged before it is durable, and the playlists are valid at every instant.
//!
//! `CRASH_SEED` replays the order of the kills.
#![cfg(feature = "failpoints")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may panic.

#[path = "support/broker.rs"]
#[allow(dead_code, reason = "each test binary uses its part of the rig")]
mod broker;
#[path = "support/camera.rs"]
mod camera;
#[path = "support/filming.rs"]
mod filming;
#[path = "support/history.rs"]
mod history;
#[path = "support/oracle/mod.rs"]
mod oracle;
#[path = "support/place.rs"]
mod place;
#[path = "support/siege.rs"]
mod siege;
#[path = "support/worker.rs"]
mod worker;

use std::collections::BTreeSet;

use broker::Broker;
use place::Place;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use siege::{Life, Siege, SiegePlan};
use stream_processor::pipeline;
use stream_processor::store::steps;

/// The same in every run unless CRASH_SEED gives another.
fn seed() -> u64 {
    let given = std::env::var("CRASH_SEED").ok().map(|seed| seed.parse().expect("a number"));
    let seed = given.unwrap_or(1_795_451_449_160);
    eprintln!("CRASH_SEED={seed}");
    seed
}

/// Every named instant that a transport stream has, and random ones, in an order of their own
/// for each seed.
fn lives(rng: &mut ChaCha8Rng) -> Vec<Life> {
    let mut lives = Vec::new();
    // What mends a playlist is only passed after a crash between the state and the playlist.
    let before_mending = [
        steps::STATE.renamed,
        steps::STATE.durable,
        steps::PLAYLIST.begin,
        steps::PLAYLIST.written,
        steps::PLAYLIST.synced,
    ];
    for (before, mending) in before_mending.into_iter().zip(steps::HEAL_PLAYLIST.names()) {
        lives.push(vec![Life::Point(before), Life::Point(mending)]);
    }
    let alone = [steps::SEGMENT, steps::HEAL_STATE];
    let alone = alone.iter().flat_map(steps::WriteSteps::names).chain([
        steps::STATE.begin,
        steps::STATE.written,
        steps::STATE.synced,
        steps::PLAYLIST.renamed,
        steps::PLAYLIST.durable,
    ]);
    lives.extend(alone.chain(pipeline::steps::ALL).map(|point| vec![Life::Point(point)]));
    lives.extend((0..5).map(|_| vec![Life::Random]));
    lives.extend((0..2).map(|_| vec![Life::PairOneKilled]));
    lives.extend([vec![Life::PairOneLeaves]]);
    // All of it once more with another worker beside the one that dies. It would mend what that
    // one left, so that a playlist is left to be mended by one that was alone.
    for (before, mending) in before_mending.into_iter().zip(steps::HEAL_PLAYLIST.names()) {
        lives.push(vec![Life::Point(before), Life::PairOneAtPoint(mending)]);
    }
    lives.extend(steps::HEAL_STATE.names().map(|point| vec![Life::PairOneAtPoint(point)]));
    let often = [steps::SEGMENT, steps::STATE, steps::PLAYLIST];
    let often = often.iter().flat_map(steps::WriteSteps::names).chain(pipeline::steps::ALL);
    lives.extend(often.map(|point| vec![Life::PairOneAtPoint(point)]));
    lives.shuffle(rng);
    // History files are seldom written, but often while there is a backlog: at the beginning.
    let mut first: Vec<_> = steps::HISTORY.names().map(|point| vec![Life::Point(point)]).into();
    first.extend(steps::HISTORY.names().map(|point| vec![Life::PairOneAtPoint(point)]));
    first.extend(lives.drain(..3));
    first.shuffle(rng);
    first.extend(lives);
    first.concat()
}

/// Nothing is left out when there is a new instant: alone and with another worker, every one of
/// them that a worker passes on a file system is died at.
#[test]
fn every_named_instant_is_died_at_alone_and_in_a_pair() {
    let lives = lives(&mut ChaCha8Rng::seed_from_u64(1));
    let of = |wanted: fn(&Life) -> Option<&'static str>| -> BTreeSet<_> {
        lives.iter().filter_map(wanted).collect()
    };
    let alone = of(|life| match life {
        Life::Point(point) => Some(point),
        _ => None,
    });
    let in_pairs = of(|life| match life {
        Life::PairOneAtPoint(point) => Some(point),
        _ => None,
    });
    // Init files are for fragmented MP4: they have a siege of their own.
    let named = steps::ALL.iter().filter(|write| write.begin != steps::INIT.begin);
    let named: BTreeSet<_> =
        named.flat_map(steps::WriteSteps::names).chain(pipeline::steps::ALL).collect();
    assert_eq!(alone, named);
    assert_eq!(in_pairs, named);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_workers_lose_and_repeat_nothing() {
    let seed = seed();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let lives = lives(&mut rng);
    let broker = Broker::shared().await;
    let plan = SiegePlan {
        seed: rng.random(),
        client: "transport",
        cameras: 6,
        batching: 0,
        backlog_step: 24,
        partitions: 2,
        container: "ts",
    };
    let mut siege = Siege::begin(broker, plan, Place::folder()).await;
    for life in lives {
        siege.live(life).await;
    }
    siege.settle_down().await;
    siege.rewind_and_repeat_nothing().await;
    let figures = siege.end().await;
    eprintln!("crash: CRASH_SEED={seed} {figures}");

    // Init files belong to fMP4 alone. The topic is a plain one, and two cameras publish in
    // batches. A batch has no key, so that only one worker at a time keeps its frames in order.
    let plan = SiegePlan {
        seed: rng.random(),
        client: "fragmented",
        cameras: 3,
        batching: 2,
        backlog_step: 0,
        partitions: 0,
        container: "fmp4",
    };
    let mut lives: Vec<_> = steps::INIT.names().into_iter().map(Life::Point).collect();
    lives.extend(pipeline::steps::ALL.map(Life::Point));
    lives.extend([Life::Random, Life::Random]);
    let mut siege = Siege::begin(broker, plan, Place::folder()).await;
    for life in lives {
        siege.live(life).await;
    }
    siege.settle_down().await;
    let figures = siege.end().await;
    eprintln!("crash, fMP4: CRASH_SEED={seed} {figures}");
}
