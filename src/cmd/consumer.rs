//! `consumer`: the worker, from the broker to the streams, and what may be done beside it.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::archive_cleanup::ArchiveSweeping;
use super::assembly::{Parts, health_rules, open_store, open_store_to_clean};
use super::chores::{Chore, Chores};
use super::cleanup::Cleanup;
use super::offline_checker::OfflineCheck;
use super::ops::Ops;
use super::signals::stop_on_signals;
use super::{CommandError, cluster};
use crate::cli::{ARCHIVE_CLEANUP_SECS, ConsumerArgs, OFFLINE_CHECK_SECS};
use crate::config::{Config, PulsarConfig};
use crate::model::SystemClock;
use crate::source::pulsar::{PulsarSettings, PulsarSource, PulsarTls};
use crate::status::publish::Publisher;

/// Runs the worker until it is told to stop.
///
/// # Errors
/// When it cannot start. A broker that is away is no such thing: it is waited for.
pub async fn run(config: Config, args: ConsumerArgs) -> Result<(), CommandError> {
    let stop = stop_on_signals()?;
    let source = PulsarSource::connect(pulsar_settings(&config.pulsar))
        .await
        .map_err(|e| CommandError::because("the Pulsar settings do not work", e))?;
    let store = match args.with_cleanup {
        // Or nobody would ever make room.
        true => open_store_to_clean(&config.storage, &config.processing).await?,
        false => open_store(&config.storage, &config.processing).await?,
    };
    let parts = Parts::build(&config, store, Box::new(source)).await?;
    let chores = if args.with_cleanup { chores(&config, &parts)? } else { Vec::new() };
    let (metrics, health) = (parts.metrics.clone(), parts.health.clone());
    let ops = Ops::start(&config.metrics, metrics, health, stop.clone()).await?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        topic = %config.pulsar.topic,
        subscription = %config.pulsar.subscription,
        consumer = %config.pulsar.consumer_name,
        storage = %config.storage.streams,
        with_cleanup = args.with_cleanup,
        "the worker takes frames"
    );
    let telling = tell_kubernetes(&config, &parts, &stop).await?;
    let chores = Chores::start(chores, &parts.metrics, &stop);
    let result = parts.run(stop.clone()).await;
    stop.cancel();
    chores.ended().await;
    if let Some(telling) = telling {
        telling.abort();
    }
    ops.ended().await;
    result
}

/// What is done with `--with-cleanup`. Any number of workers may do it on one storage: whoever
/// comes first to a device does what is due.
fn chores(config: &Config, parts: &Parts) -> Result<Vec<Box<dyn Chore>>, CommandError> {
    let (store, metrics) = (&parts.store, &parts.metrics);
    let check_every = Duration::from_secs(OFFLINE_CHECK_SECS);
    let sweep_every = Duration::from_secs(ARCHIVE_CLEANUP_SECS);
    let mirror = parts.mirror.clone();
    let check = OfflineCheck::new(config, store.clone(), metrics.clone(), mirror, check_every)?;
    let cleanup = Cleanup::new(config, store.clone(), metrics.clone(), config.retention.interval);
    let archives =
        ArchiveSweeping::new(config, store.clone(), metrics.clone(), sweep_every, false)?;
    Ok(vec![Box::new(check), Box::new(cleanup), Box::new(archives)])
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
