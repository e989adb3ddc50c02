//! What is known of one device, from its stored state (pure).

use std::time::Duration;

use super::schedule;
use crate::http::page::{DeviceView, Lag, Presence};
use crate::model::{DeviceKey, UtcMillis};
use crate::store::{DeviceState, StoreError};

/// One device.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// The version of its state that was read.
    pub(super) tag: Option<String>,
    pub(super) seen: Option<Seen>,
    pub(super) presence: Presence,
    pub(super) error: Option<String>,
    pub(super) looked_at: Option<UtcMillis>,
    /// When it is to be looked at next.
    pub(super) due_at: UtcMillis,
    /// When a page last showed it.
    pub(super) shown_at: Option<UtcMillis>,
}

/// What of a state matters here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Seen {
    pub(super) committed_at: Option<UtcMillis>,
    last_frame_at: Option<UtcMillis>,
    segments: u64,
    pub(super) segment_secs: u32,
}

impl Default for Known {
    /// Nothing yet, and due at once.
    fn default() -> Self {
        Self {
            tag: None,
            seen: None,
            presence: Presence::Starting,
            error: None,
            looked_at: None,
            due_at: UtcMillis(i64::MIN),
            shown_at: None,
        }
    }
}

impl Seen {
    fn of(state: &DeviceState) -> Self {
        // The newest record outlives the session, which may have been ended.
        let newest = state.recent.last();
        Self {
            committed_at: newest.map(|record| record.committed_at),
            last_frame_at: state.last_captured_at,
            segments: state.next_segment.saturating_sub(state.published.media_sequence),
            // The target is a tenth longer than a segment.
            segment_secs: (state.target_duration_secs.saturating_mul(10) / 11).max(1),
        }
    }

    fn lag(&self, now: UtcMillis) -> Option<Lag> {
        let secs = |at: UtcMillis| now.since(at).as_secs_f64();
        let committed_at = self.committed_at?;
        Some(Lag {
            silent_secs: secs(committed_at),
            behind_secs: secs(self.last_frame_at.unwrap_or(committed_at)),
        })
    }
}

impl Known {
    pub(super) fn is_absent(&mut self, now: UtcMillis, offline_after: Duration) {
        self.tag = None;
        self.seen = None;
        self.error = None;
        self.judge(now, offline_after);
    }

    pub(super) fn is_unchanged(&mut self, now: UtcMillis, offline_after: Duration) {
        self.judge(now, offline_after);
    }

    pub(super) fn has(
        &mut self,
        tag: String,
        state: &[u8],
        now: UtcMillis,
        offline_after: Duration,
    ) {
        self.tag = Some(tag);
        match serde_json::from_slice::<DeviceState>(state) {
            Ok(state) => {
                self.seen = Some(Seen::of(&state));
                self.error = None;
            }
            Err(_) => {
                self.error = Some("what is stored of its stream cannot be read".into());
            }
        }
        self.judge(now, offline_after);
    }

    pub(super) fn has_failed(&mut self, error: &StoreError, now: UtcMillis) {
        tracing::debug!(%error, "a device's state cannot be looked at");
        self.error = Some("its storage cannot be read at the moment".into());
        self.looked_at = Some(now);
        self.plan(now);
    }

    /// Somebody looks at it.
    pub(super) fn is_shown(&mut self, now: UtcMillis) {
        self.shown_at = Some(now);
        let wanted = self.looked_at.map(|at| at.plus(self.pause(now)));
        self.due_at = self.due_at.min(wanted.unwrap_or(self.due_at));
    }

    pub(super) fn view(&self, key: &DeviceKey) -> DeviceView {
        DeviceView {
            key: key.clone(),
            name: key.device.as_str().to_owned(),
            last_frame_at: self.seen.and_then(|seen| seen.last_frame_at),
            presence: self.presence,
            segment_count: self.seen.map_or(0, |seen| seen.segments),
            error: self.error.clone(),
        }
    }

    /// As it was when it was looked at: what has not been looked at since is not late for that.
    fn judge(&mut self, now: UtcMillis, offline_after: Duration) {
        self.looked_at = Some(now);
        let lag = self.seen.and_then(|seen| seen.lag(now));
        let segment_secs = self.seen.map_or(0.0, |seen| seen.segment_secs.into());
        self.presence = Presence::judge(lag, segment_secs, offline_after.as_secs_f64());
        self.plan(now);
    }

    fn plan(&mut self, now: UtcMillis) {
        self.due_at = now.plus(self.pause(now));
    }

    fn pause(&self, now: UtcMillis) -> Duration {
        schedule::pause(self.presence, self.seen, schedule::is_shown(self.shown_at, now), now)
    }
}
