//! What is known of each device, as the pipeline tells it, or as the offline checker finds it in
//! the storage. Bounded, and never waits.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::health::Known;
use crate::encode::EncodeOutcome;
use crate::model::{ClaimedIds, Clock, DeviceKey, UtcMillis};
use crate::pipeline::accumulator::HeldFrame;
use crate::pipeline::ports::{Committed, Observer};
use crate::pipeline::worker::{Gauge, WorkerGauges};
use crate::session::Witness;
use crate::source::{Refusal, SourceHealth};
use crate::store::DeviceState;

/// The most devices that one worker remembers.
const MAX_DEVICES: usize = 25_000;
/// After how long a silent device is no longer told of.
const FORGET_AFTER: Duration = Duration::from_secs(86_400);

/// The numbers of all devices of a worker.
pub struct Board {
    clock: Arc<dyn Clock>,
    devices: Mutex<HashMap<DeviceKey, Known>>,
}

impl Board {
    /// One that knows no device yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, devices: Mutex::default() }
    }

    /// Shows every device to `see`, and forgets those that have been silent for a day.
    pub fn each(&self, mut see: impl FnMut(&DeviceKey, &Known)) {
        let now = self.clock.now();
        let mut devices = self.lock();
        devices.retain(|_, known| now.since(known.received_at) <= FORGET_AFTER);
        devices.iter().for_each(|(key, known)| see(key, known));
    }

    /// How a device is, from whoever knows: the pipeline, or a simulation.
    pub fn update(&self, device: &DeviceKey, change: impl FnOnce(&mut Known)) {
        let now = self.clock.now();
        let mut devices = self.lock();
        if let Some(known) = devices.get_mut(device) {
            change(known);
        } else if devices.len() < MAX_DEVICES {
            change(devices.entry(device.clone()).or_insert_with(|| Known::new(now)));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<DeviceKey, Known>> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Board {
    fn encoded(&self, _: &EncodeOutcome, _: Duration) {}

    fn committed(&self, device: &DeviceKey, commit: &Committed<'_>) {
        let state = commit.state;
        self.update(device, |known| {
            known.committed_until = state.last_captured_at;
            known.last_segment = state.next_segment.checked_sub(1);
            known.segments = state.next_segment.saturating_sub(state.published.media_sequence);
            known.trouble = None;
            known.refusal = None;
        });
    }

    fn duplicate(&self, _: &DeviceKey, _: &HeldFrame) {}

    fn refused(&self, device: &DeviceKey, _: &HeldFrame, refusal: &Refusal) {
        self.update(device, |known| known.refusal = Some((refusal.reason, refusal.to_string())));
    }

    fn trouble(
        &self,
        device: &DeviceKey,
        reason: &'static str,
        trouble: &(dyn Error + 'static),
        _: Duration,
    ) {
        // Normal when devices move between workers.
        if reason != "fenced" {
            self.update(device, |known| known.trouble = Some((reason, trouble.to_string())));
        }
    }
}

/// What the storage tells of a silent device: a worker that had it may be gone, and with it all
/// that it told.
impl Witness for Board {
    fn saw(&self, device: &DeviceKey, state: &DeviceState) {
        let newest = state.recent.last().filter(|_| state.session.is_none());
        let Some(newest) =
            newest.filter(|newest| self.clock.now().since(newest.committed_at) <= FORGET_AFTER)
        else {
            // It sends, which its worker tells, or it has been silent for too long.
            self.lock().remove(device);
            return;
        };
        self.update(device, |known| {
            *known = Known {
                captured_at: state.last_captured_at,
                committed_until: state.last_captured_at,
                last_segment: Some(newest.number),
                segments: state.next_segment.saturating_sub(state.published.media_sequence),
                ..Known::new(newest.committed_at)
            };
        });
    }
}

impl Gauge for Board {
    fn tick(&self, _: WorkerGauges, _: &SourceHealth, _: UtcMillis) {}

    fn received(&self, device: &DeviceKey, captured_at: UtcMillis) {
        let now = self.clock.now();
        self.update(device, |known| {
            known.received_at = now;
            known.captured_at = known.captured_at.max(Some(captured_at));
        });
    }

    fn deferred(&self) {}

    fn unreadable(&self, _: &ClaimedIds, _: &Refusal) {}

    // Its memory in the pipeline is given back; here it is offline.
    fn forgotten(&self, _: &[DeviceKey]) {}
}
