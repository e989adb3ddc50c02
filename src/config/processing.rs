//! Frames to segments: how many, how long, how large, how fast.

use std::time::Duration;

use super::reader::Reader;
use super::setting::{Setting, Takes};
use crate::encode::Quality;
use crate::media::{Container, Playback};

static MAX_WORKERS: Setting = Setting {
    variable: "PROCESSING_MAX_WORKERS",
    flag: "processing-max-workers",
    default: Some("50"),
    takes: Takes::Integer { min: 1, max: 1_024 },
    secret: false,
    help: "The most helper processes that encode at the same time. No more than there are \
           cores are ever started; lower it to leave cores to others.",
};

static SEGMENT_DURATION_SECONDS: Setting = Setting {
    variable: "PROCESSING_SEGMENT_DURATION_SECONDS",
    flag: "processing-segment-duration-seconds",
    default: Some("30"),
    takes: Takes::Integer { min: 2, max: 600 },
    secret: false,
    help: "The longest a segment may last, in seconds, and the longest a frame waits for \
           others before its segment is closed. Shorter shows frames sooner and makes more, \
           smaller files.",
};

static FRAMES_PER_SEGMENT: Setting = Setting {
    variable: "PROCESSING_FRAMES_PER_SEGMENT",
    flag: "processing-frames-per-segment",
    default: Some("6"),
    takes: Takes::Integer { min: 1, max: 600 },
    secret: false,
    help: "How many frames close a segment before its time is up. Keep it at the segment \
           duration divided by the seconds between two frames.",
};

static RETENTION_HOURS: Setting = Setting {
    variable: "PROCESSING_RETENTION_HOURS",
    flag: "processing-retention-hours",
    default: Some("24"),
    takes: Takes::Integer { min: 1, max: 720 },
    secret: false,
    help: "How far the live playlist reaches back, in hours. What has left it is removed by \
           cleanup.",
};

static VIDEO_WIDTH: Setting = Setting {
    variable: "PROCESSING_VIDEO_WIDTH",
    flag: "processing-video-width",
    default: Some("1920"),
    takes: Takes::Integer { min: 64, max: 7_680 },
    secret: false,
    help: "The greatest width of the pictures, in pixels. Wider frames are scaled down to it; \
           narrower ones are never enlarged.",
};

static CONTAINER: Setting = Setting {
    variable: "PROCESSING_CONTAINER",
    flag: "processing-container",
    default: Some("ts"),
    takes: Takes::OneOf(&["ts", "fmp4"]),
    secret: false,
    help: "What the segments are: ts (MPEG-2 transport stream, plays everywhere) or fmp4 \
           (fragmented MP4).",
};

static PLAYBACK: Setting = Setting {
    variable: "PROCESSING_PLAYBACK",
    flag: "processing-playback",
    default: Some("realtime"),
    takes: Takes::OneOf(&["realtime", "timelapse"]),
    secret: false,
    help: "realtime shows each frame until the next was taken; timelapse shows every frame \
           for the same short time.",
};

static TIMELAPSE_FRAME_RATE: Setting = Setting {
    variable: "PROCESSING_TIMELAPSE_FRAME_RATE",
    flag: "processing-timelapse-frame-rate",
    default: Some("2"),
    takes: Takes::Integer { min: 2, max: 30 },
    secret: false,
    help: "Frames shown a second when the playback is timelapse. Fewer than 2 do not play in \
           every browser.",
};

static QUALITY: Setting = Setting {
    variable: "PROCESSING_QUALITY",
    flag: "processing-quality",
    default: Some("standard"),
    takes: Takes::OneOf(&["low", "standard", "high"]),
    secret: false,
    help: "low makes the smallest files, high comes closest to the JPEG.",
};

static MAX_FRAMES_HELD: Setting = Setting {
    variable: "PROCESSING_MAX_FRAMES_HELD",
    flag: "processing-max-frames-held",
    default: Some("20000"),
    takes: Takes::Integer { min: 1, max: 24_000 },
    secret: false,
    help: "The most frames that a worker holds unacknowledged, all devices together: bounds \
           its memory. The broker stops at 50,000 a consumer; stay below half of it.",
};

static MAX_FRAMES_HELD_PER_DEVICE: Setting = Setting {
    variable: "PROCESSING_MAX_FRAMES_HELD_PER_DEVICE",
    flag: "processing-max-frames-held-per-device",
    default: Some("600"),
    takes: Takes::Integer { min: 1, max: 24_000 },
    secret: false,
    help: "The most of them that one device may have. What is beyond is delivered again \
           later, so that one device cannot take the room of the others.",
};

static MAX_FRAME_BYTES: Setting = Setting {
    variable: "PROCESSING_MAX_FRAME_BYTES",
    flag: "processing-max-frame-bytes",
    default: Some("33554432"),
    takes: Takes::Integer { min: 65_536, max: 268_435_456 },
    secret: false,
    help: "The largest JPEG that is read, in bytes (32 MiB). A larger one is put on the \
           dead-letter topic.",
};

static MISSING_FRAME_RETRY_SECONDS: Setting = Setting {
    variable: "PROCESSING_MISSING_FRAME_RETRY_SECONDS",
    flag: "processing-missing-frame-retry-seconds",
    default: Some("10"),
    takes: Takes::Integer { min: 0, max: 600 },
    secret: false,
    help: "How long to wait, in seconds, for a JPEG whose event has overtaken it, before the \
           event is put on the dead-letter topic. Raise it for storage that shows new files \
           late.",
};

static FRAME_TIMEOUT_SECONDS: Setting = Setting {
    variable: "PROCESSING_FRAME_TIMEOUT_SECONDS",
    flag: "processing-frame-timeout-seconds",
    default: Some("30"),
    takes: Takes::Integer { min: 1, max: 600 },
    secret: false,
    help: "How long decoding and encoding may take for one frame, in seconds, before its \
           helper is ended and the frame put on the dead-letter topic. Raise it on slow or \
           crowded cores.",
};

static HELPER_MEMORY_BYTES: Setting = Setting {
    variable: "PROCESSING_HELPER_MEMORY_BYTES",
    flag: "processing-helper-memory-bytes",
    default: Some("1073741824"),
    takes: Takes::Integer { min: 268_435_456, max: 17_179_869_184 },
    secret: false,
    help: "The most memory a helper process may have, in bytes (1 GiB). Raise it for frames \
           of more than 50 megapixels.",
};

static DEVICE_IDLE_SECONDS: Setting = Setting {
    variable: "PROCESSING_DEVICE_IDLE_SECONDS",
    flag: "processing-device-idle-seconds",
    default: Some("900"),
    takes: Takes::Integer { min: 60, max: 86_400 },
    secret: false,
    help: "After how long without frames a device's memory in the worker is given back, in \
           seconds. Its stream is not affected.",
};

/// The table of this concern.
pub(super) static SETTINGS: &[&Setting] = &[
    &MAX_WORKERS,
    &SEGMENT_DURATION_SECONDS,
    &FRAMES_PER_SEGMENT,
    &RETENTION_HOURS,
    &VIDEO_WIDTH,
    &CONTAINER,
    &PLAYBACK,
    &TIMELAPSE_FRAME_RATE,
    &QUALITY,
    &MAX_FRAMES_HELD,
    &MAX_FRAMES_HELD_PER_DEVICE,
    &MAX_FRAME_BYTES,
    &MISSING_FRAME_RETRY_SECONDS,
    &FRAME_TIMEOUT_SECONDS,
    &HELPER_MEMORY_BYTES,
    &DEVICE_IDLE_SECONDS,
];

/// Frames to segments.
#[derive(Clone, Debug)]
pub struct ProcessingConfig {
    /// The most helper processes; see [`effective_workers`].
    pub max_workers: usize,
    /// The longest a segment may last.
    pub segment_duration_secs: u32,
    /// How many frames close a segment.
    pub frames_per_segment: usize,
    /// How far the live playlist reaches back.
    pub retention_hours: u32,
    /// The greatest width of pictures, in pixels.
    pub video_width: u32,
    /// What the segments are.
    pub container: Container,
    /// How media time relates to capture time.
    pub playback: Playback,
    /// Speed, bytes and quality.
    pub quality: Quality,
    /// The most frames held, all devices together.
    pub max_frames_held: usize,
    /// The most frames held of one device; at most `max_frames_held`.
    pub max_frames_held_per_device: usize,
    /// The largest JPEG.
    pub max_frame_bytes: usize,
    /// How long a missing JPEG is waited for.
    pub missing_frame_retry: Duration,
    /// How long a frame may take in a helper.
    pub frame_timeout: Duration,
    /// The most memory of a helper.
    pub helper_memory_bytes: u64,
    /// After how long a silent device is forgotten.
    pub device_idle: Duration,
}

impl ProcessingConfig {
    /// How many helper processes to run on `cores` cores: see [`effective_workers`].
    pub fn workers(&self, cores: usize) -> usize {
        effective_workers(self.max_workers, cores)
    }
}

/// How many helper processes to run: encoding keeps a core busy, so never more than there are
/// (`std::thread::available_parallelism` knows the container's CPU limit), and at least one.
pub fn effective_workers(max_workers: usize, cores: usize) -> usize {
    max_workers.min(cores).max(1)
}

/// Reads this concern's settings.
pub(super) fn read(reader: &mut Reader<'_>) -> ProcessingConfig {
    let timelapse = Playback::Timelapse { frame_rate: reader.integer(&TIMELAPSE_FRAME_RATE) };
    let config = ProcessingConfig {
        max_workers: reader.integer(&MAX_WORKERS),
        segment_duration_secs: reader.integer(&SEGMENT_DURATION_SECONDS),
        frames_per_segment: reader.integer(&FRAMES_PER_SEGMENT),
        retention_hours: reader.integer(&RETENTION_HOURS),
        video_width: reader.integer(&VIDEO_WIDTH),
        container: reader.choice(&CONTAINER, Container::Ts, |word| match word {
            "ts" => Some(Container::Ts),
            "fmp4" => Some(Container::Fmp4),
            _ => None,
        }),
        playback: reader.choice(&PLAYBACK, Playback::Realtime, |word| match word {
            "realtime" => Some(Playback::Realtime),
            "timelapse" => Some(timelapse),
            _ => None,
        }),
        quality: reader.choice(&QUALITY, Quality::Standard, |word| match word {
            "low" => Some(Quality::Low),
            "standard" => Some(Quality::Standard),
            "high" => Some(Quality::High),
            _ => None,
        }),
        max_frames_held: reader.integer(&MAX_FRAMES_HELD),
        max_frames_held_per_device: reader.integer(&MAX_FRAMES_HELD_PER_DEVICE),
        max_frame_bytes: reader.integer(&MAX_FRAME_BYTES),
        missing_frame_retry: seconds(reader, &MISSING_FRAME_RETRY_SECONDS),
        frame_timeout: seconds(reader, &FRAME_TIMEOUT_SECONDS),
        helper_memory_bytes: reader.integer(&HELPER_MEMORY_BYTES),
        device_idle: seconds(reader, &DEVICE_IDLE_SECONDS),
    };
    check(&config, reader);
    config
}

fn seconds(reader: &mut Reader<'_>, setting: &'static Setting) -> Duration {
    Duration::from_secs(reader.integer(setting))
}

fn check(config: &ProcessingConfig, reader: &mut Reader<'_>) {
    let at_most = [
        (
            &FRAMES_PER_SEGMENT,
            config.frames_per_segment as u64,
            &MAX_FRAMES_HELD_PER_DEVICE,
            config.max_frames_held_per_device as u64,
        ),
        (
            &MAX_FRAMES_HELD_PER_DEVICE,
            config.max_frames_held_per_device as u64,
            &MAX_FRAMES_HELD,
            config.max_frames_held as u64,
        ),
        (
            &SEGMENT_DURATION_SECONDS,
            u64::from(config.segment_duration_secs),
            &DEVICE_IDLE_SECONDS,
            config.device_idle.as_secs(),
        ),
    ];
    for (small, low, large, high) in at_most {
        reader.rule(&[small, large], low <= high, || {
            format!("{} ({low}) must not be above {} ({high})", small.variable, large.variable)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_never_more_workers_than_cores_and_always_one() {
        assert_eq!(effective_workers(50, 2), 2);
        assert_eq!(effective_workers(3, 64), 3);
        assert_eq!(effective_workers(50, 0), 1);
    }
}
