//! `consumer --with-cleanup`: the whole life of streams in one process, or in several.

use std::path::Path;
use std::time::{Duration, Instant};

use stream_processor::model::DeviceKey;
use stream_processor::playlist::{Window, media_file_number};
use stream_processor::store::layout::hls_folder;

use crate::archive_fixture::{Camera, archives_folder};
use crate::broker::Broker;
use crate::consumer::Consumer;
use crate::fleet::{device, film};
use crate::rig::{Live, names};
use crate::store_fixture::{key, store};

const SUBSCRIPTION: &str = "frames";
/// How long chores may take that come every ten seconds, and one after the other.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long a worker with little to do may take to leave.
const LEAVING: Duration = Duration::from_secs(8);
const CHORES: [&str; 3] = ["offline_check", "cleanup", "archive_cleanup"];

async fn worker(
    name: &str,
    broker: &Broker,
    topic: &str,
    base: &Path,
    variables: &[(&str, &str)],
) -> Consumer {
    let all = [
        ("PULSAR_CONSUMER_NAME", name),
        ("PROCESSING_SEGMENT_DURATION_SECONDS", "2"),
        ("PROCESSING_FRAMES_PER_SEGMENT", "4"),
        ("ARCHIVE_OFFLINE_THRESHOLD_SECONDS", "10"),
        ("RETENTION_INTERVAL_SECONDS", "10"),
        ("RETENTION_GRACE_SECONDS", "0"),
    ];
    let mut command = Consumer::command(broker, topic, SUBSCRIPTION, base, &all);
    Consumer::run_command(command.arg("--with-cleanup").envs(variables.iter().copied())).await
}

/// What the workers' metrics say together.
async fn sum(workers: &[Consumer], name: &str) -> f64 {
    let mut sum = 0.0;
    for worker in workers {
        sum += worker.metric(name).await;
    }
    sum
}

async fn until(workers: &[Consumer], name: &str, wanted: f64) {
    let begun = Instant::now();
    loop {
        let is = sum(workers, name).await;
        if is >= wanted {
            return;
        }
        let logs = || workers.iter().map(Consumer::log_text).collect::<String>();
        assert!(begun.elapsed() < PATIENCE, "{name} is {is}, not {wanted}\n{}", logs());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn leave(worker: Consumer) {
    let asked = Instant::now();
    let status = worker.leave().await;
    assert!(status.success() && asked.elapsed() < LEAVING, "{status}, {:?}", asked.elapsed());
}

fn window(base: &Path, key: &DeviceKey) -> Window {
    let playlist = base.join(hls_folder(key)).join("playlist.m3u8");
    Window::parse(&std::fs::read_to_string(playlist).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_do_on_one_storage_what_one_would() {
    let (base, broker) = (tempfile::tempdir().unwrap(), Broker::shared().await);
    let (base, topic) = (base.path(), broker.topic("all-in-one"));
    let store = store(base);
    // A camera that went away months ago, and one that has an archive from then.
    film(&store, &device("gone"), 30).await;
    let camera = Camera::of(store.clone());
    camera.film(4, &[]).await;
    camera.end_session().await;
    assert_eq!(camera.run().await.archived, 1);

    let mut live = Live::of(&["live-0", "live-1", "live-2", "live-3"]);
    let workers = [
        worker("one", broker, &topic, base, &[]).await,
        worker("two", broker, &topic, base, &[]).await,
    ];
    live.film(base, broker, &topic, 12).await;
    until(&workers, "archives_deleted_total", 1.0).await;
    until(&workers, "archives_created_total", 1.0).await;
    until(&workers, "segments_deleted_total", 1.0).await;
    live.film(base, broker, &topic, 12).await;
    until(&workers, "frames_committed_total", live.frames() as f64).await;
    // Once more, so that whatever is done twice is seen.
    let turns = sum(&workers, "chore_runs_total{chore=\"cleanup\"}").await;
    until(&workers, "chore_runs_total{chore=\"cleanup\"}", turns + 3.0).await;

    // The session that was over: ended once, archived once, and gone from the stream, but for
    // what the live playlist still lists.
    assert_eq!(sum(&workers, "archives_created_total").await, 1.0);
    assert_eq!(sum(&workers, "archives_deleted_total").await, 1.0);
    assert!(names(&archives_folder(base)).is_empty(), "it had expired");
    let archives = base.join("client_ids/acme/device_id/gone/archives");
    let archive = archives.join(names(&archives).first().expect("an archive"));
    let document = std::fs::read_to_string(archive.join("archive.json")).unwrap();
    assert!(document.contains("\"ready\"") && document.contains("\"segment_count\":30"));
    assert_eq!(names(&archive.join("segments")).len(), 30);
    let listed = window(base, &device("gone"));
    let media = names(&base.join(hls_folder(&device("gone"))).join("segments"));
    let numbers: Vec<u64> = media.iter().filter_map(|name| media_file_number(name)).collect();
    assert_eq!(numbers, (listed.media_sequence..30).collect::<Vec<_>>());
    assert_eq!(sum(&workers, "segments_deleted_total").await, listed.media_sequence as f64);
    assert_eq!(window(base, &key()).next_number(), 4);

    live.assert_whole(&store).await;
    for chore in CHORES {
        for worker in &workers {
            let metric = |name: &str| format!("chore_{name}_total{{chore=\"{chore}\"}}");
            assert!(worker.metric(&metric("runs")).await >= 1.0, "{chore}");
            assert_eq!(worker.metric(&metric("failures")).await, 0.0, "{chore}");
        }
    }
    for worker in &workers {
        let troubles: Vec<_> =
            worker.log().into_iter().filter(|line| line["level"] == "ERROR").collect();
        assert!(troubles.is_empty(), "{troubles:?}");
    }
    for worker in workers {
        leave(worker).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chores_that_fail_cost_no_frame_and_are_told_of_once() {
    let (base, broker) = (tempfile::tempdir().unwrap(), Broker::shared().await);
    let (base, topic) = (base.path(), broker.topic("chores-fail"));
    let store = store(base);
    film(&store, &device("broken"), 3).await;
    let broken = base.join(hls_folder(&device("broken"))).join("state.json");
    std::fs::write(broken, "{\"format\":1,").unwrap();

    // A database where nobody listens: the clean-up of archives fails as a whole.
    let database = ("ARCHIVE_DATABASE_URL", "postgres://me@127.0.0.1:1/none?connect_timeout=1");
    let worker = worker("alone", broker, &topic, base, &[database]).await;
    let mut live = Live::of(&["live-0", "live-1"]);
    live.film(base, broker, &topic, 12).await;
    let workers = [worker];
    until(&workers, "chore_failures_total{chore=\"archive_cleanup\"}", 1.0).await;
    until(&workers, "errors_total{error_type=\"cleanup\"}", 2.0).await;
    until(&workers, "errors_total{error_type=\"offline_check\"}", 1.0).await;
    live.film(base, broker, &topic, 12).await;
    until(&workers, "frames_committed_total", live.frames() as f64).await;
    live.assert_whole(&store).await;
    let [worker] = workers;
    let (is_ready, said) = worker.probe("/readyz").await;
    assert!(is_ready, "{said}");
    let log = worker.log();
    let count = |message: &str, field: &str, value: &str| {
        log.iter().filter(|line| line["message"] == message && line[field] == value).count()
    };
    let told = count("it could not be cleaned up", "device", "acme/broken");
    assert_eq!(told, 1, "{}", worker.log_text());
    let told = count("it cannot be done now: it is tried again", "chore", "archive_cleanup");
    assert_eq!(told, 1, "{}", worker.log_text());
    leave(worker).await;
}
