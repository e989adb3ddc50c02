//! Runs Helm, away from any cluster and from what the user has set up of it.

use std::process::{Command, Output};

use serde_json::Value;

use crate::files::{objects_of, path};
use crate::servers::builds;

/// With a release's name as in `manifests`.
pub const RELEASE: &str = "stream-processor";
/// The namespace of `manifests`.
pub const NAMESPACE: &str = "stream-processor-system";

/// Helm with these arguments.
pub async fn run(arguments: &[&str]) -> Output {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(builds::helm().await);
    command.args(arguments).env("KUBECONFIG", "/dev/null");
    for folder in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
        command.env(folder, home.path());
    }
    command.output().expect("helm runs")
}

/// What `helm template` says of the chart with these values, or why it refuses.
pub async fn rendered(values: &[&str]) -> Result<Vec<Value>, String> {
    let chart = path("charts/stream-processor");
    let mut arguments = vec!["template", RELEASE, chart.to_str().unwrap()];
    arguments.extend(["--namespace", NAMESPACE, "--kube-version", "1.33.0"]);
    for value in values {
        arguments.extend(["--set", value]);
    }
    let output = run(&arguments).await;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        Ok(objects_of(std::str::from_utf8(&output.stdout).unwrap()))
    } else {
        Err(said.into_owned())
    }
}
