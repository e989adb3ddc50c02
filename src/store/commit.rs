//! Opening a device, and committing to it: the order of the durable steps.

use super::durable::DeviceFolder;
use super::layout::{HISTORY_FOLDER, HistoryName, PLAYLIST_FILE, SEGMENTS_FOLDER, STATE_FILE};
use super::plan::{self, Plan};
use super::{
    CommitError, DeviceState, Inner, NewSegment, STATE_FORMAT, Store, StoreError, history, steps,
};
use crate::media::timeline::Timeline;
use crate::model::{DeviceKey, UtcMillis};
use crate::playlist::Window;

/// The folder of the state and the playlist, seen from the device's `hls` folder.
const HERE: &str = ".";

impl Store {
    /// What is stored of a device, after mending what a crash left: temporary files go, a
    /// playlist that is missing, cut, edited or behind the state is written again.
    ///
    /// The state is written anew: what another process has left may be in memory only (its last
    /// fsync may have failed), and frames are acknowledged on the strength of what is read here.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] if the state cannot be trusted; the rest as it says.
    pub async fn open(&self, key: &DeviceKey) -> Result<DeviceState, StoreError> {
        let key = key.clone();
        self.blocking(move |inner| open(inner, &key)).await
    }

    /// Makes `segments` the device's newest: when this returns, their files, the state and the
    /// playlist are durable, in this order. `timeline` is where media time stands after them,
    /// `now` the commit time that retention goes by. No segments: nothing is done.
    ///
    /// If the caller stops waiting, the commit still happens; the next one is then fenced.
    ///
    /// # Errors
    /// [`CommitError::Fenced`] and [`CommitError::Refused`] have changed nothing. After any
    /// error, call [`Store::open`] before the next commit: the frames may be committed.
    pub async fn commit(
        &self,
        key: &DeviceKey,
        state: &DeviceState,
        segments: Vec<NewSegment>,
        timeline: Option<Timeline>,
        now: UtcMillis,
    ) -> Result<DeviceState, CommitError> {
        if segments.is_empty() {
            return Ok(state.clone());
        }
        let (key, state) = (key.clone(), state.clone());
        self.blocking(move |inner| commit(inner, &key, state, segments, timeline, now)).await
    }
}

fn open(inner: &Inner, key: &DeviceKey) -> Result<DeviceState, StoreError> {
    let folder = DeviceFolder::create(&inner.base, key)?;
    let _lock = folder.lock(inner.settings.lock_wait)?;
    folder.clear_temporaries()?;
    let Some(mut state) = read_state(&folder)? else {
        return begin(&folder, inner.settings.target_duration_secs);
    };
    if state.target_duration_secs != inner.settings.target_duration_secs {
        tracing::info!(
            device = %key,
            stream_secs = state.target_duration_secs,
            settings_secs = inner.settings.target_duration_secs,
            "the stream keeps its target duration; a reset device begins with the new one"
        );
    }
    remove_unreferenced_history(&folder, &state)?;
    let (window, in_step) = current_window(&folder, &state)?;
    let playlist = window.render();
    if !in_step {
        let published = plan::published(&window, &playlist);
        if published != state.published {
            tracing::warn!(
                device = %key,
                "the playlist was lost and could not be rebuilt as it was: records are missing"
            );
            state.published = published;
        }
    }
    folder.write(HERE, STATE_FILE, &state_json(&folder, &state)?, &steps::HEAL_STATE)?;
    if !in_step {
        tracing::info!(device = %key, next_segment = state.next_segment, "playlist mended");
        folder.write(HERE, PLAYLIST_FILE, playlist.as_bytes(), &steps::HEAL_PLAYLIST)?;
    }
    Ok(state)
}

/// The state of a device that has none. If another program wrote its playlist, the numbers go
/// on after it; if we wrote it, the state has been lost.
fn begin(folder: &DeviceFolder, target_duration_secs: u32) -> Result<DeviceState, StoreError> {
    let playlist = folder.read(PLAYLIST_FILE)?;
    let playlist = playlist.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
    if Window::parse(&playlist).is_ok() || !folder.list(HISTORY_FOLDER)?.is_empty() {
        let detail = "is missing, although the device has been committed to".into();
        return Err(StoreError::Unreadable { path: folder.path(STATE_FILE), detail });
    }
    let (next_segment, discontinuities) = plan::numbers_after(&playlist);
    Ok(DeviceState::new(target_duration_secs, next_segment, discontinuities))
}

fn commit(
    inner: &Inner,
    key: &DeviceKey,
    ours: DeviceState,
    segments: Vec<NewSegment>,
    timeline: Option<Timeline>,
    now: UtcMillis,
) -> Result<DeviceState, CommitError> {
    let folder = DeviceFolder::create(&inner.base, key)?;
    let _lock = folder.lock(inner.settings.lock_wait)?;
    let stored = read_state(&folder)?;
    let generation = stored.as_ref().map_or(0, |state| state.generation);
    if generation != ours.generation {
        return Err(CommitError::Fenced { ours: ours.generation, stored: generation });
    }
    let (stored, window) = match stored {
        Some(stored) => {
            let (window, _) = current_window(&folder, &stored)?;
            (stored, window)
        }
        None => {
            let window = plan::empty_window(&ours);
            (ours, window)
        }
    };
    let plan = plan::plan(&stored, window, segments, timeline, now, inner.settings.retention)?;
    write(&folder, plan).map_err(CommitError::from)
}

/// The durable steps, in their order.
fn write(folder: &DeviceFolder, plan: Plan) -> Result<DeviceState, StoreError> {
    for file in &plan.files {
        let steps = if file.is_init { &steps::INIT } else { &steps::SEGMENT };
        folder.write(SEGMENTS_FOLDER, &file.name, &file.bytes, steps)?;
    }
    if let Some((name, records)) = &plan.history {
        let name = name.file_name();
        let json = serde_json::to_vec(records)
            .map_err(|e| StoreError::io("encode", folder.path(&name), e.into()))?;
        folder.write(HISTORY_FOLDER, &name, &json, &steps::HISTORY)?;
    }
    let state = state_json(folder, &plan.state)?;
    folder.write(HERE, STATE_FILE, &state, &steps::STATE)?;
    folder.write(HERE, PLAYLIST_FILE, plan.playlist.as_bytes(), &steps::PLAYLIST)?;
    Ok(plan.state)
}

/// The stored state, none before the first commit.
pub(super) fn read_state(folder: &DeviceFolder) -> Result<Option<DeviceState>, StoreError> {
    let Some(bytes) = folder.read(STATE_FILE)? else { return Ok(None) };
    let unreadable = |detail| StoreError::Unreadable { path: folder.path(STATE_FILE), detail };
    let state: DeviceState = serde_json::from_slice(&bytes)
        .map_err(|e| unreadable(format!("is not a device's state: {e}")))?;
    if state.format != STATE_FORMAT {
        let detail = format!("has format {}; this program reads {STATE_FORMAT}", state.format);
        return Err(unreadable(detail));
    }
    Ok(Some(state))
}

fn state_json(folder: &DeviceFolder, state: &DeviceState) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(state)
        .map_err(|e| StoreError::io("encode", folder.path(STATE_FILE), e.into()))
}

/// The window that the state says is published, and whether the playlist on disk is it.
fn current_window(
    folder: &DeviceFolder,
    state: &DeviceState,
) -> Result<(Window, bool), StoreError> {
    let text = folder.read(PLAYLIST_FILE)?;
    if let Some(window) = plan::window_in_step(state, text.as_deref()) {
        return Ok((window, true));
    }
    if let Some(window) = plan::window_one_behind(state, text.as_deref()) {
        return Ok((window, false));
    }
    let records = history::records(folder, state, plan::rebuild_from(state))?;
    Ok((plan::rebuild(state, &records), false))
}

/// A crash between a history file and the state leaves a file whose records are still in the
/// state; the next one would overlap it.
fn remove_unreferenced_history(
    folder: &DeviceFolder,
    state: &DeviceState,
) -> Result<(), StoreError> {
    for name in folder.list(HISTORY_FOLDER)? {
        if HistoryName::parse(&name).is_some_and(|name| name.last >= state.first_recent()) {
            folder.remove(HISTORY_FOLDER, &name)?;
        }
    }
    Ok(())
}
