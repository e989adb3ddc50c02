//! The HLS files below the base path, read only: playlists, segments, init files, and nothing
//! else that lies there.
//!
//! Architecture invariant: what is opened is a regular file below one device's `hls` folder,
//! whatever the URL says and wherever links point.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path as UrlPath, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use futures::stream;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustix::fs::OFlags;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{Any, CorsLayer};
use tower_http::set_header::SetResponseHeaderLayer;

use super::byte_range::{self, Asked};
use super::snapshot::{self, SnapshotError, Span};
use crate::model::{DeviceKey, IdError};

/// A day of six-second segments takes about 0.5 MiB; what is far beyond is not a playlist.
const MAX_PLAYLIST_BYTES: u64 = 16 << 20;
/// How much of a segment is in memory at once for each client.
const CHUNK_BYTES: usize = 256 << 10;

/// Whether a browser may keep segments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SegmentCaching {
    /// A name stands for the same bytes for ever: keep them, never ask again.
    Immutable,
    /// Names start anew, as with each run of a demonstration: ask each time.
    Revalidate,
}

impl SegmentCaching {
    fn cache_control(self) -> &'static str {
        match self {
            Self::Immutable => "public, max-age=86400, immutable",
            Self::Revalidate => "no-cache",
        }
    }
}

/// Serves the HLS files below a base path.
#[derive(Clone, Debug)]
pub struct Playback {
    base: Arc<Dir>,
    segments: SegmentCaching,
}

/// Why a file is not served.
#[derive(Debug, thiserror::Error)]
enum PlaybackError {
    #[error("the device's name {0}")]
    Id(#[from] IdError),
    #[error("there is no such file")]
    NotFound,
    #[error("{0}")]
    Snapshot(#[from] SnapshotError),
    #[error("the file cannot be read: {0}")]
    Io(#[from] io::Error),
}

impl IntoResponse for PlaybackError {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Id(_) | Self::NotFound | Self::Snapshot(SnapshotError::Empty) => {
                StatusCode::NOT_FOUND
            }
            Self::Snapshot(SnapshotError::Playlist(_)) | Self::Io(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            Self::Snapshot(_) => StatusCode::BAD_REQUEST,
        };
        // A playlist that is missing now may be there a second later.
        (status, [(header::CACHE_CONTROL, "no-store")], format!("{self}\n")).into_response()
    }
}

impl Playback {
    /// Serves what lies below `base`.
    ///
    /// # Errors
    /// When `base` is not a folder that can be opened.
    pub fn open(base: &Path, segments: SegmentCaching) -> io::Result<Self> {
        Ok(Self { base: Arc::new(Dir::open_ambient_dir(base, ambient_authority())?), segments })
    }

    /// The routes, from the root: the URL of a file is its path below the base path.
    /// `playlist.m3u8?from=&to=` is a snapshot of the window that has ended.
    pub fn router(self) -> Router {
        let playlists = Router::new()
            .route("/client_ids/{client}/device_id/{device}/hls/playlist.m3u8", get(playlist))
            .layer(CompressionLayer::new());
        Router::new()
            .route("/client_ids/{client}/device_id/{device}/hls/segments/{file}", get(segment))
            .merge(playlists)
            .with_state(self)
            .layer(cors())
            .layer(SetResponseHeaderLayer::overriding(
                header::X_CONTENT_TYPE_OPTIONS,
                axum::http::HeaderValue::from_static("nosniff"),
            ))
    }
}

/// The URL path of a device's live playlist.
pub fn playlist_url(key: &DeviceKey) -> String {
    /// What needs no escape in a path segment (RFC 3986 section 3.3, `unreserved`).
    const SEGMENT: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    let client = utf8_percent_encode(key.client.as_str(), SEGMENT);
    let device = utf8_percent_encode(key.device.as_str(), SEGMENT);
    format!("/client_ids/{client}/device_id/{device}/hls/playlist.m3u8")
}

/// Any page may play the streams; none may do anything else.
fn cors() -> CorsLayer {
    const EXPOSED: [HeaderName; 4] =
        [header::CONTENT_RANGE, header::CONTENT_LENGTH, header::ETAG, header::DATE];
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::HEAD])
        .allow_headers([header::RANGE, header::IF_RANGE, header::IF_NONE_MATCH])
        .expose_headers(EXPOSED)
}

async fn playlist(
    State(playback): State<Playback>,
    UrlPath((client, device)): UrlPath<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, PlaybackError> {
    let key = DeviceKey::new(&client, &device)?;
    let span = Span::from_query(query.as_deref().unwrap_or_default())?;
    let opened = blocking(move || playback.opened(&key, "playlist.m3u8")).await?;
    // Weak, because the compressed answer is another sequence of bytes.
    let etag = format!("W/{}", opened.etag);
    let common = [
        (header::CONTENT_TYPE, "application/vnd.apple.mpegurl".to_owned()),
        (header::CACHE_CONTROL, "no-cache".to_owned()),
        (header::ETAG, etag.clone()),
    ];
    if matches_etag(&headers, &etag) {
        return Ok((StatusCode::NOT_MODIFIED, common).into_response());
    }
    let text = blocking(move || opened.playlist_text()).await?;
    Ok(match span {
        Some(span) => (common, snapshot::of(&text, span)?).into_response(),
        None => (common, text).into_response(),
    })
}

async fn segment(
    State(playback): State<Playback>,
    UrlPath((client, device, file)): UrlPath<(String, String, String)>,
    headers: HeaderMap,
) -> Result<Response, PlaybackError> {
    let key = DeviceKey::new(&client, &device)?;
    let media_type = media_type(&file).ok_or(PlaybackError::NotFound)?;
    let caching = playback.segments.cache_control();
    let opened = blocking(move || playback.opened(&key, &format!("segments/{file}"))).await?;
    let common = [
        (header::CACHE_CONTROL, caching.to_owned()),
        (header::ETAG, opened.etag.clone()),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
    ];
    if matches_etag(&headers, &opened.etag) {
        return Ok((StatusCode::NOT_MODIFIED, common).into_response());
    }
    let len = opened.len_bytes;
    let (status, range) = match asked(&headers, &opened) {
        Asked::Whole => (StatusCode::OK, 0..len),
        Asked::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Asked::Unsatisfiable => {
            let all = [(header::CONTENT_RANGE, format!("bytes */{len}"))];
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, common, all).into_response());
        }
    };
    let mut response = (
        status,
        common,
        [
            (header::CONTENT_TYPE, media_type.to_owned()),
            (header::CONTENT_LENGTH, (range.end - range.start).to_string()),
        ],
    )
        .into_response();
    if status == StatusCode::PARTIAL_CONTENT {
        let shown = format!("bytes {}-{}/{len}", range.start, range.end - 1);
        if let Ok(shown) = shown.parse() {
            response.headers_mut().insert(header::CONTENT_RANGE, shown);
        }
    }
    *response.body_mut() = body(opened.file, range);
    Ok(response)
}

/// The type of a file of the segments folder, by its name; `None` when it is not one that a
/// playlist names. `video/mp2t` is of RFC 3555, `video/mp4` of RFC 4337,
/// `video/iso.segment` of ISO/IEC 23009-1.
fn media_type(file: &str) -> Option<&'static str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if file.len() > 255 || file.starts_with('.') || !file.chars().all(plain) {
        return None;
    }
    match file.rsplit_once('.')?.1 {
        "ts" => Some("video/mp2t"),
        "m4s" => Some("video/iso.segment"),
        "mp4" => Some("video/mp4"),
        _ => None,
    }
}

fn asked(headers: &HeaderMap, opened: &Opened) -> Asked {
    let value = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(range) = value(header::RANGE) else { return Asked::Whole };
    match value(header::IF_RANGE) {
        // Only the very same bytes may be continued (RFC 9110 section 13.1.5).
        Some(known) if known != opened.etag => Asked::Whole,
        _ => byte_range::parse(range, opened.len_bytes),
    }
}

/// Whether the client has what it asks for (RFC 9110 section 13.1.2, weak comparison).
fn matches_etag(headers: &HeaderMap, etag: &str) -> bool {
    let strong = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|tag| tag.trim() == "*" || strong(tag) == strong(etag))
}

/// One open file and what is said of it.
struct Opened {
    file: File,
    len_bytes: u64,
    etag: String,
}

impl Playback {
    fn opened(&self, key: &DeviceKey, below: &str) -> Result<Opened, PlaybackError> {
        let hls = format!("client_ids/{}/device_id/{}/hls", key.client, key.device);
        let mut options = OpenOptions::new();
        // A pipe must not hold up the thread that opens it.
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
        options.read(true).custom_flags(flags);
        let file = self
            .base
            .open_dir(hls)
            .and_then(|hls| hls.open_with(below, &options))
            .map_err(absent)?
            .into_std();
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(PlaybackError::NotFound);
        }
        // The inode too: a playlist is replaced, possibly twice within the clock's step.
        let etag = format!(
            "\"{:x}-{:x}-{:x}\"",
            meta.ino(),
            i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec()),
            meta.len()
        );
        Ok(Opened { file, len_bytes: meta.len(), etag })
    }
}

impl Opened {
    fn playlist_text(self) -> Result<String, PlaybackError> {
        let mut text = String::new();
        self.file.take(MAX_PLAYLIST_BYTES).read_to_string(&mut text)?;
        Ok(text)
    }
}

/// Links that lead outside are refused by the sandbox as a lack of permission: to the client
/// that is a file that is not there.
fn absent(error: io::Error) -> PlaybackError {
    use io::ErrorKind::{InvalidInput, NotADirectory, NotFound, PermissionDenied};
    match error.kind() {
        NotFound | NotADirectory | PermissionDenied | InvalidInput => PlaybackError::NotFound,
        _ => PlaybackError::Io(error),
    }
}

/// The bytes of `range`, a chunk at a time, read as fast as the client takes them.
fn body(file: File, range: Range<u64>) -> Body {
    let file = Arc::new(file);
    Body::from_stream(stream::try_unfold(range, move |rest| {
        let file = file.clone();
        async move {
            if rest.is_empty() {
                return Ok::<_, io::Error>(None);
            }
            let wanted = usize::try_from(rest.end - rest.start).unwrap_or(CHUNK_BYTES);
            let mut chunk = vec![0; wanted.min(CHUNK_BYTES)];
            let start = rest.start;
            let chunk = tokio::task::spawn_blocking(move || {
                file.read_exact_at(&mut chunk, start).map(|()| chunk)
            })
            .await??;
            let next = start + chunk.len() as u64..rest.end;
            Ok(Some((Bytes::from(chunk), next)))
        }
    }))
}

/// Runs file work where it may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PlaybackError> + Send + 'static,
) -> Result<T, PlaybackError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(ended) => Err(PlaybackError::Io(ended.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_that_a_playlist_names_have_a_type() {
        assert_eq!(media_type("seg_000001.ts"), Some("video/mp2t"));
        assert_eq!(media_type("seg_000001.m4s"), Some("video/iso.segment"));
        assert_eq!(media_type("init_1.mp4"), Some("video/mp4"));
        for file in ["state.json", ".seg.ts", "seg.ts.tmp", "a/b.ts", "ts", "", "sé.ts"] {
            assert_eq!(media_type(file), None, "{file}");
        }
    }

    #[test]
    fn an_id_with_anything_in_it_is_one_segment_of_the_url() {
        let key = DeviceKey::new("ACME & Co?", "Kamera Süd #1").unwrap();
        assert_eq!(
            playlist_url(&key),
            "/client_ids/ACME%20%26%20Co%3F/device_id/Kamera%20S%C3%BCd%20%231/hls/playlist.m3u8"
        );
    }
}
