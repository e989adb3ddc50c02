//! Everything bad that can come in, through the real worker on a real broker: each bad thing
//! costs itself, is counted once, logged once and parked whole; the good frames beside it are
//! all shown, in order, once.

#![allow(clippy::expect_used, clippy::panic, reason = "a failed expectation fails the test")]

#[path = "support/broker.rs"]
#[allow(dead_code, reason = "each test binary uses its part of the rig")]
mod broker;
#[path = "bad_input/cases.rs"]
mod cases;
#[path = "support/consumer.rs"]
mod consumer;
#[path = "support/history.rs"]
mod history;
#[path = "bad_input/pictures.rs"]
mod pictures;
#[path = "support/taking.rs"]
#[allow(dead_code, reason = "each test binary uses its part of the rig")]
mod taking;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use broker::{Broker, Publisher};
use cases::{Case, LARGEST_MESSAGE_BYTES, Placed, Wanted};
use consumer::{Consumer, PATIENCE};
use history::HistoryChecker;
use pulsar::producer::Message;
use serde_json::Value;
use stream_processor::demo::feed::{frame_message, frame_path};
use stream_processor::http::metrics::ERROR_TYPES;
use stream_processor::model::{Clock, DeviceKey, EventId, SystemClock, UtcMillis};
use stream_processor::source::pulsar::{DEAD_LETTER_SUBSCRIPTION, PulsarSettings};
use stream_processor::store::{Store, StoreSettings};
use taking::{Letter, SUBSCRIPTION, dead_letters};

/// How far apart a camera's frames are.
const INTERVAL_MILLIS: i64 = 500;
/// How many frames each camera takes, the one in question among them.
const FRAMES: usize = 4;
/// How long the worker waits for a missing file, in seconds.
const MISSING_FRAME_RETRY_SECS: &str = "8";
/// When a late file is there.
const LATE: Duration = Duration::from_secs(2);

/// One thing to publish, and what is to become of it.
struct Sent {
    case: Option<&'static Case>,
    device: DeviceKey,
    event_id: EventId,
    payload: Vec<u8>,
}

/// A run of the worker: its broker, its topic, its folder.
struct Run {
    broker: &'static Broker,
    topic: String,
    base: PathBuf,
    consumer: Consumer,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_bad_thing_costs_itself_and_is_parked_with_its_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let outside = tempfile::tempdir().expect("a folder");
    let run = Run::start(&folder.path().join("streams")).await;

    let cases: &'static [Case] = Box::leak(cases::all().into_boxed_slice());
    let sent = run.prepare(cases, outside.path());
    let mut publisher = run.broker.publisher(&run.topic).await;
    publish(&mut publisher, &sent).await;
    for sent in &sent {
        if sent.case.is_some_and(|case| matches!(case.placed, Placed::Late)) {
            tokio::time::sleep(LATE).await;
            run.place(sent, &pictures::good(0));
        }
    }
    let bad: Vec<&Sent> = sent.iter().filter(|sent| sent.is_bad()).collect();
    run.settles(bad.len(), sent.len() - bad.len()).await;

    let letters = run.letters(bad.len()).await;
    run.judge_letters(&bad, &letters);
    run.judge_metrics(&bad).await;
    run.judge_log(&bad);
    run.judge_streams(&sent).await;
    run.entry_waits_for_its_last_message(bad.len(), sent.len() - bad.len()).await;
    let status = run.consumer.leave().await;
    assert!(status.success(), "{status}");
}

impl Sent {
    fn is_bad(&self) -> bool {
        self.case.is_some_and(|case| matches!(case.wanted, Wanted::Refused(_)))
    }

    fn name(&self) -> &'static str {
        self.case.map_or("good", |case| case.name)
    }

    fn reason(&self) -> &'static str {
        match self.case.map(|case| &case.wanted) {
            Some(Wanted::Refused(reason)) => reason,
            _ => "none",
        }
    }

    fn message(&self) -> Message {
        Message {
            payload: self.payload.clone(),
            partition_key: Some(self.device.device.as_str().to_owned()),
            properties: [("case".to_owned(), self.name().to_owned())].into(),
            ..Message::default()
        }
    }
}

async fn publish(publisher: &mut Publisher, sent: &[Sent]) {
    publisher.publish_messages(sent.iter().map(Sent::message)).await;
}

impl Run {
    async fn start(base: &Path) -> Self {
        std::fs::create_dir_all(base).expect("a folder");
        let broker = Broker::shared().await;
        let topic = broker.topic("bad-input");
        let variables = [
            ("PROCESSING_SEGMENT_DURATION_SECONDS", "2"),
            ("PROCESSING_FRAMES_PER_SEGMENT", "4"),
            ("PROCESSING_MISSING_FRAME_RETRY_SECONDS", MISSING_FRAME_RETRY_SECS),
        ];
        let consumer = Consumer::start(broker, &topic, SUBSCRIPTION, base, &variables).await;
        Self { broker, topic, base: base.to_owned(), consumer }
    }

    /// A camera for each case, with good frames around the one in question; a frame of each
    /// camera in turn, so that every bad one has good ones of others beside it.
    fn prepare(&self, cases: &'static [Case], outside: &Path) -> Vec<Sent> {
        let start = SystemClock.now().plus_millis(-60_000);
        let mut sent = Vec::new();
        for index in 0..FRAMES {
            let at = start.plus_millis(INTERVAL_MILLIS * i64::try_from(index).expect("small"));
            for case in cases {
                let device = device(case.name);
                let is_it = index == case.position();
                let mut one = event(&device, index, at);
                one.case = is_it.then_some(case);
                match &case.placed {
                    _ if !is_it => self.place(&one, &pictures::good(index)),
                    Placed::Bytes(bytes) => self.place(&one, bytes),
                    Placed::Folder => {
                        std::fs::create_dir_all(self.path_of(&one)).expect("a folder");
                    }
                    Placed::LinkOut => {
                        let target = outside.join("picture.jpg");
                        std::fs::write(&target, pictures::good(index)).expect("a picture");
                        std::os::unix::fs::symlink(target, self.path_of(&one)).expect("a link");
                    }
                    Placed::Late | Placed::Nothing => {}
                }
                if is_it {
                    one.payload = case.payload(&one.payload);
                }
                sent.push(one);
            }
        }
        sent
    }

    fn path_of(&self, sent: &Sent) -> PathBuf {
        let path = self.base.join(frame_path(&sent.device, &sent.event_id));
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        path
    }

    fn place(&self, sent: &Sent, bytes: &[u8]) {
        let path = self.path_of(sent);
        let partial = path.with_extension("part");
        std::fs::write(&partial, bytes).expect("a frame is written");
        std::fs::rename(partial, path).expect("a frame is there");
    }

    /// Waits until so many are parked and so many shown, and nothing is left at the broker.
    async fn settles(&self, parked: usize, committed: usize) {
        let begun = Instant::now();
        loop {
            let is = (
                self.consumer.metric("dead_letters_total").await,
                self.consumer.metric("frames_committed_total").await,
            );
            if is == (parked as f64, committed as f64) {
                break;
            }
            let log = || self.consumer.log_text();
            let wanted = (parked, committed);
            assert!(begun.elapsed() < PATIENCE, "{is:?} and not {wanted:?}\n{}", log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.broker.wait_for(&self.topic, SUBSCRIPTION, |c| c.backlog == 0 && c.unacked == 0).await;
    }

    /// What is on the dead-letter topic, by case: so many and no more.
    async fn letters(&self, count: usize) -> BTreeMap<String, Letter> {
        let settings =
            PulsarSettings::new(&self.broker.service_url, &self.topic, SUBSCRIPTION, "looker");
        let topic = settings.dead_letter_topic();
        assert_eq!(topic, format!("{}-{SUBSCRIPTION}-DLQ", self.topic));
        let letters = dead_letters(self.broker, &settings, count).await;
        let kept = self.broker.counters(&topic, DEAD_LETTER_SUBSCRIPTION).await;
        assert_eq!(usize::try_from(kept.backlog), Ok(count), "letters that are kept");
        letters.into_iter().map(|letter| (letter.properties["case"].clone(), letter)).collect()
    }

    fn judge_letters(&self, bad: &[&Sent], letters: &BTreeMap<String, Letter>) {
        for sent in bad {
            let name = sent.name();
            let letter = letters.get(name).unwrap_or_else(|| panic!("{name} is not parked"));
            assert_eq!(letter.properties["dead_letter.reason"], sent.reason(), "{name}");
            assert_eq!(letter.properties["dead_letter.origin_topic"], self.topic, "{name}");
            assert!(!letter.properties["dead_letter.detail"].is_empty(), "{name}");
            assert!(letter.payload == sent.payload, "{name}: another payload");
            assert_eq!(letter.key.as_deref(), Some(sent.device.device.as_str()), "{name}");
        }
    }

    /// Each bad thing is one more of its type, and nothing else is an error.
    async fn judge_metrics(&self, bad: &[&Sent]) {
        for error_type in ERROR_TYPES {
            let wanted = bad.iter().filter(|sent| sent.reason() == *error_type).count();
            let name = format!("errors_total{{error_type=\"{error_type}\"}}");
            assert_eq!(self.consumer.metric(&name).await, wanted as f64, "{name}");
        }
        assert!(bad.iter().all(|sent| ERROR_TYPES.contains(&sent.reason())));
    }

    /// One line for each bad thing, with the ids that are known of it, and no other.
    fn judge_log(&self, bad: &[&Sent]) {
        let lines = self.consumer.log();
        let warned = lines.iter().filter(|line| line["level"] == "WARN");
        let warned = warned.filter(|line| line.get("error_type").is_some());
        let text = |line: &Value, name: &str| line[name].as_str().unwrap_or("-").to_owned();
        let mut logged: Vec<_> = warned
            .map(|line| ["error_type", "client", "device", "event"].map(|name| text(line, name)))
            .collect();
        let mut wanted: Vec<_> = bad
            .iter()
            .map(|sent| {
                let value = serde_json::from_slice(&sent.payload).unwrap_or(Value::Null);
                let [client, device, event] = ["clientId", "deviceId", "eventId"]
                    .map(|name| text(&value, name).chars().take(256).collect::<String>());
                [sent.reason().to_owned(), client, device, event]
            })
            .collect();
        logged.sort();
        wanted.sort();
        assert_eq!(logged, wanted);
    }

    /// What was good is shown in the order in which it was taken, once, in a stream that keeps
    /// the rules; what was odd but good looks right.
    async fn judge_streams(&self, sent: &[Sent]) {
        let store = Store::at(&self.base, StoreSettings::default()).expect("the storage");
        let mut wanted: BTreeMap<&DeviceKey, Vec<&EventId>> = BTreeMap::new();
        for sent in sent {
            let frames = wanted.entry(&sent.device).or_default();
            if !sent.is_bad() {
                frames.push(&sent.event_id);
            }
        }
        for (device, wanted) in wanted {
            let frames = store.committed_frames(device).await.expect("its records");
            let shown: Vec<_> = frames.map(|frame| frame.event_id).collect();
            assert_eq!(shown.iter().collect::<Vec<_>>(), wanted, "{device}");
            let hls = self.hls(device);
            let mut checker = HistoryChecker::of_folder(&hls);
            checker.feed(&std::fs::read_to_string(hls.join("playlist.m3u8")).expect("a playlist"));
            checker.check_media();
            let listed = checker.listed().len();
            checker.finish().assert_clean();
            assert_eq!(listed, 1, "{device}: segments");
        }
        for sent in sent {
            if let Some(Case { wanted: Wanted::Shown(Some(colour)), name, .. }) = sent.case {
                let segment = self.hls(&sent.device).join("segments/seg_000000.ts");
                pictures::assert_first_picture(&segment, *colour, name);
            }
        }
    }

    fn hls(&self, device: &DeviceKey) -> PathBuf {
        self.base.join(format!("client_ids/{}/device_id/{}/hls", device.client, device.device))
    }

    /// A batched entry of a good frame, a bad message, and a frame whose file is not there yet:
    /// the entry is acknowledged only when all three are settled.
    async fn entry_waits_for_its_last_message(&self, parked: usize, committed: usize) {
        let at = SystemClock.now().plus_millis(-10_000);
        let good = event(&device("batch-good"), 0, at);
        self.place(&good, &pictures::good(0));
        let mut bad = event(&device("batch-bad"), 0, at);
        bad.payload = b"not JSON".to_vec();
        let late = event(&device("batch-late"), 0, at);
        let mut publisher = self.broker.batching_publisher(&self.topic, 3).await;
        publisher.publish_messages([&good, &bad, &late].map(Sent::message)).await;

        let begun = Instant::now();
        while self.consumer.metric("dead_letters_total").await != (parked + 1) as f64
            || self.consumer.metric("frames_committed_total").await != (committed + 1) as f64
        {
            assert!(begun.elapsed() < PATIENCE, "{}", self.consumer.log_text());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // Long enough for an acknowledgement to arrive, were one on its way.
        tokio::time::sleep(Duration::from_millis(700)).await;
        let counters = self.broker.counters(&self.topic, SUBSCRIPTION).await;
        assert_eq!(counters.backlog, 1, "the entry is acknowledged too early: {counters:?}");
        self.place(&late, &pictures::good(1));
        self.settles(parked + 1, committed + 2).await;
    }
}

fn device(name: &str) -> DeviceKey {
    DeviceKey::new("acme", name).expect("a device's name")
}

/// The good message of a camera's frame.
fn event(device: &DeviceKey, index: usize, at: UtcMillis) -> Sent {
    let event_id = EventId::new(&format!("{}-{index}", device.device)).expect("an id");
    let path = frame_path(device, &event_id);
    let payload = frame_message(device, &event_id, at, &path).expect("a message");
    assert!(payload.len() < LARGEST_MESSAGE_BYTES);
    Sent { case: None, device: device.clone(), event_id, payload }
}
