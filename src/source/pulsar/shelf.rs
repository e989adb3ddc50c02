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
//! consumer meanwhile. But one time alone proves nothing: a broker that has run out of permits
//! between two reads sends a newer one first, for it does not know the keys of what it was asked
//! for again (`redeliverUnacknowledgedMessages` in Pulsar's PersistentDispatcherMultipleConsumers).

use std::collections::{BTreeMap, HashMap, VecDeque};

/// Places that are remembered at most: twice what a broker leaves unacknowledged with one
/// consumer (`maxUnackedMessagesPerConsumer`, 50,000 unless set).
const MAX_AWAY: usize = 100_000;

/// How often one that is away is overtaken, by messages that were asked for later each time, until
/// it is taken for gone.
const OVERTAKEN_FOR_GOOD: u8 = 3;

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
    /// When the broker was asked for it, counted in questions, or when it was overtaken since; not
    /// yet, if none.
    asked: Option<u64>,
    /// How often it was overtaken.
    overtaken: u8,
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
    /// By key, so that a message looks at those of its own key alone.
    away: HashMap<u64, BTreeMap<P, Away>>,
    /// How many those are.
    away_count: usize,
    /// Those of them that the broker was not asked for yet, and their keys.
    unasked: BTreeMap<P, u64>,
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
            away: HashMap::new(),
            away_count: 0,
            unasked: BTreeMap::new(),
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
        let of_key = self.away.get(&key);
        let asked = of_key.and_then(|of_key| of_key.get(&position)).and_then(|away| away.asked);
        // While some wait to be asked for, newer ones would keep the shelf full for ever.
        let queue_first = !self.unasked.is_empty() && asked.is_none();
        if full || queue_first || self.overtakes_some(position, key, asked) {
            self.turn_away(position, key);
            return Offer::TurnedAway;
        }
        let older = self.away.get(&key).into_iter().flat_map(|of_key| of_key.range(..position));
        let gone: Vec<P> = older.map(|(gone, _)| *gone).collect();
        for gone in gone {
            self.strike(gone, key);
        }
        self.strike(position, key);
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
        self.questions += 1;
        self.note(position, key, Some(self.questions));
    }

    /// What the broker is asked for now, in topic order: nothing before half of the shelf is
    /// empty, so that a full shelf does not ask for every message many times.
    pub(crate) fn ask_again(&mut self) -> Vec<P> {
        if self.unasked.is_empty()
            || self.kept.len() > self.max_items / 2
            || self.bytes > self.max_bytes / 2
        {
            return Vec::new();
        }
        let to_ask_for = std::mem::take(&mut self.unasked);
        for (position, key) in &to_ask_for {
            self.questions += 1;
            if let Some(of_key) = self.away.get_mut(key) {
                of_key.insert(*position, Away { asked: Some(self.questions), overtaken: 0 });
            }
        }
        to_ask_for.into_keys().collect()
    }

    /// The connection is a new one: the broker sends all that is not acknowledged, in order.
    pub(crate) fn reconnected(&mut self) {
        self.away.clear();
        self.away_count = 0;
        self.unasked.clear();
    }

    /// Whether one that is older and of the same key is away and may still come; notes which of
    /// them a message has overtaken that was asked for later.
    fn overtakes_some(&mut self, position: P, key: u64, asked: Option<u64>) -> bool {
        let Some(of_key) = self.away.get_mut(&key) else { return false };
        let now = self.questions;
        let mut may_come = false;
        for (_, older) in of_key.range_mut(..position) {
            if older.asked.is_some() && older.asked < asked {
                older.overtaken = older.overtaken.saturating_add(1);
                older.asked = Some(now);
            }
            may_come |= older.overtaken < OVERTAKEN_FOR_GOOD;
        }
        may_come
    }

    fn turn_away(&mut self, position: P, key: u64) {
        self.note(position, key, None);
        self.unasked.insert(position, key);
    }

    /// Remembers an entry that is away, and when the broker was asked for it, if it was.
    fn note(&mut self, position: P, key: u64, asked: Option<u64>) {
        self.strike(position, key);
        self.away.entry(key).or_default().insert(position, Away { asked, overtaken: 0 });
        self.away_count += 1;
        if self.away_count > MAX_AWAY {
            self.forget_asked();
        }
    }

    fn strike(&mut self, position: P, key: u64) {
        let Some(of_key) = self.away.get_mut(&key) else { return };
        if of_key.remove(&position).is_some() {
            self.away_count -= 1;
            self.unasked.remove(&position);
        }
        if of_key.is_empty() {
            self.away.remove(&key);
        }
    }

    /// Drops what was asked for and did not come: where there is so much of it, it went elsewhere.
    fn forget_asked(&mut self) {
        self.away.retain(|_, of_key| {
            of_key.retain(|_, away| away.asked.is_none());
            !of_key.is_empty()
        });
        self.away_count = self.away.values().map(BTreeMap::len).sum();
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
    fn older_one_that_was_overtaken_on_the_way_still_comes_first() {
        let mut shelf = Shelf::new(10, 100);
        for position in 5..=7 {
            shelf.given_back(position, 7);
        }
        assert!(!offer(&mut shelf, 7, 7), "the broker sends the last of them first");
        assert!(offer(&mut shelf, 5, 7) && offer(&mut shelf, 6, 7));
        assert_eq!(shelf.ask_again(), [7]);
        assert!(offer(&mut shelf, 7, 7));
        assert_eq!(drain(&mut shelf, 9), [5, 6, 7]);
    }

    #[test]
    fn older_one_that_went_elsewhere_holds_up_its_key_until_it_was_overtaken_for_good() {
        let mut shelf = Shelf::new(10, 100);
        shelf.given_back(5, 7);
        assert!(!offer(&mut shelf, 9, 7), "it was not asked for after the older one");
        for _ in 1..OVERTAKEN_FOR_GOOD {
            assert_eq!(shelf.ask_again(), [9]);
            assert!(!offer(&mut shelf, 9, 7));
        }
        assert_eq!(shelf.ask_again(), [9]);
        assert!(offer(&mut shelf, 9, 7));
        assert!(offer(&mut shelf, 10, 7), "it was struck off");
    }

    #[test]
    fn those_that_were_asked_for_together_overtake_an_older_one_once() {
        let mut shelf = Shelf::new(10, 100);
        for position in 5..=9 {
            shelf.given_back(position, 7);
        }
        for position in 6..=9 {
            assert!(!offer(&mut shelf, position, 7));
        }
        assert!(offer(&mut shelf, 5, 7));
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
        /// broker that always has messages on their way, and now and then sends another first
        /// than the first that it was asked for; the shelf never grows.
        #[test]
        fn every_key_comes_whole_and_in_order(
            keys in proptest::collection::vec(0_u64..4, 1..120),
            takes in proptest::collection::vec(0_usize..4, 1..60),
            overtakers in proptest::collection::vec(0_usize..9, 1..60),
        ) {
            let key_of = |p: u32| keys[p as usize];
            let mut shelf: Shelf<u32, u32> = Shelf::new(5, 1_000);
            // The broker replays in topic order, before anything new; nine are on their way.
            let mut fresh: VecDeque<u32> = (0..u32::try_from(keys.len()).unwrap()).collect();
            let mut replay = std::collections::BTreeSet::new();
            let mut wire = VecDeque::new();
            let mut taken = Vec::new();
            let mut takes = takes.into_iter().chain([1]).cycle();
            let mut overtakers = overtakers.into_iter().chain([0]).cycle();
            let mut overtaken = std::collections::BTreeSet::<u32>::new();
            for _ in 0..10_000 {
                while wire.len() < 9 {
                    let ahead = replay.iter().nth(overtakers.next().unwrap()).copied();
                    let ahead = ahead.filter(|p| replay.range(..p).all(|o| !overtaken.contains(o)));
                    overtaken.extend(ahead.iter().flat_map(|p| replay.range(..p)));
                    let next = ahead.filter(|p| replay.remove(p));
                    let next = next.or_else(|| replay.pop_first()).or_else(|| fresh.pop_front());
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
