//! JPEGs in, segments out: a bounded pool of long-lived helper processes that link FFmpeg's
//! libraries, and the protocol between them and the worker.
//!
//! Architecture invariant: a JPEG is decoded in a helper only, never in the worker: its bytes
//! come from strangers. Knows nothing of devices, stores or sources.

mod attempts;
mod decode;
mod encoder;
mod error;
mod geometry;
mod helper;
mod helper_process;
mod lettering;
mod mask;
mod native;
mod planes;
mod pool;
mod protocol;
mod sandbox;
mod scale;
mod settings;
mod watermark;
mod x264;

pub use encoder::{CodecError, Encoder, Step};
pub use error::EncodeError;
pub use helper::serve;
pub use pool::{EncoderPool, PoolStats};
pub use sandbox::Sandbox;
pub use settings::PoolSettings;
pub use watermark::{Caption, Corner, Watermark};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::media::Container;
use crate::media::timeline::{PictureSize, Timeline, TimelineSettings};
use crate::model::UtcMillis;

/// How pictures are encoded; the same for all jobs of a worker.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct EncodeSettings {
    /// The container of the segments.
    pub container: Container,
    /// Wider frames are scaled down to this width; narrower ones stay as they are.
    pub max_width: u32,
    /// Where on x264's frontier of speed, bytes and quality.
    pub quality: Quality,
    /// How media time is laid out.
    pub timeline: TimelineSettings,
    /// How captions are drawn; without it none is.
    pub watermark: Option<Watermark>,
}

/// Where on x264's frontier of speed, bytes and quality.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quality {
    /// Fewest bytes.
    Low,
    /// The default.
    Standard,
    /// Closest to the JPEG.
    High,
}

/// One frame to encode.
#[derive(Clone, Debug)]
pub struct JobFrame {
    /// When it was taken; a job's frames are in this order, strictly.
    pub captured_at: UtcMillis,
    /// The JPEG.
    pub jpeg: Bytes,
    /// What is written on its picture.
    pub caption: Option<Caption>,
}

/// What a job has to know of the device's stream.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct StreamSoFar {
    /// Where the segment before ended; none for a device's first.
    pub timeline: Option<Timeline>,
    /// The longest segment that the stream's playlist can list, in milliseconds: its target
    /// duration was fixed with its first segment, whatever the settings have become.
    pub max_segment_millis: u32,
}

impl StreamSoFar {
    /// A stream without segments, which the settings alone bound.
    pub const NEW: Self = Self { timeline: None, max_segment_millis: u32::MAX };
}

/// The frames of one device that go together, and the stream that they go on.
#[derive(Clone, Debug)]
pub struct EncodeJob {
    /// What was before them.
    pub stream: StreamSoFar,
    /// At least one.
    pub frames: Vec<JobFrame>,
}

/// Why a frame was left out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RejectedFrame {
    /// Its index in the job.
    pub frame: usize,
    /// What was wrong with it.
    pub fault: FrameFault,
    /// One sentence for a person.
    pub detail: String,
}

/// What can be wrong with a frame's bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum FrameFault {
    /// Empty, or not a JPEG at all.
    NotJpeg,
    /// A JPEG that does not decode whole: truncated or corrupt.
    Undecodable,
    /// More pixels than a camera has.
    TooLarge,
    /// A JPEG of a kind that is not supported.
    Unsupported,
    /// The helper died over it.
    Crashed,
    /// The helper took too long over it.
    TimedOut,
}

impl FrameFault {
    /// A short static name: a metric label, a dead-letter reason.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotJpeg => "not_jpeg",
            Self::Undecodable => "jpeg_decode",
            Self::TooLarge => "jpeg_too_large",
            Self::Unsupported => "jpeg_unsupported",
            Self::Crashed => "decoder_crash",
            Self::TimedOut => "decoder_timeout",
        }
    }
}

/// One finished media file and what the playlist needs to say of it.
#[derive(Clone, Debug)]
pub struct EncodedSegment {
    /// The media file.
    pub media: Bytes,
    /// The init file it needs (fMP4); the same bytes for the same format.
    pub init: Option<Bytes>,
    /// The indexes in the job of the frames it shows, ascending.
    pub frames: Vec<usize>,
    /// What it lasts, in whole milliseconds.
    pub duration_millis: u32,
    /// When its first frame was taken.
    pub captured_at: UtcMillis,
    /// Whether it does not continue the segment before it.
    pub discontinuity: bool,
    /// The size of its pictures.
    pub size: PictureSize,
}

/// What became of a job.
#[derive(Clone, Debug)]
pub struct EncodeOutcome {
    /// Usually one; more when the pictures' size or time jumps in between, none when every
    /// frame was rejected.
    pub segments: Vec<EncodedSegment>,
    /// The frames that were left out.
    pub rejected: Vec<RejectedFrame>,
    /// Where media time stands now; as it was when there is no segment.
    pub timeline: Option<Timeline>,
    /// CPU time the helper spent, in microseconds.
    pub cpu_micros: u64,
}
