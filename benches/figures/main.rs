//! `make bench`: what this worker costs, as ratios to the obvious alternatives measured in the
//! same run, so that the machine matters little.
//!
//! `cargo bench --bench figures -- speed commits` runs those sections only; BENCH_QUICK=1 runs
//! everything on very little, to see that it works. A figure that misses its bound is marked so;
//! the exit code is that of the measuring.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "of the tests' support")]
#![allow(clippy::cast_precision_loss, reason = "counts and bytes are far below 2^52")]

mod archive;
mod cameras;
mod cleanup;
mod commits;
mod devices;
mod encoding;
mod end_to_end;
mod footage;
mod memory;
mod overhead;
mod service;
mod table;
mod usage;
mod viewers;
mod worker;

#[path = "../../tests/support/archive_fixture.rs"]
mod archive_fixture;
#[path = "../../tests/support/broker.rs"]
#[allow(dead_code, reason = "the tests need more of it")]
mod broker;
#[path = "../../tests/support/servers/mod.rs"]
mod servers;
#[path = "../../tests/support/serving.rs"]
mod serving;
#[path = "../../tests/storage_conformance/site.rs"]
mod site;
#[path = "../../tests/support/store_fixture.rs"]
mod store_fixture;
#[path = "../../tests/support/viewer.rs"]
mod viewer;

use std::path::Path;
use std::time::{Duration, Instant};

use broker::Broker;
use cleanup::Fleet;
use end_to_end::Backlog;
use footage::{Failure, Footage, Kind, cores};
use table::{Section, Tally, say};
use viewers::Audience;

/// How much is measured.
struct Extent {
    cameras: usize,
    rounds: usize,
    /// Of 720p clean and 1080p noisy: devices, and segments of each.
    backlogs: [(usize, usize); 2],
    fleets: &'static [usize],
    day_segments: u64,
    commit_pairs: u64,
    cleanup: Fleet,
    archived_segments: u64,
    audience: Audience,
}

const FULL: Extent = Extent {
    cameras: 6,
    rounds: 3,
    backlogs: [(60, 6), (60, 4)],
    fleets: &[500, 2_000],
    day_segments: 2_880,
    commit_pairs: 200,
    cleanup: Fleet { devices: 2_000, counted: 100, listed: 2_880, doomed: 29 },
    archived_segments: 240,
    audience: Audience { viewers: 200, window: Duration::from_secs(20), pairs: 4, listed: 2_880 },
};

const QUICK: Extent = Extent {
    cameras: 1,
    rounds: 1,
    backlogs: [(4, 2), (2, 2)],
    fleets: &[20],
    day_segments: 200,
    commit_pairs: 20,
    cleanup: Fleet { devices: 20, counted: 10, listed: 300, doomed: 3 },
    archived_segments: 20,
    audience: Audience { viewers: 20, window: Duration::from_secs(3), pairs: 1, listed: 100 },
};

/// Every section, in the order in which it runs.
const SECTIONS: [&str; 11] = [
    "speed",
    "quality",
    "pipeline",
    "repeats",
    "watermark",
    "commits",
    "cleanup",
    "archive",
    "viewers",
    "memory",
    "end-to-end",
];

/// Sections that need a broker.
const WITH_BROKER: [&str; 2] = ["memory", "end-to-end"];

fn main() -> Result<(), Failure> {
    // What cargo passes by itself begins with a dash.
    let chosen: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    if let Some(unknown) = chosen.iter().find(|name| !SECTIONS.contains(&name.as_str())) {
        return Err(format!("there is no section {unknown:?}, only {SECTIONS:?}").into());
    }
    let quick = std::env::var_os("BENCH_QUICK").is_some_and(|value| value != "0");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if let Some(base) = std::env::var_os(cleanup::COUNTED) {
        return runtime.block_on(cleanup::clean_counted(Path::new(&base)));
    }
    runtime.block_on(run(if quick { &QUICK } else { &FULL }, &chosen))
}

async fn run(extent: &Extent, chosen: &[String]) -> Result<(), Failure> {
    let begun = Instant::now();
    say(&format!("{} cores, {}", cores(), service::version()?));
    // On a disk, as storage is.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let footage = Kind::ALL.map(|kind| Footage::make(kind, extent.cameras, folder.path()));
    let footage = footage.into_iter().collect::<Result<Vec<_>, _>>()?;
    let is_chosen = |name: &str| chosen.is_empty() || chosen.iter().any(|c| c == name);
    let broker = match WITH_BROKER.iter().any(|name| is_chosen(name)) {
        true => start_broker().await,
        false => Err("not asked for".into()),
    };
    let mut tally = Tally::default();
    for name in SECTIONS.into_iter().filter(|name| is_chosen(name)) {
        match measure(name, extent, &footage, folder.path(), broker.as_ref()).await {
            Ok(section) => tally.add(&section),
            Err(error) => tally.not_measured(name, &error),
        }
    }
    if let Ok(broker) = broker {
        broker.stop().await;
    }
    tally.close(&format!("{} s", begun.elapsed().as_secs()));
    Ok(())
}

async fn measure(
    name: &str,
    extent: &Extent,
    footage: &[Footage],
    folder: &Path,
    broker: Result<&Broker, &Failure>,
) -> Result<Section, Failure> {
    let broker = || broker.map_err(|error| error.to_string());
    match name {
        "speed" => encoding::speed(footage, extent.rounds).await,
        "quality" => encoding::quality(footage).await,
        "pipeline" => overhead::pipeline(footage, extent.rounds).await,
        "repeats" => overhead::repeats(footage, extent.rounds),
        "watermark" => overhead::watermark(footage, extent.rounds),
        "commits" => commits::commits(extent.day_segments, extent.commit_pairs).await,
        "cleanup" => cleanup::cleanup(folder, extent.cleanup).await,
        "archive" => archive::archive(folder, extent.archived_segments).await,
        "viewers" => {
            let footage = footage.iter().find(|footage| footage.kind == Kind::ALL[2]);
            viewers::viewers(footage.ok_or("no footage")?, folder, extent.audience).await
        }
        "memory" => memory::memory(broker()?, extent.fleets).await,
        _ => {
            let kinds = [Kind::ALL[0], Kind::ALL[3]];
            let backlogs = kinds.into_iter().zip(extent.backlogs);
            let backlogs = backlogs.map(|(kind, (devices, segments_per_device))| Backlog {
                kind,
                devices,
                segments_per_device,
            });
            let backlogs: Vec<_> = backlogs.collect();
            end_to_end::end_to_end(broker()?, footage, folder, &backlogs).await
        }
    }
}

/// A broker of the bench's own, which ends with it. Its script panics where it has no Java.
async fn start_broker() -> Result<Broker, Failure> {
    let started = tokio::spawn(Broker::own("bench")).await;
    started.map_err(|error| format!("the broker does not start: {error}").into())
}
