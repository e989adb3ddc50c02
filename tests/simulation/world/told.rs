//! Who is told of everything that a worker does: the trace.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use stream_processor::encode::EncodeOutcome;
use stream_processor::model::{ClaimedIds, DeviceKey, UtcMillis};
use stream_processor::pipeline::accumulator::HeldFrame;
use stream_processor::pipeline::ports::{Committed, Observer};
use stream_processor::pipeline::worker::{Gauge, WorkerGauges};
use stream_processor::source::{Refusal, SourceHealth};

use super::START;
use crate::process::Process;

/// Tells the world of one process.
pub struct Told(pub Arc<Process>);

impl Told {
    fn note(&self, what: &'static str, device: &DeviceKey, of: &str) {
        self.0.world.note(what, self.0.worker, &format!("{of} of {}", device.device));
    }
}

impl Observer for Told {
    fn encoded(&self, _: &EncodeOutcome, _: Duration) {}
    fn committed(&self, device: &DeviceKey, commit: &Committed<'_>) {
        let frames: Vec<_> = commit.frames.iter().map(|frame| frame.event_id.as_str()).collect();
        self.note("has committed", device, &frames.join(" "));
    }
    fn duplicate(&self, device: &DeviceKey, frame: &HeldFrame) {
        self.note("knows", device, frame.event_id.as_str());
    }
    fn refused(&self, device: &DeviceKey, frame: &HeldFrame, refusal: &Refusal) {
        self.note("refuses", device, &format!("{} as {}", frame.event_id, refusal.reason));
    }
    fn trouble(
        &self,
        device: &DeviceKey,
        reason: &'static str,
        _: &(dyn Error + 'static),
        _: Duration,
    ) {
        self.note("has trouble:", device, reason);
    }
}

impl Gauge for Told {
    fn tick(&self, _: WorkerGauges, _: &SourceHealth, _: UtcMillis) {}
    fn received(&self, device: &DeviceKey, captured_at: UtcMillis) {
        let taken = captured_at.millis_since(START);
        self.note("takes the frame", device, &format!("of {taken} ms"));
    }
    fn deferred(&self) {
        self.0.world.note("defers it", self.0.worker, "");
    }
    fn unreadable(&self, _: &ClaimedIds, refusal: &Refusal) {
        self.0.world.note("cannot read a message", self.0.worker, refusal.reason);
    }
    fn forgotten(&self, devices: &[DeviceKey]) {
        // In no order.
        self.0.world.note("forgets devices", self.0.worker, &devices.len().to_string());
    }
}
