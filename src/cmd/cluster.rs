//! The way to the cluster, for the commands that talk to its API server.

use kube::{Client, Config};

use super::CommandError;

/// A client by the kubeconfig, or by the pod's service account.
///
/// # Errors
/// When no cluster is known, or its settings do not work. One that is away is no such thing.
pub async fn client() -> Result<Client, CommandError> {
    // Of the two that are linked, the one that the other parts use, too; the first to say so wins.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let found = Config::infer().await.map_err(|e| {
        let sentence =
            "no cluster is known: set KUBECONFIG, or run in a pod with a service account";
        CommandError::because(sentence, e)
    })?;
    Client::try_from(found)
        .map_err(|e| CommandError::because("the cluster's settings do not work", e))
}
