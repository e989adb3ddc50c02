//! What the storage could not do, and why a commit did not succeed.

use std::io;
use std::time::Duration;

use crate::playlist::PlaylistError;

/// Why the storage could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system failed.
    #[error("cannot {action} {path:?}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file, below the base path.
        path: String,
        /// What the file system said.
        source: io::Error,
    },
    /// What is stored of the device cannot be trusted. It is not guessed from the playlist: the
    /// frames of the newest segments are recorded there alone, and would be shown twice.
    #[error(
        "{path:?} {detail}; restore the device's hls folder from a backup, or begin its stream \
         anew with `stream-processor reset-device`"
    )]
    Unreadable {
        /// Which file, below the base path.
        path: String,
        /// What is wrong with it.
        detail: String,
    },
    /// Another process has written it since it was read.
    #[error("{path:?} has been changed by another process meanwhile")]
    Overtaken {
        /// Which file, below the base path.
        path: String,
    },
    /// A bucket whose server ignores the conditions of a write.
    #[error(
        "the server ignores {what}, so that two workers could both commit to one device; use a \
         server that compares (Amazon S3, MinIO, Google Cloud Storage and Azure do)"
    )]
    NotCompared {
        /// Which condition.
        what: &'static str,
    },
    /// Another process has held the device all the time.
    #[error("{path:?} has been locked by another process for {wait:?}")]
    Locked {
        /// The lock file, below the base path.
        path: String,
        /// How long was waited.
        wait: Duration,
    },
}

impl StoreError {
    /// What the storage said when `action` was tried with `path`.
    pub(crate) fn io(action: &'static str, path: String, source: io::Error) -> Self {
        Self::Io { action, path, source }
    }

    /// Whether it is for want of room on a file system (`ENOSPC`, `EDQUOT`).
    pub fn is_full(&self) -> bool {
        let Self::Io { source, .. } = self else { return false };
        matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }

    /// A short static name: a metric label.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Io { .. } => "store_io",
            Self::Unreadable { .. } => "store_unreadable",
            Self::Locked { .. } => "store_locked",
            Self::NotCompared { .. } => "store_not_compared",
            Self::Overtaken { .. } => "store_overtaken",
        }
    }
}

/// Why a commit did not succeed. After any of them, open the device again before the next try:
/// the state may have been stored although the playlist was not, and the frames are then
/// committed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Another worker has committed since; nothing was changed.
    #[error("another worker owns the device: its state is generation {stored}, ours is {ours}")]
    Fenced {
        /// What the caller believed.
        ours: u64,
        /// What is stored; 0 if nothing is.
        stored: u64,
    },
    /// A segment that the playlist cannot list; nothing was changed.
    #[error(transparent)]
    Refused(#[from] PlaylistError),
    /// The storage failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl CommitError {
    /// A short static name: a metric label.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Fenced { .. } => "fenced",
            Self::Refused(_) => "segment_refused",
            Self::Store(e) => e.reason(),
        }
    }
}
