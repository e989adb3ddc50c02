//! `over`: the real encoder at the machine's limit, over it, and below it again.

use std::time::{Duration, Instant};

use stream_processor::model::{Clock, SystemClock};

use super::Extent;
use super::broker::Broker;
use super::footage::{FRAMES, Failure, Footage, Kind, cores, pool};
use super::report;
use super::stage::{Encoders, Stage};
use super::table::{Row, Section};
use super::watch::most;

const KIND: Kind = Kind { width: 1_280, height: 720, noisy: true };
/// What share of the bare pool's pace is taken for the limit: the rest is the broker's, the
/// publishers' and the worker's own.
const OF_BARE: f64 = 0.7;
/// What share of the limit goes on all the time, while the others come and go.
const STEADY: f64 = 0.25;
/// How many segments the pool's pace is measured on.
const SEGMENTS: usize = 24;
/// How many frames of one device a worker holds unless it is told otherwise.
const MAX_HELD_PER_DEVICE: usize = 600;
/// How long it may take to catch up.
const CATCH_UP: Duration = Duration::from_secs(3_600);

pub async fn over(broker: &Broker, extent: Extent) -> Result<Vec<Section>, Failure> {
    let limit = OF_BARE * bare_frames_a_second().await?;
    let of_limit = |share: f64| devices(limit * share, extent);
    let steady = of_limit(STEADY);
    let third = extent.window / 3;
    let max_held = extent.over_held.to_string();
    let of_device = extent.over_held.min(MAX_HELD_PER_DEVICE).to_string();
    let settings = [
        ("PROCESSING_MAX_FRAMES_HELD", max_held.as_str()),
        ("PROCESSING_MAX_FRAMES_HELD_PER_DEVICE", of_device.as_str()),
    ];
    let mut stage = Stage::set(broker, extent, KIND, Encoders::Real, &settings).await?;

    stage.begin("steady", steady)?;
    let rest = stage.begin("rest", of_limit(1.0 - STEADY))?;
    let warm = stage.watch(extent.warm_up()).await?;
    let mut marks = vec![SystemClock.now()];
    let at_limit = stage.watch(third).await?;
    marks.push(SystemClock.now());
    let more = stage.begin("more", of_limit(extent.over - 1.0))?;
    let over = stage.watch(third).await?;
    marks.push(SystemClock.now());
    stage.end(rest).await?;
    stage.end(more).await?;
    let below = stage.watch(third).await?;
    marks.push(SystemClock.now());
    let ended = stage.close(CATCH_UP).await?;

    let times = format!("{:.0} times the limit", extent.over);
    let all = [
        ("warm-up".to_owned(), &warm[..]),
        ("at the limit".to_owned(), &at_limit[..]),
        (times, &over[..]),
        (format!("at {STEADY} of the limit, catching up"), &below[..]),
    ];
    let mut line = report::timeline("Over: what came and went", &all);
    line.note(format!(
        "{} by the program's own helpers, on {} cores of {}; the limit is taken to be",
        KIND.name(),
        cores(),
        report::machine()
    ));
    line.note(format!(
        "{limit:.0} frames a second, {OF_BARE} of what the bare pool does. {} for each.",
        report::duration(third)
    ));
    let mut figures = Section::new("Over: what the worker had", &[], "figure", 2);
    let samples = [&warm[..], &at_limit, &over, &below].concat();
    let held = most(&samples, |s| s.held);
    figures.push(
        Row::new(format!("frames held at most, of {}", extent.over_held), [])
            .required(held, super::table::Wanted::AtMost(extent.over_held as f64)),
    );
    figures
        .push(Row::new("s from the last frame to the last commit", []).figure(ended.drained_secs));
    report::push_cost(&mut figures, &at_limit);
    let devices = steady + of_limit(1.0 - STEADY) + of_limit(extent.over - 1.0);
    report::push_memory(&mut figures, &ended, extent.over_held, devices);

    let mut lags = report::lags();
    let phases = ["at the limit", "over it", "below it"];
    for (name, verdict) in &ended.fleets {
        for (phase, ends) in phases.iter().zip(marks.windows(2)) {
            if let [from, until] = ends {
                report::push_lags(&mut lags, &format!("{name}, {phase}"), verdict, *from, *until);
            }
        }
    }
    Ok(vec![line, figures, lags, report::promises("Over: every frame once", &ended)])
}

/// How many devices make so many frames a second.
fn devices(frames_a_second: f64, extent: Extent) -> usize {
    let devices = frames_a_second * extent.interval_millis as f64 / 1_000.0;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small count")]
    let devices = devices.round() as usize;
    devices.max(1)
}

/// What the helpers do without broker and files.
async fn bare_frames_a_second() -> Result<f64, Failure> {
    let folder = tempfile::tempdir()?;
    let footage = Footage::make(KIND, 2, folder.path())?;
    let pool = pool(cores()).await?;
    let jobs = || footage.clips.iter().cycle().take(SEGMENTS).map(|clip| pool.encode(clip.job()));
    let begun = Instant::now();
    futures::future::try_join_all(jobs()).await?;
    let secs = begun.elapsed().as_secs_f64();
    pool.close().await;
    Ok((SEGMENTS * FRAMES) as f64 / secs)
}
