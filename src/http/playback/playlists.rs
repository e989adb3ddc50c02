//! Playlists: the live one, an archive's, and either of them finished, whole or in part.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;

use super::super::auth::Viewed;
use super::super::snapshot::{self, Span};
use super::answer::{self, Described};
use super::shelf::{self, Content, Looked};
use super::{Playback, PlaybackError};
use crate::model::{DeviceKey, SessionId};
use crate::playlist::CONTENT_TYPE;
use crate::store::{Fetched, StoreError, StreamFile};

/// A day of six-second segments takes about 0.5 MiB; what is far beyond is not a playlist.
const MAX_PLAYLIST_BYTES: u64 = 16 << 20;

/// An archive's playlist is written once: it is only asked whether it is still there.
const ARCHIVE_FRESH_FOR: Duration = Duration::from_secs(10);

/// A smaller text is as soon sent as it is.
const LEAST_GZIP_BYTES: usize = 128;

pub(super) fn routes(router: Router<Playback>, device: &str) -> Router<Playback> {
    router
        .route(&format!("{device}/hls/playlist.m3u8"), get(playlist))
        .route(&format!("{device}/archives/{{session}}/playlist.m3u8"), get(playlist))
}

async fn playlist(
    State(playback): State<Playback>,
    viewed: Viewed,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, PlaybackError> {
    let span = Span::from_query(query.as_deref().unwrap_or_default())?;
    let (file, cache_control) = playback.listing_of(viewed.session);
    let content = playback.playlist(&viewed.key, file).await?;
    answered(content, span, cache_control, &headers).await
}

impl Playback {
    /// The playlist of a device, or of this archive of it, and for how long what is told of it
    /// may be kept.
    pub(super) fn listing_of(&self, session: Option<SessionId>) -> (StreamFile, &'static str) {
        match session {
            Some(session) => (StreamFile::ArchivePlaylist(session), self.kept()),
            None => (StreamFile::Playlist, "no-cache"),
        }
    }

    /// A playlist as it is now, or was a moment ago.
    pub(super) async fn playlist(
        &self,
        key: &DeviceKey,
        file: StreamFile,
    ) -> Result<Arc<Content>, PlaybackError> {
        let fresh_for = match file {
            StreamFile::Playlist => self.0.settings.playlist_fresh_for,
            _ => ARCHIVE_FRESH_FOR,
        };
        let store = &self.0.store;
        let look = async |tag| match store.fetch(key, file.clone(), MAX_PLAYLIST_BYTES, tag).await?
        {
            Fetched::Read(about, bytes) => {
                let gzip = compressed(bytes.clone()).await;
                Ok(Looked::New(Content { about, bytes, gzip }))
            }
            other => Ok(Looked::plain(other)),
        };
        let content = self.0.playlists.get((key.clone(), file.clone()), fresh_for, look).await?;
        content.filter(|content| content.is_whole()).ok_or(PlaybackError::NotFound)
    }
}

/// Compresses beside the async runtime.
async fn compressed(bytes: Bytes) -> Option<Bytes> {
    if bytes.len() < LEAST_GZIP_BYTES {
        return None;
    }
    tokio::task::spawn_blocking(move || shelf::gzip(&bytes)).await.ok().flatten()
}

/// Answers with a playlist, or with the finished one of `span`.
async fn answered(
    content: Arc<Content>,
    span: Option<Span>,
    cache_control: &'static str,
    headers: &HeaderMap,
) -> Result<Response, PlaybackError> {
    let described = Described {
        content_type: CONTENT_TYPE,
        cache_control,
        // Weak, because the compressed answer is another sequence of bytes.
        etag: format!("W/\"{}\"", content.about.tag),
    };
    if answer::matches_etag(headers, &described.etag) {
        let mut response = described.not_modified();
        vary(&mut response);
        return Ok(response);
    }
    let takes_gzip = answer::takes_gzip(headers);
    let (bytes, is_gzip) = match span {
        Some(span) => finished(content, span, takes_gzip).await?,
        None => match content.gzip.as_ref().filter(|_| takes_gzip) {
            Some(gzip) => (gzip.clone(), true),
            None => (content.bytes.clone(), false),
        },
    };
    let mut response = described.answer(StatusCode::OK, Body::from(bytes));
    if is_gzip {
        answer::set(response.headers_mut(), header::CONTENT_ENCODING, "gzip");
    }
    vary(&mut response);
    Ok(response)
}

fn vary(response: &mut Response) {
    answer::set(response.headers_mut(), header::VARY, "accept-encoding");
}

/// The finished playlist of a part, and whether it is compressed.
async fn finished(
    content: Arc<Content>,
    span: Span,
    takes_gzip: bool,
) -> Result<(Bytes, bool), PlaybackError> {
    let make = move || {
        let text = std::str::from_utf8(&content.bytes).map_err(|_| PlaybackError::NotText)?;
        let text = snapshot::of(text, span)?;
        let gzip =
            (takes_gzip && text.len() >= LEAST_GZIP_BYTES).then(|| shelf::gzip(text.as_bytes()));
        Ok(match gzip.flatten() {
            Some(gzip) => (gzip, true),
            None => (Bytes::from(text), false),
        })
    };
    let made = tokio::task::spawn_blocking(make).await;
    made.map_err(|e| StoreError::io("finish work on", "a playlist".into(), e.into()))?
}
