//! Puts children in force by server-side apply, and removes those that should not be there.
//!
//! Architecture invariant: what stands as it was applied is not written again, and an object
//! that is not ours is never touched, whatever its name.

use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::core::DynamicObject;
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use super::build::Child;
use super::conditions::Obstacle;
use super::context::Context;
use super::drift::stands;
use super::kinds::Kind;
use super::names::{ANNOTATION_APPLIED, FIELD_MANAGER, HANDOVER_MANAGER};
use super::rights::{Right, advice};
use super::validate::Validated;
use super::view::owned_by;

/// What is to be done about a child (pure).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Plan {
    /// It is not there.
    Create,
    /// It is ours and not as it should be.
    Mend,
    /// It is ours and as it should be.
    Leave,
    /// It belongs to somebody else.
    Foreign,
}

fn plan(child: &Child, found: Option<&DynamicObject>, uid: &str) -> Plan {
    let Some(found) = found else { return Plan::Create };
    if !owned_by(found, uid) {
        return Plan::Foreign;
    }
    let applied = found.annotations().get(ANNOTATION_APPLIED);
    if applied == Some(&child.digest) && stands(&child.object, &whole(found, child)) {
        Plan::Leave
    } else {
        Plan::Mend
    }
}

/// The object with its kind, which those of a list come without: they were asked for by it.
fn whole(found: &DynamicObject, child: &Child) -> Value {
    let mut value = serde_json::to_value(found).unwrap_or_default();
    if let (None, Some(fields)) = (&found.types, value.as_object_mut()) {
        for name in ["apiVersion", "kind"] {
            fields.insert(name.into(), child.object[name].clone());
        }
    }
    value
}

/// Puts every child in force; one that fails does not keep the others from it.
///
/// # Errors
/// The obstacle that matters most: one that needs a person before one that passes.
pub async fn put_in_force(
    context: &Context,
    of: &Validated,
    children: &[Child],
) -> Result<(), Obstacle> {
    let mut obstacles = Vec::new();
    for child in children {
        match settle(context, of, child).await {
            Ok(()) => {}
            // The others would fare no better.
            Err(away @ Obstacle::Away(_)) => return Err(away),
            Err(obstacle) => obstacles.push(obstacle),
        }
    }
    if let Err(obstacle) = remove_others(context, of, children).await {
        obstacles.push(obstacle);
    }
    let passes = |obstacle: &Obstacle| matches!(obstacle, Obstacle::Failed(_) | Obstacle::Away(_));
    obstacles.sort_by_key(passes);
    obstacles.into_iter().next().map_or(Ok(()), Err)
}

async fn settle(context: &Context, of: &Validated, child: &Child) -> Result<(), Obstacle> {
    let api = api(&context.client, child.kind, &of.namespace);
    let known = context.view.child(child.kind, &of.namespace, &child.name);
    let found = match known {
        // A deletion that waits for something: what comes after it is told by the watch.
        Some(found) if found.metadata.deletion_timestamp.is_some() => return Ok(()),
        Some(found) => Some(found),
        // The watch shows what has our labels only.
        None => api.get_opt(&child.name).await.map_err(|e| obstacle(child, "read", &e))?,
    };
    let planned = plan(child, found.as_ref(), &of.uid);
    let mut version = found.as_ref().and_then(ResourceExt::resource_version);
    match planned {
        Plan::Leave => return Ok(()),
        Plan::Foreign => {
            return Err(Obstacle::Foreign(format!(
                "there is a {} named {} that belongs to somebody else: rename or delete it, or \
                 give this object another name",
                child.kind.as_str(),
                child.name
            )));
        }
        // The API server has its own mind about a field: written once, not for ever.
        Plan::Mend if context.is_settled(child, &of.namespace, version.as_deref()) => {
            return Ok(());
        }
        Plan::Create | Plan::Mend => {}
    }
    if let Some(found) = found.as_ref().filter(|_| child.kind == Kind::Deployment) {
        let handed = hand_over_replicas(&api, child, found, version).await;
        version = handed.map_err(|e| obstacle(child, "apply", &e))?;
    }
    let mut params = PatchParams::apply(FIELD_MANAGER);
    // Whoever has changed what is ours is overruled; what has come between our look and now is
    // somebody else's, and then this is refused.
    params.force = planned == Plan::Mend;
    let mut object = child.object.clone();
    if let (Plan::Mend, Some(version)) = (planned, &version) {
        // What has changed since it was looked at is looked at again: so a look that was held up
        // undoes nothing, whoever has led meanwhile.
        object["metadata"]["resourceVersion"] = json!(version);
    }
    let applied = api.patch(&child.name, &params, &Patch::Apply(&object)).await;
    let applied = applied.map_err(|e| obstacle(child, "apply", &e))?;
    context.metrics.child_applied(child.kind);
    context.note_applied(&applied);
    tracing::info!(
        kind = child.kind.as_str(),
        name = child.name,
        namespace = of.namespace,
        new = planned == Plan::Create,
        "applied"
    );
    if plan(child, Some(&applied), &of.uid) != Plan::Leave {
        let version = applied.resource_version();
        context.settle(child, &of.namespace, version.as_deref());
        tracing::warn!(
            kind = child.kind.as_str(),
            name = child.name,
            namespace = of.namespace,
            "the API server keeps another value than was applied"
        );
    }
    Ok(())
}

/// A field that is no longer applied is removed by the API server, and a Deployment without
/// replicas has one. So before the number is let go of, somebody else keeps it as it is; gives
/// the version that the object has then.
/// <https://kubernetes.io/docs/reference/using-api/server-side-apply/#transferring-ownership>
async fn hand_over_replicas(
    api: &Api<DynamicObject>,
    child: &Child,
    found: &DynamicObject,
    version: Option<String>,
) -> kube::Result<Option<String>> {
    let lets_go = child.object.pointer("/spec/replicas").is_none();
    let ours = found.metadata.managed_fields.iter().flatten().any(|entry| {
        entry.manager.as_deref() == Some(FIELD_MANAGER)
            && entry.fields_v1.as_ref().is_some_and(|f| f.0.pointer("/f:spec/f:replicas").is_some())
    });
    let now = found.data.pointer("/spec/replicas");
    let Some(replicas) = now.filter(|_| lets_go && ours) else { return Ok(version) };
    let keep = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": child.name, "resourceVersion": version},
        "spec": {"replicas": replicas},
    });
    let params = PatchParams::apply(HANDOVER_MANAGER).force();
    let kept = api.patch(&child.name, &params, &Patch::Apply(&keep)).await?;
    Ok(kept.resource_version())
}

/// Removes what is ours and is not asked for any more.
async fn remove_others(
    context: &Context,
    of: &Validated,
    children: &[Child],
) -> Result<(), Obstacle> {
    let mut worst = Ok(());
    for kind in Kind::BUILT_IN {
        for other in context.view.owned(kind, &of.namespace, &of.uid) {
            let name = other.name_any();
            let wanted = children.iter().any(|child| child.kind == kind && child.name == name);
            if wanted || other.metadata.deletion_timestamp.is_some() {
                continue;
            }
            let this_one = Preconditions { uid: other.uid(), resource_version: None };
            let params = DeleteParams::background().preconditions(this_one);
            match api(&context.client, kind, &of.namespace).delete(&name, &params).await {
                Ok(_) => {
                    context.metrics.child_removed(kind);
                    tracing::info!(kind = kind.as_str(), name, namespace = of.namespace, "removed");
                }
                Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {}
                Err(error) => worst = Err(because(kind, &name, "delete", &error)),
            }
        }
    }
    worst
}

/// Children of a kind in a namespace.
pub fn api(client: &Client, kind: Kind, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &kind.resource())
}

fn obstacle(child: &Child, verb: &str, error: &kube::Error) -> Obstacle {
    because(child.kind, &child.name, verb, error)
}

/// What an error of the API server means for the object.
fn because(kind: Kind, name: &str, verb: &str, error: &kube::Error) -> Obstacle {
    let what = format!("cannot {verb} the {} {name}: {}", kind.as_str(), said(error));
    match error {
        kube::Error::Api(status) if status.is_invalid() || status.code == 400 => {
            Obstacle::Refused(what)
        }
        error => hindered(what, error),
    }
}

/// What an error means that is not about what was asked for.
pub fn hindered(what: String, error: &kube::Error) -> Obstacle {
    match error {
        kube::Error::Api(status) if status.is_forbidden() => {
            let right = Right::refused(&status.message);
            Obstacle::Forbidden(match right {
                Some(right) => format!("{}; {what}", advice([&right])),
                None => what,
            })
        }
        kube::Error::Api(status) if status.code != 429 => Obstacle::Failed(what),
        _ => Obstacle::Away(what),
    }
}

/// The API server's own sentence, where there is one.
pub fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        kube::Error::Api(status) => format!("HTTP status {}", status.code),
        kube::Error::Service(error) => error.to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::build::{Inputs, children, fixture};
    use crate::operator::references::SecretDigests;

    fn consumer() -> Child {
        let of = fixture::validated(fixture::full());
        let inputs = Inputs {
            of: &of,
            secrets: &SecretDigests::default(),
            replicas: Some(3),
            pod_monitors: false,
        };
        let all = children(&inputs).unwrap();
        all.into_iter().find(|child| child.name == "fleet-consumer").unwrap()
    }

    fn live(child: &Child, change: impl FnOnce(&mut Value)) -> DynamicObject {
        let mut object = child.object.clone();
        change(&mut object);
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn what_stands_is_left_alone_and_what_was_edited_is_mended() {
        let child = consumer();
        assert_eq!(plan(&child, None, "u-1"), Plan::Create);
        assert_eq!(plan(&child, Some(&live(&child, |_| {})), "u-1"), Plan::Leave);
        let more = live(&child, |object| object["spec"]["paused"] = json!(false));
        assert_eq!(plan(&child, Some(&more), "u-1"), Plan::Leave);
        let fewer = live(&child, |object| object["spec"]["replicas"] = json!(1));
        assert_eq!(plan(&child, Some(&fewer), "u-1"), Plan::Mend);
    }

    #[test]
    fn what_was_listed_and_so_came_without_its_kind_is_left_alone() {
        let child = consumer();
        let mut listed = live(&child, |_| {});
        listed.types = None;
        assert_eq!(plan(&child, Some(&listed), "u-1"), Plan::Leave);
    }

    #[test]
    fn a_field_that_is_no_longer_said_is_taken_back() {
        let child = consumer();
        let older = live(&child, |object| {
            object["metadata"]["annotations"][ANNOTATION_APPLIED] = json!("older");
        });
        assert_eq!(plan(&child, Some(&older), "u-1"), Plan::Mend);
    }

    #[test]
    fn what_belongs_to_somebody_else_is_foreign_also_if_it_looks_like_ours() {
        let child = consumer();
        assert_eq!(plan(&child, Some(&live(&child, |_| {})), "u-2"), Plan::Foreign);
        let nobodys = live(&child, |object| object["metadata"]["ownerReferences"] = json!([]));
        assert_eq!(plan(&child, Some(&nobodys), "u-1"), Plan::Foreign);
    }
}
