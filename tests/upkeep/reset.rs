//! `reset-device`, with what Redis holds of the device.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use redis::AsyncCommands;
use stream_processor::model::{Clock, Secret, SystemClock};
use stream_processor::session::SessionMirror;
use stream_processor::session::mirror::{MirrorSettings, MirrorWatcher, RedisTrouble};
use stream_processor::store::Store;

use crate::fleet::{commit_at, device, film, stored};
use crate::redis_agreement::{PATIENCE, connect};
use crate::rig::*;
use crate::servers::redis::RedisServer;
use crate::store_fixture::{roomy_base, store};

struct Quiet;

impl MirrorWatcher for Quiet {
    fn up(&self) {}
    fn down(&self, _: &RedisTrouble) {}
    fn told(&self, _: usize, _: usize) {}
}

/// Two cameras of which Redis has been told all.
async fn told(store: &Store, url: &str) {
    let settings = MirrorSettings { url: Secret::new(url), windows: true };
    let mirror = SessionMirror::start(&settings, store.clone(), Arc::new(Quiet)).unwrap();
    for name in ["a", "b"] {
        let state = film(store, &device(name), 3).await;
        mirror.tell(&device(name), &state);
    }
    assert!(mirror.flush(PATIENCE).await);
    mirror.close().await;
}

fn reset(base: &Path, url: &str, flags: &[&str]) -> Ended {
    let mut command: Command = command(base, &["reset-device", "acme", "a"]);
    command.args(flags).env("REDIS_ENABLED", "true").env("REDIS_URL", url);
    ended(command)
}

/// The keys that Redis has of a camera.
async fn keys(url: &str, name: &str) -> Vec<String> {
    let mut redis = connect(url).await;
    let mut keys: Vec<String> = redis.keys(format!("*:acme:{name}")).await.unwrap();
    let member = format!("acme:{name}");
    if redis.sismember("stream:sessions", &member).await.unwrap() {
        keys.push("stream:sessions".to_owned());
    }
    keys.sort_unstable();
    keys
}

fn media(base: &Path) -> usize {
    names(&hls(base, "a").join("segments")).len()
}

#[tokio::test]
async fn storage_and_redis_forget_the_device_and_a_dry_run_says_what() {
    let (base, server) = (roomy_base(), RedisServer::start().await);
    let (store, url) = (store(base.path()), server.url());
    told(&store, &url).await;
    let of_a = keys(&url, "a").await;
    assert_eq!(of_a.len(), 4, "{of_a:?}");

    let dry = reset(base.path(), &url, &["--dry-run"]);
    assert_eq!(dry.code, Some(0), "{dry:?}");
    assert!(dry.said.contains("would be removed; it would go on with segment 3"), "{dry:?}");
    assert!(dry.said.contains("would be removed from Redis: stream:session:acme:a"), "{dry:?}");
    assert!(dry.said.contains("hls:segments:acme:a (3), hls:seq:acme:a"), "{dry:?}");
    assert_eq!((media(base.path()), keys(&url, "a").await), (3, of_a));

    let done = reset(base.path(), &url, &[]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.said.contains("\nremoved from Redis: stream:session:acme:a"), "{done:?}");
    assert_eq!((media(base.path()), keys(&url, "a").await), (0, vec![]));
    assert_eq!(keys(&url, "b").await.len(), 4, "the other camera's stay");
    assert_eq!(stored(&store, &device("a")).await.next_segment, 3);
    let again = reset(base.path(), &url, &["--skip-storage"]);
    assert!(again.code == Some(0) && again.said == "Redis holds nothing of it\n", "{again:?}");
}

#[tokio::test]
async fn a_redis_that_is_away_is_an_error_that_says_how_to_do_the_rest() {
    let (base, server) = (roomy_base(), RedisServer::start().await);
    let (store, url) = (store(base.path()), server.url());
    told(&store, &url).await;
    server.process.kill();
    let dry = reset(base.path(), &url, &["--dry-run"]);
    assert!(dry.code == Some(1) && dry.log.contains("what Redis holds of acme/a"), "{dry:?}");
    let half = reset(base.path(), &url, &[]);
    assert_eq!(half.code, Some(1), "{half:?}");
    for part in [
        "the stream of acme/a was begun anew",
        "`stream-processor reset-device acme a --skip-storage`",
        "Redis cannot be reached",
    ] {
        assert!(half.log.contains(part), "{part}: {half:?}");
    }
    assert_eq!(media(base.path()), 0);
    let generation = stored(&store, &device("a")).await.generation;

    server.process.restart().await;
    assert_eq!(keys(&url, "a").await.len(), 4);
    let rest = reset(base.path(), &url, &["--skip-storage"]);
    assert_eq!(rest.code, Some(0), "{rest:?}");
    assert!(!rest.said.contains("its stream"), "{rest:?}");
    assert_eq!(keys(&url, "a").await, Vec::<String>::new());
    assert_eq!(stored(&store, &device("a")).await.generation, generation);
}

#[tokio::test]
async fn either_side_can_be_left_alone_but_not_both() {
    let (base, server) = (roomy_base(), RedisServer::start().await);
    let (store, url) = (store(base.path()), server.url());
    told(&store, &url).await;
    for flags in [
        ["--skip-storage", "--skip-redis"],
        ["--skip-storage", "--with-frames"],
        ["--skip-storage", "--with-archives"],
        ["--skip-storage", "--force"],
    ] {
        assert_eq!(reset(base.path(), &url, &flags).code, Some(2), "{flags:?}");
    }
    let nothing = run(base.path(), &["reset-device", "acme", "a", "--skip-storage"]);
    assert!(nothing.code == Some(2) && nothing.log.contains("REDIS_ENABLED"), "{nothing:?}");
    assert_eq!((media(base.path()), keys(&url, "a").await.len()), (3, 4));

    let storage = reset(base.path(), &url, &["--skip-redis"]);
    assert_eq!(storage.code, Some(0), "{storage:?}");
    assert_eq!((media(base.path()), keys(&url, "a").await.len()), (0, 4));
}

#[tokio::test]
async fn a_device_that_a_worker_owns_stays_in_redis_too() {
    let (base, server) = (roomy_base(), RedisServer::start().await);
    let (store, url) = (store(base.path()), server.url());
    told(&store, &url).await;
    let state = stored(&store, &device("a")).await;
    commit_at(&store, &device("a"), &state, SystemClock.now()).await.unwrap();
    let refused = reset(base.path(), &url, &[]);
    assert!(refused.code == Some(1) && refused.log.contains("--force"), "{refused:?}");
    assert_eq!((media(base.path()), keys(&url, "a").await.len()), (4, 4));
}

#[tokio::test]
async fn a_redis_with_a_password_says_which_setting_is_wrong() {
    let (base, server) = (roomy_base(), RedisServer::start_with(Some("hunter2"), &[]).await);
    film(&store(base.path()), &device("a"), 3).await;
    let url = format!("redis://:hunter3@127.0.0.1:{}", server.process.port());
    let half = reset(base.path(), &url, &[]);
    assert_eq!(half.code, Some(1), "{half:?}");
    assert!(half.log.contains("REDIS_URL") && half.log.contains("--skip-storage"), "{half:?}");
    assert!(!half.log.contains("hunter"), "{half:?}");
    let whole = reset(base.path(), &server.url(), &["--skip-storage"]);
    assert_eq!(whole.code, Some(0), "{whole:?}");
}
