//! Redis holds what the storage says: told of each commit, filled again after every loss, and
//! never a reason for a stream to wait.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may panic.

#[path = "support/fleet.rs"]
mod fleet;
#[path = "redis_mirror/losses.rs"]
mod losses;
#[path = "support/pipeline_rig.rs"]
mod pipeline_rig;
#[path = "redis_mirror/pipelines.rs"]
mod pipelines;
#[path = "redis_mirror/quarrels.rs"]
mod quarrels;
#[path = "support/redis_agreement.rs"]
mod redis_agreement;
#[path = "support/servers/mod.rs"]
mod servers;
#[path = "support/store_fixture.rs"]
mod store_fixture;
#[path = "redis_mirror/strangers.rs"]
mod strangers;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fleet::*;
use redis::AsyncCommands;
use redis_agreement::{PATIENCE, agrees, connect};
use servers::redis::RedisServer;
use store_fixture::{commits_at, roomy_base, settings};
use stream_processor::model::Secret;
use stream_processor::session::mirror::{
    MirrorSettings, MirrorWatcher, RedisTrouble, SessionMirror,
};
use stream_processor::store::{DeviceState, Store, StoreSettings};

/// What a mirror said of Redis.
#[derive(Default)]
struct Said(Mutex<Vec<String>>);

impl Said {
    /// How often it said that.
    fn count(&self, what: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|said| *said == what).count()
    }

    fn say(&self, what: &str) {
        self.0.lock().unwrap().push(what.to_owned());
    }
}

impl MirrorWatcher for Said {
    fn up(&self) {
        self.say("up");
    }
    fn down(&self, trouble: &RedisTrouble) {
        self.say(trouble.reason);
        self.say(&trouble.to_string());
    }
    fn told(&self, _: usize, _: usize) {}
}

/// A mirror, and what it says.
struct Mirror {
    mirror: SessionMirror,
    said: Arc<Said>,
}

impl Mirror {
    /// Of sessions and windows.
    fn start(store: &Store, url: &str) -> Self {
        Self::start_with(store, url, true)
    }

    fn start_with(store: &Store, url: &str, windows: bool) -> Self {
        let said = Arc::new(Said::default());
        let settings = mirror_settings(url, windows);
        let watcher = Arc::clone(&said) as _;
        let mirror = SessionMirror::start(&settings, store.clone(), watcher).unwrap();
        Self { mirror, said }
    }

    /// Waits until it has said that so many times.
    async fn says(&self, what: &str, times: usize) {
        let begun = Instant::now();
        while self.said.count(what) < times {
            let said = self.said.0.lock().unwrap().clone();
            assert!(begun.elapsed() < PATIENCE, "waited for {what}: {said:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn is_told(&self) {
        assert!(self.mirror.flush(PATIENCE).await, "{:?}", self.said.0.lock().unwrap());
    }
}

fn mirror_settings(url: &str, windows: bool) -> MirrorSettings {
    MirrorSettings { url: Secret::new(url), windows }
}

/// A store whose windows are short, so that segments leave them.
fn short_windows(base: &Path) -> Store {
    let settings = StoreSettings { retention: Duration::from_secs(600), ..settings() };
    Store::at(base, settings).unwrap()
}

/// Commits one more segment and tells of it, as the worker does.
async fn commit_and_tell(store: &Store, name: &str, mirror: &SessionMirror) -> DeviceState {
    let key = device(name);
    let state = store.open(&key).await.unwrap();
    let at = commits_at(state.next_segment);
    let state = commit_at(store, &key, &state, at).await.unwrap();
    mirror.tell(&key, &state);
    state
}

#[tokio::test]
async fn redis_holds_what_the_contract_says_after_every_commit() {
    let (base, server) = (roomy_base(), RedisServer::start().await);
    let store = short_windows(base.path());
    let mirror = Mirror::start(&store, &server.url());
    for _ in 0..35 {
        for name in ["truck-7", "truck-8"] {
            commit_and_tell(&store, name, &mirror.mirror).await;
        }
        mirror.is_told().await;
        agrees(&store, &server.url(), true).await;
    }
    let mut redis = connect(&server.url()).await;
    let ttl_secs: i64 = redis.ttl("stream:session:acme:truck-7").await.unwrap();
    assert!((86_000..=86_400).contains(&ttl_secs), "{ttl_secs}");
    let window: Vec<(u64, f64)> =
        redis.zrange_withscores("hls:segments:acme:truck-7", -1, -1).await.unwrap();
    assert_eq!(window, [(34, 1_769_846_400.0 + 34.0 * 30.0)]);
    let first: Vec<u64> = redis.zrange("hls:segments:acme:truck-7", 0, 0).await.unwrap();
    assert!(first[0] > 5, "segments leave it: {first:?}");
    mirror.mirror.close().await;
}

#[tokio::test]
async fn a_session_that_is_over_goes_from_redis_and_the_next_one_comes() {
    let (base, server) = (roomy_base(), RedisServer::start().await);
    let store = short_windows(base.path());
    let mirror = Mirror::start(&store, &server.url());
    for _ in 0..3 {
        commit_and_tell(&store, "truck-7", &mirror.mirror).await;
    }
    mirror.is_told().await;
    let key = device("truck-7");
    let session = stored(&store, &key).await.session.unwrap();
    assert!(store.end_session(&key, &session.id, session.last_frame_at).await.unwrap());
    mirror.mirror.tell(&key, &stored(&store, &key).await);
    mirror.is_told().await;
    agrees(&store, &server.url(), true).await;
    let mut redis = connect(&server.url()).await;
    assert!(!redis.exists::<_, bool>("stream:session:acme:truck-7").await.unwrap());
    commit_and_tell(&store, "truck-7", &mirror.mirror).await;
    mirror.is_told().await;
    agrees(&store, &server.url(), true).await;
    assert!(redis.sismember::<_, _, bool>("stream:sessions", "acme:truck-7").await.unwrap());
}

#[tokio::test]
async fn windows_are_told_only_when_they_are_asked_for() {
    let (base, server) = (roomy_base(), RedisServer::start().await);
    let store = short_windows(base.path());
    let mirror = Mirror::start_with(&store, &server.url(), false);
    for _ in 0..3 {
        commit_and_tell(&store, "truck-7", &mirror.mirror).await;
    }
    mirror.is_told().await;
    agrees(&store, &server.url(), false).await;
}

#[tokio::test]
async fn a_device_that_is_forgotten_leaves_nothing() {
    let (base, server) = (roomy_base(), RedisServer::start().await);
    let store = short_windows(base.path());
    let mirror = Mirror::start(&store, &server.url());
    for name in ["truck-7", "truck-8"] {
        commit_and_tell(&store, name, &mirror.mirror).await;
    }
    mirror.is_told().await;
    let settings = mirror_settings(&server.url(), true);
    SessionMirror::forget(&settings, &device("truck-7")).await.unwrap();
    let mut redis = connect(&server.url()).await;
    let mut keys: Vec<String> = redis.keys("*").await.unwrap();
    keys.sort_unstable();
    let of_the_other = [
        "hls:segments:acme:truck-8",
        "hls:seq:acme:truck-8",
        "stream:session:acme:truck-8",
        "stream:sessions",
    ];
    assert_eq!(keys, of_the_other);
    let members: Vec<String> = redis.smembers("stream:sessions").await.unwrap();
    assert_eq!(members, ["acme:truck-8"]);
}
