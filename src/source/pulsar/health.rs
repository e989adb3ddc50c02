//! How the source is: counters that are cheap to change and to read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::source::SourceHealth;

/// Shared by the lanes; each number stands for itself, so no order between them is needed.
#[derive(Debug, Default)]
pub(super) struct HealthCells {
    lanes: AtomicUsize,
    lanes_connected: AtomicUsize,
    rebuilds: AtomicU64,
}

impl HealthCells {
    pub(super) fn read(&self) -> SourceHealth {
        SourceHealth {
            lanes: self.lanes.load(Ordering::Relaxed),
            lanes_connected: self.lanes_connected.load(Ordering::Relaxed),
            rebuilds: self.rebuilds.load(Ordering::Relaxed),
        }
    }

    pub(super) fn lane_added(&self) {
        self.lanes.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn lane_removed(&self) {
        self.lanes.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn lane_rebuilt(&self) {
        self.rebuilds.fetch_add(1, Ordering::Relaxed);
    }

    /// A lane is connected for as long as the guard lives, however the lane ends.
    pub(super) fn connected(self: &Arc<Self>) -> Connected {
        self.lanes_connected.fetch_add(1, Ordering::Relaxed);
        Connected(Arc::clone(self))
    }
}

/// See [`HealthCells::connected`].
pub(super) struct Connected(Arc<HealthCells>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.lanes_connected.fetch_sub(1, Ordering::Relaxed);
    }
}
