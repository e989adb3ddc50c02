//! A long window, made quickly: real frames through the real encoders and the real commit, only
//! that the capture and commit times are of the past.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use stream_processor::demo::Scene;
use stream_processor::encode::{EncodeJob, EncodeSettings, EncoderPool, JobFrame, StreamSoFar};
use stream_processor::media::timeline::TimelineSettings;
use stream_processor::media::{Container, Playback};
use stream_processor::model::{Clock, DeviceKey, EventId, SystemClock, UtcMillis};
use stream_processor::store::{DeviceState, FrameRecord, NewSegment, Store, StoreSettings};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::encoder::{encode_settings, pool_settings};
use super::history::watch::Watcher;

const INTERVAL_MILLIS: i64 = 5_000;
const FRAMES: u64 = 6;
const SEGMENT_MILLIS: i64 = 30_000;
/// A tenth more than a segment, as the worker has it.
const TARGET_SECS: u32 = 33;
/// How long after its end a segment is committed.
const COMMIT_DELAY: Duration = Duration::from_millis(700);
/// Different pictures, shown in turn.
const PICTURES: i64 = 24;

/// A device's stream that ends about now.
pub struct Day {
    pub device: DeviceKey,
    hls: PathBuf,
    store: Store,
    pool: EncoderPool,
    state: DeviceState,
    pictures: Arc<[Bytes]>,
    start: UtcMillis,
}

/// One that goes on.
pub struct GrowingDay {
    pub device: DeviceKey,
    watcher: Watcher,
    growing: JoinHandle<Day>,
    stop: CancellationToken,
    first_new: u64,
}

impl Day {
    /// Makes that many segments, the last of which ends about now.
    pub async fn make(
        base: &Path,
        name: &str,
        container: Container,
        playback: Playback,
        segments: u64,
    ) -> Self {
        let device = DeviceKey::new("days", name).expect("a device's name");
        let usual = encode_settings();
        let max_segment_millis = TARGET_SECS * 1_000 + 499;
        let timeline = TimelineSettings { playback, max_segment_millis, ..usual.timeline };
        let encode = EncodeSettings { container, timeline, ..usual };
        let pool = EncoderPool::start(pool_settings(1, encode));
        let settings =
            StoreSettings { target_duration_secs: TARGET_SECS, ..StoreSettings::default() };
        let store = Store::at(base, settings).expect("the storage");
        let span = SEGMENT_MILLIS * i64::try_from(segments).expect("small");
        let mut day = Self {
            hls: base.join(format!("client_ids/days/device_id/{name}/hls")),
            state: store.open(&device).await.expect("a new device"),
            store,
            pool: pool.await.expect("an encoder"),
            pictures: pictures(),
            start: SystemClock.now().plus_millis(-span),
            device,
        };
        while day.state.next_segment < segments {
            day.commit_next().await;
        }
        day
    }

    fn ends_at(&self, number: u64) -> UtcMillis {
        self.start.plus_millis(SEGMENT_MILLIS * i64::try_from(number + 1).expect("small"))
    }

    /// Encodes and commits the next six frames.
    async fn commit_next(&mut self) {
        let number = self.state.next_segment;
        let taken_at = |index: u64| {
            let taken = i64::try_from(number * FRAMES + index).expect("small");
            (taken, self.start.plus_millis(taken * INTERVAL_MILLIS))
        };
        let frames = (0..FRAMES).map(taken_at).map(|(taken, captured_at)| JobFrame {
            captured_at,
            jpeg: self.pictures[usize::try_from(taken % PICTURES).expect("small")].clone(),
            caption: None,
        });
        let job = EncodeJob {
            stream: StreamSoFar { timeline: self.state.timeline, ..StreamSoFar::NEW },
            frames: frames.collect(),
        };
        let outcome = self.pool.encode(job).await.expect("it is encoded");
        assert!(outcome.rejected.is_empty(), "{:?}", outcome.rejected);
        let [segment] = <[_; 1]>::try_from(outcome.segments).expect("one segment");
        let records = segment.frames.iter().map(|index| {
            let (taken, captured_at) = taken_at(*index as u64);
            let event_id = EventId::new(&format!("{taken:08}-0000-4000-8000-000000000000"));
            FrameRecord { event_id: event_id.expect("an id"), captured_at, file: None }
        });
        let new = NewSegment {
            frames: records.collect(),
            media: segment.media,
            init: segment.init,
            duration_millis: segment.duration_millis,
            captured_at: segment.captured_at,
            discontinuity: segment.discontinuity,
            begins_session: false,
            frame_bytes: 0,
        };
        let committed_at = self.ends_at(number).plus(COMMIT_DELAY);
        let commit =
            self.store.commit(&self.device, &self.state, vec![new], outcome.timeline, committed_at);
        self.state = commit.await.expect("it is committed");
    }

    /// Goes on in real time: each segment is committed when its last frame has been shown.
    pub fn grow(mut self) -> GrowingDay {
        let stop = CancellationToken::new();
        let until = stop.clone();
        let (device, first_new) = (self.device.clone(), self.state.next_segment);
        let watcher = Watcher::of(&self.hls);
        let growing = tokio::spawn(async move {
            loop {
                let due = self.ends_at(self.state.next_segment).plus(COMMIT_DELAY);
                tokio::select! {
                    () = until.cancelled() => return self,
                    () = tokio::time::sleep(due.since(SystemClock.now())) => {}
                }
                self.commit_next().await;
            }
        });
        GrowingDay { device, watcher, growing, stop, first_new }
    }

    /// Ends its encoder.
    pub async fn close(self) {
        self.pool.close().await;
    }
}

impl GrowingDay {
    /// Stops and judges what was published meanwhile.
    pub async fn finish(self) {
        self.stop.cancel();
        let day = self.growing.await.expect("it has grown");
        let grown = day.state.next_segment - self.first_new;
        let checker = self.watcher.stop();
        let listed = checker.listed().len();
        println!("{}: {listed} segments listed, {grown} of them while it was sought", self.device);
        assert!(grown > 0, "{} has not grown", self.device);
        assert!(listed >= 2_880, "{} lists {listed} segments", self.device);
        checker.assert_clean();
        day.close().await;
    }
}

fn pictures() -> Arc<[Bytes]> {
    let scene = Scene::new(3, 160, 96, false).expect("a scene");
    let start = UtcMillis(1_769_846_400_000);
    let at = |index| scene.jpeg(start.plus_millis(index * INTERVAL_MILLIS), "day");
    (0..PICTURES).map(|index| Bytes::from(at(index).expect("a picture"))).collect()
}
