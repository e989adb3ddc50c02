use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::config::{Config, Group, Sources};

fn built(of: &Validated) -> Vec<Child> {
    let secrets = SecretDigests(vec![(Group::Pulsar, "d".into())]);
    let inputs = Inputs { of, secrets: &secrets, replicas: of.spec.replicas, pod_monitors: true };
    children(&inputs).unwrap()
}

fn find<'a>(all: &'a [Child], kind: Kind, name: &str) -> &'a Value {
    &all.iter()
        .find(|c| c.kind == kind && c.name == name)
        .unwrap_or_else(|| panic!("{name}"))
        .object
}

/// The pod specs of everything that has one, by the child's name.
fn pods(all: &[Child]) -> BTreeMap<&str, &Value> {
    let paths = ["/spec/template/spec", "/spec/jobTemplate/spec/template/spec"];
    all.iter()
        .filter_map(|child| {
            let spec = paths.iter().find_map(|path| child.object.pointer(path))?;
            Some((child.name.as_str(), spec))
        })
        .collect()
}

#[test]
fn every_setting_of_a_pod_is_one_that_it_knows_and_takes() {
    for spec in [fixture::minimal(), fixture::full()] {
        let of = fixture::validated(spec);
        for (name, pod) in pods(&built(&of)) {
            let env = pod.pointer("/containers/0/env").unwrap().as_array().unwrap();
            assert!(!env.is_empty(), "{name}");
            let examples: BTreeMap<_, _> =
                of.variables.iter().map(|v| (v.name.clone(), v.example().to_owned())).collect();
            let environment = env
                .iter()
                .map(|variable| {
                    let name = variable["name"].as_str().unwrap();
                    (name.into(), examples[name].clone().into())
                })
                .collect();
            let sources = Sources { environment, ..Sources::default() };
            let resolved = Config::resolve(&sources, Group::ALL, "pod").unwrap();
            assert_eq!(resolved.notices, [""; 0], "{name}");
        }
    }
}

#[test]
fn what_a_spec_says_reaches_the_worker() {
    let of = fixture::validated(fixture::full());
    let environment =
        of.variables.iter().map(|v| (v.name.clone().into(), v.example().into())).collect();
    let sources = Sources { environment, ..Sources::default() };
    let config = Config::resolve(&sources, Group::ALL, "pod").unwrap().config;
    assert_eq!(config.pulsar.topic, "persistent://a/b/c");
    assert_eq!(config.storage.streams.to_string(), "s3://frames/fleet/one");
    assert_eq!(config.processing.segment_duration_secs, 20);
    assert_eq!(config.processing.retention_hours, 48);
    assert!(config.redis.enabled && config.redis.playlist_enabled && config.watermark.enabled);
    assert_eq!(config.archive.retention_days, 3);
    assert_eq!(config.retention.grace.as_secs(), 60);
    assert_eq!(config.status.pod.unwrap().processor, "fleet");
}

/// <https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted>
#[test]
fn every_pod_is_admitted_under_the_restricted_standard() {
    for (spec, count) in [(fixture::minimal(), 4), (fixture::full(), 5)] {
        let all = built(&fixture::validated(spec));
        let pods = pods(&all);
        assert_eq!(pods.len(), count);
        for (name, pod) in pods {
            let of_pod = &pod["securityContext"];
            assert_eq!(of_pod["runAsNonRoot"], json!(true), "{name}");
            assert_eq!(of_pod["seccompProfile"]["type"], json!("RuntimeDefault"), "{name}");
            assert_ne!(of_pod["runAsUser"], json!(0), "{name}");
            for container in pod["containers"].as_array().unwrap() {
                let of_container = &container["securityContext"];
                assert_eq!(of_container["allowPrivilegeEscalation"], json!(false), "{name}");
                assert_eq!(of_container["readOnlyRootFilesystem"], json!(true), "{name}");
                assert_eq!(of_container["capabilities"]["drop"], json!(["ALL"]), "{name}");
            }
            for volume in pod["volumes"].as_array().unwrap() {
                assert!(volume.get("hostPath").is_none(), "{name}");
            }
        }
    }
}

#[test]
fn a_cron_job_neither_piles_up_nor_stops_for_ever() {
    let all = built(&fixture::validated(fixture::full()));
    for (name, schedule) in [("fleet-cleanup", "*/10 * * * *"), ("fleet-archive-cleanup", "@daily")]
    {
        let spec = &find(&all, Kind::CronJob, name)["spec"];
        assert_eq!(spec["concurrencyPolicy"], json!("Forbid"));
        assert!(spec["startingDeadlineSeconds"].as_i64().unwrap() >= 10);
        assert_eq!(spec["schedule"], json!(schedule));
    }
    assert_eq!(find(&all, Kind::CronJob, "fleet-cleanup")["spec"]["suspend"], json!(true));
}

#[test]
fn a_number_of_workers_that_nobody_gave_is_not_applied() {
    let all = built(&fixture::validated(fixture::minimal()));
    let spec = &find(&all, Kind::Deployment, "fleet-consumer")["spec"];
    assert!(spec.get("replicas").is_none(), "{spec}");
    let all = built(&fixture::validated(fixture::full()));
    assert_eq!(find(&all, Kind::Deployment, "fleet-consumer")["spec"]["replicas"], json!(3));
}

#[test]
fn an_old_worker_stays_until_a_new_one_has_been_ready_for_a_while() {
    let all = built(&fixture::validated(fixture::minimal()));
    let spec = &find(&all, Kind::Deployment, "fleet-consumer")["spec"];
    let rolling = &spec["strategy"]["rollingUpdate"];
    assert_eq!((&rolling["maxSurge"], &rolling["maxUnavailable"]), (&json!(1), &json!(0)));
    let steady_secs = spec["minReadySeconds"].as_i64().unwrap();
    let limit_secs = spec["progressDeadlineSeconds"].as_i64().unwrap();
    assert!((2..limit_secs / 10).contains(&steady_secs), "{steady_secs}");
}

#[test]
fn alive_and_ready_are_two_questions_and_a_worker_may_finish() {
    let all = built(&fixture::validated(fixture::minimal()));
    let pod =
        find(&all, Kind::Deployment, "fleet-consumer").pointer("/spec/template/spec").unwrap();
    let container = &pod["containers"][0];
    assert_eq!(container["livenessProbe"]["httpGet"]["path"], json!("/healthz"));
    assert_eq!(container["readinessProbe"]["httpGet"]["path"], json!("/readyz"));
    assert!(container.get("lifecycle").is_none());
    // The worker's own grace is 20 s.
    assert!(pod["terminationGracePeriodSeconds"].as_i64().unwrap() >= 30);
}

#[test]
fn a_feature_that_is_off_has_no_child() {
    let mut spec = fixture::minimal();
    spec["archive"] = json!({"enabled": false});
    let all = built(&fixture::validated(spec));
    assert!(!all.iter().any(|child| child.name == "fleet-archive-cleanup"));
    assert!(all.iter().any(|child| child.name == "fleet-cleanup"));
}

#[test]
fn viewers_come_by_a_service_to_pods_that_cannot_write() {
    let mut spec = fixture::minimal();
    assert!(!built(&fixture::validated(spec.clone())).iter().any(|c| c.name == "fleet-serve"));
    spec["serve"] = json!({});
    spec["settings"] = json!({"SERVE_PORT": "8181"});
    let all = built(&fixture::validated(spec));
    let service = &find(&all, Kind::Service, "fleet-serve")["spec"];
    let deployment = &find(&all, Kind::Deployment, "fleet-serve")["spec"];
    let labels = &deployment["template"]["metadata"]["labels"];
    for (key, value) in service["selector"].as_object().unwrap() {
        assert_eq!(&labels[key], value);
    }
    let container = &deployment["template"]["spec"]["containers"][0];
    let ports = container["ports"].as_array().unwrap();
    let port = ports.iter().find(|port| port["name"] == service["ports"][0]["targetPort"]).unwrap();
    assert_eq!(port["containerPort"], json!(8181));
    let mounts = container["volumeMounts"].as_array().unwrap();
    let streams = mounts.iter().find(|mount| mount["name"] == json!("streams")).unwrap();
    assert_eq!(streams["readOnly"], json!(true));
    assert_eq!(deployment["template"]["spec"]["automountServiceAccountToken"], json!(false));
}

#[test]
fn a_secret_is_where_it_is_needed_and_nowhere_else() {
    let all = built(&fixture::validated(fixture::full()));
    let mentions = |name: &str, secret: &str| pods(&all)[name].to_string().contains(secret);
    assert!(
        mentions("fleet-consumer", "\"pulsar-tls\"") && mentions("fleet-consumer", "\"redis\"")
    );
    assert!(mentions("fleet-cleanup", "\"s3\""));
    for secret in ["\"pulsar\"", "\"pulsar-tls\"", "\"redis\""] {
        assert!(!mentions("fleet-cleanup", secret), "{secret}");
    }
    assert!(!mentions("fleet-offline-checker", "\"pulsar\""));
    for secret in ["\"viewers\"", "\"links\""] {
        assert!(mentions("fleet-serve", secret) && !mentions("fleet-consumer", secret), "{secret}");
    }
    assert!(mentions("fleet-serve", "\"s3\"") && !mentions("fleet-serve", "\"pulsar\""));
}

#[test]
fn another_secret_makes_another_pod_and_the_same_makes_the_same() {
    let of = fixture::validated(fixture::full());
    let with = |group, digest: &str| {
        let secrets = SecretDigests(vec![(group, digest.into())]);
        let inputs = Inputs { of: &of, secrets: &secrets, replicas: None, pod_monitors: false };
        let all = children(&inputs).unwrap();
        all.into_iter().find(|child| child.name == "fleet-consumer").unwrap()
    };
    assert_eq!(with(Group::Redis, "a"), with(Group::Redis, "a"));
    assert_ne!(with(Group::Redis, "a").digest, with(Group::Redis, "b").digest);
    // Another token for viewers is no reason to roll the workers.
    assert_eq!(with(Group::Serve, "a"), with(Group::Serve, "b"));
}

#[test]
fn every_child_is_owned_labelled_and_has_a_valid_name() {
    let all = built(&fixture::validated(fixture::full()));
    assert_eq!(all.len(), 12);
    for child in &all {
        let metadata = &child.object["metadata"];
        assert_eq!(metadata["ownerReferences"][0]["uid"], json!("u-1"));
        assert_eq!(metadata["ownerReferences"][0]["controller"], json!(true));
        assert_eq!(metadata["labels"]["app.kubernetes.io/instance"], json!("fleet"));
        assert_eq!(metadata["namespace"], json!("cameras"));
    }
}

#[test]
fn the_pods_settings_of_a_persons_own_never_replace_the_operators_labels() {
    let mut spec = fixture::minimal();
    spec["pod"] = json!({"labels": {"app.kubernetes.io/instance": "other", "team": "video"}});
    let all = built(&fixture::validated(spec));
    let labels = find(&all, Kind::Deployment, "fleet-consumer")
        .pointer("/spec/template/metadata/labels")
        .unwrap();
    assert_eq!(labels["app.kubernetes.io/instance"], json!("fleet"));
    assert_eq!(labels["team"], json!("video"));
}
