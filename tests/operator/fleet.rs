//! Ten thousand devices of twenty workers: how much is written, and how large it gets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ListParams, ObjectMeta, PostParams};
use serde_json::{Value, json};
use stream_processor::config::{StatusConfig, StatusPod};
use stream_processor::model::{Clock, DeviceKey, ManualClock, SystemClock};
use stream_processor::operator::crd::{DeviceCounts, DeviceSlice};
use stream_processor::status::board::Board;
use stream_processor::status::health::HealthRules;
use stream_processor::status::publish::Publisher;

use crate::rig::{PATIENCE, Rig, object, spec};

const WORKERS: usize = 20;
const DEVICES: usize = 500;

/// A worker without a pipeline: its devices send when the test says so.
struct Simulated {
    board: Arc<Board>,
    publisher: Publisher,
}

impl Simulated {
    async fn start(rig: &Rig, namespace: &str, n: usize, clock: &Arc<ManualClock>) -> Self {
        let name = format!("fleet-consumer-simulated-{n}");
        let container = json!({"name": "a", "image": "example.invalid/a"});
        let pod = json!({"metadata": {"name": name}, "spec": {"containers": [container]}});
        let pods: Api<Pod> = Api::namespaced(rig.client.clone(), namespace);
        let pod = serde_json::from_value(pod).unwrap();
        let ObjectMeta { uid, .. } =
            pods.create(&PostParams::default(), &pod).await.expect("a pod").metadata;
        let pod = StatusPod {
            processor: "fleet".into(),
            name,
            namespace: namespace.into(),
            uid: uid.unwrap(),
        };
        let clock = Arc::clone(clock) as Arc<dyn Clock>;
        let board = Arc::new(Board::new(Arc::clone(&clock)));
        let config = StatusConfig { pod: Some(pod), interval: Duration::from_secs(10) };
        let rules = HealthRules {
            late_after: Duration::from_secs(90),
            offline_after: Duration::from_secs(60),
        };
        let publisher =
            Publisher::new(rig.client.clone(), &config, Arc::clone(&board), rules, clock, None);
        Self { board, publisher: publisher.unwrap() }
    }

    /// A frame of each of its devices but for the first `silent`, committed at once.
    fn send(&self, worker: usize, silent: usize, clock: &ManualClock) {
        for n in silent..DEVICES {
            let device = format!("truck-{worker:02}-{n:03}-of-a-usual-length");
            let key = DeviceKey::new("a-client-of-a-usual-length", &device).unwrap();
            self.board.update(&key, |known| {
                known.received_at = clock.now();
                known.captured_at = Some(clock.now());
                known.committed_until = Some(clock.now());
                known.last_segment = Some(known.last_segment.map_or(0, |n| n + 1));
                known.segments = 2_880;
            });
        }
    }
}

/// Everybody looks and writes what is due; says how many slices that were.
async fn turn(workers: &mut [Simulated]) -> usize {
    let turns = workers.iter_mut().map(|worker| worker.publisher.turn());
    futures::future::join_all(turns).await.into_iter().sum()
}

async fn told(rig: &Rig, namespace: &str, wanted: DeviceCounts) -> (Duration, Value) {
    let begun = Instant::now();
    loop {
        let object = rig.processors(namespace).get("fleet").await.expect("it is there");
        let status = object.status.clone().unwrap_or_default();
        if status.devices == Some(wanted) {
            return (begun.elapsed(), serde_json::to_value(&object).unwrap());
        }
        assert!(begun.elapsed() < PATIENCE, "{:?}", status.devices);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn ten_thousand_devices_are_summed_up_in_small_objects_and_few_writes() {
    let rig = Rig::start().await;
    let namespace = rig.namespace().await;
    let _operator = rig.operator("one", &[]).await;
    rig.apply(&object(&namespace, "fleet", &spec())).await;
    rig.ready(&namespace, "fleet").await;

    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let mut workers = Vec::new();
    for n in 0..WORKERS {
        workers.push(Simulated::start(&rig, &namespace, n, &clock).await);
    }
    let all = i64::try_from(WORKERS * DEVICES).unwrap();
    workers.iter().enumerate().for_each(|(n, worker)| worker.send(n, 0, &clock));
    let first = turn(&mut workers).await;
    let (took, _) =
        told(&rig, &namespace, DeviceCounts { total: all, live: all, ..Default::default() }).await;
    println!("all devices for the first time: {first} slices, summed up after {took:?}");
    assert_eq!(first, WORKERS * DEVICES / 250);

    // Five minutes in which every device goes on sending: nothing is written at all.
    let mut steady = 0;
    for _ in 0..60 {
        clock.advance(Duration::from_secs(5));
        workers.iter().enumerate().for_each(|(n, worker)| worker.send(n, 0, &clock));
        steady += turn(&mut workers).await;
    }
    assert_eq!(steady, 0);

    // A thousand devices of all workers fall silent at once.
    let mut writes = 0;
    for _ in 0..13 {
        clock.advance(Duration::from_secs(5));
        workers.iter().enumerate().for_each(|(n, worker)| worker.send(n, 50, &clock));
        writes += turn(&mut workers).await;
    }
    let wanted =
        DeviceCounts { total: all, live: all - 1_000, offline: 1_000, ..Default::default() };
    let (took, parent) = told(&rig, &namespace, wanted).await;
    println!("1,000 devices offline: {writes} slices, summed up after {took:?}");
    // Each slice with a silent device once.
    assert!(writes <= WORKERS * DEVICES / 250, "{writes}");

    let status_bytes = parent["status"].to_string().len();
    let parent_bytes = parent.to_string().len();
    let slices: Api<DeviceSlice> = Api::namespaced(rig.client.clone(), &namespace);
    let listed = slices.list(&ListParams::default()).await.expect("the slices").items;
    let largest = listed.iter().map(|s| serde_json::to_string(s).unwrap().len()).max().unwrap();
    println!("status {status_bytes} bytes, object {parent_bytes}, largest slice {largest}");
    assert_eq!(parent["status"]["deviceStatuses"].as_array().unwrap().len(), 100);
    assert!(status_bytes <= 64 * 1024 && largest <= 100 * 1024);

    // The slices go with their pods, and the sum with them.
    rig.cluster
        .kubectl(&["delete", "pods", "-n", &namespace, "--all", "--force", "--wait=false"])
        .await;
    let begun = Instant::now();
    while !slices.list_metadata(&ListParams::default()).await.unwrap().items.is_empty() {
        assert!(begun.elapsed() < PATIENCE, "slices are left");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
