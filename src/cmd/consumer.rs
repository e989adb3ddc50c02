//! `consumer`: the worker, from the broker to the streams.

use super::CommandError;
use crate::config::Config;

/// Runs the worker until it is told to stop.
///
/// # Errors
/// When it cannot start.
pub async fn run(_config: Config) -> Result<(), CommandError> {
    Err(CommandError::new("the consumer is not part of this build"))
}
