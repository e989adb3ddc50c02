//! The frames that everything is measured on: natural-looking pictures of several cameras, the
//! same in every run.

#[path = "../../tests/support/encoder.rs"]
mod encoder;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use stream_processor::demo::Scene;
use stream_processor::encode::{EncodeJob, EncoderPool, JobFrame, PoolSettings, StreamSoFar};
use stream_processor::model::UtcMillis;

pub use encoder::encode_settings;
use encoder::pool_settings;

/// What every part of the bench may fail with.
pub type Failure = Box<dyn Error + Send + Sync>;

/// When the first frame was taken.
pub const START: UtcMillis = UtcMillis(1_769_846_400_000);
/// How far apart frames are.
pub const INTERVAL_MILLIS: i64 = 5_000;
/// How many frames a segment has.
pub const FRAMES: usize = 6;
/// The worker binary, built with the bench.
pub const WORKER: &str = env!("CARGO_BIN_EXE_stream-processor");

/// One kind of pictures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kind {
    pub width: u16,
    pub height: u16,
    pub noisy: bool,
}

impl Kind {
    /// What is measured: clean and noisy, 720p and 1080p.
    pub const ALL: [Self; 4] = [
        Self { width: 1_280, height: 720, noisy: false },
        Self { width: 1_280, height: 720, noisy: true },
        Self { width: 1_920, height: 1_080, noisy: false },
        Self { width: 1_920, height: 1_080, noisy: true },
    ];

    pub fn name(self) -> String {
        let noise = if self.noisy { "noisy" } else { "clean" };
        format!("{}x{} {noise}", self.width, self.height)
    }

    /// Whether the service that enlarges to 1920 leaves these pictures as they are.
    pub fn is_full_size(self) -> bool {
        self.width == 1_920
    }
}

/// The JPEGs of one segment, in memory and as the files that FFmpeg's tools read.
pub struct Clip {
    pub jpegs: Vec<Bytes>,
    /// Holds `frame_000.jpg` and so on.
    pub folder: PathBuf,
}

impl Clip {
    pub fn job(&self) -> EncodeJob {
        let frames = self.jpegs.iter().zip(0_i64..).map(|(jpeg, index)| JobFrame {
            captured_at: START.plus_millis(index * INTERVAL_MILLIS),
            jpeg: jpeg.clone(),
            caption: None,
        });
        EncodeJob { stream: StreamSoFar::NEW, frames: frames.collect() }
    }
}

/// One clip of each camera.
pub struct Footage {
    pub kind: Kind,
    pub clips: Vec<Clip>,
}

impl Footage {
    /// Makes the pictures of `cameras` cameras, each at its own time of day and pan.
    pub fn make(kind: Kind, cameras: usize, folder: &Path) -> Result<Self, Failure> {
        let mut clips = Vec::new();
        for seed in (1_u64..).take(cameras) {
            let scene = Scene::new(seed, kind.width, kind.height, kind.noisy)?;
            let folder = folder.join(format!("{}-{seed}", kind.name().replace(' ', "-")));
            std::fs::create_dir_all(&folder)?;
            let mut jpegs = Vec::new();
            for (index, at) in (0_i64..).take(FRAMES).enumerate() {
                let at = START.plus_millis(at * INTERVAL_MILLIS);
                let jpeg = scene.jpeg(at, &format!("Camera {seed}"))?;
                std::fs::write(folder.join(format!("frame_{index:03}.jpg")), &jpeg)?;
                jpegs.push(Bytes::from(jpeg));
            }
            clips.push(Clip { jpegs, folder });
        }
        Ok(Self { kind, clips })
    }
}

/// A pool of that many helpers, as the worker has it.
pub async fn pool(helpers: usize) -> Result<EncoderPool, Failure> {
    let settings = PoolSettings {
        frame_time_limit: Duration::from_secs(30),
        ..pool_settings(helpers, encode_settings())
    };
    Ok(EncoderPool::start(settings).await?)
}

/// How many helpers the worker would have.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
