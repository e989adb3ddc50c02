//! `spec.serve`: streams, archives and a page for viewers.

use k8s_openapi::api::core::v1::ResourceRequirements;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::pod::requests;
use super::{SigningKeySecretRef, ViewerTokensSecretRef};

/// Streams, archives and a page for viewers, over HTTP, as the Service NAME-serve. TLS and a name
/// of its own are an Ingress's business.
#[derive(KubeSchema, Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServeSpec {
    /// How many of it run.
    #[schemars(range(min = 0, max = 100))]
    #[serde(default = "one")]
    pub replicas: i32,
    /// The tokens of viewers and what each may see. Without it whoever reaches the Service sees
    /// every camera.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_secret_ref: Option<ViewerTokensSecretRef>,
    /// What signed links are signed with, 32 characters or more. Without it a link works with the
    /// pod that made it only, and ends with that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signing_key_secret_ref: Option<SigningKeySecretRef>,
    /// CPU and memory.
    #[serde(default = "resources")]
    pub resources: ResourceRequirements,
}

impl Default for ServeSpec {
    fn default() -> Self {
        Self {
            replicas: one(),
            tokens_secret_ref: None,
            signing_key_secret_ref: None,
            resources: resources(),
        }
    }
}

fn one() -> i32 {
    1
}

fn resources() -> ResourceRequirements {
    requests("50m", "256Mi")
}
