//! `consumer`: the worker, from the broker to the streams.

use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::assembly::{Parts, health_rules};
use super::ops::Ops;
use super::signals::stop_on_signals;
use super::{CommandError, cluster};
use crate::config::{Config, PulsarConfig};
use crate::model::SystemClock;
use crate::source::pulsar::{PulsarSettings, PulsarSource, PulsarTls};
use crate::status::publish::Publisher;

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
    let (metrics, health) = (parts.metrics.clone(), parts.health.clone());
    let ops = Ops::start(&config.metrics, metrics, health, stop.clone()).await?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        topic = %config.pulsar.topic,
        subscription = %config.pulsar.subscription,
        consumer = %config.pulsar.consumer_name,
        storage = %config.storage.streams,
        "the worker takes frames"
    );
    let telling = tell_kubernetes(&config, &parts, &stop).await?;
    let result = parts.run(stop.clone()).await;
    stop.cancel();
    if let Some(telling) = telling {
        telling.abort();
    }
    ops.ended().await;
    result
}

/// Starts to tell how devices are, where the settings say whose worker this is.
async fn tell_kubernetes(
    config: &Config,
    parts: &Parts,
    stop: &CancellationToken,
) -> Result<Option<JoinHandle<()>>, CommandError> {
    let Some(board) = parts.board.clone() else { return Ok(None) };
    let client = cluster::client().await?;
    let health = Some(parts.health.clone());
    let clock = Arc::new(SystemClock);
    let rules = health_rules(config);
    let publisher = Publisher::new(client, &config.status, board, rules, clock, health);
    Ok(publisher.map(|publisher| tokio::spawn(publisher.run(stop.clone()))))
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
