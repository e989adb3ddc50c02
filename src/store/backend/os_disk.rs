//! The machine's own file system below one folder. cap-std resolves every path below it,
//! whatever links there are.

use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::Duration;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use crate::crash_point::{READ, RENAME, SYNC, SYNC_FOLDER, WRITE, works};
use crate::model::UtcMillis;
use crate::store::ports::{Disk, DiskFile, FileAbout, FrameFolder};

/// Everything below one folder.
pub(in crate::store) struct OsDisk(Dir);

impl OsDisk {
    /// Opens the folder.
    pub fn open_folder(base_path: &Path) -> io::Result<Self> {
        Dir::open_ambient_dir(base_path, ambient_authority()).map(Self)
    }

    fn open_with(&self, path: &str, options: &OpenOptions) -> io::Result<OsFile> {
        Ok(OsFile(self.0.open_with(path, options)?.into_std()))
    }
}

/// A file that is open.
pub(in crate::store) struct OsFile(std::fs::File);

impl Read for OsFile {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.read(bytes)
    }
}

impl Write for OsFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        works(WRITE)?;
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl DiskFile for OsFile {
    fn about(&self) -> io::Result<Option<FileAbout>> {
        let about = self.0.metadata()?;
        let modified_nanos =
            i128::from(about.mtime()) * 1_000_000_000 + i128::from(about.mtime_nsec());
        Ok(about.is_file().then(|| FileAbout {
            len_bytes: about.len(),
            modified: UtcMillis(
                about.mtime().saturating_mul(1_000).saturating_add(about.mtime_nsec() / 1_000_000),
            ),
            mark: (about.ino(), modified_nanos),
        }))
    }

    fn sync(&self) -> io::Result<()> {
        works(SYNC)?;
        self.0.sync_all()
    }

    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(bytes, offset)
    }

    fn try_lock(&self) -> io::Result<bool> {
        match flock(&self.0, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK | Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl Disk for OsDisk {
    type File = OsFile;

    fn open(&self, path: &str) -> io::Result<OsFile> {
        works(READ)?;
        let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(flags.bits().cast_signed());
        self.open_with(path, &options)
    }

    fn open_lock(&self, path: &str) -> io::Result<OsFile> {
        let mut options = OpenOptions::new();
        self.open_with(path, options.write(true).create(true))
    }

    fn create_new(&self, path: &str) -> io::Result<OsFile> {
        let mut options = OpenOptions::new();
        self.open_with(path, options.write(true).create_new(true))
    }

    fn exists(&self, path: &str) -> io::Result<bool> {
        self.0.try_exists(path)
    }

    fn create_folders(&self, folder: &str) -> io::Result<()> {
        self.0.create_dir_all(folder)
    }

    /// The folder is opened for reading: cap-std's own handles are `O_PATH`, which cannot be
    /// synced.
    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        works(SYNC_FOLDER)?;
        self.0.open(folder)?.sync_all()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        works(RENAME)?;
        self.0.rename(from, &self.0, to)
    }

    fn hard_link(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.hard_link(from, &self.0, to)
    }

    /// `copy_file_range(2)`, which an NFS server or a file system that shares extents does by
    /// itself.
    fn copy(&self, from: &str, to: &str) -> io::Result<()> {
        let mut source = self.0.open(from)?.into_std();
        let mut target = self.create_new(to)?.0;
        io::copy(&mut source, &mut target)?;
        target.sync_all()
    }

    fn remove_file(&self, path: &str) -> io::Result<()> {
        self.0.remove_file(path)
    }

    fn remove_folder(&self, folder: &str) -> io::Result<()> {
        self.0.remove_dir(folder)
    }

    fn list(&self, folder: &str) -> io::Result<Vec<(String, bool)>> {
        let mut listed = Vec::new();
        for entry in self.0.read_dir(folder)? {
            let entry = entry?;
            let kind = match entry.file_type() {
                // Removed since.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                kind => kind?,
            };
            // A name that is not UTF-8 is none of ours; neither is a link or a pipe.
            if let Ok(name) = entry.file_name().into_string()
                && (kind.is_dir() || kind.is_file())
            {
                listed.push((name, kind.is_dir()));
            }
        }
        Ok(listed)
    }

    fn pause(&self, duration: Duration) {
        std::thread::sleep(duration);
    }
}

impl FrameFolder for OsDisk {
    fn read_frame(&self, path: &Path, limit_bytes: u64) -> io::Result<Option<Vec<u8>>> {
        let mut options = OpenOptions::new();
        // A pipe without a writer would block open(2).
        options.read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
        let file = self.0.open_with(path, &options)?;
        let about = file.metadata()?;
        if !about.is_file() {
            return Ok(None);
        }
        let expected = about.len().min(limit_bytes).saturating_add(1);
        let mut bytes = Vec::with_capacity(usize::try_from(expected).unwrap_or(0));
        // The file may grow while it is read.
        file.take(limit_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }
}
