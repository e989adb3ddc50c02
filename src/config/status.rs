//! How devices are, told to Kubernetes: whose worker this is.

use std::time::Duration;

use super::reader::Reader;
use super::setting::{Setting, Takes};

static PROCESSOR: Setting = Setting {
    variable: "STATUS_PROCESSOR",
    flag: "status-processor",
    default: None,
    takes: Takes::Name,
    secret: false,
    help: "The StreamProcessor object that this worker belongs to. With it the worker writes how \
           its devices are into DeviceSlice objects; the operator sets this and what follows.",
};

static POD_NAME: Setting = Setting {
    variable: "STATUS_POD_NAME",
    flag: "status-pod-name",
    default: None,
    takes: Takes::Name,
    secret: false,
    help: "The worker's pod. Needed with STATUS_PROCESSOR.",
};

static POD_NAMESPACE: Setting = Setting {
    variable: "STATUS_POD_NAMESPACE",
    flag: "status-pod-namespace",
    default: None,
    takes: Takes::Name,
    secret: false,
    help: "The pod's namespace. Needed with STATUS_PROCESSOR.",
};

static POD_UID: Setting = Setting {
    variable: "STATUS_POD_UID",
    flag: "status-pod-uid",
    default: None,
    takes: Takes::Name,
    secret: false,
    help: "The pod's uid, for the slices to go with it. Needed with STATUS_PROCESSOR.",
};

static INTERVAL_SECONDS: Setting = Setting {
    variable: "STATUS_INTERVAL_SECONDS",
    flag: "status-interval-seconds",
    default: Some("10"),
    takes: Takes::Integer { min: 1, max: 3_600 },
    secret: false,
    help: "How long to wait at least between two writes of the same slice, in seconds.",
};

/// The table of this concern.
pub(super) static SETTINGS: &[&Setting] =
    &[&PROCESSOR, &POD_NAME, &POD_NAMESPACE, &POD_UID, &INTERVAL_SECONDS];

/// Whose worker this is, and how often it tells how its devices are.
#[derive(Clone, Debug)]
pub struct StatusConfig {
    /// Who it is; none outside of Kubernetes.
    pub pod: Option<StatusPod>,
    /// The shortest time between two writes of a slice.
    pub interval: Duration,
}

/// A worker's pod.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StatusPod {
    /// The `StreamProcessor` that it belongs to.
    pub processor: String,
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its uid.
    pub uid: String,
}

/// Reads this concern's settings.
pub(super) fn read(reader: &mut Reader<'_>) -> StatusConfig {
    let processor = reader.optional(&PROCESSOR);
    let mut needed = |setting: &'static Setting| {
        let value = reader.optional(setting);
        reader.rule(&[&PROCESSOR, setting], processor.is_none() || value.is_some(), || {
            format!("{} is needed with {}", setting.variable, PROCESSOR.variable)
        });
        value.unwrap_or_default()
    };
    let (name, namespace, uid) = (needed(&POD_NAME), needed(&POD_NAMESPACE), needed(&POD_UID));
    StatusConfig {
        pod: processor.map(|processor| StatusPod { processor, name, namespace, uid }),
        interval: Duration::from_secs(reader.integer(&INTERVAL_SECONDS)),
    }
}
