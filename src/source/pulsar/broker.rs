//! The real broker, as the client crate shows it.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use pulsar::error::{ConnectionError, ConsumerError};
use pulsar::proto::MessageIdData;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::PulsarError;
use super::admin::PulsarAdmin;
use super::client::{Clients, CrateConsumer};
use super::dead_letter::DeadLetters;
use super::ports::{Broker, Came, Consumer, Message, Original, ParkJob, Position};
use super::probe;
use super::settings::PulsarSettings;
use super::trouble::{Trouble, kept_reason};
use crate::source::DeliveryId;

/// For how long what the way to the broker is like is not looked at again: many lanes that have
/// lost their broker ask at once, and looking takes a connection.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What was found on the way, and when.
type Looked = Option<(Instant, Option<Trouble>)>;

/// A Pulsar cluster.
pub(super) struct Cluster {
    settings: Arc<PulsarSettings>,
    clients: Clients,
    looked: Mutex<Looked>,
}

impl Cluster {
    pub(super) fn new(settings: Arc<PulsarSettings>) -> Self {
        let clients = Clients::new(Arc::clone(&settings));
        Self { settings, clients, looked: Mutex::default() }
    }
}

impl Cluster {
    /// What is wrong on the way to the broker, as it was found of late.
    async fn look(&self) -> Option<Trouble> {
        let mut looked = self.looked.lock().await;
        if let Some((at, found)) = &*looked
            && at.elapsed() < LOOK_EVERY
        {
            return found.clone();
        }
        let end = probe::look(&self.settings).await.err();
        let found = end.map(|end| Trouble::met(&end.obstacle, &end.at, &self.settings));
        *looked = Some((Instant::now(), found.clone()));
        found
    }
}

impl Broker for Cluster {
    type Consumer = LaneConsumer;

    async fn open_consumer(&self, topic: &str) -> Result<LaneConsumer, PulsarError> {
        let consumer = self.clients.open_consumer(topic).await?;
        Ok(LaneConsumer { consumer, topic: topic.into() })
    }

    async fn count_partitions(&self) -> Result<u32, PulsarError> {
        let topic = self.settings.topic.clone();
        self.clients
            .with("ask for the number of partitions", |client| async move {
                client.lookup_partitioned_topic_number(topic).await
            })
            .await
    }

    async fn park(&self, jobs: UnboundedReceiver<ParkJob>, parked: UnboundedSender<DeliveryId>) {
        DeadLetters::new(Arc::clone(&self.settings), jobs, parked).run().await;
    }

    async fn explain(&self, error: Option<&PulsarError>) -> Trouble {
        let (settings, at) = (&*self.settings, &self.settings.service_url);
        if let Some(obstacle) = error.and_then(kept_reason) {
            return Trouble::met(&obstacle, at, settings);
        }
        let otherwise = || error.map_or_else(|| Trouble::no_answer(at), Trouble::said);
        self.look().await.unwrap_or_else(otherwise)
    }

    async fn advise(&self) {
        for attempt in 0..5_u32 {
            let warnings = async {
                match PulsarAdmin::new(&self.settings).await? {
                    Some(admin) => admin.warnings().await,
                    None => Ok(Vec::new()),
                }
            };
            match warnings.await {
                Ok(warnings) => {
                    for warning in warnings {
                        warn!(topic = %self.settings.topic, "{warning}");
                    }
                    return;
                }
                Err(error) if attempt == 4 => {
                    warn!(%error, "cannot look for settings that lose data");
                }
                Err(_) => sleep(Duration::from_secs(5)).await,
            }
        }
    }
}

/// The crate's consumer of one partition.
pub(super) struct LaneConsumer {
    consumer: CrateConsumer,
    topic: Arc<str>,
}

impl Consumer for LaneConsumer {
    async fn next(&mut self) -> Result<Came, PulsarError> {
        match self.consumer.next().await {
            Some(Ok(message)) => Ok(Came::Message(taken_apart(message))),
            Some(Err(error)) if is_unreadable(&error) => {
                Ok(Came::Unreadable(client_error("unpack an entry", error)))
            }
            Some(Err(error)) => Err(client_error("read", error)),
            None => Err(PulsarError::StreamEnded),
        }
    }

    async fn ack(&mut self, position: Position) -> Result<(), PulsarError> {
        let sent = self.consumer.ack_with_id(&self.topic, wire(position)).await;
        sent.map_err(|e| client_error("send to the broker", pulsar::Error::Consumer(e)))
    }

    async fn nack(&mut self, position: Position) -> Result<(), PulsarError> {
        let sent = self.consumer.nack_with_id(&self.topic, wire(position)).await;
        sent.map_err(|e| client_error("send to the broker", pulsar::Error::Consumer(e)))
    }

    /// Asks for the consumer's own figures. Unlike a ping, the answer shows that the
    /// subscription still stands: a consumer that failed to subscribe anew is silent on a sound
    /// connection. And the crate keeps one ping per connection, so that ours would cancel its
    /// own.
    async fn ask_whether_known(&mut self) -> Result<(), PulsarError> {
        let stats = self.consumer.get_stats().await;
        let stats = stats.map_err(|e| client_error("ask the broker about the consumer", e))?;
        match stats.into_iter().find_map(|stats| stats.error_message) {
            Some(message) => Err(PulsarError::Forgotten(message)),
            None => Ok(()),
        }
    }

    async fn close(&mut self) -> Result<(), PulsarError> {
        self.consumer.close().await.map_err(|e| client_error("close the consumer", e))
    }
}

fn client_error(what: &'static str, source: pulsar::Error) -> PulsarError {
    PulsarError::Client { what, source: Box::new(source) }
}

/// The entry as a whole: an index in it would be taken for the whole as well.
fn wire(position: Position) -> MessageIdData {
    MessageIdData {
        ledger_id: position.ledger,
        entry_id: position.entry,
        ..MessageIdData::default()
    }
}

fn taken_apart(message: pulsar::consumer::Message<Vec<u8>>) -> Message {
    let id = message.message_id.id;
    let metadata = message.payload.metadata;
    Message {
        position: Position { ledger: id.ledger_id, entry: id.entry_id },
        index: id.batch_index.and_then(|index| u32::try_from(index).ok()).unwrap_or(0),
        batch_size: metadata.num_messages_in_batch.and_then(|size| u32::try_from(size).ok()),
        original: Original {
            payload: message.payload.data.into(),
            key: metadata.partition_key,
            is_key_base64: metadata.partition_key_b64_encoded.unwrap_or(false),
            ordering_key: metadata.ordering_key,
            properties: metadata.properties.into_iter().map(|p| (p.key, p.value)).collect(),
            event_time_millis: metadata.event_time.filter(|millis| *millis != 0),
            publish_time_millis: metadata.publish_time,
        },
    }
}

/// The entry came, and cannot be unpacked: the consumer itself is sound.
fn is_unreadable(error: &pulsar::Error) -> bool {
    matches!(
        error,
        pulsar::Error::Consumer(ConsumerError::Io(_))
            | pulsar::Error::Connection(ConnectionError::Decoding(_))
    )
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn many_lanes_without_a_broker_look_for_it_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("pulsar://{}", listener.local_addr().unwrap());
        let came = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&came);
        // It hangs up on everybody.
        let serving = tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        });
        let settings = PulsarSettings::new(&url, "persistent://a/b/c", "sub", "worker-1");
        let cluster = Cluster::new(Arc::new(settings));
        let all = futures::future::join_all((0..32).map(|_| cluster.explain(None))).await;
        assert!(all.iter().all(|trouble| trouble.reason == "not_pulsar"), "{all:?}");
        assert_eq!(came.load(Ordering::Relaxed), 1);
        serving.abort();
    }
}
