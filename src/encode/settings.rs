//! How a pool is set up.

use std::path::PathBuf;
use std::time::Duration;

use super::EncodeSettings;

/// How a pool is set up.
#[derive(Clone, Debug)]
pub struct PoolSettings {
    /// How many helper processes, each of which keeps one core busy.
    pub helpers: usize,
    /// How pictures are encoded.
    pub encode: EncodeSettings,
    /// This program's own binary, run with the argument `encode-helper`.
    pub command: PathBuf,
    /// The longest that one frame may take to decode, and each to encode, by the wall clock.
    pub frame_time_limit: Duration,
    /// How much memory a helper may take on top of what its libraries take.
    pub memory_limit_bytes: u64,
}
