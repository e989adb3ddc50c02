//! A worker whose helpers are stood in for: it is put together as the program puts its own
//! together, and where that encodes, a segment that was really encoded once is handed out.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use stream_processor::cli::{AllSettings, SettingScope};
use stream_processor::cmd::assembly::{
    open_store, session_rules, target_duration_secs, worker_settings,
};
use stream_processor::config::{Config, Sources};
use stream_processor::encode::{EncodeError, EncodeJob, EncodeOutcome};
use stream_processor::http::{Health, Metrics, serve_ops};
use stream_processor::logging;
use stream_processor::media::timeline::{PictureSize, SegmentPlan, TimelineSettings};
use stream_processor::model::SystemClock;
use stream_processor::pipeline::attempt::Stages;
use stream_processor::pipeline::ports::Encode;
use stream_processor::pipeline::report::Reporter;
use stream_processor::pipeline::worker::Worker;
use stream_processor::playlist::longest_segment_millis;
use stream_processor::source::FrameSource;
use stream_processor::source::pulsar::{PulsarSettings, PulsarSource};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::footage::Failure;
use super::footage::encode_settings;
use super::planned::planned;

/// The variable that makes a process of this program such a worker; the program's own say the
/// rest.
pub const ORDER: &str = "SOAK_STAND_IN";

/// What is stood in for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    /// The file of the segment, and the size of its pictures.
    pub segment: String,
    pub width: u32,
    pub height: u32,
    /// How many helpers.
    pub helpers: usize,
}

/// Plans as the real one does and hands out what was recorded.
struct Recorded {
    media: Bytes,
    size: PictureSize,
    timeline: TimelineSettings,
}

#[async_trait]
impl Encode for Recorded {
    async fn encode(&self, job: EncodeJob) -> Result<EncodeOutcome, EncodeError> {
        let all: Vec<_> = (0..job.frames.len()).collect();
        // From the helper comes a buffer of its own each time.
        let media = |_: &SegmentPlan, _| (Bytes::copy_from_slice(&self.media), None);
        let (segments, timeline) = planned(&job, &all, self.size, self.timeline, media);
        Ok(EncodeOutcome { segments, rejected: Vec::new(), timeline, cpu_micros: 0 })
    }
}

/// The life of such a worker.
pub async fn run(order: &str) -> Result<(), Failure> {
    let order: Order = serde_json::from_str(order)?;
    let sources = Sources::gather(Default::default(), None, &[])?;
    let config = Config::resolve(&sources, AllSettings::GROUPS, "stand-in")?.config;
    logging::init(&config.log)?;
    let processing = &config.processing;
    let metrics = Metrics::new()?;
    let health = Health::new(Duration::from_secs(60));
    let reporter = Arc::new(Reporter::new(metrics.clone(), health.clone()));
    let pulsar = &config.pulsar;
    let source = PulsarSource::connect(PulsarSettings::new(
        &pulsar.service_url,
        &pulsar.topic,
        &pulsar.subscription,
        &pulsar.consumer_name,
    ))
    .await?;
    let encoder = Recorded {
        media: std::fs::read(&order.segment)?.into(),
        size: PictureSize { width: order.width, height: order.height },
        timeline: TimelineSettings {
            max_segment_millis: longest_segment_millis(target_duration_secs(
                processing.segment_duration_secs,
            )),
            ..encode_settings().timeline
        },
    };
    let stages = Stages {
        store: open_store(&config.storage, processing).await?,
        sessions: session_rules(&config.archive, processing),
        encoder: Arc::new(encoder),
        settler: source.settler(),
        clock: Arc::new(SystemClock),
        observer: Arc::clone(&reporter) as _,
        captions: None,
        missing_file_patience: processing.missing_frame_retry,
    };
    let settings = worker_settings(processing, order.helpers);
    let worker = Worker::new(Box::new(source), Arc::new(stages), reporter, settings);
    let stop = CancellationToken::new();
    let listener = TcpListener::bind(config.metrics.listen).await?;
    let ops = tokio::spawn(serve_ops(listener, metrics, health, stop.clone()));
    let mut leave = signal(SignalKind::terminate())?;
    let left = stop.clone();
    tokio::spawn(async move {
        leave.recv().await;
        left.cancel();
    });
    worker.run(stop.clone()).await?;
    stop.cancel();
    Ok(ops.await??)
}
