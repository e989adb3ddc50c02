//! The pool: which helper does which job, and what is done when one dies.
//!
//! Architecture invariant: a job costs at most the frames that killed or stalled a helper
//! twice; the pool itself never gives up, it only says that a job failed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::attempts::Attempts;
use super::error::EncodeError;
use super::helper_process::{HelperProcess, JobFault};
use super::settings::PoolSettings;
use super::{EncodeJob, EncodeOutcome, Sandbox};

/// How often a helper is started for one job before the job fails.
const MAX_STARTS: u32 = 4;

/// The wait before a helper is started again that did not start; doubles each time.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);

/// The longest wait before a start.
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// What a pool has done and is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PoolStats {
    /// Helpers at work.
    pub busy: usize,
    /// Helpers that were started because another had died or been ended.
    pub restarts: u64,
    /// Times a helper died over a job.
    pub deaths: u64,
    /// Times a helper was ended because it was too slow.
    pub time_outs: u64,
}

#[derive(Default)]
struct Counters {
    started: AtomicU64,
    failed_starts: AtomicU64,
    deaths: AtomicU64,
    time_outs: AtomicU64,
}

/// A fixed number of helper processes and the queue for them.
pub struct EncoderPool {
    settings: PoolSettings,
    /// First come, first served. A job holds one permit.
    turns: Semaphore,
    /// Helpers without a job. One that dies is simply missing: the next job starts another.
    idle: Mutex<Vec<HelperProcess>>,
    counters: Counters,
    sandbox: Sandbox,
}

impl EncoderPool {
    /// Starts all helpers.
    ///
    /// # Errors
    /// [`EncodeError::Start`] when one does not start, with the reason.
    pub async fn start(settings: PoolSettings) -> Result<Self, EncodeError> {
        let helpers = settings.helpers.clamp(1, Semaphore::MAX_PERMITS);
        let settings = PoolSettings { helpers, ..settings };
        let mut pool = Self {
            turns: Semaphore::new(helpers),
            idle: Mutex::new(Vec::with_capacity(helpers)),
            counters: Counters::default(),
            sandbox: Sandbox::default(),
            settings,
        };
        let starts = (0..helpers).map(|_| pool.start_helper());
        let started = futures::future::try_join_all(starts).await?;
        pool.sandbox = started
            .iter()
            .map(|helper| helper.sandbox)
            .fold(Sandbox { seccomp: true, landlock: true, rlimits: true }, Sandbox::weaker);
        *pool.idle.get_mut().unwrap_or_else(PoisonError::into_inner) = started;
        tracing::info!(helpers, sandbox = %pool.sandbox, "encode helpers are ready");
        Ok(pool)
    }

    /// How many helpers there are: more jobs than that wait.
    pub fn helpers(&self) -> usize {
        self.settings.helpers
    }

    /// What every helper was behind when it was started.
    pub fn sandbox(&self) -> Sandbox {
        self.sandbox
    }

    /// What the pool has done and is doing.
    pub fn stats(&self) -> PoolStats {
        let started = self.counters.started.load(Ordering::Relaxed);
        let at_first = u64::try_from(self.settings.helpers).unwrap_or(u64::MAX);
        PoolStats {
            busy: self.settings.helpers.saturating_sub(self.turns.available_permits()),
            restarts: started.saturating_sub(at_first),
            deaths: self.counters.deaths.load(Ordering::Relaxed),
            time_outs: self.counters.time_outs.load(Ordering::Relaxed),
        }
    }

    /// Waits for a free helper and has it do the job. Frames that kill or stall two helpers are
    /// left out, and the others encoded without them. Dropping the future ends the helper that
    /// is at it.
    ///
    /// # Errors
    /// The job could not be done at all; trying again later may help.
    pub async fn encode(&self, job: EncodeJob) -> Result<EncodeOutcome, EncodeError> {
        let mut attempts = Attempts::new(job)?;
        let _turn = self.turns.acquire().await.map_err(|_| EncodeError::Closed)?;
        loop {
            let frames = attempts.frames();
            if frames.is_empty() {
                return Ok(attempts.nothing_left());
            }
            let mut helper = match self.take_idle() {
                Some(helper) => helper,
                None => self.start_helper().await?,
            };
            let limit = self.settings.frame_time_limit;
            match helper.run(attempts.stream(), &frames, limit).await {
                Ok(outcome) => {
                    self.idle().push(helper);
                    return Ok(attempts.finish(outcome));
                }
                Err(fault) => {
                    helper.kill().await;
                    self.count(&fault);
                    attempts.failed(fault)?;
                }
            }
        }
    }

    /// Ends all helpers and waits until they are gone.
    pub async fn close(self) {
        self.turns.close();
        let helpers = self.idle.into_inner().unwrap_or_else(PoisonError::into_inner);
        futures::future::join_all(helpers.into_iter().map(HelperProcess::close)).await;
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<HelperProcess>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_idle(&self) -> Option<HelperProcess> {
        self.idle().pop()
    }

    async fn start_helper(&self) -> Result<HelperProcess, EncodeError> {
        let mut starts = 0;
        loop {
            let failed_before = self.counters.failed_starts.load(Ordering::Relaxed);
            tokio::time::sleep(backoff(failed_before)).await;
            starts += 1;
            match HelperProcess::start(&self.settings).await {
                Ok(helper) => {
                    self.counters.started.fetch_add(1, Ordering::Relaxed);
                    self.counters.failed_starts.store(0, Ordering::Relaxed);
                    return Ok(helper);
                }
                Err(reason) => {
                    self.counters.failed_starts.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(%reason, "an encode helper did not start");
                    if starts == MAX_STARTS {
                        return Err(EncodeError::Start { starts, reason });
                    }
                }
            }
        }
    }

    fn count(&self, fault: &JobFault) {
        match fault {
            JobFault::Died { at, how } => {
                self.counters.deaths.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(frame = at, %how, "an encode helper died");
            }
            JobFault::TimedOut { at } => {
                self.counters.time_outs.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(frame = at, "an encode helper was too slow and was ended");
            }
            JobFault::Failed { detail } => tracing::warn!(%detail, "an encode helper failed"),
        }
    }

    /// Has a helper try what the sandbox forbids: each thing's name, and the error that
    /// stopped it.
    ///
    /// # Errors
    /// It could not be asked, or died of it.
    #[cfg(feature = "failpoints")]
    pub async fn probe_sandbox(&self) -> Result<Vec<(String, Option<String>)>, EncodeError> {
        let mut helper = self.start_helper().await?;
        let tried = helper.probe().await.map_err(|detail| EncodeError::Failed { detail });
        helper.kill().await;
        tried
    }
}

/// The wait before the next start when `failed` in a row were in vain.
fn backoff(failed: u64) -> Duration {
    match u32::try_from(failed) {
        Ok(0) => Duration::ZERO,
        Ok(n @ 1..=16) => (FIRST_BACKOFF * (1 << (n - 1))).min(MAX_BACKOFF),
        _ => MAX_BACKOFF,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_helper_that_does_not_start_is_tried_less_and_less_often() {
        let waits: Vec<u128> = (0..8).map(|failed| backoff(failed).as_millis()).collect();
        assert_eq!(waits, [0, 100, 200, 400, 800, 1_600, 3_200, 5_000]);
        assert_eq!(backoff(u64::MAX), MAX_BACKOFF);
    }
}
