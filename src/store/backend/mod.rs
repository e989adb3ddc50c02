//! What the store asks of a storage, and the two kinds there are: a folder and a bucket.
//!
//! Paths are relative to the base path and made by [`super::layout`] from checked ids. Calls
//! block: they are made beside the async runtime.
//!
//! Two writers of one name are kept apart in one of two ways. On a file system the caller holds
//! the lock of the device, and what an [`Expect`] says holds by itself. A bucket has no locks:
//! there the storage itself compares, and a write that comes too late is a
//! [`Written::Conflict`] that has changed nothing.

mod connect;
mod files;
mod objects;
mod os_disk;

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;

use super::StoreError;
use super::steps::{self, WriteSteps};
use crate::crash_point::reached;
use crate::model::UtcMillis;

pub(super) use connect::connect;
pub(super) use files::Files;
pub(super) use objects::{Objects, io_error};
pub(super) use os_disk::OsDisk;

/// Which content a name had when it was read: nothing on a file system, where a lock does the
/// work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Version {
    e_tag: Option<String>,
    number: Option<String>,
}

/// A whole file and its version.
#[derive(Clone, Debug)]
pub struct Stored {
    /// What it holds.
    pub bytes: Bytes,
    /// To replace exactly this content and no other.
    pub version: Version,
}

/// What a write goes on.
#[derive(Clone, Copy, Debug)]
pub enum Expect<'a> {
    /// Nothing: whatever is there is replaced.
    Anything,
    /// There is no such file. What a crash has left counts as none while the device is locked.
    Absent,
    /// The file is still the one that was read.
    Same(&'a Version),
}

impl<'a> Expect<'a> {
    /// That the name is still as it was when it was read.
    pub fn unchanged(read: Option<&'a Stored>) -> Self {
        read.map_or(Self::Absent, |stored| Self::Same(&stored.version))
    }
}

/// How a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Written {
    /// It is durable.
    Done,
    /// The file is not what was expected; nothing was changed.
    Conflict,
}

/// What is known of a file without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Its size.
    pub len_bytes: u64,
    /// When it was last written.
    pub modified: UtcMillis,
    /// Changes with its content: an ETag without the quotes.
    pub tag: String,
}

/// What a viewer's read found.
#[derive(Clone, Debug)]
pub enum Fetched {
    /// No such file.
    Absent,
    /// It has the tag that is known already.
    Unchanged,
    /// What is known of it, and its bytes from the first one on: all, or as many as were asked
    /// for.
    Read(About, Bytes),
}

/// One name in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The last component.
    pub name: String,
    /// Whether it is a folder.
    pub is_folder: bool,
    /// What the listing said of a file; a file system says nothing.
    pub about: Option<About>,
}

/// Held until it is dropped, or until the process dies.
pub struct Lock(#[expect(dead_code, reason = "held, not used")] Option<Box<dyn Send>>);

/// A folder or a bucket.
pub(super) trait Backend: Send + Sync {
    /// Whether what is read is durable. On a file system a file may be in memory only, if the
    /// one who wrote it died before syncing it.
    fn reads_are_durable(&self) -> bool;

    /// A file's content; none if there is no such file.
    fn read(&self, path: &str) -> Result<Option<Stored>, StoreError>;

    /// What is known of a file and its first bytes, in one step, unless it has the tag
    /// `unless`. A file that is not empty is meant, and `at_most_bytes` not to be 0.
    fn fetch(
        &self,
        path: &str,
        at_most_bytes: u64,
        unless: Option<&str>,
    ) -> Result<Fetched, StoreError>;

    /// Some bytes of a file, fewer if it ends before them.
    fn read_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StoreError>;

    /// What is known of a regular file; none if there is no such file.
    fn about(&self, path: &str) -> Result<Option<About>, StoreError>;

    /// Writes a whole file: when this returns it is durable under its name, and until then
    /// whatever was there before is.
    fn write(
        &self,
        path: &str,
        bytes: &Bytes,
        expect: Expect<'_>,
        steps: &WriteSteps,
    ) -> Result<Written, StoreError>;

    /// What a folder holds, in no order; nothing if there is no such folder.
    fn list(&self, folder: &str) -> Result<Vec<Listed>, StoreError>;

    /// Removes a file. Not durably: what is removed is left over, and may come back after a
    /// power cut. Whether there was one.
    fn remove(&self, path: &str) -> Result<bool, StoreError>;

    /// The same of many files; of each, whether there was one.
    fn remove_all(&self, paths: &[String]) -> Result<Vec<bool>, StoreError> {
        let remove = |path: &String| {
            let removed = self.remove(path);
            reached(steps::ONE_REMOVED);
            removed
        };
        paths.iter().map(remove).collect()
    }

    /// Removes a folder that has become empty, where folders exist.
    fn remove_folder(&self, folder: &str) -> Result<(), StoreError>;

    /// Gives a file a second name without reading it: a hard link, or a copy that the server
    /// makes. A file that has the second name already is left as it is. Durable after
    /// [`Backend::sync`] of the folder. Whether there was such a file.
    fn copy(&self, from: &str, to: &str) -> Result<bool, StoreError>;

    /// Makes the names in a folder durable.
    fn sync(&self, folder: &str) -> Result<(), StoreError>;

    /// Creates folders, durably, with an empty file `lock` in the first one's place; costs a
    /// look when they are there.
    fn prepare(&self, folders: &[String], lock: &str) -> Result<(), StoreError>;

    /// Waits until nobody else holds the lock file, at most `wait`; none if somebody does. A
    /// bucket's lock is always free: it compares when it writes.
    fn lock(&self, path: &str, wait: Duration) -> Result<Option<Lock>, StoreError>;
}
