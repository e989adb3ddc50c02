//! The three addresses that a cluster asks: `/metrics`, `/healthz`, `/readyz`.

use std::io;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::health::{Health, Report};
use super::metrics::Exposition;

/// Serves `/metrics` (Prometheus text), `/healthz` (alive) and `/readyz` (ready) until
/// `shutdown`. The probes answer 200 or 503 and say in JSON what was looked at and why.
///
/// # Errors
/// What the listener reports when it can take no more connections.
pub async fn serve_ops(
    listener: TcpListener,
    metrics: impl Exposition,
    health: Health,
    shutdown: CancellationToken,
) -> io::Result<()> {
    super::serve(listener, router(metrics, health), shutdown).await
}

/// Serves `/metrics` alone until `shutdown`: for a command that ends by itself, of which nobody
/// asks whether it is alive.
///
/// # Errors
/// As [`serve_ops`].
pub async fn serve_metrics(
    listener: TcpListener,
    metrics: impl Exposition,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let router = Router::new().route("/metrics", get(move || async move { rendered(&metrics) }));
    super::serve(listener, router, shutdown).await
}

fn router(metrics: impl Exposition, health: Health) -> Router {
    let alive = health.clone();
    Router::new()
        .route("/metrics", get(move || async move { rendered(&metrics) }))
        .route("/healthz", get(move || async move { answer(&alive.liveness()) }))
        .route("/readyz", get(move || async move { answer(&health.readiness()) }))
}

fn rendered(metrics: &impl Exposition) -> Response {
    match metrics.render() {
        Ok((text, content_type)) => ([(header::CONTENT_TYPE, content_type)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn answer(report: &Report) -> Response {
    let status = if report.ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, super::json(report)).into_response()
}
