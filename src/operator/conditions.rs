//! What is said of an object: Ready, Reconciling, Stalled (as kstatus reads them), ScalingActive.
//! Pure.
//!
//! Architecture invariant: whatever went wrong, there is an answer; a bad spec is told as loudly
//! as a failed rollout.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::ResourceExt;

use super::crd::{CONDITION_READY, CONDITION_RECONCILING, CONDITION_SCALING, CONDITION_STALLED};
use super::scaling::Decision;

/// The longest message, in characters.
const MAX_MESSAGE_CHARS: usize = 1_000;

/// Why the operator could not do all that the spec asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Obstacle {
    /// The spec does not make sense.
    Invalid(String),
    /// Something that the spec names is not there.
    Missing(String),
    /// An object of somebody else has a child's name.
    Foreign(String),
    /// The API server refuses a child for good.
    Refused(String),
    /// The operator may not do what it has to.
    Forbidden(String),
    /// The installed definitions lack fields that the operator writes.
    Outdated(String),
    /// It did not work this time.
    Failed(String),
    /// The API server is away or asks to wait: nothing else is tried for now.
    Away(String),
    /// The spec says to leave everything alone.
    Paused,
}

impl Obstacle {
    /// As it stands in the conditions.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "InvalidSpec",
            Self::Missing(_) => "ReferenceMissing",
            Self::Foreign(_) => "NameTaken",
            Self::Refused(_) => "ChildRefused",
            Self::Forbidden(_) => "Forbidden",
            Self::Outdated(_) => "DefinitionsOutdated",
            Self::Failed(_) => "Retrying",
            Self::Away(_) => "ApiServerAway",
            Self::Paused => "Paused",
        }
    }

    /// As it stands in the conditions.
    pub fn message(&self) -> &str {
        match self {
            Self::Invalid(text)
            | Self::Missing(text)
            | Self::Foreign(text)
            | Self::Refused(text)
            | Self::Forbidden(text)
            | Self::Outdated(text)
            | Self::Failed(text)
            | Self::Away(text) => text,
            Self::Paused => "spec.paused is true: nothing is changed until it is false",
        }
    }

    /// Whether a person is needed.
    fn stalls(&self) -> bool {
        !matches!(self, Self::Failed(_) | Self::Away(_) | Self::Paused)
    }
}

/// What is seen of the object's children.
#[derive(Clone, Default)]
pub struct Seen<'a> {
    /// The Deployments, as they are now.
    pub deployments: Vec<&'a Deployment>,
    /// The workers' pods.
    pub pods: Vec<&'a Pod>,
    /// What workers say keeps them from their work, by pod.
    pub problems: &'a [(String, String)],
    /// What was decided about the number of workers, with autoscaling.
    pub scaling: Option<&'a Decision>,
}

/// One answer before it is dated.
struct Answer {
    kind: &'static str,
    holds: bool,
    reason: &'static str,
    message: String,
}

/// The conditions; `before` are those of the status so far, for their times.
pub fn conditions(
    obstacle: Option<&Obstacle>,
    seen: &Seen<'_>,
    before: &[Condition],
    generation: Option<i64>,
    now: &Time,
) -> Vec<Condition> {
    let rollout = rollout(seen);
    let stalled = match (obstacle.filter(|o| o.stalls()), &rollout) {
        (Some(obstacle), _) => (true, obstacle.reason(), obstacle.message().to_owned()),
        (None, Rollout::Stuck(why)) => (true, "RolloutFailed", why.clone()),
        (None, _) => (false, "Unhindered", "nothing needs a person".into()),
    };
    let reconciling = match (obstacle, &rollout) {
        (Some(o @ (Obstacle::Failed(_) | Obstacle::Away(_))), _) => {
            (true, o.reason(), o.message().to_owned())
        }
        (_, Rollout::UnderWay(what)) if !stalled.0 => (true, "RollingOut", what.clone()),
        (Some(Obstacle::Paused), _) => (false, "Paused", Obstacle::Paused.message().to_owned()),
        _ => (false, "UpToDate", "what runs is what the spec says".into()),
    };
    let ready = match (&rollout, stalled.0) {
        (_, true) => (false, stalled.1, stalled.2.clone()),
        (Rollout::Done(what), false) => (true, "Available", what.clone()),
        (Rollout::UnderWay(what), false) => (false, "WorkersNotReady", what.clone()),
        (Rollout::Stuck(why), false) => (false, "RolloutFailed", why.clone()),
    };
    let mut answers: Vec<Answer> = [
        (CONDITION_READY, ready),
        (CONDITION_RECONCILING, reconciling),
        (CONDITION_STALLED, stalled),
    ]
    .map(|(kind, (holds, reason, message))| Answer { kind, holds, reason, message })
    .into();
    if let Some(decision) = seen.scaling {
        let reason = if decision.informed { "Informed" } else { "NothingKnown" };
        answers.push(Answer {
            kind: CONDITION_SCALING,
            holds: decision.informed,
            reason,
            message: format!("{} workers: {}", decision.replicas, decision.why),
        });
    }
    answers.iter().map(|answer| dated(answer, before, generation, now)).collect()
}

fn dated(answer: &Answer, before: &[Condition], generation: Option<i64>, now: &Time) -> Condition {
    let status = if answer.holds { "True" } else { "False" };
    let same = before.iter().find(|c| c.type_ == answer.kind && c.status == status);
    Condition {
        type_: answer.kind.into(),
        status: status.into(),
        reason: answer.reason.into(),
        message: answer.message.chars().take(MAX_MESSAGE_CHARS).collect(),
        observed_generation: generation,
        last_transition_time: same.map_or_else(|| now.clone(), |c| c.last_transition_time.clone()),
    }
}

enum Rollout {
    Done(String),
    UnderWay(String),
    Stuck(String),
}

/// How far the Deployments are, the workers' first.
fn rollout(seen: &Seen<'_>) -> Rollout {
    let mut done = Vec::new();
    if seen.deployments.is_empty() {
        return Rollout::UnderWay("the workers are not there yet".into());
    }
    for deployment in &seen.deployments {
        let name = deployment.name_any();
        let status = deployment.status.clone().unwrap_or_default();
        let failed = status.conditions.iter().flatten().find(|c| {
            (c.type_ == "ReplicaFailure" && c.status == "True")
                || (c.type_ == "Progressing" && c.status == "False")
        });
        if let Some(condition) = failed {
            let why = condition.message.clone().unwrap_or_default();
            return Rollout::Stuck(format!("{name}: {why}{}", trouble(seen)));
        }
        let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        let ready = status.ready_replicas.unwrap_or(0);
        let updated = status.updated_replicas.unwrap_or(0);
        let running = status.replicas.unwrap_or(0);
        let observed = status.observed_generation >= deployment.metadata.generation;
        if !observed || updated < wanted || running > updated || ready < wanted {
            let what = format!(
                "{name}: {ready} of {wanted} pods are ready, {} of them as the spec says now{}",
                updated.min(wanted),
                trouble(seen)
            );
            return Rollout::UnderWay(what);
        }
        done.push(format!("{name}: {ready} of {wanted} pods are ready"));
    }
    Rollout::Done(done.join("; "))
}

/// What a pod or a worker says is wrong; the first is enough to go by.
fn trouble(seen: &Seen<'_>) -> String {
    let of_pods = seen.pods.iter().find_map(|pod| Some((pod.name_any(), waiting(pod)?)));
    match of_pods.or_else(|| seen.problems.first().cloned()) {
        Some((pod, why)) => format!("; {pod}: {why}"),
        None => String::new(),
    }
}

/// Why a pod does not run, with what its program said last.
fn waiting(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let unscheduled = status
        .conditions
        .iter()
        .flatten()
        .find(|c| c.type_ == "PodScheduled" && c.status == "False");
    if let Some(condition) = unscheduled {
        return Some(format!("not scheduled: {}", condition.message.as_deref().unwrap_or("")));
    }
    let container = status.container_statuses.as_ref()?.first()?;
    let reason = container.state.as_ref()?.waiting.as_ref()?;
    let reason_text = reason.reason.as_deref().unwrap_or_default();
    if matches!(reason_text, "ContainerCreating" | "PodInitializing" | "") {
        return None;
    }
    let ended = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let last_words = ended.and_then(|ended| ended.message.as_deref()).map(last_line);
    let said = last_words.or(reason.message.as_deref()).unwrap_or_default();
    Some(format!("{reason_text}: {said}"))
}

fn last_line(text: &str) -> &str {
    text.trim().lines().last().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(replicas: i32, ready: i32, updated: i32, observed: i64) -> Deployment {
        serde_json::from_value(json!({
            "metadata": {"name": "fleet-consumer", "generation": 2},
            "spec": {"replicas": replicas, "selector": {}, "template": {}},
            "status": {"replicas": updated, "readyReplicas": ready, "updatedReplicas": updated,
                       "observedGeneration": observed},
        }))
        .unwrap()
    }

    fn at(second: i64) -> Time {
        Time(k8s_openapi::jiff::Timestamp::from_second(second).unwrap())
    }

    fn said(
        obstacle: Option<&Obstacle>,
        deployments: &[Deployment],
    ) -> Vec<(String, String, String)> {
        let seen = Seen { deployments: deployments.iter().collect(), ..Seen::default() };
        conditions(obstacle, &seen, &[], Some(2), &at(0))
            .into_iter()
            .map(|c| (c.type_, c.status, c.reason))
            .collect()
    }

    fn is(said: &[(String, String, String)], kind: &str, status: &str, reason: &str) -> bool {
        said.contains(&(kind.into(), status.into(), reason.into()))
    }

    #[test]
    fn all_pods_ready_is_ready() {
        let said = said(None, &[deployment(2, 2, 2, 2)]);
        assert!(is(&said, "Ready", "True", "Available"), "{said:?}");
        assert!(is(&said, "Reconciling", "False", "UpToDate"));
        assert!(is(&said, "Stalled", "False", "Unhindered"));
    }

    #[test]
    fn a_rollout_under_way_is_not_ready_and_not_stalled() {
        for deployment in [deployment(2, 1, 2, 2), deployment(2, 2, 1, 2), deployment(2, 2, 2, 1)] {
            let said = said(None, &[deployment]);
            assert!(is(&said, "Ready", "False", "WorkersNotReady"), "{said:?}");
            assert!(is(&said, "Reconciling", "True", "RollingOut"));
            assert!(is(&said, "Stalled", "False", "Unhindered"));
        }
    }

    #[test]
    fn what_needs_a_person_is_stalled_whatever_runs() {
        let obstacle = Obstacle::Missing("the secret s3 is not there".into());
        let said = said(Some(&obstacle), &[deployment(2, 2, 2, 2)]);
        assert!(is(&said, "Stalled", "True", "ReferenceMissing"), "{said:?}");
        assert!(is(&said, "Ready", "False", "ReferenceMissing"));
        assert!(is(&said, "Reconciling", "False", "UpToDate"));
    }

    #[test]
    fn what_may_work_next_time_is_reconciling_and_what_runs_stays_ready() {
        let obstacle = Obstacle::Failed("503".into());
        let said = said(Some(&obstacle), &[deployment(2, 2, 2, 2)]);
        assert!(is(&said, "Reconciling", "True", "Retrying"), "{said:?}");
        assert!(is(&said, "Ready", "True", "Available"));
    }

    #[test]
    fn a_time_changes_only_with_the_answer() {
        let deployments = [deployment(1, 1, 1, 2)];
        let seen = Seen { deployments: deployments.iter().collect(), ..Seen::default() };
        let first = conditions(None, &seen, &[], Some(2), &at(10));
        let second = conditions(None, &seen, &first, Some(2), &at(20));
        assert_eq!(first, second);
        let obstacle = Obstacle::Paused;
        let third = conditions(Some(&obstacle), &seen, &second, Some(2), &at(30));
        assert_eq!(third[0].last_transition_time, at(10));
        assert_eq!(third[1].reason, "Paused");
    }

    #[test]
    fn a_pod_that_cannot_start_is_named_with_its_last_words() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "fleet-consumer-x"},
            "status": {"containerStatuses": [{
                "name": "consumer", "image": "", "imageID": "", "ready": false, "restartCount": 3,
                "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
                "lastState": {"terminated": {"exitCode": 1, "message": "x\nthe storage s3://b does not work"}},
            }]},
        }))
        .unwrap();
        let deployments = [deployment(1, 0, 1, 2)];
        let seen =
            Seen { deployments: deployments.iter().collect(), pods: vec![&pod], ..Seen::default() };
        let all = conditions(None, &seen, &[], None, &at(0));
        let message = &all[0].message;
        assert!(
            message
                .contains("fleet-consumer-x: CrashLoopBackOff: the storage s3://b does not work"),
            "{message}"
        );
    }
}
