//! The named instants of a commit, between every two durable steps and within them, at which a
//! test can have the process killed. Compiled out without the feature `failpoints`.

/// The instants of one durable write.
#[derive(Clone, Copy, Debug)]
pub struct WriteSteps {
    /// Nothing has been written.
    pub begin: &'static str,
    /// The temporary file is there, perhaps in memory only.
    pub written: &'static str,
    /// The temporary file is durable.
    pub synced: &'static str,
    /// The file has its name, perhaps in memory only.
    pub renamed: &'static str,
    /// The file is durable under its name.
    pub durable: &'static str,
}

/// The instants of one durable write, whose names begin with `$prefix`.
macro_rules! write_steps {
    ($prefix:literal) => {
        $crate::store::steps::WriteSteps {
            begin: concat!($prefix, ".begin"),
            written: concat!($prefix, ".written"),
            synced: concat!($prefix, ".synced"),
            renamed: concat!($prefix, ".renamed"),
            durable: concat!($prefix, ".durable"),
        }
    };
}

/// A media file.
pub const SEGMENT: WriteSteps = write_steps!("commit.segment");
/// An init file.
pub const INIT: WriteSteps = write_steps!("commit.init");
/// A history file.
pub const HISTORY: WriteSteps = write_steps!("commit.history");
/// The device's state.
pub const STATE: WriteSteps = write_steps!("commit.state");
/// The playlist.
pub const PLAYLIST: WriteSteps = write_steps!("commit.playlist");
/// The state, written with nothing changed but its generation: in a bucket only.
pub const CLAIM: WriteSteps = write_steps!("commit.claim");
/// The state, written anew when a device is opened.
pub const HEAL_STATE: WriteSteps = write_steps!("heal.state");
/// The playlist, written anew when a device is opened after a crash.
pub const HEAL_PLAYLIST: WriteSteps = write_steps!("heal.playlist");

/// The state, when a session is ended or the window is trimmed without a new segment.
pub const CHANGE_STATE: WriteSteps = write_steps!("change.state");
/// The playlist that goes with it.
pub const CHANGE_PLAYLIST: WriteSteps = write_steps!("change.playlist");
/// The file that finds out whether the storage works.
pub const PROBE: WriteSteps = write_steps!("probe");
/// The state that a stream begins anew with.
pub const RESET_STATE: WriteSteps = write_steps!("reset.state");

/// One more of many files is gone, perhaps in memory only.
pub const ONE_REMOVED: &str = "remove.one";

pub(crate) use write_steps;

/// Every write on a file system, in the order of a commit, then of opening.
pub const ALL: [WriteSteps; 7] =
    [SEGMENT, INIT, HISTORY, STATE, PLAYLIST, HEAL_STATE, HEAL_PLAYLIST];

impl WriteSteps {
    /// The names of its instants, in order: fail points.
    pub fn names(&self) -> [&'static str; 5] {
        [self.begin, self.written, self.synced, self.renamed, self.durable]
    }
}
