//! A server as a process: on a free port of loopback, waited for until it answers, its log kept,
//! killed by its id. It ends with the test run even if that is killed: a shell, its *leash*,
//! waits for the run's end of a pipe to close.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use rand::RngExt;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::builds::home;

/// How long a server may take until it answers.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often one is started that ends at once: its port may have been taken in between, or what
/// was killed may not have left yet.
const ATTEMPTS: usize = 10;
/// How much of a log is shown.
const SHOWN_LINES: usize = 30;
/// Waits until its input ends, kills the server and removes its folder; once more after what
/// the server's own children may have written meanwhile.
const LEASH: &str = r#"read -r _; kill -KILL "$1"; rm -rf "$2"; sleep 1; rm -rf "$2""#;

/// How a server is run.
pub struct Plan {
    /// What it is called.
    pub name: &'static str,
    /// Where it keeps all it has; removed with it.
    pub folder: TempDir,
    /// The command for a port.
    pub command: Box<dyn Fn(u16) -> Command + Send + Sync>,
    /// Whether it answers on that port.
    pub answers: fn(u16) -> BoxFuture<'static, bool>,
}

/// A server's process. It may be killed and started again on the same port and data.
pub struct Process {
    // Dropped first: nothing may write into the folder any more when it is removed.
    running: Mutex<Option<Running>>,
    plan: Plan,
    port: Port,
}

/// A port of TCP that no other test takes while the server is down: they all hold the port of
/// UDP with the same number first.
struct Port {
    number: u16,
    _held: UdpSocket,
}

struct Running {
    server: Child,
    leash: Child,
}

impl Plan {
    /// A new folder for a server of that name.
    pub fn folder(name: &str) -> TempDir {
        tempfile::Builder::new().prefix(name).tempdir_in(home()).expect("a folder")
    }
}

impl Process {
    /// Starts it and waits until it answers.
    pub async fn start(plan: Plan) -> Self {
        let mut process = Self { running: Mutex::default(), plan, port: Port::reserve() };
        let mut ended = process.launch().await;
        for _ in 1..ATTEMPTS {
            if ended.is_ok() {
                break;
            }
            process.port = Port::reserve();
            ended = process.launch().await;
        }
        assert!(ended.is_ok(), "{}", process.obituary(&ended));
        process
    }

    /// The port of 127.0.0.1 that it listens on.
    pub fn port(&self) -> u16 {
        self.port.number
    }

    /// Where it keeps all it has.
    pub fn folder(&self) -> &Path {
        self.plan.folder.path()
    }

    /// Its id; none while it is down.
    pub fn id(&self) -> Option<u32> {
        self.running().as_ref().map(|running| running.server.id())
    }

    /// Kills it and its children as `kill -9` does; nothing if it is down.
    pub fn kill(&self) {
        drop(self.running().take());
    }

    /// Starts it again on the same port and data; kills it before if it runs.
    pub async fn restart(&self) {
        let mut ended = self.launch().await;
        for _ in 1..ATTEMPTS {
            if ended.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
            ended = self.launch().await;
        }
        assert!(ended.is_ok(), "{}", self.obituary(&ended));
    }

    /// Stops it in its tracks: connections stand and are taken, and nothing answers.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let id = self.id().expect("it runs");
        // The parent first, so that it starts no child that is missed.
        signal_process(id, signal);
        for child in children(id) {
            signal_process(child, signal);
        }
    }

    /// Launches it and waits until it answers; fails if it ends before.
    async fn launch(&self) -> Result<(), ExitStatus> {
        self.kill();
        let log = File::options().create(true).append(true).open(self.log_file());
        let log = log.expect("a log file");
        let mut command = (self.plan.command)(self.port.number);
        let server = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log file"))
            .stderr(log)
            // Who interrupts the test run at a terminal leaves the rest to the leash.
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{command:?}: {error}: scripts/setup.sh says what is missing")
            });
        let leash = Command::new("sh")
            .args(["-c", LEASH, "leash", &server.id().to_string()])
            .arg(self.folder())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("a shell");
        *self.running() = Some(Running { server, leash });
        let begun = Instant::now();
        loop {
            let answer = tokio::time::timeout(PATIENCE, (self.plan.answers)(self.port.number));
            let answers = answer.await.unwrap_or(false);
            // Another's server may have answered: this one has to be alive.
            if let Some(status) = self.ended() {
                self.kill();
                return Err(status);
            }
            if answers {
                return Ok(());
            }
            let waits = begun.elapsed() < PATIENCE;
            assert!(waits, "{} does not answer:\n{}", self.plan.name, self.log_end());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn ended(&self) -> Option<ExitStatus> {
        let mut running = self.running();
        let server = &mut running.as_mut().expect("just launched").server;
        server.try_wait().expect("the server can be waited for")
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log_file(&self) -> PathBuf {
        self.folder().join("server.log")
    }

    fn obituary(&self, ended: &Result<(), ExitStatus>) -> String {
        format!("{} ends at once: {ended:?}\n{}", self.plan.name, self.log_end())
    }

    /// The end of its log, for a person.
    pub fn log_end(&self) -> String {
        let bytes = fs::read(self.log_file()).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The leash first: once the server has been waited for, its id may be another process's.
        let _ = self.leash.kill();
        let _ = self.leash.wait();
        if !matches!(self.server.try_wait(), Ok(None)) {
            return;
        }
        let children = children(self.server.id());
        let _ = self.server.kill();
        for child in children {
            signal_process(child, Signal::KILL);
        }
        let _ = self.server.wait();
    }
}

impl Port {
    fn reserve() -> Self {
        for _ in 0..1_000 {
            // Below those that the system gives to outgoing connections: one of these could
            // take the port while the server is down.
            let number = rand::rng().random_range(20_000..32_000);
            let address = (Ipv4Addr::LOCALHOST, number);
            if let (Ok(held), Ok(_)) = (UdpSocket::bind(address), TcpListener::bind(address)) {
                return Self { number, _held: held };
            }
        }
        panic!("no free port between 20000 and 32000");
    }
}

/// The processes that it started itself. PostgreSQL has one for each connection.
pub fn children(id: u32) -> Vec<u32> {
    let listed = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
    listed.unwrap_or_default().split(' ').filter_map(|child| child.parse().ok()).collect()
}

/// Nothing if it has gone.
pub fn signal_process(id: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(id).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// Whether a GET of that path is answered, whatever the answer is.
pub fn answers_http(port: u16, path: &'static str) -> BoxFuture<'static, bool> {
    let url = format!("http://127.0.0.1:{port}{path}");
    Box::pin(async move { reqwest::get(url).await.is_ok() })
}
