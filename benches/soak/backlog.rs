//! `backlog`: cameras that were away send the frames of hours at once, while others are live.

use std::time::Duration;

use stream_processor::cmd::assembly::live_within;
use stream_processor::model::{Clock, SystemClock};

use super::Extent;
use super::broker::Broker;
use super::footage::{Failure, Kind};
use super::judge::percentile;
use super::report;
use super::stage::{Encoders, Stage};
use super::table::{Row, Section, Wanted};
use super::watch::{most, rate};

const KIND: Kind = Kind { width: 320, height: 180, noisy: false };
/// What encodes: as many as a machine of that many cores has.
const HELPERS: usize = 8;
/// Of the fleet of `load`, one device in so many was away, and as many are live.
const SHARE: usize = 50;
/// What a worker holds unless it is told otherwise.
const MAX_HELD: usize = 20_000;
/// How long it may take to work it off.
const DRAIN: Duration = Duration::from_secs(7_200);

pub async fn backlog(broker: &Broker, extent: Extent) -> Result<Vec<Section>, Failure> {
    let devices = (extent.devices / SHARE).max(2);
    let mut stage = Stage::set(broker, extent, KIND, Encoders::StandIn(HELPERS), &[]).await?;
    let live = stage.begin("live", devices)?;
    stage.watch(extent.warm_up()).await?;
    let quiet = SystemClock.now();
    let before = stage.watch(extent.warm_up()).await?;
    let begun = SystemClock.now();
    stage.upload("away", devices, extent.backlog_frames)?;
    let usual = most(&before, |s| s.backlog) * 1.25 + 10.0;
    let during = stage.watch_until_caught_up(usual, DRAIN).await?;
    let drained = SystemClock.now();
    let after = stage.watch(extent.warm_up()).await?;
    let ended_at = SystemClock.now();
    stage.end(live).await?;
    let ended = stage.close(DRAIN).await?;

    let mut all = vec![("before".to_owned(), &before[..])];
    all.extend(report::stretches(&during, 6));
    all.push(("after".to_owned(), &after[..]));
    let mut line = report::timeline("Backlog: what came and went", &all);
    line.note(format!(
        "{devices} devices send {} frames each at once, {devices} others are live; {HELPERS} helpers are stood in",
        extent.backlog_frames
    ));
    line.note(format!("for, on {} cores of {}.", super::cores(), report::machine()));

    let mut figures = Section::new("Backlog: the worker", &[], "figure", 2);
    let secs = drained.since(begun).as_secs_f64();
    figures.push(Row::new("s until it was worked off", []).figure(secs));
    figures.push(Row::new("frames committed a second", []).figure(rate(&during, |s| s.committed)));
    figures.push(Row::new("frames held at most", []).figure(most(&during, |s| s.held)));
    report::push_cost(&mut figures, &during);
    report::push_memory(&mut figures, &ended, MAX_HELD, devices * 2);

    let mut lags = report::lags();
    let mut promises = report::promises("Backlog: every frame once, and live ones live", &ended);
    let phases =
        [("before", quiet, begun), ("during", begun, drained), ("after", drained, ended_at)];
    for (name, verdict) in ended.fleets.iter().filter(|(name, _)| name == "live") {
        for (phase, from, until) in phases {
            report::push_lags(&mut lags, &format!("{name}, {phase}"), verdict, from, until);
        }
        let waited = verdict.lags(begun, drained, |_| true);
        let wanted = Wanted::AtMost(live_within(extent.segment_secs).as_secs_f64());
        let row = Row::new("live: s from capture to commit at most, meanwhile", []);
        promises.push(row.required(percentile(&waited, 1.0), wanted));
    }
    Ok(vec![line, figures, lags, promises])
}
