//! Compares what cameras published with what the broker believes is done. It asks the broker
//! itself, entry by entry, so that one acknowledgement too early is seen even if nothing is lost
//! by it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, MutexGuard};

use serde_json::Value;
use stream_processor::model::{Clock, DeviceKey, EventId, SystemClock, UtcMillis};
use stream_processor::store::{SegmentRecord, Store};

use super::super::broker::Broker;
use super::ledger::{Entry, Ledger, Published};
use super::{Finding, Wrong, frames};

/// What one partition's cursor says is acknowledged.
#[derive(Clone, Debug)]
pub struct Acked {
    ledgers: BTreeSet<i64>,
    /// Everything up to here,
    mark: Entry,
    /// and everything after the first and up to the second.
    ranges: Vec<(Entry, Entry)>,
}

impl Acked {
    /// Reads a topic's inner figures; none if there is no such subscription.
    pub fn of(stats: &Value, subscription: &str) -> Option<Self> {
        let cursor = &stats["cursors"][subscription];
        let ledgers = stats["ledgers"].as_array()?;
        Some(Self {
            ledgers: ledgers.iter().filter_map(|ledger| ledger["ledgerId"].as_i64()).collect(),
            mark: position(cursor["markDeletePosition"].as_str()?)?,
            ranges: ranges(cursor["individuallyDeletedMessages"].as_str()?)?,
        })
    }

    fn holds(&self, entry: Entry) -> bool {
        let in_range = |(after, to): &(Entry, Entry)| *after < entry && entry <= *to;
        self.ledgers.contains(&entry.0) && (entry <= self.mark || self.ranges.iter().any(in_range))
    }
}

/// Whether an entry is acknowledged, in whichever partition it is.
pub fn is_acked(acked: &[Acked], entry: Entry) -> bool {
    acked.iter().any(|partition| partition.holds(entry))
}

/// The frames of acknowledged entries that are neither durable nor refused.
pub fn too_early(
    ledger: &Ledger,
    acked: &[Acked],
    is_done: impl Fn(&EventId) -> bool,
    seen_at: UtcMillis,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (entry, frames) in ledger.entries.iter().filter(|(entry, _)| is_acked(acked, **entry)) {
        for frame in frames.iter().filter(|frame| !is_done(&frame.event_id)) {
            let detail = format!("entry {}:{} is acknowledged", entry.0, entry.1);
            let finding = Finding::of(&frame.device, Wrong::AckedTooEarly, seen_at, detail);
            findings.push(finding.about([&frame.event_id]));
        }
    }
    findings
}

/// The entries that are not acknowledged.
pub fn owed(ledger: &Ledger, acked: &[Acked], seen_at: UtcMillis) -> Vec<Finding> {
    let owed = ledger.entries.iter().filter(|(entry, _)| !is_acked(acked, **entry));
    let finding = |(entry, frames): (&Entry, &Vec<Arc<Published>>)| {
        let device = &frames.first()?.device;
        let detail = format!("entry {}:{} is not acknowledged", entry.0, entry.1);
        let finding = Finding::of(device, Wrong::NotAcked, seen_at, detail);
        Some(finding.about(frames.iter().map(|frame| &frame.event_id)))
    };
    owed.filter_map(finding).collect()
}

/// Compares one fleet, again and again if need be.
pub struct Reckoning<'a> {
    pub broker: &'a Broker,
    pub topic: String,
    pub subscription: &'static str,
    pub partitions: Vec<String>,
    pub store: Store,
    /// How many times an acknowledged entry was found committed.
    pub entries_checked: usize,
    /// What was found durable or refused: it stays so.
    done: BTreeSet<EventId>,
    checked: BTreeSet<Entry>,
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
        Self {
            broker,
            topic: topic.to_owned(),
            subscription,
            partitions: parts,
            store,
            entries_checked: 0,
            done: BTreeSet::new(),
            checked: BTreeSet::new(),
        }
    }

    /// What the broker believes is done; none while it does not answer.
    pub async fn acked(&self) -> Option<Vec<Acked>> {
        let mut acked = Vec::new();
        for partition in &self.partitions {
            let path = format!("{}/internalStats", partition.replacen("://", "/", 1));
            acked.push(Acked::of(&self.broker.ask(&path).await?, self.subscription)?);
        }
        Some(acked)
    }

    /// The frames that are acknowledged and neither committed nor refused; none while the broker
    /// or the storage does not answer. The broker is asked first: what it has by then must be on
    /// disk by then, whoever goes on working meanwhile.
    pub async fn no_ack_before_its_commit<'b>(
        &mut self,
        ledger: impl Fn() -> MutexGuard<'b, Ledger>,
    ) -> Option<Vec<Finding>> {
        let acked = self.acked().await?;
        let seen_at = SystemClock.now();
        let mut asked: BTreeSet<DeviceKey> = BTreeSet::new();
        for (entry, frames) in &ledger().entries {
            let is_new = !self.checked.contains(entry) && is_acked(&acked, *entry);
            let unknown = frames.iter().filter(|frame| !self.done.contains(&frame.event_id));
            asked.extend(unknown.filter(|_| is_new).map(|frame| frame.device.clone()));
        }
        for device in &asked {
            let records = self.store.committed_segments(device).await.ok()?;
            let frames = records.into_iter().flat_map(|record| record.frames);
            self.done.extend(frames.map(|frame| frame.event_id));
        }
        let is_suspect = |ledger: &Ledger, done: &BTreeSet<EventId>| {
            too_early(ledger, &acked, |id| done.contains(id), seen_at)
        };
        // What was refused is asked for only where it matters.
        if !is_suspect(&ledger(), &self.done).is_empty() {
            self.done.extend(self.letters().await.into_keys());
        }
        let ledger = ledger();
        for entry in ledger.entries.keys().filter(|entry| is_acked(&acked, **entry)) {
            self.entries_checked += usize::from(self.checked.insert(*entry));
        }
        Some(is_suspect(&ledger, &self.done))
    }

    /// What is wrong with the frames of every device, by its records.
    pub async fn frames(
        &self,
        published: &BTreeMap<DeviceKey, Vec<Arc<Published>>>,
    ) -> Vec<Finding> {
        let letters = self.letters().await;
        let mut findings = Vec::new();
        for (device, published) in published {
            let records = self.records(device).await;
            findings.extend(frames::judge(device, published, &records, &letters));
        }
        findings
    }

    /// A device's records, oldest first.
    pub async fn records(&self, device: &DeviceKey) -> Vec<SegmentRecord> {
        self.store.committed_segments(device).await.expect("a history")
    }

    /// Everything on the dead-letter topic, to its end.
    pub async fn letters(&self) -> frames::Letters {
        let topic = format!("{}-{}-DLQ", self.topic, self.subscription);
        let mut letters = frames::Letters::new();
        for message in self.broker.everything_on(&topic).await {
            let claimed = serde_json::from_slice::<Value>(&message.payload.data);
            let id = claimed.ok().and_then(|event| EventId::new(event["eventId"].as_str()?).ok());
            let property = |name: &str| {
                let found = message.metadata().properties.iter().find(|p| p.key == name);
                found.map_or_else(String::new, |property| property.value.clone())
            };
            let (reason, detail) = (property("dead_letter.reason"), property("dead_letter.detail"));
            if let Some(id) = id {
                letters.insert(id, format!("{reason}: {detail}"));
            }
        }
        letters
    }
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
