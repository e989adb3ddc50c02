//! A Pulsar topic as a source: a durable Key_Shared subscription, one lane per partition.
//!
//! What is known of the client crate's and the broker's traps is handled here and nowhere else:
//! entries that hold many messages, silent consumers, added partitions, refused messages. A
//! room outside sees deliveries and settles them.
//!
//! ```text
//! broker ─▶ lane (one per partition) ─▶ next()
//!             ▲        │ park
//! settler ─▶ keeper    └─▶ dead_letter ─▶ {topic}-{subscription}-DLQ
//! ```

mod admin;
mod asking;
mod broker;
mod client;
mod dead_letter;
mod health;
mod keeper;
mod lane;
mod lane_state;
pub mod ports;
mod probe;
mod settings;
mod shelf;
mod trouble;

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

pub use admin::{AdminError, Backlog, PulsarAdmin};
pub use dead_letter::DEAD_LETTER_SUBSCRIPTION;
pub use settings::{
    PulsarAuth, PulsarLimits, PulsarSettings, PulsarSettingsError, PulsarTimings, PulsarTls,
};
pub use trouble::Trouble;

use super::{Delivery, FrameSource, Settler, SourceHealth};
use broker::Cluster;
use health::HealthCells;
use keeper::Keeper;
use ports::Broker;

/// Deliveries between the lanes and whoever calls `next`: enough to keep both busy, few enough
/// to be of no weight even where messages are large.
const HANDOVER: usize = 16;

/// What went wrong between the worker and the broker. Only [`PulsarError::Settings`] ever
/// leaves this module; the rest is logged and mended.
#[derive(Debug, thiserror::Error)]
pub enum PulsarError {
    /// The settings cannot work.
    #[error(transparent)]
    Settings(#[from] PulsarSettingsError),
    /// A file that the settings name cannot be read.
    #[error("cannot read {what} {path:?}: {source}")]
    File {
        /// What the file is for.
        what: &'static str,
        /// Its path.
        path: std::path::PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The client crate says no, mostly because the broker does.
    #[error("could not {what}: {source}")]
    Client {
        /// What was tried.
        what: &'static str,
        /// The crate's own words.
        source: Box<pulsar::Error>,
    },
    /// No answer.
    #[error("could not {what} within {after_millis} ms")]
    TimedOut {
        /// What was tried.
        what: &'static str,
        /// How long was waited, in milliseconds.
        after_millis: u128,
    },
    /// The client crate failed in a way that it does not expect itself.
    #[error("the Pulsar client crashed on the attempt to {what}")]
    Panicked {
        /// What was tried.
        what: &'static str,
    },
    /// The consumer has no more messages, which a broker's never says.
    #[error("the consumer's stream of messages ended")]
    StreamEnded,
    /// The broker answers, and does not know the consumer.
    #[error("the broker no longer knows the consumer: {0}")]
    Forgotten(String),
}

/// Frames from a Pulsar topic. Dropping it gives everything back at once, unflushed; better is
/// [`FrameSource::close`].
pub struct PulsarSource {
    deliveries: mpsc::Receiver<Delivery>,
    settler: Settler,
    health: Arc<HealthCells>,
    settings: Arc<PulsarSettings>,
    closing: CancellationToken,
    keeper: AbortOnDropHandle<()>,
}

impl PulsarSource {
    /// Starts to connect, and to keep connected; [`FrameSource::health`] tells how far it is.
    ///
    /// # Errors
    /// Settings that cannot work, or a file they name that cannot be read. A broker that is not
    /// there is none: it is waited for.
    pub async fn connect(settings: PulsarSettings) -> Result<Self, PulsarError> {
        settings.validate()?;
        check_files(&settings).await?;
        // Two crates of the house bring a TLS library each, so that none is chosen by itself;
        // whoever chose one before us is right as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let cluster = Cluster::new(Arc::new(settings.clone()));
        Ok(Self::of(cluster, settings))
    }

    /// The same with a broker of the caller's own; of the settings, the topic, the timings and
    /// the limits hold. To be called within the async runtime.
    pub fn of(broker: impl Broker, settings: PulsarSettings) -> Self {
        let settings = Arc::new(settings);
        let health = Arc::new(HealthCells::default());
        let (settler, settlements) = Settler::channel();
        let (delivery_tx, deliveries) = mpsc::channel(HANDOVER);
        let closing = CancellationToken::new();
        let keeper = Keeper::new(
            Arc::new(broker),
            Arc::clone(&settings),
            Arc::clone(&health),
            delivery_tx,
            settlements,
            closing.clone(),
        );
        let keeper = AbortOnDropHandle::new(tokio::spawn(keeper.run()));
        Self { deliveries, settler, health, settings, closing, keeper }
    }
}

async fn check_files(settings: &PulsarSettings) -> Result<(), PulsarError> {
    let auth = match &settings.auth {
        PulsarAuth::TokenFile(path) => Some(("the Pulsar token file", path)),
        PulsarAuth::OAuth2 { credentials_file, .. } => {
            Some(("the OAuth 2 credentials file", credentials_file))
        }
        PulsarAuth::None | PulsarAuth::Token(_) => None,
    };
    let certs = settings.tls.trust_certs_file.as_ref();
    let certs = certs.map(|path| ("the trusted certificates", path));
    for (what, path) in auth.into_iter().chain(certs) {
        tokio::fs::read(path).await.map_err(|source| PulsarError::File {
            what,
            path: path.clone(),
            source,
        })?;
    }
    Ok(())
}

#[async_trait]
impl FrameSource for PulsarSource {
    async fn next(&mut self) -> Option<Delivery> {
        self.deliveries.recv().await
    }

    fn settler(&self) -> Settler {
        self.settler.clone()
    }

    fn health(&self) -> SourceHealth {
        self.health.read()
    }

    async fn close(self: Box<Self>) {
        self.closing.cancel();
        let limit = self.settings.timings.close_timeout;
        if tokio::time::timeout(limit, self.keeper).await.is_err() {
            warn!("the Pulsar source did not close in time; the broker will notice by itself");
        }
    }
}
