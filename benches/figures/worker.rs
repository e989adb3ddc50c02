//! The release binary as a worker against a real broker, and what it says and uses while it
//! works.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use stream_processor::model::{Clock, SystemClock};
use tokio::process::{Child, Command};
use tokio::time::sleep;

use super::broker::Broker;
use super::cameras::Cameras;
use super::footage::{Failure, INTERVAL_MILLIS, WORKER};
use super::usage::{Memory, children_of, cpu_of, cpu_of_all, memory_of};

/// The subscription of every worker.
pub const SUBSCRIPTION: &str = "bench";

/// How long a worker may do nothing that is waited for.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often it is asked: each time costs it under a millisecond.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// CPU seconds so far.
#[derive(Clone, Copy, Debug)]
pub struct WorkerCpu {
    pub parent_secs: f64,
    pub helpers_secs: f64,
}

/// A worker that runs; killed when it is dropped.
pub struct Worker {
    child: Child,
    /// Its process.
    pub pid: u32,
    metrics_url: String,
    log: std::path::PathBuf,
}

impl Worker {
    /// Starts a worker on the topic, with the storage below `base`.
    pub fn start(
        broker: &Broker,
        topic: &str,
        base: &Path,
        settings: &[(&str, &str)],
    ) -> Result<Self, Failure> {
        Self::start_program(Path::new(WORKER), broker, topic, base, settings)
    }

    /// Starts a program that is a worker by the same settings.
    pub fn start_program(
        program: &Path,
        broker: &Broker,
        topic: &str,
        base: &Path,
        settings: &[(&str, &str)],
    ) -> Result<Self, Failure> {
        // Free now; nothing else on this machine is asking for ports in between.
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let log = base.join("worker.log");
        let mut command = Command::new(program);
        command.env_clear().current_dir(base).kill_on_drop(true);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs([("PULSAR_SERVICE_URL", &*broker.service_url), ("PULSAR_TOPIC", topic)]);
        command.envs([("PULSAR_SUBSCRIPTION", SUBSCRIPTION), ("METRICS_ADDRESS", "127.0.0.1")]);
        command.env("METRICS_PORT", port.to_string()).env("STORAGE_BASE_PATH", base);
        command.envs(settings.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(Stdio::from(std::fs::File::create(&log)?));
        let child = command.spawn()?;
        let pid = child.id().ok_or("the worker ended at once")?;
        let metrics_url = format!("http://127.0.0.1:{port}/metrics");
        Ok(Self { child, pid, metrics_url, log })
    }

    /// A metric without labels; none while nothing answers.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        metric_in(&self.metrics().await?, name)
    }

    /// All its metrics; none while nothing answers.
    pub async fn metrics(&self) -> Option<String> {
        reqwest::get(&self.metrics_url).await.ok()?.text().await.ok()
    }

    /// Waits until a metric is at least that. It may take long as long as it grows.
    pub async fn wait_for(&mut self, name: &str, wanted: f64) -> Result<(), Failure> {
        let (mut newest, mut since) = (None, Instant::now());
        loop {
            let value = self.metric(name).await;
            if value.is_some_and(|value| value >= wanted) {
                return Ok(());
            }
            if value != newest {
                (newest, since) = (value, Instant::now());
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("the worker ended ({status}): {}", self.last_words()).into());
            }
            if since.elapsed() > PATIENCE {
                let words = self.last_words();
                return Err(format!("{name} stays at {value:?} of {wanted}: {words}").into());
            }
            sleep(ASK_EVERY).await;
        }
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }

    /// What it has used so far.
    pub fn cpu(&self) -> WorkerCpu {
        WorkerCpu {
            parent_secs: cpu_of(self.pid).as_secs_f64(),
            helpers_secs: cpu_of_all(&children_of(self.pid)).as_secs_f64(),
        }
    }

    /// The memory of the parent, and of the largest helper.
    pub fn memory(&self) -> (Memory, Memory) {
        let helpers = children_of(self.pid).into_iter().map(memory_of);
        let largest = helpers.max_by(|a, b| a.pss_kib.total_cmp(&b.pss_kib));
        (memory_of(self.pid), largest.unwrap_or_default())
    }

    /// Asks it to leave and waits until it has.
    pub async fn stop(mut self) -> Result<(), Failure> {
        if let Some(pid) = i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw) {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        }
        tokio::time::timeout(PATIENCE, self.child.wait()).await??;
        Ok(())
    }
}

/// What metrics say of one without labels.
pub fn metric_in(metrics: &str, name: &str) -> Option<f64> {
    let name = format!("stream_processor_{name} ");
    metrics.lines().find_map(|line| line.strip_prefix(&name)?.trim().parse().ok())
}

/// Cameras whose events are published: each event names a JPEG that is there already.
pub struct Fleet {
    cameras: Cameras,
    /// How many frames of each device are published.
    published: usize,
}

impl Fleet {
    pub fn new(devices: usize) -> Result<Self, Failure> {
        // Far enough back that no frame is from the future.
        let began_at = SystemClock.now().plus_millis(-12 * 3_600_000);
        let cameras = Cameras::new("camera", 0, devices, began_at, INTERVAL_MILLIS)?;
        Ok(Self { cameras, published: 0 })
    }

    /// Publishes the next `frames` frames of every device, as they would come: one of each
    /// device, then the next of each. `path` tells the file below the storage's base path of a
    /// device's frame, both by number.
    pub async fn publish(
        &mut self,
        broker: &Broker,
        topic: &str,
        frames: usize,
        path: impl Fn(usize, usize) -> String,
    ) -> Result<(), Failure> {
        let mut publisher = broker.publisher(topic).await;
        for number in (self.published..).take(frames) {
            let of_camera = |camera| self.cameras.message(camera, number, &path(camera, number));
            let messages = (0..self.cameras.devices().len()).map(of_camera);
            publisher.publish(messages.collect::<Result<Vec<_>, _>>()?).await;
            self.published += 1;
        }
        Ok(())
    }
}
