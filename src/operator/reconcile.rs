//! One look at one object, as a list: validate, dereference, decide, build, apply, say.
//!
//! Architecture invariant: whatever stops a look, the status says so before it ends.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use rand::RngExt;

use super::apply;
use super::build::{Inputs, children};
use super::conditions::{Obstacle, Seen, conditions};
use super::context::Context;
use super::crd::{CONDITION_READY, DeviceSlice, StreamProcessor, StreamProcessorStatus};
use super::dereference::dereference;
use super::devices::{self, Summary};
use super::kinds::Kind;
use super::names::{Component, LABEL_INSTANCE, LABEL_POD, LABEL_PROCESSOR, selector_text};
use super::scaling::{Decision, Load, decide};
use super::status;
use super::validate::{Validated, validate};
use super::view::View;

/// A look takes milliseconds; one that takes this long is given up and tried again.
const LIMIT: Duration = Duration::from_secs(60);
/// When it is asked again whether everything is known.
const UNTIL_KNOWN: Duration = Duration::from_millis(200);
/// When an object is looked at again although nothing was told of it, in seconds: for kinds that
/// are not watched.
const AGAIN_SECS: Range<u64> = 300..420;
/// The same while something is missing that the spec names: it may be of such a kind.
const MISSING_AGAIN_SECS: Range<u64> = 10..20;

/// Why a look has to be tried again.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The API server did not do what was asked.
    #[error("{1}")]
    Obstacle(&'static str, String),
    /// The status could not be written.
    #[error("the status cannot be written: {0}")]
    Status(String),
    /// It took too long.
    #[error("the API server did not answer for {} s", LIMIT.as_secs())]
    TimedOut,
}

impl Failure {
    /// What makes one news after another.
    fn kind(&self) -> &'static str {
        match self {
            Self::Obstacle(reason, _) => reason,
            Self::Status(_) => "status",
            Self::TimedOut => "timed_out",
        }
    }
}

/// Looks at `object` and does what is to be done.
///
/// # Errors
/// [`Failure`]: it is to be tried again.
pub async fn reconcile(
    object: Arc<StreamProcessor>,
    context: Arc<Context>,
) -> Result<Action, Failure> {
    if object.metadata.deletion_timestamp.is_some() {
        // What it owns goes with it.
        return Ok(Action::await_change());
    }
    if !context.view.is_listed() && context.unknowable(&object).is_none() {
        // What is there would be taken for missing.
        return Ok(Action::requeue(UNTIL_KNOWN));
    }
    context.metrics.reconciles.inc();
    let timer = context.metrics.reconcile_secs.start_timer();
    let looked = tokio::time::timeout(LIMIT, look(&object, &context)).await;
    timer.observe_duration();
    let again_secs = looked.unwrap_or(Err(Failure::TimedOut))?;
    if context.succeeded(object.metadata.uid.as_deref().unwrap_or_default()) {
        tracing::info!(name = object.name_any(), namespace = object.namespace(), "it works again");
    }
    let secs = rand::rng().random_range(again_secs);
    Ok(Action::requeue(Duration::from_secs(secs)))
}

/// When to try again: later each time, and not all at once.
#[allow(clippy::needless_pass_by_value)]
pub fn after_failure(
    object: Arc<StreamProcessor>,
    failure: &Failure,
    context: Arc<Context>,
) -> Action {
    context.metrics.reconcile_failures.inc();
    let uid = object.metadata.uid.as_deref().unwrap_or_default();
    let (pause, news) = context.failed(uid, failure.kind());
    let (name, namespace) = (object.name_any(), object.namespace());
    if news {
        tracing::warn!(name, namespace, %failure, "to be tried again, later each time");
    } else {
        tracing::debug!(name, namespace, %failure, ?pause, "to be tried again");
    }
    Action::requeue(pause)
}

/// Gives when to look again, in seconds.
async fn look(object: &StreamProcessor, context: &Context) -> Result<Range<u64>, Failure> {
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let slices = View::of_label(&context.view.slices, &namespace, LABEL_PROCESSOR, &name);
    let summary = devices::sum(slices.iter().map(|slice| (pod_of(slice), slice.as_ref())));
    context.metrics.devices(&namespace, &name, summary.counts);
    let mut decision = None;
    let obstacle = put_in_force(object, context, &summary, &mut decision).await.err();
    let outdated = || context.definitions().outdated().map(Obstacle::Outdated);
    let obstacle = obstacle.or_else(outdated);
    let said = describe(object, context, &summary, obstacle.as_ref(), decision.as_ref());
    let written = status::write(context, object, &said).await;
    written.map_err(|error| Failure::Status(apply::said(&error)))?;
    match obstacle {
        // A right may be given at any time, and nothing tells.
        Some(it @ (Obstacle::Failed(_) | Obstacle::Away(_) | Obstacle::Forbidden(_))) => {
            Err(Failure::Obstacle(it.reason(), it.message().to_owned()))
        }
        Some(Obstacle::Missing(_)) => Ok(MISSING_AGAIN_SECS),
        // The watches tell when it may work.
        _ => Ok(AGAIN_SECS),
    }
}

fn pod_of(slice: &DeviceSlice) -> &str {
    slice
        .metadata
        .labels
        .as_ref()
        .and_then(|labels| labels.get(LABEL_POD))
        .map_or("", String::as_str)
}

async fn put_in_force(
    object: &StreamProcessor,
    context: &Context,
    summary: &Summary,
    decision: &mut Option<Decision>,
) -> Result<(), Obstacle> {
    if object.spec.paused {
        return Err(Obstacle::Paused);
    }
    if let Some(obstacle) = context.unknowable(object) {
        return Err(obstacle);
    }
    let of =
        validate(object, &context.default_image).map_err(|e| Obstacle::Invalid(e.to_string()))?;
    let secrets = dereference(context, &of).await?;
    *decision = scaled(&of, context, summary);
    let inputs = Inputs {
        of: &of,
        secrets: &secrets,
        replicas: decision.as_ref().map_or(of.spec.replicas, |decision| Some(decision.replicas)),
        pod_monitors: context.has_pod_monitors(),
    };
    let children = children(&inputs).map_err(|e| Obstacle::Invalid(e.to_string()))?;
    apply::put_in_force(context, &of, &children).await
}

/// With autoscaling, how many workers there should be.
fn scaled(of: &Validated, context: &Context, summary: &Summary) -> Option<Decision> {
    let spec = of.spec.autoscaling.as_ref()?;
    let deployment = deployment(context, &of.namespace, &Component::Consumer.name(&of.name));
    let current = deployment.and_then(|d| d.spec.and_then(|spec| spec.replicas));
    let current = current.unwrap_or(spec.min_replicas);
    let devices = summary.counts.filter(|_| summary.workers_told);
    let devices = devices.map(|counts| counts.total - counts.offline);
    Some(context.scale(&of.uid, |memory, load| {
        decide(spec, current, Load { devices, ..load }, memory, context.clock.uptime())
    }))
}

fn deployment(context: &Context, namespace: &str, name: &str) -> Option<Deployment> {
    let mut known: Deployment =
        context.view.child(Kind::Deployment, namespace, name)?.try_parse().ok()?;
    // What is known may be of before the apply: then it is not as the spec says now.
    let applied = known.metadata.uid.as_deref().and_then(|uid| context.least_generation(uid));
    known.metadata.generation = known.metadata.generation.max(applied);
    Some(known)
}

/// What is to be said of the object.
fn describe(
    object: &StreamProcessor,
    context: &Context,
    summary: &Summary,
    obstacle: Option<&Obstacle>,
    decision: Option<&Decision>,
) -> StreamProcessorStatus {
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let uid = object.metadata.uid.clone().unwrap_or_default();
    let serves = object.spec.serve.is_some().then_some(Component::Serve);
    let deployments: Vec<Deployment> = [Component::Consumer, Component::OfflineChecker]
        .iter()
        .chain(&serves)
        .filter_map(|component| deployment(context, &namespace, &component.name(&name)))
        .filter(|deployment| {
            deployment.metadata.owner_references.iter().flatten().any(|owner| owner.uid == uid)
        })
        .collect();
    let pods: Vec<Arc<Pod>> = View::of_label(&context.view.pods, &namespace, LABEL_INSTANCE, &name);
    let seen = Seen {
        deployments: deployments.iter().collect(),
        pods: pods.iter().map(AsRef::as_ref).collect(),
        problems: &summary.problems,
        scaling: decision,
    };
    let before = object.status.as_ref().map(|s| s.conditions.as_slice()).unwrap_or_default();
    let generation = object.metadata.generation;
    let workers = deployments
        .iter()
        .find(|d| d.metadata.name.as_deref() == Some(&Component::Consumer.name(&name)))
        .and_then(|d| d.status.clone())
        .unwrap_or_default();
    let said = conditions(obstacle, &seen, before, generation, &this_second());
    if !context.view.is_listed() {
        return unseen(object, said, matches!(obstacle, Some(Obstacle::Away(_))));
    }
    let backlog = context.backlog(&uid);
    let age = backlog.oldest_at.map(|at| context.clock.now().since(at).as_secs());
    StreamProcessorStatus {
        observed_generation: generation,
        conditions: said,
        replicas: workers.replicas.unwrap_or(0),
        ready_replicas: workers.ready_replicas.unwrap_or(0),
        selector: Some(selector_text(&Component::Consumer.selector(&name))),
        backlog: backlog.messages.map(rounded),
        oldest_frame_age_seconds: age
            .and_then(|secs| i64::try_from(secs).ok())
            .map(|secs| secs.saturating_add(5) / 10 * 10),
        devices: summary.counts,
        device_statuses: summary.worst.clone(),
    }
}

/// What is said while it is not known what runs: the rest stays as it was, and so does Ready if
/// that will pass.
fn unseen(
    object: &StreamProcessor,
    mut conditions: Vec<Condition>,
    passes: bool,
) -> StreamProcessorStatus {
    let before = object.status.clone().unwrap_or_default();
    let ready = before.conditions.iter().find(|c| c.type_ == CONDITION_READY);
    if let (true, Some(ready)) = (passes, ready) {
        conditions.retain(|c| c.type_ != CONDITION_READY);
        conditions.insert(0, ready.clone());
    }
    StreamProcessorStatus { observed_generation: object.metadata.generation, conditions, ..before }
}

/// To two digits: nobody needs more, and each change is a write.
fn rounded(n: i64) -> i64 {
    let mut unit = 1;
    while n / unit >= 100 {
        unit *= 10;
    }
    n / unit * unit
}

/// Conditions are dated to the second.
fn this_second() -> Time {
    let now = Timestamp::now();
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_is_told_to_two_digits() {
        for (n, told) in [(0, 0), (7, 7), (99, 99), (100, 100), (104, 100), (12_345, 12_000)] {
            assert_eq!(rounded(n), told);
        }
    }
}
