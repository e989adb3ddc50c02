//! The connection to the brokers: how one is made, and how one that hangs is replaced.
//!
//! The client crate must not retry on its own here: a lane builds its consumer again for ever,
//! and its health says so meanwhile. And a connection attempt that is given up half way leaves
//! the crate's connection table waiting for it for ever, so the client is then thrown away.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pulsar::authentication::Authentication;
use pulsar::authentication::oauth2::{OAuth2Authentication, OAuth2Params};
use pulsar::consumer::InitialPosition;
use pulsar::error::AuthenticationError;
use pulsar::{
    ConnectionRetryOptions, Consumer, ConsumerOptions, OperationRetryOptions, Pulsar, SubType,
    TokioExecutor,
};
use tokio::sync::Mutex;
use tokio_util::task::AbortOnDropHandle;

use super::PulsarError;
use super::settings::{PulsarAuth, PulsarSettings};

pub(super) type Client = Pulsar<TokioExecutor>;
pub(super) type CrateConsumer = Consumer<Vec<u8>, TokioExecutor>;

/// Messages that the broker may have on their way to one consumer. Few, for they may be large,
/// but not fewer: one lane took 12,000 messages a second with 512, and 2,400 with 128.
const PERMITS: u32 = 512;

/// What the crate's own queue takes. Far more than is on its way, for the crate carries out no
/// acknowledgement, question or close while that queue is full.
const RECEIVER_QUEUE: u32 = 4_096;

/// One client, shared by all lanes, made when it is first needed.
pub(super) struct Clients {
    settings: Arc<PulsarSettings>,
    slot: Mutex<Slot>,
}

#[derive(Default)]
struct Slot {
    generation: u64,
    client: Option<Client>,
}

impl Clients {
    pub(super) fn new(settings: Arc<PulsarSettings>) -> Self {
        Self { settings, slot: Mutex::default() }
    }

    /// Does `work` with the client, within the time to open things.
    pub(super) async fn with<T, F>(
        &self,
        what: &'static str,
        work: impl FnOnce(Client) -> F,
    ) -> Result<T, PulsarError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, pulsar::Error>> + Send + 'static,
    {
        let limit = self.settings.timings.open_timeout;
        let (generation, client) = self.get().await?;
        let outcome = bounded(what, limit, work(client)).await;
        if matches!(outcome, Err(PulsarError::TimedOut { .. } | PulsarError::Panicked { .. })) {
            let mut slot = self.slot.lock().await;
            if slot.generation == generation {
                slot.client = None;
            }
        }
        outcome
    }

    /// Opens the consumer of one partition.
    pub(super) async fn open_consumer(&self, topic: &str) -> Result<CrateConsumer, PulsarError> {
        let settings = Arc::clone(&self.settings);
        let topic = topic.to_owned();
        self.with("open a consumer", |client| async move {
            let consumer: CrateConsumer = client
                .consumer()
                .with_topic(&topic)
                .with_subscription(&settings.subscription)
                .with_subscription_type(SubType::KeyShared)
                .with_consumer_name(&settings.consumer_name)
                .with_batch_size(PERMITS)
                .with_unacked_message_resend_delay(None)
                .with_options(durable_from_earliest())
                .build()
                .await?;
            if consumer.topics() == [topic.as_str()] {
                return Ok(consumer);
            }
            // The crate would read all partitions as one, and hide their errors.
            Err(pulsar::Error::Custom(format!("{topic} has partitions by now")))
        })
        .await
    }

    async fn get(&self) -> Result<(u64, Client), PulsarError> {
        // Held while connecting: whoever else needs a client waits for this one.
        let mut slot = self.slot.lock().await;
        if let Some(client) = &slot.client {
            return Ok((slot.generation, client.clone()));
        }
        let settings = Arc::clone(&self.settings);
        let limit = self.settings.timings.open_timeout;
        let client =
            bounded("connect to the broker", limit, async move { connect(&settings).await })
                .await?;
        slot.generation += 1;
        slot.client = Some(client.clone());
        Ok((slot.generation, client))
    }
}

/// A durable subscription that starts with the oldest message.
pub(super) fn durable_from_earliest() -> ConsumerOptions {
    ConsumerOptions::default()
        .durable(true)
        .with_initial_position(InitialPosition::Earliest)
        .with_receiver_queue_size(RECEIVER_QUEUE)
}

/// Runs `work` apart, so that a panic in the crate ends it alone, and gives it up in time.
async fn bounded<T, F>(what: &'static str, limit: Duration, work: F) -> Result<T, PulsarError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, pulsar::Error>> + Send + 'static,
{
    let task = AbortOnDropHandle::new(tokio::spawn(work));
    match tokio::time::timeout(limit, task).await {
        Ok(Ok(outcome)) => {
            outcome.map_err(|source| PulsarError::Client { what, source: Box::new(source) })
        }
        Ok(Err(_)) => Err(PulsarError::Panicked { what }),
        Err(_) => Err(PulsarError::TimedOut { what, after_millis: limit.as_millis() }),
    }
}

async fn connect(settings: &PulsarSettings) -> Result<Client, pulsar::Error> {
    let timings = &settings.timings;
    let mut builder = Pulsar::builder(&settings.service_url, TokioExecutor)
        .with_connection_retry_options(ConnectionRetryOptions {
            min_backoff: timings.backoff_min,
            max_backoff: timings.backoff_max,
            max_retries: 0,
            connection_timeout: timings.operation_timeout,
            keep_alive: Duration::from_secs(15),
            ..ConnectionRetryOptions::default()
        })
        .with_operation_retry_options(OperationRetryOptions {
            operation_timeout: timings.operation_timeout,
            retry_delay: timings.backoff_min,
            max_retries: Some(0),
        });
    if let Some(provider) = authentication(&settings.auth) {
        builder = builder.with_auth_provider(provider);
    }
    if let Some(path) = &settings.tls.trust_certs_file {
        let chain = tokio::fs::read(path).await.map_err(|error| {
            let path = path.display();
            pulsar::Error::Custom(format!("cannot read the trusted certificates {path}: {error}"))
        })?;
        builder = builder.with_certificate_chain(chain);
    }
    builder.build().await
}

/// What the worker logs in with, if it does.
pub(super) fn authentication(auth: &PulsarAuth) -> Option<Box<dyn Authentication>> {
    Some(match auth {
        PulsarAuth::None => return None,
        PulsarAuth::Token(token) => Box::new(pulsar::Authentication {
            name: "token".into(),
            data: token.expose().as_bytes().to_vec(),
        }),
        PulsarAuth::TokenFile(path) => Box::new(TokenFile(path.clone())),
        PulsarAuth::OAuth2 { issuer_url, credentials_file, audience, scope } => {
            OAuth2Authentication::client_credentials(OAuth2Params {
                issuer_url: issuer_url.clone(),
                credentials_url: format!("file://{}", credentials_file.display()),
                audience: audience.clone(),
                scope: scope.clone(),
            })
        }
    })
}

/// A token that is read from its file whenever a connection is made.
struct TokenFile(PathBuf);

#[async_trait::async_trait]
impl Authentication for TokenFile {
    fn auth_method_name(&self) -> String {
        "token".into()
    }

    async fn initialize(&mut self) -> Result<(), AuthenticationError> {
        self.auth_data().await.map(drop)
    }

    async fn auth_data(&mut self) -> Result<Vec<u8>, AuthenticationError> {
        match tokio::fs::read_to_string(&self.0).await {
            Ok(text) => Ok(text.trim().as_bytes().to_vec()),
            Err(error) => Err(AuthenticationError::Custom(format!(
                "cannot read the token file {}: {error}",
                self.0.display()
            ))),
        }
    }
}
