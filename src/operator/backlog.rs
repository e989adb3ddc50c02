//! Asks Pulsar again and again what waits for each object. Changes nothing.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret as KubeSecret;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt};
use tokio::sync::mpsc;

use super::context::{Backlog, Context};
use super::crd::{SecretKey, StreamProcessor};
use super::view::Wanted;
use crate::model::Secret;
use crate::source::pulsar::{PulsarAdmin, PulsarAuth, PulsarSettings};

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
                    let scales = object.spec.autoscaling.is_some();
                    if object.spec.pulsar.admin_url.is_none() && !scales {
                        return;
                    }
                    let found = tokio::time::timeout(PATIENCE, question(context, &object)).await;
                    let uid = object.uid().unwrap_or_default();
                    context.set_backlog(&uid, found.ok().flatten().unwrap_or_default());
                    // The queue is gone when the operator stops.
                    let _ = ask.send(ObjectRef::from_obj(object.as_ref())).await;
                }
            })
            .await;
    }
}

async fn question(context: &Context, object: &StreamProcessor) -> Option<Backlog> {
    let spec = &object.spec.pulsar;
    let admin_url = spec.admin_url.clone()?;
    let auth = match &spec.auth_secret_ref {
        Some(of) => PulsarAuth::Token(token(context, object, of).await?),
        None => PulsarAuth::None,
    };
    let settings = PulsarSettings {
        admin_url: Some(admin_url),
        auth,
        ..PulsarSettings::new(&spec.service_url, &spec.topic, &spec.subscription, "operator")
    };
    match PulsarAdmin::new(&settings)?.backlog().await {
        Ok(found) => Some(Backlog {
            messages: i64::try_from(found.entries).ok(),
            oldest_at: found.oldest_published_at,
        }),
        Err(error) => {
            context.metrics.backlog_failures.inc();
            tracing::warn!(name = object.name_any(), namespace = object.namespace(), %error,
                "the backlog is not known");
            None
        }
    }
}

async fn token(context: &Context, object: &StreamProcessor, of: &impl SecretKey) -> Option<Secret> {
    let namespace = object.namespace()?;
    let secrets: Api<KubeSecret> = Api::namespaced(context.client.clone(), &namespace);
    let data = secrets.get_opt(of.secret()).await.ok().flatten()?.data?;
    let text = String::from_utf8(data.get(of.key())?.0.clone()).ok()?;
    Some(Secret::new(text.trim().to_owned()))
}
