//! What is wrong is said, and heals.

use std::time::Duration;

use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use serde_json::json;
use stream_processor::operator::kinds::Kind;

use crate::rig::{Rig, claim, object, spec};

#[tokio::test]
async fn what_is_missing_is_named_and_heals_when_it_comes() {
    let rig = Rig::start().await;
    let namespace = rig.namespace().await;
    let _operator = rig.operator("one", &[]).await;
    let mut wanted = spec();
    wanted["redis"] = json!({"urlSecretRef": {"name": "redis-login"}});
    wanted["storage"]["filesystem"]["claimName"] = json!("other");
    rig.apply(&object(&namespace, "fleet", &wanted)).await;
    let said = rig.condition(&namespace, "fleet", ("Stalled", "True", "ReferenceMissing")).await;
    assert!(said.contains("secret redis-login that redis.urlSecretRef names"), "{said}");
    assert!(said.contains("PersistentVolumeClaim other"), "{said}");

    let mut of_a_class = claim(&namespace, "other");
    of_a_class["spec"]["storageClassName"] = json!("new");
    rig.apply(&of_a_class).await;
    let secret = |data: serde_json::Value| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "stringData": data,
            "metadata": {"name": "redis-login", "namespace": namespace},
        })
    };
    rig.apply(&secret(json!({"uri": "redis://redis"}))).await;
    loop {
        let said =
            rig.condition(&namespace, "fleet", ("Stalled", "True", "ReferenceMissing")).await;
        if said.starts_with("the secret redis-login that redis.urlSecretRef names has no key url") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    rig.apply(&secret(json!({"uri": "redis://redis", "url": "redis://redis"}))).await;
    let class = "the storage class new of the PersistentVolumeClaim other that \
                 storage.filesystem.claimName names is not there";
    while rig.condition(&namespace, "fleet", ("Stalled", "True", "ReferenceMissing")).await != class
    {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Of the kind that makes a volume for the first pod alone: the claim does not change.
    rig.apply(&json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "new"},
        "provisioner": "example.invalid/volumes", "volumeBindingMode": "WaitForFirstConsumer",
    }))
    .await;
    rig.ready(&namespace, "fleet").await;

    // Another password: other pods. Another label of the secret: the same ones.
    let digest = |child: &kube::core::DynamicObject| {
        let annotations = &child.data["spec"]["template"]["metadata"]["annotations"];
        annotations["streamhub.microboxlabs.com/secrets"].as_str().unwrap().to_owned()
    };
    let before = digest(&rig.child(Kind::Deployment, &namespace, "fleet-consumer", |_| true).await);
    rig.cluster.kubectl(&["label", "secret", "redis-login", "-n", &namespace, "colour=red"]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    rig.child(Kind::Deployment, &namespace, "fleet-consumer", |c| digest(c) == before).await;
    rig.apply(&secret(json!({"uri": "redis://redis", "url": "redis://other"}))).await;
    rig.child(Kind::Deployment, &namespace, "fleet-consumer", |c| digest(c) != before).await;

    // Told once each, not again and again.
    let events: Api<Event> = Api::namespaced(rig.client.clone(), &namespace);
    let told = events.list(&ListParams::default()).await.unwrap();
    let missing = told.iter().filter(|e| e.reason.as_deref() == Some("ReferenceMissing")).count();
    assert_eq!(missing, 1);
}

#[tokio::test]
async fn a_spec_that_no_rule_catches_is_told_as_loudly() {
    let rig = Rig::start().await;
    let namespace = rig.namespace().await;
    let _operator = rig.operator("one", &[]).await;
    let mut wanted = spec();
    wanted["logLevel"] = json!("INFOO");
    rig.apply(&object(&namespace, "fleet", &wanted)).await;
    let said = rig.condition(&namespace, "fleet", ("Stalled", "True", "InvalidSpec")).await;
    assert!(said.contains("LOG_LEVEL") && said.contains("DEBUG"), "{said}");
    rig.condition(&namespace, "fleet", ("Ready", "False", "InvalidSpec")).await;
    rig.change(
        &namespace,
        "fleet",
        &json!({"spec": {"logLevel": "INFO", "cleanup": {"schedule": "99 * * * *"}}}),
    )
    .await;
    let said = rig.condition(&namespace, "fleet", ("Stalled", "True", "ChildRefused")).await;
    assert!(said.contains("fleet-cleanup") && said.contains("schedule"), "{said}");
    rig.change(&namespace, "fleet", &json!({"spec": {"cleanup": {"schedule": "9 * * * *"}}})).await;
    rig.ready(&namespace, "fleet").await;
}

#[tokio::test]
async fn an_object_of_somebody_else_is_not_taken_over() {
    let rig = Rig::start().await;
    let namespace = rig.namespace().await;
    let theirs = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "fleet-metrics", "namespace": namespace, "labels": {"whose": "theirs"}},
        "spec": {"ports": [{"port": 80}], "selector": {"app": "theirs"}},
    });
    rig.apply(&theirs).await;
    let _operator = rig.operator("one", &[]).await;
    rig.apply(&object(&namespace, "fleet", &spec())).await;
    let said = rig.condition(&namespace, "fleet", ("Stalled", "True", "NameTaken")).await;
    assert!(said.contains("a Service named fleet-metrics"), "{said}");
    // The others are there all the same.
    rig.child(Kind::Deployment, &namespace, "fleet-consumer", |_| true).await;
    let services = rig.children(Kind::Service, &namespace);
    let found = services.get("fleet-metrics").await.unwrap();
    assert_eq!(found.data["spec"]["selector"], json!({"app": "theirs"}));
    assert!(found.metadata.owner_references.is_none());

    // Deleting the object leaves it alone, too; and when it goes by itself, ours comes.
    services.delete("fleet-metrics", &DeleteParams::default()).await.unwrap();
    rig.change(&namespace, "fleet", &json!({"spec": {"logLevel": "DEBUG"}})).await;
    rig.ready(&namespace, "fleet").await;
}

#[tokio::test]
async fn an_api_server_that_goes_away_for_a_while_is_waited_for() {
    let rig = Rig::start().await;
    let namespace = rig.namespace().await;
    let _operator = rig.operator("one", &[]).await;
    rig.apply(&object(&namespace, "fleet", &spec())).await;
    rig.ready(&namespace, "fleet").await;
    rig.cluster.api_server.kill();
    tokio::time::sleep(Duration::from_secs(8)).await;
    rig.cluster.api_server.restart().await;
    rig.change(&namespace, "fleet", &json!({"spec": {"replicas": 4}})).await;
    let four = |c: &kube::core::DynamicObject| c.data["spec"]["replicas"] == json!(4);
    rig.child(Kind::Deployment, &namespace, "fleet-consumer", four).await;
    rig.ready(&namespace, "fleet").await;
}
