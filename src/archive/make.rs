//! Makes one archive: its media files, then its playlist, then its document.
//!
//! Architecture invariant: media are linked or copied by the storage, never read. The document
//! is written when everything that it names is durable, so an archive is whole or it is not
//! there; whoever finds a part of one goes on with it.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::document::{self, Document, Making, Status};
use super::error::ArchiveError;
use super::sessions::Session;
use super::steps;
use crate::crash_point::reached;
use crate::model::{SessionId, UtcMillis};
use crate::playlist::render_vod;
use crate::store::layout::{ARCHIVE_FILE, PLAYLIST_FILE, Place};
use crate::store::{
    DeviceFolder, Expect, SegmentRecord, StoreError, Stored, Written, sha256_hex, steps::WriteSteps,
};

/// Makes the archive of a session, or finishes it. One that is there already is left as it is.
/// `target_duration_secs` is the stream's.
pub(super) fn make(
    folder: &DeviceFolder,
    making: &Making<'_>,
    session: &Session<'_>,
    target_duration_secs: u32,
) -> Result<Document, ArchiveError> {
    let place = Place::Archive(&session.id);
    let before = folder.read(place, ARCHIVE_FILE)?;
    if let Some((document, stored)) = before.as_ref().and_then(whole) {
        // Whoever wrote it may have died before its name was durable.
        let expect = Expect::Same(&stored.version);
        let written = folder.write(place, ARCHIVE_FILE, &stored.bytes, expect, &steps::DOCUMENT)?;
        return settled(folder, place, written).map(|()| document);
    }
    let lost = bring(folder, &session.id, session.records)?;
    let segments = document::segments_left(session, &lost);
    if segments.is_empty() {
        return Err(ArchiveError::NothingLeft { segments: session.records.len() });
    }
    let entries: Vec<_> = segments.iter().map(document::entry_of).collect();
    let playlist = render_vod(target_duration_secs, &entries)?;
    let checksum = sha256_hex(playlist.as_bytes());
    // Everyone who makes this archive writes the same playlist.
    let _ =
        folder.write(place, PLAYLIST_FILE, &playlist.into(), Expect::Anything, &steps::PLAYLIST)?;
    let document = Document::ready(making, session, segments, checksum);
    write_document(folder, &document, before.as_ref(), &steps::DOCUMENT)?;
    Ok(document)
}

/// Says in the archive's place why there is none, since `since`.
pub(super) fn note_failure(
    folder: &DeviceFolder,
    making: &Making<'_>,
    session: &Session<'_>,
    error: String,
    since: UtcMillis,
) -> Result<(), ArchiveError> {
    let before = folder.read(Place::Archive(&session.id), ARCHIVE_FILE)?;
    if before.as_ref().and_then(whole).is_some() {
        return Ok(());
    }
    let document = Document::failed(making, session, error, since);
    write_document(folder, &document, before.as_ref(), &steps::FAILURE)
}

/// Puts the media and init files of these segments into the archive's folder, durably, if they
/// are not there yet. Returns the numbers of those of which one is nowhere any more.
pub(super) fn bring(
    folder: &DeviceFolder,
    id: &SessionId,
    records: &[SegmentRecord],
) -> Result<BTreeSet<u64>, StoreError> {
    let target = Place::ArchiveSegments(id);
    let there: HashSet<String> = folder.list(target)?.into_iter().map(|file| file.name).collect();
    let bring_one = |name: &str| -> Result<bool, StoreError> {
        if there.contains(name) {
            return Ok(true);
        }
        // What is not in the stream any more may have been brought here meanwhile.
        let is_there =
            folder.copy(Place::Segments, target, name)? || folder.about(target, name)?.is_some();
        reached(steps::FILE_LINKED);
        Ok(is_there)
    };
    let mut inits: HashMap<&str, bool> = HashMap::new();
    let mut lost = BTreeSet::new();
    for record in records {
        let has_init = match record.init.as_deref() {
            None => true,
            Some(name) => match inits.get(name) {
                Some(is_there) => *is_there,
                None => {
                    let is_there = bring_one(name)?;
                    inits.insert(name, is_there);
                    is_there
                }
            },
        };
        if !(has_init && bring_one(&record.file)?) {
            lost.insert(record.number);
        }
    }
    if lost.len() < records.len() {
        folder.sync(target)?;
    }
    reached(steps::FILES_LINKED);
    Ok(lost)
}

/// The document of an archive that is whole.
fn whole(stored: &Stored) -> Option<(Document, &Stored)> {
    let document: Document = serde_json::from_slice(&stored.bytes).ok()?;
    (document.status == Status::Ready).then_some((document, stored))
}

fn write_document(
    folder: &DeviceFolder,
    document: &Document,
    before: Option<&Stored>,
    steps: &WriteSteps,
) -> Result<(), ArchiveError> {
    let place = Place::Archive(&document.session_id);
    let expect = Expect::unchanged(before);
    let written = folder.write_json(place, ARCHIVE_FILE, document, expect, steps)?;
    settled(folder, place, written)
}

fn settled(folder: &DeviceFolder, place: Place<'_>, written: Written) -> Result<(), ArchiveError> {
    match written {
        Written::Done => Ok(()),
        Written::Conflict => {
            Err(StoreError::Overtaken { path: folder.path(place, ARCHIVE_FILE) }.into())
        }
    }
}
