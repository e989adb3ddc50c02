//! The processes of a world: how they begin, are stopped, die and leave.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use stream_processor::pipeline::accumulator::AccumulatorSettings;
use stream_processor::pipeline::attempt::Stages;
use stream_processor::pipeline::worker::{Worker, WorkerSettings};
use stream_processor::session::SessionRules;
use stream_processor::source::FrameSource;
use stream_processor::source::pulsar::{
    PulsarAuth, PulsarLimits, PulsarSettings, PulsarSource, PulsarTimings, PulsarTls,
};
use stream_processor::store::{Store, StoreSettings};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::told::Told;
use super::{START, Slot, World};
use crate::broker::WorkerBroker;
use crate::bucket::WorkerBucket;
use crate::disk::WorkerDisk;
use crate::encoder::WorkerEncoder;
use crate::oracle::device_key;
use crate::plan::Storage;
use crate::process::{Process, WorkerClock, WorkerThreads};

impl World {
    pub(super) fn of<T>(&self, worker: usize, look: impl FnOnce(&mut Slot) -> T) -> Option<T> {
        self.slots.lock().unwrap().get_mut(&worker).map(look)
    }

    pub(super) fn of_slot(&self, worker: usize, look: impl FnOnce(&mut Slot)) {
        self.of(worker, look);
    }

    pub(super) fn new_process(self: &Arc<Self>, worker: usize) -> Arc<Process> {
        let number = {
            let mut next = self.next_process.lock().unwrap();
            *next += 1;
            *next
        };
        let offset = self.clocks.lock().unwrap().get(&worker).copied().unwrap_or(0);
        Arc::new(Process::new(self, worker, number, offset))
    }

    pub(super) fn store(&self, process: &Arc<Process>) -> Store {
        let settings = StoreSettings {
            target_duration_secs: 8,
            retention: Duration::from_secs(self.plan.retention_secs),
            lock_wait: Duration::from_millis(300),
            ..StoreSettings::default()
        };
        let threads = Arc::new(WorkerThreads(Arc::clone(process)));
        match self.plan.storage {
            Storage::Disk => {
                let disk = Arc::new(WorkerDisk(Arc::clone(process)));
                Store::on_disk(disk, threads, settings)
            }
            Storage::Bucket => {
                let bucket = Arc::new(WorkerBucket(Arc::clone(process)));
                Store::in_bucket(bucket, "", threads, settings)
            }
        }
    }

    pub(super) fn start(self: &Arc<Self>, worker: usize) {
        let process = self.new_process(worker);
        let number = process.number;
        self.note("starts", worker, "");
        let source =
            PulsarSource::of(WorkerBroker(Arc::clone(&process)), self.source_settings(worker));
        let stages = Stages {
            store: self.store(&process),
            sessions: SessionRules {
                offline_threshold: Duration::from_secs(15),
                commit_every: Duration::from_secs(10),
                max_duration: Some(Duration::from_secs(30)),
            },
            encoder: Arc::new(WorkerEncoder(Arc::clone(&process))),
            settler: source.settler(),
            clock: Arc::new(WorkerClock(Arc::clone(&process))),
            observer: Arc::new(Told(Arc::clone(&process))),
            captions: None,
            missing_file_patience: Duration::from_secs(4),
        };
        let settings = WorkerSettings {
            accumulator: AccumulatorSettings {
                frames_per_segment: self.plan.frames_per_segment,
                close_after: Duration::from_secs(4),
                max_held: self.plan.max_held,
                max_held_per_device: self.plan.max_held_per_device,
                live_within: Duration::from_secs(10),
                forget_after: Duration::from_secs(20),
            },
            groups_under_way: self.plan.groups_under_way,
            stop_grace: Duration::from_secs(3),
        };
        let gauge = Arc::new(Told(Arc::clone(&process)));
        let pipeline = Worker::new(Box::new(source), Arc::new(stages), gauge, settings);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let world = Arc::clone(self);
        let task = tokio::spawn(async move {
            let ended = pipeline.run(stopped.clone()).await;
            if let Err(error) = ended {
                world.find(format!("worker {worker}: {error}"));
            } else if !stopped.is_cancelled() {
                world.find(format!("worker {worker} ended by itself"));
            }
            // A commit that nobody waits for any more goes on until the process is gone.
            sleep(Duration::from_millis(200)).await;
            world.note("has left", worker, "");
            world.kill(number);
        });
        let task = task.abort_handle();
        let slot = Slot { process, stop, task, back_after: Some(0) };
        self.slots.lock().unwrap().insert(worker, slot);
    }

    pub(super) fn source_settings(&self, worker: usize) -> PulsarSettings {
        PulsarSettings {
            service_url: "pulsar://broker:6650".into(),
            admin_url: None,
            topic: "persistent://streamhub/stream/frames".into(),
            subscription: "stream-processor".into(),
            consumer_name: format!("worker-{worker}"),
            auth: PulsarAuth::None,
            tls: PulsarTls::default(),
            timings: PulsarTimings {
                // The pauses would be drawn at random.
                backoff_min: Duration::ZERO,
                backoff_max: Duration::ZERO,
                watchdog_interval: Duration::from_secs(5),
                close_timeout: Duration::from_secs(2),
                ..PulsarTimings::default()
            },
            limits: PulsarLimits {
                lane_messages: self.plan.lane_messages,
                ..PulsarLimits::default()
            },
        }
    }

    pub(super) fn kill_worker(self: &Arc<Self>, worker: usize) {
        if let Some(number) = self.of(worker, |slot| slot.process.number) {
            self.kill(number);
        }
    }

    /// Ends a process between two of its instructions; another takes its place later.
    pub fn kill(self: &Arc<Self>, number: u64) {
        let (worker, slot) = {
            let mut slots = self.slots.lock().unwrap();
            let found = slots.iter().find(|(_, slot)| slot.process.number == number);
            let Some(worker) = found.map(|(worker, _)| *worker) else { return };
            let Some(slot) = slots.remove(&worker) else { return };
            (worker, slot)
        };
        self.note("is dead", worker, "");
        *self.deaths.lock().unwrap() += 1;
        slot.process.die();
        slot.task.abort();
        self.disk.lock().unwrap().release_process(number);
        let now = self.millis();
        self.broker(|broker| broker.disconnect_process(number, now));
        if let Some(back_after) = slot.back_after {
            let world = Arc::clone(self);
            tokio::spawn(async move {
                sleep(Duration::from_millis(back_after)).await;
                let is_free = !world.slots.lock().unwrap().contains_key(&worker);
                if is_free && !world.is_ending.load(Ordering::Relaxed) {
                    world.start(worker);
                }
            });
        }
    }

    pub(super) fn stop(self: &Arc<Self>, worker: usize, lasts: u64) {
        let Some(process) = self.of(worker, |slot| Arc::clone(&slot.process)) else { return };
        process.stop(true);
        let world = Arc::clone(self);
        let keep_alive = self.random.lock().unwrap().within(1_000, 6_000);
        tokio::spawn(async move {
            sleep(Duration::from_millis(keep_alive.min(lasts))).await;
            if lasts > keep_alive {
                let now = world.millis();
                world.broker(|broker| broker.disconnect_process(process.number, now));
                sleep(Duration::from_millis(lasts - keep_alive)).await;
            }
            world.note("goes on", worker, "");
            process.stop(false);
        });
    }

    /// Another process trims the window and ends the session.
    pub(super) fn look_after(self: &Arc<Self>, device: usize) {
        let process = self.new_process(self.plan.workers);
        let store = self.store(&process);
        let world = Arc::clone(self);
        let key = device_key(device);
        tokio::spawn(async move {
            let now = START.plus_millis(i64::try_from(world.millis()).unwrap());
            // What keeps it from it is not what is looked for here.
            let _ = store.trim_window(&key, now, Duration::from_secs(10), 0).await;
            let state = store.on_device(&key, |folder| folder.state()).await;
            if let Some(session) = state.ok().flatten().and_then(|state| state.session) {
                let _ = store.end_session(&key, &session.id, now).await;
            }
        });
    }

    /// Nothing goes wrong any more.
    pub(super) async fn heal(self: &Arc<Self>) {
        self.note("nothing goes wrong any more", 0, "");
        sleep(Duration::from_secs(1)).await;
        for worker in 0..self.plan.workers {
            self.of_slot(worker, |slot| {
                slot.process.fail_storage(None);
                slot.process.fail_encoder(None);
                slot.process.die_at_step(u64::MAX);
            });
        }
    }

    pub(super) async fn leave_all(self: &Arc<Self>) {
        self.is_ending.store(true, Ordering::Relaxed);
        for worker in 0..self.plan.workers {
            self.of_slot(worker, |slot| {
                slot.back_after = None;
                slot.stop.cancel();
            });
        }
        let limit = Instant::now() + Duration::from_secs(60);
        while !self.slots.lock().unwrap().is_empty() && !self.is_over() {
            if Instant::now() > limit {
                self.find("a worker does not leave".into());
            }
            sleep(Duration::from_millis(250)).await;
        }
    }
}
