//! The window: what is listed, what may be added, what falls out (pure).

use std::sync::Arc;
use std::time::Duration;

use super::PlaylistError;
use crate::media::Container;
use crate::model::UtcMillis;

/// How far an extrapolated time may be off before it is written out, in milliseconds.
const MAX_DATE_DRIFT_MILLIS: u64 = 100;

/// Every how many segments the time is written out in any case.
const DATE_EVERY: u64 = 10;

/// How far the commit time may be from the segment's end before it is written out.
const MAX_COMMIT_DRIFT_MILLIS: u64 = 60_000;

/// RFC 8216 section 6.2.2: no entry may go if less than this many target durations would stay.
const TARGETS_KEPT: u64 = 3;

/// One listed segment; its number is its place in the window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What the media file is.
    pub container: Container,
    /// The init file's name in the segments folder, if it needs one.
    pub init: Option<Arc<str>>,
    /// What EXTINF says, in milliseconds.
    pub duration_millis: u32,
    /// Whether it does not continue the entry before it.
    pub discontinuity: bool,
    /// When it starts, as a reader of the playlist knows it.
    pub start: UtcMillis,
    /// Whether EXT-X-PROGRAM-DATE-TIME is written for it.
    pub dated: bool,
    /// When it was committed, if that is not about its end.
    pub committed_note: Option<UtcMillis>,
}

impl Entry {
    /// When it ends.
    pub fn end(&self) -> UtcMillis {
        self.start.plus_millis(i64::from(self.duration_millis))
    }

    /// When it was committed, to a minute.
    pub fn committed_at(&self) -> UtcMillis {
        self.committed_note.unwrap_or_else(|| self.end())
    }
}

/// One segment to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEntry {
    /// Its number: [`Window::next_number`], or it is refused.
    pub number: u64,
    /// What the media file is.
    pub container: Container,
    /// The init file's name in the segments folder, if it needs one.
    pub init: Option<Arc<str>>,
    /// What it lasts, in milliseconds.
    pub duration_millis: u32,
    /// Whether it does not continue the segment before it.
    pub discontinuity: bool,
    /// When its first frame was taken.
    pub captured_at: UtcMillis,
    /// When it was committed.
    pub committed_at: UtcMillis,
}

/// What the live playlist lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// The number of the first entry: EXT-X-MEDIA-SEQUENCE.
    pub media_sequence: u64,
    /// How many discontinuities have been removed: EXT-X-DISCONTINUITY-SEQUENCE.
    pub discontinuity_sequence: u64,
    /// EXT-X-TARGETDURATION in seconds, constant for the playlist's life.
    pub target_duration_secs: u32,
    /// Oldest first.
    pub entries: Vec<Entry>,
}

impl Window {
    /// An empty window whose first segment will be `media_sequence`.
    pub fn new(
        target_duration_secs: u32,
        media_sequence: u64,
        discontinuity_sequence: u64,
    ) -> Self {
        Self { media_sequence, discontinuity_sequence, target_duration_secs, entries: Vec::new() }
    }

    /// The number of the next segment.
    pub fn next_number(&self) -> u64 {
        self.media_sequence.saturating_add(self.entries.len() as u64)
    }

    /// The longest a segment may last in milliseconds: what still rounds to the target
    /// duration (RFC 8216 section 4.3.3.1).
    pub fn max_duration_millis(&self) -> u64 {
        u64::from(self.target_duration_secs) * 1_000 + 499
    }

    /// Lists a segment after the others and decides what is written of it, for good.
    ///
    /// # Errors
    /// [`PlaylistError::OutOfOrder`], [`PlaylistError::TooLong`] and
    /// [`PlaylistError::NeedsInit`]; the window is then as it was.
    pub fn push(&mut self, new: NewEntry) -> Result<(), PlaylistError> {
        let expected = self.next_number();
        if new.number != expected {
            return Err(PlaylistError::OutOfOrder { number: new.number, expected });
        }
        let last = self.entries.last();
        let had_init = last.is_some_and(|last| last.init.is_some());
        self.check(new.number, new.container, new.init.is_some(), had_init, new.duration_millis)?;
        let extrapolated =
            last.map(Entry::end).filter(|_| !new.discontinuity && !is_dated_by_number(new.number));
        let start = extrapolated
            .filter(|at| distance(*at, new.captured_at) <= MAX_DATE_DRIFT_MILLIS)
            .unwrap_or(new.captured_at);
        let dated = extrapolated != Some(start) || last.is_none();
        let mut entry = Entry {
            container: new.container,
            init: new.init,
            duration_millis: new.duration_millis,
            discontinuity: new.discontinuity,
            start,
            dated,
            committed_note: None,
        };
        if distance(entry.end(), new.committed_at) > MAX_COMMIT_DRIFT_MILLIS {
            entry.committed_note = Some(new.committed_at);
        }
        self.entries.push(entry);
        Ok(())
    }

    /// What holds for every entry, pushed or read back.
    pub(super) fn check(
        &self,
        number: u64,
        container: Container,
        has_init: bool,
        had_init: bool,
        duration_millis: u32,
    ) -> Result<(), PlaylistError> {
        if !has_init && (had_init || container == Container::Fmp4) {
            return Err(PlaylistError::NeedsInit { number });
        }
        if u64::from(duration_millis) > self.max_duration_millis() {
            let target_duration_secs = self.target_duration_secs;
            return Err(PlaylistError::TooLong { number, duration_millis, target_duration_secs });
        }
        Ok(())
    }

    /// Drops the oldest entries that were committed more than `retention` before `now`, but
    /// keeps three target durations and a dated entry. Returns how many went.
    ///
    /// An entry committed later than `now` was committed under a wrong clock: it goes with the
    /// entries after it, instead of holding the window open until its time comes.
    pub fn trim(&mut self, now: UtcMillis, retention: Duration) -> usize {
        let oldest = now.plus_millis(-i64::try_from(retention.as_millis()).unwrap_or(i64::MAX));
        let kept_millis = TARGETS_KEPT * 1_000 * u64::from(self.target_duration_secs);
        let mut left_millis: u64 =
            self.entries.iter().map(|entry| u64::from(entry.duration_millis)).sum();
        let newest_dated = self.entries.iter().rposition(|entry| entry.dated).unwrap_or(0);
        let mut cut = 0;
        for (index, entry) in self.entries.iter().take(newest_dated).enumerate() {
            left_millis -= u64::from(entry.duration_millis);
            let committed_at = entry.committed_at();
            if left_millis < kept_millis || (oldest <= committed_at && committed_at <= now) {
                break;
            }
            if committed_at < oldest {
                cut = index + 1;
            }
        }
        self.drop_first(cut);
        cut
    }

    /// Drops the entries before `media_sequence`, as an earlier [`Window::trim`] did.
    pub fn drop_before(&mut self, media_sequence: u64) {
        let count = media_sequence.saturating_sub(self.media_sequence);
        self.drop_first(usize::try_from(count).unwrap_or(usize::MAX).min(self.entries.len()));
    }

    fn drop_first(&mut self, count: usize) {
        for entry in self.entries.drain(..count) {
            self.media_sequence += 1;
            self.discontinuity_sequence += u64::from(entry.discontinuity);
        }
        self.fill_in_leading_starts();
    }

    /// Gives the entries before the first dated one the times that a reader works out backwards
    /// from it, so that a window is what its text says.
    pub(super) fn fill_in_leading_starts(&mut self) {
        let Some(first) = self.entries.iter().position(|entry| entry.dated) else { return };
        let (leading, dated) = self.entries.split_at_mut(first);
        let Some(mut at) = dated.first().map(|entry| entry.start) else { return };
        for entry in leading.iter_mut().rev() {
            at = at.plus_millis(-i64::from(entry.duration_millis));
            entry.start = at;
        }
    }
}

/// Whether the time of this segment is written out whatever went before.
pub(super) fn is_dated_by_number(number: u64) -> bool {
    number.is_multiple_of(DATE_EVERY)
}

fn distance(a: UtcMillis, b: UtcMillis) -> u64 {
    a.millis_since(b).unsigned_abs()
}
