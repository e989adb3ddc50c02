//! Looks for what a spec names besides itself: secrets and their keys, the claim. Only fetches.

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};

use super::apply::{hindered, said};
use super::build::digest;
use super::claims;
use super::conditions::Obstacle;
use super::context::Context;
use super::references::SecretDigests;
use super::validate::Validated;

/// Digests of what the secrets hold that the pods read.
///
/// # Errors
/// What is missing, by name; or that the API server could not be asked.
pub async fn dereference(context: &Context, of: &Validated) -> Result<SecretDigests, Obstacle> {
    let mut missing = Vec::new();
    let mut all = Vec::new();
    for used in &of.references.secrets {
        let (field, name) = (used.field, used.secret.as_str());
        match context.view.secret_version(&of.namespace, name) {
            None => missing.push(format!("the secret {name} that {field} names is not there")),
            Some(version) => match read(context, of, name, &used.key, &version).await? {
                Some(digest) => all.push((used.group, format!("{name}/{}={digest}", used.key))),
                None => missing
                    .push(format!("the secret {name} that {field} names has no key {}", used.key)),
            },
        }
    }
    for name in &of.references.pull_secrets {
        if context.view.secret_version(&of.namespace, name).is_none() {
            missing.push(format!("the secret {name} that pod.imagePullSecrets names is not there"));
        }
    }
    if let Some(name) = &of.references.claim {
        missing.extend(claims::missing(context, of, name).await?);
    }
    missing.dedup();
    if missing.is_empty() {
        Ok(SecretDigests(all))
    } else {
        Err(Obstacle::Missing(missing.join("; ")))
    }
}

/// The digest of a key's value, read once for each version of the secret.
async fn read(
    context: &Context,
    of: &Validated,
    name: &str,
    key: &str,
    version: &str,
) -> Result<Option<String>, Obstacle> {
    if let Some(known) = context.known_digest(&of.namespace, name, key, version) {
        return Ok(known);
    }
    let value = secret_value(&context.client, &of.namespace, name, key).await.map_err(|error| {
        hindered(format!("cannot read the secret {name}: {}", said(&error)), &error)
    })?;
    let digest = value.map(|value| digest(&value));
    context.keep_digest(&of.namespace, name, key, version, digest.clone());
    Ok(digest)
}

/// What a secret has under a key, if it is there and has it.
///
/// # Errors
/// The API server could not be asked, or refuses.
pub async fn secret_value(
    client: &Client,
    namespace: &str,
    name: &str,
    key: &str,
) -> Result<Option<Vec<u8>>, kube::Error> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let data = secrets.get_opt(name).await?.and_then(|secret| secret.data);
    Ok(data.and_then(|mut data| data.remove(key)).map(|value| value.0))
}
