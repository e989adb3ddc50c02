//! A Redis that does not let us in, lets us do little, has no memory, or is none.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::redis_agreement::{agrees, connect};
use crate::servers::redis::RedisServer;
use crate::store_fixture::roomy_base;
use crate::{Mirror, Said, commit_and_tell, mirror_settings, short_windows};
use stream_processor::session::SessionMirror;

/// What `docs/operating.md` says that the user needs.
const RIGHTS: &[&str] = &[
    "~stream:session*",
    "~hls:*",
    "resetchannels",
    "+ping",
    "+select",
    "+watch",
    "+unwatch",
    "+multi",
    "+exec",
    "+get",
    "+set",
    "+del",
    "+sadd",
    "+srem",
    "+sismember",
    "+zadd",
    "+zrem",
    "+zcard",
    "+zscore",
];

#[tokio::test]
async fn a_wrong_password_is_said_and_the_right_one_works() {
    let (base, server) = (roomy_base(), RedisServer::start_with(Some("hunter2"), &[]).await);
    let store = short_windows(base.path());
    let right = Mirror::start(&store, &server.url());
    commit_and_tell(&store, "a", &right.mirror).await;
    right.is_told().await;
    agrees(&store, &server.url(), true).await;

    for user in ["", ":wrong-one@", "nobody:hunter2@"] {
        let url = format!("redis://{user}127.0.0.1:{}", server.process.port());
        let wrong = Mirror::start(&store, &url);
        commit_and_tell(&store, "a", &wrong.mirror).await;
        wrong.says("auth", 2).await;
        let said = wrong.said.0.lock().unwrap().join("\n");
        assert!(said.contains("REDIS_URL") && !said.contains("wrong-one"), "{said}");
        assert_eq!(wrong.said.count("up"), 0);
    }
}

#[tokio::test]
async fn a_user_needs_no_more_rights_than_are_documented() {
    let (base, server) = (roomy_base(), RedisServer::start().await);
    let store = short_windows(base.path());
    let mut redis = connect(&server.url()).await;
    let mut allow = redis::cmd("ACL");
    allow.arg("SETUSER").arg("mirror").arg("on").arg(">secret").arg(RIGHTS);
    allow.exec_async(&mut redis).await.unwrap();
    let url = format!("redis://mirror:secret@127.0.0.1:{}", server.process.port());
    let mirror = Mirror::start(&store, &url);
    for _ in 0..30 {
        commit_and_tell(&store, "a", &mirror.mirror).await;
    }
    mirror.is_told().await;
    agrees(&store, &server.url(), true).await;

    let mut forbid = redis::cmd("ACL");
    forbid.arg("SETUSER").arg("mirror").arg("-zadd");
    forbid.exec_async(&mut redis).await.unwrap();
    commit_and_tell(&store, "a", &mirror.mirror).await;
    mirror.says("permission", 1).await;
    let said = mirror.said.0.lock().unwrap().join("\n");
    assert!(said.contains("zadd") && !said.contains("secret"), "{said}");
    let mut allow = redis::cmd("ACL");
    allow.arg("SETUSER").arg("mirror").arg("+zadd");
    allow.exec_async(&mut redis).await.unwrap();
    agrees(&store, &server.url(), true).await;
}

#[tokio::test]
async fn a_redis_without_memory_is_said_and_filled_when_it_has_some() {
    let (base, server) = (roomy_base(), RedisServer::start().await);
    let store = short_windows(base.path());
    let mut redis = connect(&server.url()).await;
    let limit = |bytes: &'static str| {
        let mut config = redis::cmd("CONFIG");
        config.arg("SET").arg("maxmemory").arg(bytes);
        config
    };
    limit("1").exec_async(&mut redis).await.unwrap();
    let mirror = Mirror::start(&store, &server.url());
    commit_and_tell(&store, "a", &mirror.mirror).await;
    mirror.says("full", 2).await;
    limit("0").exec_async(&mut redis).await.unwrap();
    mirror.is_told().await;
    agrees(&store, &server.url(), true).await;
}

#[tokio::test]
async fn a_copy_that_takes_no_writes_is_said() {
    let (base, server) = (roomy_base(), RedisServer::start().await);
    let copy = RedisServer::start().await;
    let store = short_windows(base.path());
    let mut redis = connect(&copy.url()).await;
    let mut follow = redis::cmd("REPLICAOF");
    follow.arg("127.0.0.1").arg(server.process.port());
    follow.exec_async(&mut redis).await.unwrap();
    let mirror = Mirror::start(&store, &copy.url());
    commit_and_tell(&store, "a", &mirror.mirror).await;
    mirror.says("read_only", 1).await;
}

#[tokio::test]
async fn what_is_no_redis_is_said() {
    let base = roomy_base();
    let store = short_windows(base.path());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        // Kept: a connection that is closed on what was asked may lose the answer.
        let mut answered = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut asked = [0; 512];
            let _ = stream.read(&mut asked).await;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            answered.push(stream);
        }
    });
    let mirror = Mirror::start(&store, &url);
    mirror.says("not_redis", 1).await;
    assert!(commit_and_tell(&store, "a", &mirror.mirror).await.session.is_some());
}

#[tokio::test]
async fn an_address_that_is_none_is_refused_without_its_password() {
    let base = roomy_base();
    let store = short_windows(base.path());
    let settings = mirror_settings("redis://:hunter2@redis:6379/first", true);
    let said = Arc::new(Said::default());
    let error = SessionMirror::start(&settings, store, said).err().unwrap().to_string();
    assert!(error.contains("REDIS_URL") && !error.contains("hunter2"), "{error}");
}
