//! Takes files away, or only says which it would: one way through the code for both, so that a
//! dry run tells what the real one does.

use std::cell::RefCell;
use std::collections::HashSet;
use std::io::ErrorKind;

use crate::store::layout::Place;
use crate::store::{DeviceFolder, StoreError};

/// What removes a device's files.
pub(super) struct Hand<'a> {
    pub folder: &'a DeviceFolder,
    /// Removes nothing.
    pub dry_run: bool,
    /// What a dry run would have removed by now.
    taken: RefCell<HashSet<String>>,
}

impl<'a> Hand<'a> {
    pub fn new(folder: &'a DeviceFolder, dry_run: bool) -> Self {
        Self { folder, dry_run, taken: RefCell::default() }
    }

    /// Whether a name is one of a file, and of no other folder: names in a history file that was
    /// edited by hand must not lead elsewhere.
    pub fn may_take(name: &str) -> bool {
        // As long as a file system's names may be.
        const MAX_NAME_BYTES: usize = 255;
        let is_component = !matches!(name, "" | "." | "..") && name.len() <= MAX_NAME_BYTES;
        is_component && !name.chars().any(|c| matches!(c, '/' | '\\') || c.is_control())
    }

    /// Takes these files away; of each, whether there was one. In a bucket, which does not tell,
    /// as if there was.
    pub fn take(&self, place: Place<'_>, names: &[String]) -> Result<Vec<bool>, StoreError> {
        if !self.dry_run {
            return self.folder.remove_all(place, names);
        }
        let is_there = |name: &String| {
            let is_first = self.taken.borrow_mut().insert(self.folder.path(place, name));
            let tells = !self.folder.is_in_bucket(place);
            Ok(is_first && (!tells || self.folder.about(place, name)?.is_some()))
        };
        names.iter().map(is_there).collect()
    }

    /// Whether a dry run would have removed it by now.
    pub fn has_taken(&self, place: Place<'_>, name: &str) -> bool {
        self.dry_run && self.taken.borrow().contains(&self.folder.path(place, name))
    }

    /// Makes what was taken from a folder gone for good: it must not come back after a power cut.
    pub fn settle(&self, place: Place<'_>) -> Result<(), StoreError> {
        if self.dry_run {
            return Ok(());
        }
        match self.folder.sync(place) {
            // There is no such folder, and nothing was taken from it.
            Err(StoreError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(()),
            synced => synced,
        }
    }
}
