//! Ways into the control plane: as the admin, who may do all, or as somebody who may less.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ObjectMeta, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::json;

use super::builds;
use super::control_plane::ControlPlane;

/// How long a service account's token is good for: longer than any test.
const TOKEN_SECS: i64 = 3_600;
/// How long what controllers make may be waited for.
const PATIENCE: Duration = Duration::from_secs(30);

impl ControlPlane {
    /// Of the user admin.
    pub fn admin_kubeconfig(&self) -> PathBuf {
        self.keys().join("admin.kubeconfig")
    }

    /// A client of the user admin, for the runtime that it is made in.
    pub async fn admin(&self) -> Client {
        client_of(&self.admin_kubeconfig()).await
    }

    /// Of a service account that is there, which may do what roles bound to it say; what it
    /// asks for is in its namespace unless it says otherwise.
    pub async fn service_account_kubeconfig(&self, namespace: &str, name: &str) -> PathBuf {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.admin().await, namespace);
        let wanted = TokenRequest {
            metadata: ObjectMeta::default(),
            spec: TokenRequestSpec {
                audiences: Vec::new(),
                expiration_seconds: Some(TOKEN_SECS),
                bound_object_ref: None,
            },
            status: None,
        };
        let made = accounts.create_token_request(name, &PostParams::default(), &wanted).await;
        let token = made.expect("a token").status.expect("a token").token;
        let kubeconfig = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": {
                "server": self.url(),
                "certificate-authority": self.keys().join("ca.crt"),
            }}],
            "users": [{"name": name, "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {
                "cluster": "test", "user": name, "namespace": namespace,
            }}],
            "current-context": "test",
        });
        let path = self.keys().join(format!("{namespace}.{name}.kubeconfig"));
        fs::write(&path, kubeconfig.to_string()).expect("the kubeconfig is written");
        path
    }

    /// Creates a namespace and waits until pods can be created in it: until then they are
    /// refused, for want of its default service account.
    pub async fn create_namespace(&self, name: &str) {
        let client = self.admin().await;
        let namespace = Namespace {
            metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            ..Namespace::default()
        };
        let namespaces: Api<Namespace> = Api::all(client.clone());
        namespaces.create(&PostParams::default(), &namespace).await.expect("a namespace");
        let accounts: Api<ServiceAccount> = Api::namespaced(client, name);
        let begun = std::time::Instant::now();
        while accounts.get_opt("default").await.expect("an answer").is_none() {
            assert!(begun.elapsed() < PATIENCE, "{name} gets no default service account");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What kubectl prints for the admin.
    pub async fn kubectl(&self, arguments: &[&str]) -> String {
        self.kubectl_with(arguments, String::new()).await
    }

    /// Applies manifests as YAML or JSON, several parted by `---`.
    pub async fn apply(&self, manifests: impl Into<String>) {
        self.kubectl_with(&["apply", "--server-side", "-f", "-"], manifests.into()).await;
    }

    /// Waits until a definition is in use. `kubectl wait` gives up on one that has no condition yet.
    pub async fn established(&self, definition: &str) {
        let definitions: Api<CustomResourceDefinition> = Api::all(self.admin().await);
        let begun = Instant::now();
        loop {
            let found = definitions.get(definition).await.expect("it was applied");
            let conditions = found.status.and_then(|status| status.conditions).unwrap_or_default();
            if conditions.iter().any(|c| c.type_ == "Established" && c.status == "True") {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{definition} is not in use: {conditions:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn kubectl_with(&self, arguments: &[&str], input: String) -> String {
        let mut command = Command::new(self.kubectl_program());
        command.arg("--kubeconfig").arg(self.admin_kubeconfig());
        // What kubectl remembers of a server would be another's on the same port.
        command.arg("--cache-dir").arg(self.keys().join("kubectl-cache")).args(arguments);
        builds::run(command, input).await
    }
}

/// A client that is who the kubeconfig says.
pub async fn client_of(kubeconfig: &Path) -> Client {
    // More than one is linked, so kube wants to be told; another test may have done it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    Client::try_from(config.expect("a configuration")).expect("a client")
}
