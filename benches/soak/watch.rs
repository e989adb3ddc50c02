//! What a worker does and uses at an instant, and what follows from many of those.

use std::fs;
use std::time::Instant;

use super::broker::Broker;
use super::footage::Failure;
use super::usage::{children_of, cpu_of, cpu_of_all, memory_of};
use super::worker::{SUBSCRIPTION, Worker, metric_in};

/// One look at everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// Since the worker was started.
    pub secs: f64,
    /// Frames, all since the beginning.
    pub sent: f64,
    pub committed: f64,
    pub segments: f64,
    pub deferred: f64,
    pub dead_letters: f64,
    /// Frames that the worker holds now, and for how long the oldest of them.
    pub held: f64,
    pub oldest_secs: f64,
    /// What was delivered to it, and is neither held nor acknowledged: put off, or on its way.
    pub put_off: f64,
    /// What the broker counts: published and not acknowledged.
    pub backlog: f64,
    /// The worker, without its helpers.
    pub rss_kib: f64,
    pub pss_kib: f64,
    pub descriptors: f64,
    pub threads: f64,
    /// CPU seconds so far.
    pub worker_cpu: f64,
    pub helpers_cpu: f64,
    pub broker_cpu: f64,
    pub publishers_cpu: f64,
}

/// Looks at a worker and at who is around it.
pub struct Meter {
    begun: Instant,
    worker: u32,
    broker: u32,
    most_put_off: f64,
}

impl Meter {
    pub fn new(broker: &Broker, worker: u32) -> Result<Self, Failure> {
        Ok(Self {
            begun: Instant::now(),
            worker,
            broker: broker.pid().ok_or("no broker's process")?,
            most_put_off: 0.0,
        })
    }

    pub async fn look(
        &mut self,
        broker: &Broker,
        topic: &str,
        worker: &Worker,
        publishers: &[u32],
        sent: u64,
    ) -> Result<Sample, Failure> {
        let text = worker.metrics().await.ok_or("the worker does not say its metrics")?;
        let metric = |name| metric_in(&text, name).ok_or_else(|| format!("no metric {name}"));
        let counters = broker.counters(topic, SUBSCRIPTION).await;
        let memory = memory_of(self.worker);
        let held = metric("queued_frames")?;
        let put_off = (counters.unacked as f64 - held).max(0.0);
        self.most_put_off = self.most_put_off.max(put_off);
        Ok(Sample {
            secs: self.begun.elapsed().as_secs_f64(),
            sent: sent as f64,
            committed: metric("frames_committed_total")?,
            segments: metric("segments_generated_total")?,
            deferred: metric("frames_deferred_total")?,
            dead_letters: metric("dead_letters_total")?,
            held,
            oldest_secs: metric("oldest_held_frame_age_seconds")?,
            put_off,
            backlog: counters.backlog as f64,
            rss_kib: memory.rss_kib,
            pss_kib: memory.pss_kib,
            descriptors: fs::read_dir(format!("/proc/{}/fd", self.worker))?.count() as f64,
            threads: self.status("Threads:"),
            worker_cpu: cpu_of(self.worker).as_secs_f64(),
            helpers_cpu: cpu_of_all(&children_of(self.worker)).as_secs_f64(),
            broker_cpu: cpu_of(self.broker).as_secs_f64(),
            publishers_cpu: cpu_of_all(publishers).as_secs_f64(),
        })
    }

    /// The most frames that were ever put off.
    pub fn most_put_off(&self) -> f64 {
        self.most_put_off
    }

    /// The most memory that the worker ever had.
    pub fn peak_kib(&self) -> f64 {
        self.status("VmHWM:")
    }

    fn status(&self, field: &str) -> f64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.worker)).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(field));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0.0)
    }
}

/// How much a figure grew a second from the first to the last look.
pub fn rate(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    match (samples.first(), samples.last()) {
        (Some(first), Some(last)) if last.secs > first.secs => {
            (of(last) - of(first)) / (last.secs - first.secs)
        }
        _ => 0.0,
    }
}

/// The most that a figure was.
pub fn most(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    samples.iter().map(of).fold(0.0, f64::max)
}

/// What a figure grew by a second, by the line that fits it best.
pub fn slope(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    let count = samples.len().max(1) as f64;
    let mean_at = samples.iter().map(|sample| sample.secs).sum::<f64>() / count;
    let mean = samples.iter().map(&of).sum::<f64>() / count;
    let (mut over, mut under) = (0.0, 0.0);
    for sample in samples {
        let at = sample.secs - mean_at;
        over += at * (of(sample) - mean);
        under += at * at;
    }
    if under == 0.0 { 0.0 } else { over / under }
}
