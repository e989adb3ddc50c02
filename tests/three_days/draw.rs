//! What is drawn from the seed: what each device films and when that is committed. Knows
//! nothing of how it is kept.

use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use stream_processor::model::{DeviceKey, UtcMillis};

/// When the three days begin, by the right clock: in 2100, so that every file is old by it, and
/// what a run that died has left is taken at once and not a day later.
pub const START: UtcMillis = UtcMillis(4_102_473_600_000);
pub const MINUTE: i64 = 60_000;
pub const HOUR: i64 = 60 * MINUTE;
/// How long devices film.
pub const LIFE: i64 = 72 * HOUR;
pub const DEVICES: usize = 50;

/// A silence between two captures that is longer ends a session.
pub const OFFLINE: i64 = 15 * MINUTE;
/// The longest that a session may be: more than a stream is kept.
pub const LONGEST_SESSION: i64 = 30 * HOUR;
/// A device whose commits are further apart than this has had its session ended, however many
/// runs of the checker are missed; one whose commits are less than [`OFFLINE`] apart has not.
/// Nothing is drawn in between, unless the captures tell by themselves.
pub const SURELY_ENDED: i64 = 110 * MINUTE;
/// How many frames a segment shows.
pub const FRAMES: i64 = 2;

/// How a device behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Films without end: its sessions are cut at the longest that one may be.
    Steady,
    /// Comes and goes: sessions of some minutes, many of them too short for an archive.
    Flapping,
    /// Films for hours and is silent for up to more than a day.
    LongSilences,
    /// Is silent again and again for a little less or a little more than ends a session.
    AroundTheThreshold,
    /// Has no network for hours and then hands in what it has filmed meanwhile.
    HandsInLate,
    /// Begins on the second day.
    StartsLate,
    /// Is never heard of again after some hours.
    StopsForEver,
    /// Films steadily, but nothing can be archived of it for more than a day, though for less than an
    /// archive is kept: then it would be given up.
    NotToBeArchived,
}

const MANNERS: [Manner; 8] = [
    Manner::Steady,
    Manner::Flapping,
    Manner::LongSilences,
    Manner::AroundTheThreshold,
    Manner::HandsInLate,
    Manner::StartsLate,
    Manner::StopsForEver,
    Manner::NotToBeArchived,
];

/// One segment that a device films.
#[derive(Clone, Debug)]
pub struct Filmed {
    pub number: u64,
    /// When its first frame was taken, by the camera's clock.
    pub captured_at: UtcMillis,
    pub millis: i64,
    /// When it is committed, by the right clock.
    pub committed_at: UtcMillis,
    pub discontinuity: bool,
    /// Which init file it needs, if it is fMP4.
    pub init: Option<u8>,
}

impl Filmed {
    /// When its last frame was taken, by the camera's clock.
    pub fn last_captured_at(&self) -> UtcMillis {
        self.captured_at.plus_millis(self.millis * (FRAMES - 1) / FRAMES)
    }

    /// When it ends, by the camera's clock.
    pub fn ends_at(&self) -> UtcMillis {
        self.captured_at.plus_millis(self.millis)
    }

    pub fn file(&self) -> String {
        let extension = if self.init.is_some() { "m4s" } else { "ts" };
        format!("seg_{:06}.{extension}", self.number)
    }

    pub fn frame_id(&self, index: i64) -> String {
        format!("{:08}-0000-4000-8000-{index:012}", self.number)
    }
}

/// A device and all that it films.
#[derive(Clone, Debug)]
pub struct Device {
    pub key: DeviceKey,
    pub manner: Manner,
    /// Until when no archive of it can be written.
    pub blocked_until: Option<UtcMillis>,
    /// Whether its worker is another one now and then, which knows nothing of the device.
    pub moves: bool,
    pub filmed: Vec<Filmed>,
}

/// The fleet of a seed.
pub fn fleet(rng: &mut ChaCha8Rng) -> Vec<Device> {
    (0..DEVICES).map(|index| device(index, rng)).collect()
}

fn device(index: usize, rng: &mut ChaCha8Rng) -> Device {
    let manner = MANNERS[index % MANNERS.len()];
    let blocked = manner == Manner::NotToBeArchived;
    let blocked_until = blocked.then(|| START.plus_millis(rng.random_range(28..34) * HOUR));
    let mut camera = Camera {
        at: rng.random_range(0..30) * MINUTE,
        wrong: [0, 0, 3 * HOUR, -5 * HOUR][rng.random_range(0..4)],
        millis: [280_000, 300_000, 320_000][rng.random_range(0..3)],
        fmp4: rng.random_bool(0.2),
        discontinuities: [0.0, 0.02, 0.2][rng.random_range(0..3)],
        filmed: Vec::new(),
    };
    if manner == Manner::StartsLate {
        camera.at += rng.random_range(24..40) * HOUR;
    }
    let until = match manner {
        Manner::StopsForEver => rng.random_range(2..44) * HOUR,
        _ => LIFE,
    };
    while camera.at < until {
        camera.go_on(manner, rng);
    }
    camera.filmed.retain(|filmed| filmed.committed_at < START.plus_millis(until));
    Device {
        key: DeviceKey::new(["acme", "borealis"][index % 2], &format!("camera-{index:02}"))
            .unwrap(),
        manner,
        blocked_until,
        moves: rng.random_bool(0.3),
        filmed: camera.filmed,
    }
}

/// A camera while its life is drawn. Times are in milliseconds since [`START`].
struct Camera {
    at: i64,
    /// How far its clock is ahead.
    wrong: i64,
    millis: i64,
    fmp4: bool,
    discontinuities: f64,
    filmed: Vec<Filmed>,
}

impl Camera {
    /// The next run of segments and the silence after it.
    fn go_on(&mut self, manner: Manner, rng: &mut ChaCha8Rng) {
        // A silence this long is none that ends a session, by captures or by commits: a segment
        // and its way to the storage come on top.
        let short = |rng: &mut ChaCha8Rng| rng.random_range(1..8) * MINUTE;
        let long = |rng: &mut ChaCha8Rng| rng.random_range(16..90) * MINUTE;
        match manner {
            Manner::Steady => {
                self.film(rng.random_range(20..200), rng);
                self.at += short(rng);
            }
            Manner::StartsLate | Manner::StopsForEver | Manner::NotToBeArchived => {
                self.film(rng.random_range(10..150), rng);
                match rng.random_range(0..4) {
                    0 => self.at += long(rng),
                    1 => self.set_clock(rng),
                    _ => self.at += short(rng),
                }
            }
            Manner::Flapping => {
                self.film(rng.random_range(1..7), rng);
                self.at += if rng.random_bool(0.3) { short(rng) } else { long(rng) };
            }
            Manner::LongSilences => {
                self.film(rng.random_range(20..120), rng);
                self.at += rng.random_range(2..32) * HOUR;
            }
            Manner::AroundTheThreshold => {
                self.film(rng.random_range(1..12), rng);
                let longer = rng.random_bool(0.4);
                // From the last frame's capture to the next one's.
                let most = OFFLINE - self.millis / 2;
                self.at += if longer { most + 1_000 } else { 9 * MINUTE };
            }
            Manner::HandsInLate => {
                self.film(rng.random_range(40..150), rng);
                let from = self.filmed.len();
                self.film(rng.random_range(30..60), rng);
                self.hand_in(from, rng);
            }
        }
    }

    fn film(&mut self, count: usize, rng: &mut ChaCha8Rng) {
        for _ in 0..count {
            let number = self.filmed.len() as u64;
            let way = rng.random_range(1_000..20_000);
            self.filmed.push(Filmed {
                number,
                captured_at: START.plus_millis(self.at + self.wrong),
                millis: self.millis,
                committed_at: START.plus_millis(self.at + self.millis + way),
                discontinuity: rng.random_bool(self.discontinuities),
                init: self.fmp4.then_some(u8::from(number >= 100)),
            });
            self.at += self.millis;
        }
    }

    /// The segments from `from` on are committed together, an hour and more after the last one
    /// was filmed.
    fn hand_in(&mut self, from: usize, rng: &mut ChaCha8Rng) {
        let mut at = self.at + rng.random_range(0..60) * MINUTE;
        for filmed in &mut self.filmed[from..] {
            filmed.committed_at = START.plus_millis(at);
            at += 2_000;
        }
        self.at = at + MINUTE;
    }

    /// The clock is put right, or wrong: forwards, or backwards, and then nothing comes until it
    /// has caught up.
    fn set_clock(&mut self, rng: &mut ChaCha8Rng) {
        let by = rng.random_range(20..180) * MINUTE;
        if rng.random_bool(0.5) {
            self.wrong += by;
        } else {
            // What is older than the newest frame is not shown: to the store this is a silence.
            self.wrong -= by;
            self.at += by.max(SURELY_ENDED) + OFFLINE;
            self.wrong = self.wrong.max(-6 * HOUR);
        }
    }
}

/// Checks that what was drawn leaves no doubt what a session is.
pub fn check(device: &Device) {
    for pair in device.filmed.windows(2) {
        let (before, next) = (&pair[0], &pair[1]);
        let between = next.committed_at.millis_since(before.committed_at);
        let silence = next.captured_at.millis_since(before.last_captured_at());
        assert!(between > 0 && silence > 0, "{}: {before:?} {next:?}", device.key);
        let is_doubtful = (OFFLINE..=SURELY_ENDED).contains(&between) && silence <= OFFLINE;
        assert!(!is_doubtful, "{}: {before:?} {next:?}", device.key);
    }
}

pub fn secs(millis: i64) -> Duration {
    Duration::from_millis(millis.unsigned_abs())
}
