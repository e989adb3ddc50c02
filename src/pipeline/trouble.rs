//! What keeps a group from going on, what it is called and how long it is waited out (pure).

use std::time::Duration;

use crate::encode::EncodeError;
use crate::store::{CommitError, FrameReadError, StoreError};

/// How soon a frame's missing file is looked for again.
const MISSING_FILE_DELAY: Duration = Duration::from_millis(500);
/// The first delay after trouble; it doubles up to the longest.
const FIRST_DELAY: Duration = Duration::from_millis(250);
/// The longest delay before a group is tried again.
pub const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// What keeps a group from going on now.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("a frame's file is not there yet")]
    MissingFile,
    #[error("another worker has committed to this device")]
    Fenced,
    #[error("the device's stored state cannot be used: {0}")]
    Open(#[source] StoreError),
    #[error("a frame cannot be read: {0}")]
    Read(#[source] FrameReadError),
    #[error("the encoders cannot work: {0}")]
    Encode(#[source] EncodeError),
    #[error("the commit failed: {0}")]
    Commit(#[source] CommitError),
}

impl Trouble {
    /// The encoders work, but not on this job.
    pub(super) fn is_of_the_job(&self) -> bool {
        matches!(
            self,
            Self::Encode(
                EncodeError::Died { .. } | EncodeError::Failed { .. } | EncodeError::Frames { .. }
            )
        )
    }

    /// A short static name: a metric label.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::MissingFile => "frame_not_there_yet",
            Self::Fenced => "fenced",
            // Another worker was faster: the storage works.
            Self::Open(StoreError::Overtaken { .. })
            | Self::Commit(CommitError::Store(StoreError::Overtaken { .. })) => "fenced",
            // The device's own: the storage works, and so do the encoders.
            Self::Open(StoreError::Unreadable { .. } | StoreError::Locked { .. })
            | Self::Commit(CommitError::Store(
                StoreError::Unreadable { .. } | StoreError::Locked { .. },
            )) => "device_state",
            Self::Commit(CommitError::Refused(_)) => "segment_refused",
            Self::Encode(_) if self.is_of_the_job() => "encode_job",
            Self::Open(_) | Self::Commit(_) => "storage",
            Self::Read(_) => "frame_read",
            Self::Encode(_) => "encoder",
        }
    }

    /// How long to wait after so many failures before this one.
    pub(super) fn delay(&self, failures: u32) -> Duration {
        match self {
            Self::MissingFile => MISSING_FILE_DELAY,
            // A fenced device is read again at once; a second time in a row means that two
            // workers race for it, and one has to let the other finish.
            Self::Fenced if failures == 0 => Duration::ZERO,
            _ => FIRST_DELAY.saturating_mul(1 << failures.min(16)).min(LONGEST_DELAY),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Readiness hangs on the names `storage` and `encoder`.
    #[test]
    fn trouble_of_one_device_is_not_said_of_the_storage_or_the_encoders() {
        let unreadable = || StoreError::Unreadable { path: "state.json".into(), detail: "".into() };
        let died = EncodeError::Died { deaths: 3, reason: "signal: 9".into() };
        let start = EncodeError::Start { starts: 4, reason: "not found".into() };
        let full = StoreError::Io {
            action: "write",
            path: "state.json".into(),
            source: std::io::Error::from_raw_os_error(28),
        };
        for (trouble, reason) in [
            (Trouble::Open(unreadable()), "device_state"),
            (Trouble::Commit(unreadable().into()), "device_state"),
            (Trouble::Commit(full.into()), "storage"),
            (Trouble::Encode(died), "encode_job"),
            (Trouble::Encode(start), "encoder"),
        ] {
            assert_eq!(trouble.reason(), reason, "{trouble}");
        }
    }
}
