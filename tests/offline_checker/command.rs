//! The command as a person or a cluster runs it.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use stream_processor::model::{Clock, SystemClock};
use stream_processor::store::layout::hls_folder;

use crate::fleet::{commit_at, device, film, stored};
use crate::store_fixture::{roomy_base, store};

/// With segments of two seconds, so that a second look comes soon.
fn checker(base: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stream-processor"));
    command
        .arg("offline-checker")
        .args(args)
        .current_dir(base)
        .env_clear()
        .env("STORAGE_BASE_PATH", base)
        .env("PROCESSING_SEGMENT_DURATION_SECONDS", "2")
        .env("ARCHIVE_OFFLINE_THRESHOLD_SECONDS", "10")
        .env("METRICS_ADDRESS", "127.0.0.1")
        .env("METRICS_PORT", "0");
    command
}

fn once(base: &Path, args: &[&str]) -> (Output, String) {
    let output = checker(base, args).output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, log)
}

#[tokio::test]
async fn once_ends_what_is_over_archives_it_and_says_so() {
    let base = roomy_base();
    let store = store(base.path());
    film(&store, &device("gone"), 3).await;
    let state = film(&store, &device("live"), 3).await;
    commit_at(&store, &device("live"), &state, SystemClock.now()).await.unwrap();
    let (output, log) = once(base.path(), &[]);
    assert!(output.status.success(), "{log}");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said, "2 devices, 1 sessions ended, 1 archives made, 0 errors\n", "{log}");
    assert!(stored(&store, &device("gone")).await.session.is_none());
    assert!(stored(&store, &device("live")).await.session.is_some());
    let archives = base.path().join("client_ids/acme/device_id/gone/archives");
    let names: Vec<_> = std::fs::read_dir(archives).unwrap().flatten().collect();
    assert!(names.len() == 1 && names[0].path().join("archive.json").is_file(), "{names:?}");

    let (output, log) = once(base.path(), &["--once"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.starts_with("2 devices, 0 sessions ended, 0 archives made"), "{said}{log}");
}

#[tokio::test]
async fn once_says_what_could_not_be_checked_and_fails() {
    let base = roomy_base();
    film(&store(base.path()), &device("a"), 3).await;
    let state = base.path().join(hls_folder(&device("a"))).join("state.json");
    std::fs::write(state, "no state").unwrap();
    let (output, log) = once(base.path(), &["--once"]);
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(log.contains(r#""device":"acme/a""#) && log.contains("1 devices could not"), "{log}");
}

#[test]
fn a_folder_that_is_not_there_is_said_at_once() {
    let base = roomy_base();
    let (output, log) = once(base.path(), &["--once", "--storage-base-path=/nowhere"]);
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(log.contains("STORAGE_BASE_PATH"), "{log}");
}

/// Killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn continuously_it_finds_what_falls_silent_shows_itself_and_leaves_in_order() {
    let base = roomy_base();
    let store = store(base.path());
    film(&store, &device("a"), 3).await;
    let mut command = checker(base.path(), &["--continuous", "--interval", "1"]);
    command.env("LOG_FORMAT", "json").stdout(Stdio::null()).stderr(Stdio::piped());
    let mut running = Running(command.spawn().unwrap());
    let mut log = BufReader::new(running.0.stderr.take().unwrap()).lines();
    let mut until = |message: &str| loop {
        let line = log.next().expect("it goes on").unwrap();
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        if line["message"] == message {
            return line;
        }
    };
    let served = until("metrics and health are served");
    until("the session is over");
    let checked = until("devices checked");
    assert_eq!((checked["ended"].as_u64(), checked["archives"].as_u64()), (Some(1), Some(1)));
    let ops = format!("http://{}", served["address"].as_str().unwrap());
    let get = async |path: &str| reqwest::get(format!("{ops}{path}")).await.unwrap();
    let ready = get("/readyz").await;
    assert!(ready.status().is_success() && get("/healthz").await.status().is_success());
    let ready: serde_json::Value = serde_json::from_str(&ready.text().await.unwrap()).unwrap();
    let parts: Vec<_> =
        ready["checks"].as_array().unwrap().iter().map(|check| &check["name"]).collect();
    assert_eq!(parts, ["storage"]);
    let metrics = get("/metrics").await.text().await.unwrap();
    for line in ["sessions_ended_total 1", "sessions_open 0", "archives_created_total 1"] {
        assert!(metrics.contains(&format!("\nstream_processor_{line}\n")), "{metrics}");
    }
    let pid = rustix::process::Pid::from_child(&running.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let mut rest = String::new();
    let _ = running.0.stdout.take().map(|mut out| out.read_to_string(&mut rest));
    assert!(running.0.wait().unwrap().success());
}
