//! One device's `hls` folder on a file system: whole files read, written durably, listed and
//! locked. The only place of a commit that touches the disk.
//!
//! Architecture invariant: a file under its name is whole and durable. Each is written under a
//! temporary name, synced, renamed, and its folder synced. After a failed fsync the kernel may
//! have dropped what was not written and report success the next time, so a file is never
//! synced twice: another try writes it anew (PostgreSQL's fsync findings of 2018; fsync(2)).

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use cap_std::fs::{Dir, File, OpenOptions};
use rustix::fs::{FlockOperation, flock};

use super::StoreError;
use super::layout::{self, HISTORY_FOLDER, LOCK_FILE, SEGMENTS_FOLDER, TEMP_FOLDER};
use super::steps::WriteSteps;
use crate::crash_point::reached;
use crate::model::DeviceKey;

/// How often a held lock is asked for again: a commit takes some ten milliseconds.
const LOCK_POLL: Duration = Duration::from_millis(5);

/// A device's `hls` folder.
pub(super) struct DeviceFolder {
    hls: Dir,
    /// Its path below the base path, for errors.
    shown: String,
}

/// The device is ours while this lives; the kernel frees it when the process dies.
pub(super) struct DeviceLock(#[expect(dead_code, reason = "held, not used")] File);

impl DeviceFolder {
    /// Opens the folder of a device, none if it has never been created.
    pub fn open(base: &Dir, key: &DeviceKey) -> Result<Option<Self>, StoreError> {
        let shown = layout::hls_folder(key);
        match base.open_dir(&shown) {
            Ok(hls) => Ok(Some(Self { hls, shown })),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StoreError::io("open", shown, source)),
        }
    }

    /// Opens the folder of a device; creates it, durably, if need be.
    pub fn create(base: &Dir, key: &DeviceKey) -> Result<Self, StoreError> {
        let shown = layout::hls_folder(key);
        let io = |source| StoreError::io("create", shown.clone(), source);
        // The lock file is created last: where it is, the folders are durable.
        if !base.try_exists(format!("{shown}/{LOCK_FILE}")).map_err(io)? {
            for folder in [SEGMENTS_FOLDER, HISTORY_FOLDER, TEMP_FOLDER] {
                base.create_dir_all(format!("{shown}/{folder}")).map_err(io)?;
            }
            let ends = shown.match_indices('/').map(|(end, _)| end).chain([shown.len()]);
            for parent in ends.filter_map(|end| shown.get(..end)).chain(["."]) {
                sync_folder(base, parent).map_err(io)?;
            }
            base.open_with(
                format!("{shown}/{LOCK_FILE}"),
                OpenOptions::new().write(true).create(true),
            )
            .map_err(io)?;
        }
        let hls = base.open_dir(&shown).map_err(io)?;
        Ok(Self { hls, shown })
    }

    /// Waits until nobody else holds the device, at most `wait`.
    pub fn lock(&self, wait: Duration) -> Result<DeviceLock, StoreError> {
        let io = |source| StoreError::io("lock", self.path(LOCK_FILE), source);
        let mut options = OpenOptions::new();
        let file = self.hls.open_with(LOCK_FILE, options.write(true).create(true)).map_err(io)?;
        let since = Instant::now();
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(DeviceLock(file)),
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {}
                Err(e) => return Err(io(e.into())),
            }
            if since.elapsed() >= wait {
                return Err(StoreError::Locked { path: self.path(LOCK_FILE), wait });
            }
            std::thread::sleep(LOCK_POLL);
        }
    }

    /// A file's content; none if there is no such file.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        match self.hls.open(name) {
            Ok(mut file) => {
                let mut bytes = Vec::new();
                match file.read_to_end(&mut bytes) {
                    Ok(_) => Ok(Some(bytes)),
                    Err(source) => Err(StoreError::io("read", self.path(name), source)),
                }
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StoreError::io("open", self.path(name), source)),
        }
    }

    /// Writes a whole file: when this returns it is durable under its name, and until then
    /// whatever was there before is.
    pub fn write(
        &self,
        folder: &str,
        name: &str,
        bytes: &[u8],
        steps: &WriteSteps,
    ) -> Result<(), StoreError> {
        self.try_write(folder, name, bytes, steps).map_err(|source| {
            StoreError::io("write", self.path(&format!("{folder}/{name}")), source)
        })
    }

    fn try_write(
        &self,
        folder: &str,
        name: &str,
        bytes: &[u8],
        steps: &WriteSteps,
    ) -> io::Result<()> {
        reached(steps.begin);
        let temp = format!("{TEMP_FOLDER}/{name}");
        match self.hls.remove_file(&temp) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let mut options = OpenOptions::new();
        let mut file = self.hls.open_with(&temp, options.write(true).create_new(true))?;
        file.write_all(bytes)?;
        reached(steps.written);
        file.sync_all()?;
        reached(steps.synced);
        self.hls.rename(&temp, &self.hls, format!("{folder}/{name}"))?;
        reached(steps.renamed);
        sync_folder(&self.hls, folder)?;
        reached(steps.durable);
        Ok(())
    }

    /// The names in a folder, in no order.
    pub fn list(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let io = |source| StoreError::io("list", self.path(folder), source);
        let entries = match self.hls.read_dir(folder) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(io)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            // A name that is not UTF-8 is none of ours.
            if let Ok(name) = entry.map_err(io)?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Removes what writes that a crash interrupted have left. Only while the device is locked.
    pub fn clear_temporaries(&self) -> Result<(), StoreError> {
        self.list(TEMP_FOLDER)?.iter().try_for_each(|name| self.remove(TEMP_FOLDER, name))
    }

    /// Removes a file. Not durably: what is removed here is left over, and may come back.
    pub fn remove(&self, folder: &str, name: &str) -> Result<(), StoreError> {
        let path = format!("{folder}/{name}");
        self.hls
            .remove_file(&path)
            .map_err(|source| StoreError::io("remove", self.path(&path), source))
    }

    /// A file's path below the base path, for errors.
    pub fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.shown)
    }
}

/// Makes the names in a folder durable. The folder is opened for reading: cap-std's own handles
/// are `O_PATH`, which cannot be synced.
fn sync_folder(dir: &Dir, folder: &str) -> io::Result<()> {
    dir.open(folder)?.sync_all()
}
