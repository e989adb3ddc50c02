//! `serve` and `sign-url` as processes: who is let in to what, and what a URL cannot reach.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may panic.

#[path = "support/browser.rs"]
mod browser;
#[path = "serve/footage.rs"]
mod footage;
#[path = "serve/master.rs"]
mod master;
#[path = "support/store_fixture.rs"]
mod store_fixture;
#[path = "serve/wall.rs"]
mod wall;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use stream_processor::model::DeviceKey;
use stream_processor::store::Store;
use tempfile::TempDir;

use store_fixture::{commits_at, segment, settings, timeline};

const KEY: &str = "0123456789abcdef0123456789abcdef";
const ACME_TOKEN: &str = "token-of-acme-0123456789";
const ALL_TOKEN: &str = "token-of-the-control-room";
const OLD_TOKEN: &str = "token-that-has-expired-0";

/// A storage with a stream of three segments for each of two clients.
async fn streams() -> TempDir {
    let base = tempfile::tempdir().unwrap();
    let store = Store::at(base.path(), settings()).unwrap();
    for client in ["acme", "other"] {
        let key = DeviceKey::new(client, "cam 1").unwrap();
        let mut state = store.open(&key).await.unwrap();
        for number in 0..3 {
            let (new, at) = (vec![segment(number)], commits_at(number));
            state = store.commit(&key, &state, new, timeline(number), at).await.unwrap();
        }
    }
    base
}

/// A running server, which ends with the test.
struct Server {
    child: Child,
    base_url: String,
    port: u16,
    client: reqwest::Client,
}

impl Server {
    async fn start(base: &Path, settings: &[(&str, &str)]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = command("serve", base)
            .env("SERVE_ADDRESS", "127.0.0.1")
            .env("SERVE_PORT", port.to_string())
            .env("METRICS_ENABLED", "false")
            .envs(settings.iter().copied())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts");
        let base_url = format!("http://127.0.0.1:{port}");
        let server = Self { child, base_url, port, client: reqwest::Client::new() };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(30), "the server does not answer");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        server
    }

    async fn get(&self, path: &str, token: Option<&str>) -> reqwest::Response {
        let mut request = self.client.get(format!("{}{path}", self.base_url));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        request.send().await.expect("an answer")
    }

    async fn status(&self, path: &str, token: Option<&str>) -> StatusCode {
        self.get(path, token).await.status()
    }

    /// Sends a request target as it is, which a client would tidy up, and returns the answer.
    fn raw(&self, target: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        write!(stream, "GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(name: &str, base: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stream-processor"));
    command.arg(name).env_clear().current_dir(base).env("STORAGE_BASE_PATH", base);
    command
}

/// A link as `sign-url` prints it, without the host.
fn signed(base: &Path, arguments: &[&str]) -> String {
    let mut command = command("sign-url", base);
    let output = command.args(arguments).env("SERVE_SIGNING_KEY", KEY).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let at = text.find("/s/").unwrap_or_else(|| panic!("{text}"));
    text[at..].to_owned()
}

async fn locked(base: &Path) -> Server {
    let tokens = format!(
        "- token: {ACME_TOKEN}\n  clients: [acme]\n- token: {ALL_TOKEN}\n  clients: \"*\"\n\
         - token: {OLD_TOKEN}\n  clients: [acme]\n  expires: 2020-01-01T00:00:00Z\n"
    );
    std::fs::write(base.join("tokens.yaml"), tokens).unwrap();
    let file = base.join("tokens.yaml").display().to_string();
    let settings =
        [("SERVE_AUTH", "token"), ("SERVE_TOKENS_FILE", &file), ("SERVE_SIGNING_KEY", KEY)];
    Server::start(base, &settings).await
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
    let base = streams().await;
    let server = locked(base.path()).await;
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

#[tokio::test]
async fn the_list_of_devices_has_those_of_the_token_alone() {
    let base = streams().await;
    let server = locked(base.path()).await;
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

#[tokio::test]
async fn a_signed_link_opens_what_it_was_made_for_until_it_is_over() {
    let base = streams().await;
    let server = locked(base.path()).await;
    let link = signed(base.path(), &["acme", "cam 1", "--for", "1h"]);
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
    let other_key = command("sign-url", base.path())
        .args(["acme", "cam 1", "--for", "1h"])
        .env("SERVE_SIGNING_KEY", KEY.replace('0', "1"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&other_key.stdout).trim().to_owned();
    let other_key = &text[text.find("/s/").unwrap()..];
    assert_eq!(server.status(other_key, None).await, StatusCode::FORBIDDEN);

    let short = signed(base.path(), &["acme", "cam 1", "--for", "1s"]);
    let begun = Instant::now();
    while server.status(&short, None).await != StatusCode::FORBIDDEN {
        assert!(begun.elapsed() < Duration::from_secs(10), "it does not expire");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn no_url_reaches_what_is_not_for_viewers() {
    let base = streams().await;
    std::fs::write(base.path().join("secret.ts"), "secret").unwrap();
    let hls = base.path().join("client_ids/acme/device_id/cam 1/hls");
    std::os::unix::fs::symlink(base.path().join("secret.ts"), hls.join("segments/link.ts"))
        .unwrap();
    std::os::unix::fs::symlink("/etc/hostname", hls.join("segments/out.ts")).unwrap();
    let server = Server::start(base.path(), &[]).await;
    let device = "/client_ids/acme/device_id/cam%201";
    for below in [
        "/hls/state.json",
        "/hls/.lock",
        "/hls/history/",
        "/hls/segments/..%2fstate.json",
        "/hls/segments/%2e%2e/state.json",
        "/hls/segments/..%2f..%2f..%2f..%2f..%2f..%2fsecret.ts",
        "/hls/segments/%2fetc%2fpasswd.ts",
        "/hls/segments/seg_000001.ts%00",
        "/hls/segments/out.ts",
        "/hls/segments/../state.json",
        "/hls/../../../../../secret.ts",
        "/frames/",
        "/archives/..%2fhls/playlist.m3u8",
        "/archives/%2e%2e/playlist.m3u8",
    ] {
        let answer = server.raw(&format!("{device}{below}"));
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert!(["400", "404"].contains(&status), "{below}: {answer}");
        assert!(!answer.contains("generation") && !answer.contains("secret"), "{below}: {answer}");
    }
    for id in ["..", "%2e%2e", "..%2f..", "a%2fb", "%00", "."] {
        let answer = server.raw(&format!("/client_ids/{id}/device_id/{id}/hls/playlist.m3u8"));
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert!(["400", "404"].contains(&status), "{id}: {answer}");
    }
}

#[tokio::test]
async fn parts_versions_and_other_origins_are_served_as_players_ask() {
    let base = streams().await;
    let server = Server::start(base.path(), &[]).await;
    let device = "/client_ids/acme/device_id/cam%201";
    let media = format!("{}{device}/hls/segments/seg_000001.ts", server.base_url);
    let ask = |range: &'static str| server.client.get(&media).header("range", range).send();
    let part = ask("bytes=188-375").await.unwrap();
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.bytes().await.unwrap(), segment(1).media.slice(188..376));
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
