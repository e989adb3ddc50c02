//! Hundreds of cameras and the ingest services that they upload to, with the faults that those
//! have: a file that is written after its event, an event that is published again, at once or
//! much later, a camera that is silent for a while. A part of them publishes batches by key.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use stream_processor::demo::Scene;
use stream_processor::demo::feed::{frame_message, frame_path};
use stream_processor::model::{Clock, DeviceKey, EventId, SystemClock, UtcMillis};
use tokio::sync::mpsc;

use super::filming::Fleet;
use super::oracle::ledger::{Ledger, Published};
use super::wire::{Sheet, publish};

/// How far apart a camera's frames are, more or less.
pub const INTERVAL_MILLIS: i64 = 5_000;
/// By how much more or less.
const JITTER_MILLIS: i64 = 200;
/// How many cameras an ingest service has.
const OF_A_SERVICE: usize = 25;
/// Every so many of these services one batches by key.
const BATCHES_EVERY: usize = 3;
/// How many frames make an entry there.
const BATCH: usize = 2;
/// How many different pictures there are.
const PICTURES: usize = 64;

/// What a topic's cameras are like.
pub struct UploadsPlan<'a> {
    pub seed: u64,
    pub client: &'static str,
    pub devices: usize,
    pub broker_port: u16,
    /// The topic, or its partitions.
    pub topics: &'a [String],
    /// Where frames are written.
    pub base: &'a Path,
    /// Where each picture lies.
    pub pictures: &'a [PathBuf],
}

/// Makes the pictures that all cameras show, each a file.
pub fn pictures(seed: u64, folder: &Path) -> Vec<PathBuf> {
    let scenes = [(256, 144), (320, 180)];
    let start = UtcMillis(1_795_000_000_000);
    let scenes = scenes.map(|(w, h)| Scene::new(seed, w, h, true).expect("a scene"));
    (0..PICTURES)
        .map(|index| {
            // Most cameras have one size; every sixteenth picture is of another.
            let scene = &scenes[usize::from(index % 16 == 15)];
            let at = start.plus_millis(i64::try_from(index).expect("small") * INTERVAL_MILLIS);
            let file = folder.join(format!("picture-{index}.jpg"));
            std::fs::write(&file, scene.jpeg(at, "chaos").expect("a picture")).expect("a file");
            file
        })
        .collect()
}

impl Fleet {
    pub fn start(plan: &UploadsPlan<'_>) -> Self {
        let mut fleet = Self::default();
        let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
        for (number, first) in (0..plan.devices).step_by(OF_A_SERVICE).enumerate() {
            let batches = number % BATCHES_EVERY == BATCHES_EVERY - 1;
            let start = SystemClock.now();
            let mut service = Service {
                cameras: Vec::new(),
                due: BinaryHeap::new(),
                base: plan.base.to_owned(),
                pictures: plan.pictures.to_owned(),
                rng: ChaCha8Rng::seed_from_u64(rng.random()),
                ledger: Arc::clone(&fleet.shared_ledger),
                batches,
            };
            for index in first..plan.devices.min(first + OF_A_SERVICE) {
                let device = DeviceKey::new(plan.client, &format!("camera-{index:03}"));
                let device = device.expect("a device's name");
                let folder = plan.base.join(frame_path(&device, &EventId::new("x").expect("id")));
                std::fs::create_dir_all(folder.parent().expect("a folder")).expect("a folder");
                // As Pulsar's clients do: the same key always goes to the same partition.
                let topic = plan.topics[index % plan.topics.len()].as_str().into();
                let phase = rng.random_range(0..INTERVAL_MILLIS);
                service.due.push(Reverse((start.plus_millis(phase), service.cameras.len())));
                fleet.devices.push(device.clone());
                let camera = Camera { device, topic, taken: 0, batch: Vec::new(), copies: vec![] };
                service.cameras.push(camera);
            }
            let (sender, sheets) = mpsc::unbounded_channel();
            let noted = Arc::clone(&fleet.shared_ledger);
            let topics = plan.topics.iter().map(|topic| topic.as_str().into()).collect();
            let publishing = publish(plan.broker_port, topics, sheets, move |sheet, entry| {
                let mut ledger = noted.lock().unwrap_or_else(PoisonError::into_inner);
                let frames = sheet.frames.iter().map(|(frame, _)| Arc::clone(frame));
                ledger.entries.entry(entry).or_default().extend(frames);
            });
            fleet.tasks.spawn(publishing);
            fleet.tasks.spawn(service.run(sender, Arc::clone(&fleet.stopping)));
        }
        fleet
    }
}

struct Camera {
    device: DeviceKey,
    topic: Arc<str>,
    taken: usize,
    batch: Vec<(Arc<Published>, Vec<u8>)>,
    /// What is published again at a later turn.
    copies: Vec<(usize, Sheet)>,
}

/// An ingest service and its cameras.
struct Service {
    cameras: Vec<Camera>,
    due: BinaryHeap<Reverse<(UtcMillis, usize)>>,
    base: PathBuf,
    pictures: Vec<PathBuf>,
    rng: ChaCha8Rng,
    ledger: Arc<Mutex<Ledger>>,
    batches: bool,
}

impl Service {
    async fn run(mut self, sheets: mpsc::UnboundedSender<Sheet>, stop: Arc<AtomicBool>) {
        while let Some(Reverse((at, index))) = self.due.pop() {
            tokio::time::sleep(at.since(SystemClock.now())).await;
            let stops = stop.load(Ordering::SeqCst);
            // A batch that was begun is filled, later than its frames would be due.
            if stops && self.cameras[index].batch.is_empty() {
                continue;
            }
            let sheet = self.take(index, at);
            let wait = self.next_wait();
            self.due.push(Reverse((at.plus_millis(wait), index)));
            let Some(sheet) = sheet else { continue };
            let taken = self.cameras[index].taken;
            let copies = &mut self.cameras[index].copies;
            let due = copies.extract_if(.., |(turn, _)| *turn <= taken).map(|(_, sheet)| sheet);
            let due: Vec<_> = due.collect();
            if self.rng.random_bool(0.02) {
                let turn = taken + self.rng.random_range(2..12);
                copies.push((turn, sheet.clone()));
            }
            let twice = self.rng.random_bool(0.02).then(|| sheet.clone());
            for sheet in [sheet].into_iter().chain(twice).chain(due) {
                // The other end stays as long as there is this one.
                let _ = sheets.send(sheet);
            }
        }
    }

    fn next_wait(&mut self) -> i64 {
        let silent = self.rng.random_bool(0.003);
        let silence = if silent { self.rng.random_range(20_000..70_000) } else { 0 };
        INTERVAL_MILLIS + self.rng.random_range(-JITTER_MILLIS..=JITTER_MILLIS) + silence
    }

    /// Takes a frame and writes it, or has it written after its event; what to publish by now.
    fn take(&mut self, index: usize, at: UtcMillis) -> Option<Sheet> {
        let camera = &mut self.cameras[index];
        camera.taken += 1;
        let name = &camera.device.device;
        let id = format!("{name}-{:06}-{:08x}", camera.taken, self.rng.random::<u32>());
        let event_id = EventId::new(&id).expect("an event's id");
        let path = frame_path(&camera.device, &event_id);
        let message = frame_message(&camera.device, &event_id, at, &path).expect("a message");
        let picture = self.pictures[(index + camera.taken) % self.pictures.len()].clone();
        let file = self.base.join(&path);
        let write = move || std::fs::hard_link(picture, file).expect("a frame is written");
        if self.rng.random_bool(0.02) {
            let late = Duration::from_millis(self.rng.random_range(50..900));
            tokio::spawn(async move {
                tokio::time::sleep(late).await;
                write();
            });
        } else {
            write();
        }
        let frame = Arc::new(Published {
            device: camera.device.clone(),
            event_id,
            captured_at: at,
            published_at: SystemClock.now(),
        });
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.events.push(Arc::clone(&frame));
        drop(ledger);
        camera.batch.push((frame, message));
        if camera.batch.len() < if self.batches { BATCH } else { 1 } {
            return None;
        }
        Some(Sheet {
            topic: Arc::clone(&camera.topic),
            key: camera.device.device.as_str().to_owned(),
            frames: std::mem::take(&mut camera.batch),
            is_batch: self.batches,
        })
    }
}
