//! What a run has to do for a device (pure).
//!
//! Architecture invariant: a segment that is said to be removable is not in the live playlist,
//! has not been for the grace, and is needed by no archive; nothing else is decided by what
//! there is to keep.

use crate::model::UtcMillis;
use crate::store::{DeviceState, SegmentRecord};

use super::RetentionSettings;
use super::archived::Archived;
use super::cleaned::{Cleaned, bytes_of};

/// What a device's state and its notes say there is to do. With nothing, nothing else of the
/// device is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    /// Its window may have to be trimmed: nothing comes any more.
    pub trim: bool,
    /// Segments have left the playlist: that is to be noted.
    pub observe: bool,
    /// Segments may go.
    pub remove: bool,
    /// History files may go.
    pub history: bool,
    /// Its quota is to be looked at.
    pub quota: bool,
    /// What nothing lists is to be looked for.
    pub orphans: bool,
}

impl Needs {
    /// What there is to do at `now`; `orphans_now`: look for what nothing lists in any case.
    pub fn of(
        settings: &RetentionSettings,
        state: &DeviceState,
        cleaned: &Cleaned,
        now: UtcMillis,
        orphans_now: bool,
    ) -> Self {
        let listed_from = state.published.media_sequence;
        let idle = is_idle(settings, state, now);
        let unlisted_below = cleaned.unlisted_below(now, settings.grace);
        Self {
            trim: idle && cleaned.is_trim_due(state.generation, now),
            observe: cleaned.would_observe(listed_from, now, settings.grace),
            remove: unlisted_below.min(listed_from) > cleaned.removed_below,
            history: cleaned.removed_below > cleaned.history_below,
            quota: settings.has_quota() && is_quota_due(settings, state, cleaned),
            orphans: orphans_now || cleaned.are_orphans_due(now),
        }
    }

    /// Whether it depends on the archives what there is to do.
    pub fn depends_on_archives(self) -> bool {
        self.remove || self.history
    }

    /// The same, less what an archive still needs.
    pub fn but_for(
        self,
        archived: Archived,
        cleaned: &Cleaned,
        listed_from: u64,
        unlisted_below: u64,
    ) -> Self {
        let below = unlisted_below.min(listed_from).min(archived.segments_below());
        let removed_below = cleaned.removed_below.max(below);
        Self {
            remove: self.remove && below > cleaned.removed_below,
            history: removed_below.min(archived.records_below()) > cleaned.history_below,
            ..self
        }
    }

    /// Whether there is nothing to do.
    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

/// Whether nothing comes from a device any more, so that nobody else trims its window. By the
/// time of its last commit.
pub(super) fn is_idle(settings: &RetentionSettings, state: &DeviceState, now: UtcMillis) -> bool {
    let lists_something = !state.published.sha256.is_empty();
    let last = state.recent.last().map(|record| record.committed_at);
    lists_something && last.is_some_and(|at| now.since(at) > settings.idle_after)
}

fn is_quota_due(settings: &RetentionSettings, state: &DeviceState, cleaned: &Cleaned) -> bool {
    let Some(counted) = cleaned.counted else { return true };
    let is_over = settings.device_max_bytes.is_some_and(|most| counted.bytes > most);
    counted.through != state.next_segment || (is_over && !cleaned.is_trimmed_out(state.generation))
}

/// Whether a file that a record names can be that record's: names in a history file that was
/// edited by hand must not lead to another one.
pub(super) fn is_own_media(record: &SegmentRecord) -> bool {
    crate::playlist::media_file_number(&record.file) == Some(record.number)
}

/// The number before which segments have to leave the playlist so that a device keeps its
/// quota: walks over `record`s, oldest first, until enough of them are told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Excess {
    left_bytes: u64,
    keep_from: u64,
}

impl Excess {
    /// Of `bytes` at most `most` are to be kept; the rest is to go from number `from` on.
    pub fn new(bytes: u64, most: u64, from: u64) -> Self {
        Self { left_bytes: bytes.saturating_sub(most), keep_from: from }
    }

    /// Whether more has to go.
    pub fn is_left(self) -> bool {
        self.left_bytes > 0
    }

    /// Takes the oldest record that has not been told of yet.
    pub fn take(&mut self, record: &SegmentRecord) {
        self.left_bytes = self.left_bytes.saturating_sub(bytes_of(record));
        self.keep_from = record.number.saturating_add(1);
    }

    /// The number of the oldest segment that may stay listed.
    pub fn keep_from(self) -> u64 {
        self.keep_from
    }
}
