//! Redis by `rediss://`.

use std::net::TcpListener;
use std::path::Path;

use redis::AsyncCommands;
use stream_processor::model::{Clock, SystemClock};

use crate::certificates::Authority;
use crate::fleet::{commit_at, device, film};
use crate::servers::redis::RedisServer;
use crate::store_fixture::{roomy_base, store};
use crate::{program, ran};

/// Looks once at all devices, and tells Redis of them.
fn check(base: &Path, url: &str, trusted: Option<&Path>) -> String {
    let mut command = program(base, &["offline-checker", "--once", "--archive-enabled=false"]);
    command
        .args(["--processing-segment-duration-seconds", "2"])
        .args(["--archive-offline-threshold-seconds", "86400"])
        .env("STORAGE_BASE_PATH", base)
        .env("REDIS_ENABLED", "true")
        .env("REDIS_URL", url)
        .envs(trusted.map(|file| ("SSL_CERT_FILE", file)));
    let (well, said) = ran(&mut command);
    // A mirror is no reason to fail.
    assert!(well, "{said}");
    said
}

#[tokio::test]
async fn an_encrypted_redis_is_told_if_its_authority_is_trusted() {
    let (base, authority) = (roomy_base(), Authority::new());
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let arguments: Vec<&'static str> = [
        ["--tls-port", &free.to_string()],
        ["--tls-cert-file", authority.certificate().to_str().unwrap()],
        ["--tls-key-file", authority.key().to_str().unwrap()],
        ["--tls-auth-clients", "no"],
    ]
    .concat()
    .into_iter()
    .map(|word| &*word.to_owned().leak())
    .collect();
    let server = RedisServer::start_with(None, arguments.leak()).await;
    let store = store(base.path());
    let state = film(&store, &device("a"), 3).await;
    // The session goes on: its newest segment is of now.
    commit_at(&store, &device("a"), &state, SystemClock.now()).await.unwrap();
    let url = format!("rediss://127.0.0.1:{free}");
    let client = redis::Client::open(server.url()).unwrap();
    let mut redis = client.get_multiplexed_async_connection().await.unwrap();

    let another = Authority::new();
    for stranger in [None, Some(another.trusted())] {
        let said = check(base.path(), &url, stranger.as_deref());
        assert!(said.contains("certificate") && said.contains("SSL_CERT_FILE"), "{said}");
        assert_eq!(said.matches("Redis cannot be told").count(), 1, "{said}");
        assert_eq!(redis.exists::<_, u64>("stream:sessions").await.unwrap(), 0);
    }

    let said = check(base.path(), &url, Some(&authority.trusted()));
    let members: Vec<String> = redis.smembers("stream:sessions").await.unwrap();
    assert_eq!(members, ["acme:a"], "{said}");

    let unencrypted = format!("rediss://127.0.0.1:{}", server.process.port());
    let said = check(base.path(), &unencrypted, None);
    assert!(said.contains("redis:// is the form"), "{said}");
}
