//! Why a session could not be archived.

use crate::playlist::PlaylistError;
use crate::store::StoreError;

/// Why a session could not be archived. It is tried again later, and its segments are kept.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The storage failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its records do not make a playlist.
    #[error("its segments cannot be listed: {0}")]
    Playlist(#[from] PlaylistError),
    /// There is nothing to keep.
    #[error(
        "none of the media files of its {segments} segments is there any more; something else \
         than this program has removed them, or another storage is mounted"
    )]
    NothingLeft {
        /// How many segments the session has.
        segments: usize,
    },
}

impl ArchiveError {
    /// Whether somebody else is at the same session: not a failure, the next run looks again.
    pub(super) fn is_overtaken(&self) -> bool {
        matches!(self, Self::Store(StoreError::Overtaken { .. }))
    }
}
