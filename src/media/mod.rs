//! Bytes in, bytes out: JPEG headers, media time, H.264 rewriting, TS and fMP4.
//!
//! Architecture invariant: no files, no processes, no devices; nothing here panics on any
//! input, because what it reads comes from strangers.

pub mod h264;
pub mod jpeg;
pub mod timeline;

use thiserror::Error;

use self::timeline::{PictureSize, SegmentPlan};

use serde::{Deserialize, Serialize};

/// What media files are made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Container {
    /// MPEG-2 transport stream (ISO/IEC 13818-1).
    Ts,
    /// Fragmented MP4 (ISO/IEC 14496-12), one init file per format.
    Fmp4,
}

/// How media time relates to capture time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Playback {
    /// Media time is wall time: a frame is shown until the next was taken.
    Realtime,
    /// Every frame is shown for the same short time.
    Timelapse {
        /// Pictures a second, 2 to 30: fewer do not play in every browser.
        frame_rate: u32,
    },
}

/// A media file, and the init file it needs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Muxed {
    /// The media file.
    pub media: Vec<u8>,
    /// The init file (fMP4): the same bytes for the same format.
    pub init: Option<Vec<u8>>,
}

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
}

/// Makes one media file of what the encoder made.
///
/// # Errors
///
/// When the access units do not fit the plan.
pub fn mux(
    _container: Container,
    _size: PictureSize,
    plan: &SegmentPlan,
    access_units: &[Vec<u8>],
) -> Result<Muxed, MediaError> {
    if plan.showings.len() != access_units.len() {
        return Err(MediaError::FrameCount {
            planned: plan.showings.len(),
            encoded: access_units.len(),
        });
    }
    Ok(Muxed { media: access_units.concat(), init: None })
}
