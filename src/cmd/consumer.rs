//! `consumer`: the worker, from the broker to the streams.

use super::CommandError;
use super::assembly::Parts;
use super::ops::Ops;
use super::signals::stop_on_signals;
use crate::config::{Config, PulsarConfig};
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
    let result = parts.run(stop.clone()).await;
    stop.cancel();
    ops.ended().await;
    result
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
