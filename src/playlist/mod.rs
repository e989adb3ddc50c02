//! The live window and its rendering (pure): which segments the playlist lists, how it says
//! so, and how our own text is read back at the next commit.
//!
//! Decisions, and why:
//! - A published entry never changes: what a tag says is decided when the entry is pushed and
//!   kept with it, so version N+1 is version N less a prefix plus a suffix (RFC 8216 section
//!   6.2.1). EXT-X-MAP alone is a state of the playlist and not of an entry; it is written
//!   where it changes, and again before whatever entry has become the first.
//! - The segment with number N has the media sequence number N, so a file's name and its place
//!   in the playlist can be checked against each other.
//! - EXT-X-PROGRAM-DATE-TIME stands at each discontinuity, at every tenth number and wherever
//!   extrapolating would be more than 100 ms off; a reader fills in the rest, backwards before
//!   the first (RFC 8216 section 4.3.2.6 and 6.3.3). At every entry it would double a 24-hour
//!   playlist. At least one dated entry always stays listed.
//! - Retention goes by commit time, so that a device with a wrong clock loses nothing. It is
//!   taken to be the end of the segment; where it is more than 60 s off (a backlog, a wrong
//!   clock), a comment line says it, which players ignore (RFC 8216 section 4.1).
//! - A finished playlist counts from 0 for itself: it may lack segments, and then a number would
//!   no longer be the file's.
//!
//! Architecture invariant: no IO; MEDIA-SEQUENCE and DISCONTINUITY-SEQUENCE never step back
//! (RFC 8216 section 6.2.2).

pub mod listing;
pub mod multivariant;
mod parse;
mod render;
mod vod;
mod window;

pub use parse::{is_init_file_name, media_file_number, media_sequence_of};
pub use render::{init_file_name, media_file_name};
pub use vod::{VodEntry, render_vod};
pub use window::{Entry, NewEntry, Window, longest_segment_millis};

/// EXT-X-VERSION, the same for a playlist's whole life: 6 is what EXT-X-MAP asks for (RFC 8216
/// section 7), and a transport stream may say it too, so a change of the container is no change
/// of the version.
pub const VERSION: u32 = 6;

/// The folder of the media files, seen from the playlist.
pub const SEGMENTS_FOLDER: &str = "segments";

/// The media type of the playlist (RFC 8216 section 4).
pub const CONTENT_TYPE: &str = "application/vnd.apple.mpegurl";

/// Why a text is not a playlist of ours, or an entry cannot be listed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaylistError {
    /// A line that we would not have written there.
    #[error("playlist line {line}: expected {expected}")]
    Line {
        /// Counts from 1.
        line: usize,
        /// What ought to stand there.
        expected: &'static str,
    },
    /// The entries' times cannot be known.
    #[error("the playlist has entries but no EXT-X-PROGRAM-DATE-TIME")]
    Undated,
    /// RFC 8216 section 4.3.3.1: EXTINF, rounded, is at most the target duration.
    #[error(
        "segment {number} lasts {duration_millis} ms, which rounds to more than the stream's \
         target duration of {target_duration_secs} s; make shorter segments, or reset the device \
         to start a stream with another target duration"
    )]
    TooLong {
        /// Which segment.
        number: u64,
        /// What it lasts.
        duration_millis: u32,
        /// What the playlist allows.
        target_duration_secs: u32,
    },
    /// Segments are listed by number without gaps.
    #[error("segment {number} cannot follow: the next one is {expected}")]
    OutOfOrder {
        /// What came.
        number: u64,
        /// What must come.
        expected: u64,
    },
    /// RFC 8216 section 3.3: fMP4 needs an init file. And since EXT-X-MAP cannot be taken back,
    /// so does whatever comes after an entry that had one.
    #[error("segment {number} needs an init file: it is fMP4, or follows a segment that has one")]
    NeedsInit {
        /// Which segment.
        number: u64,
    },
}
