//! `spec.pulsar`: where frame events come from.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::{CaSecretRef, OAuth2SecretRef, TokenSecretRef};

/// Where frame events come from.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.authSecretRef) && has(self.oauth2))").message(
        "authSecretRef and oauth2 are two ways to log in: write one of them"
    ),
    validation = Rule::new("!has(self.tls) || self.serviceUrl.startsWith('pulsar+ssl://')").message(
        "tls needs an encrypted connection: write serviceUrl as pulsar+ssl://host:6651, or remove tls"
    )
)]
pub struct PulsarSpec {
    /// Where the broker or its proxy listens: pulsar://host:6650, or pulsar+ssl://host:6651.
    #[schemars(length(max = 500))]
    #[x_kube(validation = Rule::new("self.matches('^pulsar([+]ssl)?://[^/@ ]+$')").message(
        "write pulsar.serviceUrl as pulsar://host:6650 or pulsar+ssl://host:6651, without user and path"
    ))]
    pub service_url: String,
    /// Where the broker's admin interface listens, such as http://host:8080. With it the backlog
    /// is shown and can be scaled by, and the topic is checked for policies that lose frames.
    #[schemars(length(max = 500))]
    #[x_kube(validation = Rule::new("self.matches('^https?://[^@ ]+$')").message(
        "write pulsar.adminUrl as http://host:8080 or https://host:8443, without user"
    ))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_url: Option<String>,
    /// The topic of the frame events, partitioned or not.
    #[schemars(length(max = 500))]
    #[x_kube(validation = Rule::new("self.matches('^persistent://[^/ ]+/[^/ ]+/[^/ ]+$')").message(
        "write pulsar.topic as persistent://tenant/namespace/name: what a broker does not store it cannot deliver again"
    ))]
    #[serde(default = "topic")]
    pub topic: String,
    /// The Key_Shared subscription that all workers share. Another name is another fleet, which
    /// gets every frame again.
    #[schemars(length(min = 1, max = 255))]
    #[x_kube(validation = Rule::new("self.matches('^[^/ ]+$')").message(
        "write pulsar.subscription as a name without spaces and slashes"
    ))]
    #[serde(default = "subscription")]
    pub subscription: String,
    /// The token to log in with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_secret_ref: Option<TokenSecretRef>,
    /// OAuth 2.0 client credentials to log in with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oauth2: Option<OAuth2Spec>,
    /// Whom to trust under pulsar+ssl://, and at an adminUrl with https.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSpec>,
}

fn topic() -> String {
    "persistent://streamhub/stream/frames".into()
}

fn subscription() -> String {
    "stream-processor".into()
}

/// OAuth 2.0 client credentials.
#[derive(KubeSchema, Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OAuth2Spec {
    /// Who gives out tokens.
    #[schemars(length(max = 500))]
    #[x_kube(validation = Rule::new("self.matches('^https?://[^@ ]+$')").message(
        "write oauth2.issuerUrl as https://host/path, without user"
    ))]
    pub issuer_url: String,
    /// JSON with client_id and client_secret.
    pub credentials_secret_ref: OAuth2SecretRef,
    /// The audience that the issuer wants to be told, if it does.
    #[schemars(length(min = 1, max = 500))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// The scope that the issuer wants to be told, if it does.
    #[schemars(length(min = 1, max = 500))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
}

/// Whom to trust.
#[derive(KubeSchema, Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TlsSpec {
    /// The certificate authorities of a broker with a private one.
    pub ca_secret_ref: CaSecretRef,
}
