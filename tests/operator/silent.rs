//! Devices that are offline are counted also when the worker that had them is gone: the offline
//! checker finds them in the storage.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;
use stream_processor::model::{Clock, DeviceKey, ManualClock, SystemClock};
use stream_processor::operator::crd::{DeviceCounts, StreamProcessorStatus};

use crate::film::{commit_at, device, film};
use crate::fleet::Simulated;
use crate::rig::{PATIENCE, Rig, object, spec};
use crate::store_fixture::{roomy_base, store};

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn told(
    rig: &Rig,
    namespace: &str,
    wanted: impl Fn(&StreamProcessorStatus) -> bool,
) -> StreamProcessorStatus {
    let begun = Instant::now();
    loop {
        let object = rig.processors(namespace).get("fleet").await.expect("it is there");
        let status = object.status.unwrap_or_default();
        if wanted(&status) {
            return status;
        }
        assert!(begun.elapsed() < PATIENCE, "{:?} {:?}", status.devices, status.device_statuses);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_device_that_is_offline_is_counted_also_when_its_worker_is_gone() {
    let rig = Rig::start().await;
    let namespace = rig.namespace().await;
    let _operator = rig.operator("one", &[]).await;
    rig.apply(&object(&namespace, "fleet", &spec())).await;
    rig.ready(&namespace, "fleet").await;

    // Two devices in the storage: one will fall silent, one has been so for weeks.
    let base = roomy_base();
    let store = store(base.path());
    film(&store, &device("long-gone"), 2).await;
    let gone = device("gone");
    let state = film(&store, &gone, 1).await;
    let state = commit_at(&store, &gone, &state, SystemClock.now()).await.expect("a commit");

    // The checker as its Deployment runs it, under the account of the workers.
    let pods: Api<Pod> = Api::namespaced(rig.client.clone(), &namespace);
    let container = json!({"name": "a", "image": "example.invalid/a"});
    let pod = json!({"metadata": {"name": "checker"}, "spec": {"containers": [container]}});
    let pod = serde_json::from_value(pod).unwrap();
    let uid = pods.create(&PostParams::default(), &pod).await.expect("a pod").metadata.uid;
    let kubeconfig = rig.cluster.service_account_kubeconfig(&namespace, "fleet-worker").await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_stream-processor"));
    command.args(["offline-checker", "--continuous", "--interval", "1"]).env_clear();
    command.env("KUBECONFIG", kubeconfig).env("STORAGE_BASE_PATH", base.path());
    command.env("STATUS_PROCESSOR", "fleet").env("STATUS_POD_NAME", "checker");
    command.env("STATUS_POD_NAMESPACE", &namespace).env("STATUS_POD_UID", uid.unwrap());
    command.env("STATUS_INTERVAL_SECONDS", "1").env("PROCESSING_SEGMENT_DURATION_SECONDS", "2");
    command.env("ARCHIVE_OFFLINE_THRESHOLD_SECONDS", "10").env("ARCHIVE_ENABLED", "false");
    command.env("METRICS_ADDRESS", "127.0.0.1").env("METRICS_PORT", "0");
    let _checker = Running(command.stdin(Stdio::null()).spawn().expect("it starts"));

    // Its worker says that it is late, and is believed while it is there.
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let mut worker = Simulated::start(&rig, &namespace, 0, &clock).await;
    let key = DeviceKey::new("acme", "gone").unwrap();
    worker.board.update(&key, |known| {
        known.captured_at = Some(clock.now());
        known.committed_until = Some(clock.now().plus_millis(-600_000));
    });
    worker.publisher.turn().await;
    let slices = Api::<stream_processor::operator::crd::DeviceSlice>::namespaced(
        rig.client.clone(),
        &namespace,
    );
    let begun = Instant::now();
    while slices.get_opt("checker-0").await.expect("an answer").is_none() {
        assert!(begun.elapsed() < PATIENCE, "the checker says nothing");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let counts = DeviceCounts { total: 1, late: 1, ..DeviceCounts::default() };
    told(&rig, &namespace, |status| status.devices == Some(counts)).await;

    // Its pod goes, and with it what it said.
    let name = "fleet-consumer-simulated-0";
    let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
    pods.delete(name, &now).await.expect("it is deleted");
    let counts = DeviceCounts { total: 1, offline: 1, ..DeviceCounts::default() };
    let status = told(&rig, &namespace, |status| status.devices == Some(counts)).await;
    let [told_of] = status.device_statuses.as_slice() else { panic!("{status:?}") };
    assert_eq!((told_of.device_id.as_str(), told_of.last_segment), ("gone", Some(1)));

    // It is back: a worker has to tell of it, and the checker does not.
    let again = store.open(&gone).await.expect("it opens");
    assert!(again.session.is_none() && again.next_segment == state.next_segment);
    commit_at(&store, &gone, &again, SystemClock.now()).await.expect("a commit");
    told(&rig, &namespace, |status| status.devices.is_none_or(|counts| counts.total == 0)).await;
}
