//! `rediss://`: a certificate that is trusted and one that is not.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use redis::AsyncCommands;
use stream_processor::model::{Clock, SystemClock};

use crate::fleet::{commit_at, device, film};
use crate::redis_agreement::connect;
use crate::servers::redis::RedisServer;
use crate::store_fixture::{roomy_base, store};

/// A certificate for 127.0.0.1 that is trusted as it is, and is nobody's authority.
fn make_certificate(folder: &Path) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-nodes", "-days", "30", "-subj", "/CN=a Redis of a test"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", "key.pem", "-out", "certificate.pem"])
        .current_dir(folder)
        .output()
        .expect("openssl");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// Looks once at all devices, and tells Redis of them.
fn check(base: &Path, url: &str, trusted: Option<&Path>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stream-processor"));
    command
        .args(["offline-checker", "--once", "--processing-segment-duration-seconds", "2"])
        .args(["--archive-enabled=false", "--archive-offline-threshold-seconds", "86400"])
        .current_dir(base)
        .env_clear()
        .env("STORAGE_BASE_PATH", base)
        .env("REDIS_ENABLED", "true")
        .env("REDIS_URL", url);
    if let Some(file) = trusted {
        command.env("SSL_CERT_FILE", file);
    }
    command.output().expect("the checker runs")
}

#[tokio::test]
async fn an_encrypted_redis_is_told_if_its_certificate_is_trusted() {
    let (base, secrets) = (roomy_base(), tempfile::tempdir().unwrap());
    make_certificate(secrets.path());
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let file = |name: &str| secrets.path().join(name).display().to_string();
    let arguments: Vec<&'static str> = [
        ["--tls-port", &free.to_string()],
        ["--tls-cert-file", &file("certificate.pem")],
        ["--tls-key-file", &file("key.pem")],
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
    let mut redis = connect(&server.url()).await;

    let stranger = check(base.path(), &url, None);
    let log = String::from_utf8_lossy(&stranger.stderr).into_owned();
    assert!(stranger.status.success(), "{log}");
    assert!(log.contains("certificate") && log.contains("SSL_CERT_FILE"), "{log}");
    assert_eq!(log.matches("Redis cannot be told").count(), 1, "{log}");
    assert_eq!(redis.exists::<_, u64>("stream:sessions").await.unwrap(), 0);

    let trusted = check(base.path(), &url, Some(&secrets.path().join("certificate.pem")));
    let log = String::from_utf8_lossy(&trusted.stderr).into_owned();
    assert!(trusted.status.success(), "{log}");
    let members: Vec<String> = redis.smembers("stream:sessions").await.unwrap();
    assert_eq!(members, ["acme:a"], "{log}");

    let unencrypted = format!("rediss://127.0.0.1:{}", server.process.port());
    let plain = check(base.path(), &unencrypted, None);
    let log = String::from_utf8_lossy(&plain.stderr).into_owned();
    assert!(plain.status.success() && log.contains("redis:// is the form"), "{log}");
}
