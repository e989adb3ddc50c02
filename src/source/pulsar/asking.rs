//! Asks the broker, and tells of trouble: once when it begins or becomes another, in the log and
//! in the source's health, and once when it is over. It mends nothing: whoever asks does.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::PulsarError;
use super::health::{Asker, HealthCells};
use super::ports::Broker;
use super::settings::PulsarSettings;
use super::trouble::Trouble;

/// How long a broker may be silent until that is worth a word.
const SILENCE: Duration = Duration::from_secs(3);

/// Waits for the answer, and tells of what keeps it from coming.
///
/// # Errors
/// The answer's own.
pub(super) async fn asked<B: Broker, T>(
    asker: Asker,
    broker: &B,
    health: &HealthCells,
    settings: &PulsarSettings,
    question: impl Future<Output = Result<T, PulsarError>>,
) -> Result<T, PulsarError> {
    let tell = |trouble: Trouble| {
        let (reason, topic) = (trouble.reason, &settings.topic);
        match health.troubled(asker, &trouble) {
            true => {
                warn!(%topic, reason, %trouble, "no frames come from the broker: it is tried again")
            }
            false => debug!(%topic, reason, %trouble, "the broker was tried again"),
        }
    };
    let mut question = pin!(question);
    let answer = match timeout(SILENCE, &mut question).await {
        Ok(answer) => answer,
        Err(_) => tokio::select! {
            biased;
            answer = &mut question => answer,
            trouble = broker.explain(None) => {
                tell(trouble);
                question.await
            }
        },
    };
    match &answer {
        Ok(_) => {
            if let Some(lasted) = health.well(asker) {
                info!(topic = %settings.topic, after_secs = lasted.as_secs(),
                    "the broker is reached again");
            }
        }
        Err(error) => tell(broker.explain(Some(error)).await),
    }
    answer
}
