//! Segments and init files: whole ones from memory, large ones a piece at a time, as fast as the
//! client takes them.

use std::ops::Range;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;
use futures::stream;

use super::super::auth::Viewed;
use super::answer::{self, Described};
use super::shelf::Looked;
use super::{Playback, PlaybackError};
use crate::model::DeviceKey;
use crate::store::StreamFile;

/// A larger file is not held in memory: a minute of 1080p at the highest quality is half of it.
const MAX_HELD_BYTES: u64 = 8 << 20;

/// How long a file is kept in memory after it was read: those who watch live fetch it within
/// this time of each other. Beyond that it is asked whether it is still there.
const FRESH_FOR: Duration = Duration::from_secs(60);

/// How much of a large file is in memory at once for each client.
const PIECE_BYTES: u64 = 512 << 10;

pub(super) fn routes(router: Router<Playback>, device: &str) -> Router<Playback> {
    router
        .route(&format!("{device}/hls/segments/{{file}}"), get(segment))
        .route(&format!("{device}/archives/{{session}}/segments/{{file}}"), get(segment))
}

async fn segment(
    State(playback): State<Playback>,
    viewed: Viewed,
    headers: HeaderMap,
) -> Result<Response, PlaybackError> {
    let content_type = media_type(&viewed.file).ok_or(PlaybackError::NotFound)?;
    let file = match viewed.session {
        Some(session) => StreamFile::ArchiveSegment(session, viewed.file),
        None => StreamFile::Segment(viewed.file),
    };
    let key = viewed.key;
    let store = &playback.0.store;
    let look =
        async |tag| store.fetch(&key, file.clone(), MAX_HELD_BYTES, tag).await.map(Looked::plain);
    let at = (key.clone(), file.clone());
    let content = playback.0.media.get(at, FRESH_FOR, look).await?;
    let content = content.ok_or(PlaybackError::NotFound)?;
    let etag = format!("\"{}\"", content.about.tag);
    let described = Described { content_type, cache_control: playback.kept(), etag };
    if answer::matches_etag(&headers, &described.etag) {
        return Ok(described.not_modified());
    }
    let len_bytes = content.about.len_bytes;
    let asked = answer::asked(&headers, &described.etag, len_bytes);
    Ok(described.part(asked, len_bytes, |range| match within(&range, content.bytes.len()) {
        Some(range) => Body::from(content.bytes.slice(range)),
        None => pieces(playback.clone(), key, file, range),
    }))
}

/// The range, if it is within what is in memory.
fn within(range: &Range<u64>, len_bytes: usize) -> Option<Range<usize>> {
    let end = usize::try_from(range.end).ok().filter(|end| *end <= len_bytes)?;
    Some(usize::try_from(range.start).ok()?..end)
}

/// The bytes of `range`, a piece at a time.
fn pieces(playback: Playback, key: DeviceKey, file: StreamFile, range: Range<u64>) -> Body {
    let state = (playback, key, file, range);
    Body::from_stream(stream::try_unfold(state, |(playback, key, file, rest)| async move {
        if rest.is_empty() {
            return Ok::<_, crate::store::StoreError>(None);
        }
        let next = rest.start.saturating_add(PIECE_BYTES).min(rest.end);
        let piece = playback.0.store.read_range(&key, file.clone(), rest.start..next).await?;
        let rest = next..rest.end;
        Ok(Some((piece, (playback, key, file, rest))))
    }))
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
}
