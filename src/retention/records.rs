//! A device's records, oldest first: a history file is read when its turn comes, so that looking
//! at the oldest does not cost reading all.

use std::collections::VecDeque;

use crate::store::layout::{HistoryName, Place};
use crate::store::{DeviceFolder, DeviceState, SegmentRecord, StoreError};

/// The records from some number on.
pub(super) struct Records<'a> {
    folder: &'a DeviceFolder,
    files: VecDeque<HistoryName>,
    read: VecDeque<SegmentRecord>,
    recent: VecDeque<SegmentRecord>,
    /// What comes next has at least this number.
    next: u64,
}

impl<'a> Records<'a> {
    /// The records from number `from` on; `files` are all of the device's history.
    pub fn from(
        folder: &'a DeviceFolder,
        state: &DeviceState,
        files: &[HistoryName],
        from: u64,
    ) -> Self {
        Self {
            folder,
            files: files.iter().filter(|name| name.last >= from).copied().collect(),
            read: VecDeque::new(),
            recent: state.recent.iter().cloned().collect(),
            next: from,
        }
    }

    /// The next record, if its number is below `below`; a history file that begins there or
    /// later is not read.
    pub fn next_below(&mut self, below: u64) -> Result<Option<SegmentRecord>, StoreError> {
        let next = self.next;
        // After a crash, two files may hold the same record.
        while self.read.pop_front_if(|record| record.number < next).is_some()
            || self.read.is_empty() && self.read_file(below)?
        {}
        let queue = match (self.read.is_empty(), self.files.is_empty()) {
            (false, _) => &mut self.read,
            (true, true) => &mut self.recent,
            (true, false) => return Ok(None),
        };
        while queue.pop_front_if(|record| record.number < next).is_some() {}
        let taken = queue.pop_front_if(|record| record.number < below);
        if let Some(record) = &taken {
            self.next = record.number.saturating_add(1);
        }
        Ok(taken)
    }

    /// Reads the next history file, if it begins below `below`; whether it does.
    fn read_file(&mut self, below: u64) -> Result<bool, StoreError> {
        let Some(name) = self.files.pop_front_if(|name| name.first < below) else {
            return Ok(false);
        };
        let read = self.folder.read_json::<Vec<_>>(Place::History, &name.file_name())?;
        // Somebody else may have removed it since it was listed.
        self.read = read.map(|(records, _)| records.into()).unwrap_or_default();
        Ok(true)
    }

    /// The next records below `below`, at most `count`.
    pub fn take_below(
        &mut self,
        below: u64,
        count: usize,
    ) -> Result<Vec<SegmentRecord>, StoreError> {
        let mut taken = Vec::new();
        while taken.len() < count
            && let Some(record) = self.next_below(below)?
        {
            taken.push(record);
        }
        Ok(taken)
    }
}
