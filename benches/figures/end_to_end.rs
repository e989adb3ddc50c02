//! From a real broker's backlog to committed segments, against the bare pool on the same frames.

use std::path::Path;
use std::time::Instant;

use super::broker::Broker;
use super::encoding::Pool;
use super::footage::{Clip, FRAMES, Failure, Footage, Kind, cores};
use super::table::{Row, Section, Wanted};
use super::usage::{MachineTicks, cpu_of, ratio};
use super::worker::{Fleet, SUBSCRIPTION, Worker};

/// Frames of the backlog.
#[derive(Clone, Copy, Debug)]
pub struct Backlog {
    pub kind: Kind,
    pub devices: usize,
    pub segments_per_device: usize,
}

impl Backlog {
    fn segments(self) -> usize {
        self.devices * self.segments_per_device
    }
}

/// What a drain or the bare pool did.
#[derive(Clone, Copy, Default)]
struct Pace {
    wall_secs: f64,
    parent_secs: f64,
    helpers_secs: f64,
    broker_secs: f64,
    busy_share: f64,
}

const PARTITIONS: u32 = 4;

/// Publishes each backlog, has the worker drain it, and the bare pool encode the same, half of
/// it before and half of it after.
pub async fn end_to_end(
    broker: &Broker,
    all: &[Footage],
    folder: &Path,
    backlogs: &[Backlog],
) -> Result<Section, Failure> {
    let mut section = Section::new(
        "End to end: a backlog through a real broker against the bare pool",
        &["segments/s", "pool's", "per CPU-s", "pool's", "cores busy"],
        "ratio",
        2,
    );
    section.note(format!(
        "The release binary and the pool, {} helpers each. Wall time from the first frame taken to",
        cores()
    ));
    section.note("the last commit; the broker shares the cores. Files are on disk and synced.");
    let broker_pid = broker.pid().ok_or("the broker's address file names no process")?;
    for backlog in backlogs {
        let Some(footage) = all.iter().find(|footage| footage.kind == backlog.kind) else {
            continue;
        };
        let clips: Vec<_> = footage.clips.iter().cycle().take(backlog.segments()).collect();
        let (before, after) = clips.split_at(clips.len() / 2);
        let one = bare(before).await?;
        let worker = drain(broker, broker_pid, footage, folder, *backlog).await?;
        let two = bare(after).await?;

        let segments = backlog.segments() as f64;
        let pool_wall = one.wall_secs + two.wall_secs;
        let pool_cpu = one.helpers_secs + two.helpers_secs;
        let worker_cpu = worker.parent_secs + worker.helpers_secs;
        let cores = cores() as f64;
        let broker_cores = worker.broker_secs / worker.wall_secs;
        let wall_ratio = ratio(pool_wall, worker.wall_secs);
        let cells = [
            format!("{:.2}", segments / worker.wall_secs),
            format!("{:.2}", segments / pool_wall),
            format!("{:.2}", segments / worker_cpu),
            format!("{:.2}", segments / pool_cpu),
            format!("{:.2}", worker.busy_share * cores),
        ];
        let name = format!("{}, {segments} segments", footage.kind.name());
        section.push(Row::new(name, cells).required(wall_ratio, Wanted::AtLeast(0.8)));
        section.push(
            Row::new("    on the cores that the broker left", [])
                .figure(wall_ratio * cores / (cores - broker_cores)),
        );
        section.push(Row::new("    per CPU-second", []).figure(pool_cpu / worker_cpu));
        let used = [("helpers", worker.helpers_secs), ("parent", worker.parent_secs)];
        for (who, secs) in used.into_iter().chain([("broker", worker.broker_secs)]) {
            let name = format!("    cores used by the {who}");
            section.push(Row::new(name, []).figure(secs / worker.wall_secs));
        }
    }
    Ok(section)
}

/// The clips through a pool of their own, all waiting at once.
async fn bare(clips: &[&Clip]) -> Result<Pace, Failure> {
    let pool = Pool::start(cores()).await?;
    let (_, cpu_secs, wall_secs) = pool.encode_all(clips.iter().copied()).await?;
    pool.pool.close().await;
    Ok(Pace { wall_secs, helpers_secs: cpu_secs, ..Pace::default() })
}

async fn drain(
    broker: &Broker,
    broker_pid: u32,
    footage: &Footage,
    folder: &Path,
    backlog: Backlog,
) -> Result<Pace, Failure> {
    let topic = broker.topic("bench-drain");
    broker.create_partitioned(&topic, PARTITIONS).await;
    broker.create_subscription(&topic, SUBSCRIPTION).await;
    let path = |device: usize, frame: usize| -> String {
        let clip = footage.clips.get(device % footage.clips.len());
        let clip = clip.and_then(|clip| clip.folder.strip_prefix(folder).ok());
        let clip = clip.unwrap_or(Path::new(".")).display();
        format!("{clip}/frame_{:03}.jpg", frame % FRAMES)
    };
    let mut fleet = Fleet::new(backlog.devices)?;
    fleet.publish(broker, &topic, backlog.segments_per_device * FRAMES, path).await?;

    let mut worker = Worker::start(broker, &topic, folder, &[("LOG_LEVEL", "WARN")])?;
    worker.wait_for("frames_received_total", 1.0).await?;
    let begun = Instant::now();
    let (cpu, broker_cpu, ticks) = (worker.cpu(), cpu_of(broker_pid), MachineTicks::now());
    worker.wait_for("segments_generated_total", backlog.segments() as f64).await?;
    let now = worker.cpu();
    let pace = Pace {
        wall_secs: begun.elapsed().as_secs_f64(),
        parent_secs: now.parent_secs - cpu.parent_secs,
        helpers_secs: now.helpers_secs - cpu.helpers_secs,
        broker_secs: (cpu_of(broker_pid) - broker_cpu).as_secs_f64(),
        busy_share: MachineTicks::now().busy_since(ticks),
    };
    worker.stop().await?;
    // The next drain's devices have the same names.
    let _ = std::fs::remove_dir_all(folder.join("client_ids"));
    Ok(pace)
}
