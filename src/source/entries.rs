//! What a lane knows of its entries: which messages are with us, which are settled, and which
//! entry may be acknowledged now.
//!
//! Pure. A broker acknowledges entries, not messages: a batching producer puts many messages
//! into one entry, and acknowledging one of them acknowledges them all. So an entry is
//! acknowledged when its last message is settled, and never before. The tracker outlives the
//! connection: what is held stays held, whatever the broker sends again meanwhile.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::Hash;

use super::DeliveryId;

/// Entries of which nothing is held, but some messages are settled, that are remembered at
/// most: they belong to a batch that was given back in part and has not come again, and may
/// have gone to another consumer for good.
const MAX_IDLE_ENTRIES: usize = 16_384;

/// Acknowledged entries that are remembered at most, per generation.
const MAX_ACKED_ENTRIES: usize = 65_536;

/// What to do with a message that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Hand it on under this id: it is held from now on.
    New(DeliveryId),
    /// It is with us already, or settled while others of its entry are not: drop it.
    Known,
    /// Its whole entry was acknowledged, and the acknowledgement may have been lost: drop it
    /// and acknowledge the entry again.
    AckAgain,
}

/// What settling a message led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled<P> {
    /// It was not held: settled before, or given back.
    Unknown,
    /// Others of its entry are still open.
    Waiting,
    /// It was its entry's last one: acknowledge the entry at this position.
    Complete(P),
}

#[derive(Debug)]
struct Entry<P> {
    position: P,
    held: Bits,
    done: Bits,
    held_count: u32,
    /// Messages that are not settled, arrived or not.
    open_count: u32,
}

/// The entries of one lane; `P` is the broker's name for one.
#[derive(Debug)]
pub(crate) struct Entries<P> {
    lane: u32,
    next_number: u64,
    numbers: HashMap<P, u64>,
    entries: BTreeMap<u64, Entry<P>>,
    held: usize,
    /// Numbers of entries that have settled messages and held none, oldest first.
    idle: BTreeSet<u64>,
    /// Acknowledged since the broker last answered, and in the period before that.
    acked: HashSet<P>,
    acked_before: HashSet<P>,
}

impl<P: Copy + Eq + Hash> Entries<P> {
    /// No entries yet, for the lane of this number.
    pub(crate) fn new(lane: u32) -> Self {
        Self {
            lane,
            next_number: 0,
            numbers: HashMap::new(),
            entries: BTreeMap::new(),
            held: 0,
            idle: BTreeSet::new(),
            acked: HashSet::new(),
            acked_before: HashSet::new(),
        }
    }

    /// Messages that are with us and not settled.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// What [`Entries::arrive`] would say without holding anything: for a message that may
    /// have to be turned away.
    pub(crate) fn is_wanted(&self, position: P, index: u32) -> bool {
        if self.was_acked(position) {
            return false;
        }
        self.numbers
            .get(&position)
            .and_then(|number| self.entries.get(number))
            .is_none_or(|entry| !entry.held.get(index) && !entry.done.get(index))
    }

    /// A message has come: the `index`th of the `size` messages of the entry at `position`.
    pub(crate) fn arrive(&mut self, position: P, index: u32, size: u32) -> Arrival {
        if self.was_acked(position) {
            return Arrival::AckAgain;
        }
        let number = *self.numbers.entry(position).or_insert_with(|| {
            self.next_number += 1;
            self.next_number
        });
        let entry = self.entries.entry(number).or_insert_with(|| Entry {
            position,
            held: Bits::default(),
            done: Bits::default(),
            held_count: 0,
            open_count: size.max(index.saturating_add(1)),
        });
        if entry.held.get(index) || entry.done.get(index) {
            return Arrival::Known;
        }
        entry.held.set(index);
        entry.held_count += 1;
        self.held += 1;
        self.idle.remove(&number);
        Arrival::New(DeliveryId { lane: self.lane, index, entry: number })
    }

    /// A held message is durable or parked.
    pub(crate) fn settle(&mut self, id: DeliveryId) -> Settled<P> {
        let Some(entry) = self.entries.get_mut(&id.entry) else {
            return Settled::Unknown;
        };
        if !entry.held.clear(id.index) {
            return Settled::Unknown;
        }
        entry.done.set(id.index);
        entry.held_count -= 1;
        entry.open_count = entry.open_count.saturating_sub(1);
        self.held -= 1;
        let position = entry.position;
        if entry.open_count == 0 {
            self.forget(id.entry);
            self.remember_acked(position);
            return Settled::Complete(position);
        }
        if entry.held_count == 0 {
            self.rest(id.entry);
        }
        Settled::Waiting
    }

    /// Held messages that are to be delivered again: forgets that they came, and says whether
    /// it held the message. Its entry comes again whole; what is held or settled of it is then
    /// dropped by [`Entries::arrive`].
    pub(crate) fn give_back(&mut self, id: DeliveryId) -> Option<P> {
        let entry = self.entries.get_mut(&id.entry)?;
        if !entry.held.clear(id.index) {
            return None;
        }
        entry.held_count -= 1;
        self.held -= 1;
        let position = entry.position;
        if entry.held_count == 0 {
            if entry.done.is_empty() {
                self.forget(id.entry);
            } else {
                self.rest(id.entry);
            }
        }
        Some(position)
    }

    /// The broker has answered a question asked after the latest acknowledgements: those of
    /// the period before are certain to have arrived, and may be forgotten. Were they
    /// remembered for ever, a subscription that is rewound on purpose would deliver nothing.
    pub(crate) fn confirm_acks(&mut self) {
        self.acked_before = std::mem::take(&mut self.acked);
    }

    fn was_acked(&self, position: P) -> bool {
        self.acked.contains(&position) || self.acked_before.contains(&position)
    }

    fn remember_acked(&mut self, position: P) {
        if self.acked.len() >= MAX_ACKED_ENTRIES {
            self.confirm_acks();
        }
        self.acked.insert(position);
    }

    fn rest(&mut self, number: u64) {
        self.idle.insert(number);
        if self.idle.len() > MAX_IDLE_ENTRIES
            && let Some(oldest) = self.idle.first().copied()
        {
            self.forget(oldest);
        }
    }

    fn forget(&mut self, number: u64) {
        self.idle.remove(&number);
        if let Some(entry) = self.entries.remove(&number) {
            self.numbers.remove(&entry.position);
        }
    }
}

/// A set of small numbers: one word for all but large batches.
#[derive(Debug, Default)]
struct Bits {
    first: u64,
    rest: Vec<u64>,
}

impl Bits {
    fn place(index: u32) -> (usize, u64) {
        ((index / 64) as usize, 1 << (index % 64))
    }

    fn word(&mut self, at: usize) -> Option<&mut u64> {
        match at.checked_sub(1) {
            None => Some(&mut self.first),
            Some(at) => {
                if self.rest.len() <= at {
                    self.rest.resize(at + 1, 0);
                }
                self.rest.get_mut(at)
            }
        }
    }

    fn get(&self, index: u32) -> bool {
        let (at, bit) = Self::place(index);
        let word = match at.checked_sub(1) {
            None => self.first,
            Some(at) => self.rest.get(at).copied().unwrap_or(0),
        };
        word & bit != 0
    }

    fn set(&mut self, index: u32) {
        let (at, bit) = Self::place(index);
        if let Some(word) = self.word(at) {
            *word |= bit;
        }
    }

    /// Whether it was set.
    fn clear(&mut self, index: u32) -> bool {
        let was = self.get(index);
        let (at, bit) = Self::place(index);
        if was && let Some(word) = self.word(at) {
            *word &= !bit;
        }
        was
    }

    fn is_empty(&self) -> bool {
        self.first == 0 && self.rest.iter().all(|&word| word == 0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn new_id(entries: &mut Entries<u32>, position: u32, index: u32, size: u32) -> DeliveryId {
        match entries.arrive(position, index, size) {
            Arrival::New(id) => id,
            other => panic!("entry {position} message {index}: {other:?}"),
        }
    }

    #[test]
    fn entry_is_acked_when_its_last_message_is_settled() {
        let mut entries = Entries::new(3);
        let ids: Vec<_> = (0..70).map(|index| new_id(&mut entries, 9, index, 70)).collect();
        for id in &ids[..69] {
            assert_eq!(entries.settle(*id), Settled::Waiting);
        }
        assert_eq!(entries.settle(ids[69]), Settled::Complete(9));
        assert_eq!(entries.held(), 0);
        assert_eq!(entries.settle(ids[69]), Settled::Unknown);
    }

    #[test]
    fn message_that_has_not_arrived_yet_keeps_its_entry_open() {
        let mut entries = Entries::new(0);
        let first = new_id(&mut entries, 1, 0, 2);
        assert_eq!(entries.settle(first), Settled::Waiting);
        let second = new_id(&mut entries, 1, 1, 2);
        assert_eq!(entries.settle(second), Settled::Complete(1));
    }

    #[test]
    fn what_is_held_or_settled_is_not_delivered_twice() {
        let mut entries = Entries::new(0);
        let ids: Vec<_> = (0..3).map(|index| new_id(&mut entries, 5, index, 3)).collect();
        assert_eq!(entries.settle(ids[0]), Settled::Waiting);
        assert_eq!(entries.give_back(ids[1]), Some(5));
        assert_eq!(entries.arrive(5, 0, 3), Arrival::Known);
        assert_eq!(entries.arrive(5, 1, 3), Arrival::New(ids[1]));
        assert_eq!(entries.arrive(5, 2, 3), Arrival::Known);
    }

    #[test]
    fn acked_entry_that_comes_again_is_acked_again_until_the_broker_has_answered_twice() {
        let mut entries = Entries::new(0);
        let id = new_id(&mut entries, 5, 0, 1);
        assert_eq!(entries.settle(id), Settled::Complete(5));
        assert_eq!(entries.arrive(5, 0, 1), Arrival::AckAgain);
        entries.confirm_acks();
        assert_eq!(entries.arrive(5, 0, 1), Arrival::AckAgain);
        entries.confirm_acks();
        assert!(matches!(entries.arrive(5, 0, 1), Arrival::New(_)));
    }

    #[test]
    fn batches_given_back_and_never_seen_again_are_forgotten_in_the_end() {
        let mut entries = Entries::new(0);
        for position in 0..20_000 {
            let done = new_id(&mut entries, position, 0, 2);
            let back = new_id(&mut entries, position, 1, 2);
            assert_eq!(entries.settle(done), Settled::Waiting);
            assert_eq!(entries.give_back(back), Some(position));
        }
        assert_eq!(entries.entries.len(), MAX_IDLE_ENTRIES);
        assert_eq!(entries.numbers.len(), MAX_IDLE_ENTRIES);
    }

    #[derive(Clone, Copy, PartialEq, Debug)]
    enum State {
        Out,
        Held(DeliveryId),
        Done,
    }

    proptest! {
        /// Against the plainest model: one state per message, an entry acked when all are done.
        #[test]
        fn tracker_agrees_with_a_table(
            steps in proptest::collection::vec((0_u8..3, 0_usize..4, 0_usize..3), 1..200),
        ) {
            let sizes = [1_usize, 2, 3, 3];
            let mut table: Vec<Vec<State>> = sizes.map(|size| vec![State::Out; size]).to_vec();
            let mut acked = [false; 4];
            let mut entries = Entries::new(0);
            for (verb, at, index) in steps {
                let size = sizes[at];
                let index = index % size;
                let (position, wire) = (u32::try_from(at).unwrap(), u32::try_from(index).unwrap());
                let wanted = entries.is_wanted(position, wire);
                match (verb, table[at][index]) {
                    (0, state) => {
                        let got = entries.arrive(position, wire, u32::try_from(size).unwrap());
                        match state {
                            _ if acked[at] => prop_assert_eq!(got, Arrival::AckAgain),
                            State::Out => {
                                prop_assert!(wanted);
                                let Arrival::New(id) = got else { panic!("{got:?}") };
                                table[at][index] = State::Held(id);
                            }
                            _ => {
                                prop_assert!(!wanted);
                                prop_assert_eq!(got, Arrival::Known);
                            }
                        }
                    }
                    (1, State::Held(id)) => {
                        table[at][index] = State::Done;
                        let all = table[at].iter().all(|state| *state == State::Done);
                        acked[at] |= all;
                        let want =
                            if all { Settled::Complete(position) } else { Settled::Waiting };
                        prop_assert_eq!(entries.settle(id), want);
                    }
                    (2, State::Held(id)) => {
                        table[at][index] = State::Out;
                        prop_assert_eq!(entries.give_back(id), Some(position));
                        prop_assert_eq!(entries.settle(id), Settled::Unknown);
                    }
                    _ => {}
                }
                let held = table.iter().flatten().filter(|s| matches!(s, State::Held(_))).count();
                prop_assert_eq!(entries.held(), held);
            }
        }
    }
}
