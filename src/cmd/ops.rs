//! Metrics and health over HTTP, for the commands that run until they are told to stop.

use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::CommandError;
use crate::config::MetricsConfig;
use crate::http::{Exposition, Health, serve_ops};

/// How long the last answers may take.
const LAST_ANSWERS: Duration = Duration::from_secs(3);

/// What is served; nothing where the settings say so.
pub struct Ops(Option<JoinHandle<std::io::Result<()>>>);

impl Ops {
    /// Starts to serve until `stop`, from when on the process is no longer ready.
    ///
    /// # Errors
    /// When nothing can be served at the address of the settings.
    pub async fn start(
        config: &MetricsConfig,
        metrics: impl Exposition,
        health: Health,
        stop: CancellationToken,
    ) -> Result<Self, CommandError> {
        let (leaving, stopping) = (health.clone(), stop.clone());
        tokio::spawn(async move {
            stopping.cancelled().await;
            leaving.leave();
        });
        if !config.enabled {
            return Ok(Self(None));
        }
        let listen = config.listen;
        let listener = TcpListener::bind(listen).await.map_err(|e| {
            let sentence = format!(
                "METRICS_ADDRESS and METRICS_PORT say {listen}, where nothing can be served"
            );
            CommandError::because(sentence, e)
        })?;
        let address = listener.local_addr().unwrap_or(listen);
        tracing::info!(%address, "metrics and health are served");
        Ok(Self(Some(tokio::spawn(serve_ops(listener, metrics, health, stop)))))
    }

    /// Waits for the last answers, once it has been told to stop.
    pub async fn ended(self) {
        if let Some(served) = self.0 {
            let _ = tokio::time::timeout(LAST_ANSWERS, served).await;
        }
    }
}
