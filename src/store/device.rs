//! One device's files: whole files read, written durably, listed and locked, each in its
//! [`Place`]. Blocks: its users run it with [`super::Store::on_device`].

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::backend::{About, Backend, Expect, Fetched, Listed, Lock, Stored, Written};
use super::layout::{
    self, HistoryName, LOCK_FILE, PLAYLIST_FILE, Place, STATE_FILE, UPKEEP_LOCK_FILE,
};
use super::steps::WriteSteps;
use super::{DeviceState, STATE_FORMAT, SegmentRecord, StoreError, history, plan, replace};
use crate::model::DeviceKey;
use crate::playlist::Window;

/// One device's files.
#[derive(Clone)]
pub struct DeviceFolder {
    backend: Arc<dyn Backend>,
    /// Of the frames, which may be elsewhere.
    frames: Arc<dyn Backend>,
    key: DeviceKey,
}

impl DeviceFolder {
    /// The files of a device, which may not be there yet.
    pub(super) fn new(backend: Arc<dyn Backend>, frames: Arc<dyn Backend>, key: DeviceKey) -> Self {
        Self { backend, frames, key }
    }

    /// The storage that a folder is on.
    fn at(&self, place: Place<'_>) -> &dyn Backend {
        match place {
            Place::Frames => self.frames.as_ref(),
            _ => self.backend.as_ref(),
        }
    }

    /// Whether a folder is in a bucket, where no lock keeps others away.
    pub fn is_in_bucket(&self, place: Place<'_>) -> bool {
        self.at(place).reads_are_durable()
    }

    /// Whose they are.
    pub fn key(&self) -> &DeviceKey {
        &self.key
    }

    /// Creates the folders of a device, durably, if need be.
    ///
    /// # Errors
    /// [`StoreError`] if they are not there and cannot be created.
    pub fn prepare(&self) -> Result<(), StoreError> {
        let folders = [Place::Segments, Place::History, Place::Temporary];
        let folders = folders.map(|place| place.folder(&self.key));
        self.backend.prepare(&folders, &self.path(Place::Hls, LOCK_FILE))
    }

    /// Waits until nobody else commits to the device, at most `wait`.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if somebody does all the time.
    pub fn lock(&self, wait: Duration) -> Result<Lock, StoreError> {
        let path = self.path(Place::Hls, LOCK_FILE);
        let lock = self.backend.lock(&path, wait)?;
        lock.ok_or(StoreError::Locked { path, wait })
    }

    /// Keeps others from archiving or cleaning up this device; none if somebody does already.
    /// In a bucket it keeps nobody away: whoever writes what was read before has to say so.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be asked for.
    pub fn try_upkeep(&self) -> Result<Option<Lock>, StoreError> {
        self.backend.lock(&self.path(Place::Hls, UPKEEP_LOCK_FILE), Duration::ZERO)
    }

    /// A file's content; none if there is no such file.
    ///
    /// # Errors
    /// [`StoreError`] if there is one that cannot be read.
    pub fn read(&self, place: Place<'_>, name: &str) -> Result<Option<Stored>, StoreError> {
        self.at(place).read(&self.path(place, name))
    }

    /// A file's content read as JSON, and what to replace it by; none if there is no such file.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] if it is something else.
    pub fn read_json<T: DeserializeOwned>(
        &self,
        place: Place<'_>,
        name: &str,
    ) -> Result<Option<(T, Stored)>, StoreError> {
        let Some(stored) = self.read(place, name)? else { return Ok(None) };
        match serde_json::from_slice(&stored.bytes) {
            Ok(value) => Ok(Some((value, stored))),
            Err(error) => Err(StoreError::Unreadable {
                path: self.path(place, name),
                detail: format!("is not what it should be: {error}"),
            }),
        }
    }

    /// Writes a whole file: when this returns it is durable under its name, and until then
    /// whatever was there before is.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be written. What was there before may have been replaced all
    /// the same: read it before trusting either.
    pub fn write(
        &self,
        place: Place<'_>,
        name: &str,
        bytes: &Bytes,
        expect: Expect<'_>,
        steps: &WriteSteps,
    ) -> Result<Written, StoreError> {
        self.at(place).write(&self.path(place, name), bytes, expect, steps)
    }

    /// Writes a whole file of JSON.
    ///
    /// # Errors
    /// As [`DeviceFolder::write`].
    pub fn write_json(
        &self,
        place: Place<'_>,
        name: &str,
        value: &impl Serialize,
        expect: Expect<'_>,
        steps: &WriteSteps,
    ) -> Result<Written, StoreError> {
        let json = serde_json::to_vec(value)
            .map_err(|e| StoreError::io("encode", self.path(place, name), e.into()))?;
        self.write(place, name, &json.into(), expect, steps)
    }

    /// What is known of a file and its first bytes, unless it has the tag `unless`.
    pub(super) fn fetch(
        &self,
        place: Place<'_>,
        name: &str,
        at_most_bytes: u64,
        unless: Option<&str>,
    ) -> Result<Fetched, StoreError> {
        self.backend.fetch(&self.path(place, name), at_most_bytes, unless)
    }

    /// Some bytes of a file, fewer if it ends before them.
    ///
    /// # Errors
    /// [`StoreError`] if there is no such file, or it cannot be read.
    pub fn read_range(
        &self,
        place: Place<'_>,
        name: &str,
        range: Range<u64>,
    ) -> Result<Bytes, StoreError> {
        self.at(place).read_range(&self.path(place, name), range)
    }

    /// What is known of a file without reading it; none if there is no such file.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be asked for.
    pub fn about(&self, place: Place<'_>, name: &str) -> Result<Option<About>, StoreError> {
        self.at(place).about(&self.path(place, name))
    }

    /// What a folder holds, in no order; nothing if there is no such folder.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be listed.
    pub fn list(&self, place: Place<'_>) -> Result<Vec<Listed>, StoreError> {
        self.at(place).list(&place.folder(&self.key))
    }

    /// Removes a file; whether there was one. Not durably: it may come back after a power cut.
    ///
    /// # Errors
    /// [`StoreError`] if it is there and stays.
    pub fn remove(&self, place: Place<'_>, name: &str) -> Result<bool, StoreError> {
        self.at(place).remove(&self.path(place, name))
    }

    /// Removes files, in a bucket many with one request. Whether there was one, of each; in a
    /// bucket, which does not tell, as if there was. Not durably.
    ///
    /// # Errors
    /// [`StoreError`] if one is there and stays; others may be gone.
    pub fn remove_all(&self, place: Place<'_>, names: &[String]) -> Result<Vec<bool>, StoreError> {
        let paths: Vec<_> = names.iter().map(|name| self.path(place, name)).collect();
        self.at(place).remove_all(&paths)
    }

    /// Removes a folder that has become empty.
    ///
    /// # Errors
    /// [`StoreError`] if it is there and stays.
    pub fn remove_folder(&self, place: Place<'_>) -> Result<(), StoreError> {
        self.at(place).remove_folder(&place.folder(&self.key))
    }

    /// Gives a file a second name in another place, which is not that of the frames, without
    /// reading it; durable after [`DeviceFolder::sync`]. Whether there was such a file.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be done.
    pub fn copy(&self, from: Place<'_>, to: Place<'_>, name: &str) -> Result<bool, StoreError> {
        self.backend.copy(&self.path(from, name), &self.path(to, name))
    }

    /// Makes the names in a folder durable.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be done.
    pub fn sync(&self, place: Place<'_>) -> Result<(), StoreError> {
        self.at(place).sync(&place.folder(&self.key))
    }

    /// Removes what writes that a crash interrupted have left: a commit's while the device is
    /// locked, the upkeep's while that is.
    pub(super) fn clear_temporaries(&self, of_commits: bool) -> Result<(), StoreError> {
        for listed in self.list(Place::Temporary)? {
            if layout::is_of_a_commit(&listed.name) == of_commits {
                self.remove(Place::Temporary, &listed.name)?;
            }
        }
        Ok(())
    }

    /// Removes what archiving and cleaning up have left in the middle of a write. Only with
    /// [`DeviceFolder::try_upkeep`]'s lock.
    ///
    /// # Errors
    /// [`StoreError`] if that fails.
    pub fn clear_upkeep_temporaries(&self) -> Result<(), StoreError> {
        self.clear_temporaries(false)
    }

    /// The stored state, none before the first commit. Takes no lock and mends nothing.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] if there is one that cannot be trusted.
    pub fn state(&self) -> Result<Option<DeviceState>, StoreError> {
        Ok(self.stored_state()?.map(|(state, _)| state))
    }

    /// The stored state and its version.
    pub(super) fn stored_state(&self) -> Result<Option<(DeviceState, Stored)>, StoreError> {
        let Some((state, stored)) = self.read_json::<DeviceState>(Place::Hls, STATE_FILE)? else {
            return Ok(None);
        };
        if state.format != STATE_FORMAT {
            let detail = format!("has format {}; this program reads {STATE_FORMAT}", state.format);
            return Err(StoreError::Unreadable { path: self.path(Place::Hls, STATE_FILE), detail });
        }
        if let Some(detail) = state.contradiction() {
            return Err(StoreError::Unreadable { path: self.path(Place::Hls, STATE_FILE), detail });
        }
        Ok(Some((state, stored)))
    }

    /// The live window that a state says is published: the playlist's, or one made from the
    /// records where that is another. Takes no lock and mends nothing.
    ///
    /// # Errors
    /// [`StoreError`] if neither can be read.
    pub fn window(&self, state: &DeviceState) -> Result<Window, StoreError> {
        Ok(replace::current_window(self, state)?.window)
    }

    /// The records of the segments from number `from` on, the state's own included, oldest
    /// first: reads the history files that hold them, and no others. Those that were cleaned up
    /// are not among them.
    ///
    /// # Errors
    /// [`StoreError`] if a history file cannot be read or is not one.
    pub fn records(
        &self,
        state: &DeviceState,
        from: u64,
    ) -> Result<Vec<SegmentRecord>, StoreError> {
        history::records(self, state, from)
    }

    /// The history files whose records are no longer in the state, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be listed.
    pub fn history_files(&self, state: &DeviceState) -> Result<Vec<HistoryName>, StoreError> {
        history::list(self, state.first_recent())
    }

    /// What the live playlist lists; none while the one that is there is not what `state` says
    /// was published: a commit is under way, or was interrupted, or somebody edited it.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub fn published_window(&self, state: &DeviceState) -> Result<Option<Window>, StoreError> {
        let file = self.read(Place::Hls, PLAYLIST_FILE)?;
        if state.published.sha256.is_empty() {
            return Ok(file.is_none().then(|| plan::empty_window(state)));
        }
        Ok(plan::window_in_step(state, file.as_ref().map(|file| &file.bytes[..])))
    }

    /// A file's path below the base path, for errors.
    pub fn path(&self, place: Place<'_>, name: &str) -> String {
        format!("{}/{name}", place.folder(&self.key))
    }
}
