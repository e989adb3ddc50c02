//! Which sessions of a device are finished, by the records of its segments (pure).
//!
//! Architecture invariant: the same records give the same sessions, whoever asks and however
//! often, and every segment number below the open session belongs to exactly one of them.

use std::time::Duration;

use crate::model::{SessionId, UtcMillis};
use crate::store::{DeviceState, SegmentRecord};

/// A run of segments that nothing will be added to.
#[derive(Clone, Debug, PartialEq)]
pub struct Session<'a> {
    /// Its name.
    pub id: SessionId,
    /// Where the one before it ends. Its first record has a higher number only if records of
    /// the device were lost.
    pub first: u64,
    /// The number after its last segment, lost ones included.
    pub end: u64,
    /// Its segments, oldest first; at least one.
    pub records: &'a [SegmentRecord],
}

/// The number below which every segment is of a finished session.
pub fn finished_below(state: &DeviceState) -> u64 {
    state.session.as_ref().map_or(state.next_segment, |session| session.first_segment)
}

/// The finished sessions among `records`, which are in order: from number `from` on, with which
/// one begins, and below `below`.
pub fn finished(records: &[SegmentRecord], from: u64, below: u64) -> Vec<Session<'_>> {
    let start = records.partition_point(|record| record.number < from);
    let end = records.partition_point(|record| record.number < below);
    let within = records.get(start..end).unwrap_or_default();
    let mut sessions: Vec<Session<'_>> = Vec::new();
    for run in within.chunk_by(|_, next| !next.begins_session) {
        let (Some(oldest), Some(newest)) = (run.first(), run.last()) else { continue };
        let first = sessions.last().map_or(from, |before| before.end);
        let end = newest.number.saturating_add(1);
        let id = SessionId::of(oldest.captured_at, oldest.number);
        sessions.push(Session { id, first, end, records: run });
    }
    if let Some(last) = sessions.last_mut() {
        last.end = below;
    }
    sessions
}

impl Session<'_> {
    /// When its first frame was taken.
    pub fn started_at(&self) -> UtcMillis {
        self.records.first().map(|record| record.captured_at).unwrap_or_default()
    }

    /// When its last frame has been shown, by the camera's clock. In a time lapse, which shows
    /// frames for a shorter time, when the last one was taken.
    pub fn ended_at(&self) -> UtcMillis {
        let ends =
            self.records.iter().map(|record| record.ends_at().max(record.last_captured_at()));
        ends.max().unwrap_or_default()
    }

    /// How long it lasted, by the camera's clock.
    pub fn duration(&self) -> Duration {
        self.ended_at().since(self.started_at())
    }

    /// Whether it becomes an archive: it is long enough, and of a release that noted sessions
    /// and checksums. Segments of a release before belong to no session.
    pub fn is_worth_it(&self, min_duration: Duration) -> bool {
        let is_known = self.records.first().is_some_and(|record| !record.sha256.is_empty());
        is_known && self.duration() >= min_duration
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{open_session, record, run, state};
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn spans(sessions: &[Session<'_>]) -> Vec<(u64, u64)> {
        sessions.iter().map(|session| (session.first, session.end)).collect()
    }

    #[test]
    fn a_session_goes_from_its_mark_to_the_next_one() {
        let records = run(&[(0, 4), (4, 5), (5, 9)]);
        let sessions = finished(&records, 0, 9);
        assert_eq!(spans(&sessions), [(0, 4), (4, 5), (5, 9)]);
        assert_eq!(sessions[1].id, SessionId::of(records[4].captured_at, 4));
        assert_eq!(sessions[2].records, &records[5..]);
    }

    #[test]
    fn the_open_session_is_not_finished() {
        let records = run(&[(0, 4), (4, 9)]);
        let mut state = state(9);
        state.session = Some(open_session(&records[4..]));
        assert_eq!(finished_below(&state), 4);
        assert_eq!(spans(&finished(&records, 0, 4)), [(0, 4)]);
        state.session = None;
        assert_eq!(finished_below(&state), 9);
        assert_eq!(spans(&finished(&records, 4, 9)), [(4, 9)]);
        assert!(finished(&records, 9, 9).is_empty());
    }

    #[test]
    fn lost_records_leave_no_number_without_a_session() {
        let mut records = run(&[(0, 4), (4, 9)]);
        records.remove(8);
        records.remove(6);
        records.remove(0);
        let sessions = finished(&records, 0, 9);
        assert_eq!(spans(&sessions), [(0, 4), (4, 9)]);
        assert_eq!(sessions[0].id, SessionId::of(records[0].captured_at, 1));
    }

    #[test]
    fn a_session_lasts_from_its_first_capture_to_the_end_of_its_last_frame() {
        let records = run(&[(0, 2)]);
        let session = &finished(&records, 0, 2)[0];
        assert_eq!(session.duration(), MINUTE);
        assert!(session.is_worth_it(MINUTE));
        assert!(!session.is_worth_it(MINUTE + Duration::from_millis(1)));
    }

    #[test]
    fn a_time_lapse_lasts_as_long_as_it_took_to_film() {
        let mut records = run(&[(0, 2)]);
        records.iter_mut().for_each(|record| record.duration_millis = 1_000);
        let session = &finished(&records, 0, 2)[0];
        assert_eq!(session.ended_at(), records[1].last_captured_at());
        assert_eq!(session.duration(), Duration::from_secs(55));
    }

    #[test]
    fn segments_without_a_checksum_become_no_archive() {
        let old = SegmentRecord { sha256: String::new(), ..record(0) };
        let records = [old];
        assert!(!finished(&records, 0, 1)[0].is_worth_it(Duration::ZERO));
    }
}
