//! Feeds the checker every version that appears on disk.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::HistoryChecker;

/// How often the file is looked at. A replaced file is another inode or has another time, so
/// looking costs one stat.
const EVERY: Duration = Duration::from_millis(2);

/// Looks at a device's playlist until it is stopped.
pub struct Watcher {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<HistoryChecker>,
}

impl Watcher {
    /// Watches `playlist.m3u8` in `hls`, a folder that need not exist yet.
    pub fn of(hls: &Path) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let path = hls.join("playlist.m3u8");
        let mut checker = HistoryChecker::of_folder(hls);
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut last = None;
            loop {
                // Asked first: what was written before the stop is still looked at.
                let done = stopped.load(Ordering::SeqCst);
                let stat = std::fs::metadata(&path).ok();
                let seen = stat.map(|m| (m.ino(), m.len(), m.mtime(), m.mtime_nsec()));
                if seen != last {
                    last = seen;
                    if let Ok(text) = std::fs::read_to_string(&path) {
                        checker.feed(&text);
                    }
                }
                if done {
                    return checker.finish();
                }
                std::thread::sleep(EVERY);
            }
        });
        Self { stop, thread }
    }

    /// Looks once more and hands over what was found.
    pub fn stop(self) -> HistoryChecker {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().expect("the watcher has not panicked")
    }
}
