//! `DeviceSlice`: how some of the devices of one worker are, or some that are offline.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DeviceState;

/// How at most 250 devices of one worker are, or devices that the offline checker has found offline.
/// Written by that pod when a device changes its state, and removed with it.
#[allow(clippy::duplicated_attributes)] // Columns of the same type are no duplicates.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[kube(
    group = "streamhub.microboxlabs.com",
    version = "v1alpha1",
    kind = "DeviceSlice",
    plural = "deviceslices",
    shortname = "dslice",
    category = "streamhub",
    namespaced,
    no_spec,
    derive = "PartialEq",
    derive = "Default",
    doc = "How at most 250 devices of one worker are, or devices that the offline checker has found offline. Written by that pod when a device changes its state, and removed with it.",
    printcolumn(name = "Processor", type_ = "string", json_path = ".processor"),
    printcolumn(name = "Devices", type_ = "integer", json_path = ".counts.total"),
    printcolumn(name = "Live", type_ = "integer", json_path = ".counts.live"),
    printcolumn(name = "Late", type_ = "integer", json_path = ".counts.late"),
    printcolumn(name = "Offline", type_ = "integer", json_path = ".counts.offline"),
    printcolumn(name = "Failing", type_ = "integer", json_path = ".counts.failing"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct DeviceSliceFields {
    /// The StreamProcessor that the pod belongs to.
    #[schemars(length(max = 253))]
    pub processor: String,
    /// How the worker itself is; in its first slice only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerReport>,
    /// How many of the devices are how.
    #[serde(default)]
    pub counts: SliceCounts,
    /// The devices.
    #[schemars(extend("maxItems" = 250))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<DeviceEntry>,
}

/// How many devices of a slice are how.
pub type SliceCounts = super::DeviceCounts;

/// How a worker is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkerReport {
    /// Why it cannot do its work; empty while it can.
    #[schemars(length(max = 500))]
    pub problem: String,
}

/// How one device is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceEntry {
    /// Whose device.
    #[schemars(length(max = 255))]
    pub client_id: String,
    /// Which one.
    #[schemars(length(max = 255))]
    pub device_id: String,
    /// How it is.
    pub state: DeviceState,
    /// Since when it is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// When the newest frame that has come was taken; of a live device, as it was at `since` or
    /// later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_frame_time: Option<Time>,
    /// The newest segment's number; of a live device, as it was at `since` or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_segment: Option<i64>,
    /// Segments that its playlist lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segment_count: Option<i64>,
    /// Why it is not live.
    #[schemars(length(max = 500))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
