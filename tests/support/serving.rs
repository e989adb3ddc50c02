//! `serve` as a process on loopback, asked as players ask and as hostile clients do; links as
//! `sign-url` prints them.
#![allow(dead_code)] // Each test binary uses its own part of it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use tempfile::TempDir;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Signs the links of a server that is locked.
pub const KEY: &str = "0123456789abcdef0123456789abcdef";
/// Opens the devices of `acme`.
pub const ACME_TOKEN: &str = "token-of-acme-0123456789";
/// Opens everything.
pub const ALL_TOKEN: &str = "token-of-the-control-room";
/// Has expired.
pub const OLD_TOKEN: &str = "token-that-has-expired-0";

/// What names a storage to a command: the names of environment variables and their values.
pub type Variables = [(&'static str, String)];

/// A running server, which ends with the test.
pub struct Server {
    pub base_url: String,
    pub port: u16,
    pub client: reqwest::Client,
    child: Child,
    _folder: TempDir,
}

impl Server {
    /// Serves the storage, on settings besides.
    pub async fn start(storage: &Variables, settings: &[(&str, &str)]) -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder"), storage, settings).await
    }

    /// The same, in a folder that it may need files of.
    pub async fn start_in(folder: TempDir, storage: &Variables, settings: &[(&str, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let mut child = command("serve", storage)
            .current_dir(folder.path())
            .env("SERVE_ADDRESS", "127.0.0.1")
            .env("SERVE_PORT", port.to_string())
            .env("METRICS_ENABLED", "false")
            .envs(settings.iter().copied())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts");
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = child.try_wait().expect("it can be waited for");
            assert!(ended.is_none(), "the server ends at once: {ended:?}");
            assert!(begun.elapsed() < PATIENCE, "the server does not answer");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let base_url = format!("http://127.0.0.1:{port}");
        Self { base_url, port, client: reqwest::Client::new(), child, _folder: folder }
    }

    /// Serves the storage to whoever has a token or a link signed with [`KEY`].
    pub async fn locked(storage: &Variables) -> Self {
        let tokens = format!(
            "- token: {ACME_TOKEN}\n  clients: [acme]\n- token: {ALL_TOKEN}\n  clients: \"*\"\n\
             - token: {OLD_TOKEN}\n  clients: [acme]\n  expires: 2020-01-01T00:00:00Z\n"
        );
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("tokens.yaml"), tokens).expect("a file");
        let settings = [
            ("SERVE_AUTH", "token"),
            ("SERVE_TOKENS_FILE", "tokens.yaml"),
            ("SERVE_SIGNING_KEY", KEY),
        ];
        Self::start_in(folder, storage, &settings).await
    }

    /// The id of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub async fn get(&self, path: &str, token: Option<&str>) -> reqwest::Response {
        let mut request = self.client.get(format!("{}{path}", self.base_url));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        request.send().await.expect("an answer")
    }

    pub async fn status(&self, path: &str, token: Option<&str>) -> StatusCode {
        self.get(path, token).await.status()
    }

    /// Sends a request target as it is, which a client would tidy up, and returns the answer.
    pub fn raw(&self, target: &str) -> String {
        let head = format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        self.raw_bytes(head.as_bytes())
    }

    /// Sends these bytes, and returns what comes until the server closes the connection.
    pub fn raw_bytes(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
        // It may answer and close before it has taken everything.
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command of the program for that storage, in a folder without a `.env`.
pub fn command(name: &str, storage: &Variables) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stream-processor"));
    command.arg(name).env_clear().current_dir("/");
    command.envs(storage.iter().map(|(name, value)| (*name, value)));
    command
}

/// A link as `sign-url` prints it, without the host.
pub fn signed(storage: &Variables, key: &str, arguments: &[&str]) -> String {
    let mut command = command("sign-url", storage);
    let output = command.args(arguments).env("SERVE_SIGNING_KEY", key).output();
    let output = output.expect("sign-url runs");
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let at = text.find("/s/").unwrap_or_else(|| panic!("{text}"));
    text[at..].to_owned()
}
