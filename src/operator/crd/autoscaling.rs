//! `spec.autoscaling`: by what the operator chooses the number of workers.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// By what the operator chooses the number of workers: the most that any of the targets asks
/// for.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.minReplicas <= self.maxReplicas").message(
    "write autoscaling.minReplicas at most as large as autoscaling.maxReplicas"
))]
pub struct AutoscalingSpec {
    /// The fewest workers.
    #[schemars(range(min = 1, max = 1000))]
    #[serde(default = "one")]
    pub min_replicas: i32,
    /// The most workers.
    #[schemars(range(min = 1, max = 1000))]
    pub max_replicas: i32,
    /// How many devices that send a worker should have.
    #[schemars(range(min = 1, max = 100_000))]
    #[serde(default = "devices")]
    pub devices_per_replica: i32,
    /// How many messages should wait for each worker at most. Needs pulsar.adminUrl.
    #[schemars(range(min = 1, max = 100_000_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_backlog_per_replica: Option<i32>,
    /// How old the oldest message that waits should be at most, in seconds. Needs
    /// pulsar.adminUrl.
    #[schemars(range(min = 30, max = 86_400))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_frame_age_seconds: Option<i32>,
    /// For how long fewer workers have to be enough before there are fewer, in seconds.
    #[schemars(range(min = 0, max = 3600))]
    #[serde(default = "stabilization")]
    pub scale_down_stabilization_seconds: i32,
}

fn one() -> i32 {
    1
}

fn devices() -> i32 {
    250
}

fn stabilization() -> i32 {
    300
}
