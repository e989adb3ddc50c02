//! What a Pulsar source needs to know, checked. Secrets never show in `Debug`.

use std::path::PathBuf;
use std::time::Duration;

use crate::model::Secret;

/// How the worker proves who it is.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum PulsarAuth {
    /// Not at all.
    #[default]
    None,
    /// A token (JWT), as given.
    Token(Secret),
    /// A token in a file, read anew for every connection, so that it can be rotated.
    TokenFile(PathBuf),
    /// OAuth 2 client credentials.
    OAuth2 {
        /// The issuer, from which the token endpoint is discovered.
        issuer_url: String,
        /// The JSON file with `client_id` and `client_secret`: an absolute path.
        credentials_file: PathBuf,
        /// The audience to ask for.
        audience: Option<String>,
        /// The scope to ask for.
        scope: Option<String>,
    },
}

/// How the broker proves who it is; used with a `pulsar+ssl` address. The certificate's chain
/// and host name are always verified: the client has no way to skip it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct PulsarTls {
    /// PEM file of the authorities to trust beside the public ones.
    pub trust_certs_file: Option<PathBuf>,
}

/// How long things may take, and how often they are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PulsarTimings {
    /// One question to the broker.
    pub operation_timeout: Duration,
    /// Opening a consumer or a producer, with everything that belongs to it.
    pub open_timeout: Duration,
    /// The first pause before a connection is built again; doubles up to the longest.
    pub backoff_min: Duration,
    /// The longest pause before a connection is built again.
    pub backoff_max: Duration,
    /// How often each consumer is asked whether the broker still knows it.
    pub watchdog_interval: Duration,
    /// How often the number of partitions is asked for.
    pub partition_poll_interval: Duration,
    /// How long closing may take in all.
    pub close_timeout: Duration,
}

impl Default for PulsarTimings {
    fn default() -> Self {
        Self {
            operation_timeout: Duration::from_secs(10),
            open_timeout: Duration::from_secs(30),
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(5),
            watchdog_interval: Duration::from_secs(15),
            partition_poll_interval: Duration::from_secs(30),
            close_timeout: Duration::from_secs(10),
        }
    }
}

/// How much a lane keeps for the pipeline to take; what comes beyond is left with the broker
/// and asked for again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PulsarLimits {
    /// Messages that wait in one lane.
    pub lane_messages: usize,
    /// Payload bytes that wait in one lane; one message may always wait, however large.
    pub lane_bytes: usize,
    /// What the broker takes as one message at most (its `maxMessageSize`): a larger message
    /// is parked in part.
    pub max_message_bytes: usize,
}

impl Default for PulsarLimits {
    fn default() -> Self {
        Self {
            lane_messages: 1_000,
            lane_bytes: 8 * 1024 * 1024,
            max_message_bytes: 5 * 1024 * 1024,
        }
    }
}

/// Everything that a Pulsar source is opened with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PulsarSettings {
    /// `pulsar://host:6650` or `pulsar+ssl://host:6651`.
    pub service_url: String,
    /// The admin API, `http://host:8080`; without it there are no warnings and no backlog.
    pub admin_url: Option<String>,
    /// The topic in full: `persistent://tenant/namespace/name`.
    pub topic: String,
    /// The durable Key_Shared subscription.
    pub subscription: String,
    /// This worker's name at the broker, unique per worker.
    pub consumer_name: String,
    /// How the worker proves who it is.
    pub auth: PulsarAuth,
    /// How the broker does.
    pub tls: PulsarTls,
    /// How long things may take.
    pub timings: PulsarTimings,
    /// How much is kept.
    pub limits: PulsarLimits,
}

/// What is wrong with the settings of a Pulsar source.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PulsarSettingsError {
    /// Neither scheme, or no host.
    #[error("the Pulsar service URL {0:?} is not pulsar://host:port or pulsar+ssl://host:port")]
    ServiceUrl(String),
    /// Not HTTP.
    #[error("the Pulsar admin URL {0:?} is not http://host:port or https://host:port")]
    AdminUrl(String),
    /// Not a persistent topic's full name.
    #[error("the Pulsar topic {0:?} is not persistent://tenant/namespace/name")]
    Topic(String),
    /// A name that cannot be one.
    #[error("the Pulsar {what} {value:?} is empty or holds '/' or a control character")]
    Name {
        /// Which name.
        what: &'static str,
        /// What was given.
        value: String,
    },
    /// A limit of zero, or too small to park anything.
    #[error("{what} is {given}, and must be at least {least}")]
    TooSmall {
        /// Which limit.
        what: &'static str,
        /// What was given.
        given: usize,
        /// What it takes.
        least: usize,
    },
    /// A duration of zero, or a longest pause below the first.
    #[error("{0} must be longer than zero, and a longest pause no shorter than the first")]
    Timing(&'static str),
    /// The OAuth 2 credentials must be found from any working directory.
    #[error("the OAuth 2 credentials file {0:?} is not an absolute path")]
    CredentialsFile(PathBuf),
    /// The OAuth 2 issuer cannot be asked.
    #[error("the OAuth 2 issuer {0:?} is not an http:// or https:// URL")]
    Issuer(String),
}

/// The least that a broker may take as one message for a refused one to be parked at all.
const LEAST_MESSAGE_BYTES: usize = 64 * 1024;

impl PulsarSettings {
    /// Settings with everything but the names left at its default.
    pub fn new(
        service_url: impl Into<String>,
        topic: impl Into<String>,
        subscription: impl Into<String>,
        consumer_name: impl Into<String>,
    ) -> Self {
        Self {
            service_url: service_url.into(),
            admin_url: None,
            topic: topic.into(),
            subscription: subscription.into(),
            consumer_name: consumer_name.into(),
            auth: PulsarAuth::default(),
            tls: PulsarTls::default(),
            timings: PulsarTimings::default(),
            limits: PulsarLimits::default(),
        }
    }

    /// # Errors
    /// The first thing that is wrong with them.
    pub fn validate(&self) -> Result<(), PulsarSettingsError> {
        let host = self
            .service_url
            .strip_prefix("pulsar://")
            .or_else(|| self.service_url.strip_prefix("pulsar+ssl://"));
        // User information in an address would reach logs, and the broker ignores it.
        if !host.is_some_and(|host| is_host(host) && !host.contains('@')) {
            return Err(PulsarSettingsError::ServiceUrl(without_user(&self.service_url)));
        }
        if let Some(url) = &self.admin_url
            && (!is_http(url) || url.contains('@'))
        {
            return Err(PulsarSettingsError::AdminUrl(without_user(url)));
        }
        if self.topic_parts().is_none() {
            return Err(PulsarSettingsError::Topic(self.topic.clone()));
        }
        for (what, value) in
            [("subscription", &self.subscription), ("consumer name", &self.consumer_name)]
        {
            if value.is_empty() || value.contains(|c: char| c == '/' || c.is_control()) {
                return Err(PulsarSettingsError::Name { what, value: value.clone() });
            }
        }
        if let PulsarAuth::OAuth2 { issuer_url, credentials_file, .. } = &self.auth {
            if !is_http(issuer_url) {
                return Err(PulsarSettingsError::Issuer(without_user(issuer_url)));
            }
            if !credentials_file.is_absolute() {
                return Err(PulsarSettingsError::CredentialsFile(credentials_file.clone()));
            }
        }
        self.validate_amounts()
    }

    fn validate_amounts(&self) -> Result<(), PulsarSettingsError> {
        let limits = &self.limits;
        for (what, given, least) in [
            ("messages kept per lane", limits.lane_messages, 1),
            ("bytes kept per lane", limits.lane_bytes, 1),
            (
                "the broker's largest message in bytes",
                limits.max_message_bytes,
                LEAST_MESSAGE_BYTES,
            ),
        ] {
            if given < least {
                return Err(PulsarSettingsError::TooSmall { what, given, least });
            }
        }
        let timings = &self.timings;
        for (what, given) in [
            ("the operation timeout", timings.operation_timeout),
            ("the open timeout", timings.open_timeout),
            ("the first pause", timings.backoff_min),
            ("the watchdog interval", timings.watchdog_interval),
            ("the partition poll interval", timings.partition_poll_interval),
            ("the close timeout", timings.close_timeout),
        ] {
            if given.is_zero() {
                return Err(PulsarSettingsError::Timing(what));
            }
        }
        if timings.backoff_max < timings.backoff_min {
            return Err(PulsarSettingsError::Timing("the longest pause"));
        }
        Ok(())
    }

    /// Tenant, namespace and name of the topic.
    pub(crate) fn topic_parts(&self) -> Option<[&str; 3]> {
        let mut parts = self.topic.strip_prefix("persistent://")?.split('/');
        let parts = [parts.next()?, parts.next()?, parts.next()?, parts.next().unwrap_or_default()];
        let [tenant, namespace, name, rest] = parts;
        let is_name =
            |part: &str| !part.is_empty() && !part.contains(|c: char| c.is_control() || c == ' ');
        (rest.is_empty() && [tenant, namespace, name].into_iter().all(is_name))
            .then_some([tenant, namespace, name])
    }

    /// Where refused messages go: `{topic}-{subscription}-DLQ`, one topic for all partitions.
    pub fn dead_letter_topic(&self) -> String {
        let topic = match self.topic.rsplit_once("-partition-") {
            Some((whole, number)) if number.parse::<u32>().is_ok() => whole,
            _ => &self.topic,
        };
        format!("{topic}-{}-DLQ", self.subscription)
    }
}

fn is_host(rest: &str) -> bool {
    !rest.is_empty() && !rest.starts_with([':', '/']) && !rest.contains(char::is_whitespace)
}

fn is_http(url: &str) -> bool {
    url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")).is_some_and(is_host)
}

/// An address as it may be shown: whoever put a password into it finds it left out.
fn without_user(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => {
            let (head, tail) = (url.get(..scheme + 3), url.get(at..));
            format!("{}…{}", head.unwrap_or_default(), tail.unwrap_or_default())
        }
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> PulsarSettings {
        PulsarSettings::new("pulsar://localhost:6650", "persistent://a/b/c", "sub", "worker-1")
    }

    #[test]
    fn each_bad_setting_is_named() {
        assert_eq!(good().validate(), Ok(()));
        type Break = fn(&mut PulsarSettings);
        let cases: [(&str, Break); 10] = [
            ("service URL", |s| s.service_url = "http://localhost:6650".into()),
            ("service URL", |s| s.service_url = "pulsar://:6650".into()),
            ("admin URL", |s| s.admin_url = Some("localhost:8080".into())),
            ("topic", |s| s.topic = "c".into()),
            ("topic", |s| s.topic = "persistent://a/b/c/d".into()),
            ("topic", |s| s.topic = "non-persistent://a/b/c".into()),
            ("subscription", |s| s.subscription = "a/b".into()),
            ("consumer name", |s| s.consumer_name = String::new()),
            ("kept per lane", |s| s.limits.lane_messages = 0),
            ("longest pause", |s| s.timings.backoff_max = Duration::from_millis(1)),
        ];
        for (word, break_it) in cases {
            let mut settings = good();
            break_it(&mut settings);
            let error = settings.validate().expect_err(word).to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn secrets_do_not_show() {
        let mut settings = good();
        settings.auth = PulsarAuth::Token(Secret::new("hunter2"));
        assert!(!format!("{settings:?}").contains("hunter2"));
        settings.service_url = "pulsar://me:hunter2@localhost".into();
        let error = settings.validate().expect_err("user information is refused");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn partitions_share_one_dead_letter_topic() {
        let mut settings = good();
        assert_eq!(settings.dead_letter_topic(), "persistent://a/b/c-sub-DLQ");
        settings.topic = "persistent://a/b/c-partition-12".into();
        assert_eq!(settings.dead_letter_topic(), "persistent://a/b/c-sub-DLQ");
        settings.topic = "persistent://a/b/c-partition-x".into();
        assert_eq!(settings.dead_letter_topic(), "persistent://a/b/c-partition-x-sub-DLQ");
    }
}
