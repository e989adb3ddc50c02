//! Writes what is said of an object, when it is news, and tells people of turns by events.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Patch, PatchParams};
use kube::runtime::events::{Event, EventType};
use kube::{Api, Resource, ResourceExt};
use serde_json::json;

use super::context::Context;
use super::crd::{
    CONDITION_READY, CONDITION_SCALING, CONDITION_STALLED, GROUP, StreamProcessor,
    StreamProcessorStatus,
};
use super::names::STATUS_MANAGER;

/// Writes `status` unless it is what the object says already.
///
/// # Errors
/// What the API server says.
pub async fn write(
    context: &Context,
    object: &StreamProcessor,
    status: &StreamProcessorStatus,
) -> kube::Result<()> {
    // Older definitions do not take all of it, and say so of the whole.
    let fitting = context.definitions().fitting(status).map_err(kube::Error::SerdeError)?;
    let as_kept = serde_json::from_value(fitting.clone()).map_err(kube::Error::SerdeError)?;
    if object.status.as_ref() == Some(&as_kept) {
        return Ok(());
    }
    let namespace = object.namespace().unwrap_or_default();
    let api: Api<StreamProcessor> = Api::namespaced(context.client.clone(), &namespace);
    let name = object.name_any();
    let patch = json!({
        "apiVersion": format!("{GROUP}/v1alpha1"),
        "kind": "StreamProcessor",
        // What has changed since it was looked at is looked at again.
        "metadata": {
            "name": name, "uid": object.uid(), "resourceVersion": object.resource_version(),
        },
        "status": fitting,
    });
    let params = PatchParams::apply(STATUS_MANAGER).force();
    match api.patch_status(&name, &params, &Patch::Apply(&patch)).await {
        Ok(_) => context.metrics.status_writes.inc(),
        // It was deleted, perhaps made anew: the watch tells.
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {}
        Err(error) => return Err(error),
    }
    let before = object.status.as_ref().map(|s| s.conditions.as_slice()).unwrap_or_default();
    for event in turns(before, &status.conditions) {
        publish(context, object.object_ref(&()), &event).await;
    }
    Ok(())
}

/// What has turned since then, as events: a reason that stays says nothing again (pure).
fn turns(before: &[Condition], now: &[Condition]) -> Vec<Event> {
    let mut events = Vec::new();
    for condition in now {
        let same = before.iter().find(|c| c.type_ == condition.type_);
        let turned = same.is_none_or(|c| {
            c.status != condition.status
                || (condition.type_ == CONDITION_STALLED && c.reason != condition.reason)
        });
        let first = same.is_none();
        let holds = condition.status == "True";
        let kind = match (condition.type_.as_str(), holds) {
            (CONDITION_STALLED, true) => EventType::Warning,
            (CONDITION_STALLED, false) if !first => EventType::Normal,
            (CONDITION_READY, true) => EventType::Normal,
            (CONDITION_READY, false) if !first => EventType::Warning,
            (CONDITION_SCALING, false) => EventType::Warning,
            _ => continue,
        };
        if turned {
            events.push(Event {
                type_: kind,
                reason: condition.reason.clone(),
                // At most 1 kB.
                note: Some(condition.message.chars().take(250).collect()),
                action: "Reconcile".into(),
                secondary: None,
            });
        }
    }
    events
}

/// An event that cannot be told is no reason to fail.
async fn publish(context: &Context, object: ObjectReference, event: &Event) {
    if let Err(error) = context.recorder.publish(event, &object).await {
        tracing::debug!(%error, reason = event.reason, "an event could not be told");
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    fn condition(kind: &str, status: &str, reason: &str) -> Condition {
        Condition {
            type_: kind.into(),
            status: status.into(),
            reason: reason.into(),
            message: "m".into(),
            observed_generation: None,
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
        }
    }

    fn reasons(before: &[Condition], now: &[Condition]) -> Vec<String> {
        turns(before, now).into_iter().map(|event| event.reason).collect()
    }

    #[test]
    fn a_turn_is_told_once_and_what_stays_is_not() {
        let new = [
            condition("Ready", "False", "WorkersNotReady"),
            condition("Stalled", "False", "Unhindered"),
        ];
        assert_eq!(reasons(&[], &new), [""; 0]);
        let bad = [
            condition("Ready", "False", "InvalidSpec"),
            condition("Stalled", "True", "InvalidSpec"),
        ];
        assert_eq!(reasons(&new, &bad), ["InvalidSpec"]);
        assert_eq!(reasons(&bad, &bad), [""; 0]);
        let other = [
            condition("Ready", "False", "ReferenceMissing"),
            condition("Stalled", "True", "ReferenceMissing"),
        ];
        assert_eq!(reasons(&bad, &other), ["ReferenceMissing"]);
        let good =
            [condition("Ready", "True", "Available"), condition("Stalled", "False", "Unhindered")];
        assert_eq!(reasons(&other, &good), ["Available", "Unhindered"]);
    }
}
