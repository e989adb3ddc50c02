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

/// How far the times of the oldest entries may be off that a reader works out backwards from the
/// first date, in milliseconds.
const MAX_LEADING_DRIFT_MILLIS: u64 = 1_000;

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

/// The longest segment in milliseconds that a playlist of this target duration can list: what
/// still rounds to it (RFC 8216 section 4.3.3.1).
pub fn longest_segment_millis(target_duration_secs: u32) -> u32 {
    target_duration_secs.saturating_mul(1_000).saturating_add(499)
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

    /// The longest a segment may last in milliseconds.
    pub fn max_duration_millis(&self) -> u64 {
        longest_segment_millis(self.target_duration_secs).into()
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
    /// keeps three target durations and a dated entry. Returns how many went. A dated entry stays
    /// with those after it whose times could not be told without it: until the last of them goes
    /// that a silence follows.
    ///
    /// An entry committed later than `now` was committed under a wrong clock: it goes with the
    /// entries after it, instead of holding the window open until its time comes.
    pub fn trim(&mut self, now: UtcMillis, retention: Duration) -> usize {
        let oldest = now.plus_millis(-i64::try_from(retention.as_millis()).unwrap_or(i64::MAX));
        let mut cut = 0;
        for (index, entry) in self.entries.iter().take(self.may_go()).enumerate() {
            let committed_at = entry.committed_at();
            if oldest <= committed_at && committed_at <= now {
                break;
            }
            if committed_at < oldest {
                cut = index + 1;
            }
        }
        let cut = self.cut_that_tells(cut);
        self.drop_first(cut);
        cut
    }

    /// When [`Window::trim`] will next drop something, if nothing is added; none if never.
    pub fn trims_at(&self, now: UtcMillis, retention: Duration) -> Option<UtcMillis> {
        let may_go = self.may_go();
        let is_past = |entry: &Entry| entry.committed_at() <= now;
        let first = self.entries.iter().take(may_go).position(is_past)?;
        let cut = (first + 1..=may_go).find(|cut| self.tells_when_it_starts(*cut))?;
        let go = self.entries.iter().take(cut).map(Entry::committed_at);
        let last = go.filter(|at| *at <= now).max()?;
        Some(last.plus(retention).plus_millis(1))
    }

    /// Drops the entries before number `keep_from`, but keeps three target durations and a dated
    /// entry. Returns how many went.
    pub fn trim_before(&mut self, keep_from: u64) -> usize {
        let wanted = keep_from.saturating_sub(self.media_sequence);
        let cut = usize::try_from(wanted).unwrap_or(usize::MAX).min(self.may_go());
        let cut = self.cut_that_tells(cut);
        self.drop_first(cut);
        cut
    }

    /// The most entries, `cut` or fewer, without which the others' times can still be told.
    fn cut_that_tells(&self, cut: usize) -> usize {
        (1..=cut).rev().find(|cut| self.tells_when_it_starts(*cut)).unwrap_or(0)
    }

    /// Whether a reader whose playlist begins with this entry works out when it starts. A date
    /// that follows a silence would have it start so much later, and stay listed so much longer.
    /// None can be written for it any more (RFC 8216 section 6.2.1).
    fn tells_when_it_starts(&self, index: usize) -> bool {
        let mut entries = self.entries.iter().skip(index).peekable();
        let Some(mut at) = entries.peek().map(|entry| entry.start) else { return true };
        for entry in entries {
            if entry.dated {
                return distance(at, entry.start) <= MAX_LEADING_DRIFT_MILLIS;
            }
            at = entry.end();
        }
        false
    }

    /// How many of the oldest entries may go: three target durations and a dated entry stay.
    fn may_go(&self) -> usize {
        let kept_millis = TARGETS_KEPT * 1_000 * u64::from(self.target_duration_secs);
        let newest_dated = self.entries.iter().rposition(|entry| entry.dated).unwrap_or(0);
        let mut left_millis: u64 =
            self.entries.iter().map(|entry| u64::from(entry.duration_millis)).sum();
        let stays = |entry: &Entry| {
            left_millis -= u64::from(entry.duration_millis);
            left_millis < kept_millis
        };
        let first = self.entries.iter().take(newest_dated).position(stays);
        first.unwrap_or(newest_dated)
    }

    /// Drops the entries before `media_sequence`, as an earlier [`Window::trim`] did.
    pub fn drop_before(&mut self, media_sequence: u64) {
        let count = media_sequence.saturating_sub(self.media_sequence);
        self.drop_first(usize::try_from(count).unwrap_or(usize::MAX).min(self.entries.len()));
    }

    fn drop_first(&mut self, count: usize) {
        for entry in self.entries.drain(..count) {
            self.media_sequence += 1;
            self.discontinuity_sequence =
                self.discontinuity_sequence.saturating_add(entry.discontinuity.into());
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

#[cfg(test)]
mod tests {
    use super::*;

    const START: UtcMillis = UtcMillis(1_769_846_400_000);
    const DAY: Duration = Duration::from_secs(24 * 3_600);

    fn new(number: u64) -> NewEntry {
        let captured_at = START.plus_millis(i64::try_from(number).unwrap() * 30_000);
        NewEntry {
            number,
            container: Container::Ts,
            init: None,
            duration_millis: 30_000,
            discontinuity: false,
            captured_at,
            committed_at: captured_at.plus_millis(31_000),
        }
    }

    fn window(count: u64) -> Window {
        let mut window = Window::new(30, 0, 0);
        (0..count).for_each(|number| window.push(new(number)).unwrap());
        window
    }

    #[test]
    fn a_steady_stream_is_dated_at_every_tenth_segment() {
        let dated: Vec<_> = window(25).entries.iter().map(|entry| entry.dated).collect();
        let expected: Vec<_> = (0..25).map(|number| number % 10 == 0).collect();
        assert_eq!(dated, expected);
    }

    #[test]
    fn a_time_that_drifts_is_written_out_once_it_is_more_than_100_ms_off() {
        let mut window = window(3);
        for (drift, dated) in [(100, false), (-100, false), (101, true)] {
            let number = window.next_number();
            let at = window.entries.last().unwrap().end().plus_millis(drift);
            window.push(NewEntry { captured_at: at, ..new(number) }).unwrap();
            assert_eq!(window.entries.last().unwrap().dated, dated, "{drift}");
        }
    }

    #[test]
    fn small_drifts_add_up_to_a_date() {
        let mut window = window(1);
        for number in 1..9 {
            let at = new(number).captured_at.plus_millis(i64::try_from(number).unwrap() * 40);
            window.push(NewEntry { captured_at: at, ..new(number) }).unwrap();
        }
        let dated: Vec<_> = window.entries.iter().map(|entry| entry.dated).collect();
        assert_eq!(dated, [true, false, false, true, false, false, true, false, false]);
    }

    #[test]
    fn a_late_commit_is_noted_and_kept_for_its_time() {
        let mut window = window(10);
        let late = START.plus(DAY);
        for number in 10..30 {
            window.push(NewEntry { committed_at: late, ..new(number) }).unwrap();
        }
        assert_eq!(window.entries[9].committed_note, None);
        assert_eq!(window.entries[10].committed_note, Some(late));
        assert_eq!(window.trim(late.plus(DAY / 2), DAY), 10);
        assert_eq!(window.trim(late.plus(DAY), DAY), 0);
    }

    #[test]
    fn trimming_keeps_three_target_durations_and_a_date() {
        let never = Duration::ZERO;
        let far = START.plus(DAY);
        let mut long = window(25);
        assert_eq!(long.trim(far, never), 20, "the newest date stands at 20");
        assert_eq!((long.media_sequence, long.entries.len()), (20, 5));
        let mut short = window(22);
        assert_eq!(short.trim(far, never), 19, "three segments stay");
        assert_eq!(window(3).trim(far, never), 0);
        assert_eq!(Window::new(30, 5, 0).trim(far, never), 0);
    }

    #[test]
    fn a_commit_under_a_clock_set_ahead_does_not_hold_the_window_open() {
        let mut window = window(10);
        let ahead = START.plus(DAY * 365);
        window.push(NewEntry { committed_at: ahead, ..new(10) }).unwrap();
        (11..40).for_each(|number| window.push(new(number)).unwrap());
        let now = new(39).committed_at;
        assert_eq!(window.trim(now, Duration::from_secs(600)), 20);
    }

    #[test]
    fn when_something_is_dropped_next_is_known_before() {
        let now = new(24).committed_at;
        let mut window = window(25);
        for _ in 0..20 {
            let at = window.trims_at(now, DAY).unwrap();
            assert_eq!(window.trim(at.plus_millis(-1), DAY), 0);
            assert_eq!(window.trim(at, DAY), 1);
        }
        assert_eq!(window.trims_at(now, DAY), None, "the others stay");
        assert_eq!(Window::new(30, 5, 0).trims_at(now, DAY), None);
    }

    #[test]
    fn what_was_filmed_before_a_silence_keeps_its_date_and_goes_when_its_time_has_come() {
        const SILENCE: Duration = Duration::from_secs(7_200);
        let mut before = window(15);
        for number in 15..40 {
            let late = new(number);
            let (captured_at, committed_at) =
                (late.captured_at.plus(SILENCE), late.committed_at.plus(SILENCE));
            before.push(NewEntry { captured_at, committed_at, ..late }).unwrap();
        }
        let gone_by = |number: u64| new(number).captured_at.plus(DAY).plus_millis(30_001);
        for (old, first) in [(4, 5), (9, 10), (10, 10), (13, 10), (14, 15), (39, 15)] {
            let mut window = before.clone();
            window.trim(gone_by(old), DAY);
            assert_eq!(window.media_sequence, first, "{old}");
            assert_eq!(window.entries[0], before.entries[usize::try_from(first).unwrap()]);
            assert_eq!(Window::parse(&window.render()), Ok(window));
            let mut window = before.clone();
            window.trim_before(old + 1);
            assert_eq!(window.media_sequence, if old == 39 { 30 } else { first }, "{old}");
        }
        before.trim_before(10);
        assert_eq!(before.trims_at(gone_by(12), DAY), Some(gone_by(14)));
    }

    #[test]
    fn a_removed_discontinuity_is_counted_and_a_listed_one_is_not() {
        let mut window = Window::new(30, 0, 4);
        for number in 0..30 {
            let discontinuity = number == 3 || number == 20;
            window.push(NewEntry { discontinuity, ..new(number) }).unwrap();
        }
        window.drop_before(20);
        assert_eq!((window.media_sequence, window.discontinuity_sequence), (20, 5));
        assert!(window.entries[0].discontinuity);
    }

    #[test]
    fn what_cannot_be_listed_is_refused_and_changes_nothing() {
        let mut window = window(2);
        let before = window.clone();
        let limit = NewEntry { duration_millis: 30_499, ..new(2) };
        for refused in [
            new(1),
            new(3),
            NewEntry { duration_millis: 30_500, ..new(2) },
            NewEntry { container: Container::Fmp4, ..new(2) },
        ] {
            assert!(window.push(refused).is_err());
            assert_eq!(window, before);
        }
        window.push(limit).unwrap();
        let init = Some("init_a.mp4".into());
        window.push(NewEntry { container: Container::Fmp4, init, ..new(3) }).unwrap();
        assert_eq!(window.push(new(4)), Err(PlaylistError::NeedsInit { number: 4 }));
    }
}
