//! The table `deferred_transmissions` in PostgreSQL: a copy of what the archives say, for other
//! software to ask. Owns the connection and the statements; knows nothing of storages.
//!
//! Statements are sent with their types and without being prepared, so that a connection pooler
//! between us and the server does no harm. They name no schema: the table is where the user's
//! `search_path` leads.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::{ClientConfig, RootCertStore};
use sha2::{Digest, Sha256};
use tokio::sync::{Mutex, MutexGuard};
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::database_url::{self, UrlError};
use super::document::Document;
use crate::model::{DeviceKey, Secret, SessionId, UtcMillis, causes};

/// How long the server may take to let us in, where the URL does not say it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it may take for a statement.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(15);
/// How many rows go with one statement.
const ROWS_AT_ONCE: usize = 500;

const FIND_TABLE: &str = "SELECT to_regclass('deferred_transmissions') IS NOT NULL";

const CREATE_TABLE: &str = "\
CREATE TABLE IF NOT EXISTS deferred_transmissions (
    client_id text NOT NULL,
    device_id text NOT NULL,
    session_id text NOT NULL,
    owner_client_id text NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at timestamptz NOT NULL,
    duration_seconds double precision NOT NULL,
    first_segment_number bigint NOT NULL,
    last_segment_number bigint NOT NULL,
    segment_count bigint NOT NULL,
    archive_path text NOT NULL,
    status text NOT NULL CHECK (status IN ('ready', 'failed')),
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (client_id, device_id, session_id)
)";

const PUT: &str = "\
INSERT INTO deferred_transmissions (
    client_id, device_id, session_id, owner_client_id, started_at, ended_at, duration_seconds,
    first_segment_number, last_segment_number, segment_count, archive_path, status, expires_at
)
SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
ON CONFLICT (client_id, device_id, session_id) DO UPDATE SET
    owner_client_id = excluded.owner_client_id,
    started_at = excluded.started_at,
    ended_at = excluded.ended_at,
    duration_seconds = excluded.duration_seconds,
    first_segment_number = excluded.first_segment_number,
    last_segment_number = excluded.last_segment_number,
    segment_count = excluded.segment_count,
    archive_path = excluded.archive_path,
    status = excluded.status,
    expires_at = excluded.expires_at";

const REMOVE: &str = "\
DELETE FROM deferred_transmissions
WHERE client_id = $1 AND device_id = $2 AND session_id = ANY($3)";

const SESSIONS: &str = "\
SELECT session_id::text FROM deferred_transmissions WHERE client_id = $1 AND device_id = $2";

const DEVICES: &str = "\
SELECT DISTINCT client_id::text, device_id::text FROM deferred_transmissions
WHERE $1::timestamptz IS NULL OR expires_at <= $1";

/// Each statement sees what was committed before it, also before the one that waits for the lock.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// Why the table could not be read or written. None of them holds the password.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The setting is not one.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// No server, no network, or no answer in time.
    #[error("the archive database does not answer: {0}")]
    Away(String),
    /// The server has no TLS, or a certificate that this machine does not trust.
    #[error(
        "TLS with the archive database fails: {0}; name the file of its certificate's authority \
         in SSL_CERT_FILE, or put sslmode=disable into ARCHIVE_DATABASE_URL where the network \
         itself is trusted"
    )]
    Tls(String),
    /// Wrong user, wrong password, or not from here.
    #[error("the archive database lets nobody in with ARCHIVE_DATABASE_URL's user: {0}")]
    Refused(String),
    /// The server says no to a statement.
    #[error(
        "the archive database refuses: {0}; the user of ARCHIVE_DATABASE_URL needs the table \
         deferred_transmissions, or the right to create it, and to select, insert, update and \
         delete in it"
    )]
    Statement(String),
}

impl DatabaseError {
    /// What the client says, put so that a person can act on it.
    fn of(error: &tokio_postgres::Error) -> Self {
        let said = causes(error);
        let Some(database) = error.as_db_error() else {
            return if said.contains("TLS") || said.contains("certificate") {
                Self::Tls(said)
            } else {
                Self::Away(said)
            };
        };
        let (code, message) = (database.code(), database.message());
        let said = format!("{message} (SQLSTATE {})", code.code());
        // Classes of PostgreSQL's appendix A: 28 is authorization, 08 connections, 53 resources,
        // 57 an operator's intervention.
        match code.code().get(..2) {
            Some("28") => Self::Refused(said),
            Some("08" | "53" | "57") => Self::Away(said),
            _ if *code == SqlState::INVALID_CATALOG_NAME => Self::Refused(said),
            _ => Self::Statement(said),
        }
    }
}

/// The table. One statement, or one device's rows, at a time.
pub struct Database {
    config: Config,
    tls: MakeRustlsConnect,
    client: Mutex<Option<Client>>,
}

impl Database {
    /// The table of the database that `url` names. Nothing is asked of it yet.
    ///
    /// # Errors
    /// [`DatabaseError::Url`].
    pub fn new(url: &Secret) -> Result<Self, DatabaseError> {
        let mut config = database_url::read(url)?;
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if config.get_application_name().is_none() {
            config.application_name("stream-processor");
        }
        let tls = trust(config.get_ssl_mode());
        Ok(Self { config, tls, client: Mutex::new(None) })
    }

    /// Begins to change a device's rows. Until that is done nobody else changes them: other
    /// processes that begin wait for it.
    ///
    /// # Errors
    /// [`DatabaseError`]; nothing has changed.
    pub(super) async fn begin(&self, key: &DeviceKey) -> Result<DeviceRows<'_>, DatabaseError> {
        let (slot, client) = self.connected().await?;
        // Advisory locks of a transaction (PostgreSQL's manual, section 13.3.5): they go with it
        // or with the connection, and a pooler between us and the server does not part them.
        let begin = format!("{BEGIN}; SELECT pg_advisory_xact_lock({})", lock_number(key));
        in_time(client.batch_execute(&begin)).await?;
        Ok(DeviceRows { slot, client, key: key.clone() })
    }

    /// The devices that have rows, or rows that have expired by `expired`. What is no device's
    /// name is none.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn devices(
        &self,
        expired: Option<UtcMillis>,
    ) -> Result<Vec<DeviceKey>, DatabaseError> {
        let expired = expired.map(system_time);
        let parameters: [(&(dyn ToSql + Sync), Type); 1] = [(&expired, Type::TIMESTAMPTZ)];
        let rows = self.query(DEVICES, &parameters).await?;
        let text = |row: &tokio_postgres::Row, at| row.try_get::<_, String>(at).ok();
        let keys =
            rows.iter().filter_map(|row| DeviceKey::new(&text(row, 0)?, &text(row, 1)?).ok());
        Ok(keys.collect())
    }

    async fn query(
        &self,
        statement: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<tokio_postgres::Row>, DatabaseError> {
        let (mut slot, client) = self.connected().await?;
        let rows = in_time(client.query_typed(statement, parameters)).await?;
        *slot = Some(client);
        Ok(rows)
    }

    /// A connection that stands, taken out of its place: whoever has an answer from it puts it
    /// back. After an error it is not used again.
    async fn connected(&self) -> Result<(MutexGuard<'_, Option<Client>>, Client), DatabaseError> {
        let mut slot = self.client.lock().await;
        if let Some(client) = slot.take().filter(|client| !client.is_closed()) {
            return Ok((slot, client));
        }
        let (client, connection) = in_time(self.config.connect(self.tls.clone())).await?;
        // It ends with the client; what goes wrong with it is told to whoever asks next.
        tokio::spawn(connection);
        if !has_table(&client).await? {
            match in_time(client.execute_typed(CREATE_TABLE, &[])).await {
                Ok(_) => tracing::info!("the table deferred_transmissions is created"),
                // PostgreSQL looks, then creates: another process may have come in between.
                Err(_) if has_table(&client).await? => {}
                Err(error) => return Err(error),
            }
        }
        Ok((slot, client))
    }
}

/// A device's rows, which nobody else changes meanwhile. Dropped before they are replaced, they
/// are as they were.
pub(super) struct DeviceRows<'a> {
    slot: MutexGuard<'a, Option<Client>>,
    client: Client,
    key: DeviceKey,
}

impl DeviceRows<'_> {
    /// The sessions of the device that have a row. What is no session's name is none.
    ///
    /// # Errors
    /// [`DatabaseError`]; nothing has changed.
    pub async fn sessions(self) -> Result<(Self, Vec<SessionId>), DatabaseError> {
        let (client, device) = (self.key.client.as_str(), self.key.device.as_str());
        let parameters: [(&(dyn ToSql + Sync), Type); 2] =
            [(&client, Type::TEXT), (&device, Type::TEXT)];
        let rows = in_time(self.client.query_typed(SESSIONS, &parameters)).await?;
        let ids = rows.iter().filter_map(|row| row.try_get::<_, String>(0).ok());
        let ids = ids.filter_map(|id| SessionId::new(&id).ok()).collect();
        Ok((self, ids))
    }

    /// Writes the rows of these archives, in the place of those that there are, and removes those
    /// of the sessions `gone`.
    ///
    /// # Errors
    /// [`DatabaseError`]; either all of it is done or nothing.
    pub async fn replace(
        mut self,
        documents: &[Document],
        gone: &[SessionId],
    ) -> Result<(), DatabaseError> {
        for some in documents.chunks(ROWS_AT_ONCE) {
            let rows = Rows::of(some);
            in_time(self.client.execute_typed(PUT, &rows.parameters())).await?;
        }
        for some in gone.chunks(ROWS_AT_ONCE) {
            let ids: Vec<&str> = some.iter().map(SessionId::as_str).collect();
            let (client, device) = (self.key.client.as_str(), self.key.device.as_str());
            let parameters: [(&(dyn ToSql + Sync), Type); 3] =
                [(&client, Type::TEXT), (&device, Type::TEXT), (&ids, Type::TEXT_ARRAY)];
            in_time(self.client.execute_typed(REMOVE, &parameters)).await?;
        }
        in_time(self.client.batch_execute("COMMIT")).await?;
        *self.slot = Some(self.client);
        Ok(())
    }
}

/// What a device's lock is called in the database: the same in every process.
fn lock_number(key: &DeviceKey) -> i64 {
    let hash = Sha256::digest(format!("stream-processor {key}"));
    hash.iter().take(8).fold(0, |number, byte| number << 8 | i64::from(*byte))
}

/// Who may write to the table but create none must not be asked to.
async fn has_table(client: &Client) -> Result<bool, DatabaseError> {
    let row = in_time(client.query_typed_one(FIND_TABLE, &[])).await?;
    Ok(row.try_get(0).unwrap_or(false))
}

async fn in_time<T>(
    answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, DatabaseError> {
    match tokio::time::timeout(STATEMENT_TIMEOUT, answer).await {
        Ok(answer) => answer.map_err(|error| DatabaseError::of(&error)),
        Err(_) => Err(DatabaseError::Away(format!("nothing came in {STATEMENT_TIMEOUT:?}"))),
    }
}

/// The authorities that this machine trusts, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`.
fn trust(ssl_mode: SslMode) -> MakeRustlsConnect {
    // Whoever was first has installed the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    if ssl_mode != SslMode::Disable {
        match MakeRustlsConnect::with_native_certs() {
            Ok((tls, _)) => return tls,
            Err(errors) => tracing::warn!(?errors, "this machine trusts no certificate authority"),
        }
    }
    let none = RootCertStore::empty();
    MakeRustlsConnect::new(
        ClientConfig::builder().with_root_certificates(none).with_no_client_auth(),
    )
}

/// Rows, column by column.
#[derive(Default)]
struct Rows<'a> {
    clients: Vec<&'a str>,
    devices: Vec<&'a str>,
    sessions: Vec<&'a str>,
    owners: Vec<&'a str>,
    started: Vec<SystemTime>,
    ended: Vec<SystemTime>,
    durations_secs: Vec<f64>,
    first_numbers: Vec<i64>,
    last_numbers: Vec<i64>,
    counts: Vec<i64>,
    paths: Vec<&'a str>,
    statuses: Vec<&'a str>,
    expire: Vec<SystemTime>,
}

impl<'a> Rows<'a> {
    fn of(documents: &'a [Document]) -> Self {
        let mut rows = Self::default();
        for document in documents {
            rows.clients.push(document.client_id.as_str());
            rows.devices.push(document.device_id.as_str());
            rows.sessions.push(document.session_id.as_str());
            rows.owners.push(document.owner_client_id.as_str());
            rows.started.push(system_time(document.started_at));
            rows.ended.push(system_time(document.ended_at));
            rows.durations_secs.push(document.duration_seconds);
            rows.first_numbers.push(bigint(document.first_segment_number));
            rows.last_numbers.push(bigint(document.last_segment_number));
            rows.counts.push(bigint(document.segment_count));
            rows.paths.push(&document.archive_path);
            rows.statuses.push(document.status.as_str());
            rows.expire.push(system_time(document.expires_at));
        }
        rows
    }

    fn parameters(&self) -> [(&(dyn ToSql + Sync), Type); 13] {
        [
            (&self.clients, Type::TEXT_ARRAY),
            (&self.devices, Type::TEXT_ARRAY),
            (&self.sessions, Type::TEXT_ARRAY),
            (&self.owners, Type::TEXT_ARRAY),
            (&self.started, Type::TIMESTAMPTZ_ARRAY),
            (&self.ended, Type::TIMESTAMPTZ_ARRAY),
            (&self.durations_secs, Type::FLOAT8_ARRAY),
            (&self.first_numbers, Type::INT8_ARRAY),
            (&self.last_numbers, Type::INT8_ARRAY),
            (&self.counts, Type::INT8_ARRAY),
            (&self.paths, Type::TEXT_ARRAY),
            (&self.statuses, Type::TEXT_ARRAY),
            (&self.expire, Type::TIMESTAMPTZ_ARRAY),
        ]
    }
}

fn bigint(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn system_time(at: UtcMillis) -> SystemTime {
    let distance = Duration::from_millis(at.0.unsigned_abs());
    if at.0 < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_before_1970_are_instants_too() {
        let at = system_time(UtcMillis(-1_500));
        assert_eq!(UNIX_EPOCH.duration_since(at).unwrap(), Duration::from_millis(1_500));
    }
}
