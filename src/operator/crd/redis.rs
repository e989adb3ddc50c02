//! `spec.redis`: sessions told to Redis.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::UrlSecretRef;

/// Which Redis is told of sessions, and of what else.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.url) != has(self.urlSecretRef)").message(
    "write one of redis.url (without a password) and redis.urlSecretRef (a secret that holds the URL)"
))]
pub struct RedisSpec {
    /// Where Redis listens, without a password: redis://host:6379/0, or rediss:// with TLS.
    #[schemars(length(max = 500))]
    #[x_kube(validation = Rule::new("self.matches('^rediss?://[^@ ]+$')").message(
        "write redis.url as redis://host:6379/0 or rediss://host:6379/0; a URL with a password belongs in a secret: redis.urlSecretRef"
    ))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The secret that holds the URL, if there is a password in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_secret_ref: Option<UrlSecretRef>,
    /// Whether the segments of each playlist are told as well.
    #[serde(default)]
    pub playlist: bool,
}
