//! What has to be there, worked out from what was drawn and the words of the settings; nothing
//! of the code under test. Where a run of something could as well have come a little later, it
//! says neither yes nor no.

use stream_processor::model::UtcMillis;

use crate::draw::{Device, Filmed, HOUR, LONGEST_SESSION, MINUTE, OFFLINE, SURELY_ENDED};

pub const RETENTION: i64 = 24 * HOUR;
pub const GRACE: i64 = 30 * MINUTE;
/// An archive is kept for so long.
pub const KEEP: i64 = 36 * HOUR;
/// A shorter session becomes no archive.
pub const SHORTEST_SESSION: i64 = 10 * MINUTE;
pub const TARGET_SECS: u32 = 330;
/// After so long without a commit the clean-up trims the window.
pub const IDLE_AFTER: i64 = 50 * MINUTE;

/// What a playlist tells of a commit's time is exact to this.
const DOUBT: i64 = MINUTE + 1_000;
/// Three target durations and a date, of which every tenth segment has one, stay listed.
const MAY_STAY: usize = 13;
/// Runs of the clean-up notice within this that a window has become too long.
const TRIMMED_WITHIN: i64 = 30 * MINUTE;
/// What has left the window is gone after this: it is seen, has its grace, and is removed.
const TIDY_WITHIN: i64 = 65 * MINUTE;
/// A session that is over is archived after this.
const ARCHIVED_WITHIN: i64 = 50 * MINUTE;
/// What an archive needs no longer is gone after this.
const CLEANED_UP_WITHIN: i64 = 15 * MINUTE;
/// For so long before each check no run of anything is missed or dies.
pub const CALM: i64 = 110 * MINUTE;
/// For so long runs may be missed one after the other, at most.
pub const OUTAGE: i64 = 45 * MINUTE;
/// After so long at most a session that failed is tried again, and what waited for it has gone.
const UNBLOCKED_WITHIN: i64 = 4 * HOUR;

/// A device at an instant.
pub struct Owed<'a> {
    pub device: &'a Device,
    pub now: UtcMillis,
    /// What is committed by now.
    pub committed: &'a [Filmed],
    /// What was committed so long ago that all that follows from it is done.
    settled: &'a [Filmed],
    /// The first segment of the first session of which an archive is still to come, where none
    /// can be made.
    held_from: usize,
}

/// A session and its archive.
#[derive(Debug)]
pub struct Session {
    pub id: String,
    pub first: usize,
    /// The index after its last segment.
    pub end: usize,
    /// Whether its archive has to be there.
    pub must: bool,
    /// Whether it may be.
    pub may: bool,
    /// Whether it may still go on, or be over and not archived yet.
    pub may_be_unfinished: bool,
    /// When it was archived, the earliest and the latest.
    pub archived: (UtcMillis, UtcMillis),
}

impl<'a> Owed<'a> {
    pub fn at(device: &'a Device, now: UtcMillis) -> Self {
        let until = |at| device.filmed.partition_point(|filmed| filmed.committed_at <= at);
        let committed = &device.filmed[..until(now)];
        let settled = &device.filmed[..until(now.plus_millis(-TIDY_WITHIN))];
        let held = device.blocked_until.filter(|until| now.millis_since(*until) < UNBLOCKED_WITHIN);
        let held_from = held.map_or(usize::MAX, |_| first_owed(committed));
        Self { device, now, committed, settled, held_from }
    }

    fn age(&self, at: UtcMillis) -> i64 {
        self.now.millis_since(at)
    }

    /// Whether the playlist has to list this segment.
    pub fn must_be_listed(&self, index: usize) -> bool {
        let is_young = self.age(self.committed[index].committed_at) <= RETENTION - DOUBT;
        let mut after = 0;
        let mut rest = self.committed[index + 1..].iter();
        let leaves_enough = rest.any(|filmed| {
            after += filmed.millis;
            after >= 3 * 1_000 * i64::from(TARGET_SECS)
        });
        is_young || !leaves_enough
    }

    /// Whether it must not.
    pub fn must_not_be_listed(&self, index: usize) -> bool {
        is_trimmed(index, self.committed, self.now)
    }

    /// Whether its media file and its frames have to be there.
    pub fn must_be_there(&self, index: usize) -> bool {
        let age = self.age(self.committed[index].committed_at);
        let is_owed_to_an_archive = self.is_blocked() && index >= self.held_from;
        age <= RETENTION + GRACE - DOUBT || self.must_be_listed(index) || is_owed_to_an_archive
    }

    /// Whether they must not.
    pub fn must_be_gone(&self, index: usize) -> bool {
        let then = self.now.plus_millis(-TIDY_WITHIN);
        index < self.held_from && is_trimmed(index, self.settled, then)
    }

    fn is_blocked(&self) -> bool {
        self.device.blocked_until.is_some_and(|until| self.now < until)
    }

    /// The first segment whose record an archive may still need.
    pub fn recorded_from(&self) -> usize {
        let mut sessions = split(self.committed).into_iter();
        let is_new = |(_, end): &(usize, usize)| {
            let next = self.committed.get(*end).map(|filmed| filmed.committed_at);
            let over = self.committed[end - 1].committed_at.plus_millis(OFFLINE);
            self.age(next.unwrap_or(over).min(over)) < ARCHIVED_WITHIN + CLEANED_UP_WITHIN
        };
        sessions.find(is_new).map_or(self.committed.len(), |(first, _)| first)
    }

    /// Every session so far that is long enough, or may become it.
    pub fn sessions(&self) -> Vec<Session> {
        let split = split(self.committed);
        let of = |&(first, end): &(usize, usize)| {
            let filmed = &self.committed[first..end];
            let (oldest, newest) = (filmed.first()?, filmed.last()?);
            let next = self.committed.get(end).map(|filmed| filmed.committed_at);
            let over =
                next.unwrap_or(newest.committed_at).min(newest.committed_at.plus_millis(OFFLINE));
            let may_be_open = next.is_none() && self.age(newest.committed_at) < ARCHIVED_WITHIN;
            if lasts(filmed) < SHORTEST_SESSION && !may_be_open {
                return None;
            }
            let over_latest = newest.committed_at.plus_millis(SURELY_ENDED);
            let mut archived = (
                newest.committed_at,
                next.unwrap_or(over_latest).min(over_latest).plus_millis(CALM),
            );
            let mut must = self.age(over) >= ARCHIVED_WITHIN;
            if let Some(until) = self.device.blocked_until {
                must &= self.age(until) >= UNBLOCKED_WITHIN;
                archived.0 = archived.0.max(until);
                archived.1 = archived.1.max(until.plus_millis(UNBLOCKED_WITHIN));
            }
            let is_over = next.is_some() || self.age(newest.committed_at) > OFFLINE;
            Some(Session {
                id: name(oldest),
                first,
                end,
                must: must && self.age(archived.0) < KEEP,
                may: is_over
                    && !self.is_blocked()
                    && self.age(archived.1) < KEEP + TIDY_WITHIN + CALM,
                may_be_unfinished: may_be_open || self.age(over) < ARCHIVED_WITHIN,
                archived,
            })
        };
        split.iter().filter_map(of).collect()
    }
}

/// Whether a segment has left the window for sure that lists the newest of these.
fn is_trimmed(index: usize, committed: &[Filmed], now: UtcMillis) -> bool {
    let Some(newest) = committed.last().filter(|_| index + MAY_STAY <= committed.len()) else {
        return false;
    };
    let at = committed[goes_with(index, committed)].committed_at;
    let by_a_commit = newest.committed_at.millis_since(at) > RETENTION + DOUBT;
    let is_idle = now.millis_since(newest.committed_at) > IDLE_AFTER + TRIMMED_WITHIN;
    by_a_commit || (is_idle && now.millis_since(at) > RETENTION + DOUBT + TRIMMED_WITHIN)
}

/// The segment whose time has to come for this one to leave the window. A playlist has a date at
/// every tenth segment, at discontinuities and after silences, and none can be added later: of
/// the segments between the last date before a silence and the silence, all leave together.
fn goes_with(index: usize, committed: &[Filmed]) -> usize {
    for (at, pair) in committed[index..].windows(2).enumerate() {
        if pair[1].captured_at != pair[0].ends_at() {
            return index + at;
        }
        if pair[1].discontinuity || pair[1].number.is_multiple_of(10) {
            return index;
        }
    }
    index
}

/// The first segment of the first session that may become an archive.
fn first_owed(committed: &[Filmed]) -> usize {
    let is_owed = |(first, end): &(usize, usize)| {
        *end == committed.len() || lasts(&committed[*first..*end]) >= SHORTEST_SESSION
    };
    split(committed).into_iter().find(is_owed).map_or(committed.len(), |(first, _)| first)
}

/// The runs of segments that are sessions: the index of the first one, and that after the last.
fn split(filmed: &[Filmed]) -> Vec<(usize, usize)> {
    let mut sessions: Vec<(usize, usize)> = Vec::new();
    for (index, next) in filmed.iter().enumerate() {
        let goes_on = sessions.last().is_some_and(|&(first, end)| {
            let (begun, before) = (filmed[first].captured_at, &filmed[end - 1]);
            let silence = next.captured_at.millis_since(before.last_captured_at());
            let unheard_of = next.committed_at.millis_since(before.committed_at);
            silence <= OFFLINE
                && unheard_of <= SURELY_ENDED
                && next.captured_at >= begun
                && next.ends_at().millis_since(begun) <= LONGEST_SESSION
        });
        match sessions.last_mut() {
            Some((_, end)) if goes_on => *end = index + 1,
            _ => sessions.push((index, index + 1)),
        }
    }
    sessions
}

fn lasts(filmed: &[Filmed]) -> i64 {
    match (filmed.first(), filmed.last()) {
        (Some(first), Some(last)) => last.ends_at().millis_since(first.captured_at),
        _ => 0,
    }
}

/// What the session is called that begins with this segment: the second and the number.
fn name(filmed: &Filmed) -> String {
    let text = filmed.captured_at.to_string().replace(['-', ':'], "");
    let second = text.split('.').next().unwrap();
    format!("{second}Z-{:06}", filmed.number)
}
