//! Init files: one is shared by all segments of its format, and goes with the last of them.
//!
//! Architecture invariant: an init file goes only while nobody can commit a segment that names
//! it. A bucket has no lock for that, and there they stay: about 1 KiB for each format that a
//! device has had.

use std::collections::BTreeSet;
use std::time::Duration;

use super::hand::Hand;
use super::records::Records;
use crate::playlist::is_init_file_name;
use crate::store::layout::{HistoryName, Place};
use crate::store::{DeviceFolder, DeviceState, SegmentRecord, StoreError};

/// How long a commit is waited for.
pub(super) const COMMIT_WAIT: Duration = Duration::from_secs(2);

/// Removes the init files of the segments that went, if no other needs them. `next` is the
/// record after them, all of which have numbers from `end` on. Returns how many went.
pub(super) fn remove_unneeded(
    hand: &Hand<'_>,
    state: &DeviceState,
    gone: &[SegmentRecord],
    next: Option<&SegmentRecord>,
    end: u64,
) -> Result<u64, StoreError> {
    let mut unneeded: BTreeSet<&str> = gone.iter().filter_map(|r| r.init.as_deref()).collect();
    // Formats seldom change: most often this is all there is to it.
    if let Some(init) = next.and_then(|record| record.init.as_deref()) {
        unneeded.remove(init);
    }
    unneeded.retain(|name| is_init_file_name(name));
    if unneeded.is_empty() || hand.folder.is_in_bucket(Place::Segments) {
        return Ok(0);
    }
    let (_lock, state) = match hand.dry_run {
        true => (None, Some(state.clone())),
        false => (Some(hand.folder.lock(COMMIT_WAIT)?), hand.folder.state()?),
    };
    let Some(state) = state else { return Ok(0) };
    let files = hand.folder.history_files(&state)?;
    let Some(needed) = needed(hand.folder, &state, &files, end)? else { return Ok(0) };
    let go = unneeded.into_iter().filter(|name| !needed.contains(*name));
    let go: Vec<_> = go.map(str::to_owned).collect();
    let was_there = hand.take(Place::Segments, &go)?;
    Ok(was_there.iter().filter(|there| **there).count() as u64)
}

/// The init files of the segments from number `from` on: of the listed ones by the playlist, of
/// the others by their records. None while the playlist is not what the state says.
pub(super) fn needed(
    folder: &DeviceFolder,
    state: &DeviceState,
    files: &[HistoryName],
    from: u64,
) -> Result<Option<BTreeSet<String>>, StoreError> {
    let Some(window) = folder.published_window(state)? else { return Ok(None) };
    let entries = window.entries.iter().zip(window.media_sequence..);
    let listed = entries.filter(|(_, number)| *number >= from).map(|(entry, _)| &entry.init);
    let mut needed: BTreeSet<String> = listed.flatten().map(|init| init.to_string()).collect();
    let recent = state.recent.iter().filter(|record| record.number >= from);
    needed.extend(recent.filter_map(|record| record.init.clone()));
    let mut unlisted = Records::from(folder, state, files, from);
    while let Some(record) = unlisted.next_below(window.media_sequence)? {
        needed.extend(record.init);
    }
    Ok(Some(needed))
}
