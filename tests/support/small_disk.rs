//! A file system of a few MiB, in memory, that a test may fill or make read-only.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// It is unmounted when it is dropped.
pub struct SmallDisk {
    folder: TempDir,
    size_kib: u32,
}

impl SmallDisk {
    /// Mounts one; none where this process may not mount, as in most containers: a test has
    /// nothing to say there.
    pub fn mount(size_kib: u32) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let options = format!("size={size_kib}k,mode=755");
        let mounted = run(&["mount", "-t", "tmpfs", "-o", &options, "small-disk"], folder.path());
        if !mounted {
            eprintln!("not tested: this process may not mount a file system");
        }
        mounted.then_some(Self { folder, size_kib })
    }

    /// The folder that it is mounted at.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Leaves no room: it is as large now as what is on it.
    pub fn fill(&self) {
        let begun = Instant::now();
        loop {
            let disk = rustix::fs::statvfs(self.path()).expect("its figures");
            let taken_kib = (disk.f_blocks - disk.f_bfree) * disk.f_frsize / 1_024;
            // Somebody may have written since, so that it cannot be as small.
            if self.resize(taken_kib) {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "it cannot be made smaller");
        }
    }

    /// Gives the room back.
    pub fn make_room(&self) {
        assert!(self.resize(self.size_kib.into()), "it cannot be made larger");
    }

    fn resize(&self, size_kib: u64) -> bool {
        run(&["mount", "-o", &format!("remount,size={size_kib}k")], self.path())
    }

    /// Takes no more writes, or takes them again.
    pub fn set_read_only(&self, is_read_only: bool) {
        let options = if is_read_only { "remount,ro" } else { "remount,rw" };
        assert!(run(&["mount", "-o", options], self.path()), "it cannot be mounted anew");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        run(&["umount", "--lazy"], self.path());
    }
}

fn run(command: &[&str], folder: &Path) -> bool {
    let mut command_line = Command::new(command[0]);
    command_line.args(&command[1..]).arg(folder).stdin(Stdio::null()).stderr(Stdio::null());
    command_line.status().is_ok_and(|status| status.success())
}
