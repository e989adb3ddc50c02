//! The objects that people write and read: `StreamProcessor` and `DeviceSlice`. Owns their
//! fields, defaults, descriptions and the rules that the API server itself enforces.
//!
//! Architecture invariant: types only. What they mean for a cluster is decided by
//! [`super::validate`] and [`super::build`].

mod archive;
mod autoscaling;
mod pod;
mod processing;
mod pulsar;
mod redis;
mod secret;
mod serve;
mod slice;
mod status;
mod storage;
mod upkeep;
mod watermark;

use std::collections::BTreeMap;

use kube::{CustomResource, CustomResourceExt, KubeSchema};
use serde::{Deserialize, Serialize};

pub use archive::ArchiveSpec;
pub use autoscaling::AutoscalingSpec;
pub use pod::{PodIdentity, PodSpec};
pub use processing::{Container, Playback, ProcessingSpec, Quality};
pub use pulsar::{OAuth2Spec, PulsarSpec, TlsSpec};
pub use redis::RedisSpec;
pub use secret::{
    AccountKeySecretRef, CaSecretRef, GoogleKeySecretRef, OAuth2SecretRef, S3SecretRef, SecretKey,
    SigningKeySecretRef, TokenSecretRef, UrlSecretRef, ViewerTokensSecretRef,
};
pub use serve::ServeSpec;
pub use slice::{DeviceEntry, DeviceSlice, DeviceSliceFields, SliceCounts, WorkerReport};
pub use status::{
    CONDITION_READY, CONDITION_RECONCILING, CONDITION_SCALING, CONDITION_STALLED, DeviceCounts,
    DeviceState, StreamProcessorStatus,
};
pub use storage::{AzureSpec, FilesystemSpec, GcsSpec, S3Spec, StorageSpec, StorageType};
pub use upkeep::{ArchiveCleanupSpec, CleanupSpec};
pub use watermark::{Position, WatermarkSpec};

/// The API group of both kinds.
pub const GROUP: &str = "streamhub.microboxlabs.com";

/// A fleet of cameras turned into HLS streams: workers that take frame events from Pulsar, and
/// what looks after the streams that they write.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[kube(
    group = "streamhub.microboxlabs.com",
    version = "v1alpha1",
    kind = "StreamProcessor",
    plural = "streamprocessors",
    shortname = "sp",
    category = "streamhub",
    namespaced,
    status = "StreamProcessorStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "A fleet of cameras turned into HLS streams: workers that take frame events from Pulsar, and what looks after the streams that they write.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Whether every worker that should run does."
    ),
    printcolumn(
        name = "Replicas",
        type_ = "integer",
        json_path = ".status.readyReplicas",
        description = "Workers that are ready."
    ),
    printcolumn(
        name = "Devices",
        type_ = "integer",
        json_path = ".status.devices.total",
        description = "Devices that the workers know."
    ),
    printcolumn(
        name = "Live",
        type_ = "integer",
        json_path = ".status.devices.live",
        description = "Devices whose stream is up to date."
    ),
    printcolumn(
        name = "Failing",
        type_ = "integer",
        json_path = ".status.devices.failing",
        description = "Devices whose frames are not committed."
    ),
    printcolumn(
        name = "Backlog",
        type_ = "integer",
        json_path = ".status.backlog",
        description = "Messages that wait in the subscription."
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Offline",
        type_ = "integer",
        json_path = ".status.devices.offline",
        description = "Devices that have gone silent.",
        priority = "1"
    ),
    printcolumn(
        name = "Late",
        type_ = "integer",
        json_path = ".status.devices.late",
        description = "Devices whose stream is behind.",
        priority = "1"
    ),
    printcolumn(
        name = "Oldest",
        type_ = "integer",
        json_path = ".status.oldestFrameAgeSeconds",
        description = "Age in seconds of the oldest message that waits.",
        priority = "1"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        description = "Why it is ready or not.",
        priority = "1"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        description = "The same as a sentence.",
        priority = "1"
    ),
    validation = Rule::new(
        "self.metadata.name.size() <= 36 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')"
    ).message(
        "metadata.name names the pods, too: write at most 36 characters of a-z, 0-9 and -, a letter first"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.autoscaling) && has(self.replicas))").message(
        "with autoscaling the operator chooses the number of workers: remove replicas (and write autoscaling.minReplicas and maxReplicas), or remove autoscaling"
    ),
    validation = Rule::new(
        "!has(self.autoscaling) || !(has(self.autoscaling.targetBacklogPerReplica) || has(self.autoscaling.targetFrameAgeSeconds)) || has(self.pulsar.adminUrl)"
    ).message(
        "autoscaling.targetBacklogPerReplica and targetFrameAgeSeconds are read from Pulsar's admin API: write pulsar.adminUrl, such as http://pulsar-broker:8080"
    )
)]
pub struct StreamProcessorSpec {
    /// The image of workers and clean-ups. Without it the operator's own, so that an upgrade of
    /// the operator upgrades them.
    #[schemars(length(min = 1, max = 500))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// When a node fetches the image. Without it Always for the tag latest, else IfNotPresent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<PullPolicy>,
    /// How many workers run. Without it nobody's number is touched: an autoscaler or kubectl
    /// scale of the deployment decides. kubectl scale and an autoscaler of this object need it
    /// to be there.
    #[schemars(range(min = 0, max = 1000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Lets the operator choose how many workers run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<AutoscalingSpec>,
    /// Where frame events come from.
    pub pulsar: PulsarSpec,
    /// Where frames are and streams go.
    pub storage: StorageSpec,
    /// Frames to segments.
    #[serde(default)]
    pub processing: ProcessingSpec,
    /// Tells Redis of sessions, for other services. Nothing depends on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis: Option<RedisSpec>,
    /// Finished sessions kept as video on demand.
    #[serde(default)]
    pub archive: ArchiveSpec,
    /// Removes segments and frames that are past their retention.
    #[serde(default)]
    pub cleanup: CleanupSpec,
    /// Removes archives whose time is over.
    #[serde(default)]
    pub archive_cleanup: ArchiveCleanupSpec,
    /// Streams, archives and a page for viewers, over HTTP, as the Service NAME-serve. Nothing is
    /// served without it; serve: {} is enough.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serve: Option<ServeSpec>,
    /// The capture time burnt into every picture. Off without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watermark: Option<WatermarkSpec>,
    /// How much is logged: OFF, ERROR, WARN, INFO, DEBUG, TRACE, or a filter such as
    /// info,stream_processor::store=debug.
    #[schemars(length(min = 1, max = 500))]
    #[serde(default = "info")]
    pub log_level: String,
    /// Further settings of the worker by the name of their variable, for what has no field here,
    /// such as RETENTION_TOTAL_MAX_BYTES. Never for secrets.
    #[schemars(extend("maxProperties" = 50))]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, String>,
    /// How the pods are run.
    #[serde(default)]
    pub pod: PodSpec,
    /// Whether the operator leaves everything as it is: for repairs by hand.
    #[serde(default)]
    pub paused: bool,
}

fn info() -> String {
    "INFO".into()
}

/// When a node fetches an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
pub enum PullPolicy {
    /// At every start of a pod.
    Always,
    /// When the node does not have it.
    IfNotPresent,
    /// Never: it has to be there.
    Never,
}

impl PullPolicy {
    /// As Kubernetes spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// The definitions of both kinds, as they are installed.
pub fn definitions()
-> Vec<k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition>
{
    vec![StreamProcessor::crd(), DeviceSlice::crd()]
}
