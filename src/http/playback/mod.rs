//! The HLS files of the storage, read only: playlists, segments, init files, of the live stream
//! and of archives, and nothing else that lies there.
//!
//! | file | owns |
//! |---|---|
//! | [`address`] | the path of everything that is served (pure) |
//! | [`answer`] | what is said of a file: ETag, conditions, ranges, how long it is kept (pure) |
//! | [`shelf`] | what was read of late, once for all who ask for it |
//! | `playlists` | playlists: live, archived, finished ones of a part |
//! | `master` | multivariant playlists: what a playlist's media take of a player and of a line |
//! | `media` | segments and init files |
//!
//! A live playlist costs the storage one look a second however many watch it, and one read for
//! each of its versions; a segment that many fetch is read once.
//!
//! Architecture invariant: what is read is what [`StreamFile`](crate::store::StreamFile) can
//! name, of a device that the gate has let the request see.

pub mod address;
pub mod answer;
mod master;
mod media;
mod playlists;
pub mod shelf;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::FromRef;
use axum::http::{HeaderName, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tower_http::cors::{Any, CorsLayer};
use tower_http::set_header::SetResponseHeaderLayer;

use super::auth::Gate;
use super::snapshot::SnapshotError;
use crate::store::{Store, StoreError};
use shelf::Shelf;

/// A path below `/client_ids/{client}/device_id/{device}`, bare and behind a signature.
pub(super) const DEVICE_PATHS: [&str; 2] = [
    "/client_ids/{client}/device_id/{device}",
    "/s/{signature}/client_ids/{client}/device_id/{device}",
];

/// How much of what is kept in memory is playlists: the rest is media.
const PLAYLISTS_PART: u64 = 4;

/// Whether a browser may keep segments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SegmentCaching {
    /// A name stands for the same bytes for ever: keep them, never ask again.
    Immutable,
    /// Names start anew, as with each run of a demonstration: ask each time.
    Revalidate,
}

/// What playback goes by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PlaybackSettings {
    /// Whether a browser may keep segments.
    pub segments: SegmentCaching,
    /// For how long a live playlist is not asked for again.
    pub playlist_fresh_for: Duration,
    /// How much is kept in memory.
    pub cache_bytes: u64,
}

impl Default for PlaybackSettings {
    /// Kept for ever, one second, 128 MiB.
    fn default() -> Self {
        Self {
            segments: SegmentCaching::Immutable,
            playlist_fresh_for: Duration::from_secs(1),
            cache_bytes: 128 << 20,
        }
    }
}

/// Serves the HLS files of a storage. Cheap to clone.
#[derive(Clone)]
pub struct Playback(Arc<Inner>);

struct Inner {
    store: Store,
    gate: Gate,
    settings: PlaybackSettings,
    playlists: Shelf,
    media: Shelf,
    described: master::Described,
}

impl FromRef<Playback> for Gate {
    fn from_ref(playback: &Playback) -> Self {
        playback.0.gate.clone()
    }
}

/// Why a file is not served.
#[derive(Debug, thiserror::Error)]
enum PlaybackError {
    #[error("there is no such file")]
    NotFound,
    #[error("{0}")]
    Snapshot(#[from] SnapshotError),
    #[error("the storage cannot be read at the moment")]
    Store(#[source] StoreError),
    #[error("the file is not a playlist")]
    NotText,
}

impl From<StoreError> for PlaybackError {
    /// A link that leads outside is refused as a lack of permission, and a name that cannot be
    /// one as wrong input: to the client that is a file that is not there.
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Io { source, .. }
                if matches!(
                    source.kind(),
                    io::ErrorKind::NotFound
                        | io::ErrorKind::NotADirectory
                        | io::ErrorKind::PermissionDenied
                        | io::ErrorKind::InvalidInput
                        | io::ErrorKind::InvalidFilename
                ) =>
            {
                Self::NotFound
            }
            _ => Self::Store(error),
        }
    }
}

impl IntoResponse for PlaybackError {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::NotFound | Self::Snapshot(SnapshotError::Empty) => StatusCode::NOT_FOUND,
            Self::Snapshot(SnapshotError::Playlist(_)) | Self::NotText => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            Self::Store(error) => {
                tracing::warn!(%error, "a file cannot be served");
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Snapshot(_) => StatusCode::BAD_REQUEST,
        };
        // A playlist that is missing now may be there a second later.
        (status, [(header::CACHE_CONTROL, "no-store")], format!("{self}\n")).into_response()
    }
}

impl Playback {
    /// Serves what lies in `store` to whom `gate` admits.
    pub fn new(store: Store, gate: Gate, settings: PlaybackSettings) -> Self {
        let for_playlists = settings.cache_bytes / PLAYLISTS_PART;
        Self(Arc::new(Inner {
            store,
            gate,
            settings,
            playlists: Shelf::new(for_playlists),
            media: Shelf::new(settings.cache_bytes - for_playlists),
            described: master::Described::default(),
        }))
    }

    /// The routes, from the root: the URL of a file is its path below the base path, bare or
    /// behind a signature. A playlist with `?from=&to=` is a finished one of that time; beside
    /// each there is `master.m3u8`, which describes it.
    pub fn router(self) -> Router {
        let mut router = Router::new();
        for device in DEVICE_PATHS {
            router = playlists::routes(router, device);
            router = master::routes(router, device);
            router = media::routes(router, device);
        }
        outer_layers(router.with_state(self))
    }

    /// How long who fetched it may keep what never changes.
    fn kept(&self) -> &'static str {
        match (self.0.settings.segments, self.0.gate.is_locked()) {
            (SegmentCaching::Immutable, false) => "public, max-age=86400, immutable",
            // A cache in between would hand it to who may not have it.
            (SegmentCaching::Immutable, true) => "private, max-age=86400, immutable",
            (SegmentCaching::Revalidate, _) => "no-cache",
        }
    }
}

/// What every answer about a device's streams has, refusals too.
pub(super) fn outer_layers(router: Router) -> Router {
    router.layer(cors()).layer(SetResponseHeaderLayer::overriding(
        header::X_CONTENT_TYPE_OPTIONS,
        axum::http::HeaderValue::from_static("nosniff"),
    ))
}

/// Any page may play the streams that its user has a token or a link for; none may do anything
/// else. No cookie is ever looked at, so no page can use what its user has elsewhere.
fn cors() -> CorsLayer {
    const EXPOSED: [HeaderName; 5] = [
        header::CONTENT_RANGE,
        header::CONTENT_LENGTH,
        header::CONTENT_DISPOSITION,
        header::ETAG,
        header::DATE,
    ];
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::HEAD])
        .allow_headers([
            header::AUTHORIZATION,
            header::RANGE,
            header::IF_RANGE,
            header::IF_NONE_MATCH,
        ])
        .expose_headers(EXPOSED)
        .max_age(Duration::from_secs(86_400))
}
