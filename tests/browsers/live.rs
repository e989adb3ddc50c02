//! Streams that a worker makes while they are watched: cameras, broker, worker, server.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pulsar::producer::Message;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use stream_processor::demo::Scene;
use stream_processor::demo::feed::{frame_message, frame_path};
use stream_processor::model::{Clock, DeviceKey, EventId, SystemClock, UtcMillis};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::PATIENCE;
use super::broker::{Broker, Publisher};
use super::browser::StreamServer;
use super::consumer::Consumer;
use super::history::parse;
use super::history::watch::Watcher;

const INTERVAL_MILLIS: i64 = 1_000;
/// How far a frame may be from its time: cameras are not exact.
const JITTER_MILLIS: i64 = 180;
/// Frames that were taken before the cameras are first looked at: ten segments.
const EARLIER_FRAMES: i64 = 40;
/// So many segments are listed before anybody plays.
const SEGMENTS_TO_BEGIN_WITH: usize = 8;

/// Two cameras, their worker, their streams.
pub struct LiveStreams {
    pub devices: Vec<DeviceKey>,
    pub server: StreamServer,
    folder: tempfile::TempDir,
    consumer: Consumer,
    watchers: Vec<Watcher>,
    filming: JoinHandle<()>,
    stop: CancellationToken,
}

impl LiveStreams {
    /// Starts everything and waits until there is something to play.
    pub async fn start(container: &str, seed: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let base = folder.path();
        let broker = Broker::shared().await;
        let topic = broker.topic(container);
        let variables = [
            ("PROCESSING_CONTAINER", container),
            ("PROCESSING_SEGMENT_DURATION_SECONDS", "4"),
            ("PROCESSING_FRAMES_PER_SEGMENT", "4"),
        ];
        let consumer = Consumer::start(broker, &topic, "live", base, &variables).await;
        let names = ["native", "hlsjs"].map(|player| format!("{container}-{player}"));
        let devices: Vec<_> =
            names.iter().map(|name| DeviceKey::new("live", name).expect("a name")).collect();
        let watchers = devices.iter().map(|device| Watcher::of(&hls(base, device))).collect();
        let cameras = Cameras {
            base: base.to_owned(),
            devices: devices.clone(),
            scene: Scene::new(seed, 160, 96, false).expect("a scene"),
            publisher: broker.publisher(&topic).await,
            jitter: ChaCha8Rng::seed_from_u64(seed),
            taken: 0,
        };
        println!("{container}: cameras with seed {seed}");
        let stop = CancellationToken::new();
        let filming = tokio::spawn(cameras.film(stop.clone()));
        let server = StreamServer::of(base).await;
        let streams = Self { devices, server, folder, consumer, watchers, filming, stop };
        let begun = Instant::now();
        while streams.devices.iter().any(|device| streams.listed(device) < SEGMENTS_TO_BEGIN_WITH) {
            let log = || streams.consumer.log_text();
            assert!(begun.elapsed() < PATIENCE, "too few segments:\n{}", log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        streams
    }

    fn listed(&self, device: &DeviceKey) -> usize {
        let path = hls(self.folder.path(), device).join("playlist.m3u8");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        parse::parse(&text).map_or(0, |version| version.segments.len())
    }

    /// Where the device's files are.
    pub fn hls(&self, device: &DeviceKey) -> PathBuf {
        hls(self.folder.path(), device)
    }

    /// What a command has to be told to find them.
    pub fn storage(&self) -> [(&'static str, String); 1] {
        [("STORAGE_BASE_PATH", self.folder.path().display().to_string())]
    }

    /// Stops it all and judges what was published.
    pub async fn finish(self) {
        self.stop.cancel();
        self.filming.await.expect("the cameras have not panicked");
        let status = self.consumer.leave().await;
        assert!(status.success(), "{status}");
        for (watcher, device) in self.watchers.into_iter().zip(&self.devices) {
            let mut checker = watcher.stop();
            checker.check_media();
            let (versions, segments) = (checker.versions(), checker.listed().len());
            println!("{device}: {segments} segments in {versions} versions of its playlist");
            checker.assert_clean();
        }
    }
}

fn hls(base: &Path, device: &DeviceKey) -> PathBuf {
    base.join(format!("client_ids/{}/device_id/{}/hls", device.client, device.device))
}

struct Cameras {
    base: PathBuf,
    devices: Vec<DeviceKey>,
    scene: Scene,
    publisher: Publisher,
    jitter: ChaCha8Rng,
    taken: i64,
}

impl Cameras {
    async fn film(mut self, stop: CancellationToken) {
        let start = SystemClock.now().plus_millis(-EARLIER_FRAMES * INTERVAL_MILLIS);
        loop {
            let jitter = self.jitter.random_range(-JITTER_MILLIS..=JITTER_MILLIS);
            let at = start.plus_millis(self.taken * INTERVAL_MILLIS + jitter);
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(at.since(SystemClock.now())) => {}
            }
            self.take(at).await;
            self.taken += 1;
        }
    }

    /// Plays ingest service for one frame of each camera.
    async fn take(&mut self, at: UtcMillis) {
        let jpeg = self.scene.jpeg(at, "live").expect("a picture");
        let mut messages = Vec::new();
        for device in &self.devices {
            let id = EventId::new(&format!("{}-{:06}", device.device, self.taken));
            let id = id.expect("an id");
            let path = frame_path(device, &id);
            let file = self.base.join(&path);
            std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
            std::fs::write(&file, &jpeg).expect("a frame is written");
            messages.push(Message {
                payload: frame_message(device, &id, at, &path).expect("a message"),
                partition_key: Some(device.device.as_str().to_owned()),
                ..Message::default()
            });
        }
        self.publisher.publish_messages(messages).await;
    }
}
