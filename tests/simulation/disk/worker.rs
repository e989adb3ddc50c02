//! The disk, as one process uses it: every step takes its time, and may be the process's last.

use std::io::{self, Read, Write};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use stream_processor::model::UtcMillis;
use stream_processor::store::ports::{Disk, DiskFile, FileAbout, FrameFolder};

use super::{Change, DiskState, EEXIST, EIO, ENOENT, ENOSPC, ENOTEMPTY, errno, folder_of};
use crate::plan::Failure;
use crate::process::{Process, wait_here};
use crate::world::Plant;

/// The disk, as one process uses it.
pub struct WorkerDisk(pub Arc<Process>);

impl WorkerDisk {
    fn with<T>(&self, look: impl FnOnce(&mut DiskState) -> T) -> T {
        look(&mut self.0.world.disk.lock().unwrap())
    }

    /// A step that changes something: takes its time, and the process may die before or after.
    fn step<T>(
        &self,
        what: &'static str,
        path: &str,
        change: impl FnOnce(&mut DiskState) -> io::Result<T>,
    ) -> io::Result<T> {
        let process = &self.0;
        wait_here(pin!(async {
            process.takes(3).await;
            process.step().await;
        }));
        process.world.note(what, process.worker, path);
        let done = self.with(change);
        if done.is_ok() {
            process.world.is_seen(process.number, path);
        }
        wait_here(pin!(process.step()));
        done
    }

    fn refused(&self) -> io::Result<()> {
        match self.0.storage_failure() {
            Some(Failure::Refused) => Err(errno(ENOSPC)),
            Some(Failure::Unknown | Failure::UnknownAndAgain) => Err(errno(EIO)),
            None => Ok(()),
        }
    }

    /// Does what the planted fault has put off.
    fn catch_up(&self) {
        let put_off = self.0.world.put_off.lock().unwrap().remove(&self.0.number);
        if let Some((from, to)) = put_off {
            let _ = self.step("rename, late", &to, |disk| rename(disk, &from, &to));
        }
    }
}

fn rename(disk: &mut DiskState, from: &str, to: &str) -> io::Result<()> {
    let inode = disk.inode(from)?;
    if !disk.now.has_folder(folder_of(to)) {
        return Err(errno(ENOENT));
    }
    disk.change(Change::Rename { from: from.to_owned(), to: to.to_owned(), inode });
    Ok(())
}

/// An open file.
pub struct WorkerFile {
    disk: WorkerDisk,
    handle: u64,
    path: String,
    inode: u64,
    read_until: usize,
    /// What is read, if it is not what the file holds.
    in_its_place: Option<Vec<u8>>,
}

impl Drop for WorkerFile {
    fn drop(&mut self) {
        let handle = self.handle;
        self.disk.with(|disk| disk.release(handle));
    }
}

impl WorkerFile {
    fn data<T>(&self, look: impl FnOnce(&[u8]) -> T) -> T {
        match &self.in_its_place {
            Some(data) => look(data),
            None => self.disk.with(|disk| {
                look(disk.inodes.get(&self.inode).map_or(&[][..], |inode| &inode.data))
            }),
        }
    }
}

impl Read for WorkerFile {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.data(|data| {
            let rest = &data[self.read_until.min(data.len())..];
            let count = rest.len().min(bytes.len());
            bytes[..count].copy_from_slice(&rest[..count]);
            count
        });
        self.read_until += count;
        Ok(count)
    }
}

impl Write for WorkerFile {
    /// At first half of it, so that a file can be found half written.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.disk.refused()?;
        let count = if bytes.len() > 64 { bytes.len() / 2 } else { bytes.len() };
        let inode = self.inode;
        self.disk.step("write", &self.path, |disk| {
            let inode = disk.inodes.get_mut(&inode).ok_or_else(|| errno(EIO))?;
            inode.data.extend_from_slice(&bytes[..count]);
            Ok(count)
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for WorkerFile {
    fn about(&self) -> io::Result<Option<FileAbout>> {
        let len_bytes = self.data(|data| data.len() as u64);
        Ok(Some(FileAbout { len_bytes, modified: UtcMillis(0), mark: (self.inode, 0) }))
    }

    fn sync(&self) -> io::Result<()> {
        let failed = self.disk.0.storage_failure().is_some();
        let number = self.inode;
        self.disk.step("sync", &self.path, |disk| {
            let inode = disk.inodes.get_mut(&number).ok_or_else(|| errno(EIO))?;
            inode.is_poisoned |= failed;
            if failed {
                return Err(errno(EIO));
            }
            if !inode.is_poisoned {
                inode.durable = Some(inode.data.clone().into());
            }
            Ok(())
        })
    }

    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.data(|data| {
            let from = usize::try_from(offset).unwrap();
            let part = data.get(from..from + bytes.len()).ok_or_else(|| errno(EIO))?;
            bytes.copy_from_slice(part);
            Ok(())
        })
    }

    fn try_lock(&self) -> io::Result<bool> {
        wait_here(pin!(self.disk.0.takes(1)));
        let holds = self.disk.with(|disk| {
            let us = (self.handle, self.disk.0.number);
            *disk.locks.entry(self.path.clone()).or_insert(us) == us
        });
        Ok(holds || self.disk.0.world.plant == Some(Plant::NoFencing))
    }
}

impl WorkerDisk {
    fn file(&self, path: &str, inode: u64) -> WorkerFile {
        let handle = self.with(|disk| {
            disk.next_handle += 1;
            disk.next_handle
        });
        let disk = Self(Arc::clone(&self.0));
        let world = &self.0.world;
        let in_its_place = match world.plant {
            Some(plant) if path.ends_with("/hls/state.json") => world.planted_state(
                plant,
                self.0.number,
                path,
                &self.with(|disk| disk.seen(path).map(<[u8]>::to_vec).unwrap_or_default()),
            ),
            _ => None,
        };
        WorkerFile { disk, handle, path: path.to_owned(), inode, read_until: 0, in_its_place }
    }
}

impl Disk for WorkerDisk {
    type File = WorkerFile;

    fn open(&self, path: &str) -> io::Result<WorkerFile> {
        wait_here(pin!(self.0.takes(1)));
        let inode = self.with(|disk| disk.inode(path))?;
        Ok(self.file(path, inode))
    }

    fn open_lock(&self, path: &str) -> io::Result<WorkerFile> {
        let inode =
            self.step("open lock", path, |disk| disk.inode(path).or_else(|_| disk.new_file(path)))?;
        Ok(self.file(path, inode))
    }

    fn create_new(&self, path: &str) -> io::Result<WorkerFile> {
        self.catch_up();
        self.refused()?;
        let inode = self.step("create", path, |disk| disk.new_file(path))?;
        Ok(self.file(path, inode))
    }

    fn exists(&self, path: &str) -> io::Result<bool> {
        Ok(self.with(|disk| disk.now.files.contains_key(path) || disk.now.has_folder(path)))
    }

    fn create_folders(&self, folder: &str) -> io::Result<()> {
        self.refused()?;
        let ends = folder.match_indices('/').map(|(end, _)| end).chain([folder.len()]);
        for end in ends {
            let path = folder[..end].to_owned();
            if !self.with(|disk| disk.now.folders.contains(&path)) {
                self.step("create folder", &path.clone(), |disk| {
                    disk.change(Change::Folder { path });
                    Ok(())
                })?;
            }
        }
        Ok(())
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        if self.0.storage_failure().is_some() {
            return Err(errno(EIO));
        }
        let ignores = self.0.world.plant == Some(Plant::NoFolderSync);
        self.step("sync folder", folder, |disk| {
            if !ignores {
                disk.sync_folder(folder);
            }
            Ok(())
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        if self.0.world.plant == Some(Plant::PlaylistFirst) && to.contains("/segments/seg_") {
            let put_off = (from.to_owned(), to.to_owned());
            self.0.world.put_off.lock().unwrap().insert(self.0.number, put_off);
            return Ok(());
        }
        self.step("rename", to, |disk| rename(disk, from, to))
    }

    fn hard_link(&self, from: &str, to: &str) -> io::Result<()> {
        self.step("link", to, |disk| {
            let inode = disk.inode(from)?;
            if disk.now.files.contains_key(to) {
                return Err(errno(EEXIST));
            }
            disk.change(Change::Put { path: to.to_owned(), inode });
            Ok(())
        })
    }

    fn copy(&self, from: &str, to: &str) -> io::Result<()> {
        let bytes =
            self.with(|disk| disk.inode(from).map(|number| disk.inodes[&number].data.clone()))?;
        let mut file = self.create_new(to)?;
        file.write_all(&bytes)?;
        file.sync()
    }

    fn remove_file(&self, path: &str) -> io::Result<()> {
        self.step("remove", path, |disk| {
            disk.inode(path)?;
            disk.change(Change::Remove { path: path.to_owned() });
            Ok(())
        })
    }

    fn remove_folder(&self, folder: &str) -> io::Result<()> {
        self.step("remove folder", folder, |disk| {
            let prefix = format!("{folder}/");
            if disk.now.files.keys().any(|path| path.starts_with(&prefix)) {
                return Err(errno(ENOTEMPTY));
            }
            disk.now.folders.remove(folder).then_some(()).ok_or_else(|| errno(ENOENT))
        })
    }

    fn list(&self, folder: &str) -> io::Result<Vec<(String, bool)>> {
        wait_here(pin!(self.0.takes(1)));
        self.with(|disk| {
            if !disk.now.has_folder(folder) {
                return Err(errno(ENOENT));
            }
            let here = |path: &String| {
                (folder_of(path) == folder).then(|| path[folder.len() + 1..].to_owned())
            };
            let files = disk.now.files.keys().filter_map(here).map(|name| (name, false));
            let folders = disk.now.folders.iter().filter_map(here).map(|name| (name, true));
            Ok(files.chain(folders).collect())
        })
    }

    fn pause(&self, duration: Duration) {
        wait_here(pin!(async {
            tokio::time::sleep(duration).await;
            self.0.go_on().await;
        }));
    }
}

impl FrameFolder for WorkerDisk {
    fn read_frame(&self, path: &Path, _: u64) -> io::Result<Option<Vec<u8>>> {
        wait_here(pin!(self.0.takes(2)));
        let path = path.to_str().ok_or_else(|| errno(ENOENT))?;
        self.with(|disk| {
            disk.seen(path).map(|bytes| Some(bytes.to_vec())).ok_or_else(|| errno(ENOENT))
        })
    }
}
