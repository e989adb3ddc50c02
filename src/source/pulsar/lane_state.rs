//! What a lane decides: which message is handed on, which entry is acknowledged, asked for
//! again or parked. Pure: the lane carries out the [`Act`]s.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;

use super::shelf::{Offer, Shelf};
use crate::source::entries::{Arrival, Entries, Settled};
use crate::source::{Delivery, DeliveryId, Refusal, Settlement};

/// An entry's place in its topic: ordered as it was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The ledger's id: later ledgers have larger ones.
    pub ledger: u64,
    /// The entry's number in it.
    pub entry: u64,
}

/// A message as it was published: what the dead-letter topic must show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Original {
    /// Its bytes.
    pub payload: Bytes,
    /// The key that its order is kept by.
    pub key: Option<String>,
    /// Whether the key is bytes, written in base64.
    pub is_key_base64: bool,
    /// What order is kept by in the key's place, if there is one.
    pub ordering_key: Option<Vec<u8>>,
    /// What its producer says besides.
    pub properties: Vec<(String, String)>,
    /// When it happened, by its producer, in milliseconds since 1970.
    pub event_time_millis: Option<u64>,
    /// When it was published, in milliseconds since 1970.
    pub publish_time_millis: u64,
}

/// A message that has arrived.
#[derive(Clone, Debug)]
pub struct Message {
    /// Where its entry is.
    pub position: Position,
    /// Its number within its entry.
    pub index: u32,
    /// How many messages its entry has; none if the producer does not batch.
    pub batch_size: Option<u32>,
    /// What it says.
    pub original: Original,
}

impl Message {
    /// What order is kept by. A batch may mix keys, and comes and goes as a whole: all batches
    /// are one key.
    fn order_key(&self) -> u64 {
        if self.batch_size.is_some() {
            return 0;
        }
        let mut hasher = DefaultHasher::new();
        match &self.original.ordering_key {
            Some(key) => key.hash(&mut hasher),
            None => self.original.key.hash(&mut hasher),
        }
        hasher.finish()
    }
}

/// A message on its way to the dead-letter topic.
#[derive(Clone, Debug)]
pub struct ParkJob {
    /// What to tell of it by, once it is there.
    pub id: DeliveryId,
    /// The topic or partition that it came from.
    pub topic: Arc<str>,
    /// Where its entry is.
    pub position: Position,
    /// What it says.
    pub original: Original,
    /// Why it is refused.
    pub refusal: Refusal,
}

/// What the lane is to do.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Ack(Position),
    Nack(Position),
    Park(Box<ParkJob>),
}

struct Held {
    position: Position,
    order_key: u64,
    /// None while it is put off: tens of thousands may be, and they come again.
    original: Option<Box<Original>>,
}

/// One lane's state; it outlives the lane's connections.
pub(super) struct LaneState {
    topic: Arc<str>,
    entries: Entries<Position>,
    held: HashMap<DeliveryId, Held>,
    shelf: Shelf<Position, Delivery>,
    /// The message that was turned away last.
    turned_away: Option<(Position, u32)>,
}

impl LaneState {
    pub(super) fn new(lane: u32, topic: Arc<str>, max_messages: usize, max_bytes: usize) -> Self {
        Self {
            topic,
            entries: Entries::new(lane),
            held: HashMap::new(),
            shelf: Shelf::new(max_messages, max_bytes),
            turned_away: None,
        }
    }

    /// Whether nothing waits to be handed on.
    pub(super) fn is_empty(&self) -> bool {
        self.shelf.is_empty()
    }

    /// Messages that are with the worker and not settled.
    pub(super) fn unsettled(&self) -> usize {
        self.entries.held()
    }

    /// The next message to hand on, and what to ask the broker for now that it is gone.
    pub(super) fn take(&mut self) -> (Option<Delivery>, Vec<Act>) {
        let delivery = self.shelf.take();
        (delivery, self.ask())
    }

    pub(super) fn arrive(&mut self, message: Message) -> Vec<Act> {
        let order_key = message.order_key();
        let Message { position, index, batch_size, original } = message;
        let size = batch_size.unwrap_or(1);
        // The rest of a batch is on its way when its first message is turned away: it is not what
        // the broker was asked for since, which begins with that message.
        let is_rest = self.turned_away.is_some_and(|(of, before)| of == position && before < index);
        self.turned_away = is_rest.then_some((position, index));
        if self.entries.is_wanted(position, index)
            && (is_rest
                || self.shelf.offer(position, order_key, original.payload.len())
                    == Offer::TurnedAway)
        {
            self.turned_away = Some((position, index));
            return self.ask();
        }
        match self.entries.arrive(position, index, size) {
            Arrival::New(id) => {
                let payload = original.payload.clone();
                let bytes = payload.len();
                let original = Some(Box::new(original));
                self.held.insert(id, Held { position, order_key, original });
                self.shelf.put(Delivery { id, payload }, order_key, bytes);
                Vec::new()
            }
            Arrival::Known => Vec::new(),
            Arrival::AckAgain => vec![Act::Ack(position)],
        }
    }

    pub(super) fn settle(&mut self, settlement: Settlement) -> Vec<Act> {
        match settlement {
            Settlement::Done(id) => {
                self.held.remove(&id);
                self.complete(id)
            }
            // It stays held until it is on the dead-letter topic.
            Settlement::Park(id, refusal) => match self.held.remove(&id) {
                Some(Held { position, original, .. }) => {
                    let topic = Arc::clone(&self.topic);
                    let original = original.map(|original| *original).unwrap_or_default();
                    vec![Act::Park(Box::new(ParkJob { id, topic, position, original, refusal }))]
                }
                None => Vec::new(),
            },
            Settlement::Defer(id) => {
                if let Some(held) = self.held.get_mut(&id) {
                    held.original = None;
                }
                Vec::new()
            }
            Settlement::Redeliver(ids) => self.redeliver(ids),
        }
    }

    /// A parked message is on the dead-letter topic.
    pub(super) fn parked(&mut self, id: DeliveryId) -> Vec<Act> {
        self.complete(id)
    }

    /// The broker has answered on the connection that carried the acknowledgements.
    pub(super) fn confirm_acks(&mut self) {
        self.entries.confirm_acks();
    }

    /// There is a new consumer: what was turned away or given back comes by itself.
    pub(super) fn reconnected(&mut self) {
        self.shelf.reconnected();
    }

    fn complete(&mut self, id: DeliveryId) -> Vec<Act> {
        match self.entries.settle(id) {
            Settled::Complete(position) => vec![Act::Ack(position)],
            Settled::Waiting | Settled::Unknown => Vec::new(),
        }
    }

    /// Gives messages back, and with them what waits of their keys: it must not be handed on
    /// before them. The broker is asked in the order of the topic: it throws away what it has
    /// read, and reads again, when an entry older than those is asked for (apache/pulsar#12885).
    fn redeliver(&mut self, ids: Vec<DeliveryId>) -> Vec<Act> {
        let mut asked: BTreeMap<_, _> =
            ids.into_iter().filter_map(|id| self.give_back(id)).collect();
        let keys: HashSet<u64> = asked.values().copied().collect();
        for key in keys {
            let waiting = self.shelf.withdraw(key);
            asked.extend(waiting.into_iter().filter_map(|delivery| self.give_back(delivery.id)));
        }
        for (position, key) in &asked {
            self.shelf.given_back(*position, *key);
        }
        let mut positions: Vec<Position> =
            asked.into_keys().chain(self.shelf.ask_again()).collect();
        positions.sort_unstable();
        positions.into_iter().map(Act::Nack).collect()
    }

    /// Where the message's entry is, and what its order is kept by.
    fn give_back(&mut self, id: DeliveryId) -> Option<(Position, u64)> {
        let Held { position, order_key, .. } = self.held.remove(&id)?;
        self.entries.give_back(id)?;
        Some((position, order_key))
    }

    fn ask(&mut self) -> Vec<Act> {
        self.shelf.ask_again().into_iter().map(Act::Nack).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> LaneState {
        LaneState::new(2, "persistent://a/b/c-partition-2".into(), 4, 1_000)
    }

    fn message(entry: u64, index: u32, batch_size: Option<u32>, key: &str) -> Message {
        Message {
            position: Position { ledger: 1, entry },
            index,
            batch_size,
            original: Original {
                payload: format!("{entry}.{index}").into(),
                key: Some(key.into()),
                properties: vec![("camera".into(), key.into())],
                ..Original::default()
            },
        }
    }

    fn shown(acts: &[Act]) -> Vec<String> {
        let show = |act: &Act| match act {
            Act::Ack(position) => format!("ack {}", position.entry),
            Act::Nack(position) => format!("nack {}", position.entry),
            Act::Park(job) => format!("park {}", job.position.entry),
        };
        acts.iter().map(show).collect()
    }

    fn taken(state: &mut LaneState) -> Vec<Delivery> {
        std::iter::from_fn(|| state.take().0).collect()
    }

    fn texts(deliveries: &[Delivery]) -> Vec<String> {
        deliveries.iter().map(|d| String::from_utf8(d.payload.to_vec()).unwrap()).collect()
    }

    fn refusal() -> Refusal {
        Refusal { reason: "bad", detail: "not a frame".into() }
    }

    #[test]
    fn batch_with_one_parked_message_is_acked_when_that_is_parked_and_the_rest_done() {
        let mut state = state();
        for index in 0..3 {
            assert!(state.arrive(message(7, index, Some(3), "k")).is_empty());
        }
        let got = taken(&mut state);
        assert_eq!(shown(&state.settle(Settlement::Park(got[1].id, refusal()))), ["park 7"]);
        assert!(state.settle(Settlement::Done(got[0].id)).is_empty());
        assert!(state.settle(Settlement::Done(got[2].id)).is_empty());
        assert_eq!(state.unsettled(), 1);
        assert_eq!(shown(&state.parked(got[1].id)), ["ack 7"]);
        assert!(state.parked(got[1].id).is_empty());
    }

    #[test]
    fn parked_message_keeps_payload_and_properties() {
        let mut state = state();
        state.arrive(message(7, 0, None, "k"));
        let got = taken(&mut state);
        let acts = state.settle(Settlement::Park(got[0].id, refusal()));
        let [Act::Park(job)] = acts.as_slice() else { panic!("{acts:?}") };
        assert_eq!(job.original, message(7, 0, None, "k").original);
        assert!(job.topic.ends_with("partition-2"));
    }

    #[test]
    fn giving_back_takes_what_waits_of_the_same_key_along() {
        let mut state = state();
        for (entry, key) in [(1, "a"), (2, "b"), (3, "a")] {
            state.arrive(message(entry, 0, None, key));
        }
        let (first, _) = state.take();
        let acts = state.settle(Settlement::Redeliver(vec![first.unwrap().id]));
        assert_eq!(shown(&acts), ["nack 1", "nack 3"]);
        // What was on its way already is sent back once, behind those.
        assert_eq!(shown(&state.arrive(message(4, 0, None, "a"))), ["nack 4"]);
        for entry in [1, 3, 4] {
            assert!(state.arrive(message(entry, 0, None, "a")).is_empty());
        }
        assert_eq!(texts(&taken(&mut state)), ["2.0", "1.0", "3.0", "4.0"]);
    }

    #[test]
    fn what_is_given_back_is_asked_for_in_the_order_of_the_topic() {
        let mut state = state();
        for entry in 1..=4 {
            state.arrive(message(entry, 0, None, &format!("k{entry}")));
        }
        let got = taken(&mut state);
        let ids = [3, 0, 2, 1].map(|n: usize| got[n].id);
        let acts = state.settle(Settlement::Redeliver(ids.to_vec()));
        assert_eq!(shown(&acts), ["nack 1", "nack 2", "nack 3", "nack 4"]);
    }

    #[test]
    fn given_back_message_of_a_batch_comes_again_alone() {
        let mut state = state();
        for index in 0..3 {
            state.arrive(message(7, index, Some(3), "k"));
        }
        let got = taken(&mut state);
        let acts = state.settle(Settlement::Redeliver(vec![got[1].id, got[2].id]));
        assert_eq!(shown(&acts), ["nack 7"], "one entry is asked for once");
        for index in 0..3 {
            state.arrive(message(7, index, Some(3), "k"));
        }
        let again = taken(&mut state);
        assert_eq!(texts(&again), ["7.1", "7.2"]);
        for id in [got[0].id, again[0].id] {
            assert!(state.settle(Settlement::Done(id)).is_empty());
        }
        assert_eq!(shown(&state.settle(Settlement::Done(again[1].id))), ["ack 7"]);
    }

    #[test]
    fn rest_of_a_batch_does_not_overtake_its_first_message_that_was_turned_away() {
        let mut state = state();
        state.arrive(message(1, 0, Some(1), "k"));
        state.arrive(message(2, 1, Some(3), "k"));
        let got = taken(&mut state);
        assert_eq!(shown(&state.settle(Settlement::Redeliver(vec![got[0].id]))), ["nack 1"]);
        assert_eq!(shown(&state.arrive(message(2, 0, Some(3), "k"))), ["nack 2"]);
        for index in 1..3 {
            assert!(state.arrive(message(2, index, Some(3), "k")).is_empty());
        }
        assert!(taken(&mut state).is_empty(), "the older one is still to come");
        state.arrive(message(1, 0, Some(1), "k"));
        for index in 0..3 {
            state.arrive(message(2, index, Some(3), "k"));
        }
        assert_eq!(texts(&taken(&mut state)), ["1.0", "2.0", "2.2"]);
    }

    #[test]
    fn batch_larger_than_the_shelf_is_delivered_in_parts() {
        let mut state = state();
        let mut got = Vec::new();
        for _ in 0..5 {
            for index in 0..10 {
                state.arrive(message(7, index, Some(10), "k"));
            }
            got.extend(taken(&mut state));
        }
        let want: Vec<_> = (0..10).map(|index| format!("7.{index}")).collect();
        assert_eq!(texts(&got), want);
    }

    #[test]
    fn new_connection_delivers_only_what_is_not_held_and_acks_what_was_acked() {
        let mut state = state();
        for entry in 1..=3 {
            state.arrive(message(entry, 0, None, "k"));
        }
        let got = taken(&mut state);
        state.settle(Settlement::Done(got[0].id));
        state.settle(Settlement::Redeliver(vec![got[2].id]));
        state.reconnected();
        assert_eq!(shown(&state.arrive(message(1, 0, None, "k"))), ["ack 1"]);
        assert!(state.arrive(message(2, 0, None, "k")).is_empty());
        assert!(state.arrive(message(3, 0, None, "k")).is_empty());
        assert_eq!(texts(&taken(&mut state)), ["3.0"]);
    }
}
