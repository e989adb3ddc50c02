//! When to stop: SIGTERM from a cluster, Ctrl-C from a terminal.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::CommandError;

/// Cancelled at the first SIGTERM or SIGINT; the second ends the process at once.
///
/// # Errors
/// When the system does not let us listen.
pub fn stop_on_signals() -> Result<CancellationToken, CommandError> {
    let listen =
        |kind| signal(kind).map_err(|e| CommandError::because("signals cannot be listened for", e));
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    tokio::spawn(async move {
        for last in [false, true] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if last {
                // 128 + SIGINT, as a shell would say it.
                std::process::exit(130);
            }
            tracing::info!("stopping: what is under way is finished, the rest is left for later");
            stopping.cancel();
        }
    });
    Ok(stop)
}
