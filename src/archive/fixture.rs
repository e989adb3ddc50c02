//! Devices and their segments for the tests of this room.

use std::time::Duration;

use super::ArchiveSettings;
use crate::model::{EventId, UtcMillis};
use crate::store::{DeviceState, FrameRecord, OpenSession, SegmentRecord};

/// When the first frame of every test was taken.
pub const START: UtcMillis = UtcMillis(1_769_846_400_000);

pub fn settings() -> ArchiveSettings {
    ArchiveSettings {
        enabled: true,
        min_duration: Duration::from_secs(60),
        keep: Duration::from_secs(7 * 86_400),
        stream_retention: Duration::from_secs(86_400),
    }
}

/// Segment `number` of an unbroken stream: six frames, five seconds apart.
pub fn record(number: u64) -> SegmentRecord {
    let at =
        |index: u64| START.plus_millis(i64::try_from(number * 30_000 + index * 5_000).unwrap());
    let frame = |index: u64| FrameRecord {
        event_id: EventId::new(&format!("{number}-{index}")).unwrap(),
        captured_at: at(index),
        file: None,
    };
    SegmentRecord {
        number,
        file: format!("seg_{number:06}.ts"),
        init: None,
        duration_millis: 30_000,
        captured_at: at(0),
        committed_at: at(6).plus_millis(700),
        discontinuity: false,
        begins_session: false,
        size_bytes: 1_000 + number,
        sha256: format!("{number:064x}"),
        frame_bytes: 6_000,
        frames: (0..6).map(frame).collect(),
    }
}

/// Sessions of the segments from the first number on, below the second one.
pub fn run(sessions: &[(u64, u64)]) -> Vec<SegmentRecord> {
    let of = |(first, end): (u64, u64)| {
        (first..end)
            .map(move |number| SegmentRecord { begins_session: number == first, ..record(number) })
    };
    sessions.iter().copied().flat_map(of).collect()
}

pub fn open_session(records: &[SegmentRecord]) -> OpenSession {
    let mut session = OpenSession::begin(&records[0]);
    records[1..].iter().for_each(|record| session.extend(record));
    session
}

pub fn state(next_segment: u64) -> DeviceState {
    DeviceState::new(33, next_segment, 0)
}
