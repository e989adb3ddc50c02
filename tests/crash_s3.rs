//! The real worker on a bucket, killed again and again: at every named instant between two
//! writes, at random ones, and with another worker beside it. There is no lock: what keeps two
//! workers apart are the conditions of the writes alone. Judged as on a file system.
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
#[path = "support/servers/mod.rs"]
mod servers;
#[path = "support/siege.rs"]
mod siege;
#[path = "support/worker.rs"]
mod worker;

use broker::Broker;
use place::Place;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use servers::s3::S3Server;
use siege::{Life, Siege, SiegePlan};
use stream_processor::pipeline;
use stream_processor::store::steps::{self, WriteSteps};

/// The same in every run unless CRASH_SEED gives another.
fn seed() -> u64 {
    let given = std::env::var("CRASH_SEED").ok().map(|seed| seed.parse().expect("a number"));
    let seed = given.unwrap_or(1_795_500_000_000);
    eprintln!("CRASH_SEED={seed}");
    seed
}

/// A put is one step: there is an instant before it and one after it.
fn around(steps: &WriteSteps) -> [&'static str; 2] {
    [steps.begin, steps.durable]
}

fn lives(rng: &mut ChaCha8Rng) -> Vec<Life> {
    let mut lives = Vec::new();
    // A playlist is mended after a crash between the state and the playlist; a name is fought
    // for after one between the media file and the state.
    for mending in around(&steps::HEAL_PLAYLIST) {
        lives.push(vec![Life::Point(steps::STATE.durable), Life::Point(mending)]);
    }
    for claim in around(&steps::CLAIM) {
        lives.push(vec![Life::Point(steps::SEGMENT.durable), Life::Point(claim)]);
    }
    let alone = [steps::SEGMENT, steps::STATE, steps::PLAYLIST];
    let alone = alone.iter().flat_map(around).chain(pipeline::steps::ALL);
    lives.extend(alone.map(|point| vec![Life::Point(point)]));
    lives.extend((0..4).map(|_| vec![Life::Random]));
    lives.extend((0..3).map(|_| vec![Life::PairOneKilled]));
    lives.extend([vec![Life::PairOneLeaves]]);
    // All of it once more with another worker beside the one that dies. It would mend what that
    // one left, so that it is one that was alone who leaves something.
    for mending in around(&steps::HEAL_PLAYLIST) {
        lives.push(vec![Life::Point(steps::STATE.durable), Life::PairOneAtPoint(mending)]);
    }
    for claim in around(&steps::CLAIM) {
        lives.push(vec![Life::Point(steps::SEGMENT.durable), Life::PairOneAtPoint(claim)]);
    }
    let often = [steps::SEGMENT, steps::STATE, steps::PLAYLIST];
    let often = often.iter().flat_map(around).chain(pipeline::steps::ALL);
    lives.extend(often.map(|point| vec![Life::PairOneAtPoint(point)]));
    lives.shuffle(rng);
    // History files are seldom written, but often while there is a backlog: at the beginning.
    let first = around(&steps::HISTORY).map(|point| vec![Life::Point(point)]);
    let in_pairs = around(&steps::HISTORY).map(|point| vec![Life::PairOneAtPoint(point)]);
    [first.to_vec(), in_pairs.to_vec(), lives].concat().concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_killed_on_a_bucket_lose_and_repeat_nothing() {
    let seed = seed();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let lives = lives(&mut rng);
    let broker = Broker::shared().await;
    let server = S3Server::start().await;
    let objects = server.process.folder().join("data").join(server.bucket());
    let keys = (server.access_key(), server.secret());
    let place = Place::s3(&objects, &server.endpoint(), server.bucket(), keys);
    let plan = SiegePlan {
        seed: rng.random(),
        client: "bucket",
        cameras: 5,
        batching: 0,
        backlog_step: 24,
        partitions: 2,
        container: "ts",
    };
    let mut siege = Siege::begin(broker, plan, place).await;
    for life in lives {
        siege.live(life).await;
    }
    siege.settle_down().await;
    siege.rewind_and_repeat_nothing().await;
    let figures = siege.end().await;
    eprintln!("crash, S3: CRASH_SEED={seed} {figures}");
}
