//! Runs the scripts beside this file: what is built of Kubernetes, and the cluster's keys.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// This folder.
pub const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/cluster");

/// The folder of etcd, kube-apiserver, kube-controller-manager and kubectl. Some minutes once.
pub async fn control_plane() -> PathBuf {
    script("build.sh", &["control-plane"]).await.into()
}

/// Makes the keys of a cluster whose API server has that address.
pub async fn keys(folder: &Path, address: &str) {
    script("pki.sh", &["make", &text(folder), address]).await;
}

/// Writes the kubeconfig of a user that has keys in the folder.
pub async fn kubeconfig(folder: &Path, url: &str, user: &str) -> PathBuf {
    script("pki.sh", &["kubeconfig", &text(folder), url, user]).await.into()
}

fn text(path: &Path) -> String {
    path.to_str().expect("a path in UTF-8").to_owned()
}

/// What the script prints.
async fn script(name: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(Path::new(SOURCES).join(name));
    command.args(arguments);
    run(command, String::new()).await
}

/// What the command prints when it is given this input; it has to succeed.
pub async fn run(mut command: Command, input: String) -> String {
    let work = move || {
        let given = tempfile::tempfile().expect("a file for the input");
        std::io::Write::write_all(&mut &given, input.as_bytes()).expect("the input is written");
        std::io::Seek::rewind(&mut &given).expect("the input is rewound");
        let output = command.stdin(Stdio::from(given)).output();
        let output = output.unwrap_or_else(|error| {
            panic!("{command:?}: {error}: scripts/setup.sh says what is missing")
        });
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
        String::from_utf8(output.stdout).expect("text").trim_end().to_owned()
    };
    tokio::task::spawn_blocking(work).await.expect("it was run")
}
