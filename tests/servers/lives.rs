//! Servers that are killed, and started again, while they are used.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path as FilePath;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};

use crate::servers::redis::RedisServer;
use crate::servers::s3::S3Server;

/// Names the part of the test that starts a server; without it that part does nothing.
const OWNER: &str = "SERVERS_OWNER";
/// What its line begins with.
const STARTED: &str = "started: ";
/// How long what was left behind may take to go.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn s3_keeps_its_objects_and_their_etags_when_it_is_killed() {
    let server = S3Server::start().await;
    let store = server.client(server.bucket()).build().expect("a client");
    let at = Path::from("a/state");
    let put = store.put(&at, "content".into()).await.expect("a put");
    server.process.kill();
    store.put(&at, "lost".into()).await.expect_err("nobody is there");
    server.process.restart().await;
    let read = store.get(&at).await.expect("the object");
    assert_eq!(read.meta.e_tag, put.e_tag);
    assert_eq!(read.bytes().await.expect("its content"), "content");
    let update = PutMode::Update(put.into());
    store.put_opts(&at, "changed".into(), update.into()).await.expect("an update");
}

#[tokio::test]
async fn a_frozen_server_does_not_answer_until_it_is_thawed() {
    let server = S3Server::start().await;
    let store = server.client(server.bucket()).build().expect("a client");
    let at = Path::from("state");
    server.process.freeze();
    let put = tokio::time::timeout(Duration::from_millis(200), store.put(&at, "content".into()));
    assert!(put.await.is_err(), "it answered");
    server.process.thaw();
    store.put(&at, "content".into()).await.expect("a put");
}

#[tokio::test]
async fn owner_starts_a_server_and_waits() {
    if std::env::var_os(OWNER).is_none() {
        return;
    }
    let server = RedisServer::start().await;
    println!("\n{STARTED}{} {}", server.process.port(), server.process.folder().display());
    std::future::pending::<()>().await;
}

#[test]
fn a_server_ends_with_the_test_run_that_is_killed() {
    let mut owner = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "lives::owner_starts_a_server_and_waits", "--nocapture"])
        .env(OWNER, "yes")
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program starts");
    let lines = BufReader::new(owner.stdout.take().expect("its output")).lines();
    let line = lines.map_while(Result::ok).find_map(|line| {
        let (port, folder) = line.strip_prefix(STARTED)?.split_once(' ')?;
        Some((port.parse::<u16>().ok()?, folder.to_owned()))
    });
    owner.kill().expect("it is killed");
    owner.wait().expect("it has gone");
    let (port, folder) = line.expect("a server was started");
    let port_is_free = || TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let begun = Instant::now();
    while !port_is_free() || FilePath::new(&folder).exists() {
        assert!(begun.elapsed() < PATIENCE, "port {port} and {folder} are left");
        std::thread::sleep(Duration::from_millis(20));
    }
}
