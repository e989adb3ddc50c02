//! A file system with a page cache: what is written is there for everybody, and what of it is
//! still there after a power cut follows from what was synced and from the seed.
//!
//! A file's content is durable by a sync of the file, its name by a sync of the folder. What was
//! not synced is there afterwards, or in part, or not, by name and in any order, or in the order
//! in which it was done, as with a journal. After a sync of a file that failed, what it held may
//! be lost although a later one succeeds.

mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use bytes::Bytes;

pub use worker::WorkerDisk;

use crate::draw::Random;

#[derive(Clone, Debug, Default)]
struct Inode {
    data: Vec<u8>,
    /// What is there after a power cut at least; none: not even that it is empty.
    durable: Option<Bytes>,
    /// A sync of it failed.
    is_poisoned: bool,
}

/// A change of names that is not durable yet.
#[derive(Clone, Debug)]
enum Change {
    Put { path: String, inode: u64 },
    Remove { path: String },
    Rename { from: String, to: String, inode: u64 },
    Folder { path: String },
}

impl Change {
    fn paths(&self) -> impl Iterator<Item = &str> {
        let (one, other) = match self {
            Self::Put { path, .. } | Self::Remove { path } | Self::Folder { path } => (path, None),
            Self::Rename { from, to, .. } => (to, Some(from)),
        };
        std::iter::once(one.as_str()).chain(other.map(String::as_str))
    }

    fn is_in(&self, folder: &str) -> bool {
        self.paths().any(|path| folder_of(path) == folder)
    }

    fn concerns(&self, other: &Self) -> bool {
        self.paths().any(|path| other.paths().any(|theirs| theirs == path))
    }
}

#[derive(Clone, Debug, Default)]
struct Names {
    files: BTreeMap<String, u64>,
    folders: BTreeSet<String>,
}

impl Names {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Put { path, inode } => {
                self.files.insert(path.clone(), *inode);
            }
            Change::Remove { path } => {
                self.files.remove(path);
            }
            Change::Rename { from, to, inode } => {
                self.files.remove(from);
                self.files.insert(to.clone(), *inode);
            }
            Change::Folder { path } => {
                self.folders.insert(path.clone());
            }
        }
    }

    fn has_folder(&self, folder: &str) -> bool {
        let above = folder.match_indices('/').map(|(end, _)| &folder[..end]);
        folder == "." || above.chain([folder]).all(|folder| self.folders.contains(folder))
    }
}

/// The disk that all processes see.
#[derive(Debug, Default)]
pub struct DiskState {
    inodes: BTreeMap<u64, Inode>,
    next_inode: u64,
    now: Names,
    durable: Names,
    pending: Vec<Change>,
    /// Who holds a lock file: an open file, of a process.
    locks: BTreeMap<String, (u64, u64)>,
    next_handle: u64,
}

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or(".", |(folder, _)| folder)
}

fn errno(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

const ENOENT: i32 = 2;
const EIO: i32 = 5;
const EEXIST: i32 = 17;
const ENOTEMPTY: i32 = 39;
const ENOSPC: i32 = 28;

impl DiskState {
    fn change(&mut self, change: Change) {
        self.now.apply(&change);
        self.pending.push(change);
    }

    fn inode(&self, path: &str) -> io::Result<u64> {
        self.now.files.get(path).copied().ok_or_else(|| errno(ENOENT))
    }

    fn new_file(&mut self, path: &str) -> io::Result<u64> {
        if self.now.files.contains_key(path) {
            return Err(errno(EEXIST));
        }
        if !self.now.has_folder(folder_of(path)) {
            return Err(errno(ENOENT));
        }
        self.next_inode += 1;
        self.inodes.insert(self.next_inode, Inode::default());
        self.change(Change::Put { path: path.to_owned(), inode: self.next_inode });
        Ok(self.next_inode)
    }

    fn sync_folder(&mut self, folder: &str) {
        let mut index = 0;
        while index < self.pending.len() {
            if !self.pending[index].is_in(folder) {
                index += 1;
                continue;
            }
            let change = self.pending.remove(index);
            self.durable.apply(&change);
            // What was done to the same names before is overtaken by it.
            let (earlier, later) = self.pending.split_at(index);
            let kept: Vec<_> = earlier.iter().filter(|e| !e.concerns(&change)).cloned().collect();
            let later = later.to_vec();
            index = kept.len();
            self.pending = [kept, later].concat();
        }
    }

    /// A file that somebody else puts there, durably.
    pub fn upload(&mut self, path: &str, bytes: &[u8]) {
        for (end, _) in path.match_indices('/') {
            let folder = path[..end].to_owned();
            self.now.folders.insert(folder.clone());
            self.durable.folders.insert(folder);
        }
        self.next_inode += 1;
        let bytes = Bytes::copy_from_slice(bytes);
        let inode = Inode { data: bytes.to_vec(), durable: Some(bytes), is_poisoned: false };
        self.inodes.insert(self.next_inode, inode);
        self.now.files.insert(path.to_owned(), self.next_inode);
        self.durable.files.insert(path.to_owned(), self.next_inode);
    }

    /// What everybody sees.
    pub fn seen(&self, path: &str) -> Option<&[u8]> {
        Some(&self.inodes.get(self.now.files.get(path)?)?.data)
    }

    /// What is sure to be there after a power cut now, and what tells it from another content.
    pub fn survives(&self, path: &str) -> Option<(u64, Bytes)> {
        let inode = *self.durable.files.get(path)?;
        if !self.durable.has_folder(folder_of(path)) {
            return None;
        }
        Some((inode, self.inodes.get(&inode)?.durable.clone()?))
    }

    /// The files of a folder that are sure to be there after a power cut now.
    pub fn surviving_files(&self, folder: &str) -> Vec<String> {
        let prefix = format!("{folder}/");
        let files = self.durable.files.range(prefix.clone()..);
        let files = files.take_while(|(path, _)| path.starts_with(&prefix));
        files.map(|(path, _)| path[prefix.len()..].to_owned()).collect()
    }

    fn release(&mut self, handle: u64) {
        self.locks.retain(|_, (holder, _)| *holder != handle);
    }

    /// A process is dead: its locks are free.
    pub fn release_process(&mut self, process: u64) {
        self.locks.retain(|_, (_, holder)| *holder != process);
    }

    /// The power fails.
    pub fn lose_power(&mut self, random: &mut Random) {
        let fate = random.within(0, 4);
        let in_order = random.within(0, self.pending.len() as u64 + 1);
        for (number, change) in std::mem::take(&mut self.pending).into_iter().enumerate() {
            let stays = match fate {
                0 => false,
                1 => true,
                2 => (number as u64) < in_order,
                _ => random.chance(50),
            };
            if stays {
                self.durable.apply(&change);
            }
        }
        let names = &mut self.durable;
        let folders = names.folders.clone();
        let whole = Names { files: BTreeMap::new(), folders };
        names.folders.retain(|folder| whole.has_folder(folder));
        names.files.retain(|path, _| whole.has_folder(folder_of(path)));
        self.now = names.clone();
        self.locks.clear();
        let there: BTreeSet<u64> = self.now.files.values().copied().collect();
        self.inodes.retain(|number, _| there.contains(number));
        for inode in self.inodes.values_mut() {
            let is_synced = inode.durable.as_ref().is_some_and(|durable| *durable == inode.data);
            if !is_synced {
                let whole = std::mem::take(&mut inode.data);
                inode.data = match random.within(0, 4) {
                    0 => inode.durable.as_deref().map(<[u8]>::to_vec).unwrap_or_default(),
                    1 => whole[..random.index(whole.len() + 1)].to_vec(),
                    2 => vec![0; whole.len()],
                    _ => whole,
                };
                inode.durable = Some(inode.data.clone().into());
            }
            inode.is_poisoned = false;
        }
    }
}
