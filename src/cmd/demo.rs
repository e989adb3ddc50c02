//! `demo`: the real pipeline with made-up cameras, and a page to watch them.

use super::CommandError;
use crate::cli::DemoArgs;
use crate::config::Config;

/// Runs the demonstration until its time is up or it is told to stop.
///
/// # Errors
/// When it cannot start.
pub async fn run(_config: Config, _args: DemoArgs) -> Result<(), CommandError> {
    Err(CommandError::new("the demonstration is not part of this build"))
}
