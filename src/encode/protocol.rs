//! What the worker and a helper say to each other over the helper's stdin and stdout.
//!
//! A message is the length of its header (four bytes, little-endian), the header (postcard),
//! then the blobs whose lengths the header names: JPEGs one way, media files the other. Both
//! sides check every length against a limit before they allocate: the helper because it costs
//! nothing, the worker because a helper may have been taken over by what it decoded.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Caption, EncodeSettings, RejectedFrame, Sandbox, StreamSoFar};
use crate::media::timeline::{PictureSize, Timeline};
use crate::model::UtcMillis;

/// The longest header: some 20 bytes a frame of the longest job, and its caption or a reason.
const MAX_HEADER_BYTES: usize = 4 << 20;

/// The most frames of a job.
pub(super) const MAX_FRAMES: usize = 10_000;

/// The largest JPEG. The largest that is decoded has 50 megapixels: ten bits each.
pub(super) const MAX_JPEG_BYTES: usize = 64 << 20;

/// The largest media or init file: far above what x264 makes of the largest job.
pub(super) const MAX_FILE_BYTES: usize = 1 << 30;

/// The length of the prefix that names a header's length.
pub(super) const PREFIX_BYTES: usize = 4;

/// What the worker says.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) enum ToHelper {
    /// The first message, once.
    Setup {
        settings: EncodeSettings,
        /// How much memory the helper may take on top of what it starts with.
        memory_limit_bytes: u64,
    },
    /// A job; its JPEGs follow.
    Job { stream: StreamSoFar, frames: Vec<FrameHeader> },
    /// Try what the sandbox forbids.
    #[cfg(feature = "failpoints")]
    Probe,
}

/// One frame of a job.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct FrameHeader {
    pub captured_at: UtcMillis,
    pub jpeg_bytes: u32,
    pub caption: Option<Caption>,
}

/// What a helper says.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) enum FromHelper {
    /// It is set up and locked in.
    Ready { sandbox: Sandbox },
    /// It begins with this frame.
    Frame(usize),
    /// It begins to encode what it decoded.
    Encoding,
    /// The job is done; each segment's media file and, if it has one, init file follow.
    Done(Done),
    /// The job failed for no fault of a frame.
    Failed { detail: String },
    /// What happened to each thing tried: its name, and the error that stopped it.
    #[cfg(feature = "failpoints")]
    Probed(Vec<(String, Option<String>)>),
}

/// An outcome without its files.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Done {
    pub segments: Vec<SegmentHeader>,
    pub rejected: Vec<RejectedFrame>,
    pub timeline: Option<Timeline>,
    pub cpu_micros: u64,
}

/// A segment without its files.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct SegmentHeader {
    pub media_bytes: u32,
    pub init_bytes: Option<u32>,
    pub frames: Vec<usize>,
    pub duration_millis: u32,
    pub captured_at: UtcMillis,
    pub discontinuity: bool,
    pub size: PictureSize,
}

/// What is wrong with a message.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProtocolError {
    /// A length above its limit.
    #[error("a {what} of {bytes} bytes; at most {limit_bytes} are taken")]
    TooLong { what: &'static str, bytes: usize, limit_bytes: usize },
    /// Not a message.
    #[error("not a message of this version: {0}")]
    Malformed(#[from] postcard::Error),
    /// Something that was not its turn.
    #[error("a message out of turn: {0}")]
    OutOfTurn(&'static str),
    /// The pipe.
    #[error("the pipe: {0}")]
    Io(#[from] std::io::Error),
}

/// The prefix and the header of `message`.
pub(super) fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, ProtocolError> {
    let mut bytes = postcard::to_extend(message, vec![0; PREFIX_BYTES])?;
    let header_bytes = bytes.len() - PREFIX_BYTES;
    let length = checked_u32("header", header_bytes, MAX_HEADER_BYTES)?;
    if let Some(prefix) = bytes.first_chunk_mut() {
        *prefix = length.to_le_bytes();
    }
    Ok(bytes)
}

/// How long the header is that `prefix` announces.
pub(super) fn header_bytes(prefix: [u8; PREFIX_BYTES]) -> Result<usize, ProtocolError> {
    checked_len("header", u32::from_le_bytes(prefix), MAX_HEADER_BYTES)
}

/// Reads a header.
pub(super) fn decode<T: DeserializeOwned>(header: &[u8]) -> Result<T, ProtocolError> {
    Ok(postcard::from_bytes(header)?)
}

/// A length as it is sent.
pub(super) fn checked_u32(
    what: &'static str,
    bytes: usize,
    limit_bytes: usize,
) -> Result<u32, ProtocolError> {
    let too_long = ProtocolError::TooLong { what, bytes, limit_bytes };
    match u32::try_from(bytes) {
        Ok(sent) if bytes <= limit_bytes => Ok(sent),
        _ => Err(too_long),
    }
}

/// A length as it was received.
pub(super) fn checked_len(
    what: &'static str,
    bytes: u32,
    limit_bytes: usize,
) -> Result<usize, ProtocolError> {
    match usize::try_from(bytes) {
        Ok(bytes) if bytes <= limit_bytes => Ok(bytes),
        _ => Err(ProtocolError::TooLong { what, bytes: usize::MAX, limit_bytes }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The most that a caption can take: each of its characters the longest there is.
    fn longest_caption() -> Caption {
        Caption::new(&"\u{10FFFF}".repeat(2 * Caption::MAX_CHARS))
    }

    #[test]
    fn the_longest_job_with_the_longest_captions_has_a_header_within_the_limit() {
        let frame = FrameHeader {
            captured_at: UtcMillis(i64::MIN),
            jpeg_bytes: u32::MAX,
            caption: Some(longest_caption()),
        };
        let job = ToHelper::Job { stream: StreamSoFar::NEW, frames: vec![frame; MAX_FRAMES] };
        assert!(encode(&job).is_ok());
    }

    #[test]
    fn a_message_reads_back_and_its_prefix_is_its_length() {
        let job = ToHelper::Job {
            stream: StreamSoFar::NEW,
            frames: vec![FrameHeader {
                captured_at: UtcMillis(-7),
                jpeg_bytes: 3,
                caption: Some(Caption::new("08:00 UTC")),
            }],
        };
        let bytes = encode(&job).unwrap();
        let (prefix, header) = bytes.split_first_chunk().unwrap();
        assert_eq!(header_bytes(*prefix).unwrap(), header.len());
        assert_eq!(decode::<ToHelper>(header).unwrap(), job);
    }

    #[test]
    fn a_length_above_its_limit_is_refused_before_anything_is_allocated() {
        assert!(header_bytes(u32::MAX.to_le_bytes()).is_err());
        assert!(checked_len("JPEG", 1 << 27, MAX_JPEG_BYTES).is_err());
        assert!(checked_u32("JPEG", MAX_JPEG_BYTES + 1, MAX_JPEG_BYTES).is_err());
        assert_eq!(checked_u32("JPEG", 5, MAX_JPEG_BYTES).unwrap(), 5);
    }

    #[test]
    fn garbage_is_no_message() {
        for garbage in [&[][..], &[0xFF; 40], b"GET / HTTP/1.1"] {
            assert!(decode::<FromHelper>(garbage).is_err(), "{garbage:?}");
        }
    }
}
