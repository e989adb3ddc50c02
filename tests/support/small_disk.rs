//! A file system of a few MiB, in memory, that a test may fill or make read-only.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// What takes the room that is left.
const BALLAST: &str = ".ballast";

/// It is unmounted when it is dropped.
pub struct SmallDisk(TempDir);

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
        mounted.then_some(Self(folder))
    }

    /// The folder that it is mounted at.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes all the room that is left.
    pub fn fill(&self) {
        let mut ballast = File::create(self.path().join(BALLAST)).expect("a file");
        for size in [64 * 1_024, 1_024, 1] {
            while ballast.write_all(&vec![0; size]).is_ok() {}
        }
    }

    /// Gives it back.
    pub fn make_room(&self) {
        std::fs::remove_file(self.path().join(BALLAST)).expect("the ballast");
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
