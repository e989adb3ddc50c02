//! Ten thousand devices of twenty workers: how much is written, and how large it gets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, ListParams, ObjectMeta, PostParams};
use serde_json::{Value, json};
use stream_processor::config::{StatusConfig, StatusPod};
use stream_processor::model::{Clock, DeviceKey, ManualClock, SystemClock};
use stream_processor::operator::crd::{DeviceCounts, DeviceSlice};
use stream_processor::status::board::Board;
use stream_processor::status::health::HealthRules;
use stream_processor::status::publish::Publisher;

use crate::cluster::audit::Audit;
use crate::rig::{PATIENCE, Rig, object, spec, writes};

const WORKERS: usize = 20;
const DEVICES: usize = 500;

/// A worker without a pipeline: its devices send when the test says so.
pub struct Simulated {
    pub board: Arc<Board>,
    pub publisher: Publisher,
}

impl Simulated {
    pub async fn start(rig: &Rig, namespace: &str, n: usize, clock: &Arc<ManualClock>) -> Self {
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

/// What a process uses.
struct Used {
    resident_bytes: u64,
    most_resident_bytes: u64,
    cpu: Duration,
}

/// <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>
fn used(id: u32) -> Used {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("it runs");
    let kib = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect(name);
        line.trim_matches(|c: char| !c.is_ascii_digit()).parse().expect("a number")
    };
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).expect("it runs");
    let after_name = stat.rsplit_once(')').expect("a name").1;
    // The 14th and 15th fields, in hundredths of a second.
    let ticks = after_name.split_whitespace().skip(11).take(2).map(|n| n.parse::<u64>().unwrap());
    Used {
        resident_bytes: kib("VmRSS:") * 1_024,
        most_resident_bytes: kib("VmHWM:") * 1_024,
        cpu: Duration::from_millis(ticks.sum::<u64>() * 10),
    }
}

/// Slices written at the API server, and what the operator wrote there but for its Lease.
fn written(audit: &Audit) -> (usize, usize) {
    let slices = audit
        .requests()
        .iter()
        .filter(|r| r.writes() && r.user == "admin")
        .filter(|r| r.resource.starts_with("deviceslices"))
        .count();
    (slices, writes(audit).len())
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
    let operator = rig.operator("one", &[("OPERATOR_STATUS_SECONDS", "5")]).await;
    rig.apply(&object(&namespace, "fleet", &spec())).await;
    rig.ready(&namespace, "fleet").await;

    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let mut workers = Vec::new();
    for n in 0..WORKERS {
        workers.push(Simulated::start(&rig, &namespace, n, &clock).await);
    }
    let all = i64::try_from(WORKERS * DEVICES).unwrap();
    rig.quiet(Duration::from_secs(3)).await;
    let before = used(operator.id());
    let audit = rig.cluster.audit().since_now();
    workers.iter().enumerate().for_each(|(n, worker)| worker.send(n, 0, &clock));
    let first = turn(&mut workers).await;
    let (took, _) =
        told(&rig, &namespace, DeviceCounts { total: all, live: all, ..Default::default() }).await;
    let (slices, own) = written(&audit);
    println!(
        "all devices for the first time: {slices} slices, {own} writes of the operator, \
              right after {took:?}"
    );
    assert_eq!(first, WORKERS * DEVICES / 250);

    // Five minutes in which every device goes on sending: nothing is written at all.
    rig.quiet(Duration::from_secs(6)).await;
    let audit = rig.cluster.audit().since_now();
    let mut steady = 0;
    for _ in 0..60 {
        clock.advance(Duration::from_secs(5));
        workers.iter().enumerate().for_each(|(n, worker)| worker.send(n, 0, &clock));
        steady += turn(&mut workers).await;
    }
    assert_eq!(steady, 0);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(written(&audit), (0, 0));

    // A thousand devices of all workers fall silent at once.
    let audit = rig.cluster.audit().since_now();
    let mut due = 0;
    for _ in 0..13 {
        clock.advance(Duration::from_secs(5));
        workers.iter().enumerate().for_each(|(n, worker)| worker.send(n, 50, &clock));
        due += turn(&mut workers).await;
    }
    let wanted =
        DeviceCounts { total: all, live: all - 1_000, offline: 1_000, ..Default::default() };
    let (took, parent) = told(&rig, &namespace, wanted).await;
    let (slices, own) = written(&audit);
    println!(
        "1,000 devices offline: {slices} slices, {own} writes of the operator, right after \
              {took:?}"
    );
    // Each slice with a silent device once.
    assert!(slices == due && slices <= WORKERS * DEVICES / 250, "{slices}");
    assert!(own <= 5, "{own}");
    for (state, wanted) in [("live", all - 1_000), ("offline", 1_000), ("failing", 0)] {
        let series = format!(
            "stream_processor_operator_devices{{name=\"fleet\",namespace=\"{namespace}\",\
             state=\"{state}\"}}"
        );
        let wanted = f64::from(i32::try_from(wanted).unwrap());
        assert_eq!(operator.metric(&series).await, Some(wanted), "{series}");
    }

    let status_bytes = parent["status"].to_string().len();
    let parent_bytes = parent.to_string().len();
    let slices: Api<DeviceSlice> = Api::namespaced(rig.client.clone(), &namespace);
    let listed = slices.list(&ListParams::default()).await.expect("the slices").items;
    let largest = listed.iter().map(|s| serde_json::to_string(s).unwrap().len()).max().unwrap();
    println!("status {status_bytes} bytes, object {parent_bytes}, largest slice {largest}");
    assert_eq!(parent["status"]["deviceStatuses"].as_array().unwrap().len(), 100);
    assert!(status_bytes <= 64 * 1024 && largest <= 100 * 1024);

    let now = used(operator.id());
    println!(
        "the operator: {} MiB resident ({} before, {} at most), {:?} of CPU for all of it",
        now.resident_bytes >> 20,
        before.resident_bytes >> 20,
        now.most_resident_bytes >> 20,
        now.cpu.saturating_sub(before.cpu)
    );
    assert!(now.most_resident_bytes < 256 << 20, "half of what its Deployment allows");

    // The slices go with their pods, and the sum with them.
    rig.cluster
        .kubectl(&["delete", "pods", "-n", &namespace, "--all", "--force", "--wait=false"])
        .await;
    let begun = Instant::now();
    while !slices.list_metadata(&ListParams::default()).await.unwrap().items.is_empty() {
        assert!(begun.elapsed() < PATIENCE, "slices are left");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Nothing is said of an object that is gone.
    rig.processors(&namespace).delete("fleet", &DeleteParams::default()).await.expect("it goes");
    let series = format!(
        "stream_processor_operator_devices{{name=\"fleet\",namespace=\"{namespace}\",state=\"live\"}}"
    );
    while operator.metric(&series).await.is_some() {
        assert!(begun.elapsed() < PATIENCE, "it is told of for ever");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
