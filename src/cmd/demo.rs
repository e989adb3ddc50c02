//! `demo`: the real pipeline with made-up cameras, and a page to watch them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::net::TcpListener;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::assembly::{Parts, open_store};
use super::progress::mebibytes;
use super::signals::stop_on_signals;
use super::{CommandError, say};
use crate::cli::DemoArgs;
use crate::config::{Config, StorageConfig};
use crate::demo::{Cameras, CamerasConfig};
use crate::http::archives::Archives;
use crate::http::auth::Gate;
use crate::http::export::{ExportSettings, Exports};
use crate::http::page::{self, DeviceDirectory, DeviceView, Lag, PageFacts, Presence};
use crate::http::playback::{Playback, PlaybackSettings, SegmentCaching};
use crate::http::serve;
use crate::model::{Clock, DeviceKey, SystemClock, UtcMillis};
use crate::pipeline::report::Reporter;
use crate::source::MemoryFeed;

/// Whose cameras they are.
const CLIENT: &str = "demo";
/// After how long without a commit a camera counts as gone.
const OFFLINE_AFTER_SECS: f64 = 60.0;
/// How long a frame's file is kept after its event was published.
const KEEP_FRAMES: Duration = Duration::from_secs(120);
/// How often the line on the terminal changes, and how often one is written elsewhere.
const LINE_EVERY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// The longest clip, and how many at once.
const MAX_CLIP: Duration = Duration::from_secs(3_600);
const MAX_CLIPS: usize = 4;

/// Runs the demonstration until its time is up or it is told to stop.
///
/// # Errors
/// When it cannot start.
pub async fn run(config: Config, args: DemoArgs) -> Result<(), CommandError> {
    let stop = stop_on_signals()?;
    let listener = TcpListener::bind(("127.0.0.1", args.port)).await.map_err(|e| {
        let sentence = format!("the page cannot be served on port {}; try --port 0", args.port);
        CommandError::because(sentence, e)
    })?;
    let folder = Folder::make(args.keep)?;
    let feed = MemoryFeed::new();
    let store = open_store(&StorageConfig::folder(&folder.path), &config.processing).await?;
    let parts = Parts::build(&config, store, Box::new(feed.open())).await?;
    let cameras = cameras(&args, &folder.path)?;
    let directory = Arc::new(Directory {
        reporter: Arc::clone(&parts.reporter),
        names: cameras.names().map(|(key, name)| (key.clone(), name.to_owned())).collect(),
        segment_secs: config.processing.segment_duration_secs.into(),
    });
    let gate = Gate::open(None, Arc::new(SystemClock));
    let playback = Playback::new(
        parts.store.clone(),
        gate.clone(),
        PlaybackSettings { segments: SegmentCaching::Revalidate, ..PlaybackSettings::default() },
    );
    let exports = Exports::new(
        parts.store.clone(),
        gate.clone(),
        Arc::new(SystemClock),
        ExportSettings { max_clip: MAX_CLIP, max_clips: MAX_CLIPS },
    );
    let archives = Archives::new(parts.store.clone(), gate.clone());
    let facts = PageFacts { max_clip: MAX_CLIP };
    let router = page::router(Arc::clone(&directory) as _, gate, facts)
        .merge(playback.router())
        .merge(exports.router())
        .merge(archives.router());
    let address =
        listener.local_addr().map_err(|e| CommandError::because("the page has no address", e))?;
    say(&format!("Watch {} cameras at http://{address}/ (Ctrl-C ends)", args.cameras));

    let served = tokio::spawn(serve(listener, router, stop.clone()));
    let filming = tokio::spawn(film(cameras, feed.clone(), stop.clone()));
    let timer = tokio::spawn(stop_after(args.duration_secs, stop.clone()));
    let telling = tokio::spawn(tell(Arc::clone(&directory), args.duration_secs, stop.clone()));
    let metrics = parts.metrics.clone();
    let begun = Instant::now();
    let result = parts.run(stop.clone()).await;
    stop.cancel();
    timer.abort();
    for ended in [telling.await, filming.await] {
        ended.map_err(|e| CommandError::because("a part of the demonstration failed", e))?;
    }
    let _ = served.await;

    let frames = metrics.frames_received.get();
    let committed = metrics.frames_committed.get();
    let refused = metrics.dead_letters.get();
    say(&format!(
        "{} cameras, {:.0} s: {frames} frames taken, {committed} in {} segments ({:.1} MiB), \
         {refused} refused, {} not yet in a segment when it ended",
        args.cameras,
        begun.elapsed().as_secs_f64(),
        metrics.segments_generated.get(),
        mebibytes(metrics.segment_bytes.get()),
        frames.saturating_sub(committed + refused + metrics.duplicate_frames.get()),
    ));
    if args.keep {
        say(&format!("The streams are in {}", folder.path.display()));
    }
    result
}

fn cameras(args: &DemoArgs, base: &Path) -> Result<Cameras, CommandError> {
    let (width, height) = args.picture_size();
    let pixels = |side: u32| u16::try_from(side).unwrap_or(u16::MAX);
    let config = CamerasConfig {
        base: base.to_owned(),
        client: CLIENT.to_owned(),
        count: u16::try_from(args.cameras).unwrap_or(u16::MAX),
        interval: Duration::from_millis(args.interval_millis.into()),
        width: pixels(width),
        height: pixels(height),
        noisy: true,
        seed: 1,
        frames: args.frames.clone(),
        keep: KEEP_FRAMES,
    };
    Cameras::new(&config, Arc::new(SystemClock))
        .map_err(|e| CommandError::because("the cameras cannot be set up", e))
}

/// Plays ingest service: writes each frame and publishes its event.
async fn film(mut cameras: Cameras, feed: MemoryFeed, stop: CancellationToken) {
    loop {
        let taken = tokio::select! {
            () = stop.cancelled() => break,
            taken = cameras.next() => taken,
        };
        match taken {
            Ok(Some(frame)) => feed.publish(frame.payload),
            Ok(None) => break,
            Err(error) => tracing::warn!(%error, "a camera missed a frame"),
        }
    }
}

async fn stop_after(secs: Option<u64>, stop: CancellationToken) {
    match secs {
        Some(secs) => tokio::time::sleep(Duration::from_secs(secs)).await,
        None => std::future::pending().await,
    }
    stop.cancel();
}

/// Keeps a line on the terminal; elsewhere writes one now and then.
async fn tell(directory: Arc<Directory>, duration_secs: Option<u64>, stop: CancellationToken) {
    let bar = ProgressBar::new_spinner();
    let style = ProgressStyle::with_template("{spinner} {elapsed_precise} {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    let (on_terminal, elsewhere) = LINE_EVERY;
    let mut every = tokio::time::interval(if bar.is_hidden() { elsewhere } else { on_terminal });
    every.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let begun = Instant::now();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = every.tick() => {}
        }
        let line = directory.line(begun.elapsed(), duration_secs);
        if bar.is_hidden() {
            say(&line);
        } else {
            bar.set_message(line);
            bar.tick();
        }
    }
    bar.finish_and_clear();
}

/// The cameras as the page shows them.
struct Directory {
    reporter: Arc<Reporter>,
    names: Vec<(DeviceKey, String)>,
    segment_secs: f64,
}

impl Directory {
    fn line(&self, elapsed: Duration, duration_secs: Option<u64>) -> String {
        let devices = self.devices();
        let live = devices.iter().filter(|view| view.presence == Presence::Live).count();
        let segments: u64 = devices.iter().map(|view| view.segment_count).sum();
        let now = self.now();
        let lags = devices.iter().filter_map(|view| view.last_frame_at);
        let lag = lags.map(|at| now.since(at).as_secs_f64()).fold(0.0, f64::max);
        let left = duration_secs
            .map(|secs| format!(", {} s left", secs.saturating_sub(elapsed.as_secs())))
            .unwrap_or_default();
        format!(
            "{live} of {} cameras live, {segments} segments, {lag:.1} s behind at most{left}",
            devices.len()
        )
    }
}

impl DeviceDirectory for Directory {
    fn devices(&self) -> Arc<Vec<DeviceView>> {
        let known: std::collections::HashMap<_, _> = self.reporter.devices().into_iter().collect();
        let now = self.now();
        let view = |(key, name): &(DeviceKey, String)| {
            let summary = known.get(key).cloned().unwrap_or_default();
            let lag = summary.committed_until.map(|at| {
                let secs = now.since(at).as_secs_f64();
                Lag { silent_secs: secs, behind_secs: secs }
            });
            DeviceView {
                key: key.clone(),
                name: name.clone(),
                last_frame_at: summary.committed_until,
                presence: Presence::judge(lag, self.segment_secs, OFFLINE_AFTER_SECS),
                segment_count: summary.segments,
                error: summary.trouble.or(summary.refusal),
            }
        };
        Arc::new(self.names.iter().map(view).collect())
    }

    /// What is shown of them is in memory in any case.
    fn shown(&self, _: &[&DeviceView]) {}

    fn now(&self) -> UtcMillis {
        SystemClock.now()
    }
}

/// The folder of the demonstration's streams: gone at the end unless it is kept.
struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Folder {
    fn make(keep: bool) -> Result<Self, CommandError> {
        let name = format!("stream-processor-demo-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).map_err(|e| {
            let sentence = format!("the folder {} cannot be made", path.display());
            CommandError::because(sentence, e)
        })?;
        Ok(Self { path, keep })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            // A temporary folder: whoever cleans those up takes what is left.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}
