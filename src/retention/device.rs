//! One device's clean-up: looks whether there is anything to do, and removes what may go.
//! Blocks.
//!
//! Architecture invariant: frames and media files go first, then what describes them, and what
//! has been removed is noted last. So whoever finds a clean-up interrupted does the same again,
//! and comes to the same end.

use std::io::ErrorKind;

use tokio_util::sync::CancellationToken;

use super::archived::Archived;
use super::cleaned::{CLEANED_FORMAT, Cleaned, next_look_for_orphans};
use super::hand::Hand;
use super::orphans::Sweep;
use super::outcome::Outcome;
use super::plan::{Needs, is_own_media};
use super::records::Records;
use super::{RetentionSettings, inits, quota, steps};
use crate::crash_point::reached;
use crate::model::UtcMillis;
use crate::playlist::media_sequence_of;
use crate::store::layout::{CLEANED_FILE, HistoryName, PLAYLIST_FILE, Place, default_frame_file};
use crate::store::{DeviceFolder, DeviceState, Expect, SegmentRecord, StoreError, Stored, Written};

/// So many segments go before it is noted that they are gone: bounds the memory of a run, and
/// what is done again after a crash.
const SEGMENTS_AT_ONCE: usize = 500;

/// So many bytes of a playlist hold its head.
const HEAD_BYTES: u64 = 512;

/// The notes on a device, and the file that they were read from.
#[derive(Debug)]
pub(super) struct Notes {
    pub cleaned: Cleaned,
    stored: Cleaned,
    file: Option<Stored>,
}

impl Notes {
    /// What is noted of a device; nothing where nothing is, or where it cannot be read: all of it
    /// can be found again.
    pub fn read(folder: &DeviceFolder) -> Result<Self, StoreError> {
        let file = folder.read(Place::Hls, CLEANED_FILE)?;
        let parsed = file.as_ref().map(|file| serde_json::from_slice::<Cleaned>(&file.bytes));
        let stored = match parsed {
            None => Cleaned::new(),
            Some(Ok(cleaned)) if cleaned.format == CLEANED_FORMAT => cleaned,
            Some(Ok(Cleaned { format, .. })) => {
                let detail = format!(
                    "has format {format}; this program reads {CLEANED_FORMAT}, a newer one wrote it"
                );
                let path = folder.path(Place::Hls, CLEANED_FILE);
                return Err(StoreError::Unreadable { path, detail });
            }
            Some(Err(error)) => {
                tracing::warn!(device = %folder.key(), %error, "cleaned.json is begun anew");
                Cleaned::new()
            }
        };
        Ok(Self { cleaned: stored.clone(), stored, file })
    }

    /// Nothing, in the place of notes that a newer program wrote.
    pub fn in_place_of_unreadable(folder: &DeviceFolder) -> Result<Self, StoreError> {
        let file = folder.read(Place::Hls, CLEANED_FILE)?;
        Ok(Self { cleaned: Cleaned::new(), stored: Cleaned::new(), file })
    }

    /// Writes the notes in the place of those that were read, if they have changed.
    pub fn write(&mut self, folder: &DeviceFolder, now: UtcMillis) -> Result<(), StoreError> {
        if self.cleaned == self.stored {
            return Ok(());
        }
        let due_at = self.cleaned.orphans_due_at;
        self.cleaned.orphans_due_at =
            due_at.or_else(|| Some(next_look_for_orphans(folder.key(), now)));
        let expect = Expect::unchanged(self.file.as_ref());
        let written =
            folder.write_json(Place::Hls, CLEANED_FILE, &self.cleaned, expect, &steps::CLEANED)?;
        if written == Written::Conflict {
            return Err(StoreError::Overtaken { path: folder.path(Place::Hls, CLEANED_FILE) });
        }
        self.stored = self.cleaned.clone();
        if folder.is_in_bucket(Place::Hls) {
            // To be replaced once more, its version has to be known.
            self.file = folder.read(Place::Hls, CLEANED_FILE)?;
        }
        Ok(())
    }
}

/// What a run goes by for every device.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub settings: RetentionSettings,
    /// Removes and writes nothing.
    pub dry_run: bool,
    /// Looks for what nothing lists, whether it is time or not.
    pub orphans_now: bool,
    pub now: UtcMillis,
    pub stop: CancellationToken,
}

/// A device whose state can be read, and how far its clean-up has come.
#[derive(Debug)]
pub(super) struct Work {
    pub state: DeviceState,
    pub notes: Notes,
    pub archived: Archived,
    pub needs: Needs,
    pub done: Outcome,
}

impl Work {
    /// Looks whether there is anything to do: two small files where there is nothing. None of a
    /// device without a state.
    pub fn look(folder: &DeviceFolder, task: &Task) -> Result<Option<Self>, StoreError> {
        let Some((state, notes)) = Self::open(folder)? else { return Ok(None) };
        let cleaned = &notes.cleaned;
        let (settings, now) = (&task.settings, task.now);
        let mut needs = Needs::of(settings, &state, cleaned, now, task.orphans_now);
        let mut archived = Archived::OFF;
        let mut done = Outcome::default();
        if settings.archives && needs.depends_on_archives() {
            archived = Archived::read(folder)?;
            let listed_from = state.published.media_sequence;
            let unlisted_below = cleaned.unlisted_below(now, settings.grace);
            needs = needs.but_for(archived, cleaned, listed_from, unlisted_below);
            let may_go_below = archived.segments_below().max(cleaned.removed_below);
            done.waiting_for_archive = unlisted_below.min(listed_from).saturating_sub(may_go_below);
        }
        if settings.has_quota() {
            done.kept_bytes = cleaned.counted.map(|counted| counted.bytes);
        }
        Ok(Some(Self { state, notes, archived, needs, done }))
    }

    /// A device's state and the notes on it; none of a device without a state.
    pub fn open(folder: &DeviceFolder) -> Result<Option<(DeviceState, Notes)>, StoreError> {
        let Some(state) = folder.state()? else { return Ok(None) };
        let mut notes = Notes::read(folder)?;
        notes.cleaned.fit(&state);
        Ok(Some((state, notes)))
    }

    /// Removes what may go and notes it. `listed_from` is the oldest segment that the playlist
    /// lists, if that is known.
    pub fn remove(
        &mut self,
        folder: &DeviceFolder,
        task: &Task,
        listed_from: Option<u64>,
    ) -> Result<(), StoreError> {
        let (settings, now) = (&task.settings, task.now);
        let hand = Hand::new(folder, task.dry_run);
        if settings.archives {
            self.archived = Archived::read(folder)?;
        }
        let listed_from = listed_from.unwrap_or(0).min(self.state.published.media_sequence);
        self.notes.cleaned.observe(listed_from, now, settings.grace);
        let unlisted_below =
            self.notes.cleaned.unlisted_below(now, settings.grace).min(listed_from);
        let may_go_below = unlisted_below.min(self.archived.segments_below());
        let kept_from = may_go_below.max(self.notes.cleaned.removed_below);
        self.done.waiting_for_archive = unlisted_below.saturating_sub(kept_from);

        let mut files: Option<Vec<HistoryName>> = None;
        while self.notes.cleaned.removed_below < may_go_below && !task.stop.is_cancelled() {
            let files = known_or(&mut files, || folder.history_files(&self.state))?;
            self.remove_some(&hand, files, may_go_below)?;
            self.remove_history(&hand, files)?;
            if self.notes.cleaned.removed_below < may_go_below && !task.dry_run {
                self.notes.write(folder, now)?;
            }
        }
        if self.notes.cleaned.history_below < self.history_may_go_below() {
            let files = known_or(&mut files, || folder.history_files(&self.state))?;
            self.remove_history(&hand, files)?;
        }
        if self.needs.orphans && !task.stop.is_cancelled() {
            let cleaned = &self.notes.cleaned;
            let below = (cleaned.removed_below, cleaned.history_below);
            let mut sweep = Sweep::new(&hand, task, &self.state, below);
            sweep.run(&mut self.done)?;
            reached(steps::ORPHANS_REMOVED);
            let cleaned = &mut self.notes.cleaned;
            cleaned.foreign = sweep.tell_foreign(cleaned.foreign);
            cleaned.orphans_due_at = Some(next_look_for_orphans(folder.key(), now));
        }
        if settings.has_quota() {
            if self.notes.cleaned.counted.is_none() {
                quota::count(self, folder)?;
            }
            self.done.kept_bytes = self.notes.cleaned.counted.map(|counted| counted.bytes);
        }
        if task.dry_run { Ok(()) } else { self.notes.write(folder, now) }
    }

    /// Removes the oldest segments that are there, below `may_go_below`, with their frames and
    /// the init files that nothing else needs.
    fn remove_some(
        &mut self,
        hand: &Hand<'_>,
        files: &[HistoryName],
        may_go_below: u64,
    ) -> Result<(), StoreError> {
        let from = self.notes.cleaned.removed_below;
        let mut records = Records::from(hand.folder, &self.state, files, from);
        let go = records.take_below(may_go_below, SEGMENTS_AT_ONCE)?;
        let end = match go.last() {
            Some(last) if go.len() == SEGMENTS_AT_ONCE => last.number.saturating_add(1),
            _ => may_go_below,
        };
        self.remove_frames(hand, &go)?;
        reached(steps::FRAMES_REMOVED);
        self.remove_media(hand, &go)?;
        reached(steps::SEGMENTS_REMOVED);
        if go.iter().any(|record| record.init.is_some()) {
            let next = records.next_below(u64::MAX)?;
            self.done.other_files +=
                inits::remove_unneeded(hand, &self.state, &go, next.as_ref(), end)?;
        }
        reached(steps::INITS_REMOVED);
        if let Some(first) = go.first() {
            self.done.note_numbers(first.number, end);
        }
        let is_whole = go.len() as u64 == end.saturating_sub(from);
        self.notes.cleaned.remove_below(end, &go, is_whole);
        Ok(())
    }

    fn remove_frames(&mut self, hand: &Hand<'_>, go: &[SegmentRecord]) -> Result<(), StoreError> {
        let names: Vec<Vec<String>> = go.iter().map(frame_files).collect();
        let mut was_there = hand.take(Place::Frames, &names.concat())?.into_iter();
        for (record, names) in go.iter().zip(&names) {
            let count = was_there.by_ref().take(names.len()).filter(|there| *there).count();
            if count > 0 {
                self.done.frames.files += count as u64;
                self.done.frames.bytes = self.done.frames.bytes.saturating_add(record.frame_bytes);
            }
        }
        hand.settle(Place::Frames)
    }

    fn remove_media(&mut self, hand: &Hand<'_>, go: &[SegmentRecord]) -> Result<(), StoreError> {
        let own: Vec<_> = go.iter().filter(|record| is_own_media(record)).collect();
        let names: Vec<_> = own.iter().map(|record| record.file.clone()).collect();
        let was_there = hand.take(Place::Segments, &names)?;
        for (record, _) in own.iter().zip(was_there).filter(|(_, there)| *there) {
            self.done.segments.add(record.size_bytes);
        }
        hand.settle(Place::Segments)
    }

    fn history_may_go_below(&self) -> u64 {
        self.notes.cleaned.removed_below.min(self.archived.records_below())
    }

    /// Removes the history files of which no record is needed any more.
    fn remove_history(&mut self, hand: &Hand<'_>, files: &[HistoryName]) -> Result<(), StoreError> {
        let below = self.history_may_go_below();
        let from = self.notes.cleaned.history_below;
        let go = files.iter().filter(|name| name.last < below && name.last >= from);
        let go: Vec<_> = go.map(HistoryName::file_name).collect();
        let was_there = hand.take(Place::History, &go)?;
        self.done.other_files += was_there.iter().filter(|there| **there).count() as u64;
        self.notes.cleaned.history_below = below.max(from);
        reached(steps::HISTORY_REMOVED);
        Ok(())
    }
}

/// What was read before, or is now.
fn known_or<T>(
    known: &mut Option<Vec<T>>,
    read: impl FnOnce() -> Result<Vec<T>, StoreError>,
) -> Result<&[T], StoreError> {
    if known.is_none() {
        *known = Some(read()?);
    }
    Ok(known.as_deref().unwrap_or_default())
}

/// The files of a segment's frames within the device's folder of frames.
pub(super) fn frame_files(record: &SegmentRecord) -> Vec<String> {
    let files = record.frames.iter().map(|frame| match &frame.file {
        Some(name) => name.clone(),
        None => default_frame_file(&frame.event_id),
    });
    files.filter(|name| Hand::may_take(name)).collect()
}

/// The oldest segment that the playlist lists; none while that is not what the state says: a
/// commit is under way, or was interrupted, or somebody edited the playlist.
pub(super) fn listed_from(
    folder: &DeviceFolder,
    state: &DeviceState,
) -> Result<Option<u64>, StoreError> {
    let published = &state.published;
    if published.sha256.is_empty() {
        let is_there = folder.about(Place::Hls, PLAYLIST_FILE)?.is_some();
        return Ok((!is_there).then_some(published.media_sequence));
    }
    let head = match folder.read_range(Place::Hls, PLAYLIST_FILE, 0..HEAD_BYTES) {
        Err(StoreError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
            return Ok(None);
        }
        head => head?,
    };
    // A commit may have come since the state was read.
    Ok(media_sequence_of(&head).filter(|listed_from| *listed_from >= published.media_sequence))
}
