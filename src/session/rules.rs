//! When a session begins and when it is over (pure).

use std::time::Duration;

use crate::model::UtcMillis;
use crate::store::{NewSegment, OpenSession};

/// What a silence has to be longer by than it may be.
const TICK: Duration = Duration::from_millis(1);

/// What sessions go by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionRules {
    /// A silence longer than this between two captures ends a session.
    pub offline_threshold: Duration,
    /// How long a device that is live may take from one commit to the next, with some room.
    pub commit_every: Duration,
    /// How long a session lasts at most; none is for ever. One segment is never divided.
    pub max_duration: Option<Duration>,
}

impl SessionRules {
    /// Marks the segments with which sessions begin, given the session that the device is in.
    pub fn mark(&self, current: Option<&OpenSession>, segments: &mut [NewSegment]) {
        let mut run = current.map(|s| (s.first_captured_at, s.last_captured_at));
        for segment in segments {
            let last = segment.frames.last().map_or(segment.captured_at, |f| f.captured_at);
            segment.begins_session =
                run.is_none_or(|(first, until)| self.breaks(first, until, segment));
            run = match run {
                Some((first, until)) if !segment.begins_session => Some((first, until.max(last))),
                _ => Some((segment.captured_at, last)),
            };
        }
    }

    /// Whether a run of frames from `first` to `until` does not go on with this segment.
    fn breaks(&self, first: UtcMillis, until: UtcMillis, segment: &NewSegment) -> bool {
        let ends_at = segment.captured_at.plus_millis(segment.duration_millis.into());
        let silent = segment.captured_at.since(until) > self.offline_threshold;
        // A clock that was set back: media time begins anew, and so does what is told by it.
        let back = segment.captured_at < first;
        let full = self.max_duration.is_some_and(|longest| ends_at.since(first) > longest);
        silent || back || full
    }

    /// After how long without a commit a session is over: the threshold, but never before a
    /// device that is live would have committed again.
    pub fn silence(&self) -> Duration {
        self.offline_threshold.max(self.commit_every)
    }

    /// Whether a session is over that has been watched for that long without a commit. It is by
    /// the times of commits, so that a camera whose clock is wrong is not taken for gone, and by
    /// two looks, so that the watcher's wrong clock ends nothing: between them, a device that is
    /// live commits. Where the wall clock is behind, being watched is enough.
    pub fn is_over(&self, session: &OpenSession, watched: Duration, now: UtcMillis) -> bool {
        let looks_over = now.since(session.last_frame_at) > self.silence();
        watched > self.silence() || (looks_over && watched >= self.second_look())
    }

    /// How long after the first look that found a commit the newest, the second may end its
    /// session.
    pub fn second_look(&self) -> Duration {
        self.commit_every.min(self.silence())
    }

    /// How long a session cannot be over yet that has been watched for that long without a
    /// commit.
    pub fn look_again_in(
        &self,
        session: &OpenSession,
        watched: Duration,
        now: UtcMillis,
    ) -> Duration {
        let left = |all: Duration, gone: Duration| all.saturating_sub(gone);
        let by_the_wall = left(self.silence(), now.since(session.last_frame_at));
        let by_watching = left(self.silence(), watched);
        by_the_wall.max(left(self.second_look(), watched)).min(by_watching) + TICK
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EventId, SessionId};
    use crate::store::FrameRecord;
    use bytes::Bytes;

    const START: UtcMillis = UtcMillis(1_769_846_400_000);
    const RULES: SessionRules = SessionRules {
        offline_threshold: Duration::from_secs(60),
        commit_every: Duration::from_secs(45),
        max_duration: Some(Duration::from_secs(120)),
    };

    fn at(secs: i64) -> UtcMillis {
        START.plus_millis(secs * 1_000)
    }

    /// A segment of six frames, five seconds apart.
    fn segment(secs: i64) -> NewSegment {
        let frame = |index: i64| FrameRecord {
            event_id: EventId::new(&format!("{secs}-{index}")).unwrap(),
            captured_at: at(secs + index * 5),
            file: None,
        };
        NewSegment {
            media: Bytes::new(),
            init: None,
            duration_millis: 30_000,
            captured_at: at(secs),
            discontinuity: false,
            begins_session: false,
            frame_bytes: 0,
            frames: (0..6).map(frame).collect(),
        }
    }

    fn marks(current: Option<&OpenSession>, starts: &[i64]) -> Vec<bool> {
        let mut segments: Vec<_> = starts.iter().map(|secs| segment(*secs)).collect();
        RULES.mark(current, &mut segments);
        segments.iter().map(|segment| segment.begins_session).collect()
    }

    fn open(from_secs: i64, until_secs: i64) -> OpenSession {
        OpenSession {
            id: SessionId::of(at(from_secs), 0),
            started_at: at(from_secs + 31),
            last_frame_at: at(until_secs + 6),
            first_captured_at: at(from_secs),
            last_captured_at: at(until_secs),
            first_segment: 0,
            last_segment: 0,
            frame_count: 6,
        }
    }

    #[test]
    fn a_device_without_a_session_begins_one() {
        assert_eq!(marks(None, &[0, 30]), [true, false]);
    }

    #[test]
    fn a_silence_longer_than_the_threshold_begins_a_session_and_one_as_long_does_not() {
        let session = open(0, 25);
        assert_eq!(marks(Some(&session), &[85]), [false]);
        assert_eq!(marks(Some(&session), &[86]), [true]);
        assert_eq!(marks(None, &[0, 86]), [true, true]);
    }

    #[test]
    fn a_session_is_cut_before_it_gets_longer_than_it_may() {
        assert_eq!(marks(None, &[0, 30, 60, 90, 120]), [true, false, false, false, true]);
        let endless = SessionRules { max_duration: None, ..RULES };
        let mut segments: Vec<_> = (0..100).map(|i| segment(i * 30)).collect();
        endless.mark(None, &mut segments);
        assert_eq!(segments.iter().filter(|s| s.begins_session).count(), 1);
    }

    #[test]
    fn a_clock_that_was_set_back_begins_a_session() {
        assert_eq!(marks(Some(&open(0, 25)), &[-3_600]), [true]);
    }

    #[test]
    fn a_session_is_over_once_nothing_was_committed_for_the_threshold() {
        let session = open(0, 25);
        let committed = session.last_frame_at;
        let (second, later) = (RULES.second_look(), committed.plus_millis(60_001));
        assert!(!RULES.is_over(&session, second, committed.plus(RULES.offline_threshold)));
        assert!(RULES.is_over(&session, second, later));
        // Without a second look it may be the clock that is wrong.
        assert!(!RULES.is_over(&session, second - Duration::from_millis(1), later));
        // A clock that was stepped back ends nothing by itself.
        assert!(!RULES.is_over(&session, Duration::from_secs(60), at(-10_000)));
        assert!(RULES.is_over(&session, Duration::from_millis(60_001), at(-10_000)));
    }

    #[test]
    fn a_threshold_shorter_than_a_segment_ends_no_device_that_is_live() {
        let rules = SessionRules { offline_threshold: Duration::from_secs(10), ..RULES };
        assert_eq!((rules.silence(), RULES.silence().as_secs()), (RULES.commit_every, 60));
    }
}
