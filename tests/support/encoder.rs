//! How the worker sets its encoders up, for tests and benches that have encoders of their own.
#![allow(dead_code)] // Each takes what it needs.

use std::time::Duration;

use stream_processor::encode::{EncodeSettings, PoolSettings, Quality};
use stream_processor::media::timeline::TimelineSettings;
use stream_processor::media::{Container, Playback};

/// The defaults of the settings.
pub fn encode_settings() -> EncodeSettings {
    EncodeSettings {
        container: Container::Ts,
        max_width: 1_920,
        quality: Quality::Standard,
        timeline: TimelineSettings {
            playback: Playback::Realtime,
            max_segment_millis: 33_499,
            default_interval_millis: 5_000,
            encoding: 1,
        },
        watermark: None,
    }
}

/// Helpers of the worker's binary.
pub fn pool_settings(helpers: usize, encode: EncodeSettings) -> PoolSettings {
    PoolSettings {
        helpers,
        encode,
        command: env!("CARGO_BIN_EXE_stream-processor").into(),
        frame_time_limit: Duration::from_secs(20),
        memory_limit_bytes: 1 << 30,
    }
}
