//! What the store asks of the machine: a disk, and threads for what blocks. [`super::Store::at`]
//! takes the machine's own; a simulation brings others along.

use std::io::{self, Read, Write};
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use crate::model::UtcMillis;

/// What is known of a regular file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileAbout {
    /// Its size.
    pub len_bytes: u64,
    /// When it was last written.
    pub modified: UtcMillis,
    /// Another one for each file that is put under a name, and for each change of it.
    pub mark: (u64, i128),
}

/// One open file.
pub trait DiskFile: Read + Write + Send + Sync + 'static {
    /// What is known of it; none if it is no regular file.
    ///
    /// # Errors
    /// What the system says.
    fn about(&self) -> io::Result<Option<FileAbout>>;

    /// Makes its content durable (fsync(2)), not its name.
    ///
    /// # Errors
    /// What the system says; what was not durable before may then be lost for good.
    fn sync(&self) -> io::Result<()>;

    /// Fills `bytes` from the byte number `offset` on.
    ///
    /// # Errors
    /// What the system says, or that the file ends before.
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;

    /// Locks it (flock(2)) until it is closed or the process dies; false if another has it
    /// locked.
    ///
    /// # Errors
    /// What the system says.
    fn try_lock(&self) -> io::Result<bool>;
}

/// A folder on a file system and everything below it; nothing outside is reached. Paths are
/// relative to it. Errors are what the system says.
#[allow(clippy::missing_errors_doc)]
pub trait Disk: Send + Sync + 'static {
    /// An open file.
    type File: DiskFile;

    /// Opens for reading; no link is followed and no pipe waited for.
    fn open(&self, path: &str) -> io::Result<Self::File>;

    /// Opens a file to be locked, an empty one if there is none.
    fn open_lock(&self, path: &str) -> io::Result<Self::File>;

    /// Creates a file; an error if there is one.
    fn create_new(&self, path: &str) -> io::Result<Self::File>;

    /// Whether there is such a name.
    fn exists(&self, path: &str) -> io::Result<bool>;

    /// Creates a folder and those above it, unless they are there.
    fn create_folders(&self, folder: &str) -> io::Result<()>;

    /// Makes the names in a folder durable (fsync(2)).
    fn sync_folder(&self, folder: &str) -> io::Result<()>;

    /// Gives a file another name, in the place of whatever has it (rename(2)).
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Gives a file a second name; an error if that is taken (link(2)).
    fn hard_link(&self, from: &str, to: &str) -> io::Result<()>;

    /// Copies a file's content to a new file, durably, without its bytes being seen.
    fn copy(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file's name.
    fn remove_file(&self, path: &str) -> io::Result<()>;

    /// Removes an empty folder.
    fn remove_folder(&self, folder: &str) -> io::Result<()>;

    /// The files and folders in a folder: their names, and whether each is a folder.
    fn list(&self, folder: &str) -> io::Result<Vec<(String, bool)>>;

    /// Lets others do something for so long.
    fn pause(&self, duration: Duration);
}

/// A folder that frames are read from: its own links are followed, but not out of it.
pub trait FrameFolder: Send + Sync + 'static {
    /// A file's bytes, at most one more than `limit_bytes`; none if it is no regular file.
    ///
    /// # Errors
    /// What the system says; without an errno if the path leads out.
    fn read_frame(&self, path: &Path, limit_bytes: u64) -> io::Result<Option<Vec<u8>>>;
}

/// Work that blocks.
pub type Work = Box<dyn FnOnce() + Send>;

/// Where work that blocks is done.
pub trait Threads: Send + Sync + 'static {
    /// Has `work` done to its end beside the async runtime, whoever waits for it.
    fn run(&self, work: Work);

    /// Waits, within such work, until `future` is complete.
    fn wait(&self, future: Pin<&mut dyn Future<Output = ()>>);
}

/// The threads of the async runtime.
pub(super) struct RuntimeThreads;

impl Threads for RuntimeThreads {
    fn run(&self, work: Work) {
        drop(tokio::task::spawn_blocking(work));
    }

    fn wait(&self, future: Pin<&mut dyn Future<Output = ()>>) {
        // A thread that was not started by the runtime could not be told when it is over.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.block_on(future);
        }
    }
}
