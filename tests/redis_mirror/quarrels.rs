//! Two that tell Redis of one device, and others that have written there before.

use redis::AsyncCommands;

use crate::fleet::{commit_at, device, film, stored};
use crate::redis_agreement::{agrees, connect};
use crate::servers::redis::RedisServer;
use crate::store_fixture::{commits_at, roomy_base};
use crate::{Mirror, commit_and_tell, short_windows};

#[tokio::test]
async fn a_worker_that_is_late_overwrites_nothing() {
    let (base, server) = (roomy_base(), RedisServer::start().await);
    let store = short_windows(base.path());
    let (late, owner) =
        (Mirror::start(&store, &server.url()), Mirror::start(&store, &server.url()));
    let key = device("a");
    let old = film(&store, &key, 30).await;
    commit_and_tell(&store, "a", &owner.mirror).await;
    owner.is_told().await;
    late.mirror.tell(&key, &old);
    late.is_told().await;
    agrees(&store, &server.url(), true).await;
}

#[tokio::test]
async fn a_session_that_was_ended_meanwhile_is_not_put_back_after_a_loss() {
    let (base, server) = (roomy_base(), RedisServer::start().await);
    let store = short_windows(base.path());
    let worker = Mirror::start(&store, &server.url());
    for name in ["a", "b"] {
        commit_and_tell(&store, name, &worker.mirror).await;
    }
    worker.is_told().await;
    let key = device("a");
    let session = stored(&store, &key).await.session.unwrap();
    assert!(store.end_session(&key, &session.id, session.last_frame_at).await.unwrap());
    // The worker was not told; it tells of what it knows again.
    server.restart_empty().await;
    agrees(&store, &server.url(), true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_workers_that_tell_of_the_same_devices_agree_in_the_end() {
    let (base, server) = (roomy_base(), RedisServer::start().await);
    let names: Vec<String> = (0..20).map(|index| format!("cam-{index}")).collect();
    let mut workers = Vec::new();
    for _ in 0..2 {
        let (store, url, names) = (short_windows(base.path()), server.url(), names.clone());
        workers.push(tokio::spawn(async move {
            let mirror = Mirror::start(&store, &url);
            for _ in 0..25 {
                for name in &names {
                    let key = device(name);
                    let state = store.open(&key).await.unwrap();
                    let at = commits_at(state.next_segment);
                    // Of the two, one commits.
                    if let Ok(state) = commit_at(&store, &key, &state, at).await {
                        mirror.mirror.tell(&key, &state);
                    }
                }
            }
            mirror.is_told().await;
            mirror.mirror.close().await;
        }));
    }
    for worker in workers {
        worker.await.unwrap();
    }
    agrees(&short_windows(base.path()), &server.url(), true).await;
}

#[tokio::test]
async fn keys_that_hold_something_else_are_put_right() {
    let (base, server) = (roomy_base(), RedisServer::start().await);
    let store = short_windows(base.path());
    let mut redis = connect(&server.url()).await;
    let ours = ["stream:session:acme:a", "hls:segments:acme:a", "hls:seq:acme:a"];
    for key in ours {
        let _: () = redis.hset(key, "field", "of another kind").await.unwrap();
    }
    film(&store, &device("a"), 30).await;
    let mirror = Mirror::start(&store, &server.url());
    commit_and_tell(&store, "a", &mirror.mirror).await;
    mirror.is_told().await;
    agrees(&store, &server.url(), true).await;

    let record = r#"{"last_segment_number": 900, "session_id": "of another stream"}"#;
    let _: () = redis.set("stream:session:acme:a", record).await.unwrap();
    let _: () = redis.set("hls:seq:acme:a", 901).await.unwrap();
    let _: () = redis.zadd("hls:segments:acme:a", "900", 1.5).await.unwrap();
    commit_and_tell(&store, "a", &mirror.mirror).await;
    mirror.is_told().await;
    agrees(&store, &server.url(), true).await;
}

#[tokio::test]
async fn other_keys_and_other_devices_stay_as_they_are() {
    let (base, server) = (roomy_base(), RedisServer::start().await);
    let store = short_windows(base.path());
    let mut redis = connect(&server.url()).await;
    let _: () = redis.set("stream:session:other:cam", "another service's").await.unwrap();
    let _: () = redis.sadd("stream:sessions", "other:cam").await.unwrap();
    let mirror = Mirror::start(&store, &server.url());
    commit_and_tell(&store, "a", &mirror.mirror).await;
    mirror.is_told().await;
    let kept: String = redis.get("stream:session:other:cam").await.unwrap();
    assert_eq!(kept, "another service's");
    assert!(redis.sismember::<_, _, bool>("stream:sessions", "other:cam").await.unwrap());
}
