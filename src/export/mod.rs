//! Pieces of a device's stream for people: a clip as one MP4, and the frame of an instant.
//!
//! | file | owns |
//! |---|---|
//! | [`coverage`] | which segments there are, in the live window and in archives (pure) |
//! | [`clip`] | the effects of a clip: looks at its segments, then hands on its bytes |
//! | [`still`] | the frame of an instant |
//! | [`when`] | how a person gives an instant (pure) |
//!
//! Architecture invariant: only reads; holds one segment at a time, however long the clip is.

pub mod clip;
pub mod coverage;
pub mod still;
pub mod when;

use crate::media::clip::ClipError;
use crate::model::DeviceKey;
use crate::store::{FrameReadError, StoreError};

pub use clip::ClipFile;
pub use coverage::{Coverage, Piece};
pub use still::{Still, Which, frame_of};

/// Why there is no clip, or no frame.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Nothing was ever committed, or nothing of it is kept.
    #[error("nothing is kept of device {0}: its stream has no segments and it has no archives")]
    Nothing(DeviceKey),
    /// The span cannot be cut out.
    #[error("{0}")]
    Clip(#[from] ClipError),
    /// A media file that was listed is gone: it was cleaned up meanwhile.
    #[error("{file:?} is not there any more; ask again, for a later time")]
    Gone {
        /// Its name.
        file: String,
    },
    /// The frame's file is gone or cannot be read.
    #[error("the frame cannot be read: {0}")]
    Frame(#[from] FrameReadError),
    /// The storage failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
