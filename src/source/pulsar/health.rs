//! How the source is: counters that are cheap to change and to read, and what is wrong.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::trouble::Trouble;
use crate::source::SourceHealth;

/// Who asks the broker for something, again and again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Asker {
    /// Whoever counts the partitions.
    Partitions,
    /// The lane of that number.
    Lane(u32),
}

/// Shared by the lanes; each number stands for itself, so no order between them is needed.
#[derive(Debug, Default)]
pub(super) struct HealthCells {
    lanes: AtomicUsize,
    lanes_connected: AtomicUsize,
    rebuilds: AtomicU64,
    trouble: Mutex<Troubles>,
}

/// What keeps whom from the broker, and since when anybody.
#[derive(Debug, Default)]
struct Troubles {
    since: Option<Instant>,
    of: BTreeMap<Asker, Trouble>,
}

impl HealthCells {
    pub(super) fn read(&self) -> SourceHealth {
        SourceHealth {
            lanes: self.lanes.load(Ordering::Relaxed),
            lanes_connected: self.lanes_connected.load(Ordering::Relaxed),
            rebuilds: self.rebuilds.load(Ordering::Relaxed),
            trouble: self.lock().of.values().next().map(Trouble::to_string),
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

    /// Notes what keeps `asker` from the broker. Whether it is news: nobody had that reason.
    pub(super) fn troubled(&self, asker: Asker, trouble: &Trouble) -> bool {
        let mut troubles = self.lock();
        troubles.since.get_or_insert_with(Instant::now);
        let known = troubles.of.values().any(|known| known.reason == trouble.reason);
        troubles.of.insert(asker, trouble.clone());
        !known
    }

    /// Nothing keeps `asker` from the broker. If it was the last one, how long there was trouble.
    pub(super) fn well(&self, asker: Asker) -> Option<Duration> {
        let mut troubles = self.lock();
        troubles.of.remove(&asker)?;
        match troubles.of.is_empty() {
            true => troubles.since.take().map(|since| since.elapsed()),
            false => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Troubles> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`HealthCells::connected`].
pub(super) struct Connected(Arc<HealthCells>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.lanes_connected.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::pulsar::PulsarError;

    #[test]
    fn a_reason_is_news_once_whoever_has_it_and_over_when_nobody_has() {
        let cells = HealthCells::default();
        let (gone, silent) =
            (Trouble::said(&PulsarError::StreamEnded), Trouble::no_answer("pulsar://b:6650"));
        assert_eq!(cells.well(Asker::Partitions), None);
        assert!(cells.troubled(Asker::Partitions, &gone));
        assert!(!cells.troubled(Asker::Partitions, &gone));
        assert!(!cells.troubled(Asker::Lane(0), &gone));
        assert!(cells.troubled(Asker::Lane(1), &silent));
        assert_eq!(cells.read().trouble, Some(gone.to_string()));
        assert_eq!(cells.well(Asker::Partitions), None);
        assert_eq!(cells.well(Asker::Lane(0)), None);
        assert_eq!(cells.read().trouble, Some(silent.to_string()));
        assert!(cells.well(Asker::Lane(1)).is_some());
        assert_eq!(cells.read().trouble, None);
        assert!(cells.troubled(Asker::Lane(1), &silent), "it begins again");
    }
}
