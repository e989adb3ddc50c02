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

macro_rules! write_steps {
    ($prefix:literal) => {
        WriteSteps {
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
/// The state, written anew when a device is opened.
pub const HEAL_STATE: WriteSteps = write_steps!("heal.state");
/// The playlist, written anew when a device is opened after a crash.
pub const HEAL_PLAYLIST: WriteSteps = write_steps!("heal.playlist");

/// Every write, in the order of a commit, then of opening.
pub const ALL: [WriteSteps; 7] =
    [SEGMENT, INIT, HISTORY, STATE, PLAYLIST, HEAL_STATE, HEAL_PLAYLIST];

impl WriteSteps {
    /// The names of its instants, in order: fail points.
    pub fn names(&self) -> [&'static str; 5] {
        [self.begin, self.written, self.synced, self.renamed, self.durable]
    }
}
