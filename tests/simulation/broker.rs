//! A broker: a topic of partitions, and one Key_Shared subscription. Messages of a key go to one
//! consumer for as long as it has any that is not acknowledged; what a consumer that is gone has
//! left comes again, in order and before what is new. An acknowledgement is of a whole entry, may
//! be lost on its way, and may be forgotten when the broker dies.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use stream_processor::source::DeliveryId;
use stream_processor::source::pulsar::PulsarError;
use stream_processor::source::pulsar::ports::{
    Broker, Came, Consumer, Message, Original, ParkJob, Position,
};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use crate::draw::Random;
use crate::process::Process;
use crate::world::{Plant, World};

/// Acknowledgements of so long ago are not forgotten any more.
const FLUSH_MILLIS: u64 = 3_000;

/// One published message.
#[derive(Clone, Debug)]
pub struct Published {
    /// Which of the plan's frames.
    pub frame: usize,
    pub payload: Bytes,
    pub key: Option<String>,
}

#[derive(Debug)]
struct Entry {
    messages: Vec<Published>,
    is_batch: bool,
    /// What its order is kept by.
    key: u64,
}

struct Reader {
    process: u64,
    queue: VecDeque<(u64, Message)>,
    unacked: BTreeSet<u64>,
    told: Arc<Notify>,
}

#[derive(Default)]
struct Partition {
    entries: Vec<Entry>,
    acked: BTreeMap<u64, u64>,
    /// To be given to a consumer.
    due: BTreeSet<u64>,
    readers: BTreeMap<u64, Reader>,
}

/// What the broker knows.
pub struct BrokerState {
    partitions: Vec<Partition>,
    next_reader: u64,
    window: usize,
    random: Random,
}

impl BrokerState {
    pub fn new(partitions: usize, window: usize, random: Random) -> Self {
        let partitions = (0..partitions).map(|_| Partition::default()).collect();
        Self { partitions, next_reader: 0, window, random }
    }

    pub fn publish(
        &mut self,
        partition: usize,
        messages: Vec<Published>,
        is_batch: bool,
        now: u64,
    ) {
        let to = &mut self.partitions[partition];
        let number = to.entries.len() as u64;
        let key = match messages.first().and_then(|message| message.key.as_deref()) {
            Some(key) => key.bytes().fold(7, |hash: u64, byte| hash * 31 + u64::from(byte)),
            None => 1_000_000 + number,
        };
        to.entries.push(Entry { messages, is_batch, key });
        to.due.insert(number);
        self.dispatch(partition, now);
    }

    /// Which frame a message is of.
    pub fn frame(&self, partition: usize, position: Position, index: u32) -> usize {
        self.partitions[partition].entries[position.entry as usize].messages[index as usize].frame
    }

    fn frames(&self, partition: usize, position: Position) -> Vec<usize> {
        let entry = &self.partitions[partition].entries[position.entry as usize];
        entry.messages.iter().map(|message| message.frame).collect()
    }

    pub fn is_drained(&self) -> bool {
        self.partitions.iter().all(|partition| partition.acked.len() == partition.entries.len())
    }

    /// What is not acknowledged.
    pub fn owed(&self) -> Vec<usize> {
        let mut owed = Vec::new();
        for partition in &self.partitions {
            for (number, entry) in partition.entries.iter().enumerate() {
                if !partition.acked.contains_key(&(number as u64)) {
                    owed.extend(entry.messages.iter().map(|message| message.frame));
                }
            }
        }
        owed
    }

    fn dispatch(&mut self, partition: usize, now: u64) {
        let Self { partitions, window, random, .. } = self;
        let Partition { entries, due, readers, .. } = &mut partitions[partition];
        if readers.is_empty() {
            return;
        }
        let mut blocked = BTreeSet::new();
        for number in due.clone() {
            let entry = &entries[number as usize];
            let has_key = |reader: &Reader| {
                reader.unacked.iter().any(|other| entries[*other as usize].key == entry.key)
            };
            let owner = readers.iter().find(|(_, reader)| has_key(reader)).map(|(id, _)| *id);
            let by_hash = || readers.keys().nth((entry.key % readers.len() as u64) as usize);
            let Some(id) = owner.or_else(|| by_hash().copied()) else { continue };
            let Some(reader) = readers.get_mut(&id) else { continue };
            if reader.unacked.len() >= *window || blocked.contains(&entry.key) {
                blocked.insert(entry.key);
                continue;
            }
            due.remove(&number);
            reader.unacked.insert(number);
            let arrives = now + random.within(0, 8);
            let arrives = reader.queue.back().map_or(arrives, |(before, _)| arrives.max(*before));
            for (index, message) in entry.messages.iter().enumerate() {
                let message = Message {
                    position: Position { ledger: 1, entry: number },
                    index: index as u32,
                    batch_size: entry.is_batch.then_some(entry.messages.len() as u32),
                    original: Original {
                        payload: message.payload.clone(),
                        key: message.key.clone(),
                        ..Original::default()
                    },
                };
                reader.queue.push_back((arrives, message));
            }
            reader.told.notify_one();
        }
    }

    fn give_back(&mut self, partition: usize, reader: u64, position: Position, now: u64) {
        let to = &mut self.partitions[partition];
        if to.readers.get_mut(&reader).is_some_and(|r| r.unacked.remove(&position.entry)) {
            to.due.insert(position.entry);
            self.dispatch(partition, now);
        }
    }

    fn acknowledge(&mut self, partition: usize, reader: u64, position: Position, now: u64) {
        let to = &mut self.partitions[partition];
        let Some(reader) = to.readers.get_mut(&reader) else { return };
        reader.unacked.remove(&position.entry);
        for reader in to.readers.values_mut() {
            reader.unacked.remove(&position.entry);
        }
        to.due.remove(&position.entry);
        to.acked.entry(position.entry).or_insert(now);
        self.dispatch(partition, now);
    }

    fn disconnect(&mut self, partition: usize, reader: u64, now: u64) {
        let to = &mut self.partitions[partition];
        if let Some(reader) = to.readers.remove(&reader) {
            let acked = &to.acked;
            to.due.extend(reader.unacked.into_iter().filter(|entry| !acked.contains_key(entry)));
            reader.told.notify_one();
            self.dispatch(partition, now);
        }
    }

    /// All connections of a process are lost.
    pub fn disconnect_process(&mut self, process: u64, now: u64) {
        for partition in 0..self.partitions.len() {
            let readers = &self.partitions[partition].readers;
            let of_process: Vec<_> =
                readers.iter().filter(|(_, r)| r.process == process).map(|(id, _)| *id).collect();
            of_process.into_iter().for_each(|reader| self.disconnect(partition, reader, now));
        }
    }

    /// A partition moves; if its broker died, acknowledgements of late may be lost.
    pub fn unload(&mut self, partition: usize, died: bool, now: u64) {
        let readers: Vec<_> = self.partitions[partition].readers.keys().copied().collect();
        readers.into_iter().for_each(|reader| self.disconnect(partition, reader, now));
        if died {
            let Self { partitions, random, .. } = self;
            let Partition { acked, due, .. } = &mut partitions[partition];
            acked.retain(|entry, at| {
                let stays = *at + FLUSH_MILLIS < now || random.chance(50);
                if !stays {
                    due.insert(*entry);
                }
                stays
            });
        }
    }
}

/// The broker, as one process sees it.
pub struct WorkerBroker(pub Arc<Process>);

fn lost(what: &'static str) -> PulsarError {
    PulsarError::TimedOut { what, after_millis: 0 }
}

fn number_of(topic: &str) -> usize {
    topic.rsplit_once("-partition-").map_or(0, |(_, number)| number.parse().unwrap())
}

impl Broker for WorkerBroker {
    type Consumer = WorkerConsumer;

    async fn open_consumer(&self, topic: &str) -> Result<WorkerConsumer, PulsarError> {
        self.0.takes(30).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        self.0.go_on().await;
        let (partition, world) = (number_of(topic), &self.0.world);
        world.note("opens a consumer", self.0.worker, topic);
        let told = Arc::new(Notify::new());
        let id = world.broker(|broker| {
            broker.next_reader += 1;
            let reader = Reader {
                process: self.0.number,
                queue: VecDeque::new(),
                unacked: BTreeSet::new(),
                told: Arc::clone(&told),
            };
            broker.partitions[partition].readers.insert(broker.next_reader, reader);
            broker.dispatch(partition, world.millis());
            broker.next_reader
        });
        Ok(WorkerConsumer { process: Arc::clone(&self.0), partition, id, told })
    }

    async fn count_partitions(&self) -> Result<u32, PulsarError> {
        self.0.takes(10).await;
        Ok(self.0.world.plan.partitions as u32)
    }

    async fn park(
        &self,
        mut jobs: UnboundedReceiver<ParkJob>,
        parked: UnboundedSender<DeliveryId>,
    ) {
        while let Some(job) = jobs.recv().await {
            self.0.takes(30).await;
            let world = &self.0.world;
            let partition = number_of(&job.topic);
            let frame = world.broker(|broker| broker.frame(partition, job.position, job.id.index));
            world.is_parked(self.0.worker, frame, job.refusal.reason);
            self.0.takes(10).await;
            let _ = parked.send(job.id);
        }
    }

    async fn advise(&self) {}
}

/// A consumer of one partition.
pub struct WorkerConsumer {
    process: Arc<Process>,
    partition: usize,
    id: u64,
    told: Arc<Notify>,
}

impl WorkerConsumer {
    fn world(&self) -> &Arc<World> {
        &self.process.world
    }

    fn is_known(&self) -> bool {
        let (partition, id) = (self.partition, self.id);
        self.world().broker(|broker| broker.partitions[partition].readers.contains_key(&id))
    }

    fn acknowledge(&self, position: Position) {
        let (world, partition, id) = (Arc::clone(self.world()), self.partition, self.id);
        let frames = world.broker(|broker| broker.frames(partition, position));
        world.is_acked(self.process.worker, &frames);
        let millis = self.process.draw(|random| random.within(0, 20));
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            let now = world.millis();
            world.broker(|broker| broker.acknowledge(partition, id, position, now));
        });
    }
}

enum Look {
    Take(Message),
    Wait(u64),
    Nothing,
    Gone,
}

impl Consumer for WorkerConsumer {
    async fn next(&mut self) -> Result<Came, PulsarError> {
        loop {
            self.process.go_on().await;
            let mut told = pin!(self.told.notified());
            told.as_mut().enable();
            let (partition, id, now) = (self.partition, self.id, self.world().millis());
            let look = self.world().broker(|broker| {
                let Some(reader) = broker.partitions[partition].readers.get_mut(&id) else {
                    return Look::Gone;
                };
                match reader.queue.front() {
                    None => Look::Nothing,
                    Some((arrives, _)) if *arrives > now => Look::Wait(*arrives - now),
                    Some(_) => {
                        reader.queue.pop_front().map_or(Look::Nothing, |(_, m)| Look::Take(m))
                    }
                }
            });
            match look {
                Look::Take(message) => {
                    if self.world().plant == Some(Plant::AckFirst) {
                        self.acknowledge(message.position);
                    }
                    return Ok(Came::Message(message));
                }
                Look::Gone => return Err(lost("read")),
                Look::Nothing => told.await,
                Look::Wait(millis) => {
                    tokio::select! {
                        biased;
                        () = told => {}
                        () = tokio::time::sleep(Duration::from_millis(millis)) => {}
                    }
                }
            }
        }
    }

    async fn ack(&mut self, position: Position) -> Result<(), PulsarError> {
        self.process.go_on().await;
        self.acknowledge(position);
        Ok(())
    }

    async fn nack(&mut self, position: Position) -> Result<(), PulsarError> {
        self.process.go_on().await;
        let (partition, id, now) = (self.partition, self.id, self.world().millis());
        self.world().broker(|broker| broker.give_back(partition, id, position, now));
        Ok(())
    }

    async fn ask_whether_known(&mut self) -> Result<(), PulsarError> {
        // Longer than an acknowledgement that was sent before takes.
        tokio::time::sleep(Duration::from_millis(25)).await;
        self.process.go_on().await;
        if self.is_known() { Ok(()) } else { Err(PulsarError::Forgotten("it is gone".into())) }
    }

    async fn close(&mut self) -> Result<(), PulsarError> {
        self.process.takes(10).await;
        let (partition, id, now) = (self.partition, self.id, self.world().millis());
        self.world().broker(|broker| broker.disconnect(partition, id, now));
        Ok(())
    }
}

impl Drop for WorkerConsumer {
    fn drop(&mut self) {
        let (partition, id, now) = (self.partition, self.id, self.world().millis());
        self.world().broker(|broker| broker.disconnect(partition, id, now));
    }
}
