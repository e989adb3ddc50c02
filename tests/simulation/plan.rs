//! What happens in one world, drawn from its seed before it runs: what the cameras take and
//! publish, and what goes wrong. Pure; a plan can be made smaller, and is told in words.

use std::fmt;

use crate::draw::Random;

/// Where the streams are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    Disk,
    Bucket,
}

/// How frames are put into entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batching {
    /// Each message is an entry, with its device as the key.
    None,
    /// A batch holds messages of one device, which is its key.
    ByKey,
    /// A batch holds whatever is due, and has no key.
    Mixed,
}

/// What is the matter with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Good,
    /// Its JPEG does not decode.
    Bad,
    /// Every helper fails at it.
    Poison,
    /// Its message is not JSON.
    Malformed,
    /// Its file comes so many milliseconds after its message.
    FileLater(u64),
    /// Its file never comes.
    NoFile,
}

/// One frame.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// Tells it from all others, also in a plan that was made smaller.
    pub id: usize,
    pub device: usize,
    /// When it was taken, in milliseconds since the beginning.
    pub taken: u64,
    /// When it is published.
    pub published: u64,
    pub kind: Kind,
    /// When it is published once more.
    pub again: Option<u64>,
}

/// What goes wrong, and when.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub at: u64,
    pub what: What,
}

/// What can go wrong; times are in milliseconds.
#[derive(Clone, Copy, Debug)]
pub enum What {
    /// The process is killed.
    Kill { worker: usize, back_after: u64 },
    /// It is killed at its so many'th durable step from now on.
    KillAtStep { worker: usize, step: u64, back_after: u64 },
    /// It gets no processor time, and finds that out later.
    Stop { worker: usize, lasts: u64 },
    /// It is told to leave.
    Leave { worker: usize, back_after: u64 },
    /// The power fails: every process dies, and what was not synced may be lost.
    PowerCut { back_after: u64 },
    /// A worker's wall clock is set.
    Clock { worker: usize, by: i64 },
    /// So many steps of the storage fail.
    Storage { worker: usize, failure: Failure, times: u64 },
    /// So many jobs of the encoders fail.
    Encoder { worker: usize, failure: Breakdown, times: u64 },
    /// A partition moves to another broker.
    Unload { partition: usize },
    /// A partition's broker dies: acknowledgements of late may be lost.
    BrokerCrash { partition: usize },
    /// A worker's connections to the broker are lost.
    Disconnect { worker: usize },
    /// Somebody trims a device's window and ends its session.
    Upkeep { device: usize },
}

/// How a step of the storage fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A disk is full; a bucket answers 503.
    Refused,
    /// A file's fsync fails, and what it held may be gone; a bucket does it, and the answer is
    /// lost.
    Unknown,
    /// The same, and the bucket's client tries again by itself.
    UnknownAndAgain,
}

/// How a job of the encoders fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breakdown {
    NoHelper,
    Died,
    Slow,
}

/// Everything that is decided beforehand.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub storage: Storage,
    pub batching: Batching,
    pub workers: usize,
    pub devices: usize,
    pub partitions: usize,
    pub is_fmp4: bool,
    pub frames_per_segment: usize,
    pub max_held: usize,
    pub max_held_per_device: usize,
    pub groups_under_way: usize,
    pub retention_secs: u64,
    /// Entries that one consumer may have unacknowledged.
    pub window: usize,
    /// Messages that a lane keeps.
    pub lane_messages: usize,
    pub frames: Vec<Frame>,
    pub faults: Vec<Fault>,
}

/// What a wall clock may be set by without the broker's order or a camera's clock being in doubt.
const SMALL_STEP_MILLIS: i64 = 4_000;

impl Plan {
    pub fn draw(seed: u64) -> Self {
        let random = &mut Random::new(seed, 1);
        let storage = random.one_of(&[Storage::Disk, Storage::Disk, Storage::Bucket]);
        let batching =
            random.one_of(&[Batching::None, Batching::None, Batching::ByKey, Batching::Mixed]);
        let workers = random.one_of(&[1, 1, 2, 2, 3]);
        let devices = random.one_of(&[1, 1, 2, 3]);
        let partitions = if batching == Batching::Mixed { 1 } else { random.one_of(&[1, 1, 2]) };
        let frames_per_segment = random.one_of(&[2, 3, 3, 6]);
        let mut plan = Self {
            seed,
            storage,
            batching,
            workers,
            devices,
            partitions,
            is_fmp4: random.chance(30),
            frames_per_segment,
            max_held: random.one_of(&[12, 24, 240]),
            max_held_per_device: random.one_of(&[6, 12, 24]),
            groups_under_way: random.one_of(&[1, 2, 4]),
            retention_secs: random.one_of(&[12, 86_400]),
            window: random.one_of(&[4, 12, 50]),
            lane_messages: random.one_of(&[3, 8, 100]),
            frames: Vec::new(),
            faults: Vec::new(),
        };
        plan.draw_frames(random);
        plan.draw_faults(random);
        plan
    }

    fn draw_frames(&mut self, random: &mut Random) {
        let is_out_of_order = random.chance(20);
        for device in 0..self.devices {
            let interval = random.one_of(&[500, 1_000, 1_000, 2_000]);
            let mut taken = random.within(0, 1_000);
            let mut backlog_until = if random.chance(20) { random.within(0, 12_000) } else { 0 };
            for _ in 0..random.within(4, 24) {
                let published = (taken + random.within(20, 60)).max(backlog_until);
                backlog_until = published;
                let late = is_out_of_order && random.chance(15);
                let late_by = if late { random.within(500, 9_000) } else { 0 };
                let again = random.chance(6).then(|| published + random.within(0, 15_000));
                let kind = match random.within(0, 100) {
                    0..88 => Kind::Good,
                    88..91 => Kind::Bad,
                    91..92 => Kind::Poison,
                    92..94 => Kind::Malformed,
                    94..98 => Kind::FileLater(random.within(100, 8_000)),
                    _ => Kind::NoFile,
                };
                let id = self.frames.len();
                let published = published + late_by;
                self.frames.push(Frame { id, device, taken, published, kind, again });
                taken += if random.chance(4) { random.within(4_000, 20_000) } else { interval };
            }
        }
    }

    fn draw_faults(&mut self, random: &mut Random) {
        let end = self.frames.iter().map(|frame| frame.published).max().unwrap_or(0);
        let count = random.one_of(&[1, 2, 4, 8]);
        let mut job_failures = 0;
        for _ in 0..count {
            let worker = random.index(self.workers);
            let back_after = random.one_of(&[100, 1_000, 6_000]);
            let failure =
                random.one_of(&[Failure::Refused, Failure::Unknown, Failure::UnknownAndAgain]);
            let what = match random.within(0, 100) {
                0..14 => What::Kill { worker, back_after },
                14..38 => What::KillAtStep { worker, step: random.within(1, 60), back_after },
                38..48 => What::Stop { worker, lasts: random.within(300, 20_000) },
                48..54 => What::Leave { worker, back_after },
                54..66 => What::PowerCut { back_after },
                66..71 => What::Clock { worker, by: clock_step(random) },
                71..79 => What::Storage { worker, failure, times: random.within(1, 8) },
                79..85 => {
                    let failure =
                        random.one_of(&[Breakdown::NoHelper, Breakdown::Died, Breakdown::Slow]);
                    let most = if failure == Breakdown::Died { 6 - job_failures } else { 6 };
                    let times = random.within(1, 4).min(most);
                    if failure == Breakdown::Died {
                        job_failures += times;
                    }
                    What::Encoder { worker, failure, times }
                }
                85..88 => What::Unload { partition: random.index(self.partitions) },
                88..92 => What::BrokerCrash { partition: random.index(self.partitions) },
                92..97 => What::Disconnect { worker },
                _ => What::Upkeep { device: random.index(self.devices) },
            };
            self.faults.push(Fault { at: random.within(0, end + 6_000), what });
        }
        self.faults.sort_by_key(|fault| fault.at);
    }

    /// Whether a worker's clock is ever set so far back that frames may be shown out of order:
    /// what was shown is then from its future.
    pub fn has_large_clock_steps(&self) -> bool {
        let is_large =
            |what: &What| matches!(what, What::Clock { by, .. } if by.abs() > SMALL_STEP_MILLIS);
        self.faults.iter().any(|fault| is_large(&fault.what))
    }

    /// Whether the order of a device's frames is the broker's promise, so that none can come too
    /// late: its messages are published in order and have its key.
    pub fn is_in_order(&self, device: usize) -> bool {
        let of_device = || self.frames.iter().filter(|frame| frame.device == device);
        let in_order =
            of_device().zip(of_device().skip(1)).all(|(a, b)| a.published <= b.published);
        in_order && self.batching != Batching::Mixed && !self.has_large_clock_steps()
    }
}

fn clock_step(random: &mut Random) -> i64 {
    let by = match random.within(0, 4) {
        0 | 1 => random.within(100, 4_000),
        2 => random.within(4_000, 600_000),
        _ => random.within(3_600_000, 7_200_000),
    };
    let by = i64::try_from(by).unwrap();
    if random.chance(50) { by } else { -by }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { frames, faults, .. } = self;
        writeln!(
            f,
            "seed {}: {} workers, {} devices, {} partitions, {:?}, batching {:?}{}",
            self.seed,
            self.workers,
            self.devices,
            self.partitions,
            self.storage,
            self.batching,
            if self.is_fmp4 { ", fMP4" } else { "" }
        )?;
        writeln!(
            f,
            "  {} frames a segment; held: {} of a device, {} in all; {} groups under way",
            self.frames_per_segment, self.max_held_per_device, self.max_held, self.groups_under_way
        )?;
        writeln!(
            f,
            "  unacknowledged: {} entries; a lane keeps {} messages; retention {} s",
            self.window, self.lane_messages, self.retention_secs
        )?;
        for frame in frames {
            write!(
                f,
                "  frame {:2} of device {}: taken {:5} ms, published {:5} ms, {:?}",
                frame.id, frame.device, frame.taken, frame.published, frame.kind
            )?;
            match frame.again {
                Some(again) => writeln!(f, ", again {again} ms")?,
                None => writeln!(f)?,
            }
        }
        for fault in faults {
            writeln!(f, "  at {:5} ms: {:?}", fault.at, fault.what)?;
        }
        Ok(())
    }
}
