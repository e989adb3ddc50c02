//! `hls/cleaned.json`: what of a device has been cleaned up, and what is known for the next run,
//! so that a run costs by what there is to delete (pure).
//!
//! Architecture invariant: everything in it can be lost. Then more is looked at once more, and
//! nothing is removed sooner.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{DeviceKey, UtcMillis};
use crate::store::{DeviceState, SegmentRecord};

/// The layout of [`Cleaned`] as it is stored.
pub(super) const CLEANED_FORMAT: u32 = 1;

/// So many instants at which the playlist was seen are kept.
const MAX_OBSERVED: usize = 8;

/// How often what nothing lists is looked for.
pub(super) const ORPHANS_EVERY: Duration = Duration::from_secs(24 * 3_600);

/// The window of a device that has gone is trimmed so many times within one retention at most.
const TRIMS_PER_RETENTION: u32 = 100;

/// What is known of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cleaned {
    /// The layout of this document: [`CLEANED_FORMAT`].
    pub format: u32,
    /// Every segment below is gone, and so are its frames.
    pub removed_below: u64,
    /// Every history file that ends below is gone.
    #[serde(default)]
    pub history_below: u64,
    /// From which segment on the playlist listed them at some instants; oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub observed: Vec<Observed>,
    /// When to look for what nothing lists, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orphans_due_at: Option<UtcMillis>,
    /// When the window is to be trimmed, if nothing comes any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trim: Option<Trim>,
    /// How much there is, for the quotas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted: Option<Counted>,
    /// How many files were found that are none of ours.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub foreign: u64,
}

/// What the playlist said at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Observed {
    /// The oldest segment that it listed.
    pub media_sequence: u64,
    /// When that was seen, in milliseconds since 1970.
    pub at: UtcMillis,
}

/// When the window of a device of which nothing comes any more loses its oldest segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Trim {
    /// As long as this is the state's generation.
    pub generation: u64,
    /// When, in milliseconds since 1970; none: what is left stays.
    pub due_at: Option<UtcMillis>,
}

/// The sizes of the segments and frames that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counted {
    /// Of every segment below.
    pub through: u64,
    /// Together, as their records say.
    pub bytes: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde asks for it")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What a segment and its frames count for in the quotas.
pub(super) fn bytes_of(record: &SegmentRecord) -> u64 {
    record.size_bytes.saturating_add(record.frame_bytes)
}

impl Cleaned {
    /// Of a device of which nothing has been cleaned up.
    pub fn new() -> Self {
        Self { format: CLEANED_FORMAT, ..Self::default() }
    }

    /// Forgets what does not go with the state: one that was restored from a backup uses numbers
    /// again that had been cleaned up.
    pub fn fit(&mut self, state: &DeviceState) {
        let listed_from = state.published.media_sequence;
        if self.removed_below > listed_from {
            self.removed_below = listed_from;
            self.counted = None;
        }
        if self.counted.is_some_and(|counted| counted.through > state.next_segment) {
            self.counted = None;
        }
        self.history_below = self.history_below.min(self.removed_below);
        self.observed.retain(|seen| seen.media_sequence <= listed_from);
    }

    /// Whether [`Cleaned::observe`] would note something.
    pub fn would_observe(&self, listed_from: u64, now: UtcMillis, grace: Duration) -> bool {
        self.observed.iter().any(|seen| seen.at > now) || self.is_news(listed_from, now, grace)
    }

    fn is_news(&self, listed_from: u64, now: UtcMillis, grace: Duration) -> bool {
        let newest = self.observed.last();
        // More often than that would be noted for nothing.
        let is_time = newest.is_none_or(|seen| now.since(seen.at) >= grace / 4);
        is_time && newest.map_or(self.removed_below, |seen| seen.media_sequence) < listed_from
    }

    /// Notes that the playlist listed the segments from `listed_from` on at `now`.
    pub fn observe(&mut self, listed_from: u64, now: UtcMillis, grace: Duration) {
        // Under a clock that was ahead: seen before now, but nobody knows how long before.
        for seen in self.observed.iter_mut().filter(|seen| seen.at > now) {
            seen.at = now;
        }
        if !self.is_news(listed_from, now, grace) {
            return;
        }
        self.observed.push(Observed { media_sequence: listed_from, at: now });
        // Of those that are old enough the newest says it all.
        let old_enough = self.observed.iter().rposition(|seen| now.since(seen.at) >= grace);
        self.observed.drain(..old_enough.unwrap_or(0));
        if self.observed.len() > MAX_OBSERVED {
            self.observed.remove(MAX_OBSERVED - 1);
        }
    }

    /// The number below which every segment has been out of the playlist for the grace.
    pub fn unlisted_below(&self, now: UtcMillis, grace: Duration) -> u64 {
        let old_enough = self.observed.iter().filter(|seen| {
            // Under a clock that was ahead, it is not known.
            seen.at <= now && now.since(seen.at) >= grace
        });
        old_enough.map(|seen| seen.media_sequence).max().unwrap_or(0)
    }

    /// Notes that the segments below are gone; `known` is what was recorded of them, and
    /// `is_whole` says whether that was all.
    pub fn remove_below(&mut self, below: u64, known: &[SegmentRecord], is_whole: bool) {
        self.removed_below = below;
        self.observed.retain(|seen| seen.media_sequence > below);
        // After a crash some of the records may be gone already: then all is counted anew.
        self.counted = self.counted.filter(|_| is_whole).map(|counted| {
            let gone = known.iter().filter(|record| record.number < counted.through);
            let gone = gone.map(bytes_of).fold(0, u64::saturating_add);
            Counted { bytes: counted.bytes.saturating_sub(gone), ..counted }
        });
    }

    /// Whether it is not known for this generation when the window is to be trimmed, or known
    /// to be now.
    pub fn is_trim_due(&self, generation: u64, now: UtcMillis) -> bool {
        match self.trim {
            Some(trim) if trim.generation == generation => trim.due_at.is_some_and(|at| at <= now),
            _ => true,
        }
    }

    /// Whether nothing of the window may go any more, as long as nothing comes.
    pub fn is_trimmed_out(&self, generation: u64) -> bool {
        self.trim.is_some_and(|trim| trim.generation == generation && trim.due_at.is_none())
    }

    /// Notes when the window is to be trimmed.
    pub fn trim_at(
        &mut self,
        generation: u64,
        at: Option<UtcMillis>,
        now: UtcMillis,
        retention: Duration,
    ) {
        let earliest = now.plus(retention / TRIMS_PER_RETENTION);
        self.trim = Some(Trim { generation, due_at: at.map(|at| at.max(earliest)) });
    }

    /// Whether what nothing lists is to be looked for.
    pub fn are_orphans_due(&self, now: UtcMillis) -> bool {
        // A clock that was ahead must not put it off.
        self.orphans_due_at.is_some_and(|at| at <= now || at > now.plus(ORPHANS_EVERY))
    }
}

/// When what nothing lists is looked for next: at this device's own time of day, so that each
/// run does a share of the fleet.
pub(super) fn next_look_for_orphans(key: &DeviceKey, now: UtcMillis) -> UtcMillis {
    let every = i64::try_from(ORPHANS_EVERY.as_millis()).unwrap_or(i64::MAX);
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    let own = i64::try_from(hasher.finish() % every.unsigned_abs()).unwrap_or(0);
    let past = now.0.saturating_sub(own).rem_euclid(every);
    now.plus_millis(every - past)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: UtcMillis = UtcMillis(1_769_846_400_000);
    const GRACE: Duration = Duration::from_secs(300);

    fn at(secs: i64) -> UtcMillis {
        START.plus_millis(secs * 1_000)
    }

    #[test]
    fn a_segment_is_unlisted_for_the_grace_before_it_may_go() {
        let mut cleaned = Cleaned::new();
        cleaned.observe(7, at(0), GRACE);
        assert_eq!(cleaned.unlisted_below(at(299), GRACE), 0);
        cleaned.observe(9, at(200), GRACE);
        assert_eq!(cleaned.unlisted_below(at(300), GRACE), 7);
        assert_eq!(cleaned.unlisted_below(at(500), GRACE), 9);
        assert_eq!(Cleaned::new().unlisted_below(at(500), GRACE), 0);
        cleaned.observe(9, at(500), Duration::ZERO);
        assert_eq!(cleaned.unlisted_below(at(500), Duration::ZERO), 9);
    }

    #[test]
    fn what_is_noted_of_a_playlist_is_bounded_and_holds_up_nothing() {
        let mut cleaned = Cleaned::new();
        for secs in 0..3_600 {
            cleaned.observe(u64::try_from(secs).unwrap() + 1, at(secs), GRACE);
            assert!(cleaned.observed.len() <= 6, "{:?}", cleaned.observed);
            let unlisted = cleaned.unlisted_below(at(secs), GRACE);
            assert!(unlisted <= u64::try_from((secs - 300).max(0)).unwrap() + 1);
            assert!(secs < 400 || unlisted + 376 > u64::try_from(secs).unwrap());
        }
        // Settings that were changed in between.
        for index in 0..20 {
            cleaned.observe(4_000 + index, at(4_000), Duration::from_millis(index));
        }
        assert!(cleaned.observed.len() <= MAX_OBSERVED);
    }

    #[test]
    fn what_was_seen_under_a_clock_that_was_ahead_counts_from_now() {
        let mut cleaned = Cleaned::new();
        cleaned.observe(7, at(86_400), GRACE);
        assert_eq!(cleaned.unlisted_below(at(600), GRACE), 0);
        assert!(cleaned.would_observe(7, at(600), GRACE));
        cleaned.observe(7, at(600), GRACE);
        assert_eq!(cleaned.unlisted_below(at(899), GRACE), 0);
        assert_eq!(cleaned.unlisted_below(at(900), GRACE), 7);
    }

    #[test]
    fn a_removal_is_taken_out_of_the_count_unless_records_were_missing() {
        let mut cleaned = Cleaned::new();
        cleaned.counted = Some(Counted { through: 9, bytes: 1_000 });
        cleaned.remove_below(4, &[], true);
        assert_eq!(cleaned.counted, Some(Counted { through: 9, bytes: 1_000 }));
        cleaned.remove_below(5, &[], false);
        assert_eq!(cleaned.counted, None);
    }

    #[test]
    fn every_device_has_its_own_time_of_day_for_what_nothing_lists() {
        let hours: std::collections::BTreeSet<i64> = (0..200)
            .map(|device| {
                let key = DeviceKey::new("c", &format!("camera-{device}")).unwrap();
                let next = next_look_for_orphans(&key, START);
                assert!(next > START && next <= START.plus(ORPHANS_EVERY));
                assert_eq!(next_look_for_orphans(&key, next), next.plus(ORPHANS_EVERY));
                next.millis_since(START) / 3_600_000
            })
            .collect();
        assert!(hours.len() > 20, "{hours:?}");
        let due = |at| Cleaned { orphans_due_at: at, ..Cleaned::new() }.are_orphans_due(START);
        assert!(!due(None) && due(Some(at(0))) && !due(Some(at(1))));
        assert!(due(Some(at(86_401))), "noted by a clock that was ahead");
    }

    #[test]
    fn a_trim_is_due_when_the_state_is_another_or_its_time_has_come() {
        let mut cleaned = Cleaned::new();
        assert!(cleaned.is_trim_due(3, at(0)));
        let retention = Duration::from_secs(6_000);
        cleaned.trim_at(3, Some(at(10)), at(0), retention);
        assert!(!cleaned.is_trim_due(3, at(59)) && cleaned.is_trim_due(3, at(60)));
        assert!(cleaned.is_trim_due(4, at(0)));
        cleaned.trim_at(3, None, at(0), retention);
        assert!(!cleaned.is_trim_due(3, at(1_000_000)) && cleaned.is_trimmed_out(3));
        assert!(!cleaned.is_trimmed_out(4));
    }
}
