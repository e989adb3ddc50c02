//! The real worker as a process: what it says in its log and in its metrics.
#![allow(dead_code)] // Each test binary uses its own part of it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::broker::Broker;

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A worker at work; killed when dropped.
pub struct Consumer {
    child: Child,
    log: Arc<Mutex<Vec<Value>>>,
    reader: Option<JoinHandle<()>>,
    ops: String,
}

impl Consumer {
    /// Starts one on `topic` that writes below `base`, and waits until it is ready.
    pub async fn start(
        broker: &Broker,
        topic: &str,
        subscription: &str,
        base: &Path,
        variables: &[(&str, &str)],
    ) -> Self {
        let mut command = Self::command(broker, topic, subscription, base, variables);
        Self::run_command(&mut command).await
    }

    /// The command of one on `topic` that writes below `base`.
    pub fn command(
        broker: &Broker,
        topic: &str,
        subscription: &str,
        base: &Path,
        variables: &[(&str, &str)],
    ) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stream-processor"));
        command
            .arg("consumer")
            .current_dir(base)
            .env_clear()
            .env("PULSAR_SERVICE_URL", &broker.service_url)
            .env("PULSAR_ADMIN_URL", &broker.admin_url)
            .env("PULSAR_TOPIC", topic)
            .env("PULSAR_SUBSCRIPTION", subscription)
            .env("STORAGE_BASE_PATH", base)
            .env("METRICS_ADDRESS", "127.0.0.1")
            .env("METRICS_PORT", "0")
            .env("LOG_FORMAT", "json")
            .envs(variables.iter().copied());
        command
    }

    /// Starts a command that goes on, with its log as JSON, and waits until it is ready.
    pub async fn run_command(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let lines = BufReader::new(child.stderr.take().expect("a log")).lines();
        let log = Arc::<Mutex<Vec<Value>>>::default();
        let kept = Arc::clone(&log);
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
                kept.lock().expect("no reader has panicked").push(value);
            }
        });
        let mut consumer = Self { child, log, reader: Some(reader), ops: String::new() };
        consumer.until("it serves its metrics", |consumer| consumer.address()).await;
        consumer.ops = consumer.address().expect("just seen");
        let begun = Instant::now();
        while !consumer.is_ready().await {
            assert!(begun.elapsed() < PATIENCE, "not ready:\n{}", consumer.log_text());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        consumer
    }

    fn address(&self) -> Option<String> {
        let served = "metrics and health are served";
        let log = self.log();
        let line = log.iter().find(|line| line["message"] == served)?;
        Some(line["address"].as_str()?.to_owned())
    }

    /// What a probe says: whether it succeeds, and why it does not.
    pub async fn probe(&self, path: &str) -> (bool, String) {
        match reqwest::get(format!("http://{}{path}", self.ops)).await {
            Ok(answer) => (answer.status().is_success(), answer.text().await.unwrap_or_default()),
            Err(error) => (false, error.to_string()),
        }
    }

    async fn is_ready(&self) -> bool {
        self.probe("/readyz").await.0
    }

    /// Waits until `look` finds something.
    pub async fn until<T>(&self, what: &str, look: impl Fn(&Self) -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            assert!(begun.elapsed() < PATIENCE, "waited for: {what}\n{}", self.log_text());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What its metrics say of `name`, which is the name with its labels as Prometheus writes
    /// them, less the prefix; 0 when it is not there.
    pub async fn metric(&self, name: &str) -> f64 {
        let prefix = format!("stream_processor_{name} ");
        let text = self.metrics().await;
        let line = text.lines().find_map(|line| line.strip_prefix(&prefix));
        line.map_or(0.0, |value| value.trim().parse().expect("a number"))
    }

    /// All its metrics.
    pub async fn metrics(&self) -> String {
        let answer = reqwest::get(format!("http://{}/metrics", self.ops)).await;
        answer.expect("metrics").text().await.expect("metrics are text")
    }

    /// Its log so far, each line as the object that it is.
    pub fn log(&self) -> Vec<Value> {
        self.log.lock().expect("no reader has panicked").clone()
    }

    /// Its log so far, for a person.
    pub fn log_text(&self) -> String {
        self.log().iter().map(|line| format!("{line}\n")).collect()
    }

    /// Tells it to leave, as Kubernetes does, and waits until it has.
    pub async fn leave(mut self) -> ExitStatus {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        let term = rustix::process::Signal::TERM;
        rustix::process::kill_process(pid.expect("a process id"), term).expect("a signal");
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "it does not leave:\n{}", self.log_text());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}
