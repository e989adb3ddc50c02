//! The named instants of clean-up and reset, between every two durable steps and within them, at
//! which a test can have the process killed. Compiled out without the feature `failpoints`.

use crate::store::steps::{WriteSteps, write_steps};

/// The frames of what goes are gone, perhaps in memory only.
pub const FRAMES_REMOVED: &str = "cleanup.frames_removed";
/// The media files are gone, too.
pub const SEGMENTS_REMOVED: &str = "cleanup.segments_removed";
/// So are the init files that nothing else needs.
pub const INITS_REMOVED: &str = "cleanup.inits_removed";
/// So are the history files of which nothing is left.
pub const HISTORY_REMOVED: &str = "cleanup.history_removed";
/// What has been cleaned up is noted.
pub const CLEANED: WriteSteps = write_steps!("cleanup.cleaned");
/// What nothing lists is gone, and that it was looked for is not noted yet.
pub const ORPHANS_REMOVED: &str = "cleanup.orphans_removed";

/// The stream is begun anew; all of its files are there.
pub const RESET_BEGUN: &str = "reset.begun";
/// That they are nobody's is noted.
pub const RESET_NOTED: &str = "reset.noted";
/// The stream's files are gone.
pub const RESET_STREAM_REMOVED: &str = "reset.stream_removed";
/// An archive is no archive any more; its media are there.
pub const RESET_ARCHIVE_UNMADE: &str = "reset.archive_unmade";

/// Every instant of a clean-up, in their order; [`CLEANED`] has its own.
pub const ALL_OF_CLEANUP: [&str; 6] = [
    crate::store::steps::ONE_REMOVED,
    FRAMES_REMOVED,
    SEGMENTS_REMOVED,
    INITS_REMOVED,
    HISTORY_REMOVED,
    ORPHANS_REMOVED,
];

/// Every instant of a reset, in their order.
pub const ALL_OF_RESET: [&str; 4] =
    [RESET_BEGUN, RESET_NOTED, RESET_STREAM_REMOVED, RESET_ARCHIVE_UNMADE];
