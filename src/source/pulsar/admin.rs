//! Questions to the broker's admin API: what is waiting, and which settings of the topic lose
//! data. It changes nothing.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use reqwest::{Certificate, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::settings::{PulsarAuth, PulsarSettings};
use crate::model::{Secret, UtcMillis, causes};

/// What waits in the subscription, over all partitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Entries that are not acknowledged. A batch is one entry.
    pub entries: u64,
    /// Messages that are with consumers. A batch counts as many as it holds.
    pub unacked_messages: u64,
    /// When the oldest of them was published, where the broker says so.
    pub oldest_published_at: Option<UtcMillis>,
}

/// Why the admin API gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// It cannot be reached, or what it says cannot be read.
    #[error("the Pulsar admin API did not answer: {}", causes(.0))]
    Http(#[from] reqwest::Error),
    /// It says no.
    #[error("the Pulsar admin API answered {status} to {path}")]
    Status {
        /// The status.
        status: StatusCode,
        /// The path that was asked for.
        path: String,
    },
    /// A file that the settings name cannot be read.
    #[error("cannot read {what} {path:?}: {source}")]
    File {
        /// What is in it.
        what: &'static str,
        /// Its path.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

#[derive(Debug)]
enum Bearer {
    None,
    Token(Secret),
    File(PathBuf),
}

/// The admin API of one topic's cluster.
#[derive(Debug)]
pub struct PulsarAdmin {
    http: reqwest::Client,
    base: Url,
    bearer: Bearer,
    parts: [String; 3],
    subscription: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TopicStats {
    #[serde(default)]
    subscriptions: HashMap<String, SubscriptionStats>,
    /// Of a partitioned topic. Its own figures are the sums, but for the oldest time: that is
    /// the least of the partitions', and an empty one's is -1.
    #[serde(default)]
    partitions: HashMap<String, TopicStats>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SubscriptionStats {
    #[serde(default)]
    msg_backlog: i64,
    #[serde(default)]
    unacked_messages: i64,
    #[serde(default)]
    earliest_msg_publish_time_in_backlog: i64,
}

#[derive(Deserialize)]
struct Partitions {
    #[serde(default)]
    partitions: u32,
}

#[derive(Deserialize)]
struct Quota {
    policy: Option<String>,
}

impl PulsarAdmin {
    /// For the topic of these settings; none without an admin URL. Under https the authorities in
    /// the settings' file are trusted beside the public ones. OAuth 2 is not spoken here: then the
    /// API must answer without a token.
    ///
    /// # Errors
    /// [`AdminError`], where that file cannot be read or holds no certificates.
    pub async fn new(settings: &PulsarSettings) -> Result<Option<Self>, AdminError> {
        let authorities = match &settings.tls.trust_certs_file {
            Some(path) if settings.admin_url.is_some() => {
                let read = tokio::fs::read(path).await;
                Some(read.map_err(unreadable("the trusted certificates", path))?)
            }
            _ => None,
        };
        Self::trusting(settings, authorities.as_deref())
    }

    /// As [`new`](Self::new), with the authorities as PEM rather than in a file.
    ///
    /// # Errors
    /// [`AdminError`], where it holds no certificates.
    pub fn trusting(
        settings: &PulsarSettings,
        authorities: Option<&[u8]>,
    ) -> Result<Option<Self>, AdminError> {
        let base = settings.admin_url.as_deref().and_then(|url| Url::parse(url).ok());
        let (Some(base), Some(parts)) = (base, settings.topic_parts()) else { return Ok(None) };
        let certificates = authorities.map(Certificate::from_pem_bundle).transpose()?;
        let http = certificates
            .into_iter()
            .flatten()
            .fold(reqwest::Client::builder(), reqwest::ClientBuilder::add_root_certificate)
            .timeout(settings.timings.operation_timeout)
            .build()?;
        let bearer = match &settings.auth {
            PulsarAuth::Token(token) => Bearer::Token(token.clone()),
            PulsarAuth::TokenFile(path) => Bearer::File(path.clone()),
            PulsarAuth::None | PulsarAuth::OAuth2 { .. } => Bearer::None,
        };
        let (parts, subscription) = (parts.map(str::to_owned), settings.subscription.clone());
        Ok(Some(Self { http, base, bearer, parts, subscription }))
    }

    /// What waits in the subscription now. A subscription that does not exist yet has nothing.
    ///
    /// # Errors
    /// [`AdminError`], where the API does not answer or the topic does not exist.
    pub async fn backlog(&self) -> Result<Backlog, AdminError> {
        let [tenant, namespace, topic] = &self.parts;
        let path = ["persistent", tenant, namespace, topic];
        let count: Option<Partitions> = self.get(&[&path[..], &["partitions"]].concat()).await?;
        let last = match count {
            Some(count) if count.partitions > 0 => "partitioned-stats",
            _ => "stats",
        };
        let segments = [&path[..], &[last]].concat();
        let stats: TopicStats = self.get(&segments).await?.ok_or_else(|| AdminError::Status {
            status: StatusCode::NOT_FOUND,
            path: segments.join("/"),
        })?;
        let Some(found) = stats.subscriptions.get(&self.subscription) else {
            return Ok(Backlog::default());
        };
        let oldest = std::iter::once(&stats)
            .chain(stats.partitions.values())
            .filter_map(|topic| topic.subscriptions.get(&self.subscription))
            .map(|subscription| subscription.earliest_msg_publish_time_in_backlog)
            .filter(|millis| *millis > 0)
            .min();
        Ok(Backlog {
            entries: u64::try_from(found.msg_backlog).unwrap_or(0),
            unacked_messages: u64::try_from(found.unacked_messages).unwrap_or(0),
            oldest_published_at: oldest.map(UtcMillis),
        })
    }

    /// Settings of the topic, or of its namespace, by which frames are lost before anybody saw
    /// them: one sentence each.
    ///
    /// # Errors
    /// [`AdminError`], where the API does not answer.
    pub async fn warnings(&self) -> Result<Vec<String>, AdminError> {
        let mut warnings = Vec::new();
        if let Some(seconds) = self.policy::<i64>("messageTTL").await?.filter(|s| *s > 0) {
            warnings.push(format!(
                "messages of this topic are dropped unread after {seconds} s (message TTL): \
                 set it to 0, or longer than any outage"
            ));
        }
        let quotas: Option<HashMap<String, Quota>> = self.policy("backlogQuotaMap").await?;
        let evicts = |quota: &Quota| quota.policy.as_deref() == Some("consumer_backlog_eviction");
        if quotas.is_some_and(|quotas| quotas.values().any(evicts)) {
            warnings.push(
                "this topic drops unread messages when its backlog is full (backlog quota with \
                 consumer_backlog_eviction): use producer_request_hold"
                    .into(),
            );
        }
        if let Some(minutes) =
            self.namespace_policy::<i64>("subscriptionExpirationTime").await?.filter(|m| *m > 0)
        {
            warnings.push(format!(
                "a subscription without a consumer is deleted after {minutes} min with its \
                 backlog (subscription expiration time): set it to 0"
            ));
        }
        Ok(warnings)
    }

    /// The policy that applies to the topic, where the broker keeps policies per topic, or the
    /// namespace's.
    async fn policy<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, AdminError> {
        let [tenant, namespace, topic] = &self.parts;
        match self.get(&["persistent", tenant, namespace, topic, name]).await {
            Ok(Some(policy)) => Ok(Some(policy)),
            Ok(None) | Err(AdminError::Status { .. }) => self.namespace_policy(name).await,
            Err(error) => Err(error),
        }
    }

    async fn namespace_policy<T: DeserializeOwned>(
        &self,
        name: &str,
    ) -> Result<Option<T>, AdminError> {
        let [tenant, namespace, _] = &self.parts;
        self.get(&["namespaces", tenant, namespace, name]).await
    }

    /// None for 204 and 404, and for an empty answer, which all mean that nothing is set.
    async fn get<T: DeserializeOwned>(&self, segments: &[&str]) -> Result<Option<T>, AdminError> {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["admin", "v2"]).extend(segments);
        }
        url.set_query(Some("applied=true&getEarliestTimeInBacklog=true&perPartition=true"));
        let mut request = self.http.get(url);
        match &self.bearer {
            Bearer::None => {}
            Bearer::Token(token) => request = request.bearer_auth(token.expose()),
            Bearer::File(path) => {
                let token = tokio::fs::read_to_string(path)
                    .await
                    .map_err(unreadable("the Pulsar token file", path))?;
                request = request.bearer_auth(token.trim());
            }
        }
        let answer = request.send().await?;
        let status = answer.status();
        if status == StatusCode::NOT_FOUND || status == StatusCode::NO_CONTENT {
            return Ok(None);
        }
        if !status.is_success() {
            return Err(AdminError::Status { status, path: segments.join("/") });
        }
        let body = answer.bytes().await?;
        if body.is_empty() {
            return Ok(None);
        }
        Ok(serde_json::from_slice(&body).ok())
    }
}

fn unreadable(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> AdminError {
    move |source| AdminError::File { what, path: path.to_owned(), source }
}
