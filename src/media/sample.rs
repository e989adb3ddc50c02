//! What containers hold.

use super::h264::CodedPicture;

/// One picture and its time.
pub(super) struct Sample<'a> {
    pub(super) start_ticks: u64,
    pub(super) duration_ticks: u64,
    pub(super) picture: &'a CodedPicture,
}
