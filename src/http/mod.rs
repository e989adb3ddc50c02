//! What is shown over HTTP: metrics, health, playback and the wall of cameras.
//!
//! | file | owns |
//! |---|---|
//! | [`metrics`] | every metric, its name and the text that explains it |
//! | [`health`] | whether the process is alive and whether it can do its work |
//! | [`ops`] | `/metrics`, `/healthz`, `/readyz` |
//! | [`auth`] | who may see which device |
//! | [`playback`] | the HLS files of the storage, read only |
//! | [`snapshot`] | a playlist as a finished one, whole or in part (pure) |
//! | [`export`] | clips and stills to save |
//! | [`archives`] | the list of a device's archives |
//! | [`byte_range`] | `Range` and `If-Range` (pure) |
//! | [`page`] | the page that shows every camera, and what it asks for |
//!
//! Architecture invariant: nothing here changes anything; what is served is read, or handed in.

pub mod archives;
pub mod auth;
pub mod byte_range;
pub mod export;
pub mod health;
pub mod metrics;
pub mod ops;
pub mod page;
pub mod playback;
pub mod snapshot;

use std::io;
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use health::{Condition, Health, Part};
pub use metrics::{Exposition, Metrics};
pub use ops::{serve_metrics, serve_ops};

/// How long answers that are under way may take once the server is told to stop: a client
/// that reads slowly must not hold up the process.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// Serves `router` on `listener` until `shutdown`, then lets the answers under way finish for
/// at most two seconds.
///
/// # Errors
/// What the listener reports when it can take no more connections.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let stop = shutdown.clone();
    let served = axum::serve(listener, router)
        .with_graceful_shutdown(async move { stop.cancelled().await })
        .into_future();
    tokio::select! {
        ended = served => ended,
        () = async {
            shutdown.cancelled().await;
            tokio::time::sleep(LAST_ANSWERS).await;
        } => Ok(()),
    }
}

/// `value` as a JSON answer that nobody keeps.
fn json(value: &impl serde::Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(text) => (
            [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")],
            text,
        )
            .into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
