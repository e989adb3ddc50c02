//! The runs of the checker, the clean-up and the archives' expiry, and what goes wrong with them:
//! one is missed, dies at a drawn step, or two are at it at once.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use stream_processor::archive::{self, ArchiveCleanup, ArchiveSettings, Archiver};
use stream_processor::model::{Clock, DeviceKey, ManualClock};
use stream_processor::retention::{self, Cleaner, Outcome, RetentionSettings, Run, Watch};
use stream_processor::session::{AfterCheck, Afterwards, Checker, SessionMirror, SessionRules};
use stream_processor::store::steps as store_steps;
use stream_processor::store::steps::WriteSteps;
use stream_processor::store::{Store, StoreError};
use tokio_util::sync::CancellationToken;

use crate::draw::{LONGEST_SESSION, OFFLINE, secs};
use crate::oracle::{GRACE, IDLE_AFTER, KEEP, RETENTION, SHORTEST_SESSION};

/// A segment and a half.
const COMMIT_EVERY: Duration = Duration::from_secs(450);

pub fn rules() -> SessionRules {
    SessionRules {
        offline_threshold: secs(OFFLINE),
        commit_every: COMMIT_EVERY,
        max_duration: Some(secs(LONGEST_SESSION)),
    }
}

/// What becomes of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Luck {
    /// It comes to its end.
    Good,
    /// There is none.
    Missed,
    /// It dies at a step.
    Dies,
    /// Two are at it at once.
    Twice,
}

impl Luck {
    pub fn draw(rng: &mut ChaCha8Rng) -> Self {
        match rng.random_range(0..100) {
            0..4 => Self::Missed,
            4..10 => Self::Dies,
            10..14 => Self::Twice,
            _ => Self::Good,
        }
    }
}

/// How many runs went how, and what they did.
#[derive(Debug, Default)]
pub struct Figures {
    pub missed: u64,
    pub died: u64,
    pub twice: u64,
    pub sessions_ended: u64,
    pub archives_made: u64,
    pub archives_expired: u64,
}

/// Whoever keeps up the storage.
pub struct Upkeep {
    store: Store,
    clock: Arc<ManualClock>,
    mirror: Option<SessionMirror>,
    checker: Checker,
    pub figures: Figures,
}

struct Archiving(Archiver);

#[async_trait]
impl AfterCheck for Archiving {
    async fn run(&self, device: &DeviceKey) -> Result<Afterwards, Box<dyn Error + Send + Sync>> {
        let outcome = self.0.run_device(device).await?;
        Ok(Afterwards {
            archives: outcome.archived,
            waiting: outcome.waiting,
            again: outcome.busy || outcome.waiting > 0,
        })
    }
}

/// Takes no interest.
struct Nobody;

impl Watch for Nobody {
    fn begun(&self, _: usize) {}
    fn device(&self, _: &DeviceKey, _: &Result<Outcome, StoreError>) {}
}

impl Upkeep {
    pub fn new(store: Store, clock: Arc<ManualClock>, mirror: Option<SessionMirror>) -> Self {
        let checker = checker(&store, &clock, mirror.clone());
        Self { store, clock, mirror, checker, figures: Figures::default() }
    }

    /// A look at all devices that are due.
    pub async fn check(&mut self, luck: Luck, rng: &mut ChaCha8Rng) {
        let writes = [archive::steps::PLAYLIST, archive::steps::DOCUMENT, archive::steps::LEDGER];
        let writes = [&writes[..], &[store_steps::CHANGE_STATE, store_steps::CHANGE_PLAYLIST]];
        let links = [archive::steps::FILE_LINKED, archive::steps::FILES_LINKED];
        let Some(_death) = self.begin(luck, &links, &writes.concat(), rng) else { return };
        let never = CancellationToken::new();
        if luck == Luck::Twice {
            let mut other = checker(&self.store, &self.clock, self.mirror.clone());
            let (one, two) =
                tokio::join!(self.checker.pass(&never, |_, _| {}), other.pass(&never, |_, _| {}));
            let (one, two) = (one.unwrap(), two.unwrap());
            assert_eq!(one.errors + two.errors, 0);
            self.figures.sessions_ended += one.ended + two.ended;
            self.figures.archives_made += one.archives + two.archives;
            return;
        }
        let pass = self.checker.pass(&never, |_, _| {}).await.unwrap();
        assert!(pass.errors == 0 || luck == Luck::Dies, "{pass:?}");
        self.figures.sessions_ended += pass.ended;
        self.figures.archives_made += pass.archives;
        if luck == Luck::Dies {
            self.look_anew();
        }
    }

    /// Another process takes over, which has seen nothing yet.
    pub fn look_anew(&mut self) {
        self.checker = checker(&self.store, &self.clock, self.mirror.clone());
    }

    pub async fn clean_up(&mut self, luck: Luck, rng: &mut ChaCha8Rng) {
        let writes =
            [store_steps::CHANGE_STATE, store_steps::CHANGE_PLAYLIST, retention::steps::CLEANED];
        let steps = &retention::steps::ALL_OF_CLEANUP;
        let Some(_death) = self.begin(luck, steps, &writes, rng) else { return };
        let settings = RetentionSettings {
            retention: secs(RETENTION),
            grace: secs(GRACE),
            archives: true,
            idle_after: secs(IDLE_AFTER),
            device_max_bytes: None,
            total_max_bytes: None,
            unencoded_frames: None,
        };
        let cleaner = Cleaner::new(self.store.clone(), settings, self.clock.clone());
        let run = Run::default();
        let reports = match luck {
            Luck::Twice => {
                let (one, two) =
                    tokio::join!(cleaner.run(&run, &Nobody), cleaner.run(&run, &Nobody));
                vec![one.unwrap(), two.unwrap()]
            }
            _ => vec![cleaner.run(&run, &Nobody).await.unwrap()],
        };
        let failed: u64 = reports.iter().map(|report| report.failed).sum();
        assert!(failed == 0 || luck == Luck::Dies, "{reports:?}");
    }

    pub async fn expire(&mut self, luck: Luck, rng: &mut ChaCha8Rng) {
        let steps = [
            archive::steps::DOCUMENT_REMOVED,
            archive::steps::UNMADE,
            archive::steps::FILE_REMOVED,
            archive::steps::EMPTIED,
        ];
        let Some(_death) = self.begin(luck, &steps, &[], rng) else { return };
        let cleanup = ArchiveCleanup::new(
            self.store.clone(),
            self.clock.clone() as Arc<dyn Clock>,
            None,
            false,
        );
        for key in self.store.devices().await.unwrap() {
            let swept = match luck {
                Luck::Twice => {
                    let (one, two) = tokio::join!(cleanup.sweep(&key), cleanup.sweep(&key));
                    let mut both = one.unwrap();
                    both.add(&two.unwrap());
                    both
                }
                Luck::Dies => cleanup.sweep(&key).await.unwrap_or_default(),
                _ => cleanup.sweep(&key).await.unwrap(),
            };
            assert_eq!(swept.foreign, 0, "{key}: {swept:?}");
            self.figures.archives_expired += swept.expired;
        }
    }

    /// Counts what becomes of a run; none if there is none.
    fn begin(
        &mut self,
        luck: Luck,
        steps: &[&'static str],
        writes: &[WriteSteps],
        rng: &mut ChaCha8Rng,
    ) -> Option<Option<Death>> {
        match luck {
            Luck::Good => return Some(None),
            Luck::Missed => {
                self.figures.missed += 1;
                return None;
            }
            Luck::Twice => {
                self.figures.twice += 1;
                return Some(None);
            }
            Luck::Dies => self.figures.died += 1,
        }
        let writes = writes.iter().flat_map(WriteSteps::names);
        let all: Vec<_> = steps.iter().copied().chain(writes).collect();
        Some(Some(Death::drawn(&all, rng)))
    }
}

fn checker(store: &Store, clock: &Arc<ManualClock>, mirror: Option<SessionMirror>) -> Checker {
    let settings = ArchiveSettings {
        enabled: true,
        min_duration: secs(SHORTEST_SESSION),
        keep: secs(KEEP),
        stream_retention: secs(RETENTION),
    };
    let archiver = Archiver::new(store.clone(), settings, clock.clone() as Arc<dyn Clock>, None);
    let after = Arc::new(Archiving(archiver));
    Checker::new(store.clone(), rules(), clock.clone() as Arc<dyn Clock>, mirror, Some(after))
}

/// Whoever comes to a drawn step dies there, the first time or a later one: the task ends where
/// it is and writes nothing more, and its locks are free, as when a process is killed.
pub struct Death(&'static str);

impl Death {
    pub fn drawn(steps: &[&'static str], rng: &mut ChaCha8Rng) -> Self {
        let step = *steps.choose(rng).unwrap();
        let before = match rng.random_range(0..6) {
            0 => format!("{}*off->", rng.random_range(1..20)),
            _ => String::new(),
        };
        fail::cfg(step, &format!("{before}1*panic->off")).unwrap();
        Self(step)
    }
}

impl Drop for Death {
    fn drop(&mut self) {
        fail::remove(self.0);
    }
}
