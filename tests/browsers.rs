//! The streams as a viewer has them: the real pipeline in a real browser, and with a crowd of
//! viewers.
//!
//! A live time lapse is shorter than the time it takes to come about, so a player always runs
//! out of it: time lapses are judged as snapshots of the window.

#![allow(clippy::expect_used, clippy::panic, reason = "a failed expectation fails the test")]

#[path = "support/broker.rs"]
#[allow(dead_code, reason = "each test binary uses its part of the rig")]
mod broker;
#[path = "support/browser.rs"]
mod browser;
#[path = "support/consumer.rs"]
mod consumer;
#[path = "browsers/crowd.rs"]
mod crowd;
#[path = "browsers/day.rs"]
mod day;
#[path = "support/encoder.rs"]
mod encoder;
#[path = "support/history.rs"]
mod history;
#[path = "browsers/live.rs"]
mod live;
#[path = "browsers/past.rs"]
mod past;
#[path = "support/serving.rs"]
mod serving;
#[path = "support/viewer.rs"]
mod viewer;

use std::time::{Duration, Instant};

use browser::{StreamServer, Verdict, assert_all_good};
use day::Day;
use futures::future::join_all;
use live::LiveStreams;
use past::Past;
use serving::Server;
use sha2::{Digest, Sha256};
use stream_processor::http::playback::address::playlist_url;
use stream_processor::media::{Container, Playback};
use tokio::sync::{Mutex, Semaphore};

/// How long each player plays, in seconds.
const PLAYED_SECS: &str = "90";
/// Segments of 30 s in a day, and some that have left the window.
const SEGMENTS_OF_A_DAY: u64 = 2_880 + 4;
/// A smaller window: it takes no less to seek in it.
const SEGMENTS_OF_A_TIME_LAPSE: u64 = 240;
/// How long seeking goes on after each seek, in seconds, while the window moves on.
const PAUSE_SECS: &str = "3";
/// How many browsers seek at the same time: more would measure the machine.
const BROWSERS: usize = 4;

/// Held while a window is made, which takes all cores: what plays live meanwhile would stall.
static CORES: Mutex<()> = Mutex::const_new(());
/// Whose turn it is to seek.
static TURNS: Semaphore = Semaphore::const_new(BROWSERS);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_streams_start_at_the_edge_and_play_on() {
    let mut running = Vec::new();
    for container in ["ts", "fmp4"] {
        running.push(LiveStreams::start(container, 7).await);
    }
    drop(CORES.lock().await);
    let mut players = Vec::new();
    for streams in &running {
        for (device, player) in streams.devices.iter().zip(["native", "hlsjs"]) {
            let url = streams.server.live(device);
            players.push(async move {
                let options = ["--player", player, "--secs", PLAYED_SECS];
                let options = [&[url.as_str()], &options[..]].concat();
                browser::run("play-live.mjs", &options).await
            });
        }
    }
    let verdicts = join_all(players).await;
    for streams in running {
        streams.finish().await;
    }
    assert_all_good(&verdicts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_s_window_and_a_time_lapse_are_sought_everywhere() {
    let folder = history_base();
    let begun = Instant::now();
    let cores = CORES.lock().await;
    let lapse = Playback::Timelapse { frame_rate: 2 };
    let mut days = join_all([
        Day::make(folder.path(), "day-ts", Container::Ts, Playback::Realtime, SEGMENTS_OF_A_DAY),
        Day::make(folder.path(), "day-mp4", Container::Fmp4, Playback::Realtime, SEGMENTS_OF_A_DAY),
        Day::make(folder.path(), "lapse-ts", Container::Ts, lapse, SEGMENTS_OF_A_TIME_LAPSE),
        Day::make(folder.path(), "lapse-mp4", Container::Fmp4, lapse, SEGMENTS_OF_A_TIME_LAPSE),
    ])
    .await;
    drop(cores);
    println!("the windows took {:.1} s to make", begun.elapsed().as_secs_f64());

    let lapses = days.split_off(2);
    let server = StreamServer::of(folder.path()).await;
    let seek = async |url: String, player: &str, pause: &str| -> Verdict {
        let _turn = TURNS.acquire().await.expect("a turn");
        let options = ["--player", player, "--pause-secs", pause, "--edge-secs", "30"];
        browser::run("seek.mjs", &[&[url.as_str()], &options[..]].concat()).await
    };
    let growing: Vec<_> = days.into_iter().map(Day::grow).collect();
    let mut seeks = Vec::new();
    for day in &growing {
        seeks.push(seek(server.live(&day.device), "hlsjs", PAUSE_SECS));
    }
    for device in growing.iter().map(|day| &day.device).chain(lapses.iter().map(|d| &d.device)) {
        seeks.push(seek(server.snapshot(device), "native", "0"));
    }
    for day in &lapses {
        seeks.push(seek(server.snapshot(&day.device), "hlsjs", "0"));
    }
    let verdicts = join_all(seeks).await;
    for day in growing {
        day.finish().await;
    }
    for lapse in lapses {
        lapse.close().await;
    }
    assert_all_good(&verdicts);
    for verdict in &verdicts {
        assert_eq!(verdict.found["reached"], 12, "{}", verdict.found);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn archives_and_clips_last_as_long_as_was_captured_and_are_sought_everywhere() {
    let cores = CORES.lock().await;
    let pasts = join_all([Past::make("ts", 11), Past::make("fmp4", 12)]).await;
    drop(cores);
    let judge = async |url: String, player: &str, captured_secs: f64| -> Verdict {
        let _turn = TURNS.acquire().await.expect("a turn");
        let options = [url.as_str(), "--player", player, "--pause-secs", "1"];
        let verdict = browser::run("seek.mjs", &options).await;
        for length in ["windowSecs", "durationSecs"] {
            let secs = verdict.found[length].as_f64().unwrap_or_default();
            let is_right = !verdict.is_good() || (secs - captured_secs).abs() < 0.5;
            assert!(is_right, "{length} for {captured_secs} s captured: {}", verdict.found);
        }
        verdict
    };
    let mut verdicts = Vec::new();
    // With the stream there, and when nothing but the archive is left.
    for is_alone in [false, true] {
        let mut judging = Vec::new();
        let mut servers = Vec::new();
        for past in &pasts {
            if is_alone {
                past.forget_the_stream();
            }
            let server = past.serve().await;
            let ((archive, archive_secs), (clip, clip_secs)) = (past.archive(), past.clip());
            let url = |path: &str| format!("{}{path}", server.base_url);
            judging.push(judge(url(&clip), "native", clip_secs));
            if is_alone {
                judging.push(judge(url(&archive), "native", archive_secs));
                judging.push(judge(url(&archive), "hlsjs", archive_secs));
            }
            servers.push(server);
        }
        verdicts.extend(join_all(judging).await);
    }
    assert_all_good(&verdicts);
    for verdict in &verdicts {
        assert_eq!(verdict.found["reached"], 12, "{}", verdict.found);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_viewers_at_once_are_served_nothing_wrong_while_the_streams_are_made() {
    for container in ["ts", "fmp4"] {
        let streams = LiveStreams::start(container, 23).await;
        let server = Server::start(&streams.storage(), &[]).await;
        let playlists: Vec<_> = streams.devices.iter().map(playlist_url).collect();
        let seen = crowd::watch(server.port, &playlists, 200).await;
        println!("{container}: {} answers, {} files", seen.answers, seen.served.len());
        assert_eq!(seen.viewers, 200);
        // Of each device a segment for each version, which were whole as soon as they were listed.
        assert!(seen.served.len() >= 2 * 4, "{:?}", seen.served.keys());
        for ((device, uri), about) in &seen.served {
            let file = streams.hls(&streams.devices[*device]).join(uri);
            let bytes = std::fs::read(&file).expect("what was served is there");
            let there = (bytes.len() as u64, Sha256::digest(&bytes).into());
            assert_eq!(*about, there, "{}", file.display());
        }
        streams.finish().await;
    }
}

/// In memory where the machine has room there: a day is synced to disk thousands of times.
fn history_base() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder")
}

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);
