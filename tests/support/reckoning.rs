//! Compares what cameras published, what the broker believes is done and what is on disk. It
//! asks the broker itself, entry by entry, so that one acknowledgement too early is seen even
//! if nothing is lost by it.

use std::collections::{BTreeMap, BTreeSet};

use stream_processor::model::{DeviceKey, EventId};
use stream_processor::store::Store;

use super::broker::Broker;
use super::camera::{Entry, Fleet};

/// What one partition's cursor says is acknowledged.
#[derive(Debug)]
struct Acked {
    ledgers: BTreeSet<i64>,
    /// Everything up to here,
    mark: Entry,
    /// and everything after the first and up to the second.
    ranges: Vec<(Entry, Entry)>,
}

impl Acked {
    fn holds(&self, entry: Entry) -> bool {
        let in_range = |(after, to): &(Entry, Entry)| *after < entry && entry <= *to;
        self.ledgers.contains(&entry.0) && (entry <= self.mark || self.ranges.iter().any(in_range))
    }
}

/// The comparison of one fleet.
pub struct Reckoning<'a> {
    pub broker: &'a Broker,
    pub topic: String,
    pub subscription: &'static str,
    pub partitions: Vec<String>,
    pub store: Store,
    /// How many times an acknowledged entry was found committed.
    pub entries_checked: usize,
}

impl<'a> Reckoning<'a> {
    pub fn new(
        broker: &'a Broker,
        topic: &str,
        subscription: &'static str,
        partitions: u32,
        store: Store,
    ) -> Self {
        let parts = match partitions {
            0 => vec![topic.to_owned()],
            _ => (0..partitions).map(|n| format!("{topic}-partition-{n}")).collect(),
        };
        let topic = topic.to_owned();
        Self { broker, topic, subscription, partitions: parts, store, entries_checked: 0 }
    }

    /// The frames that are acknowledged and not committed. The broker is asked first: what it
    /// has by then must be on disk by then, whoever goes on working meanwhile.
    pub async fn no_ack_before_its_commit(&mut self, fleet: &Fleet) -> Vec<EventId> {
        let acked = self.acked().await;
        let committed: BTreeSet<EventId> =
            self.histories(fleet).await.into_values().flatten().collect();
        let mut too_early = Vec::new();
        for (entry, frames) in &fleet.ledger().entries {
            if is_acked(&acked, *entry) {
                self.entries_checked += 1;
                let uncommitted =
                    frames.iter().filter(|frame| !committed.contains(&frame.event_id));
                too_early.extend(uncommitted.map(|frame| frame.event_id.clone()));
            }
        }
        too_early
    }

    /// Everything is acknowledged.
    pub async fn all_acked(&self, fleet: &Fleet) {
        let acked = self.acked().await;
        let ledger = fleet.ledger();
        let owed: Vec<_> =
            ledger.entries.iter().filter(|(entry, _)| !is_acked(&acked, **entry)).collect();
        assert!(owed.is_empty(), "not acknowledged: {owed:?}");
    }

    /// Every published event is in its device's history exactly once, in capture order.
    pub async fn each_event_once_in_order(&self, fleet: &Fleet) {
        let histories = self.histories(fleet).await;
        for device in &fleet.devices {
            let published: Vec<_> = {
                let ledger = fleet.ledger();
                let of_device = ledger.events.iter().filter(|frame| frame.device == *device);
                of_device.map(|frame| frame.event_id.clone()).collect()
            };
            let committed = &histories[device];
            let mut counts: BTreeMap<&EventId, i32> = BTreeMap::new();
            published.iter().for_each(|id| *counts.entry(id).or_default() += 1);
            committed.iter().for_each(|id| *counts.entry(id).or_default() -= 1);
            counts.retain(|_, count| *count != 0);
            assert!(counts.is_empty(), "{device}: lost (1) or shown again (-1): {counts:?}");
            assert_eq!(&published, committed, "{device}: out of order");
        }
    }

    /// The events of each device's history, in the order of its segments.
    pub async fn histories(&self, fleet: &Fleet) -> BTreeMap<DeviceKey, Vec<EventId>> {
        let mut histories = BTreeMap::new();
        for device in &fleet.devices {
            let frames = self.store.committed_frames(device).await.expect("a history");
            histories.insert(device.clone(), frames.map(|frame| frame.event_id).collect());
        }
        histories
    }

    /// How many messages were put on the dead-letter topic.
    pub async fn dead_letters(&self) -> u64 {
        let topic = format!("{}-{}-DLQ/stats", self.topic, self.subscription);
        let stats = self.broker.ask(&topic.replacen("://", "/", 1)).await;
        stats.map_or(0, |stats| stats["msgInCounter"].as_u64().unwrap_or(0))
    }

    async fn acked(&self) -> Vec<Acked> {
        let mut acked = Vec::new();
        for partition in &self.partitions {
            let path = format!("{}/internalStats", partition.replacen("://", "/", 1));
            let stats = self.broker.ask(&path).await.expect("the topic's inner figures");
            let cursor = &stats["cursors"][self.subscription];
            let mark = cursor["markDeletePosition"].as_str().and_then(position);
            let ranges = cursor["individuallyDeletedMessages"].as_str().and_then(ranges);
            let ledgers = stats["ledgers"].as_array().expect("ledgers");
            acked.push(Acked {
                ledgers: ledgers.iter().filter_map(|ledger| ledger["ledgerId"].as_i64()).collect(),
                mark: mark.expect("the position up to which all is acknowledged"),
                ranges: ranges.expect("the ranges that are acknowledged beyond it"),
            });
        }
        acked
    }
}

fn is_acked(acked: &[Acked], entry: Entry) -> bool {
    acked.iter().any(|partition| partition.holds(entry))
}

fn position(text: &str) -> Option<Entry> {
    let (ledger, entry) = text.split_once(':')?;
    Some((ledger.parse().ok()?, entry.parse().ok()?))
}

/// Reads `[(7:3..7:5],(7:8..7:9]]`: the first of each pair is not in it, the second is.
fn ranges(text: &str) -> Option<Vec<(Entry, Entry)>> {
    let range = |part: &str| {
        let (after, to) = part.split_once(']')?.0.split_once("..")?;
        Some((position(after)?, position(to)?))
    };
    text.split('(').skip(1).map(range).collect()
}
