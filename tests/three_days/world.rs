//! The three days: what was drawn happens, in its order, to the real parts.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use stream_processor::model::{Clock, EventId, ManualClock, Secret, UtcMillis};
use stream_processor::session::mirror::{
    MirrorSettings, MirrorWatcher, RedisTrouble, SessionMirror,
};
use stream_processor::store::{
    CommitError, DeviceState, FrameRecord, NewSegment, Store, StoreSettings, steps,
};

use crate::draw::{self, Device, FRAMES, Filmed, HOUR, LIFE, MINUTE, START, secs};
use crate::look::{Found, Look, folder_of, init, media};
use crate::oracle::{CALM, KEEP, OUTAGE, RETENTION, TARGET_SECS};
use crate::redis_agreement::{PATIENCE, agrees};
use crate::servers::redis::RedisServer;
use crate::upkeep::{Death, Luck, Upkeep, rules};

/// How often everything is held against what has to be there.
const VERIFY_EVERY: i64 = 6 * HOUR;
const CHECK_EVERY: i64 = 5 * MINUTE;
const CLEAN_EVERY: i64 = 10 * MINUTE;
const EXPIRE_EVERY: i64 = HOUR;
/// After one that was missed or has died, so many runs are good ones.
const GOOD_RUNS: u32 = 4;
/// So many devices are looked at after each clean-up.
const LOOKS: usize = 8;

/// Which Redis is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redis {
    Off,
    On,
    /// One that is killed, and comes back empty.
    Killed,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Commit(usize, usize),
    Check,
    CleanUp,
    Expire,
    Unblock(usize),
    KillRedis,
    RestartRedis,
    Verify,
}

/// Which of the regular runs.
#[derive(Clone, Copy)]
enum Kind {
    Check,
    CleanUp,
    Expire,
}

pub struct World {
    begun: Instant,
    rng: ChaCha8Rng,
    base: tempfile::TempDir,
    store: Store,
    clock: Arc<ManualClock>,
    devices: Vec<Device>,
    /// What the worker of each device knows of it.
    workers: Vec<Option<DeviceState>>,
    upkeep: Upkeep,
    /// How many runs of each kind have to be good ones, and until when there are none at all.
    good_runs: [u32; 3],
    outage_until: UtcMillis,
    next_outage: UtcMillis,
    redis: Redis,
    server: Option<RedisServer>,
    mirror: Option<SessionMirror>,
    redis_is_up: bool,
    committed: u64,
    commits_died: u64,
    looked: usize,
    last: Found,
}

struct Nobody;

impl MirrorWatcher for Nobody {
    fn up(&self) {}
    fn down(&self, _: &RedisTrouble) {}
    fn told(&self, _: usize, _: usize) {}
}

/// The panics that stand for a `kill -9` are none to tell of.
pub fn keep_quiet_about_drawn_crashes() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let drawn = panic.payload_as_str().is_some_and(|text| text.starts_with("failpoint "));
        if !drawn {
            tell(panic);
        }
    }));
}

impl World {
    pub async fn new(seed: u64, redis: Redis) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let devices = draw::fleet(&mut rng);
        devices.iter().for_each(draw::check);
        // In memory where the machine has room there: syncing costs nothing then.
        let base = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let settings = StoreSettings {
            target_duration_secs: TARGET_SECS,
            retention: secs(RETENTION),
            ..StoreSettings::default()
        };
        let store = Store::at(base.path(), settings).unwrap();
        let clock = Arc::new(ManualClock::new(START));
        let (mut server, mut mirror) = (None, None);
        if redis != Redis::Off {
            let started = RedisServer::start().await;
            let settings = MirrorSettings { url: Secret::new(started.url()), windows: true };
            let started_mirror = SessionMirror::start(&settings, store.clone(), Arc::new(Nobody));
            (server, mirror) = (Some(started), Some(started_mirror.unwrap()));
        }
        for device in &devices {
            let folder = folder_of(base.path(), device);
            std::fs::create_dir_all(folder.join("frames")).unwrap();
            std::fs::write(folder.join("frames/never-encoded.jpg"), [0xff, 0xd8]).unwrap();
            if device.blocked_until.is_some() {
                std::fs::write(folder.join("archives"), "in the way").unwrap();
            }
        }
        Self {
            begun: Instant::now(),
            upkeep: Upkeep::new(store.clone(), Arc::clone(&clock), mirror.clone()),
            workers: vec![None; devices.len()],
            good_runs: [0; 3],
            outage_until: START,
            next_outage: START,
            redis_is_up: server.is_some(),
            committed: 0,
            commits_died: 0,
            looked: 0,
            last: Found::default(),
            rng,
            base,
            store,
            clock,
            devices,
            redis,
            server,
            mirror,
        }
    }

    /// Everything that happens within the three days, in its order.
    fn events(&self) -> Vec<(UtcMillis, What)> {
        let mut events = Vec::new();
        for (index, device) in self.devices.iter().enumerate() {
            let commits = device.filmed.iter().enumerate();
            events.extend(commits.map(|(nth, f)| (f.committed_at, What::Commit(index, nth))));
            events.extend(device.blocked_until.map(|at| (at, What::Unblock(index))));
        }
        let at = |millis| START.plus_millis(millis);
        let mut regular = |every: i64, offset: i64, what| {
            events.extend((0..LIFE / every).map(|nth| (at(nth * every + offset), what)));
        };
        regular(CHECK_EVERY, 150_000, What::Check);
        regular(CLEAN_EVERY, 200_000, What::CleanUp);
        regular(EXPIRE_EVERY, 400_000, What::Expire);
        regular(VERIFY_EVERY, VERIFY_EVERY, What::Verify);
        if self.redis == Redis::Killed {
            let times = [(23 * HOUR, 33 * HOUR), (51 * HOUR, 51 * HOUR)];
            for (killed, restarted) in times {
                events.push((at(killed), What::KillRedis));
                events.push((at(restarted), What::RestartRedis));
            }
        }
        events.sort_by_key(|(at, _)| *at);
        events
    }

    pub async fn live(&mut self) {
        for (at, what) in self.events() {
            self.clock.advance(at.since(self.clock.now()));
            match what {
                What::Commit(device, nth) => self.commit(device, nth).await,
                What::Check => {
                    let luck = self.luck(Kind::Check);
                    self.upkeep.check(luck, &mut self.rng).await;
                }
                What::CleanUp => {
                    let luck = self.luck(Kind::CleanUp);
                    self.upkeep.clean_up(luck, &mut self.rng).await;
                    self.look_at_some();
                }
                What::Expire => {
                    let luck = self.luck(Kind::Expire);
                    self.upkeep.expire(luck, &mut self.rng).await;
                }
                What::Unblock(device) => {
                    let folder = folder_of(self.base.path(), &self.devices[device]);
                    std::fs::remove_file(folder.join("archives")).unwrap();
                }
                What::KillRedis => {
                    self.server.as_ref().unwrap().process.kill();
                    self.redis_is_up = false;
                }
                What::RestartRedis => {
                    self.server.as_ref().unwrap().restart_empty().await;
                    self.redis_is_up = true;
                }
                What::Verify => self.verify().await,
            }
        }
    }

    /// Nothing is filmed any more, until all that has its time is gone.
    pub async fn fade_out(&mut self) {
        const STEP: i64 = 20 * MINUTE;
        for step in 0..(KEEP + 12 * HOUR) / STEP {
            self.clock.advance(secs(STEP));
            self.upkeep.check(Luck::Good, &mut self.rng).await;
            self.upkeep.clean_up(Luck::Good, &mut self.rng).await;
            if step % 3 == 0 {
                self.upkeep.expire(Luck::Good, &mut self.rng).await;
            }
        }
        self.verify().await;
        assert_eq!(self.last.archives, 0);
        assert_eq!(self.last.media, self.last.listed, "what is left is what stays listed");
    }

    pub fn tell(&self) {
        let figures = &self.upkeep.figures;
        let removed = self.committed - self.last.media as u64;
        eprintln!(
            "{:?}: {} devices, {} segments committed, {removed} removed again; {} sessions ended by \
             the checker, {} archives made, {} expired; {} runs missed, {} died, {} twice at once; \
             {} commits died; {:.1} s",
            self.redis,
            self.devices.len(),
            self.committed,
            figures.sessions_ended,
            figures.archives_made,
            figures.archives_expired,
            figures.missed,
            figures.died,
            figures.twice,
            self.commits_died,
            self.begun.elapsed().as_secs_f64(),
        );
    }

    /// What becomes of a run now.
    fn luck(&mut self, kind: Kind) -> Luck {
        let now = self.clock.now();
        let left = VERIFY_EVERY - now.millis_since(START) % VERIFY_EVERY;
        if now < self.outage_until {
            self.good_runs = [GOOD_RUNS; 3];
            return Luck::Missed;
        }
        if now >= self.next_outage && left > CALM + OUTAGE && self.rng.random_bool(0.02) {
            self.outage_until = now.plus_millis(OUTAGE);
            self.next_outage = now.plus_millis(3 * OUTAGE);
            return Luck::Missed;
        }
        let good_runs = &mut self.good_runs[kind as usize];
        if left <= CALM || *good_runs > 0 {
            *good_runs = good_runs.saturating_sub(1);
            return Luck::Good;
        }
        let luck = Luck::draw(&mut self.rng);
        if luck != Luck::Good {
            *good_runs = GOOD_RUNS;
        }
        luck
    }

    /// As the worker does that has the device: it is told of the others' changes by its failing.
    async fn commit(&mut self, index: usize, nth: usize) {
        let device = &self.devices[index];
        let filmed = &device.filmed[nth];
        let frames = folder_of(self.base.path(), device).join("frames");
        for frame in 0..FRAMES {
            std::fs::write(frames.join(format!("{}.jpg", filmed.frame_id(frame))), [0xff]).unwrap();
        }
        if device.moves && self.rng.random_bool(0.02) {
            self.workers[index] = None;
        }
        let mut death = None;
        if self.rng.random_bool(0.005) {
            let steps: Vec<_> = steps::ALL.iter().flat_map(steps::WriteSteps::names).collect();
            death = Some(Death::drawn(&steps, &mut self.rng));
        }
        let state = loop {
            let state = match self.workers[index].take() {
                Some(state) => state,
                None => match self.store.open(&device.key).await {
                    Ok(state) => state,
                    Err(error) => {
                        assert!(death.take().is_some(), "{error}");
                        continue;
                    }
                },
            };
            if state.next_segment > filmed.number {
                // The one that died had come so far.
                break state;
            }
            let mut segments = vec![segment(device, filmed)];
            rules().mark(state.session.as_ref(), &mut segments);
            let now = filmed.committed_at;
            match self.store.commit(&device.key, &state, segments, None, now).await {
                Ok(state) => break state,
                Err(CommitError::Fenced { .. }) => {}
                Err(error) => {
                    assert!(death.take().is_some(), "{error}");
                    self.commits_died += 1;
                }
            }
        };
        assert_eq!(state.next_segment, filmed.number + 1, "{}", device.key);
        if let Some(mirror) = &self.mirror {
            mirror.tell(&device.key, &state);
        }
        self.workers[index] = Some(state);
        self.committed += 1;
    }

    /// Nothing that is owed is gone of the devices whose turn it is.
    fn look_at_some(&mut self) {
        for _ in 0..LOOKS {
            let device = &self.devices[self.looked % self.devices.len()];
            Look::at(self.base.path(), device, self.clock.now()).nothing_owed_is_gone();
            self.looked += 1;
        }
    }

    /// Everything is as it has to be, and Redis says so.
    async fn verify(&mut self) {
        let now = self.clock.now();
        self.last = Found::default();
        for device in &self.devices {
            let found = Look::at(self.base.path(), device, now).all_is_as_it_has_to_be();
            self.last.listed += found.listed;
            self.last.media += found.media;
            self.last.archives += found.archives;
        }
        if let (Some(mirror), Some(server), true) = (&self.mirror, &self.server, self.redis_is_up) {
            // Windows that the clean-up has trimmed are told of with the checker's next look.
            self.upkeep.look_anew();
            self.upkeep.check(Luck::Good, &mut self.rng).await;
            assert!(mirror.flush(PATIENCE).await, "Redis is told of everything");
            agrees(&self.store, &server.url(), true).await;
        }
    }
}

fn segment(device: &Device, filmed: &Filmed) -> NewSegment {
    let frame = |index: i64| FrameRecord {
        event_id: EventId::new(&filmed.frame_id(index)).unwrap(),
        captured_at: filmed.captured_at.plus_millis(filmed.millis * index / FRAMES),
        file: None,
    };
    NewSegment {
        media: Bytes::from(media(device, filmed)),
        init: filmed.init.map(|kind| Bytes::from(init(kind))),
        duration_millis: u32::try_from(filmed.millis).unwrap(),
        captured_at: filmed.captured_at,
        discontinuity: filmed.discontinuity,
        begins_session: false,
        frame_bytes: FRAMES.unsigned_abs(),
        frames: (0..FRAMES).map(frame).collect(),
    }
}
