//! What is over: sessions that a worker has made of real frames and a checker has archived,
//! played as archives and as clips from `serve`.

use std::path::Path;
use std::time::{Duration, Instant};

use pulsar::producer::Message;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use stream_processor::demo::Scene;
use stream_processor::demo::feed::{frame_message, frame_path};
use stream_processor::http::playback::address::{archive_url, device_url};
use stream_processor::model::{Clock, DeviceKey, EventId, SessionId, SystemClock, UtcMillis};
use stream_processor::store::{Store, StoreSettings};

use super::PATIENCE;
use super::broker::Broker;
use super::consumer::Consumer;
use super::serving::{Server, command};

const INTERVAL_MILLIS: i64 = 5_000;
/// How far a frame may be from its time: cameras are not exact.
const JITTER_MILLIS: i64 = 400;
/// Ten segments of six frames: five minutes.
const FRAMES: usize = 60;
/// The clip begins that long after the second frame and ends that long after the last but two.
const INTO_A_FRAME_MILLIS: i64 = 1_700;

/// A session that is over and archived.
pub struct Past {
    device: DeviceKey,
    folder: tempfile::TempDir,
    taken: Vec<UtcMillis>,
    session: SessionId,
}

impl Past {
    /// Films a session in the past, has a worker make segments of it and a checker an archive.
    pub async fn make(container: &str, seed: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let base = folder.path();
        let device = DeviceKey::new("past", container).expect("a name");
        let broker = Broker::shared().await;
        let topic = broker.topic("past");
        let variables = [("PROCESSING_CONTAINER", container)];
        let consumer = Consumer::start(broker, &topic, "past", base, &variables).await;
        println!("{device}: a camera with seed {seed}");
        let (taken, messages) = film(base, &device, seed);
        broker.publisher(&topic).await.publish_messages(messages).await;
        let store = Store::at(base, StoreSettings::default()).expect("the storage");
        let begun = Instant::now();
        while store.committed_frames(&device).await.expect("records").count() < FRAMES {
            assert!(begun.elapsed() < PATIENCE, "too few frames:\n{}", consumer.log_text());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let status = consumer.leave().await;
        assert!(status.success(), "{status}");
        let session = archived(base, &device).await;
        Self { device, folder, taken, session }
    }

    /// Leaves of the device what an archive is, and nothing else.
    pub fn forget_the_stream(&self) {
        let below = device_url(&self.device);
        let device = self.folder.path().join(&below[1..]);
        std::fs::remove_dir_all(device.join("hls")).expect("the stream goes");
        std::fs::remove_dir_all(device.join("frames")).expect("the frames go");
    }

    pub async fn serve(&self) -> Server {
        let base = self.folder.path().display().to_string();
        Server::start(&[("STORAGE_BASE_PATH", base)], &[]).await
    }

    /// The path of the archive, and how long was captured, in seconds: the last frame is shown
    /// for as long as they are usually apart.
    pub fn archive(&self) -> (String, f64) {
        let millis = self.taken[FRAMES - 1].millis_since(self.taken[0]) + INTERVAL_MILLIS;
        (archive_url(&self.device, &self.session), secs(millis))
    }

    /// The path of a clip that begins and ends within frames, and how long it is, in seconds.
    pub fn clip(&self) -> (String, f64) {
        let from = self.taken[1].plus_millis(INTO_A_FRAME_MILLIS);
        let to = self.taken[FRAMES - 3].plus_millis(INTO_A_FRAME_MILLIS);
        let url = format!("{}/clip.mp4?from={from}&to={to}", device_url(&self.device));
        (url, secs(to.millis_since(from)))
    }
}

#[allow(clippy::cast_precision_loss, reason = "some minutes")]
fn secs(millis: i64) -> f64 {
    millis as f64 / 1_000.0
}

/// Writes the frames of a session that has just ended; returns when they were taken, and the
/// messages that tell of them.
fn film(base: &Path, device: &DeviceKey, seed: u64) -> (Vec<UtcMillis>, Vec<Message>) {
    let scene = Scene::new(seed, 640, 360, true).expect("a scene");
    let mut jitter = ChaCha8Rng::seed_from_u64(seed);
    let count = i64::try_from(FRAMES).expect("small");
    let start = SystemClock.now().plus_millis(-(count + 1) * INTERVAL_MILLIS);
    let mut taken = Vec::new();
    let mut messages = Vec::new();
    for number in 0..count {
        let jitter = jitter.random_range(-JITTER_MILLIS..=JITTER_MILLIS);
        let at = start.plus_millis(number * INTERVAL_MILLIS + jitter);
        let id = EventId::new(&format!("{number:08}-0000-4000-8000-000000000000"));
        let id = id.expect("an id");
        let path = frame_path(device, &id);
        let file = base.join(&path);
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        let jpeg = scene.jpeg(at, device.device.as_str()).expect("a picture");
        std::fs::write(file, jpeg).expect("a frame is written");
        taken.push(at);
        messages.push(Message {
            payload: frame_message(device, &id, at, &path).expect("a message"),
            partition_key: Some(device.device.as_str().to_owned()),
            ..Message::default()
        });
    }
    (taken, messages)
}

/// Has the checker look until it has ended the session and archived it.
async fn archived(base: &Path, device: &DeviceKey) -> SessionId {
    let archives = base.join(&format!("{}/archives", device_url(device))[1..]);
    let storage = [("STORAGE_BASE_PATH", base.display().to_string())];
    let begun = Instant::now();
    loop {
        // It believes in shorter segments than there are, so that silence is noticed soon.
        let output = command("offline-checker", &storage)
            .env("PROCESSING_SEGMENT_DURATION_SECONDS", "2")
            .env("ARCHIVE_OFFLINE_THRESHOLD_SECONDS", "10")
            .env("METRICS_ENABLED", "false")
            .output()
            .expect("the checker runs");
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{log}");
        let made: Vec<_> = std::fs::read_dir(&archives).into_iter().flatten().flatten().collect();
        if let [one] = &made[..] {
            assert!(one.path().join("archive.json").is_file(), "{log}");
            let name = one.file_name().to_string_lossy().into_owned();
            return SessionId::new(&name).expect("a session's name");
        }
        assert!(made.is_empty() && begun.elapsed() < PATIENCE, "{} archives: {log}", made.len());
    }
}
