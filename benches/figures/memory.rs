//! The worker's memory while many devices hold frames.

use std::time::Duration;

use stream_processor::demo::Scene;

use super::broker::Broker;
use super::footage::{FRAMES, Failure, START};
use super::store_fixture::roomy_base;
use super::table::{Row, Section};
use super::usage::Memory;
use super::worker::{Fleet, SUBSCRIPTION, Worker};

/// Frames that each device has in its open group.
const OPEN_FRAMES: usize = 3;
/// Segments of each device before the second look.
const SEGMENTS: usize = 2;
/// How long the worker is left alone before its memory is looked at.
const REST: Duration = Duration::from_millis(1_500);

/// Looks at a worker before it has devices, with their open groups, and again when each has
/// committed some segments and holds an open group once more.
pub async fn memory(broker: &Broker, fleets: &[usize]) -> Result<Section, Failure> {
    let mut section = Section::new(
        "Memory: a worker whose devices hold frames",
        &["RSS MiB", "PSS MiB", "helper MiB"],
        "KiB/device",
        1,
    );
    section.note(format!(
        "Each device holds an open group of {OPEN_FRAMES} frames; per device is what PSS grew by since the"
    ));
    section.note(
        "worker had none. JPEGs stay on disk until their group is encoded; here they are tiny, so",
    );
    section.note("that what is seen is the devices'. helper: PSS of the largest.");
    for devices in fleets {
        for (name, memory, helper, per_device) in look(broker, *devices).await? {
            let mib = |kib: f64| format!("{:.1}", kib / 1_024.0);
            let cells = [mib(memory.rss_kib), mib(memory.pss_kib), mib(helper.pss_kib)];
            let row = Row::new(name, cells);
            section.push(match per_device {
                Some(kib) => row.figure(kib),
                None => row,
            });
        }
    }
    Ok(section)
}

type Look = (String, Memory, Memory, Option<f64>);

async fn look(broker: &Broker, devices: usize) -> Result<Vec<Look>, Failure> {
    let base = roomy_base();
    let jpeg = Scene::new(1, 160, 90, false)?.jpeg(START, "")?;
    std::fs::write(base.path().join("frame.jpg"), jpeg)?;
    let topic = broker.topic("bench-memory");
    broker.create_subscription(&topic, SUBSCRIPTION).await;
    // Groups close by their frames, not by the clock.
    let settings = [("PROCESSING_SEGMENT_DURATION_SECONDS", "600"), ("LOG_LEVEL", "WARN")];
    let mut worker = Worker::start(broker, &topic, base.path(), &settings)?;
    worker.wait_for("source_lanes_connected", 1.0).await?;
    let mut fleet = Fleet::new(devices)?;
    let frame = |_, _| "frame.jpg".to_owned();

    tokio::time::sleep(REST).await;
    let (empty, helper) = worker.memory();
    let mut looks = vec![(format!("no device (of {devices} to come)"), empty, helper, None)];
    let per_device = |now: Memory| Some((now.pss_kib - empty.pss_kib) / devices as f64);

    fleet.publish(broker, &topic, OPEN_FRAMES, frame).await?;
    worker.wait_for("queued_frames", (devices * OPEN_FRAMES) as f64).await?;
    tokio::time::sleep(REST).await;
    let (now, helper) = worker.memory();
    looks.push((format!("{devices} devices, open groups"), now, helper, per_device(now)));

    fleet.publish(broker, &topic, SEGMENTS * FRAMES, frame).await?;
    worker.wait_for("segments_generated_total", (devices * SEGMENTS) as f64).await?;
    worker.wait_for("queued_frames", (devices * OPEN_FRAMES) as f64).await?;
    tokio::time::sleep(REST).await;
    let (now, helper) = worker.memory();
    let name = format!("{devices} devices, {SEGMENTS} segments later");
    looks.push((name, now, helper, per_device(now)));
    worker.stop().await?;
    Ok(looks)
}
