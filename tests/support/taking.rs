//! What the tests of the Pulsar source do again and again: open, take, refuse, look.

use std::collections::HashMap;
use std::net::TcpStream;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use futures::StreamExt;
use pulsar::consumer::InitialPosition;
use pulsar::{Consumer, ConsumerOptions};
use stream_processor::source::pulsar::{PulsarSettings, PulsarSource};
use stream_processor::source::{DeliveryId, FrameSource, Refusal};
use tokio::time::timeout;

use super::broker::Broker;

/// The subscription of every test.
pub const SUBSCRIPTION: &str = "frames";

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a test waits for what must not come.
const SILENCE: Duration = Duration::from_millis(700);

/// A delivery as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    pub id: DeliveryId,
    pub text: String,
}

/// Settings that notice everything quickly.
pub fn settings(broker: &Broker, topic: &str) -> PulsarSettings {
    let mut settings = PulsarSettings::new(&broker.service_url, topic, SUBSCRIPTION, "worker-1");
    settings.admin_url = Some(broker.admin_url.clone());
    settings.timings.watchdog_interval = Duration::from_millis(500);
    settings.timings.partition_poll_interval = Duration::from_millis(300);
    settings.timings.backoff_max = Duration::from_millis(500);
    settings.timings.operation_timeout = Duration::from_secs(5);
    settings
}

/// Opens a source and waits until it is ready.
pub async fn open(settings: &PulsarSettings) -> PulsarSource {
    open_within(settings, PATIENCE).await.expect("the source is ready in time")
}

/// Opens a source, if it gets ready within a time in which it well could.
pub async fn try_open(settings: &PulsarSettings) -> Option<PulsarSource> {
    open_within(settings, SILENCE * 2).await
}

async fn open_within(settings: &PulsarSettings, limit: Duration) -> Option<PulsarSource> {
    let source = PulsarSource::connect(settings.clone()).await.expect("good settings");
    let ready = wait_until(|| source.health().is_ready());
    timeout(limit, ready).await.ok().map(|()| source)
}

/// Waits until it is so.
pub async fn wait_until(is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("it is so in time");
}

/// Takes that many.
pub async fn take(source: &mut PulsarSource, count: usize) -> Vec<Taken> {
    let mut taken = Vec::new();
    for _ in 0..count {
        match timeout(PATIENCE, source.next()).await {
            Ok(Some(delivery)) => taken.push(Taken {
                id: delivery.id,
                text: String::from_utf8_lossy(&delivery.payload).into_owned(),
            }),
            Ok(None) => panic!("a broker's source does not end"),
            Err(_) => panic!("{} of {count} came: {:?}", taken.len(), source.health()),
        }
    }
    taken
}

/// Takes that many, and nothing more comes.
pub async fn take_exactly(source: &mut PulsarSource, count: usize) -> Vec<Taken> {
    let taken = take(source, count).await;
    no_more(source).await;
    taken
}

/// Takes until there is silence.
pub async fn take_all(source: &mut PulsarSource) -> Vec<Taken> {
    let mut all = Vec::new();
    while let Ok(Some(delivery)) = timeout(SILENCE, source.next()).await {
        let text = String::from_utf8_lossy(&delivery.payload).into_owned();
        all.push(Taken { id: delivery.id, text });
    }
    all
}

/// Nothing comes.
pub async fn no_more(source: &mut PulsarSource) {
    if let Ok(Some(delivery)) = timeout(SILENCE, source.next()).await {
        panic!("{} came, and should not", String::from_utf8_lossy(&delivery.payload));
    }
}

/// A refusal for this reason.
pub fn refusal(reason: &'static str) -> Refusal {
    Refusal { reason, detail: "the test refuses it".into() }
}

/// A message on the dead-letter topic.
pub struct Letter {
    pub payload: Vec<u8>,
    pub key: Option<String>,
    pub properties: HashMap<String, String>,
}

/// The first that many dead letters.
pub async fn dead_letters(broker: &Broker, settings: &PulsarSettings, count: usize) -> Vec<Letter> {
    let client = broker.client().await;
    let options = ConsumerOptions::default().with_initial_position(InitialPosition::Earliest);
    let mut consumer: Consumer<Vec<u8>, _> = client
        .consumer()
        .with_topic(settings.dead_letter_topic())
        .with_subscription("look")
        .with_options(options)
        .build()
        .await
        .expect("a consumer of dead letters");
    let mut letters = Vec::new();
    for _ in 0..count {
        let message = timeout(PATIENCE, consumer.next()).await.expect("a dead letter in time");
        let message = message.expect("a dead letter").expect("no error");
        letters.push(Letter {
            key: message.key(),
            properties: message
                .metadata()
                .properties
                .iter()
                .map(|property| (property.key.clone(), property.value.clone()))
                .collect(),
            payload: message.payload.data,
        });
    }
    letters
}

/// Cuts every connection of this process to that port on loopback.
pub fn cut_connections(port: u16) {
    let mut cut = 0;
    for entry in std::fs::read_dir("/proc/self/fd").expect("the open files").flatten() {
        let Some(fd) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // SAFETY: the number is duplicated at once and only the copy is used; were it closed
        // meanwhile, duplicating fails.
        let copy = unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned();
        let Ok(stream) = copy.map(TcpStream::from) else { continue };
        if stream.peer_addr().is_ok_and(|peer| peer.port() == port) {
            cut += 1;
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }
    assert!(cut > 0, "there was nothing to cut");
}
