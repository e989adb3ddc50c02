//! `spec.archive`: finished sessions kept as video on demand.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::UrlSecretRef;

/// Finished sessions kept as video on demand.
#[derive(KubeSchema, Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "self.maxSessionDurationSeconds == 0 || self.minSessionDurationSeconds <= self.maxSessionDurationSeconds"
).message(
    "no session would be kept: write archive.minSessionDurationSeconds at most as large as maxSessionDurationSeconds, or maxSessionDurationSeconds: 0 for no limit"
))]
pub struct ArchiveSpec {
    /// Whether finished sessions are kept. When it is switched off, what was kept before stays
    /// until it is switched on again or archive-cleanup is run by hand.
    #[serde(default = "enabled")]
    pub enabled: bool,
    /// How long an archive is kept, in days.
    #[schemars(range(min = 1, max = 3650))]
    #[serde(default = "retention_days")]
    pub retention_days: i32,
    /// After how many seconds without frames a session is over. Above a few times the seconds
    /// between two frames.
    #[schemars(range(min = 10, max = 86400))]
    #[serde(default = "offline_threshold_seconds")]
    pub offline_threshold_seconds: i32,
    /// Sessions shorter than this are not kept, in seconds.
    #[schemars(range(min = 0, max = 604_800))]
    #[serde(default = "min_session_duration_seconds")]
    pub min_session_duration_seconds: i32,
    /// When a session that goes on is cut and a new one begun, in seconds; 0 is never.
    #[schemars(range(min = 0, max = 604_800))]
    #[serde(default = "max_session_duration_seconds")]
    pub max_session_duration_seconds: i32,
    /// The secret with the URL of a PostgreSQL that the list of archives is copied to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database_secret_ref: Option<UrlSecretRef>,
}

impl Default for ArchiveSpec {
    fn default() -> Self {
        Self {
            enabled: enabled(),
            retention_days: retention_days(),
            offline_threshold_seconds: offline_threshold_seconds(),
            min_session_duration_seconds: min_session_duration_seconds(),
            max_session_duration_seconds: max_session_duration_seconds(),
            database_secret_ref: None,
        }
    }
}

fn enabled() -> bool {
    true
}

fn retention_days() -> i32 {
    7
}

fn offline_threshold_seconds() -> i32 {
    60
}

fn min_session_duration_seconds() -> i32 {
    60
}

fn max_session_duration_seconds() -> i32 {
    7_200
}
