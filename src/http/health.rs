//! Whether the process is alive, and whether it can do its work.
//!
//! Alive means that the pipeline's loop still turns: only a restart mends one that does not.
//! Ready means that the source, the encoder and the storage work, as far as a command has them:
//! trouble with those passes, and a restart would not help. Redis is told of, and never waited
//! for.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

/// What the work depends on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// Frames can be taken.
    Source,
    /// Helper processes take jobs.
    Encoder,
    /// Segments can be written.
    Storage,
    /// Sessions can be told to Redis.
    Redis,
    /// The cluster can be looked after.
    Cluster,
}

impl Part {
    const ALL: [Self; 5] = [Self::Source, Self::Encoder, Self::Storage, Self::Redis, Self::Cluster];

    fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Encoder => "encoder",
            Self::Storage => "storage",
            Self::Redis => "redis",
            Self::Cluster => "cluster",
        }
    }
}

/// How a part is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Condition {
    /// It does its work.
    Ready,
    /// It does not, and the process is ready all the same; why, in a sentence for a person.
    DoesWithout(String),
    /// It does not, and why, in a sentence for a person.
    NotReady(String),
}

/// One answer to a probe.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Report {
    /// Whether the probe succeeds.
    pub ok: bool,
    /// What was looked at, in a fixed order.
    pub checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Check {
    /// Its name.
    pub name: &'static str,
    /// Whether it is well.
    pub ok: bool,
    /// Why it is not, or what is wrong that does no harm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Shared by whoever knows and whoever asks; cheap to clone.
#[derive(Clone, Debug)]
pub struct Health(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    max_silence: Duration,
    now: Mutex<Now>,
}

#[derive(Debug)]
struct Now {
    /// On the monotonic clock: wall time that is set must not kill the process.
    last_beat: Instant,
    /// Of the parts that the process has.
    conditions: [Option<Condition>; Part::ALL.len()],
    leaving: bool,
}

impl Health {
    /// The worker's: alive now, not ready yet. Without a beat for `max_silence` it is no longer
    /// alive.
    pub fn new(max_silence: Duration) -> Self {
        Self::of(max_silence, &[Part::Source, Part::Encoder, Part::Storage])
    }

    /// That of a process which needs these parts; another counts from when it is set.
    pub fn of(max_silence: Duration, parts: &[Part]) -> Self {
        let starting = || Condition::NotReady("it is starting".into());
        let now = Now {
            last_beat: Instant::now(),
            conditions: Part::ALL.map(|part| parts.contains(&part).then(starting)),
            leaving: false,
        };
        Self(Arc::new(Shared { max_silence, now: Mutex::new(now) }))
    }

    /// The process's loop has turned.
    pub fn beat(&self) {
        self.with(|now| now.last_beat = Instant::now());
    }

    /// Says how a part is.
    pub fn set(&self, part: Part, condition: Condition) {
        self.with(|now| {
            if let Some(slot) = now.conditions.get_mut(part as usize) {
                *slot = Some(condition);
            }
        });
    }

    /// The process is about to leave: no longer ready, still alive.
    pub fn leave(&self) {
        self.with(|now| now.leaving = true);
    }

    /// Whether the loop turned lately.
    pub fn liveness(&self) -> Report {
        let silence = self.with(|now| now.last_beat.elapsed());
        let reason = (silence > self.0.max_silence).then(|| {
            format!(
                "the pipeline has not turned for {} s; at most {} s are expected",
                silence.as_secs(),
                self.0.max_silence.as_secs()
            )
        });
        report(vec![check("pipeline", reason)])
    }

    /// Whether every part is ready.
    pub fn readiness(&self) -> Report {
        self.with(|now| {
            let mut checks: Vec<Check> = Part::ALL
                .into_iter()
                .zip(&now.conditions)
                .filter_map(|(part, condition)| Some((part.name(), condition.as_ref()?)))
                .map(|(name, condition)| match condition {
                    Condition::Ready => check(name, None),
                    Condition::NotReady(why) => check(name, Some(why.clone())),
                    Condition::DoesWithout(why) => {
                        Check { name, ok: true, reason: Some(why.clone()) }
                    }
                })
                .collect();
            if now.leaving {
                checks.push(check("process", Some("it is shutting down".into())));
            }
            report(checks)
        })
    }

    fn with<T>(&self, f: impl FnOnce(&mut Now) -> T) -> T {
        f(&mut self.0.now.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn check(name: &'static str, reason: Option<String>) -> Check {
    Check { name, ok: reason.is_none(), reason }
}

fn report(checks: Vec<Check>) -> Report {
    Report { ok: checks.iter().all(|check| check.ok), checks }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_pipeline_that_stands_still_is_not_alive_until_it_turns_again() {
        let health = Health::new(Duration::from_secs(30));
        tokio::time::advance(Duration::from_secs(30)).await;
        assert!(health.liveness().ok);
        tokio::time::advance(Duration::from_secs(1)).await;
        let report = health.liveness();
        assert!(!report.ok && report.checks[0].reason.as_ref().unwrap().contains("31 s"));
        health.beat();
        assert!(health.liveness().ok);
    }

    #[tokio::test]
    async fn readiness_waits_for_every_part_and_names_the_one_that_fails() {
        let health = Health::new(Duration::from_secs(30));
        for part in [Part::Source, Part::Encoder, Part::Storage] {
            assert!(!health.readiness().ok);
            health.set(part, Condition::Ready);
        }
        assert!(health.readiness().ok);
        health.set(Part::Storage, Condition::NotReady("the disk is full".into()));
        let failed: Vec<_> = health.readiness().checks.into_iter().filter(|c| !c.ok).collect();
        assert_eq!(failed, [check("storage", Some("the disk is full".into()))]);
    }

    #[tokio::test]
    async fn redis_is_told_of_and_not_waited_for() {
        let health = Health::of(Duration::from_secs(30), &[Part::Storage]);
        assert_eq!(health.readiness().checks.len(), 1);
        health.set(Part::Storage, Condition::Ready);
        health.set(Part::Redis, Condition::DoesWithout("it is away".into()));
        let report = health.readiness();
        let away = Check { name: "redis", ok: true, reason: Some("it is away".into()) };
        assert!(report.ok && report.checks == [check("storage", None), away], "{report:?}");
    }

    #[tokio::test]
    async fn a_process_that_leaves_is_alive_but_takes_no_work() {
        let health = Health::new(Duration::from_secs(30));
        for part in Part::ALL {
            health.set(part, Condition::Ready);
        }
        health.leave();
        assert!(health.liveness().ok && !health.readiness().ok);
    }
}
