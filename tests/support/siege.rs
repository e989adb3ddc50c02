//! One fleet, one topic, one storage, and workers that are killed one after the other.

#[path = "siege_figures.rs"]
mod figures;

use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use stream_processor::model::{Clock, SystemClock};
use stream_processor::store::layout::hls_folder;

use super::broker::Broker;
use super::camera::FleetPlan;
use super::filming::Fleet;
use super::history::watch::Watcher;
use super::oracle;
use super::oracle::acks::Reckoning;
use super::place::Place;
use super::worker::{self, Worker};
use figures::Figures;

const SUBSCRIPTION: &str = "stream-processor";

/// How a worker, or a pair of them, comes to its end.
#[derive(Clone, Copy, Debug)]
pub enum Life {
    /// Killed at any instant.
    Random,
    /// Kills itself at a named instant, the first time or a later one.
    Point(&'static str),
    /// Two at a time: one is killed at any instant, the other goes on for a while.
    PairOneKilled,
    /// Two at a time: whoever comes to a named instant first kills itself there, and the other
    /// goes on for a while, or until it comes there.
    PairOneAtPoint(&'static str),
    /// Two at a time: one is told to leave, the other goes on for a while.
    PairOneLeaves,
}

/// What is besieged.
#[derive(Clone, Copy, Debug)]
pub struct SiegePlan {
    pub seed: u64,
    pub client: &'static str,
    pub cameras: u32,
    pub batching: u32,
    /// How many frames from before the start each camera has more than the one before it.
    pub backlog_step: i64,
    /// 0 for a plain topic.
    pub partitions: u32,
    pub container: &'static str,
}

/// A running one.
pub struct Siege<'a> {
    plan: SiegePlan,
    rng: ChaCha8Rng,
    fleet: Fleet,
    place: Place,
    logs: tempfile::TempDir,
    watchers: Vec<Watcher>,
    reckoning: Reckoning<'a>,
    workers_started: u32,
    figures: Figures,
    begun: Instant,
}

impl<'a> Siege<'a> {
    pub async fn begin(broker: &'a Broker, plan: SiegePlan, place: Place) -> Self {
        let topic = broker.topic("crash");
        if plan.partitions > 0 {
            broker.create_partitioned(&topic, plan.partitions).await;
        }
        broker.create_subscription(&topic, SUBSCRIPTION).await;
        let store = place.store.clone();
        let reckoning = Reckoning::new(broker, &topic, SUBSCRIPTION, plan.partitions, store);
        let fleet_plan = FleetPlan {
            seed: plan.seed,
            client: plan.client,
            cameras: plan.cameras,
            batching: plan.batching,
            backlog_step: plan.backlog_step,
        };
        let fleet = Fleet::start(broker, &topic, &place.base, &fleet_plan).await;
        let hls = |device| place.base.join(hls_folder(device));
        let watchers = fleet.devices.iter().map(|device| Watcher::of(&hls(device))).collect();
        Self {
            plan,
            rng: ChaCha8Rng::seed_from_u64(plan.seed),
            logs: tempfile::tempdir().expect("a folder"),
            fleet,
            watchers,
            reckoning,
            place,
            workers_started: 0,
            figures: Figures::default(),
            begun: Instant::now(),
        }
    }

    fn start(&mut self, points: &str) -> Worker {
        self.workers_started += 1;
        let name = self.name(self.workers_started);
        let mut variables = vec![
            ("PULSAR_SERVICE_URL", self.reckoning.broker.service_url.clone()),
            ("PULSAR_TOPIC", self.reckoning.topic.clone()),
            ("PULSAR_SUBSCRIPTION", SUBSCRIPTION.to_owned()),
            ("PROCESSING_SEGMENT_DURATION_SECONDS", "2".to_owned()),
            ("PROCESSING_FRAMES_PER_SEGMENT", "4".to_owned()),
            ("PROCESSING_MAX_FRAMES_HELD_PER_DEVICE", "24".to_owned()),
            ("PROCESSING_CONTAINER", self.plan.container.to_owned()),
            ("PROCESSING_QUALITY", "low".to_owned()),
            ("PATH", std::env::var("PATH").unwrap_or_default()),
        ];
        variables.extend(self.place.variables.clone());
        Worker::start(self.logs.path(), &name, &variables, points)
    }

    /// A worker that kills itself when it has passed `point` a few times.
    fn start_with(&mut self, point: &str) -> Worker {
        let passes = self.rng.random_range(0..4);
        // What happens once in a while is not waited for several times.
        let is_rare = ["heal.", "commit.init", "commit.history", "commit.claim"]
            .iter()
            .any(|p| point.starts_with(p));
        if passes == 0 || is_rare {
            return self.start(&format!("{point}=return"));
        }
        self.start(&format!("{point}={passes}*off->return"))
    }

    async fn wait_a_little(&mut self, millis: std::ops::Range<u64>) {
        let millis = self.rng.random_range(millis);
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }

    /// Lets a worker, or two, live and die.
    pub async fn live(&mut self, life: Life) {
        match life {
            Life::Random => {
                let worker = self.start("");
                self.wait_a_little(200..2_500).await;
                self.kill("random", worker).await;
            }
            Life::Point(point) => {
                let worker = self.start_with(point);
                self.dies_at(point, worker).await;
            }
            Life::PairOneKilled => {
                let mut pair = [self.start(""), self.start("")];
                self.wait_a_little(600..2_500).await;
                if self.rng.random() {
                    pair.reverse();
                }
                let [first, second] = pair;
                self.kill("of a pair", first).await;
                self.wait_a_little(300..2_000).await;
                self.kill("left of a pair", second).await;
            }
            Life::PairOneAtPoint(point) => {
                let pair = [self.start_with(point), self.start_with(point)];
                self.one_dies_at(point, pair).await;
            }
            Life::PairOneLeaves => {
                let mut first = self.start("");
                let second = self.start("");
                self.wait_a_little(1_000..2_500).await;
                first.leave().await;
                self.count_out(&first).await;
                self.wait_a_little(300..1_000).await;
                self.kill("left of a pair", second).await;
            }
        }
    }

    async fn kill(&mut self, kind: &'static str, mut worker: Worker) {
        worker.kill();
        *self.figures.kills.entry(kind).or_default() += 1;
        self.count_out(&worker).await;
    }

    async fn dies_at(&mut self, point: &'static str, mut worker: Worker) {
        let took = worker.dies_at(point).await;
        eprintln!("{} died at {point} after {} ms", worker.name, took.as_millis());
        *self.figures.kills.entry(point).or_default() += 1;
        self.count_out(&worker).await;
    }

    async fn one_dies_at(&mut self, point: &'static str, mut pair: [Worker; 2]) {
        let begun = Instant::now();
        while pair.iter_mut().all(|worker| worker.ended().is_none()) {
            let waits = begun.elapsed() < Duration::from_secs(60);
            assert!(waits, "neither dies at {point}\n{}", pair[0].log_end());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if pair[0].ended().is_none() {
            pair.reverse();
        }
        let [first, mut second] = pair;
        self.dies_at(point, first).await;
        self.wait_a_little(300..2_000).await;
        match second.ended() {
            None => self.kill("left of a pair", second).await,
            Some(_) => self.dies_at(point, second).await,
        }
    }

    async fn count_out(&mut self, worker: &Worker) {
        self.figures.duplicates += worker.duplicates();
        let too_early = self.reckoning.no_ack_before_its_commit(|| self.fleet.ledger()).await;
        let too_early = too_early.expect("the broker and the storage answer");
        oracle::assert_none(&too_early, &self.warnings());
    }

    /// The cameras stop, and a worker that nobody kills does what is left.
    pub async fn settle_down(&mut self) {
        self.say("the kills are done");
        self.fleet.stop().await;
        let mut worker = self.start("");
        self.wait_for_backlog(&worker, |backlog| backlog == 0).await;
        worker.leave().await;
        self.count_out(&worker).await;
        self.everything_is_there().await;
    }

    /// What all workers warned of.
    fn warnings(&self) -> String {
        let mut warnings = String::new();
        for number in 1..=self.workers_started {
            let name = self.name(number);
            for line in worker::log_text(self.logs.path(), &name).lines() {
                if [" WARN ", " ERROR "].iter().any(|level| line.contains(level)) {
                    let _ = writeln!(warnings, "{name}: {line}");
                }
            }
        }
        warnings
    }

    fn name(&self, number: u32) -> String {
        format!("{}-worker-{number:03}", self.plan.client)
    }

    async fn wait_for_backlog(&self, worker: &Worker, wanted: impl Fn(i64) -> bool) {
        let begun = Instant::now();
        loop {
            let Reckoning { broker, topic, .. } = &self.reckoning;
            let counters = broker.counters(topic, SUBSCRIPTION).await;
            if wanted(counters.backlog) {
                return;
            }
            let is_in_time = begun.elapsed() < Duration::from_secs(60);
            assert!(is_in_time, "the broker stays at {counters:?}\n{}", worker.log_end());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn everything_is_there(&self) {
        let published = self.fleet.ledger().by_device();
        let mut findings = self.reckoning.frames(&published).await;
        let acked = self.reckoning.acked().await.expect("the topic's inner figures");
        findings.extend(oracle::acks::owed(&self.fleet.ledger(), &acked, SystemClock.now()));
        oracle::assert_none(&findings, &self.warnings());
    }

    /// The subscription is rewound to the beginning, once with no worker, of which the first
    /// is killed meanwhile, and once under a running one: nothing is shown again.
    pub async fn rewind_and_repeat_nothing(&mut self) {
        let Reckoning { broker, topic, .. } = &self.reckoning;
        let (broker, topic) = (*broker, topic.clone());
        let playlists = self.playlists();
        let (entries, events) = {
            let ledger = self.fleet.ledger();
            (i64::try_from(ledger.entries.len()).expect("a small number"), ledger.events.len())
        };
        self.say("all is committed");
        broker.rewind(&topic, SUBSCRIPTION, 3_600_000).await;
        let backlog = broker.counters(&topic, SUBSCRIPTION).await.backlog;
        assert_eq!(backlog, entries, "all is to be delivered again");

        let before = self.figures.duplicates;
        let worker = self.start("");
        self.wait_for_backlog(&worker, |backlog| backlog < entries * 2 / 3).await;
        self.kill("while rewound", worker).await;
        let mut worker = self.start("");
        self.wait_for_backlog(&worker, |backlog| backlog == 0).await;
        let dropped = self.figures.duplicates - before + worker.duplicates();
        assert!(dropped >= events, "{dropped} duplicates were dropped of {events}");

        broker.rewind(&topic, SUBSCRIPTION, 3_600_000).await;
        self.wait_for_backlog(&worker, |backlog| backlog == 0).await;
        worker.leave().await;
        self.count_out(&worker).await;
        self.everything_is_there().await;
        assert_eq!(self.playlists(), playlists, "there is something new");
    }

    fn say(&self, what: &str) {
        eprintln!("{}: {what} after {:.0} s", self.plan.client, self.begun.elapsed().as_secs_f64());
    }

    fn playlists(&self) -> Vec<String> {
        let text = |device| std::fs::read_to_string(self.hls(device).join("playlist.m3u8"));
        self.fleet.devices.iter().map(|device| text(device).expect("a playlist")).collect()
    }

    fn hls(&self, device: &stream_processor::model::DeviceKey) -> std::path::PathBuf {
        self.place.base.join(hls_folder(device))
    }

    /// Checks every version of every playlist that was seen, and every media file.
    pub async fn end(mut self) -> Figures {
        self.say("the media are looked at");
        let folders: Vec<_> = self.fleet.devices.iter().map(|device| self.hls(device)).collect();
        let mut committed = 0;
        for device in &self.fleet.devices {
            let records = self.reckoning.records(device).await;
            committed += records.iter().map(|record| record.frames.len()).sum::<usize>();
        }
        let watched = std::mem::take(&mut self.watchers).into_iter().zip(folders);
        let checks: Vec<_> = watched
            .map(|(watcher, folder)| {
                std::thread::spawn(move || {
                    let mut checker = watcher.stop();
                    decodes(&folder);
                    checker.check_media();
                    checker.assert_clean();
                    (checker.versions(), checker.listed().len())
                })
            })
            .collect();
        for check in checks {
            let (versions, segments) = check.join().expect("the playlists and the media are valid");
            self.figures.versions += versions;
            self.figures.segments += segments;
        }
        let (events, entries) = {
            let ledger = self.fleet.ledger();
            (ledger.events.len(), ledger.entries.len())
        };
        Figures {
            published: events,
            entries,
            committed,
            acks_checked: self.reckoning.entries_checked,
            seconds: self.begun.elapsed().as_secs_f64(),
            ..self.figures
        }
    }
}

/// A player that takes the whole playlist has nothing to complain of.
fn decodes(hls: &Path) {
    let live = std::fs::read_to_string(hls.join("playlist.m3u8")).expect("a playlist");
    // A player of a live one would wait for more.
    let ended = hls.join("ended.m3u8");
    std::fs::write(&ended, live + "#EXT-X-ENDLIST\n").expect("a playlist is written");
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-i"])
        .arg(&ended)
        // At the stream's own clock: the null muxer would round to a guessed frame rate.
        .args(["-fps_mode", "passthrough", "-enc_time_base", "1:90000", "-f", "null", "-"])
        .output()
        .expect("ffmpeg");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{}: {said}", hls.display());
}
