//! What a run is like and which faults it has, when and for how long: all of it follows from the
//! seed (pure).

use std::fmt;

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Nothing is disturbed before everybody is at work.
const CALM_BEFORE_SECS: f64 = 15.0;
/// Nothing new is begun this long before the end.
const CALM_AFTER_SECS: f64 = 20.0;

/// Where streams are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    Folder,
    Bucket,
}

/// A run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub seed: u64,
    pub minutes: f64,
    pub workers: usize,
    pub devices: usize,
    pub storage: Storage,
}

/// What is done to the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A worker, by SIGKILL.
    WorkerKilled,
    /// A worker by SIGSTOP, and SIGCONT at the end.
    WorkerStopped,
    /// A worker, by SIGTERM; another takes its place.
    WorkerReplaced,
    /// One more worker, which leaves at the end.
    WorkerJoins,
    /// A worker leaves; it comes back at the end.
    WorkerLeaves,
    /// A helper process of a worker, by SIGKILL.
    HelperKilled,
    /// The broker by SIGKILL; it is started again at the end.
    BrokerKilled,
    /// The broker gives the topic up, and its consumers and producers with it.
    TopicUnloaded,
    /// A worker's connections to the broker are closed, and there are no new ones.
    LinkCut,
    /// Nothing comes through a worker's connections any more, and nobody says so.
    LinkHalfOpen,
    /// A worker's connections are slow.
    LinkSlow,
    /// A worker's connections are reset after some bytes.
    LinkReset,
    /// No room is left for segments.
    DiskFull,
    /// A worker's reads and writes fail with EIO now and then.
    DiskErrors,
    /// A worker's clock is wrong by up to three hours.
    ClockStepped,
    /// Redis by SIGKILL; it is started again at the end.
    RedisKilled,
    /// The bucket by SIGKILL; it is started again at the end.
    BucketKilled,
    /// A worker's requests to the bucket are answered with 503.
    BucketRefuses,
    /// They are carried out, and what is said of some is lost.
    BucketLosesAnswers,
    /// They take long.
    BucketSlow,
    /// Some answers have a tag that is not the object's.
    BucketWrongTags,
}

/// One fault.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Its number in the run.
    pub number: usize,
    pub kind: Kind,
    /// After how many seconds it begins.
    pub at_secs: f64,
    pub lasts_secs: f64,
    /// Which of those that it may hit, and how it hits.
    pub draw: u64,
}

impl Kind {
    const EVERYWHERE: [Self; 13] = [
        Self::WorkerKilled,
        Self::WorkerStopped,
        Self::WorkerReplaced,
        Self::WorkerJoins,
        Self::WorkerLeaves,
        Self::HelperKilled,
        Self::BrokerKilled,
        Self::TopicUnloaded,
        Self::LinkCut,
        Self::LinkHalfOpen,
        Self::LinkSlow,
        Self::LinkReset,
        Self::ClockStepped,
    ];
    const OF_FOLDERS: [Self; 3] = [Self::DiskFull, Self::DiskErrors, Self::RedisKilled];
    const OF_BUCKETS: [Self; 6] = [
        Self::BucketKilled,
        Self::BucketRefuses,
        Self::BucketLosesAnswers,
        Self::BucketSlow,
        Self::BucketWrongTags,
        Self::RedisKilled,
    ];

    /// The kinds that a run has.
    pub fn all(storage: Storage) -> Vec<Self> {
        let more = match storage {
            Storage::Folder => &Self::OF_FOLDERS[..],
            Storage::Bucket => &Self::OF_BUCKETS[..],
        };
        [&Self::EVERYWHERE[..], more].concat()
    }

    /// How long it lasts at least and at most, in seconds.
    fn lasts(self) -> std::ops::Range<f64> {
        match self {
            Self::WorkerStopped => 40.0..40.1,
            Self::LinkHalfOpen => 15.0..45.0,
            Self::LinkSlow | Self::ClockStepped | Self::WorkerJoins => 15.0..40.0,
            Self::BrokerKilled => 1.0..6.0,
            Self::LinkCut | Self::LinkReset | Self::WorkerLeaves => 5.0..20.0,
            Self::DiskFull | Self::DiskErrors | Self::RedisKilled => 8.0..25.0,
            Self::BucketKilled => 2.0..12.0,
            Self::BucketRefuses
            | Self::BucketLosesAnswers
            | Self::BucketSlow
            | Self::BucketWrongTags => 8.0..20.0,
            Self::WorkerKilled
            | Self::WorkerReplaced
            | Self::HelperKilled
            | Self::TopicUnloaded => 0.0..0.1,
        }
    }
}

impl Default for Plan {
    /// The short one of a test run.
    fn default() -> Self {
        Self { seed: 1, minutes: 0.7, workers: 4, devices: 60, storage: Storage::Folder }
    }
}

impl Plan {
    /// Whether there is time for few faults only.
    fn is_short(&self) -> bool {
        self.minutes < 3.0
    }

    /// All faults of the run, by when they begin: every kind once, then every kind again, each
    /// time in another order.
    pub fn faults(&self) -> Vec<Fault> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let (gaps, shortened) = if self.is_short() { (2.0..4.0, 0.3) } else { (6.0..20.0, 1.0) };
        let ends_at = self.minutes * 60.0 - if self.is_short() { 8.0 } else { CALM_AFTER_SECS };
        let mut at_secs = if self.is_short() { 6.0 } else { CALM_BEFORE_SECS };
        let mut faults = Vec::new();
        let mut round = Vec::new();
        while at_secs < ends_at {
            if round.is_empty() {
                round = Kind::all(self.storage);
                round.shuffle(&mut rng);
            }
            let kind = round.pop().expect("it was filled");
            let lasts_secs = rng.random_range(kind.lasts()) * shortened;
            let number = faults.len() + 1;
            let fault = Fault { number, kind, at_secs, lasts_secs, draw: rng.random() };
            // What would not be over in time is for another run.
            if at_secs + lasts_secs < ends_at {
                faults.push(fault);
            }
            at_secs += rng.random_range(gaps.clone());
        }
        faults
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, minutes, workers, devices, storage } = self;
        write!(f, "SEED={seed} MINUTES={minutes} WORKERS={workers} DEVICES={devices} {storage:?}")
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, kind, at_secs, lasts_secs, draw } = self;
        write!(f, "fault {number:3} at {at_secs:6.1} s for {lasts_secs:4.1} s: {kind} ({draw:x})")
    }
}

impl fmt::Display for Kind {
    /// In the style of a label: `worker_killed`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut label = String::new();
        for letter in format!("{self:?}").chars() {
            if letter.is_uppercase() && !label.is_empty() {
                label.push('_');
            }
            label.push(letter.to_ascii_lowercase());
        }
        f.pad(&label)
    }
}
