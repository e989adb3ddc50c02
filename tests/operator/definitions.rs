//! What the API server itself refuses, and with which words.

use std::time::Duration;

use kube::api::PostParams;
use kube::{Api, Error};
use serde_json::{Value, json};
use stream_processor::operator::crd::StreamProcessor;

use crate::rig::{Rig, current_definitions, list_of, object, shared, spec};

/// Asks for a dry run, so that nothing is left of it.
async fn asked(name: &str, spec: &Value) -> Result<StreamProcessor, String> {
    let cluster = shared().await;
    let api: Api<kube::core::DynamicObject> = {
        let resource = kube::core::ApiResource::erase::<StreamProcessor>(&());
        Api::namespaced_with(cluster.admin().await, "default", &resource)
    };
    let object = serde_json::from_value(object("default", name, spec)).unwrap();
    let dry = PostParams { dry_run: true, field_manager: None };
    match api.create(&dry, &object).await {
        Ok(made) => Ok(made.try_parse().unwrap()),
        Err(Error::Api(status)) => Err(status.message.clone()),
        Err(error) => panic!("{error}"),
    }
}

fn with(path: &str, value: Value) -> Value {
    let mut spec = spec();
    let (parent, field) = path.rsplit_once('/').unwrap();
    let parent = if parent.is_empty() { &mut spec } else { spec.pointer_mut(parent).unwrap() };
    match value {
        Value::Null => drop(parent.as_object_mut().unwrap().remove(field)),
        value => parent[field] = value,
    }
    spec
}

#[tokio::test]
async fn a_spec_that_contradicts_itself_is_refused_with_what_to_write_instead() {
    let autoscaling = json!({"maxReplicas": 3});
    let s3 = json!({"bucket": "b"});
    for (spec, says) in [
        (with("/autoscaling", autoscaling.clone()), "remove replicas"),
        (
            {
                let mut spec = with("/replicas", Value::Null);
                spec["autoscaling"] = json!({"maxReplicas": 3, "targetFrameAgeSeconds": 60});
                spec
            },
            "write pulsar.adminUrl",
        ),
        (
            {
                let mut spec = with("/replicas", Value::Null);
                spec["autoscaling"] = json!({"minReplicas": 4, "maxReplicas": 3});
                spec
            },
            "at most as large as autoscaling.maxReplicas",
        ),
        (with("/replicas", json!(-1)), "greater than or equal to 0"),
        (with("/pulsar/serviceUrl", json!("http://broker")), "pulsar://host:6650"),
        (with("/pulsar/serviceUrl", json!("pulsar://me:secret@broker:6650")), "without user"),
        (
            with("/pulsar/topic", json!("non-persistent://a/b/c")),
            "persistent://tenant/namespace/name",
        ),
        (with("/pulsar/subscription", json!("a b")), "without spaces"),
        (with("/pulsar/adminUrl", json!("broker:8080")), "http://host:8080"),
        (
            with("/pulsar/tls", json!({"caSecretRef": {"name": "ca"}})),
            "write serviceUrl as pulsar+ssl://",
        ),
        (
            {
                let mut spec = with("/pulsar/authSecretRef", json!({"name": "a"}));
                spec["pulsar"]["oauth2"] =
                    json!({"issuerUrl": "https://i", "credentialsSecretRef": {"name": "a"}});
                spec
            },
            "write one of them",
        ),
        (with("/storage/filesystem", Value::Null), "write filesystem.claimName"),
        (with("/storage/filesystem", json!({})), "write one of filesystem.claimName"),
        (
            with("/storage/filesystem", json!({"claimName": "a", "hostPath": "/b"})),
            "write one of filesystem.claimName",
        ),
        (with("/storage/filesystem", json!({"hostPath": "b"})), "absolute path"),
        (with("/storage/s3", s3.clone()), "remove it, or write type: s3"),
        (with("/storage", json!({"type": "s3"})), "write s3.bucket"),
        (with("/storage", json!({"type": "gcs"})), "write gcs.bucket"),
        (with("/storage", json!({"type": "azure"})), "write azure.account"),
        (with("/storage", json!({"type": "s3", "s3": {"bucket": "a/b"}})), "s3.prefix"),
        (with("/storage/type", json!("ftp")), "supported values"),
        (with("/redis", json!({})), "write one of redis.url"),
        (with("/redis", json!({"url": "redis://:pass@redis"})), "belongs in a secret"),
        (
            with(
                "/archive",
                json!({"minSessionDurationSeconds": 90, "maxSessionDurationSeconds": 60}),
            ),
            "no session would be kept",
        ),
        (with("/cleanup", json!({"schedule": "often"})), "five fields of cron"),
        (with("/archiveCleanup", json!({"schedule": "* * *"})), "five fields of cron"),
        (with("/processing", json!({"timelapseFrameRate": 4})), "write playback: timelapse"),
        (with("/processing", json!({"segmentDurationSeconds": 1})), "greater than or equal to 2"),
        (with("/pod", json!({"labels": {"app.kubernetes.io/name": "x"}})), "another prefix"),
        (with("/watermark", json!({"fontSize": 1})), "greater than or equal to 8"),
        (with("/pulsar", Value::Null), "Required value"),
    ] {
        let refusal = asked("fleet", &spec).await.expect_err(&spec.to_string());
        assert!(refusal.contains(says), "{spec}\nis refused with: {refusal}");
    }
}

#[tokio::test]
async fn a_name_that_would_not_fit_its_children_is_refused() {
    for bad in ["1fleet", "fleet.one", &"f".repeat(37)] {
        let refusal = asked(bad, &spec()).await.expect_err(bad);
        assert!(refusal.contains("at most 36 characters"), "{refusal}");
    }
    asked(&"f".repeat(36), &spec()).await.expect("it fits");
}

#[tokio::test]
async fn what_is_left_out_is_filled_in_as_the_settings_have_it() {
    let object = asked("fleet", &spec()).await.expect("it is right");
    let made = object.spec;
    assert_eq!(made.pulsar.topic, "persistent://streamhub/stream/frames");
    assert_eq!(made.processing, Default::default());
    assert_eq!(made.archive, Default::default());
    assert_eq!(made.cleanup.schedule, "*/5 * * * *");
    assert_eq!(made.archive_cleanup.schedule, "0 * * * *");
    assert_eq!((made.log_level.as_str(), made.paused), ("INFO", false));
    assert_eq!(made.pod, Default::default());
    assert!(made.watermark.is_none() && made.redis.is_none() && made.autoscaling.is_none());
}

#[tokio::test]
async fn kubectl_explains_lists_and_scales_it() {
    let cluster = shared().await;
    // The API server tells of a new kind's fields a little later than it serves it.
    let begun = std::time::Instant::now();
    let group = "apis/streamhub.microboxlabs.com/v1alpha1";
    while !cluster.kubectl(&["get", "--raw", "/openapi/v3"]).await.contains(group) {
        assert!(begun.elapsed() < crate::rig::PATIENCE, "its fields are never told");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let explained = cluster.kubectl(&["explain", "sp.spec.storage.filesystem.claimName"]).await;
    assert!(explained.contains("ReadWriteMany"), "{explained}");
    cluster.create_namespace("listed").await;
    cluster.apply(object("listed", "fleet", &spec()).to_string()).await;
    let line = cluster.kubectl(&["get", "streamhub", "-n", "listed"]).await;
    for column in ["READY", "REPLICAS", "DEVICES", "LIVE", "FAILING", "BACKLOG", "AGE"] {
        assert!(line.contains(column), "{line}");
    }
    cluster.kubectl(&["scale", "sp/fleet", "-n", "listed", "--replicas=7"]).await;
    let replicas = cluster
        .kubectl(&["get", "sp/fleet", "-n", "listed", "-o", "jsonpath={.spec.replicas}"])
        .await;
    assert_eq!(replicas, "7");
}

#[tokio::test]
async fn older_definitions_are_said_once_worked_with_and_healed_by_an_upgrade() {
    let rig = Rig::start().await;
    let mut older = current_definitions();
    let schema = "/spec/versions/0/schema/openAPIV3Schema/properties";
    for (definition, field) in [
        (0, "/status/properties/readyReplicas"),
        (0, "/spec/properties/watermark"),
        (1, "/devices/items/properties/error"),
    ] {
        let (parent, name) = field.rsplit_once('/').unwrap();
        let parent = older[definition].pointer_mut(&format!("{schema}{parent}")).unwrap();
        parent.as_object_mut().unwrap().remove(name).expect(field);
    }
    rig.cluster.apply(list_of(&older)).await;
    let namespace = rig.namespace().await;
    // The API server tells of a kind's fields a little later than it takes them.
    let begun = std::time::Instant::now();
    let told = async |path: &str, text: &str| {
        rig.cluster.kubectl(&["get", "--raw", path]).await.contains(text)
    };
    let group = "apis/streamhub.microboxlabs.com/v1alpha1";
    while !told("/openapi/v3", group).await
        || told(&format!("/openapi/v3/{group}"), "readyReplicas\"").await
    {
        assert!(begun.elapsed() < crate::rig::PATIENCE, "its fields are never told");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let operator = rig.operator("one", &[]).await;
    rig.apply(&object(&namespace, "fleet", &spec())).await;

    let said = rig.condition(&namespace, "fleet", ("Stalled", "True", "DefinitionsOutdated")).await;
    for named in [
        "StreamProcessor.status.readyReplicas",
        "StreamProcessor.spec.watermark",
        "DeviceSlice.devices.error",
        "kubectl apply --server-side -f crds",
    ] {
        assert!(said.contains(named), "{named}: {said}");
    }
    let begun = std::time::Instant::now();
    while rig.processors(&namespace).get("fleet").await.unwrap().status.unwrap().replicas < 2 {
        assert!(begun.elapsed() < crate::rig::PATIENCE, "what else there is to say is not said");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    rig.quiet(Duration::from_secs(6)).await;
    assert_eq!(operator.said("the installed definitions are not those").len(), 1);
    let outdated = "stream_processor_operator_definitions_outdated";
    assert_eq!(operator.metric(outdated).await, Some(1.0));
    let failures = "stream_processor_operator_reconcile_failures_total";
    assert_eq!(operator.metric(failures).await, Some(0.0));

    rig.cluster.apply(list_of(&current_definitions())).await;
    rig.ready(&namespace, "fleet").await;
    let status = rig.processors(&namespace).get("fleet").await.unwrap().status.unwrap();
    assert_eq!(status.ready_replicas, 2);
    assert_eq!(operator.metric(outdated).await, Some(0.0));
}
