//! The dead-letter topic: what is refused goes there, is tried until it is there, and only then
//! counts as settled.
//!
//! It has a connection of its own: a broker ends the connection that brings it a message it
//! finds too large, and the lanes must not notice.

use std::collections::VecDeque;
use std::sync::Arc;

use pulsar::producer::{Message, ProducerOptions};
use pulsar::routing_policy::RoutingPolicy;
use pulsar::{Consumer, Producer, SubType, TokioExecutor};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use super::PulsarError;
use super::client::{Clients, durable_from_earliest};
use super::lane_state::ParkJob;
use super::settings::PulsarSettings;
use crate::model::Backoff;
use crate::source::DeliveryId;

/// The subscription that keeps what is parked: a topic without one deletes its messages.
pub const DEAD_LETTER_SUBSCRIPTION: &str = "dead-letters";

/// Messages that are sent before the first is answered.
const ROUND: usize = 64;

/// A message that failed this often is sent alone: it may be what makes the others fail.
const SUSPECT_AFTER: u32 = 2;

/// What a message's metadata takes beside its key and properties, generously.
const METADATA_BYTES: usize = 4 * 1024;

type LetterProducer = Producer<TokioExecutor>;

struct Job {
    job: ParkJob,
    failures: u32,
}

/// Takes jobs until their senders are gone and all is parked.
pub(super) struct DeadLetters {
    settings: Arc<PulsarSettings>,
    clients: Clients,
    jobs: mpsc::UnboundedReceiver<ParkJob>,
    parked: mpsc::UnboundedSender<DeliveryId>,
    waiting: VecDeque<Job>,
    producer: Option<LetterProducer>,
}

impl DeadLetters {
    pub(super) fn new(
        settings: Arc<PulsarSettings>,
        jobs: mpsc::UnboundedReceiver<ParkJob>,
        parked: mpsc::UnboundedSender<DeliveryId>,
    ) -> Self {
        let clients = Clients::new(Arc::clone(&settings));
        Self { settings, clients, jobs, parked, waiting: VecDeque::new(), producer: None }
    }

    pub(super) async fn run(mut self) {
        let timings = &self.settings.timings;
        let mut backoff = Backoff::new(timings.backoff_min, timings.backoff_max);
        // It is said once, and once that it is over.
        let mut is_troubled = false;
        loop {
            if self.waiting.is_empty() {
                match self.jobs.recv().await {
                    Some(job) => self.waiting.push_back(Job { job, failures: 0 }),
                    None => break,
                }
            }
            while let Ok(job) = self.jobs.try_recv() {
                self.waiting.push_back(Job { job, failures: 0 });
            }
            match self.round().await {
                Ok(()) => {
                    backoff.reset();
                    if std::mem::take(&mut is_troubled) {
                        info!("the dead-letter topic is written to again");
                    }
                }
                Err(error) => {
                    let waiting = self.waiting.len();
                    if std::mem::replace(&mut is_troubled, true) {
                        debug!(%error, waiting, "cannot write to the dead-letter topic");
                    } else {
                        warn!(
                            %error,
                            waiting, "cannot write to the dead-letter topic: it is tried again"
                        );
                    }
                    sleep(backoff.pause()).await;
                }
            }
        }
        if let Some(mut producer) = self.producer {
            let _ = timeout(self.settings.timings.operation_timeout, producer.close()).await;
        }
    }

    /// Sends some of what waits; what fails goes to the back. Fails if anything did.
    async fn round(&mut self) -> Result<(), PulsarError> {
        let mut producer = match self.producer.take() {
            Some(producer) => producer,
            None => self.open().await?,
        };
        let mut sent = Vec::new();
        let mut failed = None;
        while sent.len() < ROUND
            && let Some(job) = self.next_for(sent.is_empty())
        {
            let alone = job.failures >= SUSPECT_AFTER;
            let letter = letter(&job.job, self.settings.limits.max_message_bytes);
            sent.push((job, producer.send_non_blocking(letter).await));
            if alone {
                break;
            }
        }
        // A receipt never comes later than this; the crate's own limit is the shorter one.
        let limit = self.settings.timings.operation_timeout * 2;
        for (mut job, receipt) in sent {
            let outcome = match receipt {
                Ok(receipt) => timeout(limit, receipt).await,
                Err(error) => Ok(Err(error)),
            };
            let what = "send a dead letter";
            let error = match outcome {
                Ok(Ok(_)) => {
                    // Nobody listens once the source is closed.
                    let _ = self.parked.send(job.job.id);
                    continue;
                }
                Ok(Err(source)) => PulsarError::Client { what, source: Box::new(source) },
                Err(_) => PulsarError::TimedOut { what, after_millis: limit.as_millis() },
            };
            job.failures = job.failures.saturating_add(1);
            self.waiting.push_back(job);
            failed = Some(error);
        }
        match failed {
            // The producer may be broken for good: the next round makes another.
            Some(error) => Err(error),
            None => {
                self.producer = Some(producer);
                Ok(())
            }
        }
    }

    /// The next job of a round: a suspect only as its first.
    fn next_for(&mut self, is_first: bool) -> Option<Job> {
        self.waiting.pop_front_if(|job| is_first || job.failures < SUSPECT_AFTER)
    }

    async fn open(&self) -> Result<LetterProducer, PulsarError> {
        let topic = self.settings.dead_letter_topic();
        let name = topic.clone();
        let producer = self
            .clients
            .with("open the dead-letter topic", |client| async move {
                let mut keeper: Consumer<Vec<u8>, _> = client
                    .consumer()
                    .with_topic(&name)
                    .with_subscription(DEAD_LETTER_SUBSCRIPTION)
                    .with_subscription_type(SubType::Shared)
                    .with_batch_size(1)
                    .with_options(durable_from_earliest())
                    .build()
                    .await?;
                keeper.close().await?;
                client
                    .producer()
                    .with_topic(&name)
                    .with_options(ProducerOptions {
                        // A batch carries no key, and without a policy no key is looked at.
                        batch_size: None,
                        routing_policy: Some(RoutingPolicy::RoundRobin),
                        block_queue_if_full: true,
                        ..ProducerOptions::default()
                    })
                    .build()
                    .await
            })
            .await?;
        info!(%topic, "the dead-letter topic is open");
        Ok(producer)
    }
}

/// The message for the dead-letter topic: as the original, with what became of it added under
/// `dead_letter.*`. What the broker would not take for its size is cut.
fn letter(job: &ParkJob, max_message_bytes: usize) -> Message {
    let original = &job.original;
    let position = job.position;
    let mut added = vec![
        ("reason", job.refusal.reason.to_owned()),
        ("detail", cut(&job.refusal.detail, 4_096).to_owned()),
        ("origin_topic", job.topic.to_string()),
        ("origin_message_id", format!("{}:{}:{}", position.ledger, position.entry, job.id.index)),
        ("origin_publish_time_millis", original.publish_time_millis.to_string()),
    ];
    let mut room = max_message_bytes.saturating_sub(METADATA_BYTES);
    let key = original.key.as_ref().filter(|key| key.len() <= room / 8);
    let ordering_key = original.ordering_key.as_ref().filter(|key| key.len() <= room / 8);
    room -= key.map_or(0, String::len) + ordering_key.map_or(0, Vec::len);
    room -=
        added.iter().map(|(name, value)| name.len() + value.len() + 32).sum::<usize>().min(room);
    // Properties first, up to half of the room: they are what a person looks for.
    let mut properties = std::collections::HashMap::new();
    let mut left = room / 2;
    for (name, value) in &original.properties {
        let bytes = name.len() + value.len() + 16;
        if bytes <= left {
            left -= bytes;
            room -= bytes;
            properties.insert(name.clone(), value.clone());
        } else {
            properties.insert("dead_letter.properties_left_out".into(), "true".into());
        }
    }
    let payload = match original.payload.get(..room) {
        Some(start) if start.len() < original.payload.len() => {
            added.push(("origin_payload_bytes", original.payload.len().to_string()));
            start
        }
        _ => &original.payload[..],
    };
    properties
        .extend(added.into_iter().map(|(name, value)| (format!("dead_letter.{name}"), value)));
    Message {
        payload: payload.to_vec(),
        properties,
        partition_key: key.cloned(),
        partition_key_b64_encoded: original.is_key_base64.then_some(true),
        ordering_key: ordering_key.cloned(),
        event_time: original.event_time_millis,
        ..Message::default()
    }
}

/// At most that many bytes, never half a character.
fn cut(text: &str, max_bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(max_bytes)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Refusal;
    use crate::source::pulsar::lane_state::{Original, Position};

    fn job(payload_bytes: usize) -> ParkJob {
        ParkJob {
            id: DeliveryId { lane: 1, index: 3, entry: 9 },
            topic: "persistent://a/b/c-partition-1".into(),
            position: Position { ledger: 12, entry: 7 },
            original: Original {
                payload: vec![7; payload_bytes].into(),
                key: Some("camera".into()),
                properties: vec![("site".into(), "north".into())],
                publish_time_millis: 1_769_846_400_000,
                ..Original::default()
            },
            refusal: Refusal { reason: "frame_path", detail: "it is empty".into() },
        }
    }

    #[test]
    fn letter_is_the_original_with_what_became_of_it() {
        let letter = letter(&job(100), 1 << 20);
        assert_eq!(letter.payload, [7; 100]);
        assert_eq!(letter.partition_key.as_deref(), Some("camera"));
        let mut properties: Vec<_> =
            letter.properties.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        properties.sort_unstable();
        assert_eq!(
            properties,
            [
                ("dead_letter.detail", "it is empty"),
                ("dead_letter.origin_message_id", "12:7:3"),
                ("dead_letter.origin_publish_time_millis", "1769846400000"),
                ("dead_letter.origin_topic", "persistent://a/b/c-partition-1"),
                ("dead_letter.reason", "frame_path"),
                ("site", "north"),
            ]
        );
    }

    #[test]
    fn letter_always_fits_and_says_what_was_cut() {
        let mut large = job(200_000);
        large.original.properties =
            vec![("a".into(), "x".repeat(90_000)), ("b".into(), "y".into())];
        large.original.key = Some("k".repeat(70_000));
        large.refusal.detail = "é".repeat(9_000);
        let letter = letter(&large, 100_000);
        let bytes = letter.payload.len()
            + letter.partition_key.map_or(0, |key| key.len())
            + letter.properties.iter().map(|(k, v)| k.len() + v.len()).sum::<usize>();
        assert!((90_000..100_000).contains(&bytes), "{bytes}");
        assert_eq!(letter.properties["dead_letter.origin_payload_bytes"], "200000");
        assert_eq!(letter.properties["dead_letter.properties_left_out"], "true");
        assert_eq!(letter.properties["b"], "y");
    }
}
