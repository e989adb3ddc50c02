//! Metrics and health: where they are served.

use std::net::SocketAddr;

use super::reader::Reader;
use super::setting::{Setting, Takes};

static ENABLED: Setting = Setting {
    variable: "METRICS_ENABLED",
    flag: "metrics-enabled",
    default: Some("true"),
    takes: Takes::Bool,
    secret: false,
    help: "Whether metrics and health are served over HTTP.",
};

static ADDRESS: Setting = Setting {
    variable: "METRICS_ADDRESS",
    flag: "metrics-address",
    default: Some("0.0.0.0"),
    takes: Takes::Address,
    secret: false,
    help: "The address that they are served on; 127.0.0.1 for this machine only.",
};

static PORT: Setting = Setting {
    variable: "METRICS_PORT",
    flag: "metrics-port",
    default: Some("9090"),
    takes: Takes::Integer { min: 0, max: 65_535 },
    secret: false,
    help: "The port that they are served on: /metrics, /healthz, /readyz. 0 is any free one, \
           which the log then names.",
};

/// The table of this concern.
pub(super) static SETTINGS: &[&Setting] = &[&ENABLED, &ADDRESS, &PORT];

/// Where metrics and health are served.
#[derive(Clone, Debug)]
pub struct MetricsConfig {
    /// Whether they are.
    pub enabled: bool,
    /// Where to listen; port 0 is any free one.
    pub listen: SocketAddr,
}

/// Reads this concern's settings.
pub(super) fn read(reader: &mut Reader<'_>) -> MetricsConfig {
    MetricsConfig {
        enabled: reader.bool(&ENABLED),
        listen: SocketAddr::new(reader.address(&ADDRESS), reader.integer(&PORT)),
    }
}
