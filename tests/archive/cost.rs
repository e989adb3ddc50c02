//! What archiving costs: no byte of media passes through the process, and a device without news
//! costs two small files.

use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use stream_processor::model::{Clock, UtcMillis};

use super::archive_fixture::*;
use super::store_fixture::*;

/// Names the base folder to the child process; without it the child's part does nothing.
const CHILD_BASE: &str = "ARCHIVE_COST_BASE";
/// The child's time.
const CHILD_NOW: &str = "ARCHIVE_COST_NOW";

/// What one media file takes.
const MEDIA_BYTES: usize = 100_000;

/// How many bytes this process has read so far, from wherever (proc_pid_io(5)).
fn bytes_read() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("rchar: "));
    line.unwrap().parse().unwrap()
}

/// The child's part: one run, and how many bytes it has read.
#[test]
fn child_counts_what_it_reads() {
    let Some(base) = std::env::var_os(CHILD_BASE) else { return };
    let camera = Camera::of(store(Path::new(&base)));
    camera.clock.set(UtcMillis(std::env::var(CHILD_NOW).unwrap().parse().unwrap()));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // Threads are started before it is counted.
    runtime.block_on(camera.store.devices()).unwrap();
    let before = bytes_read();
    let outcome = runtime.block_on(camera.run());
    let read = bytes_read() - before;
    println!("archived {} read {read}", outcome.archived);
}

/// How many sessions the child archived, and how many bytes it read.
fn child(camera: &Camera, base: &Path) -> (u64, u64) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "cost::child_counts_what_it_reads", "--test-threads=1", "--nocapture"])
        .env(CHILD_BASE, base)
        .env(CHILD_NOW, as_number(camera.clock.now()))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let line = said.lines().find_map(|line| line.split_once("archived ")).expect(&said).1;
    let (archived, read) = line.split_once(" read ").unwrap();
    (archived.parse().unwrap(), read.parse().unwrap())
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len()
}

#[tokio::test]
async fn an_archive_of_240_segments_reads_no_media_and_a_run_without_news_two_files() {
    let base = roomy_base();
    let camera = Camera::of(store(base.path()));
    let change = |next: &mut stream_processor::store::NewSegment| {
        let mut media = next.media.to_vec();
        media.resize(MEDIA_BYTES, 0);
        next.media = Bytes::from(media);
    };
    camera.film_as(240, &[], change).await;
    camera.end_session().await;
    let hls = hls(base.path());
    let history: u64 = std::fs::read_dir(hls.join("history"))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    let state = size(&hls.join("state.json"));

    let (archived, read) = child(&camera, base.path());
    assert_eq!(archived, 1);
    assert_eq!(camera.media(&session(0)).await.len(), 240);
    // The state twice, the records once, and a page for this and that.
    let allowed = 2 * state + history + 4_096;
    assert!(read <= allowed, "{read} bytes were read; {allowed} are what it has to know");
    assert!(allowed < MEDIA_BYTES as u64 * 240 / 50);

    let (archived, read) = child(&camera, base.path());
    assert_eq!(archived, 0);
    let allowed = state + size(&hls.join("archived.json")) + 1_024;
    assert!(read <= allowed, "{read} bytes were read; {allowed} are what it has to know");
}
