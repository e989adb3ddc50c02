//! `master.m3u8` beside each playlist: a multivariant playlist with that one as its only variant
//! (RFC 8216 section 4.3.4), for players that want to know beforehand what they will need.
//!
//! Bit rates are of exactly the segments that the playlist lists, by the sizes that their
//! records, or the archive's document, note: no media file is asked for its size. Records are
//! read once and then only the new ones. The codecs and the picture's size are in the media
//! themselves: of each run that may differ from the one before it the beginning is read, once.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::get;
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use super::super::auth::Viewed;
use super::super::snapshot::{self, SnapshotError, Span};
use super::answer;
use super::{Playback, PlaybackError};
use crate::archive::Document;
use crate::media::format::{self, PictureFormat};
use crate::model::{DeviceKey, SessionId};
use crate::playlist::listing::{ListedSegment, Listing};
use crate::playlist::multivariant::{self, Rates, Weight};
use crate::playlist::{CONTENT_TYPE, SEGMENTS_FOLDER};
use crate::store::layout::{ARCHIVE_FILE, Place};
use crate::store::lru::Lru;
use crate::store::{Fetched, Store, StoreError, StreamFile};

/// Streams whose sizes are kept: about 70 KiB each for a day of 30-second segments.
const MAX_STREAMS: usize = 256;

/// How many files' beginnings are read for one answer at most. A stream of so many formats is
/// described completely after some answers, the newest of them with the first.
const MAX_LOOKS: usize = 32;

/// A larger init file is none of ours.
const MAX_INIT_BYTES: u64 = 64 << 10;

/// How much of the text's SHA-256 tells one version from another.
const TAG_BYTES: usize = 12;

pub(super) fn routes(router: Router<Playback>, device: &str) -> Router<Playback> {
    router
        .route(&format!("{device}/hls/master.m3u8"), get(master))
        .route(&format!("{device}/archives/{{session}}/master.m3u8"), get(master))
}

/// A device's stream, or one of its archives.
type Stream = (DeviceKey, Option<SessionId>);

/// What is known of streams.
pub(super) struct Described(Lru<Stream, Arc<Mutex<Known>>>);

impl Default for Described {
    fn default() -> Self {
        Self(Lru::new(MAX_STREAMS))
    }
}

/// What is known of one stream's listed files.
#[derive(Default)]
struct Known {
    /// The sizes of media files in bytes, by their place in the stream: EXT-X-MEDIA-SEQUENCE
    /// counts on.
    sizes: BTreeMap<u64, u64>,
    /// What the beginnings of files say; none of one that is not ours, or is gone.
    formats: HashMap<String, Option<PictureFormat>>,
}

async fn master(
    State(playback): State<Playback>,
    viewed: Viewed,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, PlaybackError> {
    let span = Span::from_query(query.as_deref().unwrap_or_default())?;
    let (key, session) = (viewed.key, viewed.session);
    let (file, cache_control) = playback.listing_of(session.clone());
    let content = playback.playlist(&key, file).await?;
    let text = std::str::from_utf8(&content.bytes).map_err(|_| PlaybackError::NotText)?;
    let part = span.map(|span| snapshot::of(text, span)).transpose()?;
    let whole = read(text)?;
    let part = part.as_deref().map(read).transpose()?;
    let listing = part.as_ref().unwrap_or(&whole);

    let stream = (key, session);
    let known = playback.known(&stream);
    let (rates, formats) = {
        let mut known = known.lock().await;
        known.forget_what_has_gone(&whole);
        known.weigh(&playback.0.store, &stream, listing).await?;
        known.look(&playback.0.store, &stream, listing).await;
        (known.rates(listing), known.formats_of(listing))
    };
    let rates = rates.ok_or(PlaybackError::NotFound)?;
    let query = span.map(|span| format!("?{}", span.to_query())).unwrap_or_default();
    let master = multivariant::render(rates, &formats, &format!("playlist.m3u8{query}"));
    Ok(answered(master, cache_control, &headers))
}

fn read(text: &str) -> Result<Listing<'_>, SnapshotError> {
    Listing::read(text).map_err(SnapshotError::Playlist)
}

fn answered(text: String, cache_control: &'static str, headers: &HeaderMap) -> Response {
    let digest = Sha256::digest(text.as_bytes());
    let tag: String = digest.iter().take(TAG_BYTES).map(|byte| format!("{byte:02x}")).collect();
    let described =
        answer::Described { content_type: CONTENT_TYPE, cache_control, etag: format!("\"{tag}\"") };
    match answer::matches_etag(headers, &described.etag) {
        true => described.not_modified(),
        false => described.answer(StatusCode::OK, Body::from(text)),
    }
}

impl Playback {
    fn known(&self, stream: &Stream) -> Arc<Mutex<Known>> {
        let known = &self.0.described.0;
        known.get(stream).unwrap_or_else(|| {
            let new = Arc::<Mutex<Known>>::default();
            known.put(stream.clone(), Arc::clone(&new));
            new
        })
    }
}

impl Known {
    fn forget_what_has_gone(&mut self, listing: &Listing<'_>) {
        self.sizes = self.sizes.split_off(&listing.media_sequence);
        if self.formats.len() > MAX_LOOKS {
            let listed: Vec<&str> = runs(listing).into_iter().map(|(file, _)| file).collect();
            self.formats.retain(|file, _| listed.contains(&file.as_str()));
        }
    }

    /// Learns the sizes of what is listed, from the first one on that is not known.
    async fn weigh(
        &mut self,
        store: &Store,
        (key, session): &Stream,
        listing: &Listing<'_>,
    ) -> Result<(), StoreError> {
        let Some((from, _)) =
            numbered(listing).find(|(number, _)| !self.sizes.contains_key(number))
        else {
            return Ok(());
        };
        let session = session.clone();
        let sizes = store.on_device(key, move |folder| {
            let Some(id) = session else {
                let Some(state) = folder.state()? else { return Ok(Vec::new()) };
                let records = folder.records(&state, from)?;
                return Ok(records
                    .iter()
                    .map(|record| (record.number, record.size_bytes))
                    .collect());
            };
            let document = folder.read_json::<Document>(Place::Archive(&id), ARCHIVE_FILE)?;
            // An archive's playlist counts from 0, in the order of its document.
            let segments = document.map(|(document, _)| document.segments).unwrap_or_default();
            Ok((0..).zip(segments.iter().map(|segment| segment.size_bytes)).collect())
        });
        self.sizes.extend(sizes.await?);
        Ok(())
    }

    /// Looks at the beginnings of files that are not known, newest first.
    async fn look(&mut self, store: &Store, stream: &Stream, listing: &Listing<'_>) {
        let mut looks = 0;
        for (file, is_init) in runs(listing).into_iter().rev() {
            if self.formats.contains_key(file) {
                continue;
            }
            if looks == MAX_LOOKS {
                return;
            }
            looks += 1;
            match look_at(store, stream, file, is_init).await {
                Ok(found) => {
                    self.formats.insert(file.to_owned(), found);
                }
                // It is tried again with the next answer; this one says what is known.
                Err(error) => tracing::debug!(%error, "a file's beginning cannot be read"),
            }
        }
    }

    fn rates(&self, listing: &Listing<'_>) -> Option<Rates> {
        let weight = |(number, segment): (u64, &ListedSegment<'_>)| {
            let bytes = *self.sizes.get(&number)?;
            Some(Weight { bytes, millis: segment.duration_millis })
        };
        let weights: Vec<_> = numbered(listing).filter_map(weight).collect();
        Rates::of(&weights, listing.target_duration_secs)
    }

    fn formats_of(&self, listing: &Listing<'_>) -> Vec<PictureFormat> {
        let known = |(file, _)| self.formats.get(file).cloned().flatten();
        runs(listing).into_iter().filter_map(known).collect()
    }
}

fn numbered<'l, 't>(
    listing: &'l Listing<'t>,
) -> impl Iterator<Item = (u64, &'l ListedSegment<'t>)> {
    (listing.media_sequence..).zip(&listing.segments)
}

/// The files whose beginnings tell how all segments are coded, and whether they are init files:
/// nothing changes but where the playlist says that it may.
fn runs<'t>(listing: &Listing<'t>) -> Vec<(&'t str, bool)> {
    let name = |uri: &'t str| uri.strip_prefix(SEGMENTS_FOLDER)?.strip_prefix('/');
    let mut found: Vec<(&str, bool)> = Vec::new();
    let mut has_map = false;
    for (index, segment) in listing.segments.iter().enumerate() {
        let file = match segment.map_uri() {
            Some(uri) => {
                has_map = true;
                Some((uri, true))
            }
            None if index == 0 || (segment.discontinuity && !has_map) => Some((segment.uri, false)),
            None => None,
        };
        if let Some((file, is_init)) = file.and_then(|(uri, is_init)| Some((name(uri)?, is_init)))
            && !found.contains(&(file, is_init))
        {
            found.push((file, is_init));
        }
    }
    found
}

async fn look_at(
    store: &Store,
    (key, session): &Stream,
    file: &str,
    is_init: bool,
) -> Result<Option<PictureFormat>, StoreError> {
    let name = file.to_owned();
    let file = match session {
        Some(id) => StreamFile::ArchiveSegment(id.clone(), name),
        None => StreamFile::Segment(name),
    };
    let bytes = if is_init { MAX_INIT_BYTES } else { format::HEAD_BYTES };
    let Fetched::Read(_, head) = store.fetch(key, file, bytes, None).await? else {
        return Ok(None);
    };
    Ok(if is_init { format::of_init(&head) } else { format::of_transport_stream(&head) })
}
