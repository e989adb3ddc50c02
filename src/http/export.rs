//! `clip.mp4?from=&to=` and `still.jpg?at=`: a piece of a device's stream, and one of its frames,
//! for a browser to save. A still is the frame nearest to the instant, with `of=screen` the one
//! that is on screen then; with `missing=empty` the answer is 204 where there is none.
//!
//! Architecture invariant: a clip is handed on segment by segment; only so many are made at the
//! same time, and none is longer than is allowed.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRef, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::auth::{Gate, Viewed};
use super::playback::answer::{Described, asked, matches_etag, set};
use super::playback::{DEVICE_PATHS, outer_layers};
use super::snapshot::{SnapshotError, Span, instant};
use crate::export::{ClipFile, ExportError, Which, frame_of};
use crate::media::clip::{ClipError, ClipSpan};
use crate::model::{Clock, DeviceKey, UtcMillis};
use crate::store::{FrameReadError, Store};

/// When who is told to come again should.
const RETRY_AFTER_SECS: &str = "10";

/// What the making of clips goes by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExportSettings {
    /// The longest span.
    pub max_clip: Duration,
    /// How many clips at the same time.
    pub max_clips: usize,
}

/// Makes clips and finds stills. Cheap to clone.
#[derive(Clone)]
pub struct Exports(Arc<Inner>);

struct Inner {
    store: Store,
    gate: Gate,
    clock: Arc<dyn Clock>,
    settings: ExportSettings,
    turns: Arc<Semaphore>,
}

impl FromRef<Exports> for Gate {
    fn from_ref(exports: &Exports) -> Self {
        exports.0.gate.clone()
    }
}

/// Why there is no clip or still.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("{0}")]
    Query(#[from] SnapshotError),
    #[error("{key} is missing: give from and to (clip), or at (still), as RFC 3339 with a zone")]
    Missing { key: &'static str },
    #[error("a clip is at most {} s long here; the export command has no limit", .0.as_secs())]
    TooLong(Duration),
    #[error("so many clips are being made that another has to wait; ask again soon")]
    Busy,
    #[error("{0}")]
    Export(#[from] ExportError),
}

impl Refused {
    fn status(&self) -> StatusCode {
        match self {
            Self::Query(_) | Self::Missing { .. } | Self::TooLong(_) => StatusCode::BAD_REQUEST,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Export(error) => match error {
                ExportError::Nothing(_)
                | ExportError::Clip(ClipError::Nothing { .. } | ClipError::Order(_))
                | ExportError::Gone { .. }
                | ExportError::Frame(FrameReadError::NotFound { .. }) => StatusCode::NOT_FOUND,
                ExportError::Clip(_) | ExportError::Frame(_) | ExportError::Store(_) => {
                    StatusCode::INTERNAL_SERVER_ERROR
                }
            },
        }
    }

    /// The device's name is not repeated, nor are paths: the text is for a viewer.
    fn text(&self) -> String {
        match self {
            Self::Export(ExportError::Nothing(_)) => "nothing is kept of this device".to_owned(),
            Self::Export(ExportError::Clip(ClipError::Nothing { .. } | ClipError::Order(_))) => {
                self.to_string()
            }
            Self::Export(_) if self.status() == StatusCode::NOT_FOUND => {
                "it is not kept any more".to_owned()
            }
            Self::Export(error) => {
                tracing::warn!(%error, "a clip or a still cannot be made");
                "the storage cannot be read, or what it holds is damaged".to_owned()
            }
            _ => self.to_string(),
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let headers = [(header::CACHE_CONTROL, "no-store")];
        let text = format!("{}\n", self.text());
        let mut response = (self.status(), headers, text).into_response();
        if matches!(self, Self::Busy) {
            set(response.headers_mut(), header::RETRY_AFTER, RETRY_AFTER_SECS);
        }
        response
    }
}

impl Exports {
    /// Cuts out of what lies in `store`, for whom `gate` admits.
    pub fn new(store: Store, gate: Gate, clock: Arc<dyn Clock>, settings: ExportSettings) -> Self {
        let turns = Arc::new(Semaphore::new(settings.max_clips));
        Self(Arc::new(Inner { store, gate, clock, settings, turns }))
    }

    /// The routes, from the root, bare and behind a signature.
    pub fn router(self) -> Router {
        let mut router = Router::new();
        for device in DEVICE_PATHS {
            router = router
                .route(&format!("{device}/clip.mp4"), get(clip))
                .route(&format!("{device}/still.jpg"), get(still));
        }
        outer_layers(router.with_state(self))
    }
}

async fn clip(
    State(exports): State<Exports>,
    viewed: Viewed,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let Inner { store, clock, settings, turns, .. } = exports.0.as_ref();
    let span = Span::from_query(query.as_deref().unwrap_or_default())?.unwrap_or_default();
    let from = span.from.ok_or(Refused::Missing { key: "from" })?;
    let span = ClipSpan { from, to: span.to.unwrap_or_else(|| clock.now()) };
    if span.to.since(span.from) > settings.max_clip {
        return Err(Refused::TooLong(settings.max_clip));
    }
    let turn = turns.clone().try_acquire_owned().map_err(|_| Refused::Busy)?;
    let file = Arc::new(ClipFile::prepare(store, &viewed.key, span, |_, _| {}).await?);
    let described = Described {
        content_type: "video/mp4",
        cache_control: "no-cache",
        etag: format!("\"{}\"", file.tag()),
    };
    if matches_etag(&headers, &described.etag) {
        return Ok(described.not_modified());
    }
    let asked = asked(&headers, &described.etag, file.len_bytes());
    let name = file_name(&viewed.key, file.shown().from, "mp4");
    let len_bytes = file.len_bytes();
    let mut response =
        described.part(asked, len_bytes, |range| Body::from_stream(bytes(file, range, turn)));
    set(response.headers_mut(), header::CONTENT_DISPOSITION, &name);
    Ok(response)
}

/// The bytes of a range of the file, a part at a time. The turn is over when the last one has
/// been taken, or the client has gone.
fn bytes(
    file: Arc<ClipFile>,
    range: std::ops::Range<u64>,
    turn: OwnedSemaphorePermit,
) -> impl futures::Stream<Item = Result<bytes::Bytes, ExportError>> {
    stream::try_unfold((file, range, turn), |(file, rest, turn)| async move {
        if rest.is_empty() {
            return Ok(None);
        }
        let bytes = file.bytes(rest.clone()).await?;
        let next = rest.start + bytes.len() as u64..rest.end;
        Ok((!bytes.is_empty()).then_some((bytes, (file, next, turn))))
    })
}

async fn still(
    State(exports): State<Exports>,
    viewed: Viewed,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    let query = query.unwrap_or_default();
    let at = instant(&query, "at")?.ok_or(Refused::Missing { key: "at" })?;
    let which = if has(&query, "of=screen") { Which::OnScreen } else { Which::Nearest };
    let found = frame_of(&exports.0.store, &viewed.key, at, which).await.map_err(Refused::from);
    let still = match found {
        // Who shows many pictures can do without one, and takes it for no failure.
        Err(refused)
            if refused.status() == StatusCode::NOT_FOUND && has(&query, "missing=empty") =>
        {
            return Ok(
                (StatusCode::NO_CONTENT, [(header::CACHE_CONTROL, "no-store")]).into_response()
            );
        }
        still => still?,
    };
    let mut response = Response::new(Body::from(still.jpeg));
    let headers = response.headers_mut();
    set(headers, header::CONTENT_TYPE, "image/jpeg");
    set(headers, header::CACHE_CONTROL, "no-cache");
    let name = file_name(&viewed.key, still.captured_at, "jpg");
    set(headers, header::CONTENT_DISPOSITION, &name);
    Ok(response)
}

/// Whether a query has this pair.
fn has(query: &str, pair: &str) -> bool {
    query.split('&').any(|given| given == pair)
}

/// The name to save as: the device and the instant, of characters that every system takes
/// (RFC 6266).
fn file_name(key: &DeviceKey, at: UtcMillis, extension: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let device: String = key.device.as_str().chars().take(80).map(plain).collect();
    let at: String = at.to_string().chars().filter(|c| c.is_ascii_alphanumeric()).collect();
    format!("attachment; filename=\"{device}_{at}.{extension}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_saved_under_a_name_that_every_system_takes() {
        let key = DeviceKey::new("acme", "Kamera \"Süd\"/1".replace('/', ".").as_str()).unwrap();
        let at = UtcMillis::parse_rfc3339("2026-01-31T08:00:00.250Z").unwrap();
        assert_eq!(
            file_name(&key, at, "mp4"),
            "attachment; filename=\"Kamera__S_d__1_20260131T080000250Z.mp4\""
        );
    }
}
