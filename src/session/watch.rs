//! What a checker remembers of a device between two looks (pure): since when it has seen no
//! newer commit, and when it has to look again. Times are a clock's uptime, which nobody sets.

use std::time::Duration;

use super::{Afterwards, SessionRules};
use crate::model::{SessionId, UtcMillis};
use crate::store::{DeviceState, OpenSession};

/// How often what follows a look is done of a device of which nothing seems to be due: a session
/// that goes on for days is archived in pieces.
const AFTERWARDS_EVERY: Duration = Duration::from_secs(600);

/// A device as it was at the last look.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    /// The newest commit of the open session, and the first look that found it.
    newest: Option<(Newest, Duration)>,
    /// When it is to be looked at again.
    due: Duration,
    /// Whether its session would be over by the wall clock, if that is right.
    seems_over: bool,
    /// Before which number every session is finished and has been followed up, and when.
    followed_up: Option<(u64, Duration)>,
    /// How many sessions could not be archived so far.
    sessions_waiting: usize,
    /// What went wrong last time.
    trouble: Option<&'static str>,
}

/// Names a commit: its session and its newest segment.
type Newest = (SessionId, u64);

/// What is to be done about a device's session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Nothing yet.
    Leave,
    /// It is over: nothing was committed since then.
    End(SessionId, UtcMillis),
}

impl Watch {
    /// Whether it is time to look.
    pub fn is_due(&self, uptime: Duration) -> bool {
        self.due <= uptime
    }

    /// Whether the device was in a session.
    pub fn in_session(&self) -> bool {
        self.newest.is_some()
    }

    /// When the second look is due that decides about a session that seems to be over.
    pub fn second_look_due(&self) -> Option<Duration> {
        self.seems_over.then_some(self.due)
    }

    /// Takes in what a look has found; `now` is the wall clock.
    pub fn look(
        &mut self,
        session: Option<&OpenSession>,
        rules: &SessionRules,
        uptime: Duration,
        now: UtcMillis,
    ) -> Verdict {
        self.seems_over = false;
        let Some(session) = session else {
            self.newest = None;
            // Whatever session may begin in between cannot be over before that.
            self.due = uptime.saturating_add(rules.silence());
            return Verdict::Leave;
        };
        let newest = (session.id.clone(), session.last_segment);
        let since = match &self.newest {
            Some((known, since)) if *known == newest => *since,
            _ => uptime,
        };
        self.newest = Some((newest, since));
        let watched = uptime.saturating_sub(since);
        if rules.is_over(session, watched, now) {
            self.due = uptime;
            return Verdict::End(session.id.clone(), session.last_frame_at);
        }
        self.due = uptime.saturating_add(rules.look_again_in(session, watched, now));
        self.seems_over = now.since(session.last_frame_at) > rules.silence();
        Verdict::Leave
    }

    /// Something went wrong: it is looked at again after `pause`. Whether that is news.
    pub fn failed(&mut self, reason: &'static str, uptime: Duration, pause: Duration) -> bool {
        self.due = uptime.saturating_add(pause);
        self.trouble.replace(reason) != Some(reason)
    }

    /// Nothing went wrong. Whether that is news.
    pub fn went_well(&mut self) -> bool {
        self.trouble.take().is_some()
    }

    /// Whether what follows a look is to be done: a session has been finished since the last
    /// time, or that was long ago.
    pub fn is_to_follow_up(&self, state: &DeviceState, uptime: Duration) -> bool {
        self.followed_up.is_none_or(|(below, at)| {
            below != finished_below(state) || uptime.saturating_sub(at) >= AFTERWARDS_EVERY
        })
    }

    /// What follows a look has been done.
    pub fn followed_up(&mut self, state: &DeviceState, uptime: Duration, done: Afterwards) {
        self.sessions_waiting = done.waiting;
        self.followed_up = (!done.again).then(|| (finished_below(state), uptime));
    }

    /// How many sessions could not be archived so far.
    pub fn sessions_waiting(&self) -> usize {
        self.sessions_waiting
    }
}

/// Before which number every session is finished.
fn finished_below(state: &DeviceState) -> u64 {
    state.session.as_ref().map_or(state.next_segment, |session| session.first_segment)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: UtcMillis = UtcMillis(1_769_846_400_000);
    const RULES: SessionRules = SessionRules {
        offline_threshold: Duration::from_secs(60),
        commit_every: Duration::from_secs(45),
        max_duration: None,
    };

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    /// A session whose newest segment is that one, committed so many seconds after the start.
    fn session(segment: u64, committed_secs: u64) -> OpenSession {
        let at = START.plus(secs(committed_secs));
        OpenSession {
            id: SessionId::of(START, 0),
            started_at: START,
            last_frame_at: at,
            first_captured_at: START,
            last_captured_at: at,
            first_segment: 0,
            last_segment: segment,
            frame_count: 6,
        }
    }

    /// A device that commits every 30 seconds until `until_secs`, looked at whenever that is due,
    /// by a wall clock that is wrong by so much. When its session is ended, if it is, and how
    /// often it was looked at.
    fn ended_at(until_secs: u64, wrong: impl Fn(u64) -> i64) -> (Option<u64>, u32) {
        let mut watch = Watch::default();
        let mut looks = 0;
        for uptime_secs in 0..20_000 {
            if !watch.is_due(secs(uptime_secs)) {
                continue;
            }
            looks += 1;
            let segment = uptime_secs.min(until_secs) / 30;
            let now = START.plus(secs(uptime_secs)).plus_millis(wrong(uptime_secs) * 1_000);
            let session = session(segment, segment * 30);
            let verdict = watch.look(Some(&session), &RULES, secs(uptime_secs), now);
            if verdict != Verdict::Leave {
                return (Some(uptime_secs), looks);
            }
        }
        (None, looks)
    }

    #[test]
    fn a_device_that_goes_silent_is_ended_after_the_threshold() {
        for silent_from in [0, 30, 300, 3_000] {
            let (ended, _) = ended_at(silent_from, |_| 0);
            let after = ended.unwrap() - silent_from;
            assert!((61..=106).contains(&after), "{after} s after {silent_from} s");
        }
    }

    #[test]
    fn a_device_that_is_live_is_looked_at_about_once_a_threshold() {
        let (ended, looks) = ended_at(u64::MAX, |_| 0);
        assert_eq!(ended, None);
        assert!(looks <= 20_000 / 45 + 1, "{looks} looks");
    }

    #[test]
    fn a_wall_clock_that_is_wrong_or_is_set_ends_no_session_that_goes_on() {
        for ahead_secs in [20, 40, 70, 3_600, 86_400] {
            assert_eq!(ended_at(u64::MAX, |_| ahead_secs).0, None, "{ahead_secs} s ahead");
            for step_at in [301, 315, 329] {
                let stepped = |at| if at < step_at { 0 } else { ahead_secs };
                assert_eq!(ended_at(u64::MAX, stepped).0, None, "{ahead_secs} s at {step_at} s");
            }
        }
    }

    #[test]
    fn a_wall_clock_that_is_behind_ends_sessions_all_the_same() {
        for behind_secs in [-30, -3_600] {
            let (ended, _) = ended_at(300, |_| behind_secs);
            let after = ended.unwrap() - 300;
            assert!((61..=122).contains(&after), "{after} s, the clock {behind_secs} s");
        }
    }

    #[test]
    fn the_first_look_ends_nothing_and_says_when_the_second_is_due() {
        let mut watch = Watch::default();
        let now = START.plus(secs(10_000));
        let old = session(3, 90);
        assert_eq!(watch.look(Some(&old), &RULES, secs(5), now), Verdict::Leave);
        let due = watch.second_look_due().unwrap();
        assert!(due > secs(50) && due < secs(51), "{due:?}");
        let verdict = watch.look(Some(&old), &RULES, due, now.plus(secs(46)));
        assert_eq!(verdict, Verdict::End(old.id.clone(), old.last_frame_at));
    }

    #[test]
    fn what_follows_is_done_when_a_session_is_finished_and_now_and_then() {
        let mut state = DeviceState::new(33, 10, 0);
        state.session = Some(session(9, 270));
        let mut watch = Watch::default();
        assert!(watch.is_to_follow_up(&state, secs(0)));
        watch.followed_up(&state, secs(0), Afterwards { again: true, ..Afterwards::default() });
        assert!(watch.is_to_follow_up(&state, secs(0)));
        watch.followed_up(&state, secs(0), Afterwards::default());
        state.next_segment = 11;
        assert!(!watch.is_to_follow_up(&state, secs(599)));
        assert!(watch.is_to_follow_up(&state, secs(600)));
        state.session = None;
        assert!(watch.is_to_follow_up(&state, secs(1)));
    }

    #[test]
    fn trouble_is_news_once() {
        let mut watch = Watch::default();
        assert!(watch.failed("store_io", secs(0), secs(30)));
        assert!(!watch.failed("store_io", secs(30), secs(30)));
        assert!(watch.failed("store_locked", secs(60), secs(30)));
        assert!(!watch.is_due(secs(89)) && watch.is_due(secs(90)));
        assert!(watch.went_well() && !watch.went_well());
    }
}
