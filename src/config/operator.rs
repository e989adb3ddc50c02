//! The operator: which namespaces it looks after, who leads, how often it looks.

use std::time::Duration;

use super::reader::Reader;
use super::setting::{Setting, Takes};

static NAMESPACES: Setting = Setting {
    variable: "OPERATOR_NAMESPACES",
    flag: "operator-namespaces",
    default: None,
    takes: Takes::Text,
    secret: false,
    help: "The namespaces whose StreamProcessor objects are looked after, with commas between \
           them. Without it all, which needs a ClusterRoleBinding.",
};

static IMAGE: Setting = Setting {
    variable: "OPERATOR_IMAGE",
    flag: "operator-image",
    default: Some(concat!("ghcr.io/microboxlabs/stream-processor:", env!("CARGO_PKG_VERSION"))),
    takes: Takes::Text,
    secret: false,
    help: "The image of workers whose StreamProcessor names none: the operator's own, so that an \
           upgrade of it upgrades them.",
};

static LEADER_ELECTION: Setting = Setting {
    variable: "OPERATOR_LEADER_ELECTION",
    flag: "operator-leader-election",
    default: Some("true"),
    takes: Takes::Bool,
    secret: false,
    help: "Whether one of several operators leads, and the others stand by. Switch it off only \
           where there is never a second one.",
};

static LEASE_NAME: Setting = Setting {
    variable: "OPERATOR_LEASE_NAME",
    flag: "operator-lease-name",
    default: Some("stream-processor-operator"),
    takes: Takes::Name,
    secret: false,
    help: "The Lease that the leader holds.",
};

static LEASE_NAMESPACE: Setting = Setting {
    variable: "OPERATOR_LEASE_NAMESPACE",
    flag: "operator-lease-namespace",
    default: None,
    takes: Takes::Name,
    secret: false,
    help: "The namespace of the Lease. Without it the operator's own.",
};

static LEASE_SECONDS: Setting = Setting {
    variable: "OPERATOR_LEASE_SECONDS",
    flag: "operator-lease-seconds",
    default: Some("15"),
    takes: Takes::Integer { min: 3, max: 300 },
    secret: false,
    help: "For how long a leader that says nothing is waited for, in seconds. It renews three \
           times as often, and stops by itself after two thirds of it without an answer.",
};

static IDENTITY: Setting = Setting {
    variable: "OPERATOR_IDENTITY",
    flag: "operator-identity",
    default: None,
    takes: Takes::Name,
    secret: false,
    help: "How this operator is called in the Lease and in events. Without it the host name, \
           which in Kubernetes is the pod's.",
};

static CONCURRENCY: Setting = Setting {
    variable: "OPERATOR_CONCURRENCY",
    flag: "operator-concurrency",
    default: Some("4"),
    takes: Takes::Integer { min: 1, max: 64 },
    secret: false,
    help: "How many StreamProcessor objects are worked on at the same time.",
};

static BACKLOG_SECONDS: Setting = Setting {
    variable: "OPERATOR_BACKLOG_SECONDS",
    flag: "operator-backlog-seconds",
    default: Some("15"),
    takes: Takes::Integer { min: 1, max: 3_600 },
    secret: false,
    help: "How often Pulsar's admin interface is asked what waits, in seconds.",
};

static STATUS_SECONDS: Setting = Setting {
    variable: "OPERATOR_STATUS_SECONDS",
    flag: "operator-status-seconds",
    default: Some("5"),
    takes: Takes::Integer { min: 1, max: 600 },
    secret: false,
    help: "How long what workers say of their devices is gathered before it is summed up in the \
           StreamProcessor's status, in seconds.",
};

static API_TIMEOUT_SECONDS: Setting = Setting {
    variable: "OPERATOR_API_TIMEOUT_SECONDS",
    flag: "operator-api-timeout-seconds",
    default: Some("30"),
    takes: Takes::Integer { min: 1, max: 300 },
    secret: false,
    help: "How long the API server may take for an answer, in seconds. What it tells of changes \
           is asked for anew after four times as long.",
};

/// The table of this concern.
pub(super) static SETTINGS: &[&Setting] = &[
    &NAMESPACES,
    &IMAGE,
    &LEADER_ELECTION,
    &LEASE_NAME,
    &LEASE_NAMESPACE,
    &LEASE_SECONDS,
    &IDENTITY,
    &CONCURRENCY,
    &BACKLOG_SECONDS,
    &STATUS_SECONDS,
    &API_TIMEOUT_SECONDS,
];

/// The operator.
#[derive(Clone, Debug)]
pub struct OperatorConfig {
    /// Which namespaces it looks after; none is all.
    pub namespaces: Vec<String>,
    /// The image of workers whose object names none.
    pub image: String,
    /// Whether it waits to be the leader.
    pub leader_election: bool,
    /// The Lease.
    pub lease_name: String,
    /// Its namespace; without it the operator's own.
    pub lease_namespace: Option<String>,
    /// For how long a silent leader is waited for.
    pub lease: Duration,
    /// How this operator is called.
    pub identity: String,
    /// How many objects are worked on at the same time.
    pub concurrency: u16,
    /// How often the admin interface is asked.
    pub backlog_interval: Duration,
    /// How long news of devices is gathered.
    pub status_interval: Duration,
    /// How long the API server may take for an answer.
    pub api_timeout: Duration,
}

/// Reads this concern's settings.
pub(super) fn read(reader: &mut Reader<'_>, host_name: &str) -> OperatorConfig {
    let text = reader.optional(&NAMESPACES).unwrap_or_default();
    let mut namespaces: Vec<String> =
        text.split(',').map(str::trim).filter(|n| !n.is_empty()).map(str::to_owned).collect();
    namespaces.sort_unstable();
    namespaces.dedup();
    let are_names = namespaces.iter().all(|name| is_namespace(name));
    reader.rule(&[&NAMESPACES], are_names, || {
        format!(
            "{} takes names of namespaces with commas between them, such as cameras,staging; the \
             environment or a flag says {text:?}",
            NAMESPACES.variable
        )
    });
    OperatorConfig {
        namespaces,
        image: reader.text(&IMAGE),
        leader_election: reader.bool(&LEADER_ELECTION),
        lease_name: reader.text(&LEASE_NAME),
        lease_namespace: reader.optional(&LEASE_NAMESPACE),
        lease: Duration::from_secs(reader.integer(&LEASE_SECONDS)),
        identity: reader.optional(&IDENTITY).unwrap_or_else(|| host_name.to_owned()),
        concurrency: reader.integer(&CONCURRENCY),
        backlog_interval: Duration::from_secs(reader.integer(&BACKLOG_SECONDS)),
        status_interval: Duration::from_secs(reader.integer(&STATUS_SECONDS)),
        api_timeout: Duration::from_secs(reader.integer(&API_TIMEOUT_SECONDS)),
    }
}

/// An RFC 1123 label, as namespaces are named.
fn is_namespace(name: &str) -> bool {
    name.len() <= 63
        && !name.starts_with('-')
        && !name.ends_with('-')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}
