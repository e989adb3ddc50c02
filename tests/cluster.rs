//! What the operator's tests need of a control plane, proven of the one that they use: without
//! it they would prove nothing.

#![allow(clippy::expect_used, clippy::panic, reason = "a failed expectation fails the test")]

#[path = "support/cluster/mod.rs"]
mod cluster;
#[path = "support/servers/mod.rs"]
mod servers;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use cluster::{ControlPlane, client_of};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Secret, ServiceAccount};
use kube::api::{DeleteParams, DynamicObject, ListParams, ObjectMeta, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use serde_json::json;

/// How long controllers may take for their part.
const PATIENCE: Duration = Duration::from_secs(30);

/// A namespace that no other test has.
async fn new_namespace(cluster: &ControlPlane) -> String {
    static NAMES: AtomicU32 = AtomicU32::new(0);
    let name = format!("test-{}", NAMES.fetch_add(1, Ordering::Relaxed));
    cluster.create_namespace(&name).await;
    name
}

async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < PATIENCE, "it never came to this: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn create_deployment(client: Client, namespace: &str, replicas: i32) -> Api<Deployment> {
    let deployments: Api<Deployment> = Api::namespaced(client, namespace);
    let deployment = serde_json::from_value(json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "example.invalid/web:1"}]},
            },
        },
    }));
    let deployment: Deployment = deployment.expect("a deployment");
    deployments.create(&PostParams::default(), &deployment).await.expect("it is created");
    deployments
}

#[tokio::test]
async fn a_deployment_becomes_pods_and_the_audit_log_tells_who_made_them() {
    let cluster = ControlPlane::shared().await;
    let (client, namespace) = (cluster.admin().await, new_namespace(cluster).await);
    create_deployment(client.clone(), &namespace, 2).await;
    let pods: Api<Pod> = Api::namespaced(client, &namespace);
    eventually("two pods", async || {
        pods.list(&ListParams::default()).await.expect("pods").items.len() == 2
    })
    .await;

    let made = |user: &'static str, resource: &'static str| {
        let (audit, namespace) = (cluster.audit(), namespace.clone());
        let is_it = move |request: &cluster::audit::Request| {
            let of_it = (request.user.as_str(), request.resource.as_str()) == (user, resource);
            of_it && request.namespace == namespace && request.verb == "create"
        };
        async move { audit.wait_for(is_it).await.code }
    };
    assert_eq!(made("admin", "deployments.apps").await, 201);
    let controller = "system:serviceaccount:kube-system:deployment-controller";
    assert_eq!(made(controller, "replicasets.apps").await, 201);
    let controller = "system:serviceaccount:kube-system:replicaset-controller";
    assert_eq!(made(controller, "pods").await, 201);
    let of_pods = (controller.to_owned(), "create".to_owned(), "pods".to_owned());
    assert!(cluster.audit().counts()[&of_pods] >= 2);
}

#[tokio::test]
async fn a_deployment_is_available_when_its_pods_are_said_to_run() {
    let cluster = ControlPlane::shared().await;
    let namespace = new_namespace(cluster).await;
    let deployments = create_deployment(cluster.admin().await, &namespace, 2).await;
    eventually("an available deployment", async || {
        cluster.pretend_running(&namespace).await;
        let status = deployments.get("web").await.expect("it is there").status;
        status.is_some_and(|status| status.available_replicas == Some(2))
    })
    .await;
}

#[tokio::test]
async fn what_is_owned_goes_with_its_owner() {
    let cluster = ControlPlane::shared().await;
    let (client, namespace) = (cluster.admin().await, new_namespace(cluster).await);
    let deployments = create_deployment(client.clone(), &namespace, 1).await;
    let pods: Api<Pod> = Api::namespaced(client, &namespace);
    let count = async || pods.list(&ListParams::default()).await.expect("pods").items.len();
    eventually("a pod", async || count().await == 1).await;
    deployments.delete("web", &DeleteParams::default()).await.expect("it is deleted");
    eventually("no pod", async || count().await == 0).await;
}

#[tokio::test]
async fn a_kind_of_ones_own_is_served_and_its_rules_are_kept() {
    let cluster = ControlPlane::shared().await;
    let (client, namespace) = (cluster.admin().await, new_namespace(cluster).await);
    let spec = json!({
        "type": "object",
        "properties": {"min": {"type": "integer"}, "max": {"type": "integer"}},
        "x-kubernetes-validations": [
            {"rule": "self.min <= self.max", "message": "min is at most max"},
        ],
    });
    let kind = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "spans.example.org"},
        "spec": {
            "group": "example.org",
            "scope": "Namespaced",
            "names": {"kind": "Span", "plural": "spans"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}},
            }],
        },
    });
    cluster.apply(kind.to_string()).await;
    cluster.established("spans.example.org").await;

    let of_kind = ApiResource::from_gvk(&GroupVersionKind::gvk("example.org", "v1", "Span"));
    let spans: Api<DynamicObject> = Api::namespaced_with(client, &namespace, &of_kind);
    let span = |name: &str, min: u32, max: u32| {
        DynamicObject::new(name, &of_kind).data(json!({"spec": {"min": min, "max": max}}))
    };
    spans.create(&PostParams::default(), &span("good", 1, 2)).await.expect("it is created");
    let refusal = spans.create(&PostParams::default(), &span("bad", 2, 1)).await;
    let refusal = refusal.expect_err("it is refused").to_string();
    assert!(refusal.contains("min is at most max"), "{refusal}");
    let listed = cluster.kubectl(&["get", "spans", "-n", &namespace, "-o", "name"]).await;
    assert_eq!(listed, "span.example.org/good");
}

#[tokio::test]
async fn a_service_account_without_rights_is_refused_and_the_audit_log_tells() {
    let cluster = ControlPlane::shared().await;
    let namespace = new_namespace(cluster).await;
    let accounts: Api<ServiceAccount> = Api::namespaced(cluster.admin().await, &namespace);
    let account = ServiceAccount {
        metadata: ObjectMeta { name: Some("nobody".to_owned()), ..ObjectMeta::default() },
        ..ServiceAccount::default()
    };
    accounts.create(&PostParams::default(), &account).await.expect("an account");
    let kubeconfig = cluster.service_account_kubeconfig(&namespace, "nobody").await;
    let client = client_of(&kubeconfig).await;
    assert_eq!(client.default_namespace(), namespace);

    let list = async || {
        let secrets: Api<Secret> = Api::default_namespaced(client.clone());
        secrets.list(&ListParams::default()).await
    };
    let answer = list().await.expect_err("it may not");
    assert!(matches!(&answer, kube::Error::Api(status) if status.is_forbidden()), "{answer}");
    let user = format!("system:serviceaccount:{namespace}:nobody");
    let told = cluster.audit().wait_for(|request| request.user == user).await;
    assert!(told.is_forbidden() && !told.writes(), "{told}");
    assert_eq!(told.to_string(), format!("{user} list secrets {namespace}/: 403"));
    assert!(cluster.audit().forbidden().contains(&told));
    assert_eq!(cluster.audit().requests_of(&user), [told]);

    let role = ["-n", &namespace, "create", "role", "reader", "--verb=list", "--resource=secrets"];
    cluster.kubectl(&role).await;
    let to = format!("--serviceaccount={namespace}:nobody");
    let bind = ["-n", &namespace, "create", "rolebinding", "reader", "--role=reader", &to];
    cluster.kubectl(&bind).await;
    let since = cluster.audit().since_now();
    eventually("it may", async || list().await.is_ok()).await;
    since.wait_for(|request| request.user == user && request.code == 200).await;
}

#[tokio::test]
async fn the_api_server_has_what_it_had_when_it_is_killed() {
    let cluster = ControlPlane::start().await;
    cluster.create_namespace("kept").await;
    let deployments = create_deployment(cluster.admin().await, "kept", 1).await;
    cluster.api_server.kill();
    deployments.get("web").await.expect_err("nobody is there");
    cluster.api_server.restart().await;
    deployments.get("web").await.expect("it is there");
    // The controllers find the way back by themselves.
    let pods: Api<Pod> = Api::namespaced(cluster.admin().await, "kept");
    eventually("a pod", async || {
        !pods.list(&ListParams::default()).await.expect("pods").items.is_empty()
    })
    .await;
}

#[tokio::test]
async fn nothing_is_left_of_it_when_the_test_panics() {
    let (tell, told) = tokio::sync::oneshot::channel();
    let failing = tokio::spawn(async move {
        let cluster = ControlPlane::start().await;
        let folder = cluster.api_server.folder().to_owned();
        tell.send((cluster.ids(), folder)).expect("somebody listens");
        panic!("on purpose");
    });
    assert!(failing.await.expect_err("it panics").is_panic());
    let (ids, folder): (Vec<u32>, PathBuf) = told.await.expect("it was there");
    assert_eq!(ids.len(), 3);
    for id in ids {
        assert!(!Path::new(&format!("/proc/{id}")).exists(), "{id} is left");
    }
    assert!(!folder.exists(), "{folder:?} is left");
}
