//! Quotas: how much a device has, counted once and kept up to date, and which segments have to
//! leave their playlists so that it becomes less, the oldest first.
//!
//! Architecture invariant: nothing is removed here. A segment that is to go leaves its playlist,
//! and its files go after the grace, as all others do.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::RetentionSettings;
use super::archived::Archived;
use super::cleaned::{Counted, bytes_of};
use super::device::Work;
use super::plan::Excess;
use super::records::Records;
use crate::model::UtcMillis;
use crate::store::{DeviceFolder, DeviceState, SegmentRecord, StoreError};

/// So many records of a device are looked at together, after the first few.
const PIECES_AT_ONCE: usize = 64;

/// The newest segments of a device, as many as at least make up three target durations, are not
/// asked for: they stay listed in any case (RFC 8216 section 6.2.2).
const NEWEST_KEPT: u64 = 3;

/// Counts what has been added to a device since the last time; all of it where that is not
/// known.
pub(super) fn count(work: &mut Work, folder: &DeviceFolder) -> Result<(), StoreError> {
    let state = &work.state;
    let from = work.notes.cleaned.removed_below;
    let counted = work.notes.cleaned.counted;
    let mut counted = counted.unwrap_or(Counted { through: from, bytes: 0 });
    let mut added = records_from(folder, state, counted.through.max(from))?;
    while let Some(record) = added.next_below(state.next_segment)? {
        counted.bytes = counted.bytes.saturating_add(bytes_of(&record));
    }
    counted.through = state.next_segment;
    work.notes.cleaned.counted = Some(counted);
    Ok(())
}

/// The number from which on a device's segments may stay listed: 0 if all may.
pub(super) fn keep_from(
    work: &Work,
    folder: &DeviceFolder,
    settings: &RetentionSettings,
) -> Result<u64, StoreError> {
    let (state, from) = (&work.state, work.notes.cleaned.removed_below);
    let bytes = work.notes.cleaned.counted.map_or(0, |counted| counted.bytes);
    let Some(most) = settings.device_max_bytes.filter(|most| bytes > *most) else { return Ok(0) };
    let archived = if settings.archives { Archived::read(folder)? } else { Archived::OFF };
    let mut excess = Excess::new(bytes, most, from);
    let mut oldest = records_from(folder, state, from)?;
    while excess.is_left()
        && let Some(record) = oldest.next_below(may_go_below(state, archived))?
    {
        excess.take(&record);
    }
    Ok(excess.keep_from())
}

/// The records from number `from` on; without a listing if the state has them all.
fn records_from<'a>(
    folder: &'a DeviceFolder,
    state: &DeviceState,
    from: u64,
) -> Result<Records<'a>, StoreError> {
    let in_state = from >= state.first_recent();
    let files = if in_state { Vec::new() } else { folder.history_files(state)? };
    Ok(Records::from(folder, state, &files, from))
}

fn may_go_below(state: &DeviceState, archived: Archived) -> u64 {
    state.next_segment.saturating_sub(NEWEST_KEPT).min(archived.segments_below())
}

/// One segment, as far as the quota for all devices is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    number: u64,
    committed_at: UtcMillis,
    bytes: u64,
}

impl Piece {
    fn of(record: &SegmentRecord) -> Self {
        let (number, committed_at) = (record.number, record.committed_at);
        Self { number, committed_at, bytes: bytes_of(record) }
    }
}

/// The oldest segments of a device that a quota may take, from number `from` on; `is_first`: the
/// very oldest are enough.
pub(super) fn oldest(
    folder: &DeviceFolder,
    settings: &RetentionSettings,
    from: u64,
    is_first: bool,
) -> Result<Vec<Piece>, StoreError> {
    let Some((state, notes)) = Work::open(folder)? else { return Ok(Vec::new()) };
    let (state, cleaned) = (&state, &notes.cleaned);
    let archived = if settings.archives { Archived::read(folder)? } else { Archived::OFF };
    let below = match cleaned.is_trimmed_out(state.generation) {
        // What has left the playlist goes by itself; the rest stays.
        true => state.published.media_sequence.min(archived.segments_below()),
        false => may_go_below(state, archived),
    };
    let from = from.max(cleaned.removed_below);
    if from >= below {
        return Ok(Vec::new());
    }
    let count = if is_first { 1 } else { PIECES_AT_ONCE };
    let records = records_from(folder, state, from)?.take_below(below, count)?;
    Ok(records.iter().map(Piece::of).collect())
}

/// What is wanted next to choose the oldest segments of all devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// More of this device's segments, from that number on.
    More(usize, u64),
    /// Nothing: there is enough, or no more anywhere.
    Done,
}

/// Chooses the oldest segments of all devices until there are enough (pure).
pub(super) struct OldestFirst {
    left_bytes: u64,
    oldest: BinaryHeap<Reverse<(UtcMillis, usize)>>,
    devices: Vec<Queue>,
}

#[derive(Clone, Default)]
struct Queue {
    pieces: VecDeque<Piece>,
    keep_from: u64,
}

impl OldestFirst {
    /// Of so many devices, `excess_bytes` are to go.
    pub fn new(excess_bytes: u64, devices: usize) -> Self {
        let devices = vec![Queue::default(); devices];
        Self { left_bytes: excess_bytes, oldest: BinaryHeap::new(), devices }
    }

    /// Takes in the next segments of a device; none if it has no more.
    pub fn offer(&mut self, device: usize, pieces: Vec<Piece>) {
        let Some(queue) = self.devices.get_mut(device) else { return };
        if let Some(first) = pieces.first() {
            self.oldest.push(Reverse((first.committed_at, device)));
        }
        queue.pieces = pieces.into();
    }

    /// Chooses as far as is known.
    pub fn next(&mut self) -> Next {
        while self.left_bytes > 0 {
            let Some(Reverse((_, device))) = self.oldest.pop() else { break };
            let Some(queue) = self.devices.get_mut(device) else { break };
            let Some(piece) = queue.pieces.pop_front() else { break };
            self.left_bytes = self.left_bytes.saturating_sub(piece.bytes);
            queue.keep_from = piece.number.saturating_add(1);
            match queue.pieces.front() {
                Some(next) => self.oldest.push(Reverse((next.committed_at, device))),
                None if self.left_bytes > 0 => return Next::More(device, queue.keep_from),
                None => {}
            }
        }
        Next::Done
    }

    /// The number from which on each device's segments may stay listed.
    pub fn keep_from(&self) -> impl Iterator<Item = u64> {
        self.devices.iter().map(|queue| queue.keep_from)
    }

    /// What cannot go: an archive needs it, or it is the newest of its device.
    pub fn left_bytes(&self) -> u64 {
        self.left_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(number: u64, secs: i64, bytes: u64) -> Piece {
        Piece { number, committed_at: UtcMillis(secs * 1_000), bytes }
    }

    #[test]
    fn the_oldest_of_all_devices_go_first_and_no_more_than_have_to() {
        let mut chosen = OldestFirst::new(35, 3);
        chosen.offer(0, vec![piece(10, 100, 10), piece(11, 130, 10), piece(12, 160, 10)]);
        chosen.offer(1, vec![piece(0, 90, 10)]);
        chosen.offer(2, vec![piece(7, 900, 10)]);
        assert_eq!(chosen.next(), Next::More(1, 1));
        chosen.offer(1, vec![piece(1, 120, 10), piece(2, 150, 10)]);
        assert_eq!(chosen.next(), Next::Done);
        assert_eq!(chosen.keep_from().collect::<Vec<_>>(), [12, 2, 0]);
        assert_eq!(chosen.left_bytes(), 0);
    }

    #[test]
    fn a_device_that_has_no_more_is_left_and_what_cannot_go_is_known() {
        let mut chosen = OldestFirst::new(100, 2);
        chosen.offer(0, vec![piece(3, 10, 30)]);
        chosen.offer(1, vec![]);
        assert_eq!(chosen.next(), Next::More(0, 4));
        chosen.offer(0, vec![]);
        assert_eq!(chosen.next(), Next::Done);
        assert_eq!(chosen.keep_from().collect::<Vec<_>>(), [4, 0]);
        assert_eq!(chosen.left_bytes(), 70);
    }
}
