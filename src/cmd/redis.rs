//! The mirror in Redis, for every command that tells it something.

use std::sync::Arc;

use super::CommandError;
use crate::config::RedisConfig;
use crate::http::{Condition, Health, Metrics, Part};
use crate::session::mirror::{MirrorSettings, MirrorWatcher, RedisTrouble, SessionMirror};
use crate::store::Store;

/// What the settings say of Redis; none if it is not to be told.
pub fn mirror_settings(config: &RedisConfig) -> Option<MirrorSettings> {
    let url = config.url.clone().filter(|_| config.enabled)?;
    Some(MirrorSettings { url, windows: config.playlist_enabled })
}

/// Starts to tell Redis, where the settings say so.
///
/// # Errors
/// A `REDIS_URL` that is not understood. A Redis that is away is waited for.
pub fn start_mirror(
    config: &RedisConfig,
    store: &Store,
    metrics: &Metrics,
    health: &Health,
) -> Result<Option<SessionMirror>, CommandError> {
    let Some(settings) = mirror_settings(config) else { return Ok(None) };
    let watcher = Watcher { metrics: metrics.clone(), health: health.clone() };
    SessionMirror::start(&settings, store.clone(), Arc::new(watcher))
        .map(Some)
        .map_err(|e| CommandError::because("Redis cannot be used", e))
}

/// Keeps the numbers, and what readiness says of it.
struct Watcher {
    metrics: Metrics,
    health: Health,
}

impl MirrorWatcher for Watcher {
    fn up(&self) {
        self.metrics.redis_up.set(1);
        self.health.set(Part::Redis, Condition::Ready);
    }

    fn down(&self, trouble: &RedisTrouble) {
        self.metrics.redis_up.set(0);
        self.metrics.redis_failure(trouble.reason);
        self.health.set(Part::Redis, Condition::DoesWithout(trouble.to_string()));
    }

    fn told(&self, devices: usize, waiting: usize) {
        self.metrics.redis_devices_told.inc_by(devices as u64);
        self.metrics.redis_devices_waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }
}
