//! What waits in a lane for the pipeline to take, bounded, and what was turned away for it.
//!
//! Pure. A consumer must always be read, or acknowledgements and keep-alives stop; the pipeline
//! does not always take. So what does not fit is not kept but turned away: only its place in
//! the topic is remembered, and once there is room the broker is asked for it again.
//!
//! Order is kept per key: nothing of a key is shelved while something older of that key is
//! away and still to come. The broker sends what it was asked for in topic order, but what was
//! on its way already comes first, and is turned away too. An older one that was asked for
//! before a newer one, and has not come before it, is not coming: its key went to another
//! consumer meanwhile.

use std::collections::{BTreeMap, VecDeque};

/// Places that are remembered at most: twice what a broker leaves unacknowledged with one
/// consumer (`maxUnackedMessagesPerConsumer`, 50,000 unless set).
const MAX_AWAY: usize = 100_000;

/// What became of a message that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    /// There is room, and it is its turn.
    Welcome,
    /// It is remembered, and will be asked for again.
    TurnedAway,
}

#[derive(Clone, Copy, Debug)]
struct Away {
    key: u64,
    /// When the broker was asked for it, counted in questions; not yet, if none.
    asked: Option<u64>,
}

#[derive(Debug)]
struct Kept<T> {
    item: T,
    key: u64,
    bytes: usize,
}

/// The shelf of one lane; `P` orders entries as the topic does.
#[derive(Debug)]
pub(crate) struct Shelf<P, T> {
    kept: VecDeque<Kept<T>>,
    bytes: usize,
    max_items: usize,
    max_bytes: usize,
    away: BTreeMap<P, Away>,
    /// How many of them the broker was not asked for yet.
    unasked: usize,
    questions: u64,
}

impl<P: Copy + Ord, T> Shelf<P, T> {
    /// An empty shelf for that many messages and payload bytes.
    pub(crate) fn new(max_items: usize, max_bytes: usize) -> Self {
        Self {
            kept: VecDeque::new(),
            bytes: 0,
            max_items,
            max_bytes,
            away: BTreeMap::new(),
            unasked: 0,
            questions: 0,
        }
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Asks whether a message of `bytes` of the entry at `position` may be put on the shelf.
    pub(crate) fn offer(&mut self, position: P, key: u64, bytes: usize) -> Offer {
        let full = self.kept.len() >= self.max_items
            || (!self.kept.is_empty() && self.bytes.saturating_add(bytes) > self.max_bytes);
        let asked = self.away.get(&position).and_then(|away| away.asked);
        // While some wait to be asked for, newer ones would keep the shelf full for ever.
        let queue_first = self.unasked > 0 && asked.is_none();
        if full || queue_first {
            self.turn_away(position, key);
            return Offer::TurnedAway;
        }
        let older = self.away.range(..position).filter(|(_, away)| away.key == key);
        let older: Vec<(P, Option<u64>)> =
            older.map(|(position, away)| (*position, away.asked)).collect();
        let is_gone = |older: Option<u64>| matches!((older, asked), (Some(q), Some(p)) if q < p);
        if older.iter().any(|(_, older)| !is_gone(*older)) {
            self.turn_away(position, key);
            return Offer::TurnedAway;
        }
        for (gone, _) in older {
            self.strike(gone);
        }
        self.strike(position);
        Offer::Welcome
    }

    /// Puts a welcome message on the shelf.
    pub(crate) fn put(&mut self, item: T, key: u64, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.kept.push_back(Kept { item, key, bytes });
    }

    /// Takes the oldest message off the shelf.
    pub(crate) fn take(&mut self) -> Option<T> {
        let kept = self.kept.pop_front()?;
        self.bytes = self.bytes.saturating_sub(kept.bytes);
        Some(kept.item)
    }

    /// Takes everything of a key off the shelf: something older of it is given back.
    pub(crate) fn withdraw(&mut self, key: u64) -> Vec<T> {
        let (gone, kept) = std::mem::take(&mut self.kept)
            .into_iter()
            .partition::<VecDeque<_>, _>(|k| k.key == key);
        self.kept = kept;
        self.bytes = self.kept.iter().map(|kept| kept.bytes).sum();
        gone.into_iter().map(|kept| kept.item).collect()
    }

    /// Notes that the broker is asked, now, for an entry that the pipeline gave back.
    pub(crate) fn given_back(&mut self, position: P, key: u64) {
        self.strike(position);
        self.questions += 1;
        self.away.insert(position, Away { key, asked: Some(self.questions) });
        self.bound();
    }

    /// What the broker is asked for now, in topic order: nothing before half of the shelf is
    /// empty, so that a full shelf does not ask for every message many times.
    pub(crate) fn ask_again(&mut self) -> Vec<P> {
        if self.unasked == 0
            || self.kept.len() > self.max_items / 2
            || self.bytes > self.max_bytes / 2
        {
            return Vec::new();
        }
        self.unasked = 0;
        let mut to_ask_for = Vec::new();
        for (position, away) in self.away.iter_mut().filter(|(_, away)| away.asked.is_none()) {
            self.questions += 1;
            away.asked = Some(self.questions);
            to_ask_for.push(*position);
        }
        to_ask_for
    }

    /// The connection is a new one: the broker sends all that is not acknowledged, in order.
    pub(crate) fn reconnected(&mut self) {
        self.away.clear();
        self.unasked = 0;
    }

    fn turn_away(&mut self, position: P, key: u64) {
        self.strike(position);
        self.away.insert(position, Away { key, asked: None });
        self.unasked += 1;
        self.bound();
    }

    fn strike(&mut self, position: P) {
        if self.away.remove(&position).is_some_and(|away| away.asked.is_none()) {
            self.unasked = self.unasked.saturating_sub(1);
        }
    }

    /// Drops what was asked for longest ago and never came: it went elsewhere.
    fn bound(&mut self) {
        if self.away.len() > MAX_AWAY {
            self.away.retain(|_, away| away.asked.is_none());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Offers message `position` of key `key`, one byte, and puts it if it is welcome.
    fn offer(shelf: &mut Shelf<u32, u32>, position: u32, key: u64) -> bool {
        let welcome = shelf.offer(position, key, 1) == Offer::Welcome;
        if welcome {
            shelf.put(position, key, 1);
        }
        welcome
    }

    fn drain(shelf: &mut Shelf<u32, u32>, count: usize) -> Vec<u32> {
        (0..count).filter_map(|_| shelf.take()).collect()
    }

    #[test]
    fn full_shelf_turns_away_and_asks_in_order_once_half_is_empty() {
        let mut shelf = Shelf::new(4, 100);
        assert_eq!((1..=7).map(|p| offer(&mut shelf, p, 0)).filter(|w| *w).count(), 4);
        assert_eq!(drain(&mut shelf, 1), [1]);
        assert!(shelf.ask_again().is_empty());
        assert!(!offer(&mut shelf, 8, 1), "newer ones would keep the shelf full for ever");
        assert_eq!(drain(&mut shelf, 1), [2]);
        assert_eq!(shelf.ask_again(), [5, 6, 7, 8]);
        assert!(shelf.ask_again().is_empty());
        assert!(offer(&mut shelf, 5, 0) && offer(&mut shelf, 6, 0));
        assert_eq!(drain(&mut shelf, 9), [3, 4, 5, 6]);
    }

    #[test]
    fn bytes_are_bounded_but_one_large_message_may_wait() {
        let mut shelf = Shelf::new(10, 100);
        assert_eq!(shelf.offer(1, 0, 1_000), Offer::Welcome);
        shelf.put(1, 0, 1_000);
        assert_eq!(shelf.offer(2, 1, 1), Offer::TurnedAway);
        assert_eq!(drain(&mut shelf, 2), [1]);
        assert_eq!(shelf.ask_again(), [2]);
    }

    #[test]
    fn what_was_on_its_way_waits_for_the_older_one_of_its_key() {
        let mut shelf = Shelf::new(10, 100);
        shelf.given_back(5, 7);
        assert!(offer(&mut shelf, 6, 8), "another key has nothing to wait for");
        assert!(!offer(&mut shelf, 9, 7));
        assert_eq!(shelf.ask_again(), [9]);
        assert!(offer(&mut shelf, 5, 7) && offer(&mut shelf, 9, 7));
    }

    #[test]
    fn older_one_that_went_elsewhere_holds_up_its_key_only_once() {
        let mut shelf = Shelf::new(10, 100);
        shelf.given_back(5, 7);
        assert!(!offer(&mut shelf, 9, 7));
        assert_eq!(shelf.ask_again(), [9]);
        assert!(offer(&mut shelf, 9, 7));
        assert!(offer(&mut shelf, 10, 7), "it was struck off");
    }

    #[test]
    fn withdrawn_key_leaves_the_others_in_order() {
        let mut shelf = Shelf::new(10, 100);
        for (position, key) in [(1, 0), (2, 1), (3, 0), (4, 1)] {
            assert!(offer(&mut shelf, position, key));
        }
        assert_eq!(shelf.withdraw(0), [1, 3]);
        assert_eq!(drain(&mut shelf, 9), [2, 4]);
    }

    proptest::proptest! {
        /// A pipeline that takes at random gets everything once, each key in order, from a
        /// broker that always has messages on their way; the shelf never grows.
        #[test]
        fn every_key_comes_whole_and_in_order(
            keys in proptest::collection::vec(0_u64..4, 1..120),
            takes in proptest::collection::vec(0_usize..4, 1..60),
        ) {
            let key_of = |p: u32| keys[p as usize];
            let mut shelf: Shelf<u32, u32> = Shelf::new(5, 1_000);
            // The broker replays in topic order, before anything new; nine are on their way.
            let mut fresh: VecDeque<u32> = (0..u32::try_from(keys.len()).unwrap()).collect();
            let mut replay = std::collections::BTreeSet::new();
            let mut wire = VecDeque::new();
            let mut taken = Vec::new();
            let mut takes = takes.into_iter().chain([1]).cycle();
            for _ in 0..10_000 {
                while wire.len() < 9 {
                    let next = replay.pop_first().or_else(|| fresh.pop_front());
                    let Some(next) = next else { break };
                    wire.push_back(next);
                }
                if let Some(position) = wire.pop_front() {
                    offer(&mut shelf, position, key_of(position));
                }
                taken.extend((0..takes.next().unwrap()).filter_map(|_| shelf.take()));
                replay.extend(shelf.ask_again());
                proptest::prop_assert!(shelf.kept.len() <= 5);
                if taken.len() == keys.len() {
                    break;
                }
            }
            for key in 0..4 {
                let of_key: Vec<_> = taken.iter().filter(|p| key_of(**p) == key).collect();
                proptest::prop_assert!(of_key.is_sorted(), "key {}: {:?}", key, of_key);
            }
            taken.sort_unstable();
            proptest::prop_assert_eq!(taken, (0..u32::try_from(keys.len()).unwrap()).collect::<Vec<_>>());
        }
    }
}
