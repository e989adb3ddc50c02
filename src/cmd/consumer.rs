//! `consumer`: the worker, from the broker to the streams.

use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::CommandError;
use super::assembly::Parts;
use super::signals::stop_on_signals;
use crate::config::{Config, PulsarConfig};
use crate::http::{Health, Metrics, serve_ops};
use crate::source::pulsar::{PulsarSettings, PulsarSource, PulsarTls};

/// Runs the worker until it is told to stop.
///
/// # Errors
/// When it cannot start. A broker that is away is no such thing: it is waited for.
pub async fn run(config: Config) -> Result<(), CommandError> {
    let stop = stop_on_signals()?;
    let source = PulsarSource::connect(pulsar_settings(&config.pulsar))
        .await
        .map_err(|e| CommandError::because("the Pulsar settings do not work", e))?;
    let parts = Parts::build(&config, &config.storage, Box::new(source)).await?;
    let ops = match config.metrics.enabled {
        true => Some(
            start_ops(&config, parts.metrics.clone(), parts.health.clone(), stop.clone()).await?,
        ),
        false => None,
    };
    let leaving = parts.health.clone();
    let stopping = stop.clone();
    tokio::spawn(async move {
        stopping.cancelled().await;
        leaving.leave();
    });
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        topic = %config.pulsar.topic,
        subscription = %config.pulsar.subscription,
        consumer = %config.pulsar.consumer_name,
        storage = %config.storage.streams,
        "the worker takes frames"
    );
    let result = parts.run(stop.clone()).await;
    stop.cancel();
    if let Some(ops) = ops {
        let _ = tokio::time::timeout(Duration::from_secs(3), ops).await;
    }
    result
}

async fn start_ops(
    config: &Config,
    metrics: Metrics,
    health: Health,
    stop: CancellationToken,
) -> Result<tokio::task::JoinHandle<std::io::Result<()>>, CommandError> {
    let listen = config.metrics.listen;
    let listener = TcpListener::bind(listen).await.map_err(|e| {
        let sentence =
            format!("METRICS_ADDRESS and METRICS_PORT say {listen}, where nothing can be served");
        CommandError::because(sentence, e)
    })?;
    let address = listener.local_addr().unwrap_or(listen);
    tracing::info!(%address, "metrics and health are served");
    Ok(tokio::spawn(serve_ops(listener, metrics, health, stop)))
}

fn pulsar_settings(config: &PulsarConfig) -> PulsarSettings {
    PulsarSettings {
        admin_url: config.admin_url.clone(),
        auth: config.auth.clone(),
        tls: PulsarTls { trust_certs_file: config.tls_trust_certs_file.clone() },
        ..PulsarSettings::new(
            &config.service_url,
            &config.topic,
            &config.subscription,
            &config.consumer_name,
        )
    }
}
