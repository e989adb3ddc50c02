//! `status` of a `StreamProcessor`: what people and machines read.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DeviceEntry;

/// Every worker that should run does, and the spec is in force.
pub const CONDITION_READY: &str = "Ready";
/// The operator or the cluster is still at it.
pub const CONDITION_RECONCILING: &str = "Reconciling";
/// It will not get further without a person.
pub const CONDITION_STALLED: &str = "Stalled";
/// The operator can choose the number of workers; only there with `spec.autoscaling`.
pub const CONDITION_SCALING: &str = "ScalingActive";

/// How a device is.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Deserialize,
    Serialize,
    JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum DeviceState {
    /// Its frames come, and are not committed.
    Failing,
    /// It has gone silent.
    Offline,
    /// Its frames come, and its stream is behind.
    Late,
    /// Its stream is up to date.
    #[default]
    Live,
}

impl DeviceState {
    /// All of them, the worst first.
    pub const ALL: [Self; 4] = [Self::Failing, Self::Offline, Self::Late, Self::Live];

    /// As it stands in objects and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failing => "failing",
            Self::Offline => "offline",
            Self::Late => "late",
            Self::Live => "live",
        }
    }
}

/// How many devices are how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceCounts {
    /// All that the workers know.
    pub total: i64,
    /// Whose stream is up to date.
    pub live: i64,
    /// Whose stream is behind.
    pub late: i64,
    /// That have gone silent.
    pub offline: i64,
    /// Whose frames are not committed.
    pub failing: i64,
}

impl DeviceCounts {
    /// How many are so.
    pub fn of(&self, state: DeviceState) -> i64 {
        match state {
            DeviceState::Live => self.live,
            DeviceState::Late => self.late,
            DeviceState::Offline => self.offline,
            DeviceState::Failing => self.failing,
        }
    }

    /// Counts one more.
    pub fn count(&mut self, state: DeviceState) {
        self.total += 1;
        *match state {
            DeviceState::Live => &mut self.live,
            DeviceState::Late => &mut self.late,
            DeviceState::Offline => &mut self.offline,
            DeviceState::Failing => &mut self.failing,
        } += 1;
    }
}

/// What the operator found.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamProcessorStatus {
    /// The generation of the spec that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Reconciling, Stalled, and ScalingActive with autoscaling.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Workers that run.
    #[serde(default)]
    pub replicas: i32,
    /// Workers that are ready.
    #[serde(default)]
    pub ready_replicas: i32,
    /// The labels of the workers, for autoscalers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Messages that wait in the subscription. Not there without pulsar.adminUrl.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backlog: Option<i64>,
    /// How old the oldest of them is, in seconds, to the nearest 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_frame_age_seconds: Option<i64>,
    /// How many devices are how.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub devices: Option<DeviceCounts>,
    /// The devices that are not well, the worst first, 100 at most. All devices are in the
    /// DeviceSlice objects.
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub device_statuses: Vec<DeviceEntry>,
}
