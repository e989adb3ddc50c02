//! Several observers in the place of one, several gauges likewise, and Redis as an observer.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use super::accumulator::HeldFrame;
use super::ports::{Committed, Observer};
use super::worker::{Gauge, WorkerGauges};
use crate::encode::EncodeOutcome;
use crate::model::{ClaimedIds, DeviceKey, UtcMillis};
use crate::session::SessionMirror;
use crate::source::{Refusal, SourceHealth};

/// Tells each of them, in their order.
pub struct Observers(pub Vec<Arc<dyn Observer>>);

impl Observer for Observers {
    fn encoded(&self, outcome: &EncodeOutcome, took: Duration) {
        self.0.iter().for_each(|observer| observer.encoded(outcome, took));
    }

    fn committed(&self, device: &DeviceKey, commit: &Committed<'_>) {
        self.0.iter().for_each(|observer| observer.committed(device, commit));
    }

    fn duplicate(&self, device: &DeviceKey, frame: &HeldFrame) {
        self.0.iter().for_each(|observer| observer.duplicate(device, frame));
    }

    fn refused(&self, device: &DeviceKey, frame: &HeldFrame, refusal: &Refusal) {
        self.0.iter().for_each(|observer| observer.refused(device, frame, refusal));
    }

    fn trouble(
        &self,
        device: &DeviceKey,
        reason: &'static str,
        trouble: &(dyn Error + 'static),
        delay: Duration,
    ) {
        self.0.iter().for_each(|observer| observer.trouble(device, reason, trouble, delay));
    }
}

/// Shows each of them, in their order.
pub struct Gauges(pub Vec<Arc<dyn Gauge>>);

impl Gauge for Gauges {
    fn tick(&self, gauges: WorkerGauges, source: &SourceHealth, now: UtcMillis) {
        self.0.iter().for_each(|gauge| gauge.tick(gauges, source, now));
    }

    fn received(&self, device: &DeviceKey, captured_at: UtcMillis) {
        self.0.iter().for_each(|gauge| gauge.received(device, captured_at));
    }

    fn deferred(&self) {
        self.0.iter().for_each(|gauge| gauge.deferred());
    }

    fn unreadable(&self, ids: &ClaimedIds, refusal: &Refusal) {
        self.0.iter().for_each(|gauge| gauge.unreadable(ids, refusal));
    }

    fn forgotten(&self, devices: &[DeviceKey]) {
        self.0.iter().for_each(|gauge| gauge.forgotten(devices));
    }
}

/// Commits alone change what Redis is told.
impl Observer for SessionMirror {
    fn encoded(&self, _: &EncodeOutcome, _: Duration) {}

    fn committed(&self, device: &DeviceKey, commit: &Committed<'_>) {
        self.tell(device, commit.state);
    }

    fn duplicate(&self, _: &DeviceKey, _: &HeldFrame) {}

    fn refused(&self, _: &DeviceKey, _: &HeldFrame, _: &Refusal) {}

    fn trouble(&self, _: &DeviceKey, _: &'static str, _: &(dyn Error + 'static), _: Duration) {}
}
