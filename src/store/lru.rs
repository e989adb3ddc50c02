//! A small bounded map that forgets what has not been asked for the longest.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

/// At most `capacity` entries. Making room looks at all of them, so it is for capacities in the
/// hundreds and values that cost a disk access.
pub(crate) struct Lru<K, V> {
    capacity: usize,
    held: Mutex<Held<K, V>>,
}

struct Held<K, V> {
    clock: u64,
    entries: HashMap<K, (u64, V)>,
}

impl<K: Eq + Hash + Clone, V: Clone> Lru<K, V> {
    pub fn new(capacity: usize) -> Self {
        Self { capacity, held: Mutex::new(Held { clock: 0, entries: HashMap::new() }) }
    }

    /// The value of `key`, now the freshest.
    pub fn get(&self, key: &K) -> Option<V> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.clock += 1;
        let clock = held.clock;
        held.entries.get_mut(key).map(|(used, value)| {
            *used = clock;
            value.clone()
        })
    }

    /// Keeps `value`; the stalest goes if there is no room.
    pub fn put(&self, key: K, value: V) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.clock += 1;
        let clock = held.clock;
        if held.entries.len() >= self.capacity && !held.entries.contains_key(&key) {
            let stalest = held.entries.iter().min_by_key(|(_, (used, _))| *used);
            if let Some(stalest) = stalest.map(|(key, _)| key.clone()) {
                held.entries.remove(&stalest);
            }
        }
        held.entries.insert(key, (clock, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_that_was_not_asked_for_goes() {
        let lru = Lru::new(2);
        lru.put("a", 1);
        lru.put("b", 2);
        assert_eq!(lru.get(&"a"), Some(1));
        lru.put("c", 3);
        assert_eq!((lru.get(&"a"), lru.get(&"b"), lru.get(&"c")), (Some(1), None, Some(3)));
        lru.put("a", 4);
        assert_eq!((lru.get(&"a"), lru.get(&"c")), (Some(4), Some(3)));
    }
}
