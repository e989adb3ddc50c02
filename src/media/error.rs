//! Why a segment could not be made.

use thiserror::Error;

use super::h264::H264Error;
use super::timeline::PictureSize;

/// Why a segment could not be made.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum MediaError {
    /// Not one access unit for each frame of the plan.
    #[error("the plan shows {planned} frames, the encoder made {encoded}")]
    FrameCount {
        /// Frames in the plan.
        planned: usize,
        /// Access units given.
        encoded: usize,
    },
    /// The encoder's pictures are not of the size that was planned.
    #[error(
        "the plan shows pictures of {}x{}, the encoder made {}x{}",
        planned.width, planned.height, encoded.width, encoded.height
    )]
    Size {
        /// In the plan.
        planned: PictureSize,
        /// In the stream.
        encoded: PictureSize,
    },
    /// The segment does not fit the container's numbers.
    #[error("the segment is too large for its container: shorten it or lower the quality")]
    TooLarge,
    /// The encoder's stream cannot be rewritten.
    #[error(transparent)]
    H264(#[from] H264Error),
}
