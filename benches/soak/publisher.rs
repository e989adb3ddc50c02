//! Plays a fleet's ingest service in a process of its own: publishes each frame's event at the
//! time at which its camera takes it, or a backlog as fast as the broker takes it.

use std::io::Write;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stream_processor::model::{Clock, SystemClock, UtcMillis};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;

use super::broker::Broker;
use super::cameras::Cameras;
use super::footage::Failure;

/// The variable that makes a process of this program a publisher.
pub const ORDER: &str = "SOAK_PUBLISHER";

/// How often it looks at the clock.
const TURN: Duration = Duration::from_millis(20);
/// How many messages are on their way at once.
const BATCH: u64 = 1_000;

/// What to publish.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    /// The broker's name.
    pub broker: String,
    pub topic: String,
    /// The cameras: what they are called, how many they are and what keeps their ids apart.
    pub name: String,
    pub devices: usize,
    pub tag: u16,
    /// When the first frame is taken, in milliseconds since 1970, and how far apart they are.
    pub began_at: i64,
    pub interval_millis: i64,
    /// The JPEGs, below the base path, in turn.
    pub paths: Vec<String>,
    /// So many frames of all cameras together as fast as they go; or else each in its time,
    /// until the process is told to leave.
    pub frames: Option<u64>,
}

impl Order {
    pub fn cameras(&self) -> Result<Cameras, Failure> {
        let began_at = UtcMillis(self.began_at);
        Cameras::new(&self.name, self.tag, self.devices, began_at, self.interval_millis)
    }

    /// How many frames have been taken by then.
    fn due(&self, now: UtcMillis) -> Result<u64, Failure> {
        let passed = u128::try_from(now.millis_since(UtcMillis(self.began_at)).max(0))?;
        let interval = u128::try_from(self.interval_millis)?;
        Ok(u64::try_from(passed * self.devices as u128 / interval)?)
    }
}

/// The life of a publisher process. Says on stdout how many frames it has published.
pub async fn run(order: &str) -> Result<(), Failure> {
    let order: Order = serde_json::from_str(order)?;
    let broker = Broker::own(&order.broker).await;
    let cameras = order.cameras()?;
    let mut publisher = broker.publisher(&order.topic).await;
    let mut leave = signal(SignalKind::terminate())?;
    let mut sent = 0;
    loop {
        let due = match order.frames {
            Some(frames) => frames,
            None => order.due(SystemClock.now())?,
        };
        let batch = (sent..due.min(sent + BATCH)).map(|number| {
            let number = usize::try_from(number)?;
            let path = order.paths.get(number % order.paths.len()).ok_or("no JPEG")?;
            cameras.message(number % order.devices, number / order.devices, path)
        });
        let batch = batch.collect::<Result<Vec<_>, Failure>>()?;
        sent += batch.len() as u64;
        publisher.publish(batch).await;
        let mut stdout = std::io::stdout();
        writeln!(stdout, "{sent}")?;
        stdout.flush()?;
        if order.frames == Some(sent) {
            return Ok(());
        }
        let pause = if sent == due { TURN } else { Duration::ZERO };
        tokio::select! {
            _ = leave.recv() => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// A publisher process, seen from the one that started it; killed when it is dropped.
pub struct Publisher {
    pub order: Order,
    pub cameras: Cameras,
    child: Child,
    /// Its process.
    pub pid: u32,
    sent: Arc<AtomicU64>,
    /// Until it has been waited for.
    reader: Option<JoinHandle<()>>,
}

impl Publisher {
    pub fn start(order: Order) -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command.env(ORDER, serde_json::to_string(&order)?).kill_on_drop(true);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("no stdout")?).lines();
        let sent = Arc::<AtomicU64>::default();
        let told = Arc::clone(&sent);
        let reader = tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                told.store(line.parse().unwrap_or(0), Ordering::Relaxed);
            }
        });
        let pid = child.id().ok_or("the publisher ended at once")?;
        Ok(Self { cameras: order.cameras()?, order, child, pid, sent, reader: Some(reader) })
    }

    /// How many frames it has published.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Whether it has published all that it was to.
    pub fn is_through(&self) -> bool {
        self.order.frames.is_none_or(|frames| frames == self.sent())
    }

    /// Ends it, or waits until it has published all that it was to.
    pub async fn stop(&mut self) -> Result<u64, Failure> {
        if self.order.frames.is_none()
            && let Some(id) = self.child.id().and_then(|id| i32::try_from(id).ok())
            && let Some(pid) = rustix::process::Pid::from_raw(id)
        {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        }
        let status = self.child.wait().await?;
        if let Some(reader) = self.reader.take() {
            reader.await?;
        }
        match status.success() {
            true => Ok(self.sent()),
            false => Err(format!("a publisher failed: {status}").into()),
        }
    }
}
