//! What nothing lists: left by interrupted writes, by streams that were begun anew, or uploaded
//! and never encoded. Looked for once a day, because it takes listing all of a device's files.
//! Blocks.
//!
//! Architecture invariant: what a commit that is under way may be about to name goes only while
//! the device is locked, or not at all; frames that are in no segment are kept unless the
//! settings say otherwise; names that are none of ours are left.

use std::collections::HashMap;
use std::time::Duration;

use super::device::{Task, frame_files};
use super::hand::Hand;
use super::inits::{COMMIT_WAIT, needed};
use super::outcome::{Outcome, Tally};
use super::records::Records;
use crate::model::UtcMillis;
use crate::playlist::{is_init_file_name, media_file_number};
use crate::store::layout::{HistoryName, Place};
use crate::store::{About, DeviceFolder, DeviceState, Listed, StoreError};

/// What is younger may be about to be listed, or encoded.
const SAFE_AGE: Duration = Duration::from_secs(24 * 3_600);

/// So many foreign names are told as examples.
const EXAMPLES: usize = 3;

/// What a name in the segments folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Media {
    /// The record of its number tells, or told.
    Known,
    /// Of a segment that has been removed.
    Removed,
    /// Of a segment that no state has named so far.
    Uncommitted,
    /// An init file.
    Init,
    /// None of ours.
    Foreign,
}

fn media(name: &str, removed_below: u64, next_segment: u64) -> Media {
    match media_file_number(name) {
        Some(number) if number < removed_below => Media::Removed,
        Some(number) if number >= next_segment => Media::Uncommitted,
        Some(_) => Media::Known,
        None if is_init_file_name(name) => Media::Init,
        None => Media::Foreign,
    }
}

/// One look at a device's files.
pub(super) struct Sweep<'a> {
    hand: &'a Hand<'a>,
    task: &'a Task,
    state: &'a DeviceState,
    removed_below: u64,
    history_below: u64,
    /// A dry run whose stream would be begun anew: nothing of it is listed any more.
    is_all_unlisted: bool,
    foreign: u64,
    examples: Vec<String>,
}

impl<'a> Sweep<'a> {
    /// Segments below the first number are gone, and history files that end below the second.
    pub fn new(
        hand: &'a Hand<'a>,
        task: &'a Task,
        state: &'a DeviceState,
        (removed_below, history_below): (u64, u64),
    ) -> Self {
        Self {
            hand,
            task,
            state,
            removed_below,
            history_below,
            is_all_unlisted: false,
            foreign: 0,
            examples: Vec::new(),
        }
    }

    /// The same for a dry run, as if the stream had been begun anew with `state`.
    pub fn of_reset(hand: &'a Hand<'a>, task: &'a Task, state: &'a DeviceState) -> Self {
        let below = (state.next_segment, state.next_segment);
        Self { is_all_unlisted: true, ..Self::new(hand, task, state, below) }
    }

    /// Removes what nothing lists, and counts the frames that were never encoded.
    pub fn run(&mut self, done: &mut Outcome) -> Result<(), StoreError> {
        self.stream(&mut done.orphans)?;
        frames(self.hand, self.task, self.removed_below, done)?;
        done.foreign += self.foreign;
        Ok(())
    }

    /// The same without the frames.
    pub fn stream(&mut self, orphans: &mut Tally) -> Result<(), StoreError> {
        self.history(orphans)?;
        self.segments(orphans)
    }

    /// Tells of foreign files, if there are others than at the last look. Returns how many.
    pub fn tell_foreign(&self, told: u64) -> u64 {
        if self.foreign > 0 && self.foreign != told {
            tracing::warn!(
                device = %self.hand.folder.key(),
                files = self.foreign,
                examples = self.examples.join(", "),
                "files that are none of ours are in the stream's folders; they are left"
            );
        }
        self.foreign
    }

    fn history(&mut self, orphans: &mut Tally) -> Result<(), StoreError> {
        let mut go = Vec::new();
        for listed in self.hand.folder.list(Place::History)? {
            match HistoryName::parse(&listed.name).filter(|_| !listed.is_folder) {
                Some(name) if name.last < self.history_below => go.push(listed),
                Some(_) => {}
                None => self.note_foreign("history", &listed.name),
            }
        }
        take(self.hand, Place::History, go, orphans)
    }

    fn segments(&mut self, orphans: &mut Tally) -> Result<(), StoreError> {
        let folder = self.hand.folder;
        let mut removed = Vec::new();
        let mut locked = folder.list(Place::Temporary)?;
        let has_temporaries = !locked.is_empty();
        let (mut uncommitted, mut inits) = (Vec::new(), Vec::new());
        for listed in folder.list(Place::Segments)? {
            match media(&listed.name, self.removed_below, self.state.next_segment) {
                _ if listed.is_folder => self.note_foreign("segments", &listed.name),
                Media::Known => {}
                Media::Removed => removed.push(listed),
                Media::Uncommitted => uncommitted.push(listed),
                Media::Init => inits.push(listed),
                Media::Foreign => self.note_foreign("segments", &listed.name),
            }
        }
        take(self.hand, Place::Segments, removed, orphans)?;
        // A bucket has no lock, and the next commit writes the first of them anew.
        let is_anything = has_temporaries || !uncommitted.is_empty() || !inits.is_empty();
        if folder.is_in_bucket(Place::Segments) || !is_anything {
            return Ok(());
        }
        let (_lock, state) = match self.task.dry_run {
            true => (None, Some(self.state.clone())),
            false => (Some(folder.lock(COMMIT_WAIT)?), folder.state()?),
        };
        let Some(state) = state else { return Ok(()) };
        let now = self.task.now;
        uncommitted.retain(|listed| {
            let is_left = media_file_number(&listed.name) >= Some(state.next_segment);
            is_left && is_old(about(folder, Place::Segments, listed), now, SAFE_AGE)
        });
        if !inits.is_empty() && !self.is_all_unlisted {
            let files = folder.history_files(&state)?;
            match needed(folder, &state, &files, self.removed_below)? {
                Some(needed) => inits.retain(|listed| !needed.contains(&listed.name)),
                None => inits.clear(),
            }
        }
        uncommitted.append(&mut inits);
        take(self.hand, Place::Segments, uncommitted, orphans)?;
        // Nobody commits and nobody else cleans up: whatever is being written was left.
        locked.retain(|listed| !listed.is_folder);
        take(self.hand, Place::Temporary, locked, orphans)
    }

    fn note_foreign(&mut self, folder: &str, name: &str) {
        self.foreign += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(format!("{folder}/{name}"));
        }
    }
}

/// Counts the frames that are in no segment, and removes them if the settings say so. Frames of
/// segments below `removed_below` are gone.
pub(super) fn frames(
    hand: &Hand<'_>,
    task: &Task,
    removed_below: u64,
    done: &mut Outcome,
) -> Result<(), StoreError> {
    let folder = hand.folder;
    let listed = folder.list(Place::Frames)?.into_iter().filter(|listed| !listed.is_folder);
    let listed = listed.filter(|listed| !hand.has_taken(Place::Frames, &listed.name));
    let mut unknown: HashMap<String, Listed> =
        listed.map(|listed| (listed.name.clone(), listed)).collect();
    // Read after the listing: what was committed meanwhile is known.
    if let Some(state) = folder.state()?.filter(|_| !unknown.is_empty()) {
        let files = folder.history_files(&state)?;
        let mut records = Records::from(folder, &state, &files, removed_below);
        while let Some(record) = records.next_below(u64::MAX)? {
            for name in frame_files(&record) {
                unknown.remove(&name);
            }
        }
    }
    let mut go = Vec::new();
    for listed in unknown.into_values() {
        let about = about(folder, Place::Frames, &listed);
        let (Some(about), true) = (&about, is_old(about.clone(), task.now, SAFE_AGE)) else {
            continue;
        };
        match task.settings.unencoded_frames {
            Some(keep) if is_old(Some(about.clone()), task.now, keep) => go.push(listed),
            _ => done.unencoded.add(about.len_bytes),
        }
    }
    take(hand, Place::Frames, go, &mut done.unencoded_removed)
}

/// Takes listed files away and counts those that were there.
pub(super) fn take(
    hand: &Hand<'_>,
    place: Place<'_>,
    listed: Vec<Listed>,
    tally: &mut Tally,
) -> Result<(), StoreError> {
    let sizes: Vec<u64> = listed
        .iter()
        .map(|listed| about(hand.folder, place, listed).map_or(0, |about| about.len_bytes))
        .collect();
    let names: Vec<_> = listed.into_iter().map(|listed| listed.name).collect();
    let was_there = hand.take(place, &names)?;
    for (bytes, _) in sizes.into_iter().zip(was_there).filter(|(_, there)| *there) {
        tally.add(bytes);
    }
    Ok(())
}

/// What is known of a listed file; none if it has gone since, or cannot be asked for.
fn about(folder: &DeviceFolder, place: Place<'_>, listed: &Listed) -> Option<About> {
    match &listed.about {
        Some(about) => Some(about.clone()),
        None => folder.about(place, &listed.name).ok().flatten(),
    }
}

fn is_old(about: Option<About>, now: UtcMillis, age: Duration) -> bool {
    about.is_some_and(|about| now.since(about.modified) >= age)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_the_segments_folder_is_judged_by_its_number() {
        for (name, expected) in [
            ("seg_000004.ts", Media::Removed),
            ("seg_000004.m4s", Media::Removed),
            ("seg_000005.ts", Media::Known),
            ("seg_000008.ts", Media::Known),
            ("seg_000009.m4s", Media::Uncommitted),
            ("init_0a1b.mp4", Media::Init),
            ("seg_4.ts", Media::Foreign),
            (".nfs0001", Media::Foreign),
        ] {
            assert_eq!(media(name, 5, 9), expected, "{name}");
        }
    }
}
