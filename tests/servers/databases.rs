//! What Redis and PostgreSQL have to do.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{RedisError, RedisResult, cmd};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};

use crate::servers::postgres::PostgresServer;
use crate::servers::redis::RedisServer;

async fn connected(server: &RedisServer) -> RedisResult<MultiplexedConnection> {
    redis::Client::open(server.url())?.get_multiplexed_async_connection().await
}

async fn set(connection: &mut MultiplexedConnection, key: &str, value: &str) -> RedisResult<()> {
    cmd("SET").arg(key).arg(value).query_async(connection).await
}

async fn get(server: &RedisServer, key: &str) -> Option<String> {
    let mut connection = connected(server).await.expect("a connection");
    cmd("GET").arg(key).query_async(&mut connection).await.expect("an answer")
}

#[tokio::test]
async fn redis_keeps_what_it_acknowledged_when_it_is_killed() {
    let server = RedisServer::start().await;
    let mut connection = connected(&server).await.expect("a connection");
    set(&mut connection, "key", "value").await.expect("it is set");
    server.process.kill();
    set(&mut connection, "key", "lost").await.expect_err("nobody is there");
    server.process.restart().await;
    assert_eq!(get(&server, "key").await.as_deref(), Some("value"));
}

#[tokio::test]
async fn redis_has_nothing_when_it_is_started_empty() {
    let server = RedisServer::start().await;
    let mut connection = connected(&server).await.expect("a connection");
    set(&mut connection, "key", "value").await.expect("it is set");
    server.restart_empty().await;
    assert_eq!(get(&server, "key").await, None);
}

#[tokio::test]
async fn redis_refuses_who_does_not_know_its_password() {
    let server = RedisServer::start_with(Some("open-sesame"), &[]).await;
    let mut connection = connected(&server).await.expect("a connection");
    set(&mut connection, "key", "value").await.expect("it is set");
    let without = format!("redis://127.0.0.1:{}", server.process.port());
    let client = redis::Client::open(without).expect("a client");
    let refused = match client.get_multiplexed_async_connection().await {
        Ok(mut connection) => set(&mut connection, "key", "other").await,
        Err(error) => Err(error),
    };
    let code = refused.as_ref().err().and_then(RedisError::code);
    assert_eq!(code, Some("NOAUTH"), "{refused:?}");
}

#[tokio::test]
async fn redis_that_is_full_refuses_writes_and_answers_reads() {
    let server = RedisServer::start_with(None, &["--maxmemory", "2mb"]).await;
    let mut connection = connected(&server).await.expect("a connection");
    set(&mut connection, "key", "value").await.expect("it is set");
    let much = "x".repeat(100_000);
    let mut refused = None;
    for number in 0..40 {
        if let Err(error) = set(&mut connection, &format!("much-{number}"), &much).await {
            refused = Some(error);
            break;
        }
    }
    let refused = refused.expect("it is full");
    assert_eq!(refused.code(), Some("OOM"), "{refused}");
    assert_eq!(get(&server, "key").await.as_deref(), Some("value"));
}

async fn sql(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

#[tokio::test]
async fn postgres_keeps_what_was_committed_when_it_is_killed() {
    let server = PostgresServer::start().await;
    let client = sql(&server.url()).await.expect("a connection");
    client.batch_execute("CREATE TABLE kept (name text UNIQUE)").await.expect("a table");
    client.execute("INSERT INTO kept VALUES ($1)", &[&"one"]).await.expect("a row");
    let again = client.execute("INSERT INTO kept VALUES ($1)", &[&"one"]).await;
    let code = again.as_ref().err().and_then(tokio_postgres::Error::code);
    assert_eq!(code, Some(&SqlState::UNIQUE_VIOLATION), "{again:?}");
    server.process.kill();
    client.execute("INSERT INTO kept VALUES ($1)", &[&"lost"]).await.expect_err("nobody is there");
    server.process.restart().await;
    let client = sql(&server.url()).await.expect("a connection");
    let rows = client.query("SELECT name FROM kept", &[]).await.expect("the rows");
    let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(names, ["one"]);
}

#[tokio::test]
async fn postgres_refuses_a_wrong_password() {
    let server = PostgresServer::start().await;
    let refused = sql(&server.url_with_wrong_password()).await.map(|_| "connected");
    let code = refused.as_ref().err().and_then(tokio_postgres::Error::code);
    assert_eq!(code, Some(&SqlState::INVALID_PASSWORD), "{refused:?}");
}

#[tokio::test]
async fn postgres_that_is_frozen_answers_nobody_until_it_is_thawed() {
    let server = PostgresServer::start().await;
    let client = sql(&server.url()).await.expect("a connection");
    server.process.freeze();
    let patience = Duration::from_millis(200);
    let asked = tokio::time::timeout(patience, client.query_one("SELECT 1", &[])).await;
    assert!(asked.is_err(), "it answered");
    let new = tokio::time::timeout(patience, sql(&server.url())).await;
    assert!(new.is_err(), "it took a connection");
    server.process.thaw();
    client.query_one("SELECT 1", &[]).await.expect("an answer");
}
