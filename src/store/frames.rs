//! The JPEGs that events name, read from below the base path and from nowhere else.

use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rustix::io::Errno;

use super::backend::Objects;
use super::ports::FrameFolder;
use super::{Store, StoreError};

/// Why a frame could not be read; [`FrameReadError::reason`] is the metric's label and the
/// dead-letter message's reason.
#[derive(Debug, thiserror::Error)]
pub enum FrameReadError {
    /// There is no such file: the event may have overtaken it, so try again for a while.
    #[error("there is no file {path:?}")]
    NotFound {
        /// What the event said.
        path: String,
    },
    /// The path leads out of the base path, by itself or by a symbolic link.
    #[error("{path:?} leads out of the storage base path")]
    Outside {
        /// What the event said.
        path: String,
    },
    /// The file has no bytes; an upload may be under way.
    #[error("{path:?} is empty")]
    Empty {
        /// What the event said.
        path: String,
    },
    /// More bytes than a frame may have.
    #[error("{path:?} is larger than the {limit_bytes} bytes that a frame may have")]
    TooLarge {
        /// What the event said.
        path: String,
        /// The limit.
        limit_bytes: u64,
    },
    /// A folder, a pipe, a socket or a device, or a name that no file can have.
    #[error("{path:?} is not a regular file")]
    NotAFile {
        /// What the event said.
        path: String,
    },
    /// The file system failed.
    #[error("cannot read {path:?}: {source}")]
    Io {
        /// What the event said.
        path: String,
        /// What it said.
        source: io::Error,
    },
}

impl FrameReadError {
    /// A short static name: a metric label, a dead-letter reason.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "frame_missing",
            Self::Outside { .. } => "frame_outside",
            Self::Empty { .. } => "frame_empty",
            Self::TooLarge { .. } => "frame_too_large",
            Self::NotAFile { .. } => "frame_not_a_file",
            Self::Io { .. } => "frame_read",
        }
    }
}

/// Where frames are.
pub(super) enum Frames {
    /// Below a folder.
    Files {
        base: Arc<dyn FrameFolder>,
        /// Absolute, as it was given.
        base_path: PathBuf,
    },
    /// Below a prefix of a bucket.
    Objects(Objects),
}

impl Store {
    /// Reads the frame that an event names: relative to the base path, or absolute and below it
    /// as it is written. In a bucket the base path is the prefix.
    ///
    /// # Errors
    /// See [`FrameReadError`]; never blocks on a pipe, never follows a link out.
    pub async fn read_frame(&self, frame_path: &str) -> Result<Bytes, FrameReadError> {
        let path = frame_path.to_owned();
        let limit_bytes = self.inner.settings.max_frame_bytes;
        if let Frames::Objects(objects) = self.inner.frames.as_ref() {
            return read_object(objects, path, limit_bytes).await;
        }
        let shown = frame_path.to_owned();
        let read = self.blocking(move |inner| {
            Ok::<_, StoreError>(match inner.frames.as_ref() {
                Frames::Files { base, base_path } => {
                    read_frame(base.as_ref(), base_path, path, limit_bytes)
                }
                Frames::Objects(_) => Err(FrameReadError::NotFound { path }),
            })
        });
        read.await.unwrap_or_else(|e| {
            Err(FrameReadError::Io { path: shown, source: io::Error::other(e) })
        })
    }
}

async fn read_object(
    objects: &Objects,
    path: String,
    limit_bytes: u64,
) -> Result<Bytes, FrameReadError> {
    let below = match Path::new(&path).is_absolute() {
        false => Path::new(&path),
        true => match Path::new(&path).strip_prefix(format!("/{}", objects.prefix())) {
            Ok(below) => below,
            Err(_) => return Err(FrameReadError::Outside { path }),
        },
    };
    // As on a file system, although a bucket would take `..` for a name.
    if below.components().any(|part| part == Component::ParentDir) {
        return Err(FrameReadError::Outside { path });
    }
    let plain: Vec<_> = below
        .components()
        .filter_map(|part| match part {
            Component::Normal(name) => name.to_str(),
            _ => None,
        })
        .collect();
    match objects.get_at_most(&plain.join("/"), limit_bytes).await {
        Ok(Some(bytes)) if bytes.is_empty() => Err(FrameReadError::Empty { path }),
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(FrameReadError::TooLarge { path, limit_bytes }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(FrameReadError::NotFound { path }),
        Err(e) if e.kind() == io::ErrorKind::InvalidInput => Err(FrameReadError::NotAFile { path }),
        Err(source) => Err(FrameReadError::Io { path, source }),
    }
}

fn read_frame(
    base: &dyn FrameFolder,
    base_path: &Path,
    path: String,
    limit_bytes: u64,
) -> Result<Bytes, FrameReadError> {
    let mut relative = Path::new(&path);
    if relative.is_absolute() {
        match relative.strip_prefix(base_path) {
            Ok(below) => relative = below,
            Err(_) => return Err(FrameReadError::Outside { path }),
        }
    }
    // No ingest service writes `..`; refused as it is written, so that a path means one file
    // whatever links there are.
    if relative.components().any(|part| part == Component::ParentDir) {
        return Err(FrameReadError::Outside { path });
    }
    match base.read_frame(relative, limit_bytes) {
        Ok(Some(bytes)) if bytes.is_empty() => Err(FrameReadError::Empty { path }),
        Ok(Some(bytes)) if bytes.len() as u64 > limit_bytes => {
            Err(FrameReadError::TooLarge { path, limit_bytes })
        }
        Ok(Some(bytes)) => Ok(bytes.into()),
        Ok(None) => Err(FrameReadError::NotAFile { path }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(FrameReadError::NotFound { path }),
        Err(e) if is_errno(&e, &NEVER_A_FILE) => Err(FrameReadError::NotAFile { path }),
        // cap-std's own refusal has no errno; the kernel's is EACCES or EPERM.
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied && e.raw_os_error().is_none() => {
            Err(FrameReadError::Outside { path })
        }
        Err(source) => Err(FrameReadError::Io { path, source }),
    }
}

/// A socket, a file where a folder should be, a name longer than there can be, a link to itself
/// (open(2)): no later try opens any of them.
const NEVER_A_FILE: [Errno; 4] = [Errno::NXIO, Errno::NOTDIR, Errno::NAMETOOLONG, Errno::LOOP];

fn is_errno(error: &io::Error, any: &[Errno]) -> bool {
    Errno::from_io_error(error).is_some_and(|errno| any.contains(&errno))
}
