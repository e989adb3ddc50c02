//! Some devices whose segments a test commits, each as the worker that has it would.
#![allow(dead_code)] // Each test binary uses its own part of it.

use std::time::Duration;

use stream_processor::model::{DeviceKey, UtcMillis};
use stream_processor::session::SessionRules;
use stream_processor::store::{CommitError, DeviceState, Store};

use super::store_fixture::{commits_at, segment, timeline};

/// What sessions go by.
pub const RULES: SessionRules = SessionRules {
    offline_threshold: Duration::from_secs(60),
    commit_every: Duration::from_secs(45),
    max_duration: None,
};

pub fn device(name: &str) -> DeviceKey {
    DeviceKey::new("acme", name).unwrap()
}

/// Commits the next segment of a device, at a time of the test's choosing.
pub async fn commit_at(
    store: &Store,
    key: &DeviceKey,
    state: &DeviceState,
    at: UtcMillis,
) -> Result<DeviceState, CommitError> {
    let number = state.next_segment;
    let mut segments = vec![segment(number)];
    RULES.mark(state.session.as_ref(), &mut segments);
    store.commit(key, state, segments, timeline(number), at).await
}

/// Opens a device and commits segments, each when it has ended, until it has `until` of them.
pub async fn film(store: &Store, key: &DeviceKey, until: u64) -> DeviceState {
    let mut state = store.open(key).await.unwrap();
    while state.next_segment < until {
        let at = commits_at(state.next_segment);
        state = commit_at(store, key, &state, at).await.unwrap();
    }
    state
}

/// The stored state.
pub async fn stored(store: &Store, key: &DeviceKey) -> DeviceState {
    store.on_device(key, |folder| folder.state()).await.unwrap().unwrap()
}
