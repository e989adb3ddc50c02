//! A folder on a file system. The only place that writes to one.
//!
//! Architecture invariant: a file under its name is whole and durable. Each is written under a
//! temporary name, synced, renamed, and its folder synced. After a failed fsync the kernel may
//! have dropped what was not written and report success the next time, so a file is never
//! synced twice: another try writes it anew (PostgreSQL's fsync findings of 2018; fsync(2)).
//! Nothing outside the base path is reached, whatever links there are: cap-std resolves every
//! path below it.

use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cap_std::fs::{Dir, File, OpenOptions, OpenOptionsExt};
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use super::super::layout;
use super::{About, Backend, Expect, Fetched, Listed, Lock, Stored, Version, Written};
use crate::crash_point::{READ, RENAME, SYNC, SYNC_FOLDER, WRITE, reached, works};
use crate::model::UtcMillis;
use crate::store::StoreError;
use crate::store::steps::WriteSteps;

/// How often a held lock is asked for again: a commit takes some ten milliseconds.
const LOCK_POLL: Duration = Duration::from_millis(5);

/// Everything below one folder.
pub(in crate::store) struct Files {
    base: Dir,
}

impl Files {
    pub fn new(base: Dir) -> Self {
        Self { base }
    }

    /// A regular file, opened for reading; none if there is none. A pipe must not hold up the
    /// thread that opens it, and a link is not the file that it leads to: what we write is none.
    fn open(&self, path: &str) -> io::Result<Option<(std::fs::File, std::fs::Metadata)>> {
        let mut options = OpenOptions::new();
        works(READ)?;
        let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
        options.read(true).custom_flags(flags.bits().cast_signed());
        let file = match self.base.open_with(path, &options) {
            Ok(file) => file.into_std(),
            Err(error) if is_absent(&error) || is_link(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let about = file.metadata()?;
        Ok(about.is_file().then_some((file, about)))
    }

    fn try_write(&self, path: &str, bytes: &[u8], steps: &WriteSteps) -> io::Result<()> {
        reached(steps.begin);
        let temporary = layout::temporary(path);
        let written = self.write_as(&temporary, path, bytes, steps);
        if written.is_err() {
            // It must not take the room that there is too little of.
            let _ = self.base.remove_file(&temporary);
        }
        written?;
        reached(steps.renamed);
        sync_folder(&self.base, split(path).0)?;
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
        let mut file = match self.create_new(temporary) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.base.remove_file(temporary)?;
                self.create_new(temporary)?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.base.create_dir_all(split(temporary).0)?;
                self.create_new(temporary)?
            }
            created => created?,
        };
        works(WRITE)?;
        file.write_all(bytes)?;
        reached(steps.written);
        works(SYNC)?;
        file.sync_all()?;
        reached(steps.synced);
        works(RENAME)?;
        match self.base.rename(temporary, &self.base, path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.create_folder(split(path).0)?;
                self.base.rename(temporary, &self.base, path)
            }
            renamed => renamed,
        }
    }

    fn create_new(&self, path: &str) -> io::Result<File> {
        let mut options = OpenOptions::new();
        self.base.open_with(path, options.write(true).create_new(true))
    }

    /// Creates a folder and what is above it; all of it durable.
    fn create_folder(&self, folder: &str) -> io::Result<()> {
        self.base.create_dir_all(folder)?;
        let ends = folder.match_indices('/').map(|(end, _)| end);
        let above = ends.filter_map(|end| folder.get(..end)).chain([folder, "."]);
        above.into_iter().try_for_each(|folder| sync_folder(&self.base, folder))
    }

    fn try_copy(&self, from: &str, to: &str) -> io::Result<bool> {
        match self.base.hard_link(from, &self.base, to) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if !self.base.try_exists(from)? {
                    return Ok(false);
                }
                self.create_folder(split(to).0)?;
                match self.base.hard_link(from, &self.base, to) {
                    Err(error) if cannot_link(&error) => self.copy_in_kernel(from, to),
                    linked => linked.map(|()| true),
                }
            }
            Err(error) if cannot_link(&error) => self.copy_in_kernel(from, to),
            Err(error) => Err(error),
        }
    }

    /// For file systems without hard links: `copy_file_range(2)`, which an NFS server or a
    /// file system that shares extents does by itself.
    fn copy_in_kernel(&self, from: &str, to: &str) -> io::Result<bool> {
        let temporary = layout::temporary(to);
        let mut source = match self.base.open(from) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => opened?.into_std(),
        };
        let _ = self.base.remove_file(&temporary);
        let mut target = self.create_new(&temporary)?.into_std();
        io::copy(&mut source, &mut target)?;
        target.sync_all()?;
        self.base.rename(&temporary, &self.base, to)?;
        Ok(true)
    }
}

impl Backend for Files {
    fn reads_are_durable(&self) -> bool {
        false
    }

    fn read(&self, path: &str) -> Result<Option<Stored>, StoreError> {
        let io = |action| move |source| StoreError::io(action, path.into(), source);
        let Some((mut file, about)) = self.open(path).map_err(io("open"))? else {
            return Ok(None);
        };
        let mut bytes = Vec::with_capacity(usize::try_from(about.len()).unwrap_or(0));
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
        let end = range.end.min(about.len());
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
        let io = |source| StoreError::io("list", folder.into(), source);
        let entries = match self.base.read_dir(folder) {
            Err(error) if is_absent(&error) => return Ok(Vec::new()),
            entries => entries.map_err(io)?,
        };
        let mut listed = Vec::new();
        for entry in entries {
            let entry = entry.map_err(io)?;
            let kind = match entry.file_type() {
                // Removed since.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                kind => kind.map_err(io)?,
            };
            // A name that is not UTF-8 is none of ours; neither is a link or a pipe.
            if let Ok(name) = entry.file_name().into_string()
                && (kind.is_dir() || kind.is_file())
            {
                listed.push(Listed { name, is_folder: kind.is_dir(), about: None });
            }
        }
        Ok(listed)
    }

    fn remove(&self, path: &str) -> Result<bool, StoreError> {
        match self.base.remove_file(path) {
            Ok(()) => Ok(true),
            Err(error) if is_absent(&error) => Ok(false),
            Err(source) => Err(StoreError::io("remove", path.into(), source)),
        }
    }

    fn remove_folder(&self, folder: &str) -> Result<(), StoreError> {
        match self.base.remove_dir(folder) {
            Err(error) if !is_absent(&error) => Err(StoreError::io("remove", folder.into(), error)),
            _ => Ok(()),
        }
    }

    fn copy(&self, from: &str, to: &str) -> Result<bool, StoreError> {
        self.try_copy(from, to).map_err(|e| StoreError::io("link", format!("{from} to {to}"), e))
    }

    fn sync(&self, folder: &str) -> Result<(), StoreError> {
        sync_folder(&self.base, folder).map_err(|e| StoreError::io("sync", folder.into(), e))
    }

    fn prepare(&self, folders: &[String], lock: &str) -> Result<(), StoreError> {
        let io = |source| StoreError::io("create", split(lock).0.into(), source);
        // The lock file is created last: where it is, the folders are durable.
        if self.base.try_exists(lock).map_err(io)? {
            return Ok(());
        }
        folders.iter().try_for_each(|folder| self.create_folder(folder)).map_err(io)?;
        let mut options = OpenOptions::new();
        self.base.open_with(lock, options.write(true).create(true)).map_err(io)?;
        Ok(())
    }

    fn lock(&self, path: &str, wait: Duration) -> Result<Option<Lock>, StoreError> {
        let io = |source| StoreError::io("lock", path.into(), source);
        let mut options = OpenOptions::new();
        options.write(true).create(true);
        let file = match self.base.open_with(path, &options) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.create_folder(split(path).0).map_err(io)?;
                self.base.open_with(path, &options)
            }
            opened => opened,
        };
        let file = file.map_err(io)?;
        let since = Instant::now();
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Some(Lock(Some(file)))),
                Err(Errno::WOULDBLOCK | Errno::INTR) => {}
                Err(error) => return Err(io(error.into())),
            }
            if since.elapsed() >= wait {
                return Ok(None);
            }
            std::thread::sleep(LOCK_POLL);
        }
    }
}

/// What is said of a file. The inode too: a playlist is replaced, possibly twice within the
/// clock's step.
fn about_of(about: &std::fs::Metadata) -> About {
    let modified_nanos = i128::from(about.mtime()) * 1_000_000_000 + i128::from(about.mtime_nsec());
    About {
        len_bytes: about.len(),
        modified: UtcMillis(
            about.mtime().saturating_mul(1_000).saturating_add(about.mtime_nsec() / 1_000_000),
        ),
        tag: format!("{:x}-{modified_nanos:x}-{:x}", about.ino(), about.len()),
    }
}

/// Makes the names in a folder durable. The folder is opened for reading: cap-std's own handles
/// are `O_PATH`, which cannot be synced.
fn sync_folder(dir: &Dir, folder: &str) -> io::Result<()> {
    works(SYNC_FOLDER)?;
    dir.open(folder)?.sync_all()
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
