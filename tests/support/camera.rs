//! Cameras that publish to a real broker, with the faults that an ingest service has: an event
//! that is published again, at once or much later, and an event that overtakes its file. They
//! keep a ledger of all that they published: what a checker compares with.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pulsar::producer::{Message, ProducerOptions};
use pulsar::routing_policy::RoutingPolicy;
use pulsar::{Producer, TokioExecutor};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use stream_processor::demo::Scene;
use stream_processor::demo::feed::{frame_message, frame_path};
use stream_processor::model::{Clock, DeviceKey, EventId, SystemClock, UtcMillis};

use super::broker::Broker;
use super::filming::Fleet;
use super::oracle::ledger::{Ledger, Published};

/// How far apart a camera's frames are.
pub const INTERVAL_MILLIS: i64 = 500;
/// How many messages make an entry of a camera whose producer batches.
const BATCH: u32 = 2;
/// How many different pictures there are.
const PICTURES: usize = 12;

/// What a fleet is like.
#[derive(Clone, Debug)]
pub struct FleetPlan {
    pub seed: u64,
    pub client: &'static str,
    pub cameras: u32,
    /// The last that many of them publish in batches.
    pub batching: u32,
    /// Each begins with that many more frames from before the start than the one before it, so
    /// that they are not in step.
    pub backlog_step: i64,
}

impl Fleet {
    /// Starts the cameras of `plan`, which write below `base` and publish to `topic`.
    pub async fn start(broker: &Broker, topic: &str, base: &Path, plan: &FleetPlan) -> Self {
        let pictures: Arc<[Vec<u8>]> = pictures(plan.seed).into();
        let mut fleet = Self::default();
        for number in 0..plan.cameras {
            let name = format!("camera-{number:02}");
            let device = DeviceKey::new(plan.client, &name).expect("a device's name");
            let folder = base.join(frame_path(&device, &EventId::new("x").expect("an id")));
            std::fs::create_dir_all(folder.parent().expect("a folder")).expect("a folder is made");
            let batches = number >= plan.cameras - plan.batching;
            let camera = Camera {
                device: device.clone(),
                base: base.to_owned(),
                pictures: Arc::clone(&pictures),
                producer: producer(broker, topic, batches).await,
                batches,
                rng: ChaCha8Rng::seed_from_u64(plan.seed ^ u64::from(number) << 32),
                ledger: Arc::clone(&fleet.shared_ledger),
                late_copies: Vec::new(),
                taken: 0,
            };
            let backlog = plan.backlog_step * i64::from(number);
            fleet.tasks.spawn(camera.run(backlog, Arc::clone(&fleet.stopping)));
            fleet.devices.push(device);
        }
        fleet
    }
}

fn pictures(seed: u64) -> Vec<Vec<u8>> {
    let scene = Scene::new(seed, 320, 180, false).expect("a scene");
    let start = SystemClock.now();
    let at = |index: usize| start.plus_millis(i64::try_from(index).expect("small") * 500);
    (0..PICTURES).map(|index| scene.jpeg(at(index), "crash").expect("a picture")).collect()
}

async fn producer(broker: &Broker, topic: &str, batches: bool) -> Producer<TokioExecutor> {
    let options = ProducerOptions {
        routing_policy: Some(RoutingPolicy::RoundRobin),
        batch_size: batches.then_some(BATCH),
        ..ProducerOptions::default()
    };
    let client = broker.client().await;
    let producer = client.producer().with_topic(topic).with_options(options).build().await;
    producer.expect("a producer")
}

struct Camera {
    device: DeviceKey,
    base: PathBuf,
    pictures: Arc<[Vec<u8>]>,
    producer: Producer<TokioExecutor>,
    batches: bool,
    rng: ChaCha8Rng,
    ledger: Arc<Mutex<Ledger>>,
    /// Messages that are published again at a later turn.
    late_copies: Vec<(u32, Arc<Published>, Vec<u8>)>,
    taken: u32,
}

impl Camera {
    async fn run(mut self, backlog: i64, stop: Arc<AtomicBool>) {
        let start = SystemClock.now();
        let mut due = start.plus_millis(-backlog * INTERVAL_MILLIS);
        let mut batch = Vec::new();
        while !stop.load(Ordering::SeqCst) || !batch.is_empty() {
            let wait = due.since(SystemClock.now());
            tokio::time::sleep(wait).await;
            batch.push(self.take(due).await);
            due = due.plus_millis(INTERVAL_MILLIS);
            let is_past = due < start;
            if (self.batches || is_past) && batch.len() < BATCH as usize {
                continue;
            }
            self.publish(&batch).await;
            self.publish_copies(&batch).await;
            batch.clear();
        }
    }

    /// Takes the frame of `at` and writes it, or has it written after its event.
    async fn take(&mut self, at: UtcMillis) -> (Arc<Published>, Vec<u8>) {
        self.taken += 1;
        let id =
            format!("{}-{:06}-{:08x}", self.device.device, self.taken, self.rng.random::<u32>());
        let event_id = EventId::new(&id).expect("an event's id");
        let path = frame_path(&self.device, &event_id);
        let message = frame_message(&self.device, &event_id, at, &path).expect("a message");
        let jpeg = self.pictures[self.taken as usize % PICTURES].clone();
        let late_millis =
            if self.rng.random_bool(0.04) { self.rng.random_range(50..700) } else { 0 };
        let file = self.base.join(&path);
        let write = async move {
            tokio::time::sleep(Duration::from_millis(late_millis)).await;
            tokio::fs::write(file, jpeg).await
        };
        if late_millis > 0 {
            // If it fails, the frame is found on the dead-letter topic.
            tokio::spawn(write);
        } else {
            write.await.expect("a frame is written");
        }
        let published = Arc::new(Published {
            device: self.device.clone(),
            event_id,
            captured_at: at,
            published_at: SystemClock.now(),
        });
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.events.push(Arc::clone(&published));
        (published, message)
    }

    /// Publishes some of the messages again, now and at a later turn.
    async fn publish_copies(&mut self, batch: &[(Arc<Published>, Vec<u8>)]) {
        if self.rng.random_bool(0.04) {
            self.publish(batch).await;
        }
        if self.rng.random_bool(0.04) {
            let when = self.taken + self.rng.random_range(4..24);
            self.late_copies.extend(batch.iter().map(|(p, m)| (when, Arc::clone(p), m.clone())));
        }
        let taken = self.taken;
        let due: Vec<_> = self
            .late_copies
            .extract_if(.., |(when, ..)| *when <= taken)
            .map(|(_, published, message)| (published, message))
            .collect();
        for copies in due.chunks_exact(BATCH as usize) {
            self.publish(copies).await;
        }
    }

    async fn publish(&mut self, batch: &[(Arc<Published>, Vec<u8>)]) {
        let mut receipts = Vec::new();
        for (published, payload) in batch {
            let message = Message {
                payload: payload.clone(),
                partition_key: Some(self.device.device.as_str().to_owned()),
                ..Message::default()
            };
            let sent = self.producer.send_non_blocking(message).await;
            receipts.push((published, sent.expect("a message is sent")));
        }
        for (published, receipt) in receipts {
            let receipt = receipt.await.expect("a receipt");
            let id = receipt.message_id.expect("an entry's id");
            let number = |id| i64::try_from(id).expect("a small number");
            let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
            let entry =
                ledger.entries.entry((number(id.ledger_id), number(id.entry_id))).or_default();
            entry.push(Arc::clone(published));
        }
    }
}
