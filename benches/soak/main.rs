//! `make soak`: one worker under a fleet's load for as long as you like, over its limit, and
//! with a backlog. A real broker, real files, real commits; frames come from processes of their
//! own at their cameras' times.
//!
//! `cargo bench --bench soak -- load over` runs those parts only; SOAK_DEVICES and SOAK_MINUTES
//! say how many and how long; SOAK_QUICK=1 runs everything on very little, to see that it works.
//! It fails if a frame was lost or shown twice, if memory is not bounded, or if it grows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "of the tests' support")]
#![allow(clippy::cast_precision_loss, reason = "counts and bytes are far below 2^52")]

mod backlog;
mod judge;
mod load;
mod over;
mod publisher;
mod report;
mod stage;
mod stand_in;
mod watch;

#[path = "../../tests/support/broker.rs"]
#[allow(dead_code, reason = "the tests need more of it")]
mod broker;
#[path = "../figures/cameras.rs"]
mod cameras;
#[path = "../figures/footage.rs"]
#[allow(dead_code, reason = "the other bench needs more of it")]
mod footage;
#[path = "../../tests/support/planned.rs"]
mod planned;
#[path = "../figures/table.rs"]
#[allow(dead_code, reason = "the other bench needs more of it")]
mod table;
#[path = "../figures/usage.rs"]
#[allow(dead_code, reason = "the other bench needs more of it")]
mod usage;
#[path = "../figures/worker.rs"]
#[allow(dead_code, reason = "the other bench needs more of it")]
mod worker;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use broker::Broker;
use stream_processor::cli::ENCODE_HELPER;

use footage::{Failure, cores};
use table::{Section, Tally, say};

/// The name of the broker of a run.
const BROKER: &str = "soak";

/// Every part, in the order in which it runs.
const PARTS: [&str; 3] = ["load", "over", "backlog"];

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Devices of `load`; in `backlog` a fiftieth of them have one and as many are live.
    pub devices: usize,
    /// How long each part measures after its warm-up.
    pub window: Duration,
    /// How far apart a device's frames are.
    pub interval_millis: i64,
    /// As `PROCESSING_SEGMENT_DURATION_SECONDS`: six frames fit.
    pub segment_secs: u32,
    /// How many frames of each device `backlog` has waiting.
    pub backlog_frames: u64,
    /// How many times its limit a machine is given that `over` overloads.
    pub over: f64,
    /// How many frames the worker may hold then.
    pub over_held: usize,
}

const FULL: Extent = Extent {
    devices: 10_000,
    window: Duration::from_secs(600),
    interval_millis: 5_000,
    segment_secs: 30,
    backlog_frames: 1_440,
    over: 3.0,
    over_held: 2_000,
};

const QUICK: Extent = Extent {
    devices: 100,
    window: Duration::from_secs(6),
    interval_millis: 500,
    segment_secs: 3,
    backlog_frames: 60,
    over: 3.0,
    over_held: 100,
};

impl Extent {
    /// What the environment says, or else a default.
    fn chosen() -> Result<Self, Failure> {
        let quick = std::env::var_os("SOAK_QUICK").is_some_and(|value| value != "0");
        let mut extent = if quick { QUICK } else { FULL };
        if let Some(devices) = number("SOAK_DEVICES")? {
            // A person's number: far below 2^52, and whole.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as said")]
            let devices = devices as usize;
            extent.devices = devices.max(1);
        }
        if let Some(minutes) = number("SOAK_MINUTES")? {
            extent.window = Duration::from_secs_f64(minutes * 60.0);
        }
        Ok(extent)
    }

    /// How long a fleet takes until each device commits at the pace of the fleet: two segments,
    /// and half of one to catch up.
    pub fn warm_up(&self) -> Duration {
        Duration::from_secs(self.segment_secs.into()) * 5 / 2
    }

    /// How long it takes until a worker knows of each device what it will ever know: the segments
    /// that a state holds.
    pub fn settled(&self) -> Duration {
        Duration::from_secs(self.segment_secs.into()) * 8
    }
}

fn number(variable: &str) -> Result<Option<f64>, Failure> {
    match std::env::var(variable) {
        Ok(text) if !text.is_empty() => {
            let number: f64 = text.parse().map_err(|_| format!("{variable} is no number"))?;
            Ok(Some(number.max(0.0)))
        }
        _ => Ok(None),
    }
}

fn main() -> Result<ExitCode, Failure> {
    if std::env::args_os().nth(1).is_some_and(|first| first == ENCODE_HELPER) {
        return Ok(stream_processor::cmd::encode_helper::run());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if let Some(order) = std::env::var_os(stand_in::ORDER) {
        let order = order.to_str().ok_or("an order is text")?;
        return runtime.block_on(stand_in::run(order)).map(|()| ExitCode::SUCCESS);
    }
    if let Some(order) = std::env::var_os(publisher::ORDER) {
        let order = order.to_str().ok_or("an order is text")?;
        return runtime.block_on(publisher::run(order)).map(|()| ExitCode::SUCCESS);
    }
    // What cargo passes by itself begins with a dash.
    let chosen: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    if let Some(unknown) = chosen.iter().find(|name| !PARTS.contains(&name.as_str())) {
        return Err(format!("there is no part {unknown:?}, only {PARTS:?}").into());
    }
    runtime.block_on(run(Extent::chosen()?, &chosen))
}

async fn run(extent: Extent, chosen: &[String]) -> Result<ExitCode, Failure> {
    let begun = Instant::now();
    say(&format!("{}, {} cores, load {}", report::machine(), cores(), report::load()));
    // Its script panics where it has no Java.
    let started = tokio::spawn(Broker::own(BROKER)).await;
    let broker = started.map_err(|error| format!("the broker does not start: {error}"))?;
    let mut tally = Tally::default();
    for name in
        PARTS.into_iter().filter(|name| chosen.is_empty() || chosen.iter().any(|c| c == name))
    {
        match measure(name, &broker, extent).await {
            Ok(sections) => sections.iter().for_each(|section| tally.add(section)),
            Err(error) => tally.not_measured(name, &error),
        }
    }
    broker.stop().await;
    let secs = begun.elapsed().as_secs();
    let all_hold = tally.close(&format!("{secs} s, load now {}", report::load()));
    Ok(if all_hold { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn measure(name: &str, broker: &Broker, extent: Extent) -> Result<Vec<Section>, Failure> {
    match name {
        "load" => load::load(broker, extent).await,
        "over" => over::over(broker, extent).await,
        _ => backlog::backlog(broker, extent).await,
    }
}
