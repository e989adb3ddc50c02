//! Two operators at once: one works.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use rustix::process::Signal;
use serde_json::json;
use stream_processor::operator::kinds::Kind;

use crate::proxy::{Fault, Proxy};
use crate::rig::{PATIENCE, Rig, SYSTEM, USER, object, spec, writes};

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

/// Scales the fleet up and down for a while.
async fn churn(rig: &Rig, namespace: &str, for_so_long: Duration) {
    let begun = Instant::now();
    let mut replicas = 3;
    while begun.elapsed() < for_so_long {
        replicas = if replicas == 3 { 4 } else { 3 };
        rig.change(namespace, "fleet", &json!({"spec": {"replicas": replicas}})).await;
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

#[tokio::test]
async fn a_leader_that_was_stopped_in_the_middle_of_its_work_writes_nothing_when_it_goes_on() {
    let rig = Rig::start().await;
    let namespace = rig.namespace().await;
    let proxy = Proxy::start(&rig.cluster.url()).await;
    let first = rig.operator_by(&proxy, "first", &[]).await;
    holder(&rig, |holder| holder == Some("first")).await;
    let (second, user) = rig.operator_as("second", &[]).await;
    rig.apply(&object(&namespace, "fleet", &spec())).await;
    rig.ready(&namespace, "fleet").await;
    rig.quiet(Duration::from_secs(2)).await;

    // It waits for the answer to its first write of several when it is stopped.
    proxy
        .disturb(Fault::Held, |seen| seen.method == "PATCH" && seen.path.contains("/deployments/"));
    let more = json!({"spec": {"replicas": 3, "cleanup": {"schedule": "7 * * * *"}}});
    rig.change(&namespace, "fleet", &more).await;
    proxy.wait_for_struck(1).await;
    first.signal(Signal::STOP);
    holder(&rig, |holder| holder == Some("second")).await;
    let more = json!({"spec": {"replicas": 4, "cleanup": {"schedule": "8 * * * *"}}});
    rig.change(&namespace, "fleet", &more).await;
    rig.ready(&namespace, "fleet").await;
    rig.quiet(Duration::from_secs(2)).await;
    let audit = rig.cluster.audit().since_now();
    proxy.heal();
    first.signal(Signal::CONT);
    first.wait_until_said("stops its work").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(writes(&audit), [""; 0]);
    let eight = |c: &kube::core::DynamicObject| c.data["spec"]["schedule"] == json!("8 * * * *");
    rig.child(Kind::CronJob, &namespace, "fleet-cleanup", eight).await;

    // Again and again while there is always something to write: at any time one of the two does.
    let audit = rig.cluster.audit().since_now();
    for (leader, standing_by) in [(&second, "first"), (&first, "second"), (&second, "first")] {
        churn(&rig, &namespace, Duration::from_secs(2)).await;
        leader.signal(Signal::STOP);
        let changes = churn(&rig, &namespace, Duration::from_secs(10));
        let taken = holder(&rig, |holder| holder == Some(standing_by));
        tokio::join!(changes, taken);
        leader.signal(Signal::CONT);
        churn(&rig, &namespace, Duration::from_secs(2)).await;
    }
    rig.ready(&namespace, "fleet").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut leads = String::new();
    let mut written = std::collections::BTreeMap::<String, usize>::new();
    for request in audit.requests().into_iter().filter(|r| r.writes() && r.code < 400) {
        if request.user != USER && request.user != user {
            continue;
        }
        if request.resource.starts_with("leases") {
            leads.clone_from(&request.user);
        } else if !leads.is_empty() {
            assert_eq!(request.user, leads, "{request} is written by one that does not lead");
            *written.entry(request.user).or_default() += 1;
        }
    }
    assert!(written.len() == 2 && written.values().all(|n| *n > 5), "{written:?}");
}
