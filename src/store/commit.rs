//! Opening a device, and committing to it: the order of the durable steps.

use super::backend::{Expect, Listed, Written};
use super::device::DeviceFolder;
use super::layout::{HistoryName, PLAYLIST_FILE, Place, STATE_FILE};
use super::replace::{Base, current_window, write_media};
use super::{CommitError, DeviceState, Inner, NewSegment, Store, StoreError, plan, steps};
use crate::media::timeline::Timeline;
use crate::model::{DeviceKey, UtcMillis};
use crate::playlist::Window;

impl Store {
    /// What is stored of a device, after mending what a crash left: temporary files go, a
    /// playlist that is missing, cut, edited or behind the state is written again.
    ///
    /// On a file system the state is written anew: what another process has left may be in
    /// memory only (its last fsync may have failed), and frames are acknowledged on the
    /// strength of what is read here.
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
    let folder = inner.device(key);
    folder.prepare()?;
    let _lock = folder.lock(inner.settings.lock_wait)?;
    folder.clear_temporaries(true)?;
    let (mut state, file) = match folder.stored_state()? {
        Some(stored) => stored,
        None => match begin(&folder, inner.settings.target_duration_secs) {
            Ok(state) => return Ok(state),
            // Nothing locks a bucket: another worker may have begun it since the first look.
            Err(error) => folder.stored_state()?.ok_or(error)?,
        },
    };
    if state.target_duration_secs != inner.settings.target_duration_secs {
        tracing::info!(
            device = %key,
            stream_secs = state.target_duration_secs,
            settings_secs = inner.settings.target_duration_secs,
            "the stream keeps its target duration; a reset device begins with the new one"
        );
    }
    let in_bucket = inner.backend.reads_are_durable();
    if !in_bucket {
        // In a bucket such a file may be of a commit that is still under way.
        remove_unreferenced_history(&folder, &state)?;
    }
    let shown = current_window(&folder, &state)?;
    if !shown.in_step && in_bucket {
        // Nothing locks a bucket: the playlist may be that of a commit since the state was read,
        // and nothing is to be mended.
        let now = folder.stored_state()?;
        if now.is_none_or(|(_, now)| now.version != file.version) {
            return Err(StoreError::Overtaken { path: folder.path(Place::Hls, STATE_FILE) });
        }
    }
    let playlist = plan::playlist_of(&shown.window);
    let before = state.published.clone();
    if !shown.in_step {
        state.published = plan::published(&shown.window, playlist.as_deref());
        if before != state.published {
            tracing::warn!(
                device = %key,
                "the playlist was lost and could not be rebuilt as it was: records are missing"
            );
        }
    }
    if before != state.published || !in_bucket {
        let expect = Expect::Same(&file.version);
        let written =
            folder.write_json(Place::Hls, STATE_FILE, &state, expect, &steps::HEAL_STATE)?;
        if written == Written::Conflict {
            return Err(StoreError::Overtaken { path: folder.path(Place::Hls, STATE_FILE) });
        }
    }
    if !shown.in_step {
        tracing::info!(device = %key, next_segment = state.next_segment, "playlist mended");
        shown.publish(&folder, playlist.as_deref(), &steps::HEAL_PLAYLIST)?;
    }
    Ok(state)
}

/// The state of a device that has none. If another program wrote its playlist, the numbers go
/// on after it; if we wrote it, the state has been lost.
fn begin(folder: &DeviceFolder, target_duration_secs: u32) -> Result<DeviceState, StoreError> {
    let playlist = folder.read(Place::Hls, PLAYLIST_FILE)?;
    let playlist = playlist.as_ref().map(|file| String::from_utf8_lossy(&file.bytes));
    let playlist = playlist.unwrap_or_default();
    if Window::parse(&playlist).is_ok() || !folder.list(Place::History)?.is_empty() {
        let detail = "is missing, although the device has been committed to".into();
        return Err(StoreError::Unreadable { path: folder.path(Place::Hls, STATE_FILE), detail });
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
    let folder = inner.device(key);
    folder.prepare()?;
    let _lock = folder.lock(inner.settings.lock_wait)?;
    let known = ours.generation;
    let mut base = Base::read(&folder, ours)?;
    base.check(known)?;
    let shown = current_window(&folder, &base.state)?;
    let window = shown.window.clone();
    let retention = inner.settings.retention;
    let mut plan = plan::plan(&base.state, window, segments, timeline, now, retention)?;
    for file in &plan.files {
        write_media(&folder, &mut base, file)?;
    }
    if let Some((name, records)) = &plan.history {
        // Whoever else writes this name writes the same records: they are in the state.
        let (name, any) = (name.file_name(), Expect::Anything);
        let _ = folder.write_json(Place::History, &name, records, any, &steps::HISTORY)?;
    }
    plan.state.generation = base.state.generation.saturating_add(1);
    base.replace(&folder, &plan.state, &steps::STATE)?;
    shown.publish(&folder, Some(&plan.playlist), &steps::PLAYLIST)?;
    Ok(plan.state)
}

/// A crash between a history file and the state leaves a file whose records are still in the
/// state; the next one would overlap it.
fn remove_unreferenced_history(
    folder: &DeviceFolder,
    state: &DeviceState,
) -> Result<(), StoreError> {
    for Listed { name, .. } in folder.list(Place::History)? {
        if HistoryName::parse(&name).is_some_and(|name| name.last >= state.first_recent()) {
            folder.remove(Place::History, &name)?;
        }
    }
    Ok(())
}
