//! Bytes in, bytes out: JPEG headers, media time, H.264 rewriting, TS and fMP4, and clips of
//! them.
//!
//! Architecture invariant: no files, no processes, no devices; nothing here panics on any
//! input, because what it reads comes from strangers.

mod avc;
pub mod clip;
mod error;
mod fmp4;
pub mod format;
pub mod h264;
pub mod jpeg;
mod mp4;
mod mux;
mod sample;
pub mod timeline;
mod ts;

use serde::{Deserialize, Serialize};

pub use self::error::MediaError;
pub use self::mux::{Muxed, mux};

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
