//! Whether the claim that a spec names can get its volume. Only fetches.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::Api;

use super::apply::{hindered, said};
use super::conditions::Obstacle;
use super::context::Context;
use super::validate::Validated;

/// What is missing of the claim `name`: itself, or the storage class that is to make its volume.
/// Classes belong to the whole cluster: an operator that looks after some namespaces has no right
/// to them, and neither asks for them nor tells of them.
///
/// # Errors
/// That the API server could not be asked.
pub async fn missing(
    context: &Context,
    of: &Validated,
    name: &str,
) -> Result<Option<String>, Obstacle> {
    let told = format!("the PersistentVolumeClaim {name} that storage.filesystem.claimName names");
    match context.view.claim_is_bound(&of.namespace, name) {
        None => return Ok(Some(format!("{told} is not there"))),
        Some(true) => return Ok(None),
        Some(false) if !context.all_namespaces => return Ok(None),
        Some(false) => {}
    }
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(context.client.clone(), &of.namespace);
    let claim = allowed(claims.get_opt(name).await, &told)?;
    let class = claim.and_then(|claim| claim.spec?.storage_class_name);
    let Some(class) = class.filter(|class| !class.is_empty()) else { return Ok(None) };
    let classes: Api<StorageClass> = Api::all(context.client.clone());
    match classes.get_opt(&class).await {
        Ok(None) => Ok(Some(format!("the storage class {class} of {told} is not there"))),
        found => allowed(found, &format!("the storage class {class}")).map(|_| None),
    }
}

/// What was found; nothing where one may not look.
fn allowed<K>(found: kube::Result<Option<K>>, what: &str) -> Result<Option<K>, Obstacle> {
    match found {
        Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(None),
        found => {
            found.map_err(|error| hindered(format!("cannot read {what}: {}", said(&error)), &error))
        }
    }
}
