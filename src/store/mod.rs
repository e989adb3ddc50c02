//! Names, frames, the device's durable state, the commit.
//!
//! A commit writes the media files, then (now and then) a history file, then the state, then the
//! playlist. The state is the truth: it says which frames are committed, and which playlist goes
//! with it. So a crash leaves one of two things: files that nothing names, which the next commit
//! overwrites, or a state whose playlist is not yet published, which is published when the
//! device is next opened or committed to.
//!
//! The pipeline sees [`Store`] only. What to write is decided in `plan` (pure); `durable` alone
//! writes it on a file system. An object store takes the place of `durable`: a put is durable and
//! whole by itself, and the state's conditional put does what the lock does here. `object_store`
//! is for those: on a file system it has neither the lock nor the confinement below the base path
//! that frames from strangers ask for.
//!
//! Architecture invariant: segment, then state, then playlist, each durable before the next,
//! all of it while this process alone holds the device; whoever finds the state changed by
//! another changes nothing.

mod commit;
mod durable;
mod frames;
mod history;
pub mod layout;
mod lru;
mod plan;
mod state;
pub mod steps;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cap_std::ambient_authority;
use cap_std::fs::Dir;

use crate::model::UtcMillis;
use crate::playlist::PlaylistError;

pub use frames::FrameReadError;
pub use state::{DeviceState, FrameRecord, PublishedPlaylist, STATE_FORMAT, SegmentRecord};

/// What the store goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreSettings {
    /// The target duration of streams that begin now, in seconds; a stream that exists keeps its
    /// own.
    pub target_duration_secs: u32,
    /// How long after its commit a segment stays listed.
    pub retention: Duration,
    /// The largest frame that is read.
    pub max_frame_bytes: u64,
    /// How long a commit waits for another process that holds the device.
    pub lock_wait: Duration,
}

impl Default for StoreSettings {
    /// 30-second segments, 24 hours, 32 MiB, 10 seconds.
    fn default() -> Self {
        Self {
            target_duration_secs: 30,
            retention: Duration::from_secs(24 * 3_600),
            max_frame_bytes: 32 * 1_024 * 1_024,
            lock_wait: Duration::from_secs(10),
        }
    }
}

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
    fn io(action: &'static str, path: String, source: io::Error) -> Self {
        Self::Io { action, path, source }
    }

    /// A short static name: a metric label.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Io { .. } => "store_io",
            Self::Unreadable { .. } => "store_unreadable",
            Self::Locked { .. } => "store_locked",
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

/// One segment to commit.
#[derive(Clone, Debug)]
pub struct NewSegment {
    /// The media file.
    pub media: Bytes,
    /// The init file it needs: fMP4 has one, a transport stream none.
    pub init: Option<Bytes>,
    /// What it lasts, in whole milliseconds.
    pub duration_millis: u32,
    /// When its first frame was taken.
    pub captured_at: UtcMillis,
    /// Whether it does not continue the segment before it.
    pub discontinuity: bool,
    /// The frames it shows, in capture order.
    pub frames: Vec<FrameRecord>,
}

/// The storage: a folder, and everything below it. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    base: Dir,
    /// Absolute, as it was given.
    base_path: PathBuf,
    settings: StoreSettings,
    caches: history::Caches,
}

impl Store {
    /// The storage below `base_path`, a folder that exists.
    ///
    /// # Errors
    /// [`StoreError::Io`] if it cannot be opened.
    pub fn at(base_path: &Path, settings: StoreSettings) -> Result<Self, StoreError> {
        let io = |source| StoreError::io("open", base_path.display().to_string(), source);
        let base = Dir::open_ambient_dir(base_path, ambient_authority()).map_err(io)?;
        let base_path = std::path::absolute(base_path).map_err(io)?;
        let caches = history::Caches::default();
        Ok(Self { inner: Arc::new(Inner { base, base_path, settings, caches }) })
    }

    /// Runs blocking work beside the async runtime. It goes on if the caller stops waiting.
    async fn blocking<T: Send + 'static, E: From<StoreError> + Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let inner = self.inner.clone();
        match tokio::task::spawn_blocking(move || work(&inner)).await {
            Ok(result) => result,
            Err(e) => Err(StoreError::io("finish work on", String::from("."), e.into()).into()),
        }
    }
}
