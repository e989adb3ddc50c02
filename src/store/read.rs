//! The files of a device that viewers ask for, and no others.

use std::ops::Range;

use bytes::Bytes;

use super::layout::{ARCHIVE_FILE, PLAYLIST_FILE, Place, STATE_FILE, is_plain};
use super::{About, Fetched, Store, StoreError};
use crate::model::{DeviceKey, SessionId};

/// A file that a viewer may ask for.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum StreamFile {
    /// What is durable of the device, for who lists devices; nobody is served it.
    State,
    /// The live playlist.
    Playlist,
    /// A media or init file of the live stream, by its name.
    Segment(String),
    /// An archive's playlist.
    ArchivePlaylist(SessionId),
    /// A media or init file of an archive, by its name.
    ArchiveSegment(SessionId, String),
    /// What an archive says of itself.
    ArchiveInfo(SessionId),
    /// A frame as it was uploaded, by its file's name.
    Frame(String),
}

impl StreamFile {
    /// Its folder and its name; none if the name is not a single plain one.
    fn place(&self) -> Option<(Place<'_>, &str)> {
        let (place, name) = match self {
            Self::State => (Place::Hls, STATE_FILE),
            Self::Playlist => (Place::Hls, PLAYLIST_FILE),
            Self::Segment(name) => (Place::Segments, name.as_str()),
            Self::ArchivePlaylist(id) => (Place::Archive(id), PLAYLIST_FILE),
            Self::ArchiveSegment(id, name) => (Place::ArchiveSegments(id), name.as_str()),
            Self::ArchiveInfo(id) => (Place::Archive(id), ARCHIVE_FILE),
            Self::Frame(name) => (Place::Frames, name.as_str()),
        };
        is_plain(name).then_some((place, name))
    }
}

impl Store {
    /// What is known of a file without reading it; none if there is no such file.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be asked for.
    pub async fn about(
        &self,
        key: &DeviceKey,
        file: StreamFile,
    ) -> Result<Option<About>, StoreError> {
        self.on_device(key, move |folder| match file.place() {
            Some((place, name)) => folder.about(place, name),
            None => Ok(None),
        })
        .await
    }

    /// What is known of a file and its first bytes, at most `at_most_bytes` of them, in one step;
    /// neither is read if it still has the tag `unless`.
    ///
    /// # Errors
    /// [`StoreError`] if there is one that cannot be read.
    pub async fn fetch(
        &self,
        key: &DeviceKey,
        file: StreamFile,
        at_most_bytes: u64,
        unless: Option<String>,
    ) -> Result<Fetched, StoreError> {
        self.on_device(key, move |folder| match file.place() {
            Some((place, name)) => folder.fetch(place, name, at_most_bytes, unless.as_deref()),
            None => Ok(Fetched::Absent),
        })
        .await
    }

    /// A file's whole content; none if there is no such file.
    ///
    /// # Errors
    /// [`StoreError`] if there is one that cannot be read.
    pub async fn read(
        &self,
        key: &DeviceKey,
        file: StreamFile,
    ) -> Result<Option<Bytes>, StoreError> {
        self.on_device(key, move |folder| match file.place() {
            Some((place, name)) => Ok(folder.read(place, name)?.map(|stored| stored.bytes)),
            None => Ok(None),
        })
        .await
    }

    /// Some bytes of a file.
    ///
    /// # Errors
    /// [`StoreError`] if there is no such file, or it cannot be read.
    pub async fn read_range(
        &self,
        key: &DeviceKey,
        file: StreamFile,
        range: Range<u64>,
    ) -> Result<Bytes, StoreError> {
        self.on_device(key, move |folder| match file.place() {
            Some((place, name)) => folder.read_range(place, name, range),
            None => Ok(Bytes::new()),
        })
        .await
    }
}
