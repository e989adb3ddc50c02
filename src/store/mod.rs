//! Names, frames, the device's durable state, the commit.
//!
//! A commit writes the media files, then (now and then) a history file, then the state, then the
//! playlist. The state is the truth: it says which frames are committed, and which playlist goes
//! with it. So a crash leaves one of two things: files that nothing names, which the next commit
//! overwrites, or a state whose playlist is not yet published, which is published when the
//! device is next opened or committed to.
//!
//! The pipeline sees [`Store`] only; who archives or cleans up works with one device's files at
//! a time, a [`DeviceFolder`]. What to write is decided in `plan` (pure); `backend` alone writes
//! it, to a folder or to a bucket. `object_store` is for buckets only: on a file system it has
//! neither the lock nor the confinement below the base path that frames from strangers ask for.
//!
//! Architecture invariant: segment, then state, then playlist, each durable before the next,
//! all of it while this process alone holds the device (on a file system) or on the condition
//! that nobody else has written since (in a bucket); whoever finds the state changed by another
//! changes nothing that a state names.

mod backend;
mod check;
mod commit;
mod device;
mod devices;
mod error;
mod frames;
mod history;
pub mod layout;
pub(crate) mod lru;
mod plan;
pub mod ports;
mod read;
mod replace;
mod state;
pub mod steps;
mod upkeep;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use object_store::ObjectStore;
use tokio::sync::oneshot;

use crate::config::{StorageConfig, StoragePlace};
use crate::model::{DeviceKey, UtcMillis};
use backend::{Backend, Files, Objects, OsDisk};
use frames::Frames;
use ports::{Disk, FrameFolder, RuntimeThreads, Threads};

pub use backend::{About, Expect, Fetched, Listed, Lock, Stored, Version, Written};
pub use device::DeviceFolder;
pub use error::{CommitError, StoreError};
pub use frames::FrameReadError;
pub(crate) use plan::sha256_hex;
pub use read::StreamFile;
pub use state::{
    DeviceState, FrameRecord, OpenSession, PublishedPlaylist, STATE_FORMAT, SegmentRecord,
};

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
    /// Whether a session begins with it; the first of a device's begins one in any case.
    pub begins_session: bool,
    /// The size of its frames' JPEGs together.
    pub frame_bytes: u64,
    /// The frames it shows, in capture order.
    pub frames: Vec<FrameRecord>,
}

/// The storage: a folder, and everything below it. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    backend: Arc<dyn Backend>,
    /// What frames are read with.
    frames: Arc<Frames>,
    /// What they are listed and removed with.
    frames_backend: Arc<dyn Backend>,
    threads: Arc<dyn Threads>,
    settings: StoreSettings,
    caches: history::Caches,
    /// The clients whose folders must not be looked into, so that each is told of once.
    forbidden: Mutex<BTreeSet<String>>,
}

impl Inner {
    fn device(&self, key: &DeviceKey) -> DeviceFolder {
        DeviceFolder::new(self.backend.clone(), self.frames_backend.clone(), key.clone())
    }
}

impl Store {
    /// The storage below `base_path`, a folder that exists.
    ///
    /// # Errors
    /// [`StoreError::Io`] if it cannot be opened.
    pub fn at(base_path: &Path, settings: StoreSettings) -> Result<Self, StoreError> {
        Self::connect(&StorageConfig::folder(base_path), settings)
    }

    /// The storage that the settings name. A bucket is not asked for anything yet: that is
    /// [`Store::check`]. To be called within the async runtime.
    ///
    /// # Errors
    /// [`StoreError::Io`] if a folder cannot be opened, or no client can be made of the
    /// settings.
    pub fn connect(config: &StorageConfig, settings: StoreSettings) -> Result<Self, StoreError> {
        let backend = open_backend(&config.streams)?;
        let (frames, frames_backend) = match &config.frames {
            Some(place) => (open_frames(place)?, open_backend(place)?),
            None => (open_frames(&config.streams)?, backend.clone()),
        };
        Ok(Self::of(backend, frames, frames_backend, Arc::new(RuntimeThreads), settings))
    }

    /// A storage on a disk of the caller's own.
    pub fn on_disk<D: Disk + FrameFolder>(
        disk: Arc<D>,
        threads: Arc<dyn Threads>,
        settings: StoreSettings,
    ) -> Self {
        let backend = Arc::new(Files::new(Arc::clone(&disk)));
        let frames = Frames::Files { base: disk, base_path: "/".into() };
        Self::of(backend.clone(), frames, backend, threads, settings)
    }

    /// A storage below a prefix of a bucket of the caller's own.
    pub fn in_bucket(
        bucket: Arc<dyn ObjectStore>,
        prefix: &str,
        threads: Arc<dyn Threads>,
        settings: StoreSettings,
    ) -> Self {
        let objects = Objects::new(bucket, prefix, Arc::clone(&threads));
        let (backend, frames) = (Arc::new(objects.clone()), Frames::Objects(objects));
        Self::of(backend.clone(), frames, backend, threads, settings)
    }

    fn of(
        backend: Arc<dyn Backend>,
        frames: Frames,
        frames_backend: Arc<dyn Backend>,
        threads: Arc<dyn Threads>,
        settings: StoreSettings,
    ) -> Self {
        let inner = Inner {
            backend,
            frames: Arc::new(frames),
            frames_backend,
            threads,
            settings,
            caches: history::Caches::default(),
            forbidden: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Runs `work` with the files of a device beside the async runtime. It goes on if the caller
    /// stops waiting.
    ///
    /// # Errors
    /// What `work` says.
    pub async fn on_device<T: Send + 'static, E: From<StoreError> + Send + 'static>(
        &self,
        key: &DeviceKey,
        work: impl FnOnce(&DeviceFolder) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let folder = self.inner.device(key);
        self.blocking(move |_| work(&folder)).await
    }

    /// Runs blocking work beside the async runtime. It goes on if the caller stops waiting.
    async fn blocking<T: Send + 'static, E: From<StoreError> + Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let inner = self.inner.clone();
        let (sender, answer) = oneshot::channel();
        self.inner.threads.run(Box::new(move || {
            // Whoever asked may have stopped waiting.
            let _ = sender.send(work(&inner));
        }));
        answer.await.unwrap_or_else(|_| {
            // It panicked, which the log tells of, or the program ends.
            let source = std::io::Error::other("it was given up half way");
            Err(StoreError::io("finish work on", String::from("."), source).into())
        })
    }
}

fn open_backend(place: &StoragePlace) -> Result<Arc<dyn Backend>, StoreError> {
    Ok(match open_bucket(place)? {
        Some(objects) => Arc::new(objects),
        None => Arc::new(Files::new(Arc::new(open_folder(place)?))),
    })
}

fn open_frames(place: &StoragePlace) -> Result<Frames, StoreError> {
    Ok(match open_bucket(place)? {
        Some(objects) => Frames::Objects(objects),
        None => Frames::Files {
            base: Arc::new(open_folder(place)?),
            base_path: std::path::absolute(&place.base_path)
                .map_err(|e| StoreError::io("open", place.to_string(), e))?,
        },
    })
}

fn open_folder(place: &StoragePlace) -> Result<OsDisk, StoreError> {
    OsDisk::open_folder(&place.base_path).map_err(|e| StoreError::io("open", place.to_string(), e))
}

fn open_bucket(place: &StoragePlace) -> Result<Option<Objects>, StoreError> {
    let bucket = backend::connect(&place.backend)
        .map_err(|e| StoreError::io("reach", place.to_string(), backend::io_error(e)))?;
    let prefix = place.base_path.display().to_string();
    Ok(bucket.map(|bucket| Objects::new(bucket, &prefix, Arc::new(RuntimeThreads))))
}
