//! `spec.pod`: how the pods are run.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, LocalObjectReference, ResourceRequirements, Toleration, TopologySpreadConstraint,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// The user and group of the image's own account.
const IMAGE_USER: i64 = 65_532;

/// How the pods are run.
#[derive(KubeSchema, Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodSpec {
    /// CPU and memory of a worker. A worker encodes on as many cores as its CPU limit has, all
    /// of the node's without one.
    #[serde(default = "worker_resources")]
    pub resources: ResourceRequirements,
    /// CPU and memory of the offline checker and of the clean-ups.
    #[serde(default = "upkeep_resources")]
    pub upkeep_resources: ResourceRequirements,
    /// Labels that a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that are tolerated.
    #[schemars(extend("maxItems" = 100))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// Which nodes and neighbours are preferred or required.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// How workers are spread. Without it over nodes, where that can be.
    #[schemars(extend("maxItems" = 20))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
    /// A service account of yours for the pods, for example one with a cloud identity. Without
    /// it the operator makes one.
    #[schemars(length(min = 1, max = 253))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// The pods' priority class.
    #[schemars(length(min = 1, max = 253))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
    /// Annotations of the pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Labels of the pods, beside those of the operator.
    #[schemars(extend("maxProperties" = 50))]
    #[x_kube(validation = Rule::new("self.all(key, !key.startsWith('app.kubernetes.io/'))").message(
        "the labels app.kubernetes.io/* tell the operator's pods apart: choose another prefix for yours"
    ))]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Secrets to fetch the image with.
    #[schemars(extend("maxItems" = 20))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// Who the pods run as.
    #[serde(default)]
    pub run_as: PodIdentity,
}

/// Who the pods run as: never root.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodIdentity {
    /// The user's number.
    #[schemars(range(min = 1, max = 2_147_483_647))]
    #[serde(default = "image_user")]
    pub user: i64,
    /// The group's number.
    #[schemars(range(min = 1, max = 2_147_483_647))]
    #[serde(default = "image_user")]
    pub group: i64,
    /// The group that files of the claim belong to, for it to be writable.
    #[schemars(range(min = 1, max = 2_147_483_647))]
    #[serde(default = "image_user")]
    pub fs_group: i64,
}

impl Default for PodIdentity {
    fn default() -> Self {
        Self { user: IMAGE_USER, group: IMAGE_USER, fs_group: IMAGE_USER }
    }
}

impl Default for PodSpec {
    fn default() -> Self {
        Self {
            resources: worker_resources(),
            upkeep_resources: upkeep_resources(),
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
            affinity: None,
            topology_spread_constraints: Vec::new(),
            service_account_name: None,
            priority_class_name: None,
            annotations: BTreeMap::new(),
            labels: BTreeMap::new(),
            image_pull_secrets: Vec::new(),
            run_as: PodIdentity::default(),
        }
    }
}

fn image_user() -> i64 {
    IMAGE_USER
}

fn worker_resources() -> ResourceRequirements {
    requests("500m", "512Mi")
}

fn upkeep_resources() -> ResourceRequirements {
    requests("50m", "128Mi")
}

pub(super) fn requests(cpu: &str, memory: &str) -> ResourceRequirements {
    let requests = [("cpu", cpu), ("memory", memory)]
        .map(|(name, quantity)| (name.to_owned(), Quantity(quantity.to_owned())));
    ResourceRequirements { requests: Some(requests.into()), ..ResourceRequirements::default() }
}
