//! Clips in Chromium.

use std::time::Duration;

use serde_json::Value;
use stream_processor::media::{Container, Playback};

use crate::browser::{self, assert_all_good};
use crate::material::{BARS, SIZE, Shot, Stream, groups, number, span};
use crate::tools::Bench;

/// Brighter than any grey bar, darker than any white one.
const WHITE_FROM: u64 = 160;

/// The number that the bars of a picture are.
fn bars(look: &Value) -> u64 {
    let bright = look["bright"].as_array().unwrap().iter().map(|bar| bar.as_u64().unwrap());
    bright.fold(0, |number, bar| number << 1 | u64::from(bar > WHITE_FROM))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_picture_is_the_one_of_its_time_from_the_first_on() {
    let bench = Bench::new();
    let mut shots = groups(3);
    shots[2].iter_mut().for_each(|shot| shot.size = (480, 272));
    let stream = Stream::of(Container::Ts, Playback::Realtime, &shots);
    let (from, to) = (13_579, 83_000);
    let (clip, file) = stream.clip(span(from, to)).unwrap();
    let path = bench.file("clip.mp4", &file);
    // Before and after the second frame, far in, behind the change, and near the end.
    let places = [0, 1_200, 1_600, 40_000, 50_000, 69_000];
    let at = places.map(|millis| format!("{}.{:03}", millis / 1_000, millis % 1_000)).join(",");
    let columns = BARS.to_string();
    let arguments = [path.to_str().unwrap(), "--at", &at, "--columns", &columns];
    let verdict = browser::run("look.mjs", &arguments).await;
    assert_all_good(std::slice::from_ref(&verdict));
    let lasts_secs = verdict.found["durationSecs"].as_f64().unwrap();
    let exactly_secs = Duration::from_millis(clip.duration_ticks() / 90).as_secs_f64();
    assert!((lasts_secs - exactly_secs).abs() < 0.000_1, "{lasts_secs} for {exactly_secs} s");
    let taken: Vec<Shot> = shots.concat();
    for (place, look) in places.iter().zip(verdict.found["looks"].as_array().unwrap()) {
        let shown = taken.iter().rfind(|shot| shot.millis <= from + place).unwrap();
        assert_eq!(bars(look), number(shown.millis), "{place} ms: {look}");
        let size = (look["width"].as_u64().unwrap(), look["height"].as_u64().unwrap());
        assert_eq!(size, (shown.size.0.into(), shown.size.1.into()), "{place} ms");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clips_are_sought_everywhere() {
    let bench = Bench::new();
    let mut verdicts = Vec::new();
    for changes in [false, true] {
        let mut shots = groups(10);
        if changes {
            shots[4..7].iter_mut().flatten().for_each(|shot| shot.size = (480, 272));
        }
        let stream = Stream::of(Container::Fmp4, Playback::Realtime, &shots);
        let (_, file) = stream.clip(span(13_579, 283_000)).unwrap();
        verdicts.push(seek(bench.file("clip.mp4", &file).to_str().unwrap()).await);
    }
    let frames = (0..6).map(|index| Shot { millis: index * 5_000, size: SIZE });
    let one = Stream::of(Container::Ts, Playback::Realtime, &[frames.collect()]);
    let day = Stream { segments: vec![one.segments[0].clone(); 2_880], ..one };
    let (_, file) = day.clip(span(1_000, 24 * 3_600_000)).unwrap();
    verdicts.push(seek(bench.file("day.mp4", &file).to_str().unwrap()).await);
    assert_all_good(&verdicts);
    for verdict in &verdicts {
        assert_eq!(verdict.found["reached"], 12, "{}", verdict.found);
    }
}

async fn seek(path: &str) -> browser::Verdict {
    browser::run("seek.mjs", &[path, "--player", "native"]).await
}
