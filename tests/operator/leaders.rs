//! Two operators at once: one works.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use rustix::process::Signal;
use serde_json::json;
use stream_processor::operator::kinds::Kind;

use crate::rig::{PATIENCE, Rig, SYSTEM, object, spec, writes};

async fn holder(rig: &Rig, wanted: impl Fn(Option<&str>) -> bool) -> Option<String> {
    let leases: Api<Lease> = Api::namespaced(rig.client.clone(), SYSTEM);
    let begun = Instant::now();
    loop {
        let lease = leases.get_opt("stream-processor-operator").await.expect("an answer");
        let holder = lease.and_then(|lease| lease.spec).and_then(|spec| spec.holder_identity);
        if wanted(holder.as_deref()) {
            return holder;
        }
        assert!(begun.elapsed() < PATIENCE, "the Lease is held by {holder:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn one_of_two_operators_leads_and_the_other_takes_over() {
    let rig = Rig::start().await;
    let namespace = rig.namespace().await;
    let first = rig.operator("first", &[]).await;
    holder(&rig, |holder| holder == Some("first")).await;
    let second = rig.operator("second", &[]).await;
    rig.apply(&object(&namespace, "fleet", &spec())).await;
    rig.ready(&namespace, "fleet").await;

    // One that hangs: the other begins when its time is over, and it does not go on when it
    // wakes up.
    first.signal(Signal::STOP);
    holder(&rig, |holder| holder == Some("second")).await;
    rig.change(&namespace, "fleet", &json!({"spec": {"replicas": 4}})).await;
    let four = |c: &kube::core::DynamicObject| c.data["spec"]["replicas"] == json!(4);
    rig.child(Kind::Deployment, &namespace, "fleet-consumer", four).await;
    rig.ready(&namespace, "fleet").await;
    rig.quiet(Duration::from_secs(3)).await;
    let audit = rig.cluster.audit().since_now();
    first.signal(Signal::CONT);
    tokio::time::sleep(Duration::from_secs(3)).await;
    holder(&rig, |holder| holder == Some("second")).await;
    assert_eq!(writes(&audit), [""; 0]);

    // One that is asked to stop gives the Lease up: nobody has to wait for its time to pass.
    let begun = Instant::now();
    second.stop();
    holder(&rig, |holder| holder == Some("first")).await;
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn an_operator_of_one_namespace_leaves_the_others_alone() {
    let rig = Rig::start().await;
    let (mine, other) = (rig.namespace().await, rig.namespace().await);
    let _operator =
        rig.operator("one", &[("OPERATOR_NAMESPACES", &format!("{mine}, unborn"))]).await;
    for namespace in [&mine, &other] {
        rig.apply(&object(namespace, "fleet", &spec())).await;
    }
    rig.ready(&mine, "fleet").await;
    let deployments = rig.children(Kind::Deployment, &other);
    assert!(deployments.get_opt("fleet-consumer").await.unwrap().is_none());
    assert!(rig.processors(&other).get("fleet").await.unwrap().status.is_none());
}
