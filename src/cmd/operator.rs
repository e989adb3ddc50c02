//! `operator`: runs in Kubernetes what `StreamProcessor` objects ask for.

use super::CommandError;
use crate::config::Config;

/// Runs the operator until it is told to stop.
///
/// # Errors
/// When it cannot start.
pub async fn run(config: Config) -> Result<(), CommandError> {
    tracing::info!(image = %config.operator.image, "the operator");
    Ok(())
}
