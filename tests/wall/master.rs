//! `master.m3u8` of real streams and archives, judged by what is on disk and by ffprobe.

use std::process::{Command, Stdio};

use m3u8_rs::VariantStream;
use reqwest::StatusCode;
use stream_processor::media::Container;
use stream_processor::model::{DeviceKey, UtcMillis};
use stream_processor::store::Store;

use super::footage::{self, Footage, IN_A_ROW, INTERVAL_MILLIS};
use super::serving::{ACME_TOKEN, KEY, Server, signed};
use super::store_fixture::{commits_at, segment, settings, timeline};
use super::variables;

const START: UtcMillis = UtcMillis(1_769_846_400_000);

fn variant(text: &str) -> VariantStream {
    let (_, read) = m3u8_rs::parse_master_playlist(text.as_bytes()).expect(text);
    let [variant] = <[_; 1]>::try_from(read.variants).expect(text);
    variant
}

async fn text(server: &Server, path: &str) -> String {
    let answer = server.get(path, None).await;
    assert_eq!(answer.status(), StatusCode::OK, "{path}");
    answer.text().await.unwrap()
}

#[expect(clippy::cast_possible_truncation, reason = "rounded up, and small")]
fn whole(bits_per_second: f64) -> u64 {
    bits_per_second.ceil() as u64
}

/// The peak and the average by the letter of RFC 8216 section 4.1: every contiguous set is
/// looked at, and sizes are those of what is served.
async fn rates(server: &Server, playlist: &str) -> (u64, u64) {
    let folder = playlist.rsplit_once('/').unwrap().0;
    let body = text(server, playlist).await;
    let (_, list) = m3u8_rs::parse_media_playlist(body.as_bytes()).unwrap();
    let mut segments = Vec::new();
    for segment in &list.segments {
        let path = format!("{folder}/{}", segment.uri);
        let bytes = server.get(&path, None).await.bytes().await.unwrap().len();
        segments.push((bytes as f64 * 8.0, f64::from(segment.duration)));
    }
    let sum = |part: &[(f64, f64)]| {
        part.iter().fold((0.0, 0.0), |(bits, secs), part| (bits + part.0, secs + part.1))
    };
    let target = list.target_duration as f64;
    let mut peak: f64 = 0.0;
    for from in 0..segments.len() {
        for to in from + 1..=segments.len() {
            let (bits, secs) = sum(&segments[from..to]);
            if (0.5 * target..=1.5 * target).contains(&secs) {
                peak = peak.max(bits / secs);
            }
        }
    }
    let (bits, secs) = sum(&segments);
    (whole(peak), whole(bits / secs))
}

/// What ffprobe says of a stream: profile, level, width and height.
fn probed(url: &str) -> (u8, u64, u64, u64) {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v:0", "-of", "json", "-show_entries"])
        .args(["stream=profile,level,width,height", url])
        .stdin(Stdio::null())
        .output()
        .expect("ffprobe runs");
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    // Asked for by a playlist of variants, it may name the stream a second time.
    let stream = &found["streams"][0];
    let profile = match stream["profile"].as_str().unwrap_or_default() {
        "High" => 100,
        "Main" => 77,
        "Constrained Baseline" | "Baseline" => 66,
        other => panic!("profile {other}: {found}"),
    };
    let number = |name: &str| stream[name].as_u64().expect(name);
    (profile, number("level"), number("width"), number("height"))
}

/// What CODECS and RESOLUTION say.
fn said(variant: &VariantStream) -> (u8, u64, u64, u64) {
    let codec = variant.codecs.as_deref().expect("codecs");
    let hex = codec.strip_prefix("avc1.").expect(codec);
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect(codec);
    let size = variant.resolution.expect("a resolution");
    (byte(0), byte(4).into(), size.width, size.height)
}

#[tokio::test]
async fn the_variant_is_as_fast_and_as_coded_as_it_says() {
    let base = tempfile::tempdir().unwrap();
    let store = footage::store(base.path());
    let mut devices = Vec::new();
    for (name, container) in [("ts", Container::Ts), ("fmp4", Container::Fmp4)] {
        let pool = footage::encoder(container).await;
        let key = DeviceKey::new("acme", name).unwrap();
        let frames = footage::telling(START);
        let told = Footage::of(&pool, frames).await;
        pool.close().await;
        let now = START.plus_millis(3 * IN_A_ROW * INTERVAL_MILLIS);
        told.commit(base.path(), &store, &key, now).await;
        footage::archive(&store, &key).await;
        devices.push(format!("/client_ids/acme/device_id/{name}"));
    }
    let server = Server::start(&variables(base.path()), &[]).await;
    for device in devices {
        let archives = format!("/api/archives?client=acme&device={}", name(&device));
        let archives = text(&server, &archives).await;
        let archives: serde_json::Value = serde_json::from_str(&archives).unwrap();
        let archive = archives["archives"][0]["playlist"].as_str().expect("an archive").to_owned();
        for playlist in [format!("{device}/hls/playlist.m3u8"), archive] {
            let master = playlist.replace("playlist.m3u8", "master.m3u8");
            let answer = text(&server, &master).await;
            let variant = variant(&answer);
            assert_eq!(variant.uri, "playlist.m3u8");
            let (peak, average) = rates(&server, &playlist).await;
            assert_eq!((variant.bandwidth, variant.average_bandwidth), (peak, Some(average)));
            let probed = probed(&format!("{}{master}", server.base_url));
            assert_eq!(said(&variant), probed, "{answer}");
        }
        // A part has rates of its own, and is asked for by the variant.
        let query = "from=2026-01-31T08:00:00.000Z&to=2026-01-31T08:01:00.000Z";
        let master = text(&server, &format!("{device}/hls/master.m3u8?{query}")).await;
        let part = variant(&master);
        assert_eq!(part.uri, format!("playlist.m3u8?{query}"));
        let (peak, average) = rates(&server, &format!("{device}/hls/playlist.m3u8?{query}")).await;
        assert_eq!((part.bandwidth, part.average_bandwidth), (peak, Some(average)));
        let none = format!("{device}/hls/master.m3u8?from=2030-01-01T00:00:00Z");
        assert_eq!(server.status(&none, None).await, StatusCode::NOT_FOUND);
    }
}

fn name(device: &str) -> &str {
    device.rsplit_once('/').unwrap().1
}

#[tokio::test]
async fn what_was_committed_since_is_weighed_too_and_what_is_known_is_not_asked_for_again() {
    let base = tempfile::tempdir().unwrap();
    let store = footage::store(base.path());
    let pool = footage::encoder(Container::Ts).await;
    let key = DeviceKey::new("acme", "grows").unwrap();
    let frames = footage::telling(START);
    Footage::of(&pool, frames[..12].to_vec()).await.commit(base.path(), &store, &key, START).await;
    let server = Server::start(&variables(base.path()), &[]).await;
    let playlist = "/client_ids/acme/device_id/grows/hls/playlist.m3u8";
    let master = playlist.replace("playlist.m3u8", "master.m3u8");
    let first = variant(&text(&server, &master).await);
    let later = Footage::of_a_street(&pool, 1, (320, 180), 12, START.plus_millis(900_000)).await;
    let later = later.behind_another();
    later.commit(base.path(), &store, &key, START.plus_millis(900_000)).await;
    pool.close().await;
    // The playlist may be a second old.
    tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
    let second = variant(&text(&server, &master).await);
    assert!(second.bandwidth > first.bandwidth, "{first:?} {second:?}");
    assert_eq!(
        (second.bandwidth, second.average_bandwidth.unwrap()),
        rates(&server, playlist).await
    );
    // Both formats are there, and the larger picture counts.
    assert_eq!(second.resolution.map(|size| size.width), Some(320));
    assert!(first.codecs.is_some() && second.codecs.unwrap().contains(&first.codecs.unwrap()));
}

#[tokio::test]
async fn who_may_see_the_stream_may_see_its_master_and_nobody_else() {
    let base = tempfile::tempdir().unwrap();
    let store = Store::at(base.path(), settings()).unwrap();
    for client in ["acme", "other"] {
        let key = DeviceKey::new(client, "cam 1").unwrap();
        let state = store.open(&key).await.unwrap();
        let (new, at) = (vec![segment(0)], commits_at(0));
        store.commit(&key, &state, new, timeline(0), at).await.unwrap();
    }
    let server = Server::locked(&variables(base.path())).await;
    let master = "/client_ids/acme/device_id/cam%201/hls/master.m3u8";
    assert_eq!(server.status(master, None).await, StatusCode::UNAUTHORIZED);
    assert_eq!(server.status(master, Some(ACME_TOKEN)).await, StatusCode::OK);
    let foreign = master.replace("acme", "other");
    assert_eq!(server.status(&foreign, Some(ACME_TOKEN)).await, StatusCode::NOT_FOUND);
    let link = signed(&variables(base.path()), KEY, &["acme", "cam 1", "--for", "1h"]);
    let link = link.replace("playlist.m3u8", "master.m3u8");
    let answer = server.get(&link, None).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let etag = answer.headers()["etag"].to_str().unwrap().to_owned();
    let variant = variant(&answer.text().await.unwrap());
    let below = link.replace("master.m3u8", &variant.uri);
    assert_eq!(server.status(&below, None).await, StatusCode::OK, "{below}");
    // These media are made up: nothing is said of how they are coded.
    assert_eq!((variant.codecs, variant.resolution), (None, None));
    let known = server.client.get(format!("{}{link}", server.base_url));
    let known = known.header("if-none-match", etag).send().await.unwrap();
    assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
    let wrong = format!("{link}?from=yesterday");
    assert_eq!(server.status(&wrong, None).await, StatusCode::BAD_REQUEST);
}
