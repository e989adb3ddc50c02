//! A control plane with the definitions and the operator's rights, and operators as processes.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::ApiResource;
use kube::{Api, Client};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use stream_processor::operator::crd::{StreamProcessor, definitions};
use stream_processor::operator::kinds::Kind;
use tempfile::NamedTempFile;
use tokio::sync::OnceCell;

use crate::cluster::ControlPlane;
use crate::proxy::Proxy;

/// How long what is promised may take.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// The operator's namespace.
pub const SYSTEM: &str = "stream-processor-system";
/// Its user.
pub const USER: &str = "system:serviceaccount:stream-processor-system:stream-processor-operator";

/// A control plane that knows the kinds, and the operator's rights.
pub struct Rig {
    pub cluster: ControlPlane,
    pub client: Client,
}

/// The definitions of this version, as JSON.
pub fn current_definitions() -> Vec<Value> {
    definitions().iter().map(|definition| serde_json::to_value(definition).unwrap()).collect()
}

/// Installs the definitions.
async fn install(cluster: &ControlPlane) {
    cluster.apply(list_of(&current_definitions())).await;
    for kind in ["streamprocessors", "deviceslices"] {
        cluster.established(&format!("{kind}.streamhub.microboxlabs.com")).await;
    }
    // kubectl remembers which kinds there were before.
    cluster.kubectl(&["api-resources"]).await;
}

/// The definitions, on the control plane that tests share; no operator runs on it.
pub async fn shared() -> &'static ControlPlane {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    let cluster = ControlPlane::shared().await;
    INSTALLED.get_or_init(|| install(cluster)).await;
    cluster
}

/// Several objects as one manifest.
pub fn list_of(objects: &[Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string()
}

impl Rig {
    /// One of the test's own.
    pub async fn start() -> Self {
        let cluster = ControlPlane::start().await;
        install(&cluster).await;
        cluster.create_namespace(SYSTEM).await;
        let rbac = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/operator/rbac.yaml");
        cluster.apply(std::fs::read_to_string(rbac).unwrap()).await;
        let client = cluster.admin().await;
        Self { cluster, client }
    }

    /// A namespace that no other test has, with a claim named `streams`.
    pub async fn namespace(&self) -> String {
        static NAMES: AtomicU32 = AtomicU32::new(0);
        let name = format!("cameras-{}", NAMES.fetch_add(1, Ordering::Relaxed));
        self.cluster.create_namespace(&name).await;
        self.cluster.apply(claim(&name, "streams").to_string()).await;
        name
    }

    /// An operator under its own rights, by the name `identity`.
    pub async fn operator(&self, identity: &str, more: &[(&str, &str)]) -> Operator {
        let kubeconfig =
            self.cluster.service_account_kubeconfig(SYSTEM, "stream-processor-operator").await;
        Operator::start(&kubeconfig, identity, more)
    }

    /// The same under another account with the same rights, so that the audit log tells it apart;
    /// gives its user as well.
    pub async fn operator_as(&self, account: &str, more: &[(&str, &str)]) -> (Operator, String) {
        let meta = json!({"name": account, "namespace": SYSTEM});
        self.apply(&json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta})).await;
        for (binding, kind) in [("RoleBinding", "Role"), ("ClusterRoleBinding", "ClusterRole")] {
            let mut meta = meta.clone();
            if kind == "ClusterRole" {
                meta.as_object_mut().unwrap().remove("namespace");
            }
            let group = "rbac.authorization.k8s.io";
            self.apply(&json!({
                "apiVersion": format!("{group}/v1"), "kind": binding, "metadata": meta,
                "roleRef": {"apiGroup": group, "kind": kind, "name": "stream-processor-operator"},
                "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": SYSTEM}],
            }))
            .await;
        }
        let kubeconfig = self.cluster.service_account_kubeconfig(SYSTEM, account).await;
        let user = format!("system:serviceaccount:{SYSTEM}:{account}");
        (Operator::start(&kubeconfig, account, more), user)
    }

    /// The same by way of a proxy.
    pub async fn operator_by(
        &self,
        proxy: &Proxy,
        identity: &str,
        more: &[(&str, &str)],
    ) -> Operator {
        let kubeconfig =
            self.cluster.service_account_kubeconfig(SYSTEM, "stream-processor-operator").await;
        let mut value: Value =
            serde_json::from_str(&std::fs::read_to_string(&kubeconfig).unwrap()).unwrap();
        value["clusters"][0]["cluster"] = json!({"server": proxy.url});
        let by_proxy = kubeconfig.with_extension(format!("{identity}.by-proxy"));
        std::fs::write(&by_proxy, value.to_string()).unwrap();
        Operator::start(&by_proxy, identity, more)
    }

    /// Applies an object.
    pub async fn apply(&self, object: &Value) {
        self.cluster.apply(object.to_string()).await;
    }

    /// The objects of a namespace.
    pub fn processors(&self, namespace: &str) -> Api<StreamProcessor> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Children of a kind.
    pub fn children(&self, kind: Kind, namespace: &str) -> Api<DynamicObject> {
        let resource: ApiResource = kind.resource();
        Api::namespaced_with(self.client.clone(), namespace, &resource)
    }

    /// Waits until a child is there and as wanted.
    pub async fn child(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
        wanted: impl Fn(&DynamicObject) -> bool,
    ) -> DynamicObject {
        let api = self.children(kind, namespace);
        let begun = Instant::now();
        loop {
            let found = api.get_opt(name).await.expect("an answer");
            match found {
                Some(found) if wanted(&found) => return found,
                other => assert!(begun.elapsed() < PATIENCE, "{name} is {other:#?}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until a condition has that status and reason; gives its message.
    pub async fn condition(
        &self,
        namespace: &str,
        name: &str,
        (kind, status, reason): (&str, &str, &str),
    ) -> String {
        let api = self.processors(namespace);
        let begun = Instant::now();
        loop {
            let object = api.get(name).await.expect("it is there");
            let said = object.status.clone().unwrap_or_default();
            let found = said.conditions.iter().find(|c| {
                c.type_ == kind
                    && c.status == status
                    && c.reason == reason
                    && c.observed_generation == object.metadata.generation
            });
            if let Some(found) = found {
                return found.message.clone();
            }
            assert!(begun.elapsed() < PATIENCE, "{kind} {status} {reason}: {said:#?}");
            // As a node would.
            self.cluster.pretend_running(namespace).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until it is ready.
    pub async fn ready(&self, namespace: &str, name: &str) {
        self.condition(namespace, name, ("Ready", "True", "Available")).await;
    }

    /// Waits until nothing has been written by the operator for as long as that.
    pub async fn quiet(&self, quiet: Duration) {
        let begun = Instant::now();
        loop {
            let from_now_on = self.cluster.audit().since_now();
            tokio::time::sleep(quiet).await;
            let writes = writes(&from_now_on);
            if writes.is_empty() {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "it never comes to rest: {writes:#?}");
        }
    }

    /// Changes a field of an object as its owner would.
    pub async fn change(&self, namespace: &str, name: &str, patch: &Value) {
        let api = self.processors(namespace);
        api.patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .expect("it is changed");
    }
}

/// What the operator has written, the Lease apart.
pub fn writes(audit: &crate::cluster::audit::Audit) -> Vec<String> {
    audit
        .requests_of(USER)
        .iter()
        .filter(|request| request.writes() && !request.resource.starts_with("leases"))
        .map(ToString::to_string)
        .collect()
}

pub fn claim(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
    })
}

/// A spec that is right.
pub fn spec() -> Value {
    json!({
        "replicas": 2,
        "pulsar": {"serviceUrl": "pulsar://broker:6650"},
        "storage": {"type": "filesystem", "filesystem": {"claimName": "streams"}},
    })
}

/// An object with that spec.
pub fn object(namespace: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "streamhub.microboxlabs.com/v1alpha1", "kind": "StreamProcessor",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    })
}

/// An operator's process; killed when it is dropped.
pub struct Operator {
    process: Child,
    log: NamedTempFile,
}

impl Operator {
    pub fn start(kubeconfig: &Path, identity: &str, more: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stream-processor"));
        command.arg("operator").env_clear();
        command.env("KUBECONFIG", kubeconfig).env("OPERATOR_IDENTITY", identity);
        command.env("OPERATOR_IMAGE", "example.invalid/stream-processor:test");
        command.env("OPERATOR_LEASE_SECONDS", "6").env("OPERATOR_STATUS_SECONDS", "1");
        command.env("METRICS_ADDRESS", "127.0.0.1").env("METRICS_PORT", "0");
        command.env("LOG_FORMAT", "json").env("LOG_LEVEL", "INFO");
        command.envs(more.iter().copied());
        let log = NamedTempFile::new().expect("a file");
        command.stderr(log.reopen().expect("a file"));
        Self { process: command.stdin(Stdio::null()).spawn().expect("it starts"), log }
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// What it has logged, a line of JSON each.
    pub fn log(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.log.path()).expect("its log");
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The lines that say this.
    pub fn said(&self, sentence: &str) -> Vec<Value> {
        let says = |line: &Value| line["message"].as_str().is_some_and(|m| m.contains(sentence));
        self.log().into_iter().filter(says).collect()
    }

    /// Waits until it has said this.
    pub async fn wait_until_said(&self, sentence: &str) -> Value {
        let begun = Instant::now();
        loop {
            if let Some(line) = self.said(sentence).pop() {
                return line;
            }
            assert!(begun.elapsed() < PATIENCE, "{sentence:?} is not in {:#?}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The value of a metric, by its name with its labels; none if there is no such series.
    pub async fn metric(&self, series: &str) -> Option<f64> {
        let served = self.wait_until_said("metrics and health are served").await;
        let url = format!("http://{}/metrics", served["address"].as_str().expect("an address"));
        let text = reqwest::get(url).await.expect("an answer").text().await.expect("text");
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map(|value| value.parse().expect("a number"))
    }

    /// Asks it to stop and waits until it has.
    pub fn stop(mut self) {
        self.signal(Signal::TERM);
        let status = self.process.wait().expect("it ends");
        assert!(status.success(), "{status}");
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).expect("it is there");
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        // Shown when its test fails.
        self.log().iter().for_each(|line| println!("{line}"));
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
