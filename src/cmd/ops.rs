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
pub struct Ops {
    served: Option<JoinHandle<std::io::Result<()>>>,
    closing: CancellationToken,
}

impl Ops {
    /// Starts to serve. From `stop` on the process is no longer ready, and says so, and what it
    /// still does is counted, until it [has ended](Self::ended).
    ///
    /// # Errors
    /// When nothing can be served at the address of the settings.
    pub async fn start(
        config: &MetricsConfig,
        metrics: impl Exposition,
        health: Health,
        stop: CancellationToken,
    ) -> Result<Self, CommandError> {
        if !config.enabled {
            return Ok(Self::on(None, metrics, health, stop));
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
        Ok(Self::on(Some(listener), metrics, health, stop))
    }

    fn on(
        listener: Option<TcpListener>,
        metrics: impl Exposition,
        health: Health,
        stop: CancellationToken,
    ) -> Self {
        let (leaving, closing) = (health.clone(), CancellationToken::new());
        tokio::spawn(async move {
            stop.cancelled().await;
            leaving.leave();
        });
        let serve = |listener| tokio::spawn(serve_ops(listener, metrics, health, closing.clone()));
        Self { served: listener.map(serve), closing }
    }

    /// Takes no more questions, and waits for the last answers: the process has done its work.
    pub async fn ended(self) {
        self.closing.cancel();
        if let Some(served) = self.served {
            let _ = tokio::time::timeout(LAST_ANSWERS, served).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::http::Metrics;

    async fn ask(address: SocketAddr, path: &str) -> std::io::Result<String> {
        let mut connection = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: ops\r\nConnection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    #[tokio::test]
    async fn who_is_told_to_stop_answers_until_its_work_has_ended() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let health = Health::of(Duration::from_secs(60), &[]);
        let ops = Ops::on(Some(listener), Metrics::new().unwrap(), health, stop.clone());
        assert!(ask(address, "/readyz").await.unwrap().starts_with("HTTP/1.1 200"));
        stop.cancel();
        loop {
            let answer = ask(address, "/readyz").await.unwrap();
            if answer.starts_with("HTTP/1.1 503") && answer.contains("it is shutting down") {
                break;
            }
        }
        assert!(ask(address, "/healthz").await.unwrap().starts_with("HTTP/1.1 200"));
        assert!(ask(address, "/metrics").await.unwrap().starts_with("HTTP/1.1 200"));
        ops.ended().await;
        assert!(ask(address, "/readyz").await.is_err());
    }
}
