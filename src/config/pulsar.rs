//! The broker: where, which topic and subscription, how it knows us.

use std::path::PathBuf;

use super::reader::Reader;
use super::setting::{Setting, Takes};
use crate::source::pulsar::PulsarAuth;

static SERVICE_URL: Setting = Setting {
    variable: "PULSAR_SERVICE_URL",
    flag: "pulsar-service-url",
    default: Some("pulsar://localhost:6650"),
    takes: Takes::Url(&["pulsar", "pulsar+ssl"]),
    secret: false,
    help: "Where the broker or its proxy listens. pulsar+ssl:// is the encrypted form.",
};

static ADMIN_URL: Setting = Setting {
    variable: "PULSAR_ADMIN_URL",
    flag: "pulsar-admin-url",
    default: None,
    takes: Takes::Url(&["http", "https"]),
    secret: false,
    help: "Where the broker's admin interface listens, for example http://broker:8080. When \
           it is given, the topic is checked at the start for policies that lose frames \
           (message TTL, eviction from the backlog, subscription expiry).",
};

static TOPIC: Setting = Setting {
    variable: "PULSAR_TOPIC",
    flag: "pulsar-topic",
    default: Some("persistent://streamhub/stream/frames"),
    takes: Takes::Topic,
    secret: false,
    help: "The topic of the frame events, partitioned or not.",
};

static SUBSCRIPTION: Setting = Setting {
    variable: "PULSAR_SUBSCRIPTION",
    flag: "pulsar-subscription",
    default: Some("stream-processor"),
    takes: Takes::Name,
    secret: false,
    help: "The Key_Shared subscription that all workers of a fleet share. Another name is \
           another fleet, which gets every frame again.",
};

static CONSUMER_NAME: Setting = Setting {
    variable: "PULSAR_CONSUMER_NAME",
    flag: "pulsar-consumer-name",
    default: None,
    takes: Takes::Name,
    secret: false,
    help: "How this worker is called at the broker. Without it the host name, which in \
           Kubernetes is the pod's.",
};

static TLS_TRUST_CERTS_FILE: Setting = Setting {
    variable: "PULSAR_TLS_TRUST_CERTS_FILE",
    flag: "pulsar-tls-trust-certs-file",
    default: None,
    takes: Takes::File,
    secret: false,
    help: "PEM file of the certificate authorities to trust, for a broker and an admin \
           interface with a private one. Without it the public authorities.",
};

static AUTH_TOKEN: Setting = Setting {
    variable: "PULSAR_AUTH_TOKEN",
    flag: "pulsar-auth-token",
    default: None,
    takes: Takes::Text,
    secret: true,
    help: "The token (JWT) to log in with. Set it in the environment: flags can be read by \
           every user of the machine.",
};

static AUTH_TOKEN_FILE: Setting = Setting {
    variable: "PULSAR_AUTH_TOKEN_FILE",
    flag: "pulsar-auth-token-file",
    default: None,
    takes: Takes::File,
    secret: false,
    help: "File that holds the token, instead of the token itself. It is read again at each \
           connection, so that it may be renewed.",
};

static OAUTH2_ISSUER_URL: Setting = Setting {
    variable: "PULSAR_OAUTH2_ISSUER_URL",
    flag: "pulsar-oauth2-issuer-url",
    default: None,
    takes: Takes::Url(&["https", "http"]),
    secret: false,
    help: "Who gives out tokens, to log in by OAuth 2.0 client credentials. Needs the \
           credentials file as well.",
};

static OAUTH2_CREDENTIALS_FILE: Setting = Setting {
    variable: "PULSAR_OAUTH2_CREDENTIALS_FILE",
    flag: "pulsar-oauth2-credentials-file",
    default: None,
    takes: Takes::File,
    secret: false,
    help: "JSON file with client_id and client_secret for OAuth 2.0.",
};

static OAUTH2_AUDIENCE: Setting = Setting {
    variable: "PULSAR_OAUTH2_AUDIENCE",
    flag: "pulsar-oauth2-audience",
    default: None,
    takes: Takes::Text,
    secret: false,
    help: "The audience that the OAuth 2.0 issuer wants to be told, if it does.",
};

static OAUTH2_SCOPE: Setting = Setting {
    variable: "PULSAR_OAUTH2_SCOPE",
    flag: "pulsar-oauth2-scope",
    default: None,
    takes: Takes::Text,
    secret: false,
    help: "The scope that the OAuth 2.0 issuer wants to be told, if it does.",
};

/// The table of this concern.
pub(super) static SETTINGS: &[&Setting] = &[
    &SERVICE_URL,
    &ADMIN_URL,
    &TOPIC,
    &SUBSCRIPTION,
    &CONSUMER_NAME,
    &TLS_TRUST_CERTS_FILE,
    &AUTH_TOKEN,
    &AUTH_TOKEN_FILE,
    &OAUTH2_ISSUER_URL,
    &OAUTH2_CREDENTIALS_FILE,
    &OAUTH2_AUDIENCE,
    &OAUTH2_SCOPE,
];

/// Where the broker is and how to join it.
#[derive(Clone, Debug)]
pub struct PulsarConfig {
    /// `pulsar://host:port` or `pulsar+ssl://host:port`.
    pub service_url: String,
    /// The admin interface's `http://host:port`.
    pub admin_url: Option<String>,
    /// `persistent://tenant/namespace/name`.
    pub topic: String,
    /// The shared subscription's name.
    pub subscription: String,
    /// This worker's name at the broker.
    pub consumer_name: String,
    /// PEM file of the authorities to trust under `pulsar+ssl://`, beside the public ones.
    pub tls_trust_certs_file: Option<PathBuf>,
    /// How the worker does.
    pub auth: PulsarAuth,
}

/// Reads this concern's settings.
pub(super) fn read(reader: &mut Reader<'_>, host_name: &str) -> PulsarConfig {
    PulsarConfig {
        service_url: reader.text(&SERVICE_URL),
        admin_url: reader.optional(&ADMIN_URL),
        topic: reader.text(&TOPIC),
        subscription: reader.text(&SUBSCRIPTION),
        consumer_name: reader.optional(&CONSUMER_NAME).unwrap_or_else(|| host_name.to_owned()),
        tls_trust_certs_file: reader.path(&TLS_TRUST_CERTS_FILE),
        auth: read_auth(reader),
    }
}

fn read_auth(reader: &mut Reader<'_>) -> PulsarAuth {
    let token = reader.secret(&AUTH_TOKEN);
    let token_file = reader.path(&AUTH_TOKEN_FILE);
    let issuer_url = reader.optional(&OAUTH2_ISSUER_URL);
    let credentials_file = reader.path(&OAUTH2_CREDENTIALS_FILE);
    let audience = reader.optional(&OAUTH2_AUDIENCE);
    let scope = reader.optional(&OAUTH2_SCOPE);

    let ways = usize::from(token.is_some())
        + usize::from(token_file.is_some())
        + usize::from(issuer_url.is_some() || credentials_file.is_some());
    let involved = [&AUTH_TOKEN, &AUTH_TOKEN_FILE, &OAUTH2_ISSUER_URL, &OAUTH2_CREDENTIALS_FILE];
    reader.rule(&involved, ways <= 1, || {
        format!(
            "{}, {} and {} are three ways to log in: give one of them",
            AUTH_TOKEN.variable, AUTH_TOKEN_FILE.variable, OAUTH2_ISSUER_URL.variable
        )
    });
    let both_or_none = issuer_url.is_some() == credentials_file.is_some();
    reader.rule(&[&OAUTH2_ISSUER_URL, &OAUTH2_CREDENTIALS_FILE], both_or_none, || {
        format!(
            "{} and {} belong together: give both or none",
            OAUTH2_ISSUER_URL.variable, OAUTH2_CREDENTIALS_FILE.variable
        )
    });

    match (token, token_file, issuer_url, credentials_file) {
        (Some(token), ..) => PulsarAuth::Token(token),
        (None, Some(file), ..) => PulsarAuth::TokenFile(file),
        (None, None, Some(issuer_url), Some(credentials_file)) => {
            PulsarAuth::OAuth2 { issuer_url, credentials_file, audience, scope }
        }
        _ => PulsarAuth::None,
    }
}
