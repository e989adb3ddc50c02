//! Which devices a storage has and how each is, from the storage alone: no broker, no worker.
//!
//! | file | owns |
//! |---|---|
//! | `schedule` | when a device is looked at next, and who comes first (pure) |
//! | `known` | what is known of one device (pure) |
//!
//! Ten thousand devices are not looked at all the time. The folders are listed now and then;
//! each device's state is asked for when it may have changed: often while somebody looks at the
//! device, less often while it is live, rarely when it has been silent for long, and never more
//! of them a second than is allowed. A state that has not changed is not read again.
//!
//! Architecture invariant: reads lists and states, never media; changes nothing.

mod known;
mod schedule;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{StreamExt, stream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::http::page::{DeviceDirectory, DeviceView};
use crate::http::{Condition, Health, Part};
use crate::model::{Clock, DeviceKey, UtcMillis};
use crate::store::{Fetched, Store, StoreError, StreamFile};
use known::Known;

/// How often it is asked who is due.
const TURN: Duration = Duration::from_millis(250);

/// How long the pause is between two listings of the folders.
const LIST_EVERY: Duration = Duration::from_secs(30);

/// How many devices are looked at at the same time.
const LOOKS_AT_ONCE: usize = 16;

/// How old what the page is told may be: it is made anew for all pages at once.
const VIEW_FRESH_FOR: Duration = Duration::from_millis(500);

/// A larger state is none of ours.
const MAX_STATE_BYTES: u64 = 4 << 20;

/// What the fleet goes by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FleetSettings {
    /// How many devices are looked at per second at most.
    pub looks_per_second: u32,
    /// After how long without a commit a camera counts as gone.
    pub offline_after: Duration,
}

/// The devices of a storage. Cheap to clone.
#[derive(Clone)]
pub struct Fleet(Arc<Inner>);

struct Inner {
    store: Store,
    clock: Arc<dyn Clock>,
    settings: FleetSettings,
    devices: Mutex<BTreeMap<DeviceKey, Known>>,
    view: Mutex<Option<(Instant, Arc<Vec<DeviceView>>)>>,
}

impl Fleet {
    /// Knows no device yet.
    pub fn new(store: Store, clock: Arc<dyn Clock>, settings: FleetSettings) -> Self {
        Self(Arc::new(Inner {
            store,
            clock,
            settings,
            devices: Mutex::default(),
            view: Mutex::default(),
        }))
    }

    /// Lists the devices anew.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be listed; what was known stays.
    pub async fn list(&self) -> Result<(), StoreError> {
        let keys = self.0.store.devices().await?;
        let mut devices = self.devices_now();
        let mut before = std::mem::take(&mut *devices);
        *devices = keys
            .into_iter()
            .map(|key| {
                let known = before.remove(&key).unwrap_or_default();
                (key, known)
            })
            .collect();
        Ok(())
    }

    /// Looks at the devices that are due, at most `most` of them; how many were.
    pub async fn look(&self, most: usize) -> usize {
        let due = {
            let devices = self.devices_now();
            schedule::due(&devices, self.0.clock.now(), most)
        };
        let count = due.len();
        stream::iter(due)
            .for_each_concurrent(LOOKS_AT_ONCE, |(key, tag)| self.look_at(key, tag))
            .await;
        count
    }

    async fn look_at(&self, key: DeviceKey, tag: Option<String>) {
        let fetched = self.0.store.fetch(&key, StreamFile::State, MAX_STATE_BYTES, tag).await;
        let now = self.0.clock.now();
        let offline_after = self.0.settings.offline_after;
        let mut devices = self.devices_now();
        let Some(known) = devices.get_mut(&key) else { return };
        match fetched {
            Ok(Fetched::Absent) => known.is_absent(now, offline_after),
            Ok(Fetched::Unchanged) => known.is_unchanged(now, offline_after),
            Ok(Fetched::Read(about, bytes)) => known.has(about.tag, &bytes, now, offline_after),
            Err(error) => known.has_failed(&error, now),
        }
    }

    /// Keeps what is known up to date until `stop`, and tells `health` how that goes.
    pub async fn follow(self, health: Health, stop: CancellationToken) {
        let listing = tokio::spawn(self.clone().keep_listed(health.clone(), stop.clone()));
        let mut budget = schedule::Budget::new(self.0.settings.looks_per_second);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(TURN) => {}
            }
            let most = budget.allowed(Instant::now());
            budget.spend(self.look(most).await);
            health.beat();
        }
        listing.abort();
    }

    async fn keep_listed(self, health: Health, stop: CancellationToken) {
        let mut is_failing = false;
        while !stop.is_cancelled() {
            match self.list().await {
                Ok(()) => {
                    is_failing = false;
                    health.set(Part::Storage, Condition::Ready);
                }
                Err(error) => {
                    if !is_failing {
                        tracing::warn!(%error, "the devices cannot be listed; it is tried again");
                    }
                    is_failing = true;
                    health.set(Part::Storage, Condition::NotReady(error.to_string()));
                }
            }
            tokio::time::sleep(LIST_EVERY).await;
        }
    }

    fn devices_now(&self) -> MutexGuard<'_, BTreeMap<DeviceKey, Known>> {
        self.0.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DeviceDirectory for Fleet {
    fn devices(&self) -> Arc<Vec<DeviceView>> {
        let mut view = self.0.view.lock().unwrap_or_else(PoisonError::into_inner);
        match view.as_ref() {
            Some((made_at, view)) if made_at.elapsed() < VIEW_FRESH_FOR => view.clone(),
            _ => {
                let devices = self.devices_now();
                let made = devices.iter().map(|(key, known)| known.view(key)).collect();
                let made = Arc::new(made);
                *view = Some((Instant::now(), Arc::clone(&made)));
                made
            }
        }
    }

    fn shown(&self, shown: &[&DeviceView]) {
        let now = self.0.clock.now();
        let mut devices = self.devices_now();
        for view in shown {
            if let Some(known) = devices.get_mut(&view.key) {
                known.is_shown(now);
            }
        }
    }

    fn now(&self) -> UtcMillis {
        self.0.clock.now()
    }
}

#[cfg(test)]
mod tests;
