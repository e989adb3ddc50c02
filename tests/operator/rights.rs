//! Each right of the operator, taken away in turn: which one is missing is said, nothing crashes,
//! and it heals when the right is given.

use std::path::Path;
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule, Role, RoleBinding};
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use stream_processor::operator::crd::GROUP;
use stream_processor::operator::kinds::Kind;

use crate::rig::{Operator, PATIENCE, Rig, claim, object, spec};

/// As many operators at once.
const AT_ONCE: usize = 6;
/// The account of an operator of one namespace, in it.
const ACCOUNT: &str = "operator";

/// A right, and the rule of `manifests/operator/rbac.yaml` that has it.
#[derive(Clone, Debug)]
struct Taken {
    group: String,
    resource: String,
    verb: String,
    of_lease: bool,
}

/// The rules of the operator's `ClusterRole`, or of the `Role` about the Lease.
fn rules(of_lease: bool) -> Vec<PolicyRule> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/operator/rbac.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let kind = if of_lease { "Role" } else { "ClusterRole" };
    let mut objects = serde_yaml::Deserializer::from_str(&text)
        .map(|document| <Value as serde::Deserialize>::deserialize(document).unwrap());
    let role = objects.find(|object| object["kind"] == kind).unwrap();
    serde_json::from_value(role["rules"].clone()).unwrap()
}

/// Each right on its own.
fn rights() -> Vec<Taken> {
    let mut all = Vec::new();
    for of_lease in [false, true] {
        for rule in rules(of_lease) {
            let group = rule.api_groups.unwrap().remove(0);
            // Of the whole cluster: an operator of some namespaces does without.
            let of_namespaces = |resource: &String| resource != "storageclasses";
            for resource in rule.resources.unwrap().into_iter().filter(of_namespaces) {
                for verb in &rule.verbs {
                    let (group, resource, verb) = (group.clone(), resource.clone(), verb.clone());
                    all.push(Taken { group, resource, verb, of_lease });
                }
            }
        }
    }
    all
}

/// All rules, each of one resource, without that right.
fn rules_without(taken: Option<&Taken>, of_lease: bool) -> Vec<PolicyRule> {
    let mut all = Vec::new();
    for rule in rules(of_lease) {
        for resource in rule.resources.iter().flatten() {
            let mut rule = PolicyRule { resources: Some(vec![resource.clone()]), ..rule.clone() };
            let group = rule.api_groups.as_ref().unwrap()[0].clone();
            let is_it = |verb: &String| {
                taken.is_some_and(|taken| {
                    (&taken.group, &taken.resource, &taken.verb) == (&group, resource, verb)
                })
            };
            rule.verbs.retain(|verb| !is_it(verb));
            all.extend((!rule.verbs.is_empty()).then_some(rule));
        }
    }
    all
}

async fn apply<K>(api: Api<K>, value: Value)
where
    K: Clone + DeserializeOwned + Serialize + std::fmt::Debug,
{
    let name = value["metadata"]["name"].as_str().unwrap().to_owned();
    let params = PatchParams::apply("test").force();
    api.patch(&name, &params, &Patch::Apply(&value))
        .await
        .unwrap_or_else(|e| panic!("{name}: {e}"));
}

fn namespaced<K>(rig: &Rig, namespace: &str) -> Api<K>
where
    K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    Api::namespaced(rig.client.clone(), namespace)
}

const RBAC: &str = "rbac.authorization.k8s.io/v1";

/// An operator's rights in a namespace of its own, but for one.
async fn grant(rig: &Rig, namespace: &str, without: Option<&Taken>) {
    let meta = json!({"name": namespace});
    let rules = rules_without(without, false);
    let role = json!({"apiVersion": RBAC, "kind": "ClusterRole", "metadata": meta, "rules": rules});
    apply(Api::<ClusterRole>::all(rig.client.clone()), role).await;
    let rules = rules_without(without, true);
    let meta = json!({"name": "lease"});
    let role = json!({"apiVersion": RBAC, "kind": "Role", "metadata": meta, "rules": rules});
    apply(namespaced::<Role>(rig, namespace), role).await;
}

async fn prepare(rig: &Rig, namespace: &str, without: Option<&Taken>) {
    let meta = |name: &str| json!({"name": name});
    let place = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": meta(namespace)});
    apply(Api::<Namespace>::all(rig.client.clone()), place).await;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta(ACCOUNT)});
    apply(namespaced::<ServiceAccount>(rig, namespace), account).await;
    grant(rig, namespace, without).await;
    for (name, kind, role) in [("operator", "ClusterRole", namespace), ("lease", "Role", "lease")] {
        let binding = json!({
            "apiVersion": RBAC, "kind": "RoleBinding", "metadata": meta(name),
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace}],
        });
        apply(namespaced::<RoleBinding>(rig, namespace), binding).await;
    }
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": meta("redis"),
        "stringData": {"url": "redis://redis"},
    });
    apply(namespaced::<k8s_openapi::api::core::v1::Secret>(rig, namespace), secret).await;
    apply(
        namespaced::<k8s_openapi::api::core::v1::PersistentVolumeClaim>(rig, namespace),
        claim(namespace, "streams"),
    )
    .await;
}

/// A child that is not asked for, so that it is removed.
async fn add_a_child_too_many(rig: &Rig, namespace: &str, kind: Kind) {
    let fleet = rig.processors(namespace).get("fleet").await.unwrap();
    let template = json!({
        "metadata": {"labels": {"app": "extra"}},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "example.invalid/a"}]},
    });
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "extra"});
    let fields = match kind {
        Kind::ServiceAccount => json!({}),
        Kind::Role => json!({"rules": []}),
        Kind::RoleBinding => json!({"roleRef": role, "subjects": []}),
        Kind::Deployment => {
            let mut template = template;
            template["spec"]["restartPolicy"] = json!("Always");
            let selector = json!({"matchLabels": {"app": "extra"}});
            json!({"spec": {"replicas": 0, "selector": selector, "template": template}})
        }
        Kind::CronJob => {
            json!({"spec": {"schedule": "1 1 1 1 1", "jobTemplate": {"spec": {"template": template}}}})
        }
        Kind::Service => json!({"spec": {"ports": [{"port": 80}], "selector": {"app": "extra"}}}),
        Kind::PodDisruptionBudget => {
            json!({"spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "extra"}}}})
        }
        Kind::PodMonitor => unreachable!("never removed"),
    };
    let resource = kind.resource();
    let mut extra = json!({
        "apiVersion": resource.api_version, "kind": resource.kind,
        "metadata": {
            "name": "fleet-extra",
            "labels": {
                "app.kubernetes.io/managed-by": "stream-processor-operator",
                "app.kubernetes.io/instance": "fleet",
            },
            "ownerReferences": [{
                "apiVersion": format!("{GROUP}/v1alpha1"), "kind": "StreamProcessor",
                "name": "fleet", "uid": fleet.metadata.uid,
            }],
        },
    });
    extra.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    apply(rig.children(kind, namespace), extra).await;
}

fn kind_of(resource: &str) -> Kind {
    Kind::BUILT_IN.into_iter().find(|kind| kind.resource().plural == resource).expect(resource)
}

async fn one(rig: &Rig, number: usize, taken: Taken) {
    let what = format!("{} {}", taken.verb, taken.resource);
    let namespace = format!("right-{number}");
    prepare(rig, &namespace, Some(&taken)).await;
    let kubeconfig = rig.cluster.service_account_kubeconfig(&namespace, ACCOUNT).await;
    let settings =
        [("OPERATOR_NAMESPACES", namespace.as_str()), ("OPERATOR_LEASE_NAMESPACE", &namespace)];
    let operator = Operator::start(&kubeconfig, "one", &settings);
    let mut wanted = spec();
    wanted["redis"] = json!({"urlSecretRef": {"name": "redis"}});
    let fleet = object(&namespace, "fleet", &wanted);
    apply(rig.processors(&namespace), fleet).await;

    let told_in_log_only = taken.of_lease
        || taken.resource == "events"
        // It is only to say more of a claim that waits for its volume.
        || (taken.resource == "persistentvolumeclaims" && taken.verb == "get")
        || taken.resource == "streamprocessors/status"
        || taken.resource == "streamprocessors";
    if taken.resource == "events" {
        // The first thing that is told as an event.
        rig.ready(&namespace, "fleet").await;
    }
    if taken.verb == "delete" && taken.resource != "deviceslices" {
        rig.ready(&namespace, "fleet").await;
        add_a_child_too_many(rig, &namespace, kind_of(&taken.resource)).await;
    }
    if taken.resource == "events" && taken.verb == "patch" {
        // The same turn a second time is told by a change of the first event.
        for level in ["INFOO", "INFO", "INFOO"] {
            rig.change(&namespace, "fleet", &json!({"spec": {"logLevel": level}})).await;
            let reason =
                if level == "INFO" { ("False", "Unhindered") } else { ("True", "InvalidSpec") };
            rig.condition(&namespace, "fleet", ("Stalled", reason.0, reason.1)).await;
        }
        rig.change(&namespace, "fleet", &json!({"spec": {"logLevel": "INFO"}})).await;
    }
    let line = operator.wait_until_said(&format!("may not {what}")).await;
    let line = line["message"].as_str().unwrap().to_owned();
    assert!(line.contains("manifests/operator/rbac.yaml"), "{what}: {line}");
    let rule = format!("resources: [{}], verbs: [{}]", taken.resource, taken.verb);
    assert!(line.contains(&rule), "{what}: {line}");
    assert_eq!(operator.said(&format!("may not {what}")).len(), 1, "{what}: told once");
    if !told_in_log_only {
        let said = rig.condition(&namespace, "fleet", ("Stalled", "True", "Forbidden")).await;
        assert!(said.contains(&what) && said.contains("rbac.yaml"), "{what}: {said}");
    }

    grant(rig, &namespace, None).await;
    rig.ready(&namespace, "fleet").await;
    let begun = Instant::now();
    while operator.metric("stream_processor_operator_missing_rights").await != Some(0.0) {
        // An event that was not told is not told later.
        if taken.resource == "events" {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: it is missed for ever");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    operator.stop();
}

#[tokio::test]
async fn each_right_that_is_missing_is_named_and_it_heals_when_it_is_given() {
    let rig = Rig::start().await;
    rig.apply(&pod_monitors()).await;
    rig.cluster
        .kubectl(&["wait", "--for=condition=Established", "crd/podmonitors.monitoring.coreos.com"])
        .await;
    let rights = rights();
    assert!(rights.len() > 50, "{}", rights.len());
    let each = rights.into_iter().enumerate().map(|(number, taken)| one(&rig, number, taken));
    futures::stream::iter(each).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
}

/// Classes are the whole cluster's.
#[tokio::test]
async fn an_operator_of_one_namespace_does_without_the_right_to_storage_classes() {
    let rig = Rig::start().await;
    let namespace = "of-one";
    prepare(&rig, namespace, None).await;
    let mut of_a_class = claim(namespace, "of-a-class");
    of_a_class["spec"]["storageClassName"] = json!("no-such-class");
    rig.apply(&of_a_class).await;
    let kubeconfig = rig.cluster.service_account_kubeconfig(namespace, ACCOUNT).await;
    let settings = [("OPERATOR_NAMESPACES", namespace), ("OPERATOR_LEASE_NAMESPACE", namespace)];
    let operator = Operator::start(&kubeconfig, "one", &settings);
    let mut wanted = spec();
    wanted["storage"]["filesystem"]["claimName"] = json!("of-a-class");
    rig.apply(&object(namespace, "fleet", &wanted)).await;
    rig.ready(namespace, "fleet").await;
    assert_eq!(operator.metric("stream_processor_operator_missing_rights").await, Some(0.0));
    assert!(operator.said("may not get storageclasses").is_empty());
    operator.stop();
}

/// What the Prometheus operator installs, as far as it matters.
fn pod_monitors() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "podmonitors.monitoring.coreos.com"},
        "spec": {
            "group": "monitoring.coreos.com", "scope": "Namespaced",
            "names": {"kind": "PodMonitor", "plural": "podmonitors"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                }},
            }],
        },
    })
}
