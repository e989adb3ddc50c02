//! The three processes of the control plane, and in which order they come and go.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use futures::future::BoxFuture;
use tokio::sync::OnceCell;

use super::audit::Audit;
use super::builds;
use crate::servers::process::{Plan, Process, answers_http};

static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();

/// Where the cluster's Services would be; no test goes there.
const SERVICES: &str = "10.96.0.0/16";

/// A running control plane. The kinds that it has are Kubernetes' own; Deployments become Pods
/// that stay pending, owners take what they own with them, and namespaces end.
pub struct ControlPlane {
    // Dropped from the first to the last, so that none misses the one that it talks to.
    /// Deployments, Jobs, garbage collection and the like.
    pub controllers: Process,
    /// The API. It has what it had when it is killed and started again.
    pub api_server: Process,
    etcd: Process,
    bin: PathBuf,
}

impl ControlPlane {
    /// The one that a test binary's tests share: each uses namespaces of its own.
    pub async fn shared() -> &'static Self {
        SHARED.get_or_init(Self::start).await
    }

    /// One of the test's own, for a test that disturbs it or counts its requests.
    pub async fn start() -> Self {
        let bin = builds::control_plane().await;
        let etcd = etcd(&bin).await;
        let api_server = api_server(&bin, etcd.port()).await;
        let keys = api_server.folder().join("keys");
        let url = format!("https://127.0.0.1:{}", api_server.port());
        builds::kubeconfig(&keys, &url, "admin").await;
        let kubeconfig = builds::kubeconfig(&keys, &url, "controller-manager").await;
        let controllers = controllers(&bin, &keys, kubeconfig).await;
        Self { controllers, api_server, etcd, bin }
    }

    /// `https://…`
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.api_server.port())
    }

    /// Who asked for what.
    pub fn audit(&self) -> Audit {
        Audit::of(audit_log(self.api_server.folder()))
    }

    /// Where the users' keys and kubeconfigs are.
    pub(super) fn keys(&self) -> PathBuf {
        self.api_server.folder().join("keys")
    }

    /// kubectl, of the same version.
    pub(super) fn kubectl_program(&self) -> PathBuf {
        self.bin.join("kubectl")
    }

    /// The ids of its processes.
    pub fn ids(&self) -> Vec<u32> {
        let processes = [&self.controllers, &self.api_server, &self.etcd];
        processes.into_iter().filter_map(Process::id).collect()
    }
}

fn audit_log(folder: &Path) -> PathBuf {
    folder.join("audit.log")
}

async fn etcd(bin: &Path) -> Process {
    let program = bin.join("etcd");
    let folder = Plan::folder("etcd-");
    let data = folder.path().join("data");
    let command = move |port: u16| {
        let url = format!("http://127.0.0.1:{port}");
        let mut command = Command::new(&program);
        command.arg("--data-dir").arg(&data).args(["--log-level", "warn"]);
        command.args(["--listen-client-urls", &url, "--advertise-client-urls", &url]);
        // It has no peers: what it would tell them is never used, so any free port will do.
        command.args(["--listen-peer-urls", "http://127.0.0.1:0"]);
        // No power fails here.
        command.arg("--unsafe-no-fsync");
        command
    };
    let answers = |port| answers_http(port, "/health");
    let plan = Plan { name: "etcd", folder, command: Box::new(command), answers };
    Process::start(plan).await
}

async fn api_server(bin: &Path, etcd_port: u16) -> Process {
    let program = bin.join("kube-apiserver");
    let folder = Plan::folder("kube-apiserver-");
    let keys = folder.path().join("keys");
    builds::keys(&keys, "127.0.0.1").await;
    let audit_log = audit_log(folder.path());
    let command = move |port: u16| {
        let mut command = Command::new(&program);
        let mut flag = |name: &str, value: &str| {
            command.arg(format!("--{name}={value}"));
        };
        flag("etcd-servers", &format!("http://127.0.0.1:{etcd_port}"));
        flag("bind-address", "127.0.0.1");
        flag("advertise-address", "127.0.0.1");
        flag("secure-port", &port.to_string());
        // The kubernetes Service cannot lead to loopback, and nobody here uses it.
        flag("endpoint-reconciler-type", "none");
        flag("service-cluster-ip-range", SERVICES);
        flag("authorization-mode", "RBAC");
        // Who names an owner has to be allowed to, as on clusters that check this.
        flag("enable-admission-plugins", "OwnerReferencesPermissionEnforcement");
        flag("service-account-issuer", "https://kubernetes.default.svc");
        flag("audit-policy-file", &format!("{}/audit-policy.yaml", builds::SOURCES));
        // One file, whatever comes.
        flag("audit-log-maxsize", "4096");
        let mut file = |name: &str, path: &Path| {
            command.arg(format!("--{name}={}", path.display()));
        };
        file("audit-log-path", &audit_log);
        file("client-ca-file", &keys.join("ca.crt"));
        file("tls-cert-file", &keys.join("api-server.crt"));
        file("tls-private-key-file", &keys.join("api-server.key"));
        file("service-account-key-file", &keys.join("service-accounts.pub"));
        file("service-account-signing-key-file", &keys.join("service-accounts.key"));
        command
    };
    let answers = |port| is_healthy(port, "/readyz");
    let plan = Plan { name: "kube-apiserver", folder, command: Box::new(command), answers };
    Process::start(plan).await
}

async fn controllers(bin: &Path, keys: &Path, kubeconfig: PathBuf) -> Process {
    let program = bin.join("kube-controller-manager");
    let keys = keys.to_owned();
    let folder = Plan::folder("kube-controller-manager-");
    let certificates = folder.path().join("certificates");
    fs::create_dir(&certificates).expect("a folder");
    let command = move |port: u16| {
        let mut command = Command::new(&program);
        // Each controller is a user of its own, which the audit log tells apart.
        command.args(["--use-service-account-credentials", "--leader-elect=false"]);
        command.args(["--bind-address=127.0.0.1", &format!("--secure-port={port}")]);
        let mut file = |name: &str, path: &Path| {
            command.arg(format!("--{name}={}", path.display()));
        };
        file("kubeconfig", &kubeconfig);
        file("cert-dir", &certificates);
        file("root-ca-file", &keys.join("ca.crt"));
        file("service-account-private-key-file", &keys.join("service-accounts.key"));
        command
    };
    let answers = |port| is_healthy(port, "/healthz");
    let name = "kube-controller-manager";
    let plan = Plan { name, folder, command: Box::new(command), answers };
    Process::start(plan).await
}

/// Whether it says that it is well. Everybody may ask that; who answers is not looked at.
fn is_healthy(port: u16, path: &'static str) -> BoxFuture<'static, bool> {
    Box::pin(async move {
        let client = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).build();
        let answer = client.expect("a client").get(format!("https://127.0.0.1:{port}{path}"));
        answer.send().await.is_ok_and(|answer| answer.status().is_success())
    })
}
