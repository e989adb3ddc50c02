//! Which archives of a device have expired, and their removal. Blocks.
//!
//! Architecture invariant: an archive never looks whole when it is not. Its document goes first,
//! for good, before any file that it names; what a run that died has left of it is without a
//! document and taken by a later run. Files that this program did not put there stay.

use std::time::Duration;

use super::device::Book;
use super::document::{self, Document, HEAD_BYTES, Status};
use super::ledger::Ledger;
use super::steps;
use crate::crash_point::reached;
use crate::model::{SessionId, UtcMillis};
use crate::playlist::{is_init_file_name, media_file_number};
use crate::store::layout::{ARCHIVE_FILE, PLAYLIST_FILE, Place};
use crate::store::{DeviceFolder, Listed, StoreError};

/// What has no document and belongs to no session that is still to be archived is taken when
/// nothing in it is younger than this.
const SAFE_AGE: Duration = Duration::from_secs(24 * 3_600);

/// The folder of the media files, seen from the archive.
const SEGMENTS: &str = "segments";

/// What a run has removed of a device, or would have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Archives that have expired.
    pub expired: u64,
    /// Parts of archives that never became one, or were half removed.
    pub leftovers: u64,
    /// Media and init files.
    pub files: u64,
    /// What the archives say their media files take. A file that the stream still has takes
    /// its room for as long as that has it.
    pub bytes: u64,
    /// Archives that stay.
    pub kept: u64,
    /// Files and folders that are not this program's.
    pub foreign: u64,
    /// What was removed, or would have been: folders relative to the base path, and how many
    /// bytes each.
    pub folders: Vec<(String, u64)>,
    /// Whether somebody else was at the device, so that it was left to the next run.
    pub busy: bool,
}

impl Swept {
    /// Counts another device in; its folders are not taken over.
    pub fn add(&mut self, other: &Self) {
        self.expired += other.expired;
        self.leftovers += other.leftovers;
        self.files += other.files;
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.kept += other.kept;
        self.foreign += other.foreign;
    }
}

/// What is there of an archive's document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// One that says this.
    Document { status: Status, expires_at: UtcMillis },
    /// Something else under its name.
    Unreadable,
    /// Nothing.
    None,
}

/// What becomes of a folder among the archives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Stays,
    Expired,
    /// It goes if nothing in it is young.
    Leftover,
    Foreign,
}

/// What becomes of a folder of this name. `is_pending` says whether an archive of a session that
/// begins with a segment is still to come.
fn judge(id: &SessionId, found: Found, is_pending: impl Fn(u64) -> bool, now: UtcMillis) -> Fate {
    let Some(first) = id.first_segment() else { return Fate::Foreign };
    match found {
        Found::Document { expires_at, .. } if now < expires_at => Fate::Stays,
        Found::Document { status: Status::Ready, .. } => Fate::Expired,
        Found::Document { status: Status::Failed, .. } if is_pending(first) => Fate::Stays,
        Found::Document { status: Status::Failed, .. } => Fate::Expired,
        Found::Unreadable => Fate::Foreign,
        Found::None if is_pending(first) => Fate::Stays,
        Found::None => Fate::Leftover,
    }
}

/// Removes a device's expired archives and what is left of half-made ones; with `dry_run` only
/// says which. `mirrored`: whether a database has a copy.
pub(super) fn sweep(
    folder: &DeviceFolder,
    mirrored: bool,
    dry_run: bool,
    now: UtcMillis,
) -> Result<Swept, StoreError> {
    let mut swept = Swept::default();
    let listed = folder.list(Place::Archives)?;
    if listed.is_empty() {
        return Ok(swept);
    }
    // Who only looks keeps nobody away, and leaves no lock file.
    let lock = if dry_run { None } else { folder.try_upkeep()? };
    if lock.is_none() && !dry_run {
        return Ok(Swept { busy: true, ..swept });
    }
    let mut book = Book::open(folder)?;
    // Without a stream nothing is still to come.
    let has_stream = folder.state()?.is_some();
    let mut goes = Vec::new();
    for Listed { name, is_folder, .. } in listed {
        let id = match SessionId::new(&name) {
            Ok(id) if is_folder => id,
            _ => {
                swept.foreign += 1;
                continue;
            }
        };
        let pending = |first| has_stream && book.ledger.is_pending(&id, first);
        match judge(&id, look_at(folder, &id)?, pending, now) {
            Fate::Stays => swept.kept += 1,
            Fate::Foreign => swept.foreign += 1,
            fate => goes.push((id, fate)),
        }
    }
    if mirrored && !dry_run && goes.iter().any(|(_, fate)| *fate == Fate::Expired) {
        let before = book.ledger.clone();
        for (id, _) in goes.iter().filter(|(_, fate)| *fate == Fate::Expired) {
            book.ledger.unconfirm(id);
        }
        // Before they go: their rows are then found, whatever happens.
        write_if_changed(book, &before, folder)?;
    }
    for (id, fate) in goes {
        remove(folder, &id, fate, dry_run, now, &mut swept)?;
    }
    Ok(swept)
}

fn write_if_changed(book: Book, before: &Ledger, folder: &DeviceFolder) -> Result<(), StoreError> {
    if book.ledger == *before { Ok(()) } else { book.write(folder) }
}

/// What is there of an archive's document: of one that has time, only its head is read.
fn look_at(folder: &DeviceFolder, id: &SessionId) -> Result<Found, StoreError> {
    let head = match folder.read_range(Place::Archive(id), ARCHIVE_FILE, 0..HEAD_BYTES) {
        Ok(head) => head,
        Err(StoreError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Found::None);
        }
        Err(error) => return Err(error),
    };
    if let Some(expires_at) = document::expires_at_by_head(&head) {
        return Ok(Found::Document { status: Status::Ready, expires_at });
    }
    let Some(stored) = folder.read(Place::Archive(id), ARCHIVE_FILE)? else {
        return Ok(Found::None);
    };
    Ok(match serde_json::from_slice::<Document>(&stored.bytes) {
        Ok(Document { status, expires_at, .. }) => Found::Document { status, expires_at },
        Err(_) => Found::Unreadable,
    })
}

/// What a folder among the archives holds.
struct Contents {
    /// The media and init files' names.
    media: Vec<Listed>,
    playlist: Option<Listed>,
    /// How many files and folders are not ours.
    foreign: usize,
}

impl Contents {
    fn of(folder: &DeviceFolder, id: &SessionId) -> Result<Self, StoreError> {
        let is_named = |name: &str| media_file_number(name).is_some() || is_init_file_name(name);
        let is_media = |listed: &Listed| !listed.is_folder && is_named(&listed.name);
        let (media, others): (Vec<_>, Vec<_>) =
            folder.list(Place::ArchiveSegments(id))?.into_iter().partition(is_media);
        let mut contents = Self { media, playlist: None, foreign: others.len() };
        for listed in folder.list(Place::Archive(id))? {
            match (listed.is_folder, listed.name.as_str()) {
                (true, SEGMENTS) | (false, ARCHIVE_FILE) => {}
                (false, PLAYLIST_FILE) => contents.playlist = Some(listed),
                _ => contents.foreign += 1,
            }
        }
        Ok(contents)
    }

    /// Whether one of our files was written of late.
    fn is_young(
        &self,
        folder: &DeviceFolder,
        id: &SessionId,
        now: UtcMillis,
    ) -> Result<bool, StoreError> {
        let media = self.media.iter().map(|listed| (Place::ArchiveSegments(id), listed));
        let playlist = self.playlist.iter().map(|listed| (Place::Archive(id), listed));
        for (place, listed) in media.chain(playlist) {
            let about = match &listed.about {
                Some(about) => Some(about.clone()),
                None => folder.about(place, &listed.name)?,
            };
            if about.is_some_and(|about| now.since(about.modified) < SAFE_AGE) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Removes one folder, or counts what would go with it.
fn remove(
    folder: &DeviceFolder,
    id: &SessionId,
    fate: Fate,
    dry_run: bool,
    now: UtcMillis,
    swept: &mut Swept,
) -> Result<(), StoreError> {
    let contents = Contents::of(folder, id)?;
    swept.foreign += contents.foreign as u64;
    let is_ours = !contents.media.is_empty() || contents.playlist.is_some();
    if fate == Fate::Leftover {
        if contents.is_young(folder, id, now)? {
            swept.kept += 1;
            return Ok(());
        }
        if contents.foreign > 0 && !is_ours {
            return Ok(());
        }
    }
    let bytes = size_bytes(folder, id)?;
    if !dry_run {
        remove_files(folder, id, &contents)?;
    }
    match fate {
        Fate::Expired => swept.expired += 1,
        _ => swept.leftovers += 1,
    }
    swept.files += contents.media.len() as u64;
    swept.bytes += bytes;
    swept.folders.push((Place::Archive(id).folder(folder.key()), bytes));
    Ok(())
}

fn remove_files(
    folder: &DeviceFolder,
    id: &SessionId,
    contents: &Contents,
) -> Result<(), StoreError> {
    let (place, media_place) = (Place::Archive(id), Place::ArchiveSegments(id));
    if folder.remove(place, ARCHIVE_FILE)? {
        reached(steps::DOCUMENT_REMOVED);
        folder.sync(place)?;
    }
    reached(steps::UNMADE);
    folder.remove(place, PLAYLIST_FILE)?;
    for listed in &contents.media {
        folder.remove(media_place, &listed.name)?;
        reached(steps::FILE_REMOVED);
    }
    reached(steps::EMPTIED);
    if contents.foreign == 0 {
        folder.remove_folder(media_place)?;
        folder.remove_folder(place)?;
    }
    Ok(())
}

/// What an archive says that its media take; nothing if it says nothing.
fn size_bytes(folder: &DeviceFolder, id: &SessionId) -> Result<u64, StoreError> {
    let Some(stored) = folder.read(Place::Archive(id), ARCHIVE_FILE)? else { return Ok(0) };
    let document: Option<Document> = serde_json::from_slice(&stored.bytes).ok();
    Ok(document.map_or(0, |document| document.size_bytes))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::START;
    use super::*;

    fn fate(found: Found, is_pending: bool) -> Fate {
        let id = SessionId::of(START, 4);
        let asked = |first| {
            assert_eq!(first, 4);
            is_pending
        };
        judge(&id, found, asked, START)
    }

    #[test]
    fn a_ready_archive_goes_when_its_time_has_come() {
        let at = |expires_at| Found::Document { status: Status::Ready, expires_at };
        for is_pending in [false, true] {
            assert_eq!(fate(at(START.plus_millis(1)), is_pending), Fate::Stays);
            assert_eq!(fate(at(START), is_pending), Fate::Expired);
        }
    }

    #[test]
    fn a_failed_one_stays_while_it_is_tried() {
        let failed = Found::Document { status: Status::Failed, expires_at: START };
        assert_eq!(fate(failed, true), Fate::Stays);
        assert_eq!(fate(failed, false), Fate::Expired);
    }

    #[test]
    fn a_half_made_one_stays_while_its_session_is_to_be_archived() {
        assert_eq!(fate(Found::None, true), Fate::Stays);
        assert_eq!(fate(Found::None, false), Fate::Leftover);
    }

    #[test]
    fn what_is_not_ours_stays() {
        assert_eq!(fate(Found::Unreadable, false), Fate::Foreign);
        let other = SessionId::new("backup").unwrap();
        assert_eq!(judge(&other, Found::None, |_| false, START), Fate::Foreign);
    }
}
