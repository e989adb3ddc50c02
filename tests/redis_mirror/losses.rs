//! Redis that dies, comes back empty, stands still or loses something.

use redis::AsyncCommands;

use crate::redis_agreement::{agrees, connect};
use crate::servers::redis::RedisServer;
use crate::store_fixture::roomy_base;
use crate::{Mirror, commit_and_tell, short_windows};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

#[tokio::test]
async fn redis_that_is_killed_in_a_run_of_commits_and_comes_back_empty_is_filled_again() {
    let (base, server) = (roomy_base(), RedisServer::start().await);
    let store = short_windows(base.path());
    let mirror = Mirror::start(&store, &server.url());
    for round in 0..40 {
        for name in NAMES {
            // One of them falls silent: nothing but the loss brings it back.
            if name != "e" || round < 10 {
                commit_and_tell(&store, name, &mirror.mirror).await;
            }
        }
        match round {
            12 | 25 => server.process.kill(),
            15 => server.restart_empty().await,
            28 => server.process.restart().await,
            _ => {}
        }
    }
    mirror.is_told().await;
    agrees(&store, &server.url(), true).await;
    assert!(mirror.said.count("connection") > 0);
}

#[tokio::test]
async fn redis_that_comes_back_empty_is_filled_again_although_nothing_is_committed() {
    let (base, server) = (roomy_base(), RedisServer::start().await);
    let store = short_windows(base.path());
    let mirror = Mirror::start(&store, &server.url());
    for _ in 0..30 {
        for name in NAMES {
            commit_and_tell(&store, name, &mirror.mirror).await;
        }
    }
    mirror.is_told().await;
    server.restart_empty().await;
    agrees(&store, &server.url(), true).await;
}

#[tokio::test]
async fn redis_that_stands_still_delays_no_commit() {
    let (base, server) = (roomy_base(), RedisServer::start().await);
    let store = short_windows(base.path());
    let mirror = Mirror::start(&store, &server.url());
    commit_and_tell(&store, "a", &mirror.mirror).await;
    mirror.is_told().await;
    server.process.freeze();
    // All of these are done while it stands still: it goes on only afterwards.
    for _ in 0..40 {
        for name in NAMES {
            commit_and_tell(&store, name, &mirror.mirror).await;
        }
    }
    mirror.says("timeout", 1).await;
    server.process.thaw();
    mirror.is_told().await;
    agrees(&store, &server.url(), true).await;
}

#[tokio::test]
async fn redis_that_takes_its_time_is_told_of_the_newest_only() {
    let (base, server) = (roomy_base(), RedisServer::start().await);
    let store = short_windows(base.path());
    let mirror = Mirror::start(&store, &server.url());
    commit_and_tell(&store, "a", &mirror.mirror).await;
    mirror.is_told().await;
    let mut redis = connect(&server.url()).await;
    let mut pause = redis::cmd("CLIENT");
    pause.arg("PAUSE").arg(1_500);
    pause.exec_async(&mut redis).await.unwrap();
    for _ in 0..30 {
        commit_and_tell(&store, "a", &mirror.mirror).await;
    }
    mirror.is_told().await;
    agrees(&store, &server.url(), true).await;
    assert_eq!(mirror.said.count("timeout"), 0);
}

#[tokio::test]
async fn what_redis_has_evicted_comes_back_with_the_next_commit() {
    let (base, server) = (roomy_base(), RedisServer::start().await);
    let store = short_windows(base.path());
    let mirror = Mirror::start(&store, &server.url());
    for _ in 0..30 {
        commit_and_tell(&store, "a", &mirror.mirror).await;
    }
    mirror.is_told().await;
    let mut redis = connect(&server.url()).await;
    for evicted in [
        vec!["hls:segments:acme:a"],
        vec!["hls:seq:acme:a"],
        vec!["stream:session:acme:a"],
        vec!["stream:sessions"],
        vec!["hls:segments:acme:a", "hls:seq:acme:a", "stream:session:acme:a", "stream:sessions"],
    ] {
        let gone: usize = redis.del(&evicted).await.unwrap();
        assert_eq!(gone, evicted.len());
        commit_and_tell(&store, "a", &mirror.mirror).await;
        mirror.is_told().await;
        agrees(&store, &server.url(), true).await;
    }
}
