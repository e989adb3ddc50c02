//! From a valid spec to the objects that run it, a file a kind. Pure: the same in, the same out.

mod access;
mod budget;
mod cron_jobs;
mod deployments;
pub mod env;
#[cfg(test)]
pub(super) mod fixture;
mod network;
mod pod;
#[cfg(test)]
mod tests;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::kinds::Kind;
use super::names::{ANNOTATION_APPLIED, Component};
use super::references::SecretDigests;
use super::validate::Validated;

/// What the children follow from.
pub struct Inputs<'a> {
    /// The spec.
    pub of: &'a Validated,
    /// Digests of what the secrets hold that pods read.
    pub secrets: &'a SecretDigests,
    /// How many workers, where that is decided here.
    pub replicas: Option<i32>,
    /// Whether the cluster knows PodMonitors.
    pub pod_monitors: bool,
}

/// An object to apply.
#[derive(Clone, PartialEq, Debug)]
pub struct Child {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// What is applied, digest included.
    pub object: Value,
    /// The digest of what is applied.
    pub digest: String,
}

/// Why an object cannot be built: a defect.
#[derive(Debug, thiserror::Error)]
#[error("{kind} cannot be written as JSON: {source}")]
pub struct BuildError {
    kind: &'static str,
    source: serde_json::Error,
}

/// Everything that should be there; what is not in it should not.
///
/// # Errors
/// An object that cannot be written as JSON.
pub fn children(inputs: &Inputs<'_>) -> Result<Vec<Child>, BuildError> {
    let of = inputs.of;
    let mut all = Vec::new();
    // Rights first, so that no pod starts without them.
    if let Some(account) = access::service_account(of) {
        all.push(child(Kind::ServiceAccount, &account)?);
    }
    all.push(child(Kind::Role, &access::role(of))?);
    all.push(child(Kind::RoleBinding, &access::role_binding(of))?);
    all.push(child(Kind::Deployment, &deployments::consumer(inputs))?);
    all.push(child(Kind::Deployment, &deployments::offline_checker(inputs))?);
    all.push(child(Kind::CronJob, &cron_jobs::cleanup(inputs))?);
    if of.spec.archive.enabled {
        all.push(child(Kind::CronJob, &cron_jobs::archive_cleanup(inputs))?);
    }
    all.push(child(Kind::Service, &network::metrics(of))?);
    if let Some(serve) = &of.spec.serve {
        all.push(child(Kind::Deployment, &deployments::serve(inputs, serve))?);
        all.push(child(Kind::Service, &network::serve(of))?);
    }
    all.push(child(Kind::PodDisruptionBudget, &budget::budget(of))?);
    if inputs.pod_monitors {
        all.push(child(Kind::PodMonitor, &network::pod_monitor(of))?);
    }
    Ok(all)
}

fn child(kind: Kind, object: &impl Serialize) -> Result<Child, BuildError> {
    let mut object = serde_json::to_value(object)
        .map_err(|source| BuildError { kind: kind.as_str(), source })?;
    let digest = digest(object.to_string().as_bytes());
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().into();
    if let Some(metadata) = object.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        let annotations =
            metadata.entry("annotations").or_insert_with(|| Value::Object(Default::default()));
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(ANNOTATION_APPLIED.into(), Value::String(digest.clone()));
        }
    }
    Ok(Child { kind, name, object, digest })
}

/// The first 64 bits of SHA-256 in hexadecimal: enough to tell two versions apart.
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn meta(of: &Validated, name: &str, component: Component) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(of.namespace.clone()),
        labels: Some(component.labels(&of.name)),
        owner_references: Some(vec![of.owner.clone()]),
        ..ObjectMeta::default()
    }
}
