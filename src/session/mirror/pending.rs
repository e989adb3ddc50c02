//! Which devices Redis has still to be told of (pure): the newest that is known of each, in the
//! order in which they came.

use std::collections::{HashMap, HashSet, VecDeque};

use super::keys::Excerpt;
use crate::model::DeviceKey;

/// Devices that are remembered at most, some 100 bytes each; what is beyond them is told when it
/// commits, and not again after Redis has lost it. The offline checker fills it up.
const MOST_KNOWN: usize = 100_000;

/// A device, and what to tell of it; none: what the storage says.
pub(super) type Told = (DeviceKey, Option<Excerpt>);

/// What has still to be told.
#[derive(Debug, Default)]
pub(super) struct Pending {
    order: VecDeque<DeviceKey>,
    excerpts: HashMap<DeviceKey, Option<Excerpt>>,
    known: HashSet<DeviceKey>,
    under_way: usize,
}

impl Pending {
    /// A device has changed: this is the newest of it.
    pub fn tell(&mut self, key: &DeviceKey, excerpt: Excerpt) {
        if self.known.len() < MOST_KNOWN || self.known.contains(key) {
            self.known.insert(key.clone());
        }
        self.insert(key, Some(excerpt));
    }

    /// Redis may have lost everything: each device is to be told again, from the storage.
    pub fn tell_all(&mut self) {
        for key in self.known.clone() {
            if !self.excerpts.contains_key(&key) {
                self.insert(&key, None);
            }
        }
    }

    /// The device is there no more.
    pub fn forget(&mut self, key: &DeviceKey) {
        self.known.remove(key);
    }

    /// The next devices, `most` at most: under way until [`Pending::done`].
    pub fn take(&mut self, most: usize) -> Vec<Told> {
        let keys: Vec<_> = self.order.drain(..most.min(self.order.len())).collect();
        let taken: Vec<_> = keys
            .into_iter()
            .filter_map(|key| self.excerpts.remove(&key).map(|excerpt| (key, excerpt)))
            .collect();
        self.under_way = taken.len();
        taken
    }

    /// What was taken has been told, but for these: they come again, unless something newer is
    /// known by now.
    pub fn done(&mut self, again: impl IntoIterator<Item = Told>) {
        self.under_way = 0;
        for (key, excerpt) in again {
            if !self.excerpts.contains_key(&key) {
                self.insert(&key, excerpt);
            }
        }
    }

    /// How many devices have still to be told.
    pub fn len(&self) -> usize {
        self.order.len() + self.under_way
    }

    fn insert(&mut self, key: &DeviceKey, excerpt: Option<Excerpt>) {
        if self.excerpts.insert(key.clone(), excerpt).is_none() {
            self.order.push_back(key.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> DeviceKey {
        DeviceKey::new("c", name).unwrap()
    }

    fn excerpt(next_segment: u64) -> Excerpt {
        Excerpt { session: None, next_segment, media_sequence: 0, recent: Vec::new() }
    }

    fn names(told: &[Told]) -> Vec<(&str, Option<u64>)> {
        let next = |excerpt: &Option<Excerpt>| excerpt.as_ref().map(|e| e.next_segment);
        told.iter().map(|(key, e)| (key.device.as_str(), next(e))).collect()
    }

    #[test]
    fn the_newest_of_a_device_takes_the_place_of_what_waits() {
        let mut pending = Pending::default();
        for (name, next) in [("a", 1), ("b", 1), ("a", 2), ("a", 3)] {
            pending.tell(&key(name), excerpt(next));
        }
        assert_eq!(pending.len(), 2);
        assert_eq!(names(&pending.take(64)), [("a", Some(3)), ("b", Some(1))]);
        assert_eq!(pending.len(), 2, "under way is not told yet");
        pending.done([]);
        assert_eq!(pending.len(), 0);
    }

    #[test]
    fn what_could_not_be_told_comes_again_unless_something_newer_is_known() {
        let mut pending = Pending::default();
        pending.tell(&key("a"), excerpt(1));
        pending.tell(&key("b"), excerpt(1));
        let taken = pending.take(64);
        pending.tell(&key("b"), excerpt(2));
        pending.done(taken);
        assert_eq!(names(&pending.take(64)), [("b", Some(2)), ("a", Some(1))]);
    }

    #[test]
    fn after_a_loss_every_device_comes_again_that_is_still_there() {
        let mut pending = Pending::default();
        for name in ["a", "b", "c"] {
            pending.tell(&key(name), excerpt(1));
        }
        pending.take(64);
        pending.done([]);
        pending.tell(&key("b"), excerpt(2));
        pending.forget(&key("c"));
        pending.tell_all();
        assert_eq!(names(&pending.take(64)), [("b", Some(2)), ("a", None)]);
    }

    #[test]
    fn no_more_are_taken_than_were_asked_for() {
        let mut pending = Pending::default();
        for index in 0..10 {
            pending.tell(&key(&index.to_string()), excerpt(1));
        }
        assert_eq!(pending.take(4).len(), 4);
        pending.done([]);
        assert_eq!(pending.len(), 6);
    }
}
