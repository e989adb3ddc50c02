//! The Deployments: workers, the offline checker, and what serves viewers. Pure.

use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment,
};
use k8s_openapi::api::core::v1::{
    Container, HTTPGetAction, Probe, ResourceRequirements, TopologySpreadConstraint,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::pod::{self, METRICS_PORT_NAME, Role};
use super::{Inputs, meta};
use crate::cli::{AllSettings, ServeSettings, SettingScope, UpkeepSettings};
use crate::config::Group;
use crate::operator::crd::ServeSpec;
use crate::operator::names::Component;

/// What a worker reads of its settings.
const CONSUMER_GROUPS: &[Group] = &[
    Group::Pulsar,
    Group::Storage,
    Group::Processing,
    Group::Redis,
    Group::Metrics,
    Group::Archive,
    Group::Watermark,
    Group::Status,
    Group::Log,
];
const _: () = assert!(CONSUMER_GROUPS.len() <= AllSettings::GROUPS.len());

/// A worker that is told to stop finishes and acknowledges what it holds for at most 20 s, then
/// closes the connection to the broker.
const CONSUMER_STOP_SECS: i64 = 45;
/// The checker ends between two devices.
const CHECKER_STOP_SECS: i64 = 30;
/// A server ends when its answers have been given; a clip may take a while.
const SERVE_STOP_SECS: i64 = 30;
/// How long a worker has to stay ready before an old one goes for it, in seconds. A kubelet may
/// take back what it said of a pod that has just become ready, and say it again a moment later:
/// <https://github.com/kubernetes/kubernetes/issues/103717>. And a worker that fails in its first
/// seconds is to be found out while there is another.
const CONSUMER_STEADY_SECS: i32 = 5;
/// A rollout that gets no further for this long is told as failed, in seconds.
const ROLLOUT_SECS: i32 = 300;

/// The workers; `replicas` only where the operator decides how many there are.
pub fn consumer(inputs: &Inputs<'_>) -> Deployment {
    let of = inputs.of;
    let role = &Role {
        component: Component::Consumer,
        args: vec!["consumer".into()],
        groups: CONSUMER_GROUPS,
        resources: of.spec.pod.resources.clone(),
        talks_to_cluster: true,
        serves_metrics: true,
        serves_viewers: false,
        stop_secs: CONSUMER_STOP_SECS,
    };
    let selector = Component::Consumer.selector(&of.name);
    let spread = match of.spec.pod.topology_spread_constraints.as_slice() {
        [] => vec![TopologySpreadConstraint {
            max_skew: 1,
            topology_key: "kubernetes.io/hostname".into(),
            when_unsatisfiable: "ScheduleAnyway".into(),
            label_selector: Some(LabelSelector {
                match_labels: Some(selector),
                match_expressions: None,
            }),
            ..TopologySpreadConstraint::default()
        }],
        given => given.to_vec(),
    };
    let mut workers = deployment(inputs, role, inputs.replicas, one_by_one(), |spec| {
        spec.topology_spread_constraints = Some(spread);
    });
    if let Some(spec) = &mut workers.spec {
        spec.min_ready_seconds = Some(CONSUMER_STEADY_SECS);
    }
    workers
}

/// What ends the sessions of silent devices: one is enough, and two do no harm.
pub fn offline_checker(inputs: &Inputs<'_>) -> Deployment {
    let role = &Role {
        component: Component::OfflineChecker,
        args: vec!["offline-checker".into(), "--continuous".into()],
        groups: UpkeepSettings::GROUPS,
        resources: upkeep(inputs),
        talks_to_cluster: true,
        serves_metrics: true,
        serves_viewers: false,
        stop_secs: CHECKER_STOP_SECS,
    };
    let strategy = DeploymentStrategy { type_: Some("Recreate".into()), rolling_update: None };
    deployment(inputs, role, Some(1), strategy, |_| {})
}

/// What hands out streams: it writes nothing, and viewers notice nothing when it is rolled.
pub fn serve(inputs: &Inputs<'_>, serve: &ServeSpec) -> Deployment {
    let role = &Role {
        component: Component::Serve,
        args: vec!["serve".into()],
        groups: ServeSettings::GROUPS,
        resources: serve.resources.clone(),
        talks_to_cluster: false,
        serves_metrics: true,
        serves_viewers: true,
        stop_secs: SERVE_STOP_SECS,
    };
    deployment(inputs, role, Some(serve.replicas), one_by_one(), |_| {})
}

/// One more before one less: while they are rolled, no device waits for a worker, no viewer for a
/// playlist.
fn one_by_one() -> DeploymentStrategy {
    DeploymentStrategy {
        type_: Some("RollingUpdate".into()),
        rolling_update: Some(RollingUpdateDeployment {
            max_surge: Some(IntOrString::Int(1)),
            max_unavailable: Some(IntOrString::Int(0)),
        }),
    }
}

fn upkeep(inputs: &Inputs<'_>) -> ResourceRequirements {
    inputs.of.spec.pod.upkeep_resources.clone()
}

fn deployment(
    inputs: &Inputs<'_>,
    role: &Role,
    replicas: Option<i32>,
    strategy: DeploymentStrategy,
    change: impl FnOnce(&mut k8s_openapi::api::core::v1::PodSpec),
) -> Deployment {
    let of = inputs.of;
    let component = role.component;
    let selector = component.selector(&of.name);
    let template = pod::template(inputs, role, |spec| {
        spec.containers.iter_mut().for_each(probe);
        change(spec);
    });
    Deployment {
        metadata: meta(of, &component.name(&of.name), component),
        spec: Some(DeploymentSpec {
            replicas,
            selector: LabelSelector { match_labels: Some(selector), match_expressions: None },
            strategy: Some(strategy),
            template,
            progress_deadline_seconds: Some(ROLLOUT_SECS),
            revision_history_limit: Some(3),
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

/// Two addresses with two meanings: alive is that the loop turns, ready is that source, encoders
/// and storage work. Trouble of those passes, and a restart would not help.
fn probe(container: &mut Container) {
    let get = |path: &str| HTTPGetAction {
        path: Some(path.into()),
        port: IntOrString::String(METRICS_PORT_NAME.into()),
        scheme: Some("HTTP".into()),
        ..HTTPGetAction::default()
    };
    // Until it serves at all: a large bucket or a cold node may take its time.
    container.startup_probe = Some(Probe {
        http_get: Some(get("/healthz")),
        period_seconds: Some(2),
        timeout_seconds: Some(2),
        failure_threshold: Some(60),
        ..Probe::default()
    });
    container.liveness_probe = Some(Probe {
        http_get: Some(get("/healthz")),
        period_seconds: Some(10),
        timeout_seconds: Some(5),
        failure_threshold: Some(6),
        ..Probe::default()
    });
    container.readiness_probe = Some(Probe {
        http_get: Some(get("/readyz")),
        period_seconds: Some(5),
        timeout_seconds: Some(5),
        failure_threshold: Some(2),
        ..Probe::default()
    });
}
