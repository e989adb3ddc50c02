//! A source in memory, with a broker's ways: for the demo and for tests.
//!
//! A [`MemoryFeed`] is the broker's half and outlives any [`MemorySource`] opened on it: what a
//! source has not settled when it is dropped comes again to the next one, in order, as it would
//! after a worker's death. Nothing here touches a network or a disk.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{Notify, mpsc};

use super::entries::{Arrival, Entries, Settled};
use super::{Delivery, DeliveryId, FrameSource, Refusal, Settlement, Settler, SourceHealth};

/// What was put aside with a reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// The message as it came.
    pub payload: Bytes,
    /// Why it was refused.
    pub refusal: Refusal,
}

#[derive(Debug)]
struct Stored {
    position: u64,
    messages: Vec<Bytes>,
}

#[derive(Debug, Default)]
struct Queue {
    /// Published and not acknowledged, oldest first.
    entries: VecDeque<Stored>,
    /// Messages to deliver: entry position and index, in order.
    due: VecDeque<(u64, usize)>,
    next_position: u64,
    parked: Vec<Parked>,
    acked: u64,
    closed: bool,
    /// Counts the sources opened so far: an older one is deaf.
    reader: u64,
}

impl Queue {
    fn entry(&self, position: u64) -> Option<&Stored> {
        let at = self.entries.binary_search_by_key(&position, |stored| stored.position).ok()?;
        self.entries.get(at)
    }

    fn acknowledge(&mut self, position: u64) {
        if let Ok(at) = self.entries.binary_search_by_key(&position, |stored| stored.position) {
            self.entries.remove(at);
            self.acked += 1;
        }
    }
}

/// The broker's half: publishes, and lets a test look. Cheap to clone. The feed ends when
/// [`MemoryFeed::close`] is called, not when the last clone is dropped.
#[derive(Clone, Debug, Default)]
pub struct MemoryFeed(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Notify,
}

impl MemoryFeed {
    /// An open feed with nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Publishes one message as an entry of its own. After [`MemoryFeed::close`] it is dropped.
    pub fn publish(&self, payload: impl Into<Bytes>) {
        self.publish_entry(vec![payload.into()]);
    }

    /// Publishes several messages as one entry, as a batching producer does: acknowledged only
    /// when all of them are settled. An empty entry is nothing.
    pub fn publish_entry(&self, messages: Vec<Bytes>) {
        let mut queue = self.lock();
        if queue.closed || messages.is_empty() {
            return;
        }
        let position = queue.next_position;
        queue.next_position += 1;
        queue.due.extend((0..messages.len()).map(|index| (position, index)));
        queue.entries.push_back(Stored { position, messages });
        drop(queue);
        self.0.changed.notify_waiters();
    }

    /// No more will be published: the source ends once everything is settled.
    pub fn close(&self) {
        self.lock().closed = true;
        self.0.changed.notify_waiters();
    }

    /// Opens a source on the feed. Everything that is not acknowledged is delivered to it, from
    /// the oldest entry on; a source opened earlier gets nothing more and can settle nothing.
    pub fn open(&self) -> MemorySource {
        let mut queue = self.lock();
        queue.reader += 1;
        let reader = queue.reader;
        let due: VecDeque<_> = queue
            .entries
            .iter()
            .flat_map(|stored| (0..stored.messages.len()).map(|index| (stored.position, index)))
            .collect();
        queue.due = due;
        drop(queue);
        self.0.changed.notify_waiters();
        let (settler, settlements) = Settler::channel();
        MemorySource {
            feed: self.clone(),
            reader,
            entries: Entries::new(0),
            payloads: HashMap::new(),
            settler,
            settlements,
        }
    }

    /// Entries that are published and not acknowledged.
    pub fn unsettled(&self) -> usize {
        self.lock().entries.len()
    }

    /// Entries that were acknowledged so far.
    pub fn acked(&self) -> u64 {
        self.lock().acked
    }

    /// What was put aside so far, in the order it was refused.
    pub fn parked(&self) -> Vec<Parked> {
        self.lock().parked.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // A panic elsewhere leaves the queue whole: every change is one statement.
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The worker's half: see [`MemoryFeed::open`].
#[derive(Debug)]
pub struct MemorySource {
    feed: MemoryFeed,
    reader: u64,
    entries: Entries<u64>,
    payloads: HashMap<DeliveryId, Bytes>,
    settler: Settler,
    settlements: mpsc::UnboundedReceiver<Settlement>,
}

impl MemorySource {
    fn apply(&mut self, settlement: Settlement) {
        let feed = self.feed.clone();
        let mut queue = feed.lock();
        if queue.reader != self.reader {
            return;
        }
        match settlement {
            Settlement::Done(id) => self.settle(&mut queue, id),
            Settlement::Park(id, refusal) => {
                if let Some(payload) = self.payloads.get(&id).cloned() {
                    queue.parked.push(Parked { payload, refusal });
                }
                self.settle(&mut queue, id);
            }
            Settlement::Defer(id) => {
                self.payloads.remove(&id);
            }
            Settlement::Redeliver(ids) => {
                let mut positions = Vec::new();
                let mut known = HashSet::new();
                for id in ids {
                    self.payloads.remove(&id);
                    if let Some(position) = self.entries.give_back(id)
                        && known.insert(position)
                    {
                        positions.push(position);
                    }
                }
                // The whole entry comes again, before anything that was never delivered.
                let again: Vec<_> = positions
                    .into_iter()
                    .filter_map(|position| queue.entry(position))
                    .flat_map(|stored| {
                        (0..stored.messages.len()).map(|index| (stored.position, index))
                    })
                    .collect();
                for message in again.into_iter().rev() {
                    queue.due.push_front(message);
                }
            }
        }
    }

    fn settle(&mut self, queue: &mut Queue, id: DeliveryId) {
        self.payloads.remove(&id);
        if let Settled::Complete(position) = self.entries.settle(id) {
            queue.acknowledge(position);
        }
    }

    /// The next message that is due, if there is one.
    fn take(&mut self) -> Taken {
        let feed = self.feed.clone();
        let mut queue = feed.lock();
        if queue.reader != self.reader {
            return Taken::Ended;
        }
        while let Some((position, at)) = queue.due.pop_front() {
            let Some(stored) = queue.entry(position) else { continue };
            let (Some(payload), Ok(index), Ok(size)) = (
                stored.messages.get(at).cloned(),
                u32::try_from(at),
                u32::try_from(stored.messages.len()),
            ) else {
                continue;
            };
            if let Arrival::New(id) = self.entries.arrive(position, index, size) {
                self.payloads.insert(id, payload.clone());
                return Taken::Delivery(Delivery { id, payload });
            }
        }
        if queue.closed && queue.entries.is_empty() { Taken::Ended } else { Taken::Nothing }
    }
}

enum Taken {
    Delivery(Delivery),
    Nothing,
    Ended,
}

#[async_trait]
impl FrameSource for MemorySource {
    async fn next(&mut self) -> Option<Delivery> {
        loop {
            while let Ok(settlement) = self.settlements.try_recv() {
                self.apply(settlement);
            }
            let feed = self.feed.clone();
            let mut changed = std::pin::pin!(feed.0.changed.notified());
            // Listen before looking: what is published in between is not missed.
            changed.as_mut().enable();
            match self.take() {
                Taken::Delivery(delivery) => return Some(delivery),
                Taken::Ended => return None,
                Taken::Nothing => {}
            }
            tokio::select! {
                () = changed => {}
                settlement = self.settlements.recv() => {
                    if let Some(settlement) = settlement {
                        self.apply(settlement);
                    }
                }
            }
        }
    }

    fn settler(&self) -> Settler {
        self.settler.clone()
    }

    fn health(&self) -> SourceHealth {
        SourceHealth { lanes: 1, lanes_connected: 1, rebuilds: 0, trouble: None }
    }

    async fn close(mut self: Box<Self>) {
        while let Ok(settlement) = self.settlements.try_recv() {
            self.apply(settlement);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn take(source: &mut MemorySource, count: usize) -> Vec<Delivery> {
        let mut taken = Vec::new();
        for _ in 0..count {
            taken.push(source.next().await.expect("the feed is open"));
        }
        taken
    }

    fn texts(deliveries: &[Delivery]) -> Vec<&str> {
        deliveries.iter().map(|d| std::str::from_utf8(&d.payload).unwrap()).collect()
    }

    fn refusal() -> Refusal {
        Refusal { reason: "bad", detail: "not a frame".into() }
    }

    #[tokio::test]
    async fn entry_of_several_messages_is_acked_when_all_are_settled() {
        let feed = MemoryFeed::new();
        feed.publish_entry(vec!["a".into(), "b".into()]);
        let mut source = feed.open();
        let got = take(&mut source, 2).await;
        let settler = source.settler();
        settler.settle(Settlement::Park(got[0].id, refusal()));
        feed.publish("c");
        take(&mut source, 1).await;
        assert_eq!((feed.unsettled(), feed.acked()), (2, 0));
        assert_eq!(feed.parked(), [Parked { payload: "a".into(), refusal: refusal() }]);
        settler.settle(Settlement::Done(got[1].id));
        Box::new(source).close().await;
        assert_eq!((feed.unsettled(), feed.acked()), (1, 1));
    }

    #[tokio::test]
    async fn redelivered_come_again_in_order_and_before_the_new() {
        let feed = MemoryFeed::new();
        for text in ["a", "b", "c", "d"] {
            feed.publish(text);
        }
        let mut source = feed.open();
        let got = take(&mut source, 3).await;
        source.settler().settle(Settlement::Redeliver(vec![got[1].id, got[2].id]));
        assert_eq!(texts(&take(&mut source, 3).await), ["b", "c", "d"]);
    }

    #[tokio::test]
    async fn held_message_of_an_entry_that_comes_again_is_not_delivered_twice() {
        let feed = MemoryFeed::new();
        feed.publish_entry(vec!["a".into(), "b".into(), "c".into()]);
        feed.publish("d");
        let mut source = feed.open();
        let got = take(&mut source, 3).await;
        source.settler().settle(Settlement::Redeliver(vec![got[1].id]));
        assert_eq!(texts(&take(&mut source, 2).await), ["b", "d"]);
    }

    #[tokio::test]
    async fn next_source_gets_all_that_was_not_acked_and_the_old_one_is_deaf() {
        let feed = MemoryFeed::new();
        for text in ["a", "b", "c"] {
            feed.publish(text);
        }
        let mut first = feed.open();
        let got = take(&mut first, 3).await;
        first.settler().settle(Settlement::Done(got[1].id));
        first.settler().settle(Settlement::Redeliver(vec![]));
        feed.publish("d");
        assert_eq!(texts(&take(&mut first, 1).await), ["d"]);
        let mut second = feed.open();
        first.settler().settle(Settlement::Done(got[0].id));
        assert!(first.next().await.is_none());
        assert_eq!(texts(&take(&mut second, 3).await), ["a", "c", "d"]);
    }

    #[tokio::test]
    async fn closed_feed_ends_the_source_once_all_is_settled() {
        let feed = MemoryFeed::new();
        feed.publish("a");
        feed.close();
        feed.publish("too late");
        let mut source = feed.open();
        let got = take(&mut source, 1).await;
        assert!(
            tokio::time::timeout(std::time::Duration::from_millis(20), source.next())
                .await
                .is_err()
        );
        source.settler().settle(Settlement::Done(got[0].id));
        assert!(source.next().await.is_none());
    }
}
