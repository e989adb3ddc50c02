//! What is past its retention goes: segments that have left the live playlist, with their frames
//! and their records; quotas; what nothing lists; and a device's whole stream when it is reset.
//!
//! | file | owns |
//! |---|---|
//! | [`cleaner`] | the run over all devices, and the order for one |
//! | `plan` | what there is to do for a device (pure) |
//! | `cleaned` | `hls/cleaned.json`: what has gone, and what is known for the next run (pure) |
//! | `archived` | what the archive room says has to stay |
//! | `device`, `inits`, `records`, `hand` | removing it |
//! | `quota` | how much there is, and what has to leave a playlist early |
//! | `orphans` | what nothing lists |
//! | [`outcome`] | the counts of a run (pure) |
//! | [`reset`] | a device's stream begun anew |
//! | [`steps`] | the instants at which a test can have the process killed |
//!
//! Architecture invariant: a file goes only if the live playlist has not listed it for the
//! grace, no archive needs it, and it has been encoded if it is a frame. A run costs by what
//! there is to delete: a device with nothing to delete costs reading two small files. Numbers
//! are never used twice, so what is removed by its number is never a later file.

mod archived;
mod cleaned;
pub mod cleaner;
mod device;
mod hand;
mod inits;
mod orphans;
pub mod outcome;
mod plan;
mod quota;
mod records;
pub mod reset;
pub mod steps;

use std::time::Duration;

pub use cleaner::{Cleaner, Report, Run, Watch};
pub use outcome::{Outcome, Tally};
pub use reset::{Reset, ResetError, ResetReport, Resetter};

/// What a clean-up goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionSettings {
    /// How long after its commit a segment stays listed; for devices of which nothing comes any
    /// more. Where something comes, whoever commits it trims.
    pub retention: Duration,
    /// How long a file can still be fetched after it has left the playlist.
    pub grace: Duration,
    /// Whether sessions are archived: then their segments stay until they are.
    pub archives: bool,
    /// After how long without a commit nobody else trims a device's window.
    pub idle_after: Duration,
    /// The most that a device's segments and frames may have, in bytes.
    pub device_max_bytes: Option<u64>,
    /// The most that those of all devices may have together, in bytes.
    pub total_max_bytes: Option<u64>,
    /// After how long frames that are in no segment go; none: never.
    pub unencoded_frames: Option<Duration>,
}

impl RetentionSettings {
    fn has_quota(&self) -> bool {
        self.device_max_bytes.is_some() || self.total_max_bytes.is_some()
    }
}
