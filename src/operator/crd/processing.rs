//! `spec.processing`: frames to segments.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// What segments are.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Container {
    /// MPEG-2 transport streams: play everywhere.
    #[default]
    Ts,
    /// Fragmented MP4.
    Fmp4,
}

/// How media time relates to capture time.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Playback {
    /// Each frame is shown until the next was taken.
    #[default]
    Realtime,
    /// Every frame is shown for the same short time.
    Timelapse,
}

/// Bytes against closeness to the JPEG.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Quality {
    /// The smallest files.
    Low,
    /// Between the two.
    #[default]
    Standard,
    /// Closest to the JPEG.
    High,
}

/// Frames to segments.
#[derive(KubeSchema, Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.timelapseFrameRate) || self.playback == 'timelapse'").message(
    "timelapseFrameRate has no effect with playback realtime: remove it, or write playback: timelapse"
))]
pub struct ProcessingSpec {
    /// The most encoders of a worker. No more than it has cores are ever started.
    #[schemars(range(min = 1, max = 1024))]
    #[serde(default = "max_workers")]
    pub max_workers: i32,
    /// The longest a segment may last, in seconds.
    #[schemars(range(min = 2, max = 600))]
    #[serde(default = "segment_duration_seconds")]
    pub segment_duration_seconds: i32,
    /// How many frames close a segment: the segment's duration divided by the seconds between
    /// two frames.
    #[schemars(range(min = 1, max = 600))]
    #[serde(default = "frames_per_segment")]
    pub frames_per_segment: i32,
    /// How far the live playlist reaches back, in hours.
    #[schemars(range(min = 1, max = 720))]
    #[serde(default = "retention_hours")]
    pub retention_hours: i32,
    /// The greatest width of the pictures, in pixels. Narrower frames are never enlarged.
    #[schemars(range(min = 64, max = 7680))]
    #[serde(default = "video_width")]
    pub video_width: i32,
    /// What the segments are: ts plays everywhere, fmp4 is fragmented MP4.
    #[serde(default)]
    pub container: Container,
    /// realtime shows each frame until the next was taken; timelapse shows every frame for the
    /// same short time.
    #[serde(default)]
    pub playback: Playback,
    /// Frames shown a second when the playback is timelapse. Without it 2.
    #[schemars(range(min = 2, max = 30))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timelapse_frame_rate: Option<i32>,
    /// low makes the smallest files, high comes closest to the JPEG.
    #[serde(default)]
    pub quality: Quality,
}

impl Default for ProcessingSpec {
    fn default() -> Self {
        Self {
            max_workers: max_workers(),
            segment_duration_seconds: segment_duration_seconds(),
            frames_per_segment: frames_per_segment(),
            retention_hours: retention_hours(),
            video_width: video_width(),
            container: Container::default(),
            playback: Playback::default(),
            timelapse_frame_rate: None,
            quality: Quality::default(),
        }
    }
}

fn max_workers() -> i32 {
    50
}

fn segment_duration_seconds() -> i32 {
    30
}

fn frames_per_segment() -> i32 {
    6
}

fn retention_hours() -> i32 {
    24
}

fn video_width() -> i32 {
    1_920
}
