//! `load`: ten thousand devices on one worker.

use std::process::Stdio;
use std::time::Duration;

use stream_processor::model::{Clock, SystemClock};
use tokio::process::Command;

use super::Extent;
use super::broker::Broker;
use super::footage::{Failure, Kind};
use super::report;
use super::stage::{Encoders, Stage};
use super::table::{Row, Section};
use super::watch::{most, rate};

/// Small, for a disk holds little of what such a fleet makes in an hour.
const KIND: Kind = Kind { width: 320, height: 180, noisy: false };
/// How many helpers encode two thousand frames of 720p a second: some 0.1 CPU seconds a segment.
const HELPERS: usize = 34;
/// The most that one worker may be set to hold: half of what a broker leaves unacknowledged.
const MAX_HELD: usize = 24_000;
/// How long the worker's calls are counted.
const COUNTED: Duration = Duration::from_secs(3);
/// How long the last frames may take.
const DRAIN: Duration = Duration::from_secs(600);

pub async fn load(broker: &Broker, extent: Extent) -> Result<Vec<Section>, Failure> {
    let Extent { devices, window, .. } = extent;
    let max_held = MAX_HELD.to_string();
    let settings = [("PROCESSING_MAX_FRAMES_HELD", max_held.as_str())];
    let mut stage = Stage::set(broker, extent, KIND, Encoders::StandIn(HELPERS), &settings).await?;
    let jpeg_bytes = stage.jpeg_bytes();
    let fleet = stage.begin("load", devices)?;
    let warm = stage.watch(extent.settled()).await?;
    let from = SystemClock.now();
    let samples = stage.watch(window).await?;
    let until = SystemClock.now();
    let syncs = syncs_of_a_commit(stage.worker.pid).await;
    stage.end(fleet).await?;
    let ended = stage.close(DRAIN).await?;

    let mut line = report::timeline("Load: what came and went", &{
        let mut all = vec![("warm-up".to_owned(), &warm[..])];
        all.extend(report::stretches(&samples, 6));
        all
    });
    line.note(format!(
        "{devices} devices, a frame of {:.0} KiB every {} ms of each, {} on {} cores; {HELPERS} helpers are",
        jpeg_bytes / 1_024.0,
        extent.interval_millis,
        report::machine(),
        super::cores(),
    ));
    line.note("stood in for by a segment that was encoded once: all else is the worker's own.");
    line.note("not acked, held, oldest, threads, files, RSS: the most within the stretch.");

    let mut figures = Section::new("Load: the worker in that window", &[], "figure", 2);
    figures.push(Row::new("frames published a second", []).figure(rate(&samples, |s| s.sent)));
    figures.push(Row::new("frames committed a second", []).figure(rate(&samples, |s| s.committed)));
    report::push_cost(&mut figures, &samples);
    if let Ok(syncs) = syncs {
        figures.push(Row::new("fsyncs a commit", []).figure(syncs));
    }
    figures.push(Row::new("PSS MiB at most", []).figure(most(&samples, |s| s.pss_kib) / 1_024.0));
    figures
        .push(Row::new("s from the last frame to the last commit", []).figure(ended.drained_secs));
    report::push_growth(&mut figures, &samples);
    report::push_memory(&mut figures, &ended, MAX_HELD, devices);

    let mut lags = report::lags();
    for (name, verdict) in &ended.fleets {
        report::push_lags(&mut lags, name, verdict, from, until);
    }
    Ok(vec![line, figures, lags, report::promises("Load: every frame once", &ended)])
}

/// How often the worker syncs a file for a commit, which takes one lock; strace tells, where it is
/// there.
async fn syncs_of_a_commit(worker: u32) -> Result<f64, Failure> {
    let mut strace = Command::new("timeout");
    strace.args(["-s", "INT", &COUNTED.as_secs().to_string(), "strace", "-f", "-q", "-c"]);
    strace.args(["-U", "calls,name", "-e", "trace=fsync,fdatasync,flock", "-p"]);
    strace.arg(worker.to_string());
    let output = strace.stdin(Stdio::null()).output().await?;
    let text = String::from_utf8_lossy(&output.stderr);
    let calls = |name: &str| {
        let line = text.lines().find(|line| line.trim_end().ends_with(&format!(" {name}")));
        line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0)
    };
    match calls("flock") {
        0.0 => Err("strace did not count".into()),
        locks => Ok((calls("fsync") + calls("fdatasync")) / locks),
    }
}
