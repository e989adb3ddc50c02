//! `serve` and `sign-url` as processes: who is let in to what, and what a URL cannot reach; the
//! same from a folder and from a bucket.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may panic.

#[path = "support/servers/mod.rs"]
mod servers;
#[path = "support/serving.rs"]
mod serving;
#[path = "storage_conformance/site.rs"]
mod site;
#[path = "support/storages.rs"]
mod storages;
#[path = "support/store_fixture.rs"]
mod store_fixture;

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use stream_processor::model::DeviceKey;

use serving::{ACME_TOKEN, ALL_TOKEN, KEY, OLD_TOKEN, Server, signed};
use site::Part;
use storages::storages;
use store_fixture::{commits_at, segment, timeline};

/// A folder and a bucket, each with a stream of three segments for each of two clients.
async fn streams(test: &str) -> Vec<Part> {
    let parts = storages(test).await;
    for part in &parts {
        let store = part.store();
        for client in ["acme", "other"] {
            let key = DeviceKey::new(client, "cam 1").unwrap();
            let mut state = store.open(&key).await.unwrap();
            for number in 0..3 {
                let (new, at) = (vec![segment(number)], commits_at(number));
                state = store.commit(&key, &state, new, timeline(number), at).await.unwrap();
            }
        }
    }
    parts
}

async fn open(part: &Part) -> Server {
    println!("from {}", part.config.streams);
    Server::start(&part.variables(), &[]).await
}

async fn locked(part: &Part) -> Server {
    println!("from {}", part.config.streams);
    Server::locked(&part.variables()).await
}

/// What of a device can be asked for, and whether it is there.
fn device_paths(client: &str) -> Vec<(String, bool)> {
    let device = format!("/client_ids/{client}/device_id/cam%201");
    vec![
        (format!("{device}/hls/playlist.m3u8"), true),
        (format!("{device}/hls/playlist.m3u8?from=2026-01-31T08:00:30Z"), true),
        (format!("{device}/hls/segments/seg_000001.ts"), true),
        (format!("{device}/hls/segments/seg_000009.ts"), false),
        (format!("{device}/archives/none/playlist.m3u8"), false),
        (format!("{device}/still.jpg?at=2026-01-31T08:00:30Z"), false),
    ]
}

#[tokio::test]
async fn a_token_opens_the_devices_of_its_clients_and_tells_nothing_of_others() {
    for part in streams("tokens").await {
        let server = locked(&part).await;
        for (path, is_there) in device_paths("acme") {
            let expected = if is_there { StatusCode::OK } else { StatusCode::NOT_FOUND };
            for token in [ACME_TOKEN, ALL_TOKEN] {
                assert_eq!(server.status(&path, Some(token)).await, expected, "{path}");
            }
            for token in [None, Some("no-such-token-at-all"), Some(OLD_TOKEN)] {
                assert_eq!(server.status(&path, token).await, StatusCode::UNAUTHORIZED, "{path}");
            }
        }
        // Somebody else's device and one that there is not are the same to who may not know.
        let unknown = "/client_ids/other/device_id/nobody/hls/playlist.m3u8";
        let nobody = server.get(unknown, Some(ACME_TOKEN)).await;
        let nobody = (nobody.status(), nobody.text().await.unwrap());
        assert_eq!(nobody.0, StatusCode::NOT_FOUND);
        for (path, _) in device_paths("other") {
            let answer = server.get(&path, Some(ACME_TOKEN)).await;
            assert_eq!((answer.status(), answer.text().await.unwrap()), nobody, "{path}");
        }
    }
}

#[tokio::test]
async fn the_list_of_devices_has_those_of_the_token_alone() {
    for part in streams("list").await {
        let server = locked(&part).await;
        let begun = Instant::now();
        loop {
            let all = server.get("/api/devices", Some(ALL_TOKEN)).await.text().await.unwrap();
            if all.contains("acme") && all.contains("other") {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "{all}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let own = server.get("/api/devices", Some(ACME_TOKEN)).await.text().await.unwrap();
        assert!(own.contains("acme") && !own.contains("other"), "{own}");
        assert_eq!(server.status("/api/devices", None).await, StatusCode::UNAUTHORIZED);
        let archives = "/api/archives?client=other&device=cam%201";
        assert_eq!(server.status(archives, Some(ACME_TOKEN)).await, StatusCode::NOT_FOUND);
        assert_eq!(server.status(archives, Some(ALL_TOKEN)).await, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_signed_link_opens_what_it_was_made_for_until_it_is_over() {
    for part in streams("links").await {
        let server = locked(&part).await;
        let storage = part.variables();
        let link = signed(&storage, KEY, &["acme", "cam 1", "--for", "1h"]);
        let playlist = server.get(&link, None).await;
        assert_eq!(playlist.status(), StatusCode::OK, "{link}");
        assert!(playlist.text().await.unwrap().contains("segments/seg_000002.ts"));
        // What the playlist names is relative to it: it has the signature too.
        let segment = link.replace("playlist.m3u8", "segments/seg_000002.ts");
        assert_eq!(server.status(&segment, None).await, StatusCode::OK, "{segment}");

        let foreign = link.replacen("/client_ids/acme/", "/client_ids/other/", 1);
        assert_eq!(server.status(&foreign, None).await, StatusCode::FORBIDDEN);
        let neighbour = link.replacen("cam%201", "cam%202", 1);
        assert_eq!(server.status(&neighbour, None).await, StatusCode::FORBIDDEN);
        let (before, after) = link.split_once('.').expect("an expiry and a signature");
        let expires: i64 = before.trim_start_matches("/s/").parse().expect("seconds");
        let longer = format!("/s/{}.{after}", expires + 60);
        assert_eq!(server.status(&longer, None).await, StatusCode::FORBIDDEN);
        let other_key = KEY.replace('0', "1");
        let other_key = signed(&storage, &other_key, &["acme", "cam 1", "--for", "1h"]);
        assert_eq!(server.status(&other_key, None).await, StatusCode::FORBIDDEN);

        let short = signed(&storage, KEY, &["acme", "cam 1", "--for", "1s"]);
        let begun = Instant::now();
        while server.status(&short, None).await != StatusCode::FORBIDDEN {
            assert!(begun.elapsed() < Duration::from_secs(10), "it does not expire");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// Puts secrets where nobody but a trick leads to.
async fn hide_secrets(part: &Part) {
    part.put("secret.ts", b"secret").await;
    part.put("client_ids/acme/device_id/cam 1/frames/e1.jpg", b"secret").await;
    part.put("client_ids/acme/device_id/cam 1/hls/segments/.seg_000001.ts", b"secret").await;
    part.put("client_ids/acme/device_id/cam 1/hls/segments/state.json", b"secret").await;
    let Some(base) = part.folder() else { return };
    let segments = base.join("client_ids/acme/device_id/cam 1/hls/segments");
    std::os::unix::fs::symlink(base.join("secret.ts"), segments.join("link.ts")).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", segments.join("out.ts")).unwrap();
}

#[tokio::test]
async fn no_url_reaches_what_is_not_for_viewers() {
    for part in streams("tricks").await {
        hide_secrets(&part).await;
        let server = open(&part).await;
        let device = "/client_ids/acme/device_id/cam%201";
        for below in [
            "/hls/state.json",
            "/hls/.lock",
            "/hls/history/",
            "/hls/segments/.seg_000001.ts",
            "/hls/segments/state.json",
            "/hls/segments/..%2fstate.json",
            "/hls/segments/%2e%2e/state.json",
            "/hls/segments/..%2f..%2fframes%2fe1.jpg",
            "/hls/segments/..%2f..%2f..%2f..%2f..%2f..%2fsecret.ts",
            "/hls/segments/%2fetc%2fpasswd.ts",
            "/hls/segments/seg_000001.ts%00",
            "/hls/segments/link.ts",
            "/hls/segments/out.ts",
            "/hls/segments/../state.json",
            "/hls/../../../../../secret.ts",
            "/frames/",
            "/frames/e1.jpg",
            "/archives/..%2fhls/playlist.m3u8",
            "/archives/%2e%2e/playlist.m3u8",
        ] {
            let answer = server.raw(&format!("{device}{below}"));
            let status = answer.split(' ').nth(1).unwrap_or_default();
            assert!(["400", "404"].contains(&status), "{below}: {answer}");
            let told = answer.contains("generation") || answer.contains("secret");
            assert!(!told, "{below}: {answer}");
        }
        for id in ["..", "%2e%2e", "..%2f..", "a%2fb", "%00", "."] {
            let answer = server.raw(&format!("/client_ids/{id}/device_id/{id}/hls/playlist.m3u8"));
            let status = answer.split(' ').nth(1).unwrap_or_default();
            assert!(["400", "404"].contains(&status), "{id}: {answer}");
        }
    }
}

#[tokio::test]
async fn parts_versions_and_other_origins_are_served_as_players_ask() {
    for part in streams("players").await {
        let server = open(&part).await;
        let device = "/client_ids/acme/device_id/cam%201";
        let media = format!("{}{device}/hls/segments/seg_000001.ts", server.base_url);
        let ask = |range: &'static str| server.client.get(&media).header("range", range).send();
        let piece = ask("bytes=188-375").await.unwrap();
        assert_eq!(piece.status(), StatusCode::PARTIAL_CONTENT);
        assert_eq!(piece.bytes().await.unwrap(), segment(1).media.slice(188..376));
        let beyond = ask("bytes=100000-").await.unwrap();
        assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);

        let playlist = format!("{device}/hls/playlist.m3u8");
        let first = server.get(&playlist, None).await;
        assert_eq!(first.headers()["access-control-allow-origin"], "*");
        let etag = first.headers()["etag"].to_str().unwrap().to_owned();
        let known = server.client.get(format!("{}{playlist}", server.base_url));
        let known = known.header("if-none-match", &etag).send().await.unwrap();
        assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
        let packed = server.client.get(format!("{}{playlist}", server.base_url));
        let packed = packed.header("accept-encoding", "gzip").send().await.unwrap();
        assert_eq!(packed.headers()["content-encoding"], "gzip");

        let finished = server.get(&format!("{playlist}?from=2026-01-31T08:00:30Z"), None).await;
        let text = finished.text().await.unwrap();
        assert!(text.contains("#EXT-X-ENDLIST") && text.contains("seg_000001.ts"), "{text}");
        assert!(!text.contains("seg_000000.ts"), "{text}");
    }
}

#[tokio::test]
async fn a_page_of_another_origin_may_read_with_a_token_and_nothing_else() {
    for part in streams("origins").await {
        let server = locked(&part).await;
        let url =
            format!("{}/client_ids/acme/device_id/cam%201/hls/playlist.m3u8", server.base_url);
        let asks_first = async |method: &str| {
            let request = server.client.request(reqwest::Method::OPTIONS, &url);
            let request = request.header("origin", "https://elsewhere.example");
            let request = request.header("access-control-request-method", method);
            let request = request.header("access-control-request-headers", "authorization,range");
            request.send().await.unwrap()
        };
        let may = asks_first("GET").await;
        assert_eq!(may.status(), StatusCode::OK);
        let allowed = |name: &str| may.headers()[name].to_str().unwrap().to_lowercase();
        assert_eq!(allowed("access-control-allow-origin"), "*");
        assert_eq!(allowed("access-control-allow-methods"), "get,head");
        assert!(allowed("access-control-allow-headers").contains("authorization"));
        assert!(!may.headers().contains_key("access-control-allow-credentials"));
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
            let request = server.client.request(method.clone(), &url).bearer_auth(ALL_TOKEN);
            let answer = request.body("x").send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{method}");
        }
        // Without a token nothing is told, and a page can see that this is why.
        let head = server.client.head(&url).send().await.unwrap();
        assert_eq!(head.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(head.headers()["access-control-allow-origin"], "*");
        let head = server.client.head(&url).bearer_auth(ACME_TOKEN).send().await.unwrap();
        let get = server.client.get(&url).bearer_auth(ACME_TOKEN).send().await.unwrap();
        for name in ["etag", "content-type", "content-length", "cache-control"] {
            assert_eq!(head.headers().get(name), get.headers().get(name), "{name}");
        }
        assert_eq!((head.status(), head.bytes().await.unwrap().len()), (StatusCode::OK, 0));
    }
}

#[tokio::test]
async fn a_request_of_enormous_headers_is_refused_and_harms_nobody() {
    for part in streams("headers").await {
        let server = locked(&part).await;
        let path = "/client_ids/acme/device_id/cam%201/hls/playlist.m3u8";
        let enormous = "a".repeat(4 << 20);
        let many = "X-Header: x\r\n".repeat(5_000);
        let token = format!("Authorization: Bearer {ACME_TOKEN}\r\n");
        for head in [
            format!("GET {path} HTTP/1.1\r\nHost: x\r\n{token}X-Large: {enormous}\r\n\r\n"),
            format!("GET {path} HTTP/1.1\r\nHost: x\r\n{token}{many}\r\n"),
            format!("GET /{enormous} HTTP/1.1\r\nHost: x\r\n{token}\r\n"),
            format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {enormous}\r\n\r\n"),
        ] {
            let answer = server.raw_bytes(head.as_bytes());
            let status = answer.split(' ').nth(1).unwrap_or_default();
            // Refused with a word, or cut off while it was still sending.
            assert!(["", "414", "431"].contains(&status), "{}: {answer}", &head[..80]);
            assert_eq!(server.status(path, Some(ACME_TOKEN)).await, StatusCode::OK);
        }
    }
}
