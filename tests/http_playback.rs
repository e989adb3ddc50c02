//! What is served over HTTP, asked as a hostile client asks: bytes on a socket, no library
//! that would clean the path up first. The same from a folder and from a bucket.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed step fails the test"
)]

#[path = "support/servers/mod.rs"]
mod servers;
#[path = "storage_conformance/site.rs"]
mod site;
#[path = "support/storages.rs"]
mod storages;
#[path = "support/store_fixture.rs"]
mod store_fixture;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use stream_processor::http::auth::Gate;
use stream_processor::http::page::{self, DeviceDirectory, DeviceView, PageFacts, Presence};
use stream_processor::http::playback::{Playback, PlaybackSettings};
use stream_processor::http::{self, Condition, Health, Metrics, serve, serve_ops};
use stream_processor::model::{DeviceKey, SystemClock, UtcMillis};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use site::Part;
use storages::storages;

const PLAYLIST: &str = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:30\n\
    #EXT-X-MEDIA-SEQUENCE:4\n#EXT-X-PROGRAM-DATE-TIME:2026-01-31T08:00:00.000Z\n\
    #EXTINF:30.000,\nsegments/seg_000004.ts\n#EXTINF:30.000,\nsegments/seg_000005.ts\n";
const FACTS: PageFacts = PageFacts { max_clip: Duration::from_secs(600) };
const HLS: &str = "/client_ids/acme/device_id/gate/hls";

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

async fn ask(port: u16, method: &str, target: &str, headers: &str) -> Answer {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request =
        format!("{method} {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body: bytes[end + 4..].to_vec() }
}

async fn serving(router: Router) -> (u16, CancellationToken) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let stop = CancellationToken::new();
    tokio::spawn(serve(listener, router, stop.clone()));
    (port, stop)
}

/// A folder and a bucket with a device's files, and secrets beside them.
async fn trees(test: &str) -> Vec<Part> {
    let parts = storages(test).await;
    for part in &parts {
        let hls = &HLS[1..];
        part.put(&format!("{hls}/playlist.m3u8"), PLAYLIST.as_bytes()).await;
        part.put(&hls.replace("/hls", "/frames/e1.jpg"), b"secret").await;
        part.put(&format!("{hls}/state.json"), b"secret").await;
        part.put(&format!("{hls}/segments/state.json"), b"secret").await;
        part.put(&format!("{hls}/segments/seg_000004.ts"), &media()).await;
        part.put(&format!("{hls}/segments/seg_000005.m4s"), b"m").await;
        part.put(&format!("{hls}/segments/init_1.mp4"), b"i").await;
    }
    parts
}

/// More than one chunk, no byte like its neighbour.
fn media() -> Vec<u8> {
    (0..700_000_u32).map(|i| (i % 251) as u8).collect()
}

async fn playback(part: &Part) -> u16 {
    println!("from {}", part.config.streams);
    // Every change is to be seen at once.
    let settings =
        PlaybackSettings { playlist_fresh_for: Duration::ZERO, ..PlaybackSettings::default() };
    let gate = Gate::open(None, Arc::new(SystemClock));
    serving(Playback::new(part.store(), gate, settings).router()).await.0
}

/// What only a file system can be tricked with.
fn link_about(base: &Path) {
    let segments = base.join(&HLS[1..]).join("segments");
    std::os::unix::fs::symlink("/etc/passwd", segments.join("out.ts")).unwrap();
    std::os::unix::fs::symlink("../../frames/e1.jpg", segments.join("frame.ts")).unwrap();
    std::os::unix::fs::symlink(&segments, base.join("client_ids/linked")).unwrap();
    fs::create_dir(segments.join("folder.ts")).unwrap();
}

#[tokio::test]
async fn nothing_outside_the_hls_folder_can_be_read_whatever_the_path() {
    for part in trees("tricks").await {
        if let Some(base) = part.folder() {
            link_about(&base);
        }
        let port = playback(&part).await;
        for target in [
            "/client_ids/acme/device_id/gate/frames/e1.jpg",
            "/client_ids/acme/device_id/gate/hls/state.json",
            "/client_ids/acme/device_id/gate/hls/segments/state.json",
            "/client_ids/acme/device_id/gate/hls/segments/../../frames/e1.jpg",
            "/client_ids/acme/device_id/gate/hls/segments/..%2f..%2fframes%2fe1.jpg",
            "/client_ids/acme/device_id/gate/hls/segments/%2e%2e/state.json",
            "/client_ids/acme/device_id/gate/hls/segments/out.ts",
            "/client_ids/acme/device_id/gate/hls/segments/frame.ts",
            "/client_ids/acme/device_id/gate/hls/segments/folder.ts",
            "/client_ids/acme/device_id/gate/hls/segments/",
            "/client_ids/acme/device_id/gate/hls/segments/seg_000004.ts%00",
            "/client_ids/acme/device_id/gate/hls/segments/seg_000004.ts%2f",
            "/client_ids/acme/device_id/gate/archives/%2e%2e/playlist.m3u8",
            "/client_ids/acme/device_id/gate/archives/..%2fhls/segments/seg_000004.ts",
            "/client_ids/acme/device_id/..%2fgate/hls/playlist.m3u8",
            "/client_ids/acme/device_id/../device_id/gate/hls/playlist.m3u8",
            "/client_ids/../acme/device_id/gate/hls/playlist.m3u8",
            "/client_ids/%2e%2e/device_id/gate/hls/playlist.m3u8",
            "/client_ids//device_id/gate/hls/playlist.m3u8",
            "/client_ids/linked/device_id/gate/hls/playlist.m3u8",
            "//etc/passwd",
            "/../../../../etc/passwd",
            "/client_ids/acme/device_id/%ff/hls/playlist.m3u8",
        ] {
            let answer = ask(port, "GET", target, "").await;
            assert!([400, 404].contains(&answer.status), "{target}: {}", answer.head);
            let text = answer.text();
            assert!(!text.contains("secret") && !text.contains("root:"), "{target}");
        }
        for method in ["POST", "PUT", "DELETE"] {
            let answer = ask(port, method, &format!("{HLS}/playlist.m3u8"), "").await;
            assert_eq!(answer.status, 405, "{method}");
        }
    }
}

#[tokio::test]
async fn a_pipe_in_the_tree_holds_nobody_up() {
    let part = trees("pipe").await.remove(0);
    let base = part.folder().unwrap();
    let pipe = base.join(&HLS[1..]).join("segments/pipe.ts");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    let port = playback(&part).await;
    assert_eq!(ask(port, "GET", &format!("{HLS}/segments/pipe.ts"), "").await.status, 404);
}

#[tokio::test]
async fn each_kind_of_file_has_its_type_and_is_kept_as_long_as_is_right() {
    for part in trees("kinds").await {
        let port = playback(&part).await;
        for (file, media_type, caching) in [
            ("playlist.m3u8", "application/vnd.apple.mpegurl", "no-cache"),
            ("segments/seg_000004.ts", "video/mp2t", "public, max-age=86400, immutable"),
            ("segments/seg_000005.m4s", "video/iso.segment", "public, max-age=86400, immutable"),
            ("segments/init_1.mp4", "video/mp4", "public, max-age=86400, immutable"),
        ] {
            let target = format!("{HLS}/{file}");
            let answer = ask(port, "GET", &target, "Origin: http://elsewhere\r\n").await;
            assert_eq!(answer.status, 200, "{file}");
            assert_eq!(answer.header("content-type"), Some(media_type), "{file}");
            assert_eq!(answer.header("cache-control"), Some(caching), "{file}");
            assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{file}");
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{file}");

            let known = format!("If-None-Match: {}\r\n", answer.header("etag").unwrap());
            let again = ask(port, "GET", &target, &known).await;
            assert_eq!((again.status, again.body.len()), (304, 0), "{file}");
        }
        let missing = ask(port, "GET", "/client_ids/a/device_id/b/hls/playlist.m3u8", "").await;
        assert_eq!((missing.status, missing.header("cache-control")), (404, Some("no-store")));
    }
}

#[tokio::test]
async fn a_replaced_playlist_is_sent_again() {
    for part in trees("replaced").await {
        let port = playback(&part).await;
        let target = format!("{HLS}/playlist.m3u8");
        let etag = ask(port, "GET", &target, "").await.header("etag").unwrap().to_owned();
        let mut text = PLAYLIST.replace("SEQUENCE:4", "SEQUENCE:5");
        assert_eq!(text.len(), PLAYLIST.len());
        match part.folder() {
            // In one step, as whoever writes playlists does.
            Some(base) => {
                let path = base.join(&target[1..]);
                fs::write(path.with_extension("new"), &text).unwrap();
                fs::rename(path.with_extension("new"), &path).unwrap();
            }
            None => part.put(&target[1..], text.as_bytes()).await,
        }
        let answer = ask(port, "GET", &target, &format!("If-None-Match: {etag}\r\n")).await;
        text.insert_str(0, "200 ");
        assert_eq!(format!("{} {}", answer.status, answer.text()), text);
    }
}

#[tokio::test]
async fn a_range_of_a_segment_is_those_bytes() {
    for part in trees("ranges").await {
        let port = playback(&part).await;
        let (target, media) = (format!("{HLS}/segments/seg_000004.ts"), media());
        let whole = ask(port, "GET", &target, "").await;
        assert!(whole.body == media, "the whole segment, over several chunks");
        let etag = whole.header("etag").unwrap();
        for (asked, shown, bytes) in [
            ("bytes=0-9", "bytes 0-9/700000", &media[..10]),
            ("bytes=262140-262150", "bytes 262140-262150/700000", &media[262_140..=262_150]),
            ("bytes=-5", "bytes 699995-699999/700000", &media[699_995..]),
            ("bytes=100-", "bytes 100-699999/700000", &media[100..]),
        ] {
            let answer = ask(port, "GET", &target, &format!("Range: {asked}\r\n")).await;
            let seen = (answer.status, answer.header("content-range"));
            assert_eq!(seen, (206, Some(shown)), "{asked}");
            assert!(answer.body == bytes, "{asked}");
        }
        let beyond = ask(port, "GET", &target, "Range: bytes=700000-\r\n").await;
        assert_eq!((beyond.status, beyond.header("content-range")), (416, Some("bytes */700000")));
        for (known, status) in [(etag, 206), ("\"other\"", 200)] {
            let headers = format!("Range: bytes=0-9\r\nIf-Range: {known}\r\n");
            assert_eq!(ask(port, "GET", &target, &headers).await.status, status);
        }
        let head = ask(port, "HEAD", &target, "").await;
        assert_eq!((head.body.len(), head.header("content-length")), (0, Some("700000")));
    }
}

#[tokio::test]
async fn a_segment_that_is_too_large_to_be_held_is_served_all_the_same() {
    for part in trees("large").await {
        let large: Vec<u8> = media().into_iter().cycle().take(9 << 20).collect();
        let target = format!("{HLS}/segments/seg_000006.ts");
        part.put(&target[1..], &large).await;
        let port = playback(&part).await;
        let whole = ask(port, "GET", &target, "").await;
        let length = large.len().to_string();
        assert_eq!((whole.status, whole.header("content-length")), (200, Some(length.as_str())));
        assert!(whole.body == large, "{} bytes", whole.body.len());
        // Across the end of what is held, and of a piece.
        let (from, to) = ((8 << 20) - 7, (8 << 20) + (512 << 10) + 7);
        let piece = ask(port, "GET", &target, &format!("Range: bytes={from}-{to}\r\n")).await;
        assert!(piece.status == 206 && piece.body == large[from..=to], "{}", piece.head);
        let head = ask(port, "HEAD", &target, "").await;
        assert_eq!((head.body.len(), head.header("content-length")), (0, Some(length.as_str())));
    }
}

#[tokio::test]
async fn a_snapshot_of_the_window_is_a_valid_finished_playlist() {
    for part in trees("snapshots").await {
        let port = playback(&part).await;
        let answer = ask(port, "GET", &format!("{HLS}/playlist.m3u8?from=&to="), "").await;
        let (_, list) = m3u8_rs::parse_media_playlist(&answer.body).unwrap();
        assert!(list.end_list && list.segments.len() == 2, "{}", answer.text());
        assert_eq!(list.playlist_type, Some(m3u8_rs::MediaPlaylistType::Vod));
        for (query, status) in [
            ("from=2026-01-31T08:00:30Z", 200),
            ("to=2020-01-01T00:00:00Z", 404),
            ("from=noon", 400),
            ("from=9&to=8", 400),
        ] {
            let answer = ask(port, "GET", &format!("{HLS}/playlist.m3u8?{query}"), "").await;
            assert_eq!(answer.status, status, "{query}: {}", answer.text());
        }
    }
}

#[tokio::test]
async fn a_playlist_is_compressed_for_who_asks_and_media_never_is() {
    for part in trees("gzip").await {
        let port = playback(&part).await;
        let gzip = "Accept-Encoding: gzip\r\n";
        let playlist = ask(port, "GET", &format!("{HLS}/playlist.m3u8"), gzip).await;
        assert_eq!(playlist.header("content-encoding"), Some("gzip"));
        assert_eq!(playlist.header("vary"), Some("accept-encoding"));
        let media = ask(port, "GET", &format!("{HLS}/segments/seg_000004.ts"), gzip).await;
        assert_eq!(media.header("content-encoding"), None);
    }
}

struct OneCamera;

impl DeviceDirectory for OneCamera {
    fn devices(&self) -> Arc<Vec<DeviceView>> {
        Arc::new(vec![DeviceView {
            key: DeviceKey::new("acme", "gate").unwrap(),
            name: "<script>".into(),
            last_frame_at: None,
            presence: Presence::Starting,
            segment_count: 0,
            error: None,
        }])
    }

    fn shown(&self, _: &[&DeviceView]) {}

    fn now(&self) -> UtcMillis {
        UtcMillis(0)
    }
}

#[tokio::test]
async fn the_page_names_only_what_it_serves_and_allows_nothing_else() {
    let gate = Gate::open(None, Arc::new(SystemClock));
    let (port, _stop) = serving(page::router(Arc::new(OneCamera), gate, FACTS)).await;
    let page = ask(port, "GET", "/", "").await;
    assert!(page.header("content-security-policy").unwrap().contains("default-src 'none'"));
    let text = page.text();
    let named: Vec<&str> = text
        .split(['"', '\''])
        .filter(|part| part.starts_with('/') && part.contains('.'))
        .collect();
    assert!(named.len() >= 3, "{named:?}");
    for target in named {
        assert_eq!(ask(port, "GET", target, "").await.status, 200, "{target}");
    }
    assert!(!text.contains("http://") && !text.contains("https://"), "it works offline");
    let devices = ask(port, "GET", "/api/devices", "").await;
    let devices: serde_json::Value = serde_json::from_slice(&devices.body).unwrap();
    assert_eq!(devices["devices"][0]["state"], "starting");
    let about = ask(port, "GET", "/api/about", "").await;
    let about: serde_json::Value = serde_json::from_slice(&about.body).unwrap();
    assert_eq!((&about["maxClipSecs"], &about["asksForToken"]), (&600.into(), &false.into()));
}

#[tokio::test]
async fn the_probes_say_why_and_the_metrics_are_served() {
    let (metrics, health) = (Metrics::new().unwrap(), Health::new(Duration::MAX));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let stop = CancellationToken::new();
    let served = tokio::spawn(serve_ops(listener, metrics.clone(), health.clone(), stop.clone()));
    health.set(http::Part::Source, Condition::NotReady("the broker is away".into()));
    metrics.frames_received.inc();

    assert_eq!(ask(port, "GET", "/healthz", "").await.status, 200);
    let unready = ask(port, "GET", "/readyz", "").await;
    assert_eq!(unready.status, 503);
    assert!(unready.text().contains("the broker is away"), "{}", unready.text());
    for part in [http::Part::Source, http::Part::Encoder, http::Part::Storage] {
        health.set(part, Condition::Ready);
    }
    assert_eq!(ask(port, "GET", "/readyz", "").await.status, 200);
    let shown = ask(port, "GET", "/metrics", "").await;
    assert!(shown.header("content-type").unwrap().starts_with("text/plain"));
    assert!(shown.text().contains("stream_processor_frames_received_total 1\n"));

    // A client that keeps its connection must not keep the process.
    let _idle = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stop.cancel();
    served.await.unwrap().unwrap();
}
