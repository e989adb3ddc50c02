//! Frames to encode, pools to encode them, and FFmpeg's own tools to judge the result.
#![allow(dead_code, reason = "each test file takes what it needs")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails says so by panicking")]
#![allow(
    clippy::cast_possible_truncation,
    reason = "values are small, or only their low bits count"
)]

#[path = "../support/encoder.rs"]
mod encoder;

use std::path::Path;
use std::process::{Command, Stdio};

use bytes::Bytes;
use jpeg_encoder::{ColorType, SamplingFactor};
use stream_processor::encode::{
    EncodeJob, EncodeSettings, EncodedSegment, EncoderPool, JobFrame, PoolSettings, StreamSoFar,
};
use stream_processor::media::timeline::TimelineSettings;
use stream_processor::model::UtcMillis;

pub const START: UtcMillis = UtcMillis(1_769_846_400_000);

pub fn encode_settings() -> EncodeSettings {
    let usual = encoder::encode_settings();
    let timeline = TimelineSettings { max_segment_millis: 45_000, ..usual.timeline };
    EncodeSettings { timeline, ..usual }
}

pub fn pool_settings(helpers: usize) -> PoolSettings {
    encoder::pool_settings(helpers, encode_settings())
}

pub async fn pool(helpers: usize) -> EncoderPool {
    EncoderPool::start(pool_settings(helpers)).await.unwrap()
}

/// Frames five seconds apart.
pub fn job(jpegs: impl IntoIterator<Item = Vec<u8>>) -> EncodeJob {
    let frames = jpegs.into_iter().zip(0..).map(|(jpeg, index)| JobFrame {
        captured_at: START.plus_millis(index * 5_000),
        jpeg: Bytes::from(jpeg),
        caption: None,
    });
    EncodeJob { stream: StreamSoFar::NEW, frames: frames.collect() }
}

/// SplitMix64: seeded, and the same everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

/// A gradient with a box that moves with `time`, and some noise.
pub fn pixels(width: usize, height: usize, time: usize) -> Vec<u8> {
    let mut random = Random(time as u64);
    let side = height / 4;
    let left = (time * width / 11) % (width - side).max(1);
    let mut pixels = Vec::with_capacity(width * height * 3);
    for y in 0..height {
        for x in 0..width {
            let noise = random.next() as u8 % 4;
            let inside = (left..left + side).contains(&x) && (side..2 * side).contains(&y);
            pixels.extend(match inside {
                true => [200, 40 + noise, 30],
                false => [(x * 160 / width) as u8 + noise, (y * 160 / height) as u8 + noise, 90],
            });
        }
    }
    pixels
}

pub struct JpegKind {
    pub sampling: SamplingFactor,
    pub progressive: bool,
}

pub const ORDINARY: JpegKind = JpegKind { sampling: SamplingFactor::F_2_2, progressive: false };

pub fn jpeg_of(kind: &JpegKind, width: usize, height: usize, time: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 88);
    encoder.set_sampling_factor(kind.sampling);
    encoder.set_progressive(kind.progressive);
    let (w, h) = (u16::try_from(width).unwrap(), u16::try_from(height).unwrap());
    encoder.encode(&pixels(width, height, time), w, h, ColorType::Rgb).unwrap();
    bytes
}

pub fn jpeg(width: usize, height: usize, time: usize) -> Vec<u8> {
    jpeg_of(&ORDINARY, width, height, time)
}

pub fn jpegs(width: usize, height: usize, count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|time| jpeg(width, height, time)).collect()
}

/// The JPEG with a comment right after its first marker (ITU-T T.81, B.2.4.5).
pub fn with_comment(mut jpeg: Vec<u8>, comment: &str) -> Vec<u8> {
    let length = u16::try_from(comment.len() + 2).unwrap().to_be_bytes();
    let segment = [&[0xFF, 0xFE][..], &length, comment.as_bytes()].concat();
    jpeg.splice(2..2, segment);
    jpeg
}

/// One colour or, with four, one a quarter: top left, top right, bottom left, bottom right.
pub fn quarters(width: u16, height: u16, colours: [[u8; 3]; 4], orientation: u8) -> Vec<u8> {
    let mut pixels = Vec::new();
    for y in 0..height {
        for x in 0..width {
            let index = usize::from(y >= height / 2) * 2 + usize::from(x >= width / 2);
            pixels.extend(colours[index]);
        }
    }
    let mut bytes = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 95);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    // TIFF, little-endian, one field: 0x0112, SHORT, one value.
    let mut exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
    encoder.add_exif_metadata(&exif).unwrap();
    encoder.encode(&pixels, width, height, ColorType::Rgb).unwrap();
    bytes
}

/// Runs a tool on `input` and gives what it wrote to stdout; it must not complain.
pub fn run(tool: &str, args: &[&str]) -> Vec<u8> {
    let output = Command::new(tool).args(args).stdin(Stdio::null()).output().unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaints.is_empty(), "{tool} {args:?}: {complaints}");
    output.stdout
}

/// The segment as a file that the tools read.
pub fn written(segment: &EncodedSegment, folder: &Path) -> String {
    let path = folder.join("segment");
    let init = segment.init.clone().unwrap_or_default();
    std::fs::write(&path, [&init[..], &segment.media[..]].concat()).unwrap();
    path.to_str().unwrap().to_owned()
}

/// One entry of the video stream, as ffprobe decodes it.
pub fn probed(segment: &EncodedSegment, entry: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = written(segment, folder.path());
    let entries = format!("stream={entry}");
    let args = ["-v", "error", "-count_frames", "-select_streams", "v:0", "-show_entries"];
    let rest = [&entries, "-of", "default=nw=1:nk=1", &path];
    let out = run("ffprobe", &[&args[..], &rest[..]].concat());
    // A transport stream names its program's stream as well.
    String::from_utf8(out).unwrap().lines().next().unwrap_or_default().to_owned()
}

/// The first picture as RGB.
pub fn first_picture(segment: &EncodedSegment) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = written(segment, folder.path());
    // Nearest chroma, so that a colour is judged and not the scaler's filter.
    let args = ["-v", "error", "-i", &path, "-frames:v", "1", "-sws_flags", "neighbor"];
    run("ffmpeg", &[&args[..], &["-f", "rawvideo", "-pix_fmt", "rgb24", "-"]].concat())
}

/// A pixel of an RGB picture.
pub fn pixel(picture: &[u8], width: usize, x: usize, y: usize) -> [u8; 3] {
    let at = (y * width + x) * 3;
    picture[at..at + 3].try_into().unwrap()
}

pub fn assert_near(got: [u8; 3], wanted: [u8; 3], tolerance: u8, what: &str) {
    let near = got.iter().zip(wanted).all(|(got, wanted)| got.abs_diff(wanted) <= tolerance);
    assert!(near, "{what}: {got:?} for {wanted:?}");
}
