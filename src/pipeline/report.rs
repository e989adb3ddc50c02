//! What happened, for people: metrics, the log and the board of devices.
//!
//! A bad frame is logged once, with its ids. Trouble of a device is logged when it begins,
//! when its reason changes and when it ends; in between only the metrics count it.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::accumulator::HeldFrame;
use super::ports::{Committed, Observer};
use super::worker::{Gauge, WorkerGauges};
use crate::encode::EncodeOutcome;
use crate::http::{Condition, Health, Metrics, Part};
use crate::model::{ClaimedIds, DeviceKey, UtcMillis};
use crate::source::{Refusal, SourceHealth};

/// What is known of one device.
#[derive(Clone, Debug, Default)]
pub struct DeviceSummary {
    /// When its newest frame was taken.
    pub last_captured_at: Option<UtcMillis>,
    /// The newest capture time that is in the playlist.
    pub committed_until: Option<UtcMillis>,
    /// Segments that its window lists.
    pub segments: u64,
    /// Frames refused since the worker started.
    pub frames_refused: u64,
    /// What keeps its frames from being committed now.
    pub trouble: Option<String>,
    /// Why its newest refused frame was refused, unless a commit came after it.
    pub refusal: Option<String>,
    trouble_reason: Option<&'static str>,
}

/// The worker's observer: keeps the numbers, writes the log, knows the devices.
#[derive(Debug)]
pub struct Reporter {
    metrics: Metrics,
    health: Health,
    devices: Mutex<HashMap<DeviceKey, DeviceSummary>>,
}

impl Reporter {
    /// One that knows no device yet.
    pub fn new(metrics: Metrics, health: Health) -> Self {
        Self { metrics, health, devices: Mutex::default() }
    }

    /// Every device that is known, by key.
    pub fn devices(&self) -> Vec<(DeviceKey, DeviceSummary)> {
        let mut all: Vec<_> =
            self.lock().iter().map(|(key, summary)| (key.clone(), summary.clone())).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<DeviceKey, DeviceSummary>> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update(&self, device: &DeviceKey, change: impl FnOnce(&mut DeviceSummary)) {
        change(self.lock().entry(device.clone()).or_default());
    }
}

impl Observer for Reporter {
    fn encoded(&self, outcome: &EncodeOutcome, took: Duration) {
        self.metrics.ffmpeg_duration_secs.observe(took.as_secs_f64());
        self.health.set(Part::Encoder, Condition::Ready);
        tracing::trace!(cpu_micros = outcome.cpu_micros, "encoded");
    }

    fn committed(&self, device: &DeviceKey, commit: &Committed<'_>) {
        let Committed { state, frames, segments, media_bytes, took, now } = *commit;
        self.metrics.segments_generated.inc_by(segments);
        self.metrics.segment_bytes.inc_by(media_bytes);
        self.metrics.commit_duration_secs.observe(took.as_secs_f64());
        self.metrics.frames_committed.inc_by(frames.len() as u64);
        for frame in frames {
            self.metrics.lag_secs.observe(now.since(frame.captured_at).as_secs_f64());
        }
        self.health.set(Part::Storage, Condition::Ready);
        self.update(device, |summary| {
            summary.committed_until = state.last_captured_at;
            summary.segments =
                state.next_segment.saturating_sub(state.published.media_sequence);
            summary.refusal = None;
            summary.trouble = None;
            if summary.trouble_reason.take().is_some() {
                tracing::info!(client = %device.client, device = %device.device, "mended: frames are committed again");
            }
        });
        tracing::debug!(client = %device.client, device = %device.device, segments,
            frames = frames.len(), next_segment = state.next_segment, "committed");
    }

    fn duplicate(&self, device: &DeviceKey, frame: &HeldFrame) {
        self.metrics.duplicate_frames.inc();
        tracing::debug!(client = %device.client, device = %device.device,
            event = %frame.event_id, "delivered again after its commit: dropped");
    }

    fn refused(&self, device: &DeviceKey, frame: &HeldFrame, refusal: &Refusal) {
        self.metrics.error(refusal.reason);
        self.metrics.dead_letters.inc();
        tracing::warn!(client = %device.client, device = %device.device, event = %frame.event_id,
            request = %frame.request_id, path = %frame.frame_path, error_type = refusal.reason,
            detail = %refusal.detail, "frame refused: it goes to the dead-letter topic");
        self.update(device, |summary| {
            summary.frames_refused += 1;
            summary.refusal = Some(refusal.to_string());
        });
    }

    fn trouble(
        &self,
        device: &DeviceKey,
        reason: &'static str,
        trouble: &(dyn Error + 'static),
        delay: Duration,
    ) {
        let failing = match reason {
            "storage" => Some(Part::Storage),
            "encoder" => Some(Part::Encoder),
            _ => None,
        };
        if let Some(part) = failing {
            self.health.set(part, Condition::NotReady(trouble.to_string()));
        }
        match reason {
            // Normal when devices move between workers.
            "fenced" => self.metrics.fenced_commits.inc(),
            _ => self.metrics.error(reason),
        }
        self.update(device, |summary| {
            if summary.trouble_reason != Some(reason) {
                tracing::warn!(client = %device.client, device = %device.device,
                    error_type = reason, %trouble, retry_millis = delay.as_millis(),
                    "frames cannot be committed now: they are kept and tried again");
            }
            summary.trouble_reason = Some(reason);
            summary.trouble = Some(trouble.to_string());
        });
    }
}

impl Gauge for Reporter {
    fn tick(&self, gauges: WorkerGauges, source: &SourceHealth, now: UtcMillis) {
        let metrics = &self.metrics;
        let set = |gauge: &prometheus::IntGauge, value: usize| {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        set(&metrics.queued_frames, gauges.frames_held);
        set(&metrics.active_devices, gauges.devices_active);
        set(&metrics.segments_waiting_live, gauges.live_waiting);
        set(&metrics.segments_waiting_backlog, gauges.backlog_waiting);
        metrics.show_source(source.lanes, source.lanes_connected, source.rebuilds);
        let age = gauges.oldest_open.map_or(Duration::ZERO, |opened| now.since(opened));
        metrics.oldest_held_frame_age_secs.set(age.as_secs_f64());
        self.health.beat();
        self.health.set(
            Part::Source,
            if source.is_ready() {
                Condition::Ready
            } else {
                let trouble = source.trouble.as_ref().map(|trouble| format!(": {trouble}"));
                Condition::NotReady(format!(
                    "connected to {} of {} partitions of the broker's topic{}",
                    source.lanes_connected,
                    source.lanes,
                    trouble.unwrap_or_default()
                ))
            },
        );
    }

    fn received(&self, device: &DeviceKey, captured_at: UtcMillis) {
        self.metrics.frames_received.inc();
        self.update(device, |summary| {
            summary.last_captured_at = summary.last_captured_at.max(Some(captured_at));
        });
    }

    fn unreadable(&self, ids: &ClaimedIds, refusal: &Refusal) {
        self.metrics.frames_received.inc();
        self.metrics.error(refusal.reason);
        self.metrics.dead_letters.inc();
        tracing::warn!(client = ids.client.as_deref(), device = ids.device.as_deref(),
            event = ids.event.as_deref(), error_type = refusal.reason, detail = %refusal.detail,
            "a message is not a frame event: it goes to the dead-letter topic");
    }

    fn deferred(&self) {
        self.metrics.frames_deferred.inc();
    }

    fn forgotten(&self, devices: &[DeviceKey]) {
        let mut known = self.lock();
        for device in devices {
            known.remove(device);
        }
    }
}
