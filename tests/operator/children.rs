//! What runs for an object: made, kept as it should be, and gone with it.

use std::time::{Duration, Instant};

use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use stream_processor::operator::kinds::Kind;

use crate::rig::{Operator, PATIENCE, Rig, USER, object, spec, writes};

async fn running(rig: &Rig, spec: &Value) -> (String, Operator) {
    let namespace = rig.namespace().await;
    let operator = rig.operator("one", &[]).await;
    rig.apply(&object(&namespace, "fleet", spec)).await;
    rig.ready(&namespace, "fleet").await;
    (namespace, operator)
}

const CHILDREN: [(Kind, &str); 11] = [
    (Kind::ServiceAccount, "fleet-worker"),
    (Kind::Role, "fleet-worker"),
    (Kind::RoleBinding, "fleet-worker"),
    (Kind::Deployment, "fleet-consumer"),
    (Kind::Deployment, "fleet-offline-checker"),
    (Kind::CronJob, "fleet-cleanup"),
    (Kind::CronJob, "fleet-archive-cleanup"),
    (Kind::Service, "fleet-metrics"),
    (Kind::Service, "fleet-serve"),
    (Kind::Deployment, "fleet-serve"),
    (Kind::PodDisruptionBudget, "fleet-consumer"),
];

#[tokio::test]
async fn every_child_is_made_brought_back_and_at_last_gone_with_its_object() {
    let rig = Rig::start().await;
    let mut spec = spec();
    spec["serve"] = json!({});
    let (namespace, operator) = running(&rig, &spec).await;

    // Deleted by hand, one after the other: each comes back with another uid.
    for (kind, name) in CHILDREN {
        let before = rig.child(kind, &namespace, name, |_| true).await.metadata.uid;
        let api = rig.children(kind, &namespace);
        api.delete(name, &DeleteParams::background()).await.expect("it is deleted");
        rig.child(kind, &namespace, name, |child| child.metadata.uid != before).await;
    }
    // Edited by hand.
    for (kind, name, path, edit) in [
        (Kind::Role, "fleet-worker", "/rules", json!({"rules": []})),
        (Kind::Deployment, "fleet-consumer", "/spec/replicas", json!({"spec": {"replicas": 9}})),
        (
            Kind::Deployment,
            "fleet-consumer",
            "/spec/template/spec/terminationGracePeriodSeconds",
            json!({"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 1}}}}),
        ),
        (
            Kind::CronJob,
            "fleet-cleanup",
            "/spec/schedule",
            json!({"spec": {"schedule": "1 1 1 1 1"}}),
        ),
        (
            Kind::Service,
            "fleet-metrics",
            "/spec/selector",
            json!({"spec": {"selector": {"app.kubernetes.io/name": "other"}}}),
        ),
        (
            Kind::PodDisruptionBudget,
            "fleet-consumer",
            "/spec/maxUnavailable",
            json!({"spec": {"maxUnavailable": 9}}),
        ),
        (
            Kind::Role,
            "fleet-worker",
            "/metadata/labels",
            json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "me"}}}),
        ),
    ] {
        let api = rig.children(kind, &namespace);
        let whole = |child: &kube::core::DynamicObject| serde_json::to_value(child).unwrap();
        let right = whole(&rig.child(kind, &namespace, name, |_| true).await);
        api.patch(name, &PatchParams::default(), &Patch::Merge(&edit)).await.expect("it is edited");
        rig.child(kind, &namespace, name, |child| {
            whole(child).pointer(path) == right.pointer(path)
        })
        .await;
    }
    rig.ready(&namespace, "fleet").await;

    // What stands is not written again, by the same operator or by the next.
    rig.quiet(Duration::from_secs(3)).await;
    let audit = rig.cluster.audit().since_now();
    rig.change(&namespace, "fleet", &json!({"metadata": {"annotations": {"look": "again"}}})).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    operator.stop();
    let operator = rig.operator("two", &[]).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let lists =
        audit.requests_of(USER).iter().filter(|r| r.verb == "list" || r.verb == "watch").count();
    assert!(lists > 0, "the second operator looks");
    assert_eq!(writes(&audit), [""; 0]);

    // Gone with the object.
    let processors = rig.processors(&namespace);
    processors.delete("fleet", &DeleteParams::background()).await.expect("it is deleted");
    let begun = Instant::now();
    for (kind, name) in CHILDREN {
        let api = rig.children(kind, &namespace);
        while api.get_opt(name).await.expect("an answer").is_some() {
            assert!(begun.elapsed() < PATIENCE, "{name} is left");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    drop(operator);
    // It was never refused anything under its own rights.
    let forbidden: Vec<_> =
        rig.cluster.audit().forbidden().into_iter().filter(|r| r.user == USER).collect();
    assert_eq!(forbidden, []);
}

#[tokio::test]
async fn a_change_of_the_spec_reaches_what_runs_and_a_feature_that_is_off_is_removed() {
    let rig = Rig::start().await;
    let (namespace, _operator) = running(&rig, &spec()).await;
    let replicas =
        |n: i64| move |c: &kube::core::DynamicObject| c.data["spec"]["replicas"] == json!(n);

    rig.cluster.kubectl(&["scale", "sp/fleet", "-n", &namespace, "--replicas=3"]).await;
    rig.child(Kind::Deployment, &namespace, "fleet-consumer", replicas(3)).await;
    let said = rig.processors(&namespace).get("fleet").await.unwrap().status.unwrap();
    assert!(said.selector.unwrap().contains("app.kubernetes.io/instance=fleet"));

    // Let go of: the number stays as it is, and whoever scales now is left alone.
    rig.change(&namespace, "fleet", &json!({"spec": {"replicas": null, "logLevel": "DEBUG"}}))
        .await;
    let debug = |c: &kube::core::DynamicObject| c.data.to_string().contains("\"DEBUG\"");
    let child = rig.child(Kind::Deployment, &namespace, "fleet-consumer", debug).await;
    assert_eq!(child.data["spec"]["replicas"], json!(3));
    rig.cluster
        .kubectl(&["scale", "deployment/fleet-consumer", "-n", &namespace, "--replicas=5"])
        .await;
    rig.change(&namespace, "fleet", &json!({"spec": {"logLevel": "WARN"}})).await;
    let warn = |c: &kube::core::DynamicObject| c.data.to_string().contains("\"WARN\"");
    let child = rig.child(Kind::Deployment, &namespace, "fleet-consumer", warn).await;
    assert_eq!(child.data["spec"]["replicas"], json!(5));

    rig.change(&namespace, "fleet", &json!({"spec": {"archive": {"enabled": false}}})).await;
    let jobs = rig.children(Kind::CronJob, &namespace);
    let begun = Instant::now();
    while jobs.list(&ListParams::default()).await.unwrap().items.len() > 1 {
        assert!(begun.elapsed() < PATIENCE, "the archive clean-up is left");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    rig.change(&namespace, "fleet", &json!({"spec": {"serve": {"replicas": 2}}})).await;
    rig.child(Kind::Deployment, &namespace, "fleet-serve", replicas(2)).await;
    rig.child(Kind::Service, &namespace, "fleet-serve", |_| true).await;
    let said = rig.condition(&namespace, "fleet", ("Ready", "True", "Available")).await;
    assert!(said.contains("fleet-serve: 2 of 2 pods"), "{said}");
    rig.change(&namespace, "fleet", &json!({"spec": {"serve": null}})).await;
    let begun = Instant::now();
    for kind in [Kind::Deployment, Kind::Service] {
        let api = rig.children(kind, &namespace);
        while api.get_opt("fleet-serve").await.unwrap().is_some() {
            assert!(begun.elapsed() < PATIENCE, "what serves is left");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    // Paused: not even what was taken away comes back.
    rig.change(&namespace, "fleet", &json!({"spec": {"paused": true}})).await;
    rig.condition(&namespace, "fleet", ("Reconciling", "False", "Paused")).await;
    let services = rig.children(Kind::Service, &namespace);
    services.delete("fleet-metrics", &DeleteParams::default()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(services.get_opt("fleet-metrics").await.unwrap().is_none());
    rig.change(&namespace, "fleet", &json!({"spec": {"paused": false}})).await;
    rig.child(Kind::Service, &namespace, "fleet-metrics", |_| true).await;
}
