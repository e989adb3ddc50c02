//! What is removed, and when.

use std::time::Duration;

use super::reader::Reader;
use super::setting::{Setting, Takes};

static GRACE_SECONDS: Setting = Setting {
    variable: "RETENTION_GRACE_SECONDS",
    flag: "retention-grace-seconds",
    default: Some("300"),
    takes: Takes::Integer { min: 0, max: 86_400 },
    secret: false,
    help: "How long a segment can still be fetched after it has left the live playlist, in \
           seconds: players hold an older playlist for some time.",
};

static INTERVAL_SECONDS: Setting = Setting {
    variable: "RETENTION_INTERVAL_SECONDS",
    flag: "retention-interval-seconds",
    default: Some("300"),
    takes: Takes::Integer { min: 10, max: 86_400 },
    secret: false,
    help: "How long to wait between two clean-ups, in seconds, for cleanup --continuous and \
           consumer --with-cleanup.",
};

static DEVICE_MAX_BYTES: Setting = Setting {
    variable: "RETENTION_DEVICE_MAX_BYTES",
    flag: "retention-device-max-bytes",
    default: Some("0"),
    takes: Takes::Integer { min: 0, max: 1_000_000_000_000_000_000 },
    secret: false,
    help: "The most that the segments and frames of a device may have, in bytes; what is \
           oldest goes early, after the grace. Archives do not count, and what they still need \
           stays. 0 is no limit.",
};

static TOTAL_MAX_BYTES: Setting = Setting {
    variable: "RETENTION_TOTAL_MAX_BYTES",
    flag: "retention-total-max-bytes",
    default: Some("0"),
    takes: Takes::Integer { min: 0, max: 1_000_000_000_000_000_000 },
    secret: false,
    help: "The same for all devices together, the oldest of all first. Keep it below the size of \
           the storage: archives, frames that are in no segment and what comes between two \
           clean-ups are beside it. 0 is no limit.",
};

static UNENCODED_FRAMES_DAYS: Setting = Setting {
    variable: "RETENTION_UNENCODED_FRAMES_DAYS",
    flag: "retention-unencoded-frames-days",
    default: Some("0"),
    takes: Takes::Integer { min: 0, max: 3_650 },
    secret: false,
    help: "After how many days frames that are in no segment are removed: refused ones, ones \
           whose event was never published, and ones that still wait at the broker. Keep it \
           above the longest time that the workers may be away. 0 is never.",
};

/// The table of this concern.
pub(super) static SETTINGS: &[&Setting] = &[
    &GRACE_SECONDS,
    &INTERVAL_SECONDS,
    &DEVICE_MAX_BYTES,
    &TOTAL_MAX_BYTES,
    &UNENCODED_FRAMES_DAYS,
];

/// Clean-up.
#[derive(Clone, Debug)]
pub struct RetentionConfig {
    /// How long a file stays after it has left the playlist.
    pub grace: Duration,
    /// How long to wait between two clean-ups.
    pub interval: Duration,
    /// The most that a device may have, in bytes; `None` is no limit.
    pub device_max_bytes: Option<u64>,
    /// The most that all devices may have together, in bytes; `None` is no limit.
    pub total_max_bytes: Option<u64>,
    /// After how long frames that are in no segment go; `None` is never.
    pub unencoded_frames: Option<Duration>,
}

/// Reads this concern's settings.
pub(super) fn read(reader: &mut Reader<'_>) -> RetentionConfig {
    const DAY_SECS: u64 = 86_400;
    let mut limit = |setting| Some(reader.integer(setting)).filter(|most: &u64| *most > 0);
    let (device_max_bytes, total_max_bytes) = (limit(&DEVICE_MAX_BYTES), limit(&TOTAL_MAX_BYTES));
    let days = limit(&UNENCODED_FRAMES_DAYS);
    RetentionConfig {
        grace: Duration::from_secs(reader.integer(&GRACE_SECONDS)),
        interval: Duration::from_secs(reader.integer(&INTERVAL_SECONDS)),
        device_max_bytes,
        total_max_bytes,
        unencoded_frames: days.map(|days| Duration::from_secs(days.saturating_mul(DAY_SECS))),
    }
}
