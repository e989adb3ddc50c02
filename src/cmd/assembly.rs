//! Builds the worker's parts from the settings, for every command that runs one.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::CommandError;
use super::redis::start_mirror;
use crate::config::{
    ArchiveConfig, Config, ProcessingConfig, StorageBackend, StorageConfig, WatermarkConfig,
};
use crate::encode::{EncodeSettings, EncoderPool, PoolSettings, Quality};
use crate::http::{Condition, Health, Metrics, Part};
use crate::media::timeline::TimelineSettings;
use crate::media::{Container, Playback};
use crate::model::{Clock, SystemClock, causes};
use crate::pipeline::accumulator::AccumulatorSettings;
use crate::pipeline::attempt::Stages;
use crate::pipeline::observers::{Gauges, Observers};
use crate::pipeline::ports::Observer;
use crate::pipeline::report::Reporter;
use crate::pipeline::worker::{Worker, WorkerSettings};
use crate::playlist::longest_segment_millis;
use crate::retention::RetentionSettings;
use crate::session::{SessionMirror, SessionRules};
use crate::source::FrameSource;
use crate::status::board::Board;
use crate::status::health::HealthRules;
use crate::store::{Store, StoreError, StoreSettings};

/// The pipeline's loop turns five times a second; silent for this long, it hangs.
const MAX_SILENCE: Duration = Duration::from_secs(60);

/// How long groups under way may take when the worker is asked to stop: within the 30 s that
/// Kubernetes gives a pod by default, less what closing the source takes.
const STOP_GRACE: Duration = Duration::from_secs(20);

/// The parts that outlive a worker's run.
pub struct Parts {
    /// Metrics, of which the clones are one.
    pub metrics: Metrics,
    /// Liveness and readiness.
    pub health: Health,
    /// What is known of the devices.
    pub reporter: Arc<Reporter>,
    /// The helpers.
    pub pool: Arc<EncoderPool>,
    /// What Redis is told with, if it is.
    pub mirror: Option<SessionMirror>,
    /// What is told of devices to Kubernetes; only where the settings say whose worker this is.
    pub board: Option<Arc<Board>>,
    /// The storage.
    pub store: Store,
    worker: Worker,
}

impl Parts {
    /// Builds everything that stands behind `source` and writes to `store`.
    ///
    /// # Errors
    /// Helpers that cannot be started, and a `REDIS_URL` that is not understood.
    pub async fn build(
        config: &Config,
        store: Store,
        source: Box<dyn FrameSource>,
    ) -> Result<Self, CommandError> {
        let processing = &config.processing;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let helpers = processing.workers(cores);
        tracing::info!(
            helpers,
            cores,
            max_workers = processing.max_workers,
            "encoders: the smaller of PROCESSING_MAX_WORKERS and the cores available"
        );
        let metrics =
            Metrics::new().map_err(|e| CommandError::because("the metrics cannot be set up", e))?;
        let health = Health::new(MAX_SILENCE);
        let reporter = Arc::new(Reporter::new(metrics.clone(), health.clone()));
        let pool = EncoderPool::start(pool_settings(processing, &config.watermark, helpers)?)
            .await
            .map_err(|e| CommandError::because("the encoders do not start", e))?;
        let pool = Arc::new(pool);
        health.set(Part::Encoder, Condition::Ready);
        health.set(Part::Storage, Condition::Ready);
        let mirror = start_mirror(&config.redis, &store, &metrics, &health)?;
        let told = mirror.clone().map(|mirror| Arc::new(mirror) as Arc<dyn Observer>);
        let board =
            config.status.pod.is_some().then(|| Arc::new(Board::new(Arc::new(SystemClock))));
        let on_board = board.iter().map(|board| Arc::clone(board) as Arc<dyn Observer>);
        let observers =
            [Arc::clone(&reporter) as _].into_iter().chain(told).chain(on_board).collect();
        let on_board = board.iter().map(|board| Arc::clone(board) as _);
        let gauges = [Arc::clone(&reporter) as _].into_iter().chain(on_board).collect();
        let stages = Stages {
            store: store.clone(),
            sessions: session_rules(&config.archive, processing),
            encoder: Arc::clone(&pool) as _,
            settler: source.settler(),
            clock: Arc::new(SystemClock) as Arc<dyn Clock>,
            observer: Arc::new(Observers(observers)),
            captions: config.watermark.enabled.then(|| config.watermark.captions.clone()),
            missing_file_patience: processing.missing_frame_retry,
        };
        let worker = Worker::new(
            source,
            Arc::new(stages),
            Arc::new(Gauges(gauges)),
            worker_settings(processing, helpers),
        );
        Ok(Self { metrics, health, reporter, pool, board, store, mirror, worker })
    }

    /// Runs the worker until `stop`, then ends the helpers.
    ///
    /// # Errors
    /// A defect of the worker.
    pub async fn run(self, stop: CancellationToken) -> Result<(), CommandError> {
        let watched = watch_pool(Arc::clone(&self.pool), self.metrics.clone());
        let result = self.worker.run(stop).await;
        if let Some(mirror) = &self.mirror {
            mirror.close().await;
        }
        watched.abort();
        // Whoever still has a part of it gives it up now: the worker has ended.
        let _ = watched.await;
        if let Some(pool) = Arc::into_inner(self.pool) {
            pool.close().await;
        }
        result.map_err(|e| CommandError::because("the worker has ended by itself", e))
    }
}

/// Keeps the helpers' numbers in the metrics.
fn watch_pool(pool: Arc<EncoderPool>, metrics: Metrics) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let mut counted = 0;
        loop {
            let stats = pool.stats();
            let as_gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
            metrics.encoder_helpers.set(as_gauge(pool.helpers()));
            metrics.encoder_helpers_busy.set(as_gauge(stats.busy));
            metrics.encoder_helper_restarts.inc_by(stats.restarts.saturating_sub(counted));
            counted = stats.restarts;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    })
}

fn pool_settings(
    processing: &ProcessingConfig,
    watermark: &WatermarkConfig,
    helpers: usize,
) -> Result<PoolSettings, CommandError> {
    let command = std::env::current_exe()
        .map_err(|e| CommandError::because("the program cannot find its own file", e))?;
    Ok(PoolSettings {
        helpers,
        encode: encode_settings(processing, watermark),
        command,
        frame_time_limit: processing.frame_timeout,
        memory_limit_bytes: processing.helper_memory_bytes,
    })
}

/// The storage, once it has been found to work: where it does not, it says what to do.
///
/// # Errors
/// A folder that is not there, a bucket that cannot be reached or does not compare versions.
pub async fn open_store(
    storage: &StorageConfig,
    processing: &ProcessingConfig,
) -> Result<Store, CommandError> {
    let store = connect(storage, processing)?;
    store.check().await.map_err(|e| does_not_work(storage, e))?;
    Ok(store)
}

/// The storage for who removes something of it. One that is full may be just what it is for.
///
/// # Errors
/// As [`open_store`].
pub async fn open_store_to_clean(
    storage: &StorageConfig,
    processing: &ProcessingConfig,
) -> Result<Store, CommandError> {
    let store = connect(storage, processing)?;
    match store.check().await {
        Err(error) if error.is_full() => {
            tracing::warn!(%error, "the storage is full: what frees room is done all the same");
            Ok(store)
        }
        checked => checked.map(|()| store).map_err(|e| does_not_work(storage, e)),
    }
}

fn connect(storage: &StorageConfig, processing: &ProcessingConfig) -> Result<Store, CommandError> {
    Store::connect(storage, store_settings(processing)).map_err(|e| {
        let sentence = match storage.streams.backend {
            StorageBackend::Filesystem => "STORAGE_BASE_PATH has to be a folder that exists",
            _ => "the STORAGE_ settings do not lead to a bucket",
        };
        CommandError::because(sentence, e)
    })
}

fn does_not_work(storage: &StorageConfig, error: StoreError) -> CommandError {
    let mut sentence = format!("the storage {} does not work", storage.streams);
    if let Some(advice) = advice(&storage.streams.backend, &error) {
        sentence += &format!(" ({advice})");
    }
    CommandError::because(sentence, error)
}

/// What to do about a storage that is there and does not let us work.
fn advice(backend: &StorageBackend, error: &StoreError) -> Option<&'static str> {
    let StoreError::Io { source, .. } = error else { return None };
    let in_folder = matches!(backend, StorageBackend::Filesystem);
    // What a listing was answered has no kind of its own.
    let said = causes(source);
    let is_status = |status: &str| said.contains(&format!("status code: {status}"));
    let kind = match source.kind() {
        ErrorKind::Other if is_status("404") => ErrorKind::NotFound,
        ErrorKind::Other if is_status("401") || is_status("403") => ErrorKind::PermissionDenied,
        kind => kind,
    };
    // What is encrypted is checked by the system's authorities, or by those of this file.
    let untrusted = ["certificate", "UnknownIssuer"].iter().any(|word| said.contains(word));
    Some(match kind {
        _ if untrusted && !in_folder => {
            "name the file of its certificate's authority (PEM) in SSL_CERT_FILE; a certificate \
             that is expired or made for another name has to be renewed"
        }
        _ if error.is_full() => "make room on it, or let `stream-processor cleanup` do so",
        ErrorKind::ReadOnlyFilesystem => "mount it for writing: it is read-only",
        ErrorKind::PermissionDenied if in_folder => {
            "let the user that this program runs as read, write and search STORAGE_BASE_PATH and \
             all below it"
        }
        ErrorKind::PermissionDenied => {
            "look at its credentials, and at what they allow: list, read, write, and for all but \
             the worker delete"
        }
        ErrorKind::NotFound if !in_folder => "create the bucket, or correct its name",
        _ => return None,
    })
}

/// The storage for a command that only reads.
///
/// # Errors
/// As [`open_store`].
pub async fn open_store_to_read(
    storage: &StorageConfig,
    processing: &ProcessingConfig,
) -> Result<Store, CommandError> {
    let store = connect(storage, processing)?;
    store.check_readable().await.map_err(|e| does_not_work(storage, e))?;
    Ok(store)
}

/// What a clean-up goes by.
pub fn retention_settings(config: &Config) -> RetentionSettings {
    let (processing, retention) = (&config.processing, &config.retention);
    RetentionSettings {
        retention: store_settings(processing).retention,
        grace: retention.grace,
        archives: config.archive.enabled,
        // Several segments late: its worker would have trimmed the window by then.
        idle_after: Duration::from_secs(u64::from(processing.segment_duration_secs) * 10),
        device_max_bytes: retention.device_max_bytes,
        total_max_bytes: retention.total_max_bytes,
        unencoded_frames: retention.unencoded_frames,
    }
}

/// What sessions go by. A device that is live commits once a segment; half of one more is room
/// for what is slow.
pub fn session_rules(archive: &ArchiveConfig, processing: &ProcessingConfig) -> SessionRules {
    let segment = Duration::from_secs(processing.segment_duration_secs.into());
    SessionRules {
        offline_threshold: archive.offline_threshold,
        commit_every: segment + segment / 2,
        max_duration: archive.max_session_duration,
    }
}

/// By what devices are judged in Kubernetes: as the wall of cameras and the offline checker do.
pub fn health_rules(config: &Config) -> HealthRules {
    let segment = Duration::from_secs(config.processing.segment_duration_secs.into());
    HealthRules { late_after: segment * 3, offline_after: config.archive.offline_threshold }
}

fn store_settings(processing: &ProcessingConfig) -> StoreSettings {
    StoreSettings {
        target_duration_secs: target_duration_secs(processing.segment_duration_secs),
        retention: Duration::from_secs(u64::from(processing.retention_hours) * 3_600),
        max_frame_bytes: processing.max_frame_bytes as u64,
        ..StoreSettings::default()
    }
}

fn encode_settings(processing: &ProcessingConfig, watermark: &WatermarkConfig) -> EncodeSettings {
    let target_secs = target_duration_secs(processing.segment_duration_secs);
    let frames = u32::try_from(processing.frames_per_segment).unwrap_or(u32::MAX).max(1);
    EncodeSettings {
        container: processing.container,
        max_width: processing.video_width,
        quality: processing.quality,
        timeline: TimelineSettings {
            playback: processing.playback,
            max_segment_millis: longest_segment_millis(target_secs),
            default_interval_millis: processing.segment_duration_secs.saturating_mul(1_000)
                / frames,
            encoding: encoding_number(processing),
        },
        watermark: watermark.enabled.then_some(watermark.look),
    }
}

/// Changes whenever a setting does that a player must be told of by a discontinuity. It is
/// stored, so it is spelled out rather than hashed.
fn encoding_number(processing: &ProcessingConfig) -> u64 {
    let container = match processing.container {
        Container::Ts => 0,
        Container::Fmp4 => 1,
    };
    let playback = match processing.playback {
        Playback::Realtime => 0,
        Playback::Timelapse { frame_rate } => u64::from(frame_rate),
    };
    let quality = match processing.quality {
        Quality::Low => 0,
        Quality::Standard => 1,
        Quality::High => 2,
    };
    container | quality << 8 | playback << 16
}

/// A tenth longer than a segment is meant to be: cameras that are a little slow still fill
/// theirs. A playlist's target is an upper bound (RFC 8216 section 4.3.3.1).
pub fn target_duration_secs(segment_duration_secs: u32) -> u32 {
    segment_duration_secs.saturating_add(segment_duration_secs.div_ceil(10))
}

/// How old a frame may be that counts as live: three segments.
pub fn live_within(segment_duration_secs: u32) -> Duration {
    Duration::from_secs(segment_duration_secs.into()) * 3
}

/// How a worker works that has so many helpers.
pub fn worker_settings(processing: &ProcessingConfig, helpers: usize) -> WorkerSettings {
    let close_after = Duration::from_secs(processing.segment_duration_secs.into());
    WorkerSettings {
        accumulator: AccumulatorSettings {
            frames_per_segment: processing.frames_per_segment,
            close_after,
            max_held: processing.max_frames_held,
            max_held_per_device: processing.max_frames_held_per_device,
            live_within: live_within(processing.segment_duration_secs),
            forget_after: processing.device_idle,
        },
        groups_under_way: helpers * 2 + 2,
        stop_grace: STOP_GRACE,
    }
}
