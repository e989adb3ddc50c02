//! A folder on a file system. The only place that writes to one.
//!
//! Architecture invariant: a file under its name is whole and durable. Each is written under a
//! temporary name, synced, renamed, and its folder synced. After a failed fsync the kernel may
//! have dropped what was not written and report success the next time, so a file is never
//! synced twice: another try writes it anew (PostgreSQL's fsync findings of 2018; fsync(2)).
//! Nothing outside the base path is reached: see [`Disk`].

use std::io::{self, Read, Write};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustix::io::Errno;

use super::super::layout;
use super::{About, Backend, Expect, Fetched, Listed, Lock, Stored, Version, Written};
use crate::crash_point::reached;
use crate::store::StoreError;
use crate::store::ports::{Disk, DiskFile, FileAbout};
use crate::store::steps::WriteSteps;

/// How often a held lock is asked for again: a commit takes some ten milliseconds.
const LOCK_POLL: Duration = Duration::from_millis(5);

/// Everything below one folder.
pub(in crate::store) struct Files<D> {
    disk: Arc<D>,
}

impl<D: Disk> Files<D> {
    pub fn new(disk: Arc<D>) -> Self {
        Self { disk }
    }

    /// A regular file, opened for reading; none if there is none. A pipe must not hold up the
    /// thread that opens it, and a link is not the file that it leads to: what we write is none.
    fn open(&self, path: &str) -> io::Result<Option<(D::File, FileAbout)>> {
        let file = match self.disk.open(path) {
            Ok(file) => file,
            Err(error) if is_absent(&error) || is_link(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let about = file.about()?;
        Ok(about.map(|about| (file, about)))
    }

    fn try_write(&self, path: &str, bytes: &[u8], steps: &WriteSteps) -> io::Result<()> {
        reached(steps.begin);
        let temporary = layout::temporary(path);
        let written = self.write_as(&temporary, path, bytes, steps);
        if written.is_err() {
            // It must not take the room that there is too little of.
            let _ = self.disk.remove_file(&temporary);
        }
        written?;
        reached(steps.renamed);
        self.disk.sync_folder(split(path).0)?;
        reached(steps.durable);
        Ok(())
    }

    fn write_as(
        &self,
        temporary: &str,
        path: &str,
        bytes: &[u8],
        steps: &WriteSteps,
    ) -> io::Result<()> {
        let mut file = match self.disk.create_new(temporary) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.disk.remove_file(temporary)?;
                self.disk.create_new(temporary)?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.disk.create_folders(split(temporary).0)?;
                self.disk.create_new(temporary)?
            }
            created => created?,
        };
        file.write_all(bytes)?;
        reached(steps.written);
        file.sync()?;
        reached(steps.synced);
        match self.disk.rename(temporary, path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.create_folder(split(path).0)?;
                self.disk.rename(temporary, path)
            }
            renamed => renamed,
        }
    }

    /// Creates a folder and what is above it; all of it durable.
    fn create_folder(&self, folder: &str) -> io::Result<()> {
        self.disk.create_folders(folder)?;
        let ends = folder.match_indices('/').map(|(end, _)| end);
        let above = ends.filter_map(|end| folder.get(..end)).chain([folder, "."]);
        above.into_iter().try_for_each(|folder| self.disk.sync_folder(folder))
    }

    fn try_copy(&self, from: &str, to: &str) -> io::Result<bool> {
        match self.disk.hard_link(from, to) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if !self.disk.exists(from)? {
                    return Ok(false);
                }
                self.create_folder(split(to).0)?;
                match self.disk.hard_link(from, to) {
                    Err(error) if cannot_link(&error) => self.copy_in_kernel(from, to),
                    linked => linked.map(|()| true),
                }
            }
            Err(error) if cannot_link(&error) => self.copy_in_kernel(from, to),
            Err(error) => Err(error),
        }
    }

    /// For file systems without hard links.
    fn copy_in_kernel(&self, from: &str, to: &str) -> io::Result<bool> {
        let temporary = layout::temporary(to);
        let _ = self.disk.remove_file(&temporary);
        match self.disk.copy(from, &temporary) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            copied => copied?,
        }
        self.disk.rename(&temporary, to)?;
        Ok(true)
    }
}

impl<D: Disk> Backend for Files<D> {
    fn reads_are_durable(&self) -> bool {
        false
    }

    fn read(&self, path: &str) -> Result<Option<Stored>, StoreError> {
        let io = |action| move |source| StoreError::io(action, path.into(), source);
        let Some((mut file, about)) = self.open(path).map_err(io("open"))? else {
            return Ok(None);
        };
        let mut bytes = Vec::with_capacity(usize::try_from(about.len_bytes).unwrap_or(0));
        file.read_to_end(&mut bytes).map_err(io("read"))?;
        Ok(Some(Stored { bytes: bytes.into(), version: Version::default() }))
    }

    fn fetch(
        &self,
        path: &str,
        at_most_bytes: u64,
        unless: Option<&str>,
    ) -> Result<Fetched, StoreError> {
        let io = |source| StoreError::io("read", path.into(), source);
        let Some((file, meta)) = self.open(path).map_err(io)? else { return Ok(Fetched::Absent) };
        let about = about_of(&meta);
        if unless == Some(&about.tag) {
            return Ok(Fetched::Unchanged);
        }
        let len_bytes = about.len_bytes.min(at_most_bytes);
        let mut bytes = Vec::with_capacity(usize::try_from(len_bytes).unwrap_or(0));
        file.take(len_bytes).read_to_end(&mut bytes).map_err(io)?;
        Ok(Fetched::Read(about, bytes.into()))
    }

    fn read_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        let io = |source| StoreError::io("read", path.into(), source);
        let Some((file, about)) = self.open(path).map_err(io)? else {
            return Err(io(io::ErrorKind::NotFound.into()));
        };
        let end = range.end.min(about.len_bytes);
        let len = usize::try_from(end.saturating_sub(range.start)).unwrap_or(0);
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, range.start).map_err(io)?;
        Ok(bytes.into())
    }

    fn about(&self, path: &str) -> Result<Option<About>, StoreError> {
        let opened = self.open(path).map_err(|e| StoreError::io("open", path.into(), e))?;
        Ok(opened.map(|(_, about)| about_of(&about)))
    }

    /// Under the device's lock nobody else writes, so there is nothing to compare.
    fn write(
        &self,
        path: &str,
        bytes: &Bytes,
        _: Expect<'_>,
        steps: &WriteSteps,
    ) -> Result<Written, StoreError> {
        let io = |source| StoreError::io("write", path.into(), source);
        self.try_write(path, bytes, steps).map_err(io)?;
        Ok(Written::Done)
    }

    fn list(&self, folder: &str) -> Result<Vec<Listed>, StoreError> {
        match self.disk.list(folder) {
            Err(error) if is_absent(&error) => Ok(Vec::new()),
            Err(source) => Err(StoreError::io("list", folder.into(), source)),
            Ok(listed) => {
                let of = |(name, is_folder)| Listed { name, is_folder, about: None };
                Ok(listed.into_iter().map(of).collect())
            }
        }
    }

    fn remove(&self, path: &str) -> Result<bool, StoreError> {
        match self.disk.remove_file(path) {
            Ok(()) => Ok(true),
            Err(error) if is_absent(&error) => Ok(false),
            Err(source) => Err(StoreError::io("remove", path.into(), source)),
        }
    }

    fn remove_folder(&self, folder: &str) -> Result<(), StoreError> {
        match self.disk.remove_folder(folder) {
            Err(error) if !is_absent(&error) => Err(StoreError::io("remove", folder.into(), error)),
            _ => Ok(()),
        }
    }

    fn copy(&self, from: &str, to: &str) -> Result<bool, StoreError> {
        self.try_copy(from, to).map_err(|e| StoreError::io("link", format!("{from} to {to}"), e))
    }

    fn sync(&self, folder: &str) -> Result<(), StoreError> {
        self.disk.sync_folder(folder).map_err(|e| StoreError::io("sync", folder.into(), e))
    }

    fn prepare(&self, folders: &[String], lock: &str) -> Result<(), StoreError> {
        let io = |source| StoreError::io("create", split(lock).0.into(), source);
        // The lock file is created last: where it is, the folders are durable.
        if self.disk.exists(lock).map_err(io)? {
            return Ok(());
        }
        folders.iter().try_for_each(|folder| self.create_folder(folder)).map_err(io)?;
        self.disk.open_lock(lock).map(drop).map_err(io)
    }

    fn lock(&self, path: &str, wait: Duration) -> Result<Option<Lock>, StoreError> {
        let io = |source| StoreError::io("lock", path.into(), source);
        let file = match self.disk.open_lock(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.create_folder(split(path).0).map_err(io)?;
                self.disk.open_lock(path)
            }
            opened => opened,
        };
        let file = file.map_err(io)?;
        let mut left = wait;
        loop {
            if file.try_lock().map_err(io)? {
                return Ok(Some(Lock(Some(Box::new(file)))));
            }
            if left.is_zero() {
                return Ok(None);
            }
            let pause = LOCK_POLL.min(left);
            self.disk.pause(pause);
            left -= pause;
        }
    }
}

/// What is said of a file. The inode too: a playlist is replaced, possibly twice within the
/// clock's step.
fn about_of(about: &FileAbout) -> About {
    let FileAbout { len_bytes, modified, mark: (inode, modified_nanos) } = *about;
    About { len_bytes, modified, tag: format!("{inode:x}-{modified_nanos:x}-{len_bytes:x}") }
}

/// The folder and the name.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or((".", path))
}

/// Whether it says that there is no such thing: also where a folder of the path is a file.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// A link in the place of a file (open(2), `O_NOFOLLOW`).
fn is_link(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::LOOP)
}

/// File systems that know no hard links say so in these words (link(2)).
fn cannot_link(error: &io::Error) -> bool {
    let known = [Errno::PERM, Errno::NOTSUP, Errno::MLINK, Errno::XDEV, Errno::NOSYS];
    Errno::from_io_error(error).is_some_and(|errno| known.contains(&errno))
}
