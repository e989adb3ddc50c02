//! What a run has removed, or would have: counts of one device and of all (pure).

use std::ops::AddAssign;

/// Files and their sizes together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many.
    pub files: u64,
    /// Their bytes together.
    pub bytes: u64,
}

impl Tally {
    /// Counts one more.
    pub(super) fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.files += other.files;
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// What was done for one device, or for all of a run together; in a dry run, what would be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Devices that were left to the next run, because somebody else archives or cleans them up.
    pub busy: u64,
    /// Segments that left a playlist of which the worker is gone, or for a quota. Their files go
    /// after the grace.
    pub unlisted: u64,
    /// Media files of segments. Their bytes are those of their records.
    pub segments: Tally,
    /// JPEGs of those segments. Their bytes are those of their records.
    pub frames: Tally,
    /// History and init files that nothing needs any more.
    pub other_files: u64,
    /// Segments that would have gone, but are kept for an archive that is still to be made.
    pub waiting_for_archive: u64,
    /// Files that nothing lists: of interrupted writes, of streams begun anew.
    pub orphans: Tally,
    /// JPEGs older than a day that are in no segment, as far as they were looked for. They are
    /// kept.
    pub unencoded: Tally,
    /// The same, which went because the settings say so.
    pub unencoded_removed: Tally,
    /// Files that are none of ours, and are left.
    pub foreign: u64,
    /// What the segments and frames that are there count for in the quotas; none where there is
    /// no quota.
    pub kept_bytes: Option<u64>,
    /// The number of the first segment that went and the one after the last: one device's only.
    pub numbers: Option<(u64, u64)>,
}

impl Outcome {
    /// What went altogether, in bytes.
    pub fn freed_bytes(&self) -> u64 {
        let parts = [self.segments, self.frames, self.orphans, self.unencoded_removed];
        parts.iter().map(|part| part.bytes).fold(0, u64::saturating_add)
    }

    /// Whether anything was removed, taken out of a playlist or found.
    pub fn is_worth_telling(&self) -> bool {
        *self != Self { kept_bytes: self.kept_bytes, ..Self::default() }
    }

    /// Takes in what was done for another device.
    pub fn add(&mut self, other: &Self) {
        self.busy += other.busy;
        self.unlisted += other.unlisted;
        self.segments += other.segments;
        self.frames += other.frames;
        self.other_files += other.other_files;
        self.waiting_for_archive += other.waiting_for_archive;
        self.orphans += other.orphans;
        self.unencoded += other.unencoded;
        self.unencoded_removed += other.unencoded_removed;
        self.foreign += other.foreign;
        if let Some(bytes) = other.kept_bytes {
            self.kept_bytes = Some(self.kept_bytes.unwrap_or(0).saturating_add(bytes));
        }
        self.numbers = None;
    }

    /// Notes that segments of these numbers went.
    pub(super) fn note_numbers(&mut self, first: u64, end: u64) {
        let (known_first, known_end) = self.numbers.unwrap_or((first, end));
        self.numbers = Some((known_first.min(first), known_end.max(end)));
    }
}
