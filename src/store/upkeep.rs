//! What else changes a device's state than a commit of segments: its session is ended, its
//! window is trimmed while nothing comes, its stream is begun anew. Each is a commit of its own:
//! a worker that knows the state as it was finds it changed, and reads it again.

use std::time::Duration;

use super::device::DeviceFolder;
use super::layout::{PLAYLIST_FILE, Place, STATE_FILE};
use super::replace::{Base, current_window, overtaken};
use super::{DeviceState, OpenSession, Store, StoreError, plan, steps};
use crate::model::{DeviceKey, SessionId, UtcMillis};
use crate::playlist::Window;

/// Beyond every count of commits.
const FIRST_DRAWN_GENERATION: u64 = 1 << 40;

impl Store {
    /// Ends the session `id` of a device, if it is still in it and nothing was committed since
    /// `unchanged_since`. Whether it was ended now.
    ///
    /// # Errors
    /// [`StoreError`]; [`StoreError::Overtaken`] if a commit came in between.
    pub async fn end_session(
        &self,
        key: &DeviceKey,
        id: &SessionId,
        unchanged_since: UtcMillis,
    ) -> Result<bool, StoreError> {
        let id = id.clone();
        let ended = self.change(key, move |state, _| {
            let is_over = |session: &OpenSession| {
                session.id == id && session.last_frame_at <= unchanged_since
            };
            state.session.take_if(|session| is_over(session)).is_some()
        });
        ended.await
    }

    /// Takes the segments that were committed more than `retention` before `now` out of a
    /// device's live playlist, as a commit would, and those before number `keep_from` as well;
    /// the rules of a live playlist keep some. Whether any went.
    ///
    /// # Errors
    /// [`StoreError`]; [`StoreError::Overtaken`] if a commit came in between.
    pub async fn trim_window(
        &self,
        key: &DeviceKey,
        now: UtcMillis,
        retention: Duration,
        keep_from: u64,
    ) -> Result<bool, StoreError> {
        self.change(key, move |_, window| {
            window.trim(now, retention) + window.trim_before(keep_from) > 0
        })
        .await
    }

    /// Begins a device's stream anew: no segments, no session, nothing known of its frames. The
    /// numbers go on, so that no player sees them step back and no file's name is used twice.
    /// The files that the stream had are nobody's then. `at_least` is the least number of the
    /// next segment: where the state is lost, files alone tell which numbers were used.
    ///
    /// # Errors
    /// [`StoreError`]; [`StoreError::Overtaken`] if a commit came in between.
    pub async fn reset_stream(
        &self,
        key: &DeviceKey,
        target_duration_secs: u32,
        at_least: u64,
    ) -> Result<(), StoreError> {
        let key = key.clone();
        self.blocking(move |inner| {
            let folder = inner.device(&key);
            folder.prepare()?;
            let _lock = folder.lock(inner.settings.lock_wait)?;
            folder.clear_temporaries(true)?;
            reset(&folder, target_duration_secs, at_least)
        })
        .await
    }

    /// Changes a device's state and window, if it has any; nothing is written if `change` says
    /// that it changed nothing.
    async fn change(
        &self,
        key: &DeviceKey,
        change: impl FnOnce(&mut DeviceState, &mut Window) -> bool + Send + 'static,
    ) -> Result<bool, StoreError> {
        let key = key.clone();
        self.blocking(move |inner| {
            let folder = inner.device(&key);
            let Some(_) = folder.state()? else { return Ok(false) };
            let _lock = folder.lock(inner.settings.lock_wait)?;
            let Some((state, file)) = folder.stored_state()? else { return Ok(false) };
            let base = Base::of(state, file);
            let shown = current_window(&folder, &base.state)?;
            let mut next = base.state.clone();
            let mut window = shown.window.clone();
            if !change(&mut next, &mut window) {
                return Ok(false);
            }
            let playlist = plan::playlist_of(&window);
            next.generation = next.generation.saturating_add(1);
            next.published = plan::published(&window, playlist.as_deref());
            base.replace(&folder, &next, &steps::CHANGE_STATE)
                .map_err(|e| overtaken(e, &folder))?;
            if !shown.in_step || window != shown.window {
                shown.publish(&folder, playlist.as_deref(), &steps::CHANGE_PLAYLIST)?;
            }
            Ok(true)
        })
        .await
    }
}

fn reset(
    folder: &DeviceFolder,
    target_duration_secs: u32,
    at_least: u64,
) -> Result<(), StoreError> {
    let base = match folder.stored_state() {
        Ok(Some((state, file))) => Base::of(state, file),
        // What cannot be read is what a reset is for.
        Ok(None) | Err(StoreError::Unreadable { .. }) => {
            let lost = in_place_of_a_lost_state(folder, target_duration_secs, at_least)?;
            Base::in_place_of(lost, folder.read(Place::Hls, STATE_FILE)?)
        }
        Err(error) => return Err(error),
    };
    let state = &base.state;
    let next = DeviceState {
        generation: state.generation.saturating_add(1),
        ..DeviceState::new(
            target_duration_secs,
            state.next_segment.max(at_least),
            // The new stream does not continue the old one, and its first segment says nothing
            // of it.
            discontinuities_before(folder, state)?.saturating_add(1),
        )
    };
    base.replace(folder, &next, &steps::RESET_STATE).map_err(|e| overtaken(e, folder))?;
    // Before any file that it lists.
    folder.remove(Place::Hls, PLAYLIST_FILE)?;
    Ok(())
}

/// What is left of a lost state: the numbers of its playlist, and a generation that no worker
/// can know.
fn in_place_of_a_lost_state(
    folder: &DeviceFolder,
    target_duration_secs: u32,
    at_least: u64,
) -> Result<DeviceState, StoreError> {
    let playlist = folder.read(Place::Hls, PLAYLIST_FILE)?.map(|file| file.bytes);
    let text = String::from_utf8_lossy(playlist.as_deref().unwrap_or_default());
    let (next_segment, discontinuities) = plan::numbers_after(&text);
    let generation = FIRST_DRAWN_GENERATION.saturating_add(rand::random::<u32>().into());
    let next_segment = next_segment.max(at_least);
    let state = DeviceState::new(target_duration_secs, next_segment, discontinuities);
    Ok(DeviceState { generation, ..state })
}

/// How many discontinuities a stream has had.
fn discontinuities_before(folder: &DeviceFolder, state: &DeviceState) -> Result<u64, StoreError> {
    let published = &state.published;
    match current_window(folder, state) {
        Ok(shown) => {
            let listed = shown.window.entries.iter().filter(|entry| entry.discontinuity).count();
            Ok(shown.window.discontinuity_sequence.saturating_add(listed as u64))
        }
        // Not fewer than there can have been: the sequence must not step back.
        Err(StoreError::Unreadable { .. }) => {
            let listed = state.next_segment.saturating_sub(published.media_sequence);
            Ok(published.discontinuity_sequence.saturating_add(listed))
        }
        Err(error) => Err(error),
    }
}
