//! Every metric: its name, its buckets and the text that explains it.
//!
//! The names of the first group are a contract with dashboards that exist; the others are for
//! whoever is on call. Labels are bounded: never a client, a device or an event.

use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Encoder, Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};

/// What stands before every name.
const NAMESPACE: &str = "stream_processor";

/// The error types that are known to happen, so that each is shown as 0 before its first
/// time and a rate over it is right from the first one on. A type that is not listed is
/// counted all the same: only names that are compiled in can be passed.
pub const ERROR_TYPES: &[&str] = &[
    "message_json",
    "message_fields",
    "message_too_large",
    "id",
    "timestamp",
    "frame_path",
    "late_frame",
    "frame_missing",
    "frame_outside",
    "frame_empty",
    "frame_too_large",
    "frame_not_a_file",
    "not_jpeg",
    "jpeg_decode",
    "jpeg_too_large",
    "jpeg_unsupported",
    "decoder_crash",
    "decoder_timeout",
    "frame_read",
    "encode_job",
    "encode_failed",
    "segment_refused",
    "device_state",
    "storage",
    "encoder",
    "offline_check",
    "archive",
    "archive_database",
    "cleanup",
];

/// What is done again and again beside a worker or by commands that go on, by name: a label.
pub const CHORES: &[&str] = &["offline_check", "cleanup", "archive_cleanup"];

/// All metrics of a process, on a registry of their own. Cheap to clone: clones count into
/// the same numbers.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    errors: IntCounterVec,

    /// Messages taken from the source.
    pub frames_received: IntCounter,
    /// Segments committed.
    pub segments_generated: IntCounter,
    /// Devices with a frame in hand or of late.
    pub active_devices: IntGauge,
    /// Seconds per encode job, waiting for a helper included.
    pub ffmpeg_duration_secs: Histogram,
    /// Frames held in memory.
    pub queued_frames: IntGauge,
    /// Segments removed by retention.
    pub segments_deleted: IntCounter,
    /// Seconds per clean-up run.
    pub cleanup_duration_secs: Histogram,

    /// Finished sessions that became archives.
    pub archives_created: IntCounter,
    /// Archives removed because they had expired.
    pub archives_deleted: IntCounter,
    /// Sessions that could not be archived so far.
    pub archives_failing: IntGauge,
    /// Devices whose rows in the database are not written yet.
    pub archive_rows_waiting: IntGauge,

    /// Frames that are durable.
    pub frames_committed: IntCounter,
    /// Frames that were committed before and came again.
    pub duplicate_frames: IntCounter,
    /// Frames given back because there was no room.
    pub frames_deferred: IntCounter,
    /// Frames parked on the dead-letter topic.
    pub dead_letters: IntCounter,
    /// Bytes of committed media.
    pub segment_bytes: IntCounter,
    /// Commits given up because another worker had taken the device over.
    pub fenced_commits: IntCounter,
    /// Seconds from a frame's capture to its commit.
    pub lag_secs: Histogram,
    /// Seconds per commit: segment, state and playlist, durable.
    pub commit_duration_secs: Histogram,
    /// Encode jobs that wait in the live lane.
    pub segments_waiting_live: IntGauge,
    /// Encode jobs that wait in the backlog lane.
    pub segments_waiting_backlog: IntGauge,
    /// Seconds since the oldest frame in hand was received; 0 when there is none.
    pub oldest_held_frame_age_secs: Gauge,
    /// Helper processes that run.
    pub encoder_helpers: IntGauge,
    /// Helper processes with a job.
    pub encoder_helpers_busy: IntGauge,
    /// Helper processes started anew after one died or was ended.
    pub encoder_helper_restarts: IntCounter,
    /// Lanes of the source that exist.
    pub source_lanes: IntGauge,
    /// Lanes of the source that are connected.
    pub source_lanes_connected: IntGauge,
    source_rebuilds: IntCounter,
    /// Sessions that the offline checker ended.
    pub sessions_ended: IntCounter,
    /// Devices in a session, as the offline checker last saw them.
    pub sessions_open: IntGauge,
    /// Devices that the offline checker looked at.
    pub devices_checked: IntCounter,
    /// 1 while Redis takes what it is told.
    pub redis_up: IntGauge,
    /// Devices that Redis was told of.
    pub redis_devices_told: IntCounter,
    /// Devices that Redis has still to be told of.
    pub redis_devices_waiting: IntGauge,
    redis_failures: IntCounterVec,
    chore_runs: IntCounterVec,
    chore_failures: IntCounterVec,
}

impl Metrics {
    /// Fresh metrics, all zero, and the process's own (CPU, memory, file descriptors).
    ///
    /// # Errors
    /// When two metrics have one name: a mistake in this file, which its test would find.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        registry.register(Box::new(ProcessCollector::for_self()))?;
        let on = On(&registry);
        on.build_info()?;
        let errors = on.counters("errors_total", "Things that went wrong, by type. Each bad frame counts once and costs only itself; look its type up in the log, which names the device and the event.", "error_type")?;
        for error_type in ERROR_TYPES {
            errors.with_label_values(&[error_type]);
        }
        let waiting = on.gauges("segments_waiting", "Segments that wait for an encoder helper. live: of devices that are up to date; backlog: of devices that catch up. Live that stays above 0 means too few cores.", "lane")?;
        let redis_failures = on.counters("redis_failures_total", "Times that Redis could not be told, by reason; the log has the sentence. What it was to be told waits, and streams go on.", "reason")?;
        for reason in crate::session::mirror::trouble::REASONS {
            redis_failures.with_label_values(&[reason]);
        }
        let chore_runs = on.counters("chore_runs_total", "Turns that were begun of what is done again and again, here or beside a worker with --with-cleanup. One that stands still hangs.", "chore")?;
        let chore_failures = on.counters("chore_failures_total", "Turns that failed as a whole; the log says why, once. They are tried again at their next time. What goes wrong with one device is in errors_total.", "chore")?;
        for chore in CHORES {
            chore_runs.with_label_values(&[chore]);
            chore_failures.with_label_values(&[chore]);
        }
        Ok(Self {
            errors,
            redis_failures,
            chore_runs,
            chore_failures,
            frames_received: on.counter("frames_received_total", "Frame events taken from the source, redelivered and bad ones included.")?,
            segments_generated: on.counter("segments_generated_total", "Segments committed: durable, listed in their playlist.")?,
            active_devices: on.gauge("active_devices", "Devices that this worker holds frames of or has had frames of lately.")?,
            ffmpeg_duration_secs: on.histogram("ffmpeg_duration_seconds", "Time from handing a group of frames to the encoder helpers until its segments are back, the wait for a free helper included. The name is older than the helpers: no ffmpeg command runs.", ENCODE_SECS)?,
            queued_frames: on.gauge("queued_frames", "Frames taken from the source and not yet committed, parked or given back.")?,
            segments_deleted: on.counter("segments_deleted_total", "Segments removed because they were older than the retention.")?,
            cleanup_duration_secs: on.histogram("cleanup_duration_seconds", "Time of one clean-up run over all devices.", CLEANUP_SECS)?,
            archives_created: on.counter("archives_created_total", "Finished sessions that became archives.")?,
            archives_deleted: on.counter("archives_deleted_total", "Archives removed because they were older than ARCHIVE_RETENTION_DAYS.")?,
            archives_failing: on.gauge("archives_failing", "Sessions that could not be archived so far, and are tried again. Their segments are kept, so the storage grows while this is not 0; the log says why.")?,
            archive_rows_waiting: on.gauge("archive_rows_waiting", "Devices whose archives are not yet written to the database of ARCHIVE_DATABASE_URL. More than a few means that it is away.")?,
            frames_committed: on.counter("frames_committed_total", "Frames that are durable in a segment: what has been received, less duplicates, dead letters and what is queued.")?,
            duplicate_frames: on.counter("duplicate_frames_total", "Frames that came again after they had been committed, and were dropped. Normal after a restart or a hand-over; steady growth means that acknowledgements get lost.")?,
            frames_deferred: on.counter("frames_deferred_total", "Frames given back to the source because memory was full. They come again, in order; growth means that the worker cannot keep up.")?,
            dead_letters: on.counter("dead_letters_total", "Frames parked on the dead-letter topic with their reason; errors_total says which reasons.")?,
            segment_bytes: on.counter("segment_bytes_total", "Bytes of media committed: what a day of it needs on the storage.")?,
            fenced_commits: on.counter("fenced_commits_total", "Commits given up because another worker had committed for the device. A few at each scaling; steady growth means that two workers are sent the same devices.")?,
            lag_secs: on.histogram("lag_seconds", "From a frame's capture, by the camera's clock, to its commit. A segment of 30 s cannot be faster than 30 s for its first frame.", LAG_SECS)?,
            commit_duration_secs: on.histogram("commit_duration_seconds", "Time to make one segment durable: media, device state and playlist. Slow means slow storage.", COMMIT_SECS)?,
            segments_waiting_live: waiting.with_label_values(&["live"]),
            segments_waiting_backlog: waiting.with_label_values(&["backlog"]),
            oldest_held_frame_age_secs: on.float_gauge("oldest_held_frame_age_seconds", "Time since the oldest frame in hand was received. More than twice the segment duration means that something is stuck.")?,
            encoder_helpers: on.gauge("encoder_helpers", "Encoder helper processes that run.")?,
            encoder_helpers_busy: on.gauge("encoder_helpers_busy", "Encoder helper processes that have a job now. Always equal to encoder_helpers means that all cores are in use.")?,
            encoder_helper_restarts: on.counter("encoder_helper_restarts_total", "Helpers started anew after one died or had to be ended: usually a hostile or broken JPEG.")?,
            source_lanes: on.gauge("source_lanes", "Lanes of the source, for Pulsar the topic's partitions, as far as known.")?,
            source_lanes_connected: on.gauge("source_lanes_connected", "Lanes that are connected now. Fewer than source_lanes means that frames of the others wait.")?,
            source_rebuilds: on.counter("source_rebuilds_total", "How often a lane's connection was built anew.")?,
            sessions_ended: on.counter("sessions_ended_total", "Sessions that the offline checker ended because nothing was committed for as long as the threshold says.")?,
            sessions_open: on.gauge("sessions_open", "Devices that were in a session when the offline checker last looked at them; 0 in every other process.")?,
            devices_checked: on.counter("devices_checked_total", "Looks of the offline checker at a device: about one of each in the offline threshold.")?,
            redis_up: on.gauge("redis_up", "1 while Redis takes what it is told, 0 while it is away or not used. Nothing depends on it but the services that read from it.")?,
            redis_devices_told: on.counter("redis_devices_told_total", "Devices of which Redis was told, or found to know all already.")?,
            redis_devices_waiting: on.gauge("redis_devices_waiting", "Devices of which Redis has still to be told. Growth means that it is slow or away.")?,
            registry,
        })
    }

    /// Counts that Redis could not be told, for one of
    /// [`crate::session::mirror::trouble::REASONS`].
    pub fn redis_failure(&self, reason: &'static str) {
        self.redis_failures.with_label_values(&[reason]).inc();
    }

    /// Counts a turn of one of [`CHORES`].
    pub fn chore_begun(&self, chore: &'static str) {
        self.chore_runs.with_label_values(&[chore]).inc();
    }

    /// Counts that a turn of one of [`CHORES`] failed.
    pub fn chore_failed(&self, chore: &'static str) {
        self.chore_failures.with_label_values(&[chore]).inc();
    }

    /// How many turns of one of [`CHORES`] were begun, and how many of them failed.
    pub fn chore_turns(&self, chore: &'static str) -> (u64, u64) {
        let of = |counters: &IntCounterVec| counters.with_label_values(&[chore]).get();
        (of(&self.chore_runs), of(&self.chore_failures))
    }

    /// Counts one error of a type; see [`ERROR_TYPES`].
    pub fn error(&self, error_type: &'static str) {
        self.errors.with_label_values(&[error_type]).inc();
    }

    /// How often an error of this type was counted.
    pub fn errors_of(&self, error_type: &'static str) -> u64 {
        self.errors.with_label_values(&[error_type]).get()
    }

    /// Shows a source's health. `rebuilds` is the source's own total, which never falls.
    pub fn show_source(&self, lanes: usize, connected: usize, rebuilds: u64) {
        self.source_lanes.set(i64::try_from(lanes).unwrap_or(i64::MAX));
        self.source_lanes_connected.set(i64::try_from(connected).unwrap_or(i64::MAX));
        self.source_rebuilds.inc_by(rebuilds.saturating_sub(self.source_rebuilds.get()));
    }
}

/// Metrics that can be shown.
pub trait Exposition: Clone + Send + Sync + 'static {
    /// Where they are registered.
    fn registry(&self) -> &Registry;

    /// The metrics in Prometheus's text format, and its content type.
    ///
    /// # Errors
    /// When a metric cannot be rendered: one without a name or without values.
    fn render(&self) -> Result<(Vec<u8>, &'static str), prometheus::Error> {
        let mut text = Vec::with_capacity(16 * 1024);
        TextEncoder::new().encode(&self.registry().gather(), &mut text)?;
        Ok((text, prometheus::TEXT_FORMAT))
    }
}

impl Exposition for Metrics {
    fn registry(&self) -> &Registry {
        &self.registry
    }
}

/// A six-frame segment takes 0.03 to 0.3 s of CPU time; a helper is ended after some seconds.
const ENCODE_SECS: &[f64] = &[0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];
/// Three fsyncs: milliseconds on a local disk, seconds on a network file system in trouble.
const COMMIT_SECS: &[f64] = &[0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// From one short segment to a day of backlog.
const LAG_SECS: &[f64] = &[
    1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0, 120.0, 300.0, 900.0, 3_600.0, 21_600.0, 86_400.0,
];
/// From a handful of devices to a store with many thousands.
const CLEANUP_SECS: &[f64] = &[0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0];

/// Makes metrics and registers them.
struct On<'a>(&'a Registry);

impl On<'_> {
    fn build_info(&self) -> Result<(), prometheus::Error> {
        let info = Opts::new("build_info", "Always 1; its labels say which build this is.")
            .namespace(NAMESPACE)
            .const_label("version", env!("CARGO_PKG_VERSION"))
            .const_label("os", std::env::consts::OS)
            .const_label("arch", std::env::consts::ARCH);
        let info = self.register(IntGauge::with_opts(info)?)?;
        info.set(1);
        Ok(())
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.register(IntCounter::with_opts(opts(name, help))?)
    }

    fn counters(
        &self,
        name: &str,
        help: &str,
        label: &str,
    ) -> Result<IntCounterVec, prometheus::Error> {
        self.register(IntCounterVec::new(opts(name, help), &[label])?)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.register(IntGauge::with_opts(opts(name, help))?)
    }

    fn float_gauge(&self, name: &str, help: &str) -> Result<Gauge, prometheus::Error> {
        self.register(Gauge::with_opts(opts(name, help))?)
    }

    fn gauges(
        &self,
        name: &str,
        help: &str,
        label: &str,
    ) -> Result<IntGaugeVec, prometheus::Error> {
        self.register(IntGaugeVec::new(opts(name, help), &[label])?)
    }

    fn histogram(
        &self,
        name: &str,
        help: &str,
        buckets: &[f64],
    ) -> Result<Histogram, prometheus::Error> {
        let opts = HistogramOpts { common_opts: opts(name, help), buckets: buckets.to_vec() };
        self.register(Histogram::with_opts(opts)?)
    }

    fn register<M: prometheus::core::Collector + Clone + 'static>(
        &self,
        metric: M,
    ) -> Result<M, prometheus::Error> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace(NAMESPACE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::FrameFault;

    fn rendered(metrics: &Metrics) -> String {
        String::from_utf8(metrics.render().unwrap().0).unwrap()
    }

    #[test]
    fn every_name_of_the_contract_is_shown_before_anything_has_happened() {
        let text = rendered(&Metrics::new().unwrap());
        for (name, kind) in [
            ("frames_received_total", "counter"),
            ("segments_generated_total", "counter"),
            ("active_devices", "gauge"),
            ("ffmpeg_duration_seconds", "histogram"),
            ("queued_frames", "gauge"),
            ("segments_deleted_total", "counter"),
            ("errors_total", "counter"),
            ("cleanup_duration_seconds", "histogram"),
        ] {
            let line = format!("# TYPE stream_processor_{name} {kind}\n");
            assert!(text.contains(&line), "{line} is missing in\n{text}");
        }
        let build = format!("version=\"{}\"}} 1\n", env!("CARGO_PKG_VERSION"));
        assert!(text.contains(&build), "{text}");
        assert!(text.contains("process_resident_memory_bytes"), "{text}");
    }

    #[test]
    fn every_metric_of_ours_explains_itself_in_a_sentence() {
        for line in rendered(&Metrics::new().unwrap()).lines() {
            if let Some(help) = line.strip_prefix("# HELP stream_processor_") {
                assert!(help.ends_with('.') && help.split(' ').count() > 5, "{help}");
            }
        }
    }

    #[test]
    fn a_clone_counts_into_the_same_numbers() {
        let metrics = Metrics::new().unwrap();
        metrics.clone().error("frame_missing");
        metrics.clone().segments_waiting_backlog.set(7);
        let text = rendered(&metrics);
        assert!(text.contains("errors_total{error_type=\"frame_missing\"} 1\n"), "{text}");
        assert!(text.contains("segments_waiting{lane=\"backlog\"} 7\n"), "{text}");
        assert_eq!(metrics.errors_of("frame_missing"), 1);
    }

    #[test]
    fn a_sources_rebuilds_are_shown_as_its_own_total() {
        let metrics = Metrics::new().unwrap();
        for (rebuilds, shown) in [(2, 2), (5, 5), (5, 5)] {
            metrics.show_source(4, 3, rebuilds);
            let line = format!("source_rebuilds_total {shown}\n");
            assert!(rendered(&metrics).contains(&line));
        }
    }

    #[test]
    fn every_reason_a_frame_can_be_refused_for_is_shown_as_zero_first() {
        for fault in [
            FrameFault::NotJpeg,
            FrameFault::Undecodable,
            FrameFault::TooLarge,
            FrameFault::Unsupported,
            FrameFault::Crashed,
            FrameFault::TimedOut,
        ] {
            assert!(ERROR_TYPES.contains(&fault.reason()), "{fault:?}");
        }
    }
}
