//! Whole workers: with Redis, with one that dies, and without one they make the same streams.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use stream_processor::pipeline::ports::Observer;
use stream_processor::source::MemoryFeed;

use crate::Mirror;
use crate::pipeline_rig::{Rig, parked};
use crate::redis_agreement::agrees;
use crate::servers::redis::RedisServer;
use crate::store_fixture::everything;

const NAMES: [&str; 3] = ["a", "b", "c"];

/// What there is to be done to the server while a worker is at work.
#[derive(Clone, Copy, PartialEq)]
enum Redis {
    None,
    Well,
    Killed,
    Frozen,
}

/// Films three devices, of which one is silent for a while, and gives all files but frames.
async fn streams(redis: Redis) -> BTreeMap<PathBuf, Vec<u8>> {
    let (rig, feed) = (Rig::new(), MemoryFeed::new());
    let server = match redis {
        Redis::None => None,
        _ => Some(RedisServer::start().await),
    };
    let mirror = server.as_ref().map(|server| Mirror::start(&rig.store, &server.url()));
    let told: Vec<Arc<dyn Observer>> =
        mirror.iter().map(|mirror| Arc::new(mirror.mirror.clone()) as _).collect();
    let worker = rig.start_telling(&feed, told);
    let mut frames = 0;
    for round in 0..12_i64 {
        for (name, silent_until) in NAMES.into_iter().zip([0, 0, 8]) {
            if round == 0 || round >= silent_until {
                let begins = round * 30;
                rig.publish(&feed, name, (0..6).map(|index| begins + index * 5));
                frames += 6;
            }
        }
        rig.wait_until("the round is committed", || feed.acked() == frames).await;
        rig.clock.advance(std::time::Duration::from_secs(30));
        let Some(server) = &server else { continue };
        match (redis, round) {
            (Redis::Killed, 3) => server.process.kill(),
            (Redis::Killed, 6) => server.restart_empty().await,
            (Redis::Frozen, 3) => server.process.freeze(),
            (Redis::Frozen, 10) => server.process.thaw(),
            _ => {}
        }
    }
    worker.leave().await;
    assert_eq!(parked(&feed), []);
    if let (Some(server), Some(mirror)) = (&server, &mirror) {
        mirror.is_told().await;
        agrees(&rig.store, &server.url(), true).await;
    }
    let base = rig.base().to_owned();
    let files = everything(&base).into_iter();
    let files = files.map(|(path, bytes)| (path.strip_prefix(&base).unwrap().to_owned(), bytes));
    files.filter(|(path, _)| !path.components().any(|part| part.as_os_str() == "frames")).collect()
}

#[tokio::test]
async fn streams_are_the_same_with_redis_without_it_and_with_one_that_dies_or_stands_still() {
    let without = streams(Redis::None).await;
    assert!(without.len() > 20, "{:?}", without.keys());
    for redis in [Redis::Well, Redis::Killed, Redis::Frozen] {
        assert!(streams(redis).await == without);
    }
}
