//! Finished sessions kept as video on demand.

use std::time::Duration;

use super::reader::Reader;
use super::setting::{Setting, Takes};
use crate::archive::database_url;
use crate::model::Secret;

static ENABLED: Setting = Setting {
    variable: "ARCHIVE_ENABLED",
    flag: "archive-enabled",
    default: Some("true"),
    takes: Takes::Bool,
    secret: false,
    help: "Whether finished sessions are kept.",
};

static RETENTION_DAYS: Setting = Setting {
    variable: "ARCHIVE_RETENTION_DAYS",
    flag: "archive-retention-days",
    default: Some("7"),
    takes: Takes::Integer { min: 1, max: 3_650 },
    secret: false,
    help: "How long an archive is kept, in days.",
};

static MIN_SESSION_DURATION_SECONDS: Setting = Setting {
    variable: "ARCHIVE_MIN_SESSION_DURATION_SECONDS",
    flag: "archive-min-session-duration-seconds",
    default: Some("60"),
    takes: Takes::Integer { min: 0, max: 604_800 },
    secret: false,
    help: "Sessions shorter than this are not kept, in seconds.",
};

static OFFLINE_THRESHOLD_SECONDS: Setting = Setting {
    variable: "ARCHIVE_OFFLINE_THRESHOLD_SECONDS",
    flag: "archive-offline-threshold-seconds",
    default: Some("60"),
    takes: Takes::Integer { min: 10, max: 86_400 },
    secret: false,
    help: "After how long without frames a session is over, in seconds. Keep it above a few \
           times the seconds between two frames.",
};

static MAX_SESSION_DURATION_SECONDS: Setting = Setting {
    variable: "ARCHIVE_MAX_SESSION_DURATION_SECONDS",
    flag: "archive-max-session-duration-seconds",
    default: Some("7200"),
    takes: Takes::Integer { min: 0, max: 604_800 },
    secret: false,
    help: "When a session that goes on is cut and a new one begun, in seconds; 0 is never.",
};

static DATABASE_URL: Setting = Setting {
    variable: "ARCHIVE_DATABASE_URL",
    flag: "archive-database-url",
    default: None,
    takes: Takes::UrlWithPassword(&["postgres", "postgresql"]),
    secret: true,
    help: "PostgreSQL to copy the list of archives to, for example \
           postgres://user:password@host/name. With TLS where the server has it, or as sslmode= \
           says: disable, prefer, require. Never shown.",
};

/// The table of this concern.
pub(super) static SETTINGS: &[&Setting] = &[
    &ENABLED,
    &RETENTION_DAYS,
    &MIN_SESSION_DURATION_SECONDS,
    &OFFLINE_THRESHOLD_SECONDS,
    &MAX_SESSION_DURATION_SECONDS,
    &DATABASE_URL,
];

/// Finished sessions.
#[derive(Clone, Debug)]
pub struct ArchiveConfig {
    /// Whether they are kept.
    pub enabled: bool,
    /// How long.
    pub retention_days: u32,
    /// Shorter ones are not.
    pub min_session_duration: Duration,
    /// After which silence a session is over.
    pub offline_threshold: Duration,
    /// When one that goes on is cut; `None` is never.
    pub max_session_duration: Option<Duration>,
    /// Where the list of archives is copied to, password included.
    pub database_url: Option<Secret>,
}

/// Reads this concern's settings.
pub(super) fn read(reader: &mut Reader<'_>) -> ArchiveConfig {
    let min_secs: u64 = reader.integer(&MIN_SESSION_DURATION_SECONDS);
    let max_secs: u64 = reader.integer(&MAX_SESSION_DURATION_SECONDS);
    reader.rule(
        &[&MIN_SESSION_DURATION_SECONDS, &MAX_SESSION_DURATION_SECONDS],
        max_secs == 0 || min_secs <= max_secs,
        || {
            format!(
                "{} ({min_secs}) must not be above {} ({max_secs}), or nothing would be kept",
                MIN_SESSION_DURATION_SECONDS.variable, MAX_SESSION_DURATION_SECONDS.variable
            )
        },
    );
    let database_url = reader.secret(&DATABASE_URL);
    if let Some(error) = database_url.as_ref().and_then(|url| database_url::read(url).err()) {
        reader.rule(&[&DATABASE_URL], false, || error.to_string());
    }
    ArchiveConfig {
        enabled: reader.bool(&ENABLED),
        retention_days: reader.integer(&RETENTION_DAYS),
        min_session_duration: Duration::from_secs(min_secs),
        offline_threshold: Duration::from_secs(reader.integer(&OFFLINE_THRESHOLD_SECONDS)),
        max_session_duration: (max_secs > 0).then(|| Duration::from_secs(max_secs)),
        database_url,
    }
}
