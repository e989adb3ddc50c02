//! What the archives that are there say, for whoever has lost track of them. Blocks.
//!
//! Architecture invariant: only reads; an archive that was put there from elsewhere says nothing
//! of this device.

use super::document::Document;
use crate::model::SessionId;
use crate::store::layout::{ARCHIVE_FILE, Place};
use crate::store::{DeviceFolder, DeviceState, StoreError};

/// Every folder of a device's archives that has a session's name.
pub(super) fn archives_of(folder: &DeviceFolder) -> Result<Vec<SessionId>, StoreError> {
    let listed = folder.list(Place::Archives)?;
    let folders = listed.iter().filter(|listed| listed.is_folder);
    Ok(folders.filter_map(|listed| SessionId::new(&listed.name).ok()).collect())
}

/// What an archive says of itself, without its segments; none if it does not, or if it was put
/// there from elsewhere.
pub(super) fn document_of(
    folder: &DeviceFolder,
    id: &SessionId,
) -> Result<Option<Document>, StoreError> {
    let Some(stored) = folder.read(Place::Archive(id), ARCHIVE_FILE)? else { return Ok(None) };
    let document: Option<Document> = serde_json::from_slice(&stored.bytes).ok();
    let ours =
        document.filter(|document| document.session_id == *id && document.key() == *folder.key());
    Ok(ours.map(|document| Document { segments: Vec::new(), ..document }))
}

/// The number of the oldest segment of which there is a record.
pub(super) fn recorded_from(folder: &DeviceFolder, state: &DeviceState) -> Result<u64, StoreError> {
    let oldest = folder.history_files(state)?.first().map(|name| name.first);
    Ok(oldest.unwrap_or_else(|| state.first_recent()))
}

/// What the archives say of the sessions that have segments from number `from` on, oldest first.
/// Archives of older sessions are not read, however many there are.
pub(super) fn documents_from(
    folder: &DeviceFolder,
    archives: &[SessionId],
    from: u64,
) -> Result<Vec<Document>, StoreError> {
    let numbered = archives.iter().filter_map(|id| Some((id.first_segment()?, id)));
    let mut numbered: Vec<_> = numbered.collect();
    numbered.sort_unstable();
    let mut found = Vec::new();
    for (first, id) in numbered.into_iter().rev() {
        let Some(document) = document_of(folder, id)? else { continue };
        found.push(document);
        if first <= from {
            break;
        }
    }
    found.reverse();
    Ok(found)
}
