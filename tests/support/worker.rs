//! The real worker, as a process that a test may kill.
#![allow(dead_code)] // Each test binary uses its own part of it.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long a worker may take to reach a named instant, or to leave.
const PATIENCE: Duration = Duration::from_secs(30);

/// How much of a log is shown.
const SHOWN_LINES: usize = 60;

/// What the worker's log says of a frame that was committed before.
const DUPLICATE: &str = "delivered again after its commit";

/// A running worker; killed when dropped.
pub struct Worker {
    pub name: String,
    child: Child,
    folder: PathBuf,
}

impl Worker {
    /// Starts one with these variables, in `folder`, where its log is kept.
    pub fn start(folder: &Path, name: &str, variables: &[(&str, String)], points: &str) -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_stream-processor"));
        let mut command = Command::new(program);
        command
            .arg("consumer")
            .env_clear()
            .envs(variables.iter().map(|(variable, value)| (variable, value)))
            .env("FAILPOINTS", points);
        Self::run(command, folder, name)
    }

    /// Runs a worker's command, in `folder`, where its log is kept.
    pub fn run(mut command: Command, folder: &Path, name: &str) -> Self {
        let file = File::create(log_file(folder, name)).expect("a log file");
        let child = command
            .current_dir(folder)
            .env("PULSAR_CONSUMER_NAME", name)
            .env("METRICS_ENABLED", "false")
            .env("LOG_FORMAT", "human")
            .env("LOG_LEVEL", "info,stream_processor::pipeline::report=debug")
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a log file"))
            .stderr(file)
            .spawn()
            .expect("the worker starts");
        Self { name: name.to_owned(), child, folder: folder.to_owned() }
    }

    /// Kills it as `kill -9` does; it must not have ended by itself.
    pub fn kill(&mut self) {
        let ended = self.ended();
        assert!(ended.is_none(), "{} ended by itself: {ended:?}\n{}", self.name, self.log_end());
        self.child.kill().expect("the worker is killed");
        self.child.wait().expect("the worker is gone");
    }

    /// Waits until it has killed itself at a named instant; how long that took.
    pub async fn dies_at(&mut self, point: &str) -> Duration {
        let begun = Instant::now();
        let status = self.ends(point).await;
        let said = self.log_end();
        assert_eq!(status.signal(), Some(9), "{} at {point}: {status}\n{said}", self.name);
        begun.elapsed()
    }

    /// Its process's id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it has ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the worker can be waited for")
    }

    /// Sends its process a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process id"), signal).expect("a signal");
    }

    /// Tells it to leave; it must do so in order.
    pub async fn leave(&mut self) {
        self.signal(Signal::TERM);
        let status = self.ends("SIGTERM").await;
        assert!(status.success(), "{}: {status}\n{}", self.name, self.log_end());
    }

    async fn ends(&mut self, what: &str) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            let said = || self.log_end();
            assert!(begun.elapsed() < PATIENCE, "{} lives on: {what}\n{}", self.name, said());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// How many frames it found committed before.
    pub fn duplicates(&self) -> usize {
        self.log_text().lines().filter(|line| line.contains(DUPLICATE)).count()
    }

    /// The last lines of its log.
    pub fn log_end(&self) -> String {
        let text = self.log_text();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
    }

    fn log_text(&self) -> String {
        log_text(&self.folder, &self.name)
    }
}

/// What a worker of that name has written so far.
pub fn log_text(folder: &Path, name: &str) -> String {
    let bytes = std::fs::read(log_file(folder, name)).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn log_file(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.log"))
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
