//! `operator`: runs in Kubernetes what `StreamProcessor` objects ask for.

use std::time::Duration;

use super::ops::Ops;
use super::signals::stop_on_signals;
use super::{CommandError, cluster};
use crate::config::Config;
use crate::http::{Health, Part};
use crate::operator::api_server::ApiServer;
use crate::operator::metrics::OperatorMetrics;
use crate::operator::run::Operator;

/// It says so every few seconds; silent for this long, it hangs.
const MAX_SILENCE: Duration = Duration::from_secs(60);

/// Runs the operator until it is told to stop.
///
/// # Errors
/// When it cannot start. An API server that is away is no such thing: it is waited for.
pub async fn run(config: Config) -> Result<(), CommandError> {
    let stop = stop_on_signals()?;
    let metrics = OperatorMetrics::new()
        .map_err(|e| CommandError::because("the metrics cannot be set up", e))?;
    let health = Health::of(MAX_SILENCE, &[Part::Cluster]);
    let found = cluster::config().await?;
    let api = ApiServer::new(found, config.operator.api_timeout, metrics.clone())
        .map_err(cluster::unusable)?;
    let ops = Ops::start(&config.metrics, metrics.clone(), health.clone(), stop.clone()).await?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        namespaces = if config.operator.namespaces.is_empty() {
            "all".into()
        } else {
            config.operator.namespaces.join(",")
        },
        image = config.operator.image,
        "the operator"
    );
    Operator { api, config: config.operator, metrics, health }.run(stop.clone()).await;
    stop.cancel();
    ops.ended().await;
    Ok(())
}
