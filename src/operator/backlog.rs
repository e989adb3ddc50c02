//! Asks Pulsar again and again what waits for each object. Changes nothing.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::mpsc;
use tokio::time::error::Elapsed;

use super::apply::said;
use super::context::{Backlog, Context};
use super::crd::{SecretKey, StreamProcessor};
use super::dereference::secret_value;
use super::view::Wanted;
use crate::model::Secret;
use crate::source::pulsar::{AdminError, PulsarAdmin, PulsarAuth, PulsarSettings};

/// How many are asked at the same time.
const AT_ONCE: usize = 8;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks for ever, and has each object looked at of which there is an answer.
pub async fn watch(context: Arc<Context>, ask: mpsc::Sender<Wanted>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let objects = context.view.processors.state();
        context.metrics.processors.set(i64::try_from(objects.len()).unwrap_or(i64::MAX));
        let slices = context.view.slices.len();
        context.metrics.slices.set(i64::try_from(slices).unwrap_or(i64::MAX));
        context.retain(|uid| objects.iter().any(|object| object.uid().as_deref() == Some(uid)));
        futures::stream::iter(objects)
            .for_each_concurrent(AT_ONCE, |object| {
                let (context, ask) = (&context, &ask);
                async move {
                    if object.spec.pulsar.admin_url.is_some() {
                        ask_for(context, &object).await;
                    } else if object.spec.autoscaling.is_none() {
                        return;
                    }
                    // The queue is gone when the operator stops.
                    let _ = ask.send(ObjectRef::from_obj(object.as_ref())).await;
                }
            })
            .await;
    }
}

/// Why it is not known what waits.
#[derive(Debug, thiserror::Error)]
enum Unknown {
    #[error(transparent)]
    Admin(#[from] AdminError),
    #[error("the Pulsar admin API did not answer within {} s", PATIENCE.as_secs())]
    TimedOut(#[from] Elapsed),
    #[error("cannot read the secret {secret}: {}", said(.source))]
    Unreadable { secret: String, source: kube::Error },
    #[error("there is no secret {secret} with the key {key}")]
    Missing { secret: String, key: String },
}

/// Asks what waits for one object; that there is no answer is said once, until there is one.
async fn ask_for(context: &Context, object: &StreamProcessor) {
    let (name, namespace) = (object.name_any(), object.namespace());
    let uid = object.uid().unwrap_or_default();
    let was_unknown = context.backlog(&uid).is_unknown;
    let found = tokio::time::timeout(PATIENCE, question(context, object)).await;
    let backlog = match found.map_err(Unknown::from).flatten() {
        Ok(found) => {
            if was_unknown {
                tracing::info!(name, namespace, "the backlog is known again");
            }
            found
        }
        Err(error) => {
            context.metrics.backlog_failures.inc();
            if !was_unknown {
                tracing::warn!(name, namespace, %error, "the backlog is not known");
            }
            Backlog { is_unknown: true, ..Backlog::default() }
        }
    };
    context.set_backlog(&uid, backlog);
}

async fn question(context: &Context, object: &StreamProcessor) -> Result<Backlog, Unknown> {
    let spec = &object.spec.pulsar;
    let auth = match &spec.auth_secret_ref {
        Some(of) => {
            let token = value(context, object, of).await?;
            PulsarAuth::Token(Secret::new(String::from_utf8_lossy(&token).trim()))
        }
        None => PulsarAuth::None,
    };
    let authorities = match &spec.tls {
        Some(tls) => Some(value(context, object, &tls.ca_secret_ref).await?),
        None => None,
    };
    let settings = PulsarSettings {
        admin_url: spec.admin_url.clone(),
        auth,
        ..PulsarSettings::new(&spec.service_url, &spec.topic, &spec.subscription, "operator")
    };
    let Some(admin) = PulsarAdmin::trusting(&settings, authorities.as_deref())? else {
        return Ok(Backlog::default());
    };
    let found = admin.backlog().await?;
    Ok(Backlog {
        messages: i64::try_from(found.entries).ok(),
        oldest_at: found.oldest_published_at,
        is_unknown: false,
    })
}

/// What a secret holds that the object refers to.
async fn value(
    context: &Context,
    object: &StreamProcessor,
    of: &impl SecretKey,
) -> Result<Vec<u8>, Unknown> {
    let namespace = object.namespace().unwrap_or_default();
    let (secret, key) = (of.secret().to_owned(), of.key().to_owned());
    match secret_value(&context.client, &namespace, &secret, &key).await {
        Ok(Some(value)) => Ok(value),
        Ok(None) => Err(Unknown::Missing { secret, key }),
        Err(source) => Err(Unknown::Unreadable { secret, source }),
    }
}
