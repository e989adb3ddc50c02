//! Real segments for fleets of cameras, encoded once and listed by many.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jpeg_encoder::{ColorType, Encoder};
use stream_processor::archive::{ArchiveSettings, Archiver};
use stream_processor::demo::Scene;
use stream_processor::encode::{EncodeJob, EncodeSettings, EncoderPool, JobFrame, StreamSoFar};
use stream_processor::media::Container;
use stream_processor::media::timeline::Timeline;
use stream_processor::model::{DeviceKey, EventId, SystemClock, UtcMillis};
use stream_processor::store::{FrameRecord, NewSegment, Store, StoreSettings};

use super::encoder::{encode_settings, pool_settings};

pub const INTERVAL_MILLIS: i64 = 5_000;
const FRAMES: usize = 6;
/// Long enough for a camera to stay live, or late, while a browser looks at it: a camera is
/// late two segments after its last commit, and offline after four.
const TARGET_SECS: u32 = 110;
/// How long ago the last commit of a late camera was, and of one that is offline.
const LATE: Duration = Duration::from_secs(215);
const OFFLINE: Duration = Duration::from_secs(7_200);

pub fn store(base: &Path) -> Store {
    let settings = StoreSettings { target_duration_secs: TARGET_SECS, ..StoreSettings::default() };
    Store::at(base, settings).unwrap()
}

/// A camera's stream: what is committed of it, and the JPEGs that it shows.
#[derive(Clone)]
pub struct Footage {
    segments: Vec<NewSegment>,
    timeline: Option<Timeline>,
    jpegs: Vec<(EventId, Bytes)>,
}

/// Encodes frames as the worker does.
pub async fn encoder(container: Container) -> EncoderPool {
    let encode = EncodeSettings { container, ..encode_settings() };
    EncoderPool::start(pool_settings(1, encode)).await.unwrap()
}

impl Footage {
    /// Encodes these frames, taken at these instants. A session begins after a silence.
    pub async fn of(pool: &EncoderPool, frames: Vec<(UtcMillis, Bytes)>) -> Self {
        let mut footage = Self { segments: Vec::new(), timeline: None, jpegs: Vec::new() };
        let mut ends_at = None;
        for (number, chunk) in frames.chunks(FRAMES).enumerate() {
            let job = EncodeJob {
                stream: StreamSoFar { timeline: footage.timeline, ..StreamSoFar::NEW },
                frames: chunk
                    .iter()
                    .map(|(at, jpeg)| JobFrame {
                        captured_at: *at,
                        jpeg: jpeg.clone(),
                        caption: None,
                    })
                    .collect(),
            };
            let outcome = pool.encode(job).await.unwrap();
            assert!(outcome.rejected.is_empty(), "{:?}", outcome.rejected);
            footage.timeline = outcome.timeline;
            for segment in outcome.segments {
                let records = segment.frames.iter().map(|index| {
                    let (captured_at, jpeg) = &chunk[*index];
                    let event_id = format!("{:08}-0000-4000-8000-{number:012}", captured_at.0);
                    let event_id = EventId::new(&event_id).unwrap();
                    footage.jpegs.push((event_id.clone(), jpeg.clone()));
                    FrameRecord { event_id, captured_at: *captured_at, file: None }
                });
                let begins_session =
                    ends_at.is_none_or(|end| segment.captured_at.millis_since(end) > 60_000);
                let frames = records.collect();
                ends_at = Some(segment.captured_at.plus_millis(segment.duration_millis.into()));
                footage.segments.push(NewSegment {
                    frames,
                    media: segment.media,
                    init: segment.init,
                    duration_millis: segment.duration_millis,
                    captured_at: segment.captured_at,
                    discontinuity: segment.discontinuity,
                    begins_session,
                    frame_bytes: 0,
                });
            }
        }
        footage
    }

    /// A street that is filmed for so many frames until `ends_at`.
    pub async fn of_a_street(
        pool: &EncoderPool,
        seed: u64,
        (width, height): (u16, u16),
        frames: i64,
        ends_at: UtcMillis,
    ) -> Self {
        let scene = Scene::new(seed, width, height, true).unwrap();
        let at = |index: i64| ends_at.plus_millis((index - frames) * INTERVAL_MILLIS);
        let frame = |index| (at(index), scene.jpeg(at(index), "").unwrap().into());
        Self::of(pool, (0..frames).map(frame).collect()).await
    }

    /// What a camera leaves: the stream, and its last `stills` JPEGs.
    pub async fn commit(&self, base: &Path, store: &Store, key: &DeviceKey, now: UtcMillis) {
        let state = store.open(key).await.unwrap();
        store.commit(key, &state, self.segments.clone(), self.timeline, now).await.unwrap();
        let folder = frames_folder(base, key);
        std::fs::create_dir_all(&folder).unwrap();
        for (event_id, jpeg) in &self.jpegs {
            std::fs::write(folder.join(format!("{event_id}.jpg")), jpeg).unwrap();
        }
    }

    /// The same with the last JPEG alone.
    pub fn with_last_still(mut self) -> Self {
        self.jpegs.drain(..self.jpegs.len() - 1);
        self
    }

    /// The same behind a stream that it does not continue.
    pub fn behind_another(mut self) -> Self {
        self.segments[0].discontinuity = true;
        self
    }

    /// The JPEG of a frame, by its place.
    pub fn jpeg(&self, index: usize) -> &Bytes {
        &self.jpegs[index].1
    }
}

fn frames_folder(base: &Path, key: &DeviceKey) -> PathBuf {
    let (client, device) = (key.client.as_str(), key.device.as_str());
    base.join("client_ids").join(client).join("device_id").join(device).join("frames")
}

/// Frames in a row before the silence of [`telling`], and behind it.
pub const IN_A_ROW: i64 = 60;

/// Frames that tell their place: the left half is as bright as its twelfths, the right half as
/// what is left. Five minutes of them, five of silence, five more.
pub fn telling(starts_at: UtcMillis) -> Vec<(UtcMillis, Bytes)> {
    let frame = |index: i64| {
        let silence = if index < IN_A_ROW { 0 } else { IN_A_ROW * INTERVAL_MILLIS };
        let at = starts_at.plus_millis(index * INTERVAL_MILLIS + silence);
        let grey = |step: i64| u8::try_from(40 + 16 * step).unwrap();
        let row: Vec<u8> =
            (0..160).map(|x| grey(if x < 80 { index / 12 } else { index % 12 })).collect();
        let mut jpeg = Vec::new();
        let pixels = row.repeat(96);
        Encoder::new(&mut jpeg, 95).encode(&pixels, 160, 96, ColorType::Luma).unwrap();
        (at, Bytes::from(jpeg))
    };
    (0..2 * IN_A_ROW).map(frame).collect()
}

/// A segment that no player can play.
fn made_up(captured_at: UtcMillis) -> NewSegment {
    NewSegment {
        media: vec![0x47; 188 * 4].into(),
        init: None,
        duration_millis: 30_000,
        captured_at,
        discontinuity: false,
        begins_session: true,
        frame_bytes: 1,
        frames: vec![FrameRecord { event_id: EventId::new("e").unwrap(), captured_at, file: None }],
    }
}

/// Names that must not do anything but be shown.
pub fn hostile_names() -> Vec<String> {
    vec![
        "<img src=x onerror=window.hacked=1>".into(),
        "\"'><script>window.hacked=1<".into(),
        "Küche 📷 ${window.hacked=1}".into(),
        "שער ראשי".into(),
        "\u{202e}gnp.yad".into(),
        "x".repeat(255),
    ]
}

/// A fleet of so many cameras: one that tells its frames (with an archive), hostile names, the
/// rest of two clients; of these one in ten late, one in ten offline. One in three has real
/// media, or each of them if there are no more than sixty.
pub async fn fleet(base: &Path, cameras: usize, now: UtcMillis) -> Footage {
    let pool = encoder(Container::Ts).await;
    let starts_at = now.plus_millis(-3 * IN_A_ROW * INTERVAL_MILLIS);
    let told = Footage::of(&pool, telling(starts_at)).await;
    let size = (640, 360);
    let mut streets = Vec::new();
    for seed in 1..=6 {
        let street = Footage::of_a_street(&pool, seed, size, 24, now).await;
        streets.push(street.with_last_still());
    }
    pool.close().await;
    let store = store(base);
    let key = DeviceKey::new("north", "telling").unwrap();
    told.commit(base, &store, &key, now).await;
    archive(&store, &key).await;
    let mut left = cameras - 1;
    if cameras > 100 {
        for (name, street) in hostile_names().iter().zip(&streets) {
            let key = DeviceKey::new("hostile", name).unwrap();
            street.commit(base, &store, &key, now).await;
        }
        left -= hostile_names().len();
    }
    for index in 0..left {
        let client = if index % 2 == 0 { "north" } else { "south" };
        let key = DeviceKey::new(client, &format!("camera {index:04}")).unwrap();
        let at = match index % 10 {
            8 => now.plus_millis(-millis(LATE)),
            9 => now.plus_millis(-millis(OFFLINE)),
            _ => now,
        };
        if cameras <= 60 || index % 3 == 0 {
            streets[index % streets.len()].commit(base, &store, &key, at).await;
        } else {
            let state = store.open(&key).await.unwrap();
            let segment = made_up(at.plus_millis(-30_000));
            store.commit(&key, &state, vec![segment], None, at).await.unwrap();
        }
    }
    told
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap()
}

/// Archives the sessions of a device that are over.
pub async fn archive(store: &Store, key: &DeviceKey) {
    let settings = ArchiveSettings {
        enabled: true,
        min_duration: Duration::from_secs(60),
        keep: Duration::from_secs(7 * 86_400),
        stream_retention: Duration::from_secs(86_400),
    };
    let archiver = Archiver::new(store.clone(), settings, Arc::new(SystemClock), None);
    archiver.run_device(key).await.unwrap();
}
