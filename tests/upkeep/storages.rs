//! A storage that is not there, lets nobody in, takes no writes, or is full.

use std::time::{Duration, Instant};

use stream_processor::store::Store;

use crate::broker::Broker;
use crate::consumer::Consumer;
use crate::fleet::{device, film};
use crate::rig::*;
use crate::servers::s3::S3Server;
use crate::small_disk::SmallDisk;
use crate::store_fixture::{everything, roomy_base, settings, store};

/// A command that does not get to work: it says these words, and nothing secret.
fn refuses(command: std::process::Command, words: &[&str]) {
    let what = format!("{command:?}");
    let Ended { code, log, .. } = ended(command);
    assert_eq!(code, Some(1), "{what}: {log}");
    for word in words {
        assert!(log.contains(word), "{what}: {word}: {log}");
    }
    assert!(!log.contains("not-the-secret"), "{what}: {log}");
}

/// A server of streams gets to work on `base`, and serves the playlist of camera `a`.
async fn serves(base: &std::path::Path, limit: bool) {
    let mut serve = command(base, &["serve"]);
    if limit {
        serve = limited(&serve);
    }
    let serving = Consumer::run_command(&mut serve).await;
    let served = "streams and the page are served";
    let address = |serving: &Consumer| {
        let log = serving.log();
        let line = log.iter().find(|line| line["message"] == served)?;
        Some(line["address"].as_str()?.to_owned())
    };
    let address = serving.until("it serves", address).await;
    let url = format!("http://{address}/client_ids/acme/device_id/a/hls/playlist.m3u8");
    let answer = reqwest::get(url).await.unwrap();
    assert!(answer.status().is_success(), "{answer:?}\n{}", serving.log_text());
    assert!(serving.leave().await.success());
}

#[tokio::test]
async fn a_bucket_that_is_not_there_or_lets_nobody_in_is_said_by_every_command() {
    let (folder, server) = (roomy_base(), S3Server::start().await);
    for (bucket, secret, words) in [
        ("no-such-bucket", server.secret(), ["s3://no-such-bucket/", "create the bucket"]),
        (server.bucket(), "not-the-secret", ["s3://streams/", "look at its credentials"]),
    ] {
        for arguments in COMMANDS {
            let mut command = command(folder.path(), arguments);
            command
                .env("STORAGE_TYPE", "s3")
                .env("STORAGE_BASE_PATH", "/fleet")
                .env("STORAGE_S3_BUCKET", bucket)
                .env("STORAGE_S3_REGION", server.region())
                .env("STORAGE_S3_ENDPOINT_URL", server.endpoint())
                .env("STORAGE_S3_ACCESS_KEY_ID", server.access_key())
                .env("STORAGE_S3_SECRET_ACCESS_KEY", secret);
            refuses(command, &words);
        }
    }
}

#[tokio::test]
async fn a_folder_that_must_not_be_written_or_read_is_said_with_what_to_do() {
    let base = roomy_base();
    film(&store(base.path()), &device("a"), 3).await;
    let before = everything(base.path());
    set_mode(base.path(), 0o555);
    for arguments in &COMMANDS[..CHANGING] {
        let words = ["Permission denied", "let the user that this program runs as"];
        refuses(limited(&command(base.path(), arguments)), &words);
    }
    // What only reads needs no more than that.
    serves(base.path(), true).await;
    set_mode(base.path(), 0o000);
    for arguments in COMMANDS {
        refuses(limited(&command(base.path(), arguments)), &["Permission denied"]);
    }
    set_mode(base.path(), 0o755);
    assert_eq!(everything(base.path()), before);
}

#[tokio::test]
async fn a_clients_folder_that_must_not_be_read_costs_itself() {
    let base = roomy_base();
    let store = store(base.path());
    film(&store, &device("gone"), 30).await;
    let forbidden = base.path().join("client_ids/lost+found");
    std::fs::create_dir_all(&forbidden).unwrap();
    set_mode(&forbidden, 0o000);
    for (arguments, said) in [
        (&["offline-checker"][..], "1 devices, 1 sessions ended, 1 archives made, 0 errors"),
        (&["cleanup"][..], "1 devices looked at"),
        (&["archive-cleanup"][..], "1 devices looked at"),
    ] {
        let ended = ended(limited(&command(base.path(), arguments)));
        assert!(ended.code == Some(0) && ended.said.contains(said), "{ended:?}");
        let told = ended.log.lines().filter(|line| line.contains("a client is left out")).count();
        assert!(told == 1 && ended.log.contains("lost+found"), "{ended:?}");
    }
    set_mode(&forbidden, 0o755);
}

/// A storage that is full: a gone camera's segments are past their retention and the grace.
async fn full_of_old_segments(disk: &SmallDisk) {
    film(&store(disk.path()), &device("a"), 30).await;
    let cleaned = ended(cleanup(disk));
    assert!(cleaned.said.contains("; 0 segments"), "{cleaned:?}");
    // The grace of a second.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    disk.fill();
}

fn cleanup(disk: &SmallDisk) -> std::process::Command {
    let mut command = command(disk.path(), &["cleanup"]);
    command.env("ARCHIVE_ENABLED", "false").env("RETENTION_GRACE_SECONDS", "1");
    command
}

#[tokio::test]
async fn a_full_disk_is_said_and_is_no_reason_not_to_clean_up() {
    let Some(disk) = SmallDisk::mount(1_024) else { return };
    full_of_old_segments(&disk).await;
    let before = everything(disk.path());
    for arguments in [COMMANDS[0], COMMANDS[1]] {
        let words = ["No space left on device", "make room on it", "stream-processor cleanup"];
        refuses(command(disk.path(), arguments), &words);
    }
    refuses(command(disk.path(), COMMANDS[4]), &["the device was not reset", "No space left"]);
    assert_eq!(everything(disk.path()), before, "nothing is lost");
    serves(disk.path(), false).await;
    let swept = run(disk.path(), &["archive-cleanup"]);
    assert!(swept.code == Some(0) && swept.log.contains("the storage is full"), "{swept:?}");

    let cleaned = ended(cleanup(&disk));
    assert!(cleaned.code == Some(0) && cleaned.log.contains("the storage is full"), "{cleaned:?}");
    assert!(!cleaned.said.contains(" 0 segments, 0 frames"), "{cleaned:?}");
    assert!(names(&hls(disk.path(), "a").join("segments")).len() < 30);
    disk.make_room();
    let reset = run(disk.path(), COMMANDS[4]);
    assert!(reset.code == Some(0) && reset.said.contains("goes on with segment 30"), "{reset:?}");
}

#[tokio::test]
async fn a_read_only_disk_is_said_and_is_read() {
    let Some(disk) = SmallDisk::mount(2_048) else { return };
    film(&store(disk.path()), &device("a"), 3).await;
    disk.set_read_only(true);
    for arguments in &COMMANDS[..CHANGING] {
        refuses(command(disk.path(), arguments), &["mount it for writing", "Read-only"]);
    }
    serves(disk.path(), false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_wait_while_the_disk_is_full_or_read_only_and_none_is_lost() {
    let Some(disk) = SmallDisk::mount(4_096) else { return };
    let (broker, base) = (Broker::shared().await, disk.path().join("streams"));
    std::fs::create_dir(&base).unwrap();
    let topic = broker.topic("full-disk");
    let variables =
        [("PROCESSING_SEGMENT_DURATION_SECONDS", "2"), ("PROCESSING_FRAMES_PER_SEGMENT", "4")];
    let worker = Consumer::start(broker, &topic, "frames", &base, &variables).await;
    let mut live = Live::of(&["live-0", "live-1"]);
    live.film(&base, broker, &topic, 8).await;
    until(&worker, live.frames()).await;

    let is_full = |full: bool| if full { disk.fill() } else { disk.make_room() };
    let is_read_only = |read_only: bool| disk.set_read_only(read_only);
    let troubles: [(&dyn Fn(bool), &str); 2] =
        [(&is_full, "No space left on device"), (&is_read_only, "Read-only file system")];
    for (trouble, word) in troubles {
        // The JPEGs are there, and then nothing more can be written.
        live.place(&base, 8);
        trouble(true);
        live.publish(broker, &topic).await;
        let begun = Instant::now();
        loop {
            let (is_ready, said) = worker.probe("/readyz").await;
            if !is_ready && said.contains(word) {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "{said}\n{}", worker.log_text());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        trouble(false);
        until(&worker, live.frames()).await;
        assert!(worker.probe("/readyz").await.0);
    }
    live.assert_whole(&Store::at(&base, settings()).unwrap()).await;
    assert_eq!(worker.metric("dead_letters_total").await, 0.0);
    assert!(worker.leave().await.success());
}

async fn until(worker: &Consumer, frames: usize) {
    let begun = Instant::now();
    while worker.metric("frames_committed_total").await < frames as f64 {
        assert!(begun.elapsed() < Duration::from_secs(60), "{frames}:\n{}", worker.log_text());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
