//! A worker whose broker is in memory, whose encoder makes no pictures and whose clock is moved
//! by hand; the store and the disk are real.

#![allow(dead_code)] // Each test binary uses its own part of it.

#[path = "planned.rs"]
mod planned;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use stream_processor::demo::feed::{frame_message, frame_path};
use stream_processor::encode::{
    Caption, EncodeError, EncodeJob, EncodeOutcome, FrameFault, RejectedFrame,
};
use stream_processor::media::Playback;
use stream_processor::media::timeline::{PictureSize, SegmentPlan, TimelineSettings};
use stream_processor::model::{ClaimedIds, Clock, DeviceKey, EventId, ManualClock, UtcMillis};
use stream_processor::pipeline::accumulator::{AccumulatorSettings, HeldFrame};
use stream_processor::pipeline::attempt::Stages;
use stream_processor::pipeline::captions::Captions;
use stream_processor::pipeline::observers::Observers;
use stream_processor::pipeline::ports::{Committed, Encode, Observer};
use stream_processor::pipeline::worker::{Gauge, Worker, WorkerGauges, WorkerSettings};
use stream_processor::session::SessionRules;
use stream_processor::source::{FrameSource, MemoryFeed, Refusal, SourceHealth};
use stream_processor::store::layout::hls_folder;
use stream_processor::store::{SegmentRecord, Store, StoreSettings};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use planned::planned;

/// When every test begins.
pub const START: UtcMillis = UtcMillis(1_770_000_000_000);
/// What a JPEG holds that does not decode.
pub const BAD_JPEG: &[u8] = b"bad";
/// What a JPEG holds that no helper can encode, whatever it is tried with.
pub const POISON_JPEG: &[u8] = b"poison";
/// How long a frame's file may be missing.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// What sessions go by in every test.
pub const SESSIONS: SessionRules = SessionRules {
    offline_threshold: Duration::from_secs(60),
    commit_every: Duration::from_secs(45),
    max_duration: Some(Duration::from_secs(7_200)),
};
/// How long a test waits for what must come, by the machine's clock.
const LIMIT: Duration = Duration::from_secs(30);

const SIZE: PictureSize = PictureSize { width: 320, height: 180 };

/// Plans as the real one does; its media are a few bytes.
pub struct StubEncoder {
    /// Whether no helper starts.
    pub broken: AtomicBool,
    /// How many frames a helper can do at once.
    pub most_frames: AtomicUsize,
    /// Whether jobs may go on; others wait.
    pub open: watch::Sender<bool>,
    /// How many jobs came.
    pub begun: AtomicUsize,
    /// What was to be written on the pictures of the jobs that were done.
    pub captions: Mutex<Vec<Option<Caption>>>,
    /// The capture times of the jobs that were done, in their order.
    pub done: Mutex<Vec<Vec<UtcMillis>>>,
}

#[async_trait]
impl Encode for StubEncoder {
    async fn encode(&self, job: EncodeJob) -> Result<EncodeOutcome, EncodeError> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let mut open = self.open.subscribe();
        open.wait_for(|open| *open).await.expect("the encoder lives");
        if self.broken.load(Ordering::SeqCst) {
            return Err(EncodeError::Start { starts: 4, reason: "the test breaks it".into() });
        }
        let too_much = job.frames.iter().any(|frame| frame.jpeg == POISON_JPEG)
            || job.frames.len() > self.most_frames.load(Ordering::SeqCst);
        if too_much {
            return Err(EncodeError::Failed { detail: "no memory".into() });
        }
        let is_bad = |index: &usize| job.frames[*index].jpeg == BAD_JPEG;
        let (bad, good): (Vec<_>, Vec<_>) = (0..job.frames.len()).partition(is_bad);
        let settings = TimelineSettings {
            playback: Playback::Realtime,
            max_segment_millis: 33_499,
            default_interval_millis: 5_000,
            encoding: 1,
        };
        let media =
            |_: &SegmentPlan, captured_at| (Bytes::from(format!("segment of {captured_at}")), None);
        let (segments, timeline) = planned(&job, &good, SIZE, settings, media);
        let rejected = |frame| {
            let detail = "the test says so".into();
            RejectedFrame { frame, fault: FrameFault::Undecodable, detail }
        };
        let rejected = bad.into_iter().map(rejected).collect();
        let captured_at = good.iter().map(|index| job.frames[*index].captured_at);
        self.done.lock().unwrap().push(captured_at.collect());
        self.captions.lock().unwrap().extend(job.frames.into_iter().map(|frame| frame.caption));
        Ok(EncodeOutcome { segments, rejected, timeline, cpu_micros: 0 })
    }
}

/// What the worker told of.
#[derive(Debug, Default)]
pub struct Seen {
    pub duplicates: AtomicUsize,
    pub committed: AtomicUsize,
    pub deferred: AtomicUsize,
    pub most_held: AtomicUsize,
    pub troubles: Mutex<Vec<(DeviceKey, &'static str)>>,
}

impl Seen {
    /// How often a device could not go on for that reason.
    pub fn troubles_of(&self, device: &DeviceKey, reason: &str) -> usize {
        let troubles = self.troubles.lock().unwrap();
        troubles.iter().filter(|(of, why)| of == device && *why == reason).count()
    }
}

impl Observer for Seen {
    fn encoded(&self, _: &EncodeOutcome, _: Duration) {}
    fn committed(&self, _: &DeviceKey, commit: &Committed<'_>) {
        self.committed.fetch_add(commit.frames.len(), Ordering::SeqCst);
    }
    fn duplicate(&self, _: &DeviceKey, _: &HeldFrame) {
        self.duplicates.fetch_add(1, Ordering::SeqCst);
    }
    fn refused(&self, _: &DeviceKey, _: &HeldFrame, _: &Refusal) {}
    fn trouble(
        &self,
        device: &DeviceKey,
        reason: &'static str,
        _: &(dyn std::error::Error + 'static),
        _: Duration,
    ) {
        self.troubles.lock().unwrap().push((device.clone(), reason));
    }
}

impl Gauge for Seen {
    fn tick(&self, gauges: WorkerGauges, _: &SourceHealth, _: UtcMillis) {
        self.most_held.fetch_max(gauges.frames_held, Ordering::SeqCst);
    }
    fn received(&self, _: &DeviceKey, _: UtcMillis) {}
    fn deferred(&self) {
        self.deferred.fetch_add(1, Ordering::SeqCst);
    }
    fn unreadable(&self, _: &ClaimedIds, _: &Refusal) {}
    fn forgotten(&self, _: &[DeviceKey]) {}
}

/// The storage and the clock; workers come and go.
pub struct Rig {
    base: tempfile::TempDir,
    pub clock: Arc<ManualClock>,
    pub store: Store,
    pub settings: AccumulatorSettings,
    pub captions: Option<Captions>,
}

/// A running worker.
pub struct Running {
    pub encoder: Arc<StubEncoder>,
    pub seen: Arc<Seen>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    /// Tells it to leave.
    pub fn tell_to_leave(&self) {
        self.stop.cancel();
    }

    /// Whether it has left.
    pub fn is_gone(&self) -> bool {
        self.task.is_finished()
    }

    /// Waits until it has left.
    pub async fn has_left(self) {
        tokio::time::timeout(LIMIT, self.task).await.expect("it leaves").expect("no panic");
    }

    pub async fn leave(self) {
        self.tell_to_leave();
        self.has_left().await;
    }
}

pub fn device(name: &str) -> DeviceKey {
    DeviceKey::new("client", name).unwrap()
}

/// The id of a device's frame of that second.
pub fn id(name: &str, second: i64) -> EventId {
    EventId::new(&format!("{name}-{second}")).unwrap()
}

impl Rig {
    /// Six frames or 30 seconds make a segment.
    pub fn new() -> Self {
        let base = tempfile::tempdir().unwrap();
        let store = Store::at(base.path(), StoreSettings::default()).unwrap();
        let settings = AccumulatorSettings {
            frames_per_segment: 6,
            close_after: Duration::from_secs(30),
            max_held: 240,
            max_held_per_device: 24,
            live_within: Duration::from_secs(90),
            forget_after: Duration::from_secs(3_600),
        };
        let clock = Arc::new(ManualClock::new(START));
        Self { base, clock, store, settings, captions: None }
    }

    /// Starts a worker on the feed.
    pub fn start(&self, feed: &MemoryFeed) -> Running {
        self.start_telling(feed, Vec::new())
    }

    /// Starts a worker on the feed that tells others as well.
    pub fn start_telling(&self, feed: &MemoryFeed, others: Vec<Arc<dyn Observer>>) -> Running {
        let encoder = Arc::new(StubEncoder {
            broken: AtomicBool::new(false),
            most_frames: AtomicUsize::new(usize::MAX),
            open: watch::Sender::new(true),
            begun: AtomicUsize::new(0),
            captions: Mutex::default(),
            done: Mutex::default(),
        });
        let seen = Arc::new(Seen::default());
        let source = feed.open();
        let stages = Stages {
            // Its own, as another process has: nothing is remembered in memory.
            store: Store::at(self.base.path(), StoreSettings::default()).unwrap(),
            sessions: SESSIONS,
            encoder: Arc::clone(&encoder) as _,
            settler: source.settler(),
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            observer: Arc::new(Observers([vec![Arc::clone(&seen) as _], others].concat())),
            captions: self.captions.clone(),
            missing_file_patience: PATIENCE,
        };
        let settings = WorkerSettings {
            accumulator: self.settings,
            groups_under_way: 4,
            stop_grace: Duration::from_secs(20),
        };
        let gauge = Arc::clone(&seen) as _;
        let worker = Worker::new(Box::new(source), Arc::new(stages), gauge, settings);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move { worker.run(stopped).await.expect("no defect") });
        Running { encoder, seen, stop, task }
    }

    /// Where everything is.
    pub fn base(&self) -> &Path {
        self.base.path()
    }

    pub fn hls(&self, name: &str) -> PathBuf {
        self.base.path().join(hls_folder(&device(name)))
    }

    fn file(&self, name: &str, second: i64) -> PathBuf {
        self.base.path().join(frame_path(&device(name), &id(name, second)))
    }

    /// Writes a frame's file.
    pub fn write_file(&self, name: &str, second: i64, jpeg: &[u8]) {
        let file = self.file(name, second);
        std::fs::create_dir_all(file.parent().unwrap_or(Path::new("/"))).unwrap();
        std::fs::write(file, jpeg).unwrap();
    }

    /// The message of a frame taken that many seconds after the start; its file is not written.
    pub fn message(&self, name: &str, second: i64) -> Bytes {
        let (device, id) = (device(name), id(name, second));
        let at = START.plus_millis(second * 1_000);
        frame_message(&device, &id, at, &frame_path(&device, &id)).unwrap().into()
    }

    /// Writes the file and returns the message.
    pub fn frame(&self, name: &str, second: i64) -> Bytes {
        self.write_file(name, second, b"a picture");
        self.message(name, second)
    }

    /// Publishes frames, each as an entry of its own.
    pub fn publish(&self, feed: &MemoryFeed, name: &str, seconds: impl IntoIterator<Item = i64>) {
        for second in seconds {
            feed.publish(self.frame(name, second));
        }
    }

    /// Moves the clock on until it is so.
    pub async fn run_until(&self, what: &str, is_so: impl Fn() -> bool) {
        self.moved_until(what, Duration::from_millis(50), is_so).await;
    }

    /// Waits until it is so, on a clock that stands still.
    pub async fn wait_until(&self, what: &str, is_so: impl Fn() -> bool) {
        self.moved_until(what, Duration::ZERO, is_so).await;
    }

    async fn moved_until(&self, what: &str, step: Duration, is_so: impl Fn() -> bool) {
        let begun = Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < LIMIT, "it never comes to this: {what}");
            self.clock.advance(step);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Moves the clock on by that much, in steps between which the worker gets its turn.
    pub async fn run_for(&self, duration: Duration) {
        let until = self.clock.now().plus(duration);
        self.run_until("time passes", || self.clock.now() >= until).await;
    }

    /// The device's committed segments.
    pub async fn segments(&self, name: &str) -> Vec<SegmentRecord> {
        self.store.committed_segments(&device(name)).await.unwrap()
    }

    /// The device's committed frames, by the second they were taken.
    pub async fn seconds(&self, name: &str) -> Vec<i64> {
        let frames = self.store.committed_frames(&device(name)).await.unwrap();
        frames.map(|frame| frame.captured_at.millis_since(START) / 1_000).collect()
    }
}

/// Why frames were parked, and which.
pub fn parked(feed: &MemoryFeed) -> Vec<(&'static str, String)> {
    let event_id = |payload: &[u8]| {
        let message: serde_json::Value = serde_json::from_slice(payload).unwrap_or_default();
        message["eventId"].as_str().unwrap_or_default().to_owned()
    };
    let parked = feed.parked();
    parked.iter().map(|parked| (parked.refusal.reason, event_id(&parked.payload))).collect()
}
