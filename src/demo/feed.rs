//! Plays ingest service: writes each camera's JPEG where the contract says and makes the
//! message that names it.
//!
//! Architecture invariant: a message is handed out only once its frame is there, whole.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use super::scene::{Scene, SceneError};
use crate::model::{Clock, DeviceKey, EventId, IdError, UtcMillis};

/// Why there is no frame.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// A client's name that is not an id.
    #[error("the demo's client name {0}")]
    Id(#[from] IdError),
    /// A picture that cannot be made.
    #[error(transparent)]
    Scene(#[from] SceneError),
    /// A file that cannot be read or written.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A folder without a single JPEG.
    #[error("{} holds no .jpg or .jpeg file: give a folder of JPEGs, or none", .0.display())]
    NoFrames(PathBuf),
    /// The message cannot be written as JSON.
    #[error("the message cannot be written: {0}")]
    Message(#[from] serde_json::Error),
    /// The thread that makes pictures has ended, because the process is leaving.
    #[error("the camera's thread has ended: {0}")]
    Ended(#[from] tokio::task::JoinError),
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FeedError {
    move |source| FeedError::Io { doing, path: path.to_owned(), source }
}

/// Where a frame lies below the base path.
pub fn frame_path(device: &DeviceKey, event_id: &EventId) -> String {
    format!("client_ids/{}/device_id/{}/frames/{event_id}.jpg", device.client, device.device)
}

/// The contract's message for one frame, as JSON.
///
/// # Errors
/// None that is known: every field is text or a number.
pub fn frame_message(
    device: &DeviceKey,
    event_id: &EventId,
    captured_at: UtcMillis,
    frame_path: &str,
) -> Result<Vec<u8>, FeedError> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Message<'a> {
        event_id: &'a str,
        client_id: &'a str,
        device_id: &'a str,
        timestamp: String,
        frame_path: &'a str,
        request_id: String,
        request_timestamp: f64,
    }
    Ok(serde_json::to_vec(&Message {
        event_id: event_id.as_str(),
        client_id: device.client.as_str(),
        device_id: device.device.as_str(),
        timestamp: captured_at.to_string(),
        frame_path,
        request_id: format!("demo-{event_id}"),
        #[expect(clippy::cast_precision_loss, reason = "exact until the year 287396")]
        request_timestamp: captured_at.0 as f64 / 1_000.0,
    })?)
}

/// Which cameras there are and what they take.
#[derive(Clone, Debug)]
pub struct CamerasConfig {
    /// The storage base path.
    pub base: PathBuf,
    /// Whose cameras they are.
    pub client: String,
    /// How many; at least one is made.
    pub count: u16,
    /// How long each waits between two frames.
    pub interval: Duration,
    /// The pictures' size in pixels.
    pub width: u16,
    /// The pictures' size in pixels.
    pub height: u16,
    /// Whether the sensors are noisy.
    pub noisy: bool,
    /// What the scenes follow from.
    pub seed: u64,
    /// A folder of JPEGs to show instead, in the order of their names.
    pub frames: Option<PathBuf>,
    /// How long a frame's file is kept once it has been handed out, so that the disk does not
    /// fill; well above the time that a worker takes.
    pub keep: Duration,
}

/// One frame that was taken.
#[derive(Clone, Debug)]
pub struct CameraFrame {
    /// Which camera took it.
    pub device: DeviceKey,
    /// What to publish.
    pub payload: Bytes,
    /// When it was taken.
    pub captured_at: UtcMillis,
    /// The JPEG's size.
    pub jpeg_bytes: usize,
}

/// All cameras, one frame after the other. One thread makes them: at 1080p some 25 a second.
pub struct Cameras {
    base: PathBuf,
    interval: Duration,
    keep: Duration,
    clock: Arc<dyn Clock>,
    cameras: Vec<Camera>,
    next: usize,
    due: UtcMillis,
    kept: VecDeque<(UtcMillis, PathBuf)>,
}

struct Camera {
    device: DeviceKey,
    name: String,
    pictures: Arc<Pictures>,
    taken: usize,
}

enum Pictures {
    Scene(Box<Scene>),
    Files(Arc<[PathBuf]>),
}

impl Pictures {
    fn jpeg(&self, at: UtcMillis, name: &str, index: usize) -> Result<Vec<u8>, FeedError> {
        match self {
            Self::Scene(scene) => Ok(scene.jpeg(at, name)?),
            Self::Files(files) => match files.get(index % files.len().max(1)) {
                Some(path) => fs::read(path).map_err(failed("reading the frame", path)),
                None => Err(FeedError::NoFrames(PathBuf::new())),
            },
        }
    }
}

impl Cameras {
    /// Makes the cameras and their folders. Blocks, for about 0.1 s a scene at 1080p.
    ///
    /// # Errors
    /// A size that no camera has, a folder without frames, a base path that cannot be
    /// written.
    pub fn new(config: &CamerasConfig, clock: Arc<dyn Clock>) -> Result<Self, FeedError> {
        let files = config.frames.as_deref().map(jpegs_of).transpose()?;
        let count = config.count.max(1);
        let mut cameras = Vec::new();
        for number in 0..count {
            let device = DeviceKey::new(&config.client, &format!("camera-{:02}", number + 1))?;
            let folder = config.base.join(frame_folder(&device));
            fs::create_dir_all(&folder).map_err(failed("making the folder", &folder))?;
            let (pictures, taken) = match &files {
                // Dealt out: each camera begins at another frame.
                Some(files) => (
                    Pictures::Files(files.clone()),
                    files.len() * usize::from(number) / usize::from(count),
                ),
                None => {
                    let seed = config.seed.wrapping_add(u64::from(number));
                    let scene = Scene::new(seed, config.width, config.height, config.noisy)?;
                    (Pictures::Scene(Box::new(scene)), 0)
                }
            };
            cameras.push(Camera {
                device,
                name: format!("Camera {:02}", number + 1),
                pictures: Arc::new(pictures),
                taken,
            });
        }
        Ok(Self {
            base: config.base.clone(),
            interval: config.interval,
            keep: config.keep,
            due: clock.now(),
            clock,
            cameras,
            next: 0,
            kept: VecDeque::new(),
        })
    }

    /// Every camera and its name, in order.
    pub fn names(&self) -> impl Iterator<Item = (&DeviceKey, &str)> {
        self.cameras.iter().map(|camera| (&camera.device, camera.name.as_str()))
    }

    /// Waits until the next camera's time has come, takes its frame, writes it and returns
    /// what to publish; `None` when there is no camera. The cameras take turns evenly within
    /// the interval; a machine that is too slow skips time instead of falling behind.
    ///
    /// # Errors
    /// A frame that cannot be read, made or written. The next call goes on with the next one.
    pub async fn next(&mut self) -> Result<Option<CameraFrame>, FeedError> {
        let wait = self.due.since(self.clock.now());
        self.clock.sleep(wait).await;
        let now = self.clock.now();
        let turn = self.interval / u32::try_from(self.cameras.len().max(1)).unwrap_or(u32::MAX);
        if now.since(self.due) > self.interval {
            self.due = now;
        }
        // A turn shorter than a millisecond must not stand still.
        self.due = self.due.plus(turn.max(Duration::from_millis(1)));
        self.forget(now);

        let index = self.next;
        self.next = (self.next + 1) % self.cameras.len().max(1);
        let Some(camera) = self.cameras.get_mut(index) else { return Ok(None) };
        let taken = camera.taken;
        camera.taken = taken.wrapping_add(1);
        let event_id = EventId::new(&format!("{}-{}", camera.device.device, now.0))?;
        let relative = frame_path(&camera.device, &event_id);
        let payload = frame_message(&camera.device, &event_id, now, &relative)?;
        let path = self.base.join(relative);
        let (pictures, name) = (camera.pictures.clone(), camera.name.clone());
        let device = camera.device.clone();
        self.kept.push_back((now, path.clone()));
        let jpeg_bytes = tokio::task::spawn_blocking(move || {
            let jpeg = pictures.jpeg(now, &name, taken)?;
            write_whole(&path, &jpeg)?;
            Ok::<_, FeedError>(jpeg.len())
        })
        .await??;
        Ok(Some(CameraFrame { device, payload: payload.into(), captured_at: now, jpeg_bytes }))
    }

    fn forget(&mut self, now: UtcMillis) {
        while let Some((_, path)) = self.kept.pop_front_if(|(at, _)| now.since(*at) > self.keep) {
            // Whoever removed it before us did the same.
            let _ = fs::remove_file(path);
        }
    }
}

fn frame_folder(device: &DeviceKey) -> String {
    format!("client_ids/{}/device_id/{}/frames", device.client, device.device)
}

/// Writes beside the place and renames: a reader sees all of the frame or none of it.
fn write_whole(path: &Path, jpeg: &[u8]) -> Result<(), FeedError> {
    let part = path.with_extension("part");
    fs::write(&part, jpeg).map_err(failed("writing the frame", &part))?;
    fs::rename(&part, path).map_err(failed("naming the frame", path))
}

fn jpegs_of(folder: &Path) -> Result<Arc<[PathBuf]>, FeedError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed("reading the folder", folder))? {
        let path = entry.map_err(failed("reading the folder", folder))?.path();
        let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
        if extension == "jpg" || extension == "jpeg" {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() { Err(FeedError::NoFrames(folder.to_owned())) } else { Ok(files.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FrameEvent, ManualClock, PlausibleTimes};

    const START: UtcMillis = UtcMillis(1_769_846_400_000);

    fn config(base: &Path) -> CamerasConfig {
        CamerasConfig {
            base: base.to_owned(),
            client: "demo".into(),
            count: 2,
            interval: Duration::from_secs(1),
            width: 160,
            height: 90,
            noisy: false,
            seed: 1,
            frames: None,
            keep: Duration::from_secs(60),
        }
    }

    async fn next(cameras: &mut Cameras, clock: &ManualClock) -> (CameraFrame, FrameEvent) {
        clock.advance(Duration::from_millis(500));
        let frame = cameras.next().await.unwrap().unwrap();
        let times = PlausibleTimes::around(clock.now());
        let event = FrameEvent::parse(&frame.payload, times).unwrap();
        (frame, event)
    }

    #[tokio::test]
    async fn cameras_take_turns_and_each_message_names_a_frame_that_is_there() {
        let base = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(START));
        let mut cameras = Cameras::new(&config(base.path()), clock.clone()).unwrap();
        let mut ids = std::collections::BTreeSet::new();
        for turn in 0..4 {
            let (frame, event) = next(&mut cameras, &clock).await;
            assert_eq!(event.device.to_string(), format!("demo/camera-0{}", turn % 2 + 1));
            assert_eq!((event.captured_at, &event.device), (frame.captured_at, &frame.device));
            let jpeg = fs::read(base.path().join(&event.frame_path)).unwrap();
            assert!(jpeg.starts_with(&[0xff, 0xd8]) && jpeg.len() == frame.jpeg_bytes);
            assert!(ids.insert(event.event_id));
        }
    }

    #[tokio::test]
    async fn frames_are_removed_once_they_are_old_enough() {
        let base = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(START));
        let mut cameras = Cameras::new(&config(base.path()), clock.clone()).unwrap();
        let (_, first) = next(&mut cameras, &clock).await;
        clock.advance(Duration::from_secs(61));
        let (_, second) = next(&mut cameras, &clock).await;
        assert!(!base.path().join(first.frame_path).exists());
        assert!(base.path().join(second.frame_path).exists());
    }

    #[tokio::test]
    async fn a_folder_of_frames_is_dealt_out_in_name_order_and_looped() {
        let base = tempfile::tempdir().unwrap();
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.jpg", "a.JPEG", "d.jpg", "c.jpeg", "notes.txt"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        let clock = Arc::new(ManualClock::new(START));
        let config =
            CamerasConfig { frames: Some(folder.path().to_owned()), ..config(base.path()) };
        let mut cameras = Cameras::new(&config, clock.clone()).unwrap();
        let mut shown = Vec::new();
        for _ in 0..8 {
            let (_, event) = next(&mut cameras, &clock).await;
            shown.push(fs::read_to_string(base.path().join(event.frame_path)).unwrap());
        }
        let a_then_c = ["a.JPEG", "c.jpeg", "b.jpg", "d.jpg", "c.jpeg", "a.JPEG", "d.jpg", "b.jpg"];
        assert_eq!(shown, a_then_c);
    }

    #[tokio::test]
    async fn a_folder_without_frames_is_named() {
        let base = tempfile::tempdir().unwrap();
        let config = CamerasConfig { frames: Some(base.path().to_owned()), ..config(base.path()) };
        let clock = Arc::new(ManualClock::new(START));
        let error = Cameras::new(&config, clock).err().unwrap().to_string();
        assert!(error.contains(&*base.path().to_string_lossy()), "{error}");
    }
}
