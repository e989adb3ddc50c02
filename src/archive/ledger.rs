//! `hls/archived.json`: how far a device's sessions are archived, and what is left to do (pure).
//!
//! Architecture invariant: a segment of which the ledger says that it may go is in no archive
//! that is still to be made, or it is in that archive's folder already. So the ledger is written
//! after what it tells of is durable, never before.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ArchiveSettings;
use super::document::{Document, Status};
use super::sessions::{Session, finished_below};
use crate::model::{SessionId, UtcMillis};
use crate::store::DeviceState;

/// The layout of [`Ledger`] as it is stored.
pub const LEDGER_FORMAT: u32 = 1;

/// So many failed sessions are kept account of. While there are more, the newer ones wait.
const MAX_FAILED: usize = 32;

/// So many sessions can be without their row in the database before all of the device's are
/// compared.
const MAX_UNCONFIRMED: usize = 256;

/// After the first failure it is tried again this much later; twice as late each time, up to the
/// second one.
const RETRIES: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3_600));

/// How much of an error is kept.
const MAX_ERROR_CHARS: usize = 300;

/// What is known of a device's archives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// The layout of this document: [`LEDGER_FORMAT`].
    pub format: u32,
    /// Every segment below is of a session that is archived, or that was not to be.
    pub archived_below: u64,
    /// Every segment below is of such a session, or is in its archive's folder already.
    #[serde(default)]
    pub linked_below: u64,
    /// The same as `archived_below`, behind sessions that have failed so far; in order, apart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ahead: Vec<Span>,
    /// Sessions that could not be archived yet, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<Failed>,
    /// The session that goes on and is archived piece by piece.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    linked: Option<Linked>,
    /// Sessions whose row in the database may not be what their archive says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unconfirmed: Vec<SessionId>,
    /// Whether that may be so for any of the device's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rebuild: bool,
    /// Whether there was no ledger, so that it has still to be asked of the archives what is
    /// archived. Until then nothing is said to be.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lost: bool,
}

/// Segments from `first` on, below `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Span {
    first: u64,
    end: u64,
}

/// A session that could not be archived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// Its name.
    pub session_id: SessionId,
    /// The number of its first segment.
    pub first: u64,
    /// The number after its last segment; `first` while it still goes on.
    pub end: u64,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was first tried, in milliseconds since 1970.
    pub first_failed_at: UtcMillis,
    /// When it is tried again, in milliseconds since 1970.
    pub retry_at: UtcMillis,
    /// Why it failed the last time.
    pub error: String,
}

/// How much of the open session is in its archive's folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Linked {
    session_id: SessionId,
    first: u64,
    below: u64,
    /// When that was done, in milliseconds since 1970.
    at: UtcMillis,
}

/// What is to be done with a finished session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It becomes an archive: this is the how manieth try, from 1.
    Make(u32),
    /// It is too short.
    Dismiss,
    /// It has failed for as long as its archive would have been kept.
    GiveUp,
    /// It is not its turn yet.
    Wait,
}

impl Default for Ledger {
    /// Nothing is archived.
    fn default() -> Self {
        Self {
            format: LEDGER_FORMAT,
            archived_below: 0,
            linked_below: 0,
            ahead: Vec::new(),
            failed: Vec::new(),
            linked: None,
            unconfirmed: Vec::new(),
            rebuild: false,
            lost: false,
        }
    }
}

impl Ledger {
    /// In the place of one that is not there: of a device that never had one, or has lost it.
    pub fn absent() -> Self {
        Self { lost: true, ..Self::default() }
    }

    /// In the place of one that cannot be read.
    pub fn damaged() -> Self {
        Self { rebuild: true, ..Self::absent() }
    }

    /// Takes in what a lost ledger knew, so that no session is archived under another name
    /// because its first records are gone, and none that has failed begins anew. Records are left
    /// from number `recorded_from` on: those before went because they were not needed. `archives`
    /// are the documents of the sessions since then, oldest first, which are kept for `keep`.
    pub fn find_again(&mut self, recorded_from: u64, archives: &[Document], keep: Duration) {
        self.settle(0, recorded_from);
        for document in archives {
            let first = document.first_segment_number;
            let end = document.last_segment_number.saturating_add(1);
            match document.status {
                Status::Ready => self.settle(first, end),
                Status::Failed if self.failed.len() < MAX_FAILED && !self.is_settled(first) => {
                    self.failed.push(Failed::of(document, (first, end), keep));
                }
                Status::Failed => {}
            }
        }
        self.lost = false;
    }

    /// Whether no archive needs this segment any more: for whoever cleans up, where sessions
    /// are archived.
    pub fn may_go(&self, number: u64) -> bool {
        number < self.archived_below.max(self.linked_below)
    }

    /// Whether the session that begins with this segment is archived, or was not to be.
    pub fn is_settled(&self, first: u64) -> bool {
        let holds = |span: &Span| span.first <= first && first < span.end;
        first < self.archived_below || self.ahead.iter().any(holds)
    }

    /// Whether an archive of this session, which begins with that segment, is still to come.
    pub fn is_pending(&self, id: &SessionId, first: u64) -> bool {
        self.failure(id).is_some() || !self.is_settled(first)
    }

    /// Whether rows of the database may not be what the archives say.
    pub fn is_behind(&self) -> bool {
        self.rebuild || !self.unconfirmed.is_empty()
    }

    /// Whether there is anything to do: told by the state alone.
    pub fn is_due(&self, state: &DeviceState, settings: &ArchiveSettings, now: UtcMillis) -> bool {
        let has_finished = self.seen_below() < finished_below(state);
        let has_room = self.failed.len() < MAX_FAILED;
        (has_finished && (has_room || !settings.enabled))
            || self.failed.iter().any(|failed| failed.is_due(now))
            || self.link_from(state, settings, now).is_some()
    }

    /// The number from which on the open session's segments are to be put into its archive's
    /// folder, so that they are there before they are cleaned up: none if that has time. Half
    /// the time for which they are kept is the latest.
    pub fn link_from(
        &self,
        state: &DeviceState,
        settings: &ArchiveSettings,
        now: UtcMillis,
    ) -> Option<u64> {
        let session = state.session.as_ref().filter(|_| settings.enabled)?;
        let linked = self.linked.as_ref().filter(|linked| linked.session_id == session.id);
        let (from, since) = linked.map_or((session.first_segment, session.started_at), |linked| {
            (linked.below, linked.at)
        });
        let is_time = now.since(since) >= settings.stream_retention / 2;
        let may_try = self.failure(&session.id).is_none_or(|failed| failed.is_due(now));
        (is_time && may_try && from < state.next_segment).then_some(from)
    }

    /// What is to be done with a session that is not settled.
    pub fn step(&self, session: &Session<'_>, settings: &ArchiveSettings, now: UtcMillis) -> Step {
        if !session.is_worth_it(settings.min_duration) {
            return Step::Dismiss;
        }
        match self.failure(&session.id) {
            Some(failed) if now.since(failed.first_failed_at) > settings.keep => Step::GiveUp,
            Some(failed) if failed.is_due(now) => Step::Make(failed.attempts.saturating_add(1)),
            None if self.failed.len() < MAX_FAILED => Step::Make(1),
            _ => Step::Wait,
        }
    }

    /// Notes that nothing is left to do for the segments from `first` on, below `end`.
    pub fn settle(&mut self, first: u64, end: u64) {
        self.failed.retain(|failed| failed.first < first || failed.first >= end);
        self.ahead.push(Span { first, end });
        self.ahead.sort_unstable_by_key(|span| span.first);
        let mut apart: Vec<Span> = Vec::with_capacity(self.ahead.len());
        for span in self.ahead.drain(..) {
            if span.first <= self.archived_below {
                self.archived_below = self.archived_below.max(span.end);
                continue;
            }
            match apart.last_mut() {
                Some(last) if span.first <= last.end => last.end = last.end.max(span.end),
                _ => apart.push(span),
            }
        }
        self.ahead = apart;
        let archived_below = self.archived_below;
        self.linked.take_if(|linked| linked.below <= archived_below);
        self.refresh();
    }

    /// Notes that a finished session is not archived yet although it was tried before.
    pub fn keep_waiting(&mut self, session: &Session<'_>) {
        for failed in self.failed.iter_mut().filter(|failed| failed.session_id == session.id) {
            failed.end = session.end;
        }
    }

    /// Notes that a session could not be archived. Its segments from `first` on, below `end`,
    /// are kept until it is.
    pub fn fail(&mut self, id: &SessionId, first: u64, end: u64, error: &str, now: UtcMillis) {
        let before = self.failed.iter().position(|failed| failed.session_id == *id);
        let before = before.map(|index| self.failed.remove(index));
        let attempts = before.as_ref().map_or(0, |failed| failed.attempts).saturating_add(1);
        self.failed.push(Failed {
            session_id: id.clone(),
            first,
            end,
            attempts,
            first_failed_at: before.map_or(now, |failed| failed.first_failed_at),
            retry_at: now.plus(retry_after(attempts)),
            error: error.chars().take(MAX_ERROR_CHARS).collect(),
        });
        self.failed.sort_unstable_by_key(|failed| failed.first);
    }

    /// Forgets failures of sessions that are not there any more.
    pub fn forget_failures_but(&mut self, is_there: impl Fn(&SessionId) -> bool) {
        self.failed.retain(|failed| is_there(&failed.session_id));
    }

    /// Notes that the open session's segments below `below` are in its archive's folder.
    pub fn link(&mut self, id: &SessionId, first: u64, below: u64, now: UtcMillis) {
        self.failed.retain(|failed| failed.session_id != *id);
        self.linked = Some(Linked { session_id: id.clone(), first, below, at: now });
        self.refresh();
    }

    /// Notes that a session's row in the database may not be what its archive says.
    pub fn unconfirm(&mut self, id: &SessionId) {
        if self.unconfirmed.contains(id) {
            return;
        }
        if self.unconfirmed.len() < MAX_UNCONFIRMED {
            self.unconfirmed.push(id.clone());
        } else {
            self.rebuild = true;
        }
    }

    /// Notes that the rows of these sessions are what their archives say.
    pub fn confirm(&mut self, ids: &[SessionId], all: bool) {
        self.unconfirmed.retain(|id| !ids.contains(id));
        self.rebuild &= !all;
    }

    /// Why this session could not be archived so far.
    pub fn failure(&self, id: &SessionId) -> Option<&Failed> {
        self.failed.iter().find(|failed| failed.session_id == *id)
    }

    /// Every segment below is of a session that was settled or has failed.
    fn seen_below(&self) -> u64 {
        let failed = self.failed.iter().map(|Failed { first, end, .. }| (*first, *end));
        let mut seen: Vec<_> = self.ahead.iter().map(|span| (span.first, span.end)).collect();
        seen.extend(failed);
        seen.sort_unstable();
        seen.into_iter().fold(self.archived_below, |below, (first, end)| {
            if first <= below { below.max(end) } else { below }
        })
    }

    fn refresh(&mut self) {
        let linked = self.linked.as_ref().filter(|linked| linked.first <= self.archived_below);
        self.linked_below = linked.map_or(0, |linked| linked.below).max(self.archived_below);
    }
}

impl Failed {
    /// What the document of an archive that could not be made says: it expires as long after the
    /// first try as an archive is kept.
    fn of(document: &Document, (first, end): (u64, u64), keep: Duration) -> Self {
        let keep_millis = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
        let tried_at = document.archived_at;
        Self {
            session_id: document.session_id.clone(),
            first,
            end,
            attempts: document.attempts,
            first_failed_at: document.expires_at.plus_millis(-keep_millis).min(tried_at),
            retry_at: tried_at.plus(retry_after(document.attempts)),
            error: document.error.iter().flat_map(|e| e.chars()).take(MAX_ERROR_CHARS).collect(),
        }
    }

    fn is_due(&self, now: UtcMillis) -> bool {
        // A clock that was set back must not make it wait for longer than it ever does.
        now >= self.retry_at || self.retry_at.since(now) > RETRIES.1
    }
}

fn retry_after(attempts: u32) -> Duration {
    let factor = 2_u32.saturating_pow(attempts.saturating_sub(1));
    RETRIES.0.saturating_mul(factor).min(RETRIES.1)
}

#[cfg(test)]
mod tests;
