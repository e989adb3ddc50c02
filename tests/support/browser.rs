//! Runs the scripts of `tests/browser` and serves streams to them.
#![allow(dead_code)] // Each test binary uses its own part of it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};

use serde_json::Value;
use stream_processor::http::auth::Gate;
use stream_processor::http::playback::address::playlist_url;
use stream_processor::http::playback::{Playback, PlaybackSettings};
use stream_processor::http::serve;
use stream_processor::model::{DeviceKey, SystemClock};
use stream_processor::store::{Store, StoreSettings};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What a script found.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The line of JSON that it printed.
    pub found: Value,
    /// What it said besides.
    pub complaint: String,
}

impl Verdict {
    /// The script's own judgement.
    pub fn is_good(&self) -> bool {
        self.found["ok"] == true
    }
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser")
}

/// Installs what the scripts need, once.
fn install() {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        if scripts().join("node_modules").is_dir() {
            return;
        }
        let output = Command::new("npm")
            .args(["ci", "--no-audit", "--no-fund"])
            .current_dir(scripts())
            .stdin(Stdio::null())
            .output()
            .expect("npm can be run");
        assert!(output.status.success(), "npm ci: {}", String::from_utf8_lossy(&output.stderr));
    });
}

/// Runs a script to its end and prints its verdict.
pub async fn run(script: &str, arguments: &[&str]) -> Verdict {
    tokio::task::spawn_blocking(install).await.expect("npm ci");
    let output = tokio::process::Command::new("node")
        .arg(scripts().join(script))
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .expect("node can be run");
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = String::from_utf8_lossy(&output.stdout);
    let found = serde_json::from_str(line.trim())
        .unwrap_or_else(|error| panic!("{script} {arguments:?}: {error}: {line}{complaint}"));
    println!("{}", line.trim());
    Verdict { found, complaint }
}

/// A server of the streams below a base path, on loopback, until it is dropped.
pub struct StreamServer {
    origin: String,
    stop: CancellationToken,
}

impl StreamServer {
    pub async fn of(base: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        let store = Store::at(base, StoreSettings::default()).expect("the streams");
        let gate = Gate::open(None, Arc::new(SystemClock));
        let playback = Playback::new(store, gate, PlaybackSettings::default());
        let stop = CancellationToken::new();
        tokio::spawn(serve(listener, playback.router(), stop.clone()));
        Self { origin, stop }
    }

    /// Where the device's live playlist is.
    pub fn live(&self, device: &DeviceKey) -> String {
        format!("{}{}", self.origin, playlist_url(device))
    }

    /// Where its window is, as it is when it is asked for, as a finished playlist.
    pub fn snapshot(&self, device: &DeviceKey) -> String {
        format!("{}?from=&to=", self.live(device))
    }
}

impl Drop for StreamServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Fails with all that is wrong, not only with what comes first.
pub fn assert_all_good(verdicts: &[Verdict]) {
    let bad: Vec<_> = verdicts
        .iter()
        .filter(|verdict| !verdict.is_good())
        .map(|verdict| format!("{}\n{}", verdict.found, verdict.complaint))
        .collect();
    assert!(bad.is_empty(), "{} of {}:\n{}", bad.len(), verdicts.len(), bad.join("\n"));
}
