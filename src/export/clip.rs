//! A clip's effects: finds what is kept of a device, looks at the segments of the span, then
//! hands on the bytes of the file part by part. Each segment is read twice, one at a time.

use bytes::Bytes;

use super::coverage::{Coverage, Piece};
use super::{ExportError, StoreError};
use crate::archive::Document;
use crate::media::clip::{Clip, ClipPlan, ClipSpan, SegmentBytes};
use crate::model::{DeviceKey, SessionId};
use crate::store::layout::{ARCHIVE_FILE, Place};
use crate::store::{DeviceFolder, Store};

/// What is kept of a device.
///
/// # Errors
/// [`ExportError::Nothing`] if nothing is; [`ExportError::Store`] if it cannot be found out.
pub async fn coverage(store: &Store, key: &DeviceKey) -> Result<Coverage, ExportError> {
    let found = store.on_device(key, kept).await?;
    if found.pieces().is_empty() { Err(ExportError::Nothing(key.clone())) } else { Ok(found) }
}

fn kept(folder: &DeviceFolder) -> Result<Coverage, StoreError> {
    let listed = match folder.state()? {
        Some(state) => folder.records(&state, state.published.media_sequence)?,
        None => Vec::new(),
    };
    let mut archives = Vec::new();
    for entry in folder.list(Place::Archives)? {
        let Ok(id) = SessionId::new(&entry.name) else { continue };
        // What is not an archive of ours covers nothing.
        match folder.read_json::<Document>(Place::Archive(&id), ARCHIVE_FILE) {
            Ok(Some((document, _))) => archives.push(document),
            Ok(None) | Err(StoreError::Unreadable { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Coverage::of(&listed, &archives))
}

/// A clip that is ready to be written.
pub struct ClipFile {
    store: Store,
    key: DeviceKey,
    pieces: Vec<Piece>,
    clip: Clip,
}

impl ClipFile {
    /// Looks at the segments that `span` touches. `progress` is told how many there are and how
    /// many have been looked at.
    ///
    /// # Errors
    /// [`ExportError::Clip`] if nothing covers the span, or a segment is damaged.
    pub async fn prepare(
        store: &Store,
        key: &DeviceKey,
        span: ClipSpan,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<Self, ExportError> {
        let coverage = coverage(store, key).await?;
        let mut plan = ClipPlan::new(span, &coverage.listed())?;
        let all = plan.needed().count();
        let pieces = coverage.pieces().to_vec();
        let mut looked_at = 0;
        while let Some(due) = plan.due() {
            let Some(piece) = pieces.get(due) else { break };
            let (media, init) = read(store, key, piece).await?;
            let bytes =
                SegmentBytes { container: piece.container, media: &media, init: init.as_deref() };
            plan.add(due, &bytes)?;
            looked_at += 1;
            progress(looked_at, all);
        }
        let clip = plan.finish()?;
        Ok(Self { store: store.clone(), key: key.clone(), pieces, clip })
    }

    /// The size of the file.
    pub fn len_bytes(&self) -> u64 {
        self.clip.len_bytes()
    }

    /// What it shows, which may be less than was asked for.
    pub fn shown(&self) -> ClipSpan {
        self.clip.shown()
    }

    /// How many silences it leaves out.
    pub fn silences(&self) -> usize {
        self.clip.silences().count()
    }

    /// What it lasts, in seconds.
    #[expect(clippy::cast_precision_loss, reason = "a figure for a person")]
    pub fn duration_secs(&self) -> f64 {
        self.clip.duration_ticks() as f64 / 90_000.0
    }

    /// What the file begins with.
    pub fn header(&self) -> Bytes {
        self.clip.header().clone()
    }

    /// How many parts follow the header.
    pub fn parts(&self) -> usize {
        self.clip.parts().len()
    }

    /// One of the parts, in their order.
    ///
    /// # Errors
    /// [`ExportError::Gone`] if its segment was cleaned up meanwhile.
    pub async fn part(&self, index: usize) -> Result<Bytes, ExportError> {
        let segment = self.clip.parts().get(index).map(|part| part.segment);
        let Some(piece) = segment.and_then(|segment| self.pieces.get(segment)) else {
            return Ok(Bytes::new());
        };
        let (media, init) = read(&self.store, &self.key, piece).await?;
        let bytes =
            SegmentBytes { container: piece.container, media: &media, init: init.as_deref() };
        Ok(self.clip.part(index, &bytes)?)
    }
}

async fn read(
    store: &Store,
    key: &DeviceKey,
    piece: &Piece,
) -> Result<(Bytes, Option<Bytes>), ExportError> {
    let gone = || ExportError::Gone { file: format!("segment {}", piece.number) };
    let media = store.read(key, piece.media.clone()).await?.ok_or_else(gone)?;
    let init = match &piece.init {
        Some(file) => Some(store.read(key, file.clone()).await?.ok_or_else(gone)?),
        None => None,
    };
    Ok((media, init))
}
