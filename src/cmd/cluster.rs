//! The way to the cluster, for the commands that talk to its API server.

use kube::{Client, Config};

use super::CommandError;

/// How the cluster is reached: by the kubeconfig, or by the pod's service account.
///
/// # Errors
/// When no cluster is known.
pub async fn config() -> Result<Config, CommandError> {
    // Of the two that are linked, the one that the other parts use, too; the first to say so wins.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Config::infer().await.map_err(|e| {
        let sentence =
            "no cluster is known: set KUBECONFIG, or run in a pod with a service account";
        CommandError::because(sentence, e)
    })
}

/// A client of it.
///
/// # Errors
/// When no cluster is known, or its settings do not work. One that is away is no such thing.
pub async fn client() -> Result<Client, CommandError> {
    Client::try_from(config().await?).map_err(unusable)
}

/// The cluster's settings do not work.
pub fn unusable(error: kube::Error) -> CommandError {
    CommandError::because("the cluster's settings do not work", error)
}
