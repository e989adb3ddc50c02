//! The table in a real PostgreSQL: a copy of the archives that is never in their way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may panic.

#[path = "support/archive_fixture.rs"]
mod archive_fixture;
#[path = "support/servers/mod.rs"]
mod servers;
#[path = "support/store_fixture.rs"]
mod store_fixture;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use archive_fixture::*;
use servers::postgres::PostgresServer;
use store_fixture::*;
use stream_processor::archive::{ArchiveCleanup, Archiver, Database, DatabaseError, MirrorError};
use stream_processor::model::{Clock, ManualClock, Secret, SystemClock, UtcMillis};
use tokio_postgres::{Client, NoTls};

/// How long a test waits for what must come.
const LIMIT: Duration = Duration::from_secs(30);

fn database(url: &str) -> Arc<Database> {
    Arc::new(Database::new(&Secret::new(url)).unwrap())
}

async fn client(server: &PostgresServer) -> Client {
    let (client, connection) = tokio_postgres::connect(&server.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// The sessions of all rows, in order.
async fn rows(server: &PostgresServer) -> Vec<String> {
    let select = "SELECT session_id FROM deferred_transmissions ORDER BY client_id, device_id, 1";
    let rows = client(server).await.query(select, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

fn ids(firsts: &[u64]) -> Vec<String> {
    firsts.iter().map(|first| session(*first).to_string()).collect()
}

/// A device with two finished sessions, and a clock that goes by itself: the database is waited
/// for by it.
async fn camera(base: &Path) -> (Camera, Arc<dyn Clock>) {
    let camera = Camera::of(store(base));
    camera.film(8, &[4]).await;
    camera.end_session().await;
    (camera, Arc::new(SystemClock))
}

fn archiver(camera: &Camera, clock: &Arc<dyn Clock>, url: &str) -> Archiver {
    Archiver::new(camera.store.clone(), camera.settings, Arc::clone(clock), Some(database(url)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_table_is_created_and_has_what_the_archives_say() {
    let server = PostgresServer::start().await;
    let base = tempfile::tempdir().unwrap();
    let (camera, clock) = camera(base.path()).await;
    // Two at once: both find no table.
    let archivers = [0, 1].map(|_| archiver(&camera, &clock, &server.url()));
    for archiver in &archivers {
        archiver.run_device(&key()).await.unwrap();
    }
    for archiver in &archivers {
        assert!(archiver.flush(LIMIT).await);
        assert_eq!(archiver.database().unwrap().failures, 0);
    }
    let select = "SELECT * FROM deferred_transmissions ORDER BY session_id";
    let rows = client(&server).await.query(select, &[]).await.unwrap();
    assert_eq!(rows.len(), 2);
    let columns: Vec<_> = rows[0].columns().iter().map(|column| column.name()).collect();
    let contract = "client_id device_id session_id owner_client_id started_at ended_at \
                    duration_seconds first_segment_number last_segment_number segment_count \
                    archive_path status expires_at";
    assert_eq!(columns.join(" "), contract);
    let document = camera.document(&session(4)).await.unwrap();
    let row = &rows[1];
    let text = |name: &str| row.get::<_, String>(name);
    let number = |name: &str| row.get::<_, i64>(name);
    let at = |name: &str| {
        let since = row.get::<_, SystemTime>(name).duration_since(SystemTime::UNIX_EPOCH);
        UtcMillis(i64::try_from(since.unwrap().as_millis()).unwrap())
    };
    assert_eq!(text("client_id"), "client-1");
    assert_eq!(text("device_id"), "camera-1");
    assert_eq!(text("session_id"), session(4).to_string());
    assert_eq!(text("owner_client_id"), "client-1");
    assert_eq!((at("started_at"), at("ended_at")), (document.started_at, document.ended_at));
    assert_eq!(row.get::<_, f64>("duration_seconds"), 120.0);
    assert_eq!((number("first_segment_number"), number("last_segment_number")), (4, 7));
    assert_eq!(number("segment_count"), 4);
    assert_eq!(text("archive_path"), document.archive_path);
    assert_eq!(text("status"), "ready");
    assert_eq!(at("expires_at"), document.expires_at);
    assert!(!camera.ledger().await.is_behind(), "everything is confirmed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_archive_is_a_row_that_says_so_until_it_is_made() {
    let server = PostgresServer::start().await;
    let base = tempfile::tempdir().unwrap();
    let (camera, _) = camera(base.path()).await;
    let away = put_away(base.path(), 4..8);
    let archiver = camera.archiver_with(Some(database(&server.url())));
    let statuses = async || {
        assert!(archiver.flush(LIMIT).await);
        let select = "SELECT status FROM deferred_transmissions ORDER BY session_id";
        let rows = client(&server).await.query(select, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect::<Vec<String>>()
    };
    archiver.run_device(&key()).await.unwrap();
    assert_eq!(statuses().await, ["ready", "failed"]);
    away.bring_back();
    camera.advance(HOUR);
    archiver.run_device(&key()).await.unwrap();
    assert_eq!(statuses().await, ["ready", "ready"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_killed_is_never_in_the_way_and_gets_what_it_has_missed() {
    let server = PostgresServer::start().await;
    let base = tempfile::tempdir().unwrap();
    let (camera, clock) = camera(base.path()).await;
    let archiver = archiver(&camera, &clock, &server.url());
    archiver.run_device(&key()).await.unwrap();
    assert!(archiver.flush(LIMIT).await);
    assert_eq!(rows(&server).await, ids(&[0, 4]));

    server.process.kill();
    camera.film(12, &[]).await;
    camera.end_session().await;
    assert_eq!(archiver.run_device(&key()).await.unwrap().archived, 1);
    assert!(!archiver.flush(Duration::from_millis(100)).await);
    camera.film(16, &[]).await;
    camera.end_session().await;
    assert_eq!(archiver.run_device(&key()).await.unwrap().archived, 1);
    assert!(archiver.database().unwrap().failures > 0);

    server.process.restart().await;
    assert!(archiver.flush(LIMIT).await);
    assert_eq!(rows(&server).await, ids(&[0, 4, 8, 12]));
    assert!(!camera.ledger().await.is_behind());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_process_did_not_write_the_next_one_does() {
    let server = PostgresServer::start().await;
    let base = tempfile::tempdir().unwrap();
    let (camera, clock) = camera(base.path()).await;
    server.process.kill();
    let dying = archiver(&camera, &clock, &server.url());
    assert_eq!(dying.run_device(&key()).await.unwrap().archived, 2);
    drop(dying);
    assert!(camera.ledger().await.is_behind());

    server.process.restart().await;
    let next = archiver(&camera, &clock, &server.url());
    let outcome = next.run_device(&key()).await.unwrap();
    assert!(outcome.archived == 0 && outcome.database_behind);
    assert!(next.flush(LIMIT).await);
    assert_eq!(rows(&server).await, ids(&[0, 4]));
    assert!(!next.run_device(&key()).await.unwrap().database_behind);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_answer_holds_nothing_up() {
    let server = PostgresServer::start().await;
    let base = tempfile::tempdir().unwrap();
    let (camera, clock) = camera(base.path()).await;
    let archiver = archiver(&camera, &clock, &server.url());
    server.process.freeze();
    assert_eq!(archiver.run_device(&key()).await.unwrap().archived, 2);
    assert_eq!(archiver.run_device(&key()).await.unwrap().archived, 0);
    assert!(archiver.database().unwrap().waiting > 0);
    server.process.thaw();
    assert!(archiver.flush(LIMIT).await);
    assert_eq!(rows(&server).await, ids(&[0, 4]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_refuses_is_told_so_that_it_can_be_mended() {
    let server = PostgresServer::start().await;
    let wrong = server.url_with_wrong_password();
    let error = database(&wrong).devices(None).await.unwrap_err();
    assert!(matches!(error, DatabaseError::Refused(_)), "{error}");
    assert!(error.to_string().contains("password authentication failed"), "{error}");
    assert!(!error.to_string().contains("wrong@"), "{error}");

    let nowhere = server.url().replace("/postgres", "/no-such-database");
    let error = database(&nowhere).devices(None).await.unwrap_err();
    assert!(matches!(error, DatabaseError::Refused(_)), "{error}");
    assert!(error.to_string().contains("no-such-database"), "{error}");

    let encrypted = format!("{}?sslmode=require", server.url());
    let error = database(&encrypted).devices(None).await.unwrap_err();
    assert!(matches!(error, DatabaseError::Tls(_)), "{error}");

    // A table that another program made, without the uniqueness that rows are found by.
    let table = "CREATE TABLE deferred_transmissions (client_id text, device_id text)";
    client(&server).await.batch_execute(table).await.unwrap();
    let base = tempfile::tempdir().unwrap();
    let (camera, clock) = camera(base.path()).await;
    camera.run().await;
    let cleanup =
        ArchiveCleanup::new(camera.store.clone(), clock, Some(database(&server.url())), false);
    let error = cleanup.bring_up(&key(), true).await.unwrap_err();
    assert!(matches!(error, MirrorError::Database(DatabaseError::Statement(_))), "{error}");
    assert!(error.to_string().contains("deferred_transmissions"), "{error}");

    server.process.kill();
    let error = database(&server.url()).devices(None).await.unwrap_err();
    assert!(matches!(error, DatabaseError::Away(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_wrong_password_archives_are_made_all_the_same() {
    let server = PostgresServer::start().await;
    let base = tempfile::tempdir().unwrap();
    let (camera, clock) = camera(base.path()).await;
    let archiver = archiver(&camera, &clock, &server.url_with_wrong_password());
    assert_eq!(archiver.run_device(&key()).await.unwrap().archived, 2);
    while archiver.database().unwrap().failures == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(camera.archives().await, ids(&[0, 4]));
    assert!(camera.ledger().await.is_behind());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_programs_table_with_other_types_is_written_all_the_same() {
    let server = PostgresServer::start().await;
    let table = "CREATE TABLE deferred_transmissions (
        id bigserial PRIMARY KEY,
        client_id varchar(64) NOT NULL, device_id varchar(64) NOT NULL,
        session_id varchar(64) NOT NULL, owner_client_id varchar(64),
        started_at timestamptz, ended_at timestamptz, duration_seconds integer,
        first_segment_number integer, last_segment_number integer, segment_count integer,
        archive_path varchar(512), status varchar(16), expires_at timestamptz,
        created_at timestamptz DEFAULT now(),
        UNIQUE (client_id, device_id, session_id)
    )";
    client(&server).await.batch_execute(table).await.unwrap();
    let base = tempfile::tempdir().unwrap();
    let (camera, clock) = camera(base.path()).await;
    let archiver = archiver(&camera, &clock, &server.url());
    archiver.run_device(&key()).await.unwrap();
    assert!(archiver.flush(LIMIT).await);
    assert_eq!(rows(&server).await, ids(&[0, 4]));
}

/// How many connections wait for a lock.
async fn waiting_for_locks(asking: &Client) -> i64 {
    let count = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    asking.query_one(count, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_failure_is_never_put_in_the_place_of_a_newer_archive() {
    let server = PostgresServer::start().await;
    let base = tempfile::tempdir().unwrap();
    let (camera, _) = camera(base.path()).await;
    let away = put_away(base.path(), 4..8);
    let first = camera.archiver_with(Some(database(&server.url())));
    first.run_device(&key()).await.unwrap();
    assert!(first.flush(LIMIT).await);
    let asking = client(&server).await;
    let status = async || -> String {
        let select = "SELECT status FROM deferred_transmissions WHERE first_segment_number = 4";
        asking.query_one(select, &[]).await.unwrap().get(0)
    };
    assert_eq!(status().await, "failed");

    // Failed rows wait for the test on their way into the table.
    let gate = client(&server).await;
    let hold = "
        CREATE FUNCTION wait_for_the_test() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF NEW.status = 'failed' THEN PERFORM pg_advisory_lock_shared(42); END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER wait BEFORE INSERT ON deferred_transmissions
            FOR EACH ROW EXECUTE FUNCTION wait_for_the_test();
        SELECT pg_advisory_lock(42)";
    gate.batch_execute(hold).await.unwrap();
    camera.advance(HOUR);
    first.run_device(&key()).await.unwrap();
    while waiting_for_locks(&asking).await == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The row that waits says that it failed. Meanwhile another process archives the session.
    away.bring_back();
    camera.advance(HOUR);
    let second = camera.archiver_with(Some(database(&server.url())));
    assert_eq!(second.run_device(&key()).await.unwrap().archived, 1);
    while status().await != "ready" && waiting_for_locks(&asking).await < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    gate.batch_execute("SELECT pg_advisory_unlock(42)").await.unwrap();
    assert!(first.flush(LIMIT).await && second.flush(LIMIT).await);
    assert_eq!(status().await, "ready");
    assert!(!camera.ledger().await.is_behind());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_is_confirmed_only_if_its_archive_is_still_what_it_says() {
    let server = PostgresServer::start().await;
    let base = tempfile::tempdir().unwrap();
    let (camera, _) = camera(base.path()).await;
    for number in 4..8 {
        camera.lose(number).await;
    }
    // Made without the database, which has a table that keeps whoever writes to it waiting.
    let archiver = camera.archiver_with(Some(database(&server.url())));
    let gate = client(&server).await;
    database(&server.url()).devices(None).await.unwrap();
    gate.batch_execute("BEGIN; LOCK TABLE deferred_transmissions IN SHARE MODE").await.unwrap();
    archiver.run_device(&key()).await.unwrap();
    let asking = client(&server).await;
    while waiting_for_locks(&asking).await == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Another process, which dies before it tells the database.
    let segments = hls(base.path()).join("segments");
    for number in 4..8 {
        std::fs::write(segments.join(media_name(number)), segment(number).media).unwrap();
    }
    camera.advance(HOUR);
    let nowhere = "postgres://nobody@127.0.0.1:1/none";
    let other = camera.archiver_with(Some(database(nowhere)));
    assert_eq!(other.run_device(&key()).await.unwrap().archived, 1);
    drop(other);
    gate.batch_execute("COMMIT").await.unwrap();
    assert!(archiver.flush(LIMIT).await);
    let statuses = "SELECT status FROM deferred_transmissions ORDER BY first_segment_number";
    let rows = asking.query(statuses, &[]).await.unwrap();
    let statuses: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(statuses, ["ready", "ready"]);
    assert!(!camera.ledger().await.is_behind());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_another_storage_than_the_archives_no_row_is_touched() {
    let server = PostgresServer::start().await;
    let base = tempfile::tempdir().unwrap();
    let (camera, _) = camera(base.path()).await;
    let archiver = camera.archiver_with(Some(database(&server.url())));
    archiver.run_device(&key()).await.unwrap();
    assert!(archiver.flush(LIMIT).await);
    // All of them have expired, by the machine's clock.
    let (empty, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::create_dir_all(other.path().join("client_ids/client-2/device_id/camera-9")).unwrap();
    for wrong in [empty.path(), other.path()] {
        let (code, log) = command(wrong, &server.url(), &["--rebuild-database"]);
        assert_eq!(code, Some(1), "{log}");
        for said in ["client-1/camera-1", "STORAGE_BASE_PATH", "by hand"] {
            assert!(log.contains(said), "{log}");
        }
        let (code, log) = command(wrong, &server.url(), &[]);
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains("STORAGE_BASE_PATH"), "{log}");
        assert_eq!(rows(&server).await, ids(&[0, 4]));
    }
}

/// The command with the table of `url`; its exit code, and what it says.
fn command(base: &Path, url: &str, args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_stream-processor"))
        .arg("archive-cleanup")
        .args(args)
        .env_clear()
        .env("STORAGE_BASE_PATH", base)
        .env("METRICS_ENABLED", "false")
        .env("ARCHIVE_DATABASE_URL", url)
        .current_dir(base)
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_table_is_written_anew_from_the_archives() {
    let server = PostgresServer::start().await;
    let base = tempfile::tempdir().unwrap();
    let (camera, _) = camera(base.path()).await;
    // Made without a database, by the machine's clock, so that they have not expired.
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    Camera { clock, ..camera.clone() }.run().await;
    let (code, log) = command(base.path(), &server.url(), &["--rebuild-database"]);
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(rows(&server).await, ids(&[0, 4]));
    // A row is wrong, one is missing, one is of an archive and one of a device that is not there.
    let damage = "
        UPDATE deferred_transmissions SET segment_count = 99 WHERE first_segment_number = 0;
        DELETE FROM deferred_transmissions WHERE first_segment_number = 4;
        INSERT INTO deferred_transmissions SELECT client_id, device_id, 'x', owner_client_id,
            started_at, ended_at, duration_seconds, 8, 9, 2, archive_path, status, expires_at
            FROM deferred_transmissions;
        INSERT INTO deferred_transmissions SELECT client_id, 'gone', session_id, owner_client_id,
            started_at, ended_at, duration_seconds, 8, 9, 2, archive_path, status, expires_at
            FROM deferred_transmissions";
    client(&server).await.batch_execute(damage).await.unwrap();
    assert_eq!(rows(&server).await.len(), 4);
    let (code, log) = command(base.path(), &server.url(), &["--rebuild-database"]);
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(rows(&server).await, ids(&[0, 4]));
    let counts = "SELECT segment_count FROM deferred_transmissions";
    let counts = client(&server).await.query(counts, &[]).await.unwrap();
    assert!(counts.iter().all(|row| row.get::<_, i64>(0) == 4));
    let devices = base.path().join("client_ids/client-1/device_id");
    assert_eq!(std::fs::read_dir(devices).unwrap().count(), 1, "no device came into being");

    let wrong = server.url_with_wrong_password();
    let (code, log) = command(base.path(), &wrong, &["--rebuild-database"]);
    assert_eq!(code, Some(1));
    assert!(log.contains("password authentication failed"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_archives_that_went_by_other_ways_go_when_they_expire_or_the_device_is_reset() {
    let server = PostgresServer::start().await;
    let base = tempfile::tempdir().unwrap();
    let (camera, _) = camera(base.path()).await;
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let camera = Camera { clock, ..camera };
    let archiver = camera.archiver_with(Some(database(&server.url())));
    archiver.run_device(&key()).await.unwrap();
    assert!(archiver.flush(LIMIT).await);
    std::fs::remove_dir_all(archives_folder(base.path()).join(session(4).as_str())).unwrap();
    let (code, log) = command(base.path(), &server.url(), &[]);
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(rows(&server).await, ids(&[0, 4]), "its time is not over");
    let expire = "UPDATE deferred_transmissions SET expires_at = now() - interval '1 hour'";
    client(&server).await.batch_execute(expire).await.unwrap();
    let (code, log) = command(base.path(), &server.url(), &[]);
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(rows(&server).await, ids(&[0]), "an archive that is there keeps its row");

    let reset = Command::new(env!("CARGO_BIN_EXE_stream-processor"))
        .args(["reset-device", "client-1", "camera-1", "--with-archives", "--force"])
        .env_clear()
        .env("STORAGE_BASE_PATH", base.path())
        .env("ARCHIVE_DATABASE_URL", server.url())
        .current_dir(base.path())
        .output()
        .unwrap();
    assert!(reset.status.success(), "{reset:?}");
    assert!(rows(&server).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_archives_row_goes_with_it_also_when_the_database_was_away() {
    let server = PostgresServer::start().await;
    let base = tempfile::tempdir().unwrap();
    let (camera, _) = camera(base.path()).await;
    let archiver = camera.archiver_with(Some(database(&server.url())));
    archiver.run_device(&key()).await.unwrap();
    assert!(archiver.flush(LIMIT).await);
    assert_eq!(rows(&server).await.len(), 2);

    camera.advance(8 * DAY);
    let cleanup = ArchiveCleanup::new(
        camera.store.clone(),
        camera.clock.clone(),
        Some(database(&server.url())),
        false,
    );
    server.process.kill();
    assert_eq!(cleanup.sweep(&key()).await.unwrap().expired, 2);
    cleanup.bring_up(&key(), false).await.unwrap_err();
    let (code, log) = command(base.path(), &server.url(), &[]);
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("later runs see to them"), "{log}");

    server.process.restart().await;
    assert_eq!(rows(&server).await.len(), 2);
    let (code, log) = command(base.path(), &server.url(), &[]);
    assert_eq!(code, Some(0), "{log}");
    assert!(rows(&server).await.is_empty());
}
