//! What the archive room says a clean-up has to leave: read from `hls/archived.json`, which is
//! that room's. Never written here.

use serde::Deserialize;

use crate::store::layout::{ARCHIVED_FILE, Place};
use crate::store::{DeviceFolder, StoreError};

/// How far a device's sessions are archived. Whatever else the file says is not needed here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Archived {
    /// No archive that is still to come needs a segment below, nor its record.
    #[serde(default)]
    archived_below: u64,
    /// No archive needs the media of a segment below: they are in its folder already.
    #[serde(default)]
    linked_below: u64,
}

impl Archived {
    /// Where nothing is archived: nothing is kept for an archive.
    pub const OFF: Self = Self { archived_below: u64::MAX, linked_below: u64::MAX };

    /// What is stored of a device; nothing is archived where nothing is.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] if it is something else: then all is kept.
    pub fn read(folder: &DeviceFolder) -> Result<Self, StoreError> {
        let read = folder.read_json(Place::Hls, ARCHIVED_FILE)?;
        Ok(read.map(|(archived, _)| archived).unwrap_or_default())
    }

    /// The number below which media may go.
    pub fn segments_below(self) -> u64 {
        self.archived_below.max(self.linked_below)
    }

    /// The number below which records may go.
    pub fn records_below(self) -> u64 {
        self.archived_below
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_file_says_besides_does_not_matter() {
        let read = |text| serde_json::from_str::<Archived>(text).unwrap();
        let archived = read(r#"{"format":9,"archived_below":4,"linked_below":7,"failed":[{}]}"#);
        assert_eq!((archived.segments_below(), archived.records_below()), (7, 4));
        assert_eq!(read("{}"), Archived::default());
        assert_eq!(read(r#"{"archived_below":4}"#).segments_below(), 4);
    }
}
