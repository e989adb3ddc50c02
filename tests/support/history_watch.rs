//! Feeds the checker every version that appears on disk.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::HistoryChecker;

/// How often the file is looked at. A replaced file is another inode or has another time, so
/// looking costs one stat.
const EVERY: Duration = Duration::from_millis(2);

/// Looks at devices' playlists until it is stopped.
pub struct Watcher {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<HistoryChecker>>,
}

impl Watcher {
    /// Watches `playlist.m3u8` in `hls`, a folder that need not exist yet.
    pub fn of(hls: &Path) -> Self {
        Self::of_all(&[hls.to_owned()], EVERY)
    }

    /// Watches those in many folders, each every so often.
    pub fn of_all(folders: &[PathBuf], every: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let watched = folders.iter().map(|hls| Watched {
            path: hls.join("playlist.m3u8"),
            seen: None,
            checker: HistoryChecker::of_folder(hls),
        });
        let mut watched: Vec<_> = watched.collect();
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            loop {
                // Asked first: what was written before the stop is still looked at.
                let done = stopped.load(Ordering::SeqCst);
                watched.iter_mut().for_each(Watched::look);
                if done {
                    return watched.into_iter().map(|watched| watched.checker.finish()).collect();
                }
                std::thread::sleep(every);
            }
        });
        Self { stop, thread }
    }

    /// Looks once more and hands over what was found of the one folder.
    pub fn stop(self) -> HistoryChecker {
        self.stop_all().pop().expect("a folder is watched")
    }

    /// Looks once more and hands over what was found, folder by folder.
    pub fn stop_all(self) -> Vec<HistoryChecker> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().expect("the watcher has not panicked")
    }
}

/// One playlist, and which file it was when it was last read.
struct Watched {
    path: PathBuf,
    seen: Option<(u64, u64, i64, i64)>,
    checker: HistoryChecker,
}

impl Watched {
    fn look(&mut self) {
        let stat = std::fs::metadata(&self.path).ok();
        let seen = stat.map(|m| (m.ino(), m.len(), m.mtime(), m.mtime_nsec()));
        if seen != self.seen {
            self.seen = seen;
            if let Ok(text) = std::fs::read_to_string(&self.path) {
                self.checker.feed(&text);
            }
        }
    }
}
