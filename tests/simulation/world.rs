//! One world: a broker, a storage, workers, and a plan that is carried out on a time of its own.
//! Everything in it follows from the plan.

mod crew;
mod told;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stream_processor::demo::feed::{frame_message, frame_path};
use stream_processor::model::{EventId, UtcMillis};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::broker::{BrokerState, Published};
use crate::bucket::BucketState;
use crate::disk::DiskState;
use crate::draw::Random;
use crate::encoder::{BAD, POISON};
use crate::oracle::{Oracle, device_key, event_id};
use crate::plan::{Batching, Frame, Kind, Plan, Storage, What};
use crate::process::Process;

/// When every world begins.
pub const START: UtcMillis = UtcMillis(1_770_000_000_000);

/// How long a world may take to settle everything once nothing goes wrong any more.
const DRAIN: Duration = Duration::from_secs(400);

/// A fault that is put in on purpose, at the world's edges, to see that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// An entry is acknowledged as it comes.
    AckFirst,
    /// Folders are not synced.
    NoFolderSync,
    /// What was committed is remembered by the process that committed it.
    MemoryOnly,
    /// Locks keep nobody away, and each process sees the state as it last wrote it; a bucket
    /// compares nothing.
    NoFencing,
    /// A segment gets its name after the playlist that lists it.
    PlaylistFirst,
}

/// How a world ended.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Of everything that happened, in its order.
    pub hash: u64,
    pub finding: Option<String>,
    /// What happened, if that was asked for.
    pub trace: Vec<String>,
    pub frames_committed: usize,
    pub frames_parked: usize,
    pub acks_checked: u64,
    pub versions_seen: u64,
    pub deaths: u64,
}

struct Trace {
    hash: u64,
    lines: Option<Vec<String>>,
}

struct Slot {
    process: Arc<Process>,
    stop: CancellationToken,
    task: AbortHandle,
    /// When a process takes its place, once it is gone.
    back_after: Option<u64>,
}

/// See the module.
pub struct World {
    pub plan: Plan,
    pub plant: Option<Plant>,
    pub disk: Mutex<DiskState>,
    pub bucket: Mutex<BucketState>,
    /// Renames that a planted fault puts off, by process.
    pub put_off: Mutex<BTreeMap<u64, (String, String)>>,
    /// What each process last wrote as a device's state, for planted faults.
    written: Mutex<BTreeMap<(u64, String), Vec<u8>>>,
    broker: Mutex<BrokerState>,
    oracle: Mutex<Oracle>,
    trace: Mutex<Trace>,
    finding: Mutex<Option<String>>,
    slots: Mutex<BTreeMap<usize, Slot>>,
    clocks: Mutex<BTreeMap<usize, i64>>,
    random: Mutex<Random>,
    next_process: Mutex<u64>,
    deaths: Mutex<u64>,
    begun: Instant,
    by_id: BTreeMap<usize, Frame>,
    /// Nobody starts any more.
    is_ending: AtomicBool,
}

/// Carries a plan out.
pub fn run(plan: &Plan, plant: Option<Plant>, tells: bool) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let world = runtime.block_on(async {
        let world = Arc::new(World::new(plan.clone(), plant, tells));
        world.live().await;
        world.slots.lock().unwrap().clear();
        world
    });
    drop(runtime);
    let mut trace = world.trace.lock().unwrap();
    let oracle = world.oracle.lock().unwrap();
    Outcome {
        hash: trace.hash,
        finding: world.finding.lock().unwrap().take(),
        trace: trace.lines.take().unwrap_or_default(),
        frames_committed: oracle.frames_committed(),
        frames_parked: oracle.frames_parked(),
        acks_checked: oracle.acks_checked,
        versions_seen: oracle.versions_seen,
        deaths: *world.deaths.lock().unwrap(),
    }
}

enum Due {
    Upload(Frame),
    Publish(Vec<Frame>),
    Fault(What),
}

impl World {
    fn new(plan: Plan, plant: Option<Plant>, tells: bool) -> Self {
        let broker = BrokerState::new(plan.partitions, plan.window, Random::new(plan.seed, 2));
        Self {
            plant,
            disk: Mutex::default(),
            bucket: Mutex::default(),
            put_off: Mutex::default(),
            written: Mutex::default(),
            broker: Mutex::new(broker),
            oracle: Mutex::new(Oracle::new(&plan)),
            trace: Mutex::new(Trace { hash: 0, lines: tells.then(Vec::new) }),
            finding: Mutex::default(),
            slots: Mutex::default(),
            clocks: Mutex::default(),
            random: Mutex::new(Random::new(plan.seed, 3)),
            next_process: Mutex::default(),
            deaths: Mutex::default(),
            begun: Instant::now(),
            is_ending: AtomicBool::new(false),
            by_id: plan.frames.iter().map(|frame| (frame.id, *frame)).collect(),
            plan,
        }
    }

    /// Milliseconds since the beginning.
    pub fn millis(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap()
    }

    pub fn frame(&self, id: usize) -> Frame {
        self.by_id[&id]
    }

    /// Something has happened.
    pub fn note(&self, what: &'static str, worker: usize, of: &str) {
        let millis = self.millis();
        let mut trace = self.trace.lock().unwrap();
        let numbers = millis.to_le_bytes().into_iter().chain([worker.to_le_bytes()[0]]);
        for byte in what.bytes().chain(of.bytes()).chain(numbers) {
            trace.hash = (trace.hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
        if let Some(lines) = &mut trace.lines {
            lines.push(format!("{millis:6} ms, worker {worker}: {what} {of}"));
        }
    }

    /// Something is wrong; the first of it is what is told.
    pub fn find(&self, finding: String) {
        self.note("FINDING", 0, &finding);
        self.finding.lock().unwrap().get_or_insert(finding);
    }

    fn is_over(&self) -> bool {
        self.finding.lock().unwrap().is_some()
    }

    pub fn broker<T>(&self, look: impl FnOnce(&mut BrokerState) -> T) -> T {
        look(&mut self.broker.lock().unwrap())
    }

    fn ask(&self, question: impl FnOnce(&mut Oracle) -> Result<(), String>) {
        let answer = question(&mut self.oracle.lock().unwrap());
        if let Err(finding) = answer {
            self.find(finding);
        }
    }

    pub fn is_acked(&self, worker: usize, frames: &[usize]) {
        self.note("acknowledges", worker, &format!("{frames:?}"));
        self.ask(|oracle| oracle.acked(self, frames));
    }

    pub fn is_parked(&self, worker: usize, frame: usize, reason: &'static str) {
        self.note("parks", worker, &format!("{frame} for {reason}"));
        self.oracle.lock().unwrap().parked(frame, reason);
    }

    /// A playlist or a state has a new content.
    pub fn is_seen(&self, process: u64, path: &str) {
        let device = path.split('/').nth(3).and_then(|name| name.strip_prefix("camera-"));
        let Some(device) = device.and_then(|number| number.parse().ok()) else { return };
        if path.ends_with("/hls/playlist.m3u8") {
            self.ask(|oracle| oracle.playlist_seen(self, device));
        } else if path.ends_with("/hls/state.json") {
            if self.plant.is_some() {
                let content = match self.plan.storage {
                    Storage::Disk => self.disk.lock().unwrap().seen(path).map(<[u8]>::to_vec),
                    Storage::Bucket => {
                        self.bucket.lock().unwrap().get(path).map(|(_, bytes)| bytes.to_vec())
                    }
                };
                let content = content.unwrap_or_default();
                self.written.lock().unwrap().insert((process, path.to_owned()), content);
            }
            self.ask(|oracle| oracle.state_seen(self, device));
        }
    }

    /// What a process reads in the place of a device's state, under a planted fault.
    pub fn planted_state(
        &self,
        plant: Plant,
        process: u64,
        path: &str,
        is: &[u8],
    ) -> Option<Vec<u8>> {
        let own = self.written.lock().unwrap().get(&(process, path.to_owned())).cloned();
        match plant {
            Plant::NoFencing => own,
            Plant::MemoryOnly if own.is_none() => {
                let mut state: serde_json::Value = serde_json::from_slice(is).ok()?;
                state["last_captured_at"] = serde_json::Value::Null;
                serde_json::to_vec(&state).ok()
            }
            _ => None,
        }
    }

    async fn live(self: &Arc<Self>) {
        for worker in 0..self.plan.workers {
            self.start(worker);
        }
        for (at, due) in self.schedule() {
            sleep(Duration::from_millis(at.saturating_sub(self.millis()))).await;
            if self.is_over() {
                return;
            }
            match due {
                Due::Upload(frame) => self.upload(frame),
                Due::Publish(frames) => self.publish(&frames),
                Due::Fault(what) => self.go_wrong(what),
            }
        }
        self.heal().await;
        let limit = Instant::now() + DRAIN;
        while !self.broker(|broker| broker.is_drained()) {
            if Instant::now() > limit {
                let owed = self.broker(|broker| broker.owed());
                self.find(format!("frames {owed:?} are never settled"));
            }
            if self.is_over() {
                return;
            }
            sleep(Duration::from_millis(250)).await;
        }
        self.leave_all().await;
        if !self.is_over() {
            self.ask(|oracle| oracle.judge(self));
        }
    }

    fn schedule(&self) -> Vec<(u64, Due)> {
        let plan = &self.plan;
        let mut schedule = Vec::new();
        for frame in &plan.frames {
            match frame.kind {
                Kind::NoFile | Kind::Malformed => {}
                Kind::FileLater(by) => schedule.push((frame.published + by, Due::Upload(*frame))),
                _ => schedule.push((frame.published, Due::Upload(*frame))),
            }
        }
        let mut published: Vec<_> = plan
            .frames
            .iter()
            .flat_map(|frame| {
                let again = frame.again.map(|again| (again, *frame));
                [(frame.published, *frame)].into_iter().chain(again)
            })
            .collect();
        published.sort_by_key(|(at, _)| *at);
        let mut batches: Vec<(u64, u64, Vec<Frame>)> = Vec::new();
        for (at, frame) in published {
            let fits = |(first, _, batch): &&mut (u64, u64, Vec<Frame>)| match plan.batching {
                Batching::None => false,
                Batching::ByKey => {
                    batch[0].device == frame.device && at - *first < 2_500 && batch.len() < 4
                }
                Batching::Mixed => at - *first < 1_500 && batch.len() < 5,
            };
            // The newest of its device, or nothing is in order any more.
            let newest = batches.iter_mut().rev().find(|(_, _, batch)| {
                plan.batching != Batching::ByKey || batch[0].device == frame.device
            });
            match newest.filter(fits) {
                Some((_, last, batch)) => {
                    *last = at;
                    batch.push(frame);
                }
                None => batches.push((at, at, vec![frame])),
            }
        }
        schedule.extend(batches.into_iter().map(|(_, last, batch)| (last, Due::Publish(batch))));
        schedule.extend(plan.faults.iter().map(|fault| (fault.at, Due::Fault(fault.what))));
        schedule.sort_by_key(|(at, _)| *at);
        schedule
    }

    fn upload(&self, frame: Frame) {
        let id = EventId::new(&event_id(frame.id)).unwrap();
        let path = frame_path(&device_key(frame.device), &id);
        let bytes = match frame.kind {
            Kind::Bad => BAD,
            Kind::Poison => POISON,
            _ => b"a picture",
        };
        match self.plan.storage {
            Storage::Disk => self.disk.lock().unwrap().upload(&path, bytes),
            Storage::Bucket => {
                self.bucket.lock().unwrap().put(&path, bytes.into());
            }
        }
    }

    fn publish(&self, frames: &[Frame]) {
        let message = |frame: &Frame| {
            let device = device_key(frame.device);
            let id = EventId::new(&event_id(frame.id)).unwrap();
            let at = START.plus_millis(i64::try_from(frame.taken).unwrap());
            let payload = match frame.kind {
                Kind::Malformed => b"no event".to_vec(),
                _ => frame_message(&device, &id, at, &frame_path(&device, &id)).unwrap(),
            };
            let has_key = self.plan.batching != Batching::Mixed;
            let key = has_key.then(|| device.device.to_string());
            Published { frame: frame.id, payload: payload.into(), key }
        };
        let messages: Vec<_> = frames.iter().map(message).collect();
        let ids: Vec<_> = frames.iter().map(|frame| frame.id).collect();
        self.note("publishes", 0, &format!("{ids:?}"));
        let partition = frames[0].device % self.plan.partitions;
        let is_batch = self.plan.batching != Batching::None;
        let now = self.millis();
        self.broker(|broker| broker.publish(partition, messages, is_batch, now));
    }

    fn go_wrong(self: &Arc<Self>, what: What) {
        self.note("goes wrong:", 0, &format!("{what:?}"));
        match what {
            What::Kill { worker, back_after } => {
                self.of_slot(worker, |slot| slot.back_after = Some(back_after));
                self.kill_worker(worker);
            }
            What::KillAtStep { worker, step, back_after } => self.of_slot(worker, |slot| {
                slot.back_after = Some(back_after);
                slot.process.die_at_step(step);
            }),
            What::Stop { worker, lasts } => self.stop(worker, lasts),
            What::Leave { worker, back_after } => self.of_slot(worker, |slot| {
                slot.back_after = Some(back_after);
                slot.stop.cancel();
            }),
            What::PowerCut { back_after } => {
                for worker in 0..self.plan.workers {
                    self.of_slot(worker, |slot| slot.back_after = Some(back_after));
                    self.kill_worker(worker);
                }
                self.disk.lock().unwrap().lose_power(&mut self.random.lock().unwrap());
                self.put_off.lock().unwrap().clear();
                self.ask(|oracle| oracle.power_lost(self));
            }
            What::Clock { worker, by } => {
                *self.clocks.lock().unwrap().entry(worker).or_default() += by;
                self.of_slot(worker, |slot| slot.process.set_clock(by));
            }
            What::Storage { worker, failure, times } => {
                self.of_slot(worker, |slot| slot.process.fail_storage(Some((failure, times))));
            }
            What::Encoder { worker, failure, times } => {
                self.of_slot(worker, |slot| slot.process.fail_encoder(Some((failure, times))));
            }
            What::Unload { partition } | What::BrokerCrash { partition } => {
                // A plan that was made smaller may have fewer.
                let partition = partition % self.plan.partitions;
                let (died, now) = (matches!(what, What::BrokerCrash { .. }), self.millis());
                self.broker(|broker| broker.unload(partition, died, now));
            }
            What::Disconnect { worker } => {
                let number = self.of(worker, |slot| slot.process.number);
                let now = self.millis();
                if let Some(number) = number {
                    self.broker(|broker| broker.disconnect_process(number, now));
                }
            }
            What::Upkeep { device } => self.look_after(device),
        }
    }
}
