//! Replacing a device's state and playlist, and the media that goes with them, so that of two
//! writers one wins and the other has changed nothing that a state names.

use super::backend::{Expect, Stored, Written};
use super::device::DeviceFolder;
use super::layout::{PLAYLIST_FILE, Place, STATE_FILE};
use super::plan::{self, PlannedFile};
use super::steps::WriteSteps;
use super::{CommitError, DeviceState, StoreError, history, steps};
use crate::playlist::Window;

/// How often a media file's name is fought for before the commit is tried again later.
const MEDIA_TRIES: usize = 5;

/// The state that a commit goes on, and its file.
pub(super) struct Base {
    pub state: DeviceState,
    file: Option<Stored>,
}

impl Base {
    /// The stored state; `otherwise` before the first commit.
    pub fn read(folder: &DeviceFolder, otherwise: DeviceState) -> Result<Self, StoreError> {
        Ok(match folder.stored_state()? {
            Some((state, file)) => Self { state, file: Some(file) },
            None => Self { state: DeviceState { generation: 0, ..otherwise }, file: None },
        })
    }

    /// A state and the file that it was read from.
    pub fn of(state: DeviceState, file: Stored) -> Self {
        Self { state, file: Some(file) }
    }

    /// A state in the place of none, or of one that cannot be read.
    pub fn in_place_of(state: DeviceState, file: Option<Stored>) -> Self {
        Self { state, file }
    }

    /// Refuses to go on if another has committed since `known`.
    pub fn check(&self, known: u64) -> Result<(), CommitError> {
        let stored = self.state.generation;
        if stored == known { Ok(()) } else { Err(CommitError::Fenced { ours: known, stored }) }
    }

    /// Stores `next` in its place; refuses if another has committed since.
    pub fn replace(
        &self,
        folder: &DeviceFolder,
        next: &DeviceState,
        steps: &WriteSteps,
    ) -> Result<(), CommitError> {
        let expect = Expect::unchanged(self.file.as_ref());
        match folder.write_json(Place::Hls, STATE_FILE, next, expect, steps)? {
            Written::Done => Ok(()),
            Written::Conflict => {
                let stored = Self::read(folder, self.state.clone())?.state.generation;
                Err(CommitError::Fenced { ours: self.state.generation, stored })
            }
        }
    }

    /// Makes every other worker that knows this state find it changed, and nothing else.
    fn claim(&mut self, folder: &DeviceFolder) -> Result<(), CommitError> {
        let generation = self.state.generation.saturating_add(1);
        let claimed = DeviceState { generation, ..self.state.clone() };
        self.replace(folder, &claimed, &steps::CLAIM)?;
        self.state = claimed;
        Ok(())
    }
}

/// What a fenced change is called where no worker is fenced.
pub(super) fn overtaken(error: CommitError, folder: &DeviceFolder) -> StoreError {
    match error {
        CommitError::Store(error) => error,
        _ => StoreError::Overtaken { path: folder.path(Place::Hls, STATE_FILE) },
    }
}

/// Writes a media or init file. On a file system nothing that a state names can be there. In a
/// bucket there is no lock, and the name may be taken: by what a crash has left, or by another
/// worker that believes it owns the device. The file is then replaced only as it was seen
/// *before* the state was found to be still claimed by us. So what a stored state names is never
/// replaced: its writer put it there after such a look, and every other writer's look is either
/// older, and does not fit the file any more, or younger, and finds the claim gone.
pub(super) fn write_media(
    folder: &DeviceFolder,
    base: &mut Base,
    file: &PlannedFile,
) -> Result<(), CommitError> {
    let write = |expect: Expect<'_>| {
        let steps = if file.is_init { &steps::INIT } else { &steps::SEGMENT };
        folder.write(Place::Segments, &file.name, &file.bytes, expect, steps)
    };
    // An init file's name is that of its content.
    if write(Expect::Absent)? == Written::Done || file.is_init {
        return Ok(());
    }
    base.claim(folder)?;
    for _ in 0..MEDIA_TRIES {
        let found = folder.read(Place::Segments, &file.name)?;
        let claimed = base.state.generation;
        *base = Base::read(folder, base.state.clone())?;
        base.check(claimed)?;
        if write(Expect::unchanged(found.as_ref()))? == Written::Done {
            return Ok(());
        }
    }
    Err(StoreError::Overtaken { path: folder.path(Place::Segments, &file.name) }.into())
}

/// The window that a state says is published, and what is there of it.
pub(super) struct Shown {
    pub window: Window,
    /// Whether the playlist that is there is it.
    pub in_step: bool,
    /// The playlist that is there.
    file: Option<Stored>,
}

impl Shown {
    /// Writes the playlist in the place of the one that was seen; none: there is to be none.
    pub fn publish(
        &self,
        folder: &DeviceFolder,
        playlist: Option<&str>,
        steps: &WriteSteps,
    ) -> Result<(), StoreError> {
        let Some(playlist) = playlist else {
            return folder.remove(Place::Hls, PLAYLIST_FILE).map(|_| ());
        };
        let bytes = playlist.as_bytes().to_vec().into();
        let expect = Expect::unchanged(self.file.as_ref());
        match folder.write(Place::Hls, PLAYLIST_FILE, &bytes, expect, steps)? {
            Written::Done => Ok(()),
            Written::Conflict => {
                Err(StoreError::Overtaken { path: folder.path(Place::Hls, PLAYLIST_FILE) })
            }
        }
    }
}

/// The window that the state says is published.
pub(super) fn current_window(
    folder: &DeviceFolder,
    state: &DeviceState,
) -> Result<Shown, StoreError> {
    let file = folder.read(Place::Hls, PLAYLIST_FILE)?;
    let text = file.as_ref().map(|file| &file.bytes[..]);
    if state.published.sha256.is_empty() {
        // There is none yet; another program's stays until the first segment.
        let in_step = file.is_none() || state.generation == 0;
        return Ok(Shown { window: plan::empty_window(state), in_step, file });
    }
    if let Some(window) = plan::window_in_step(state, text) {
        return Ok(Shown { window, in_step: true, file });
    }
    let window = match plan::window_one_behind(state, text) {
        Some(window) => window,
        None => plan::rebuild(state, &history::records(folder, state, plan::rebuild_from(state))?),
    };
    Ok(Shown { window, in_step: false, file })
}
