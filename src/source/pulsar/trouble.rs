//! What keeps the worker from the broker, put so that a person can act on it (pure).
//!
//! The client crate forgets most reasons: what was wrong with a certificate or a login is "fatal"
//! by the time it tells. So there are two sources: what it still says, and where an attempt of our
//! own ends (`probe`).

use std::io;

use pulsar::error::{
    AuthenticationError, ConnectionError, ConsumerError, ProducerError, ServiceDiscoveryError,
};
use pulsar::proto::ServerError;
use rustls::{CertificateError, Error as TlsError};

use super::PulsarError;
use super::settings::{PulsarAuth, PulsarSettings};

/// How far a connection came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// The network.
    Connect,
    /// The TLS handshake.
    Encrypt,
    /// The first words of Pulsar's protocol.
    Greet,
}

/// What a connection ended at.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Obstacle {
    /// A file that the settings name cannot be used; a sentence.
    File(String),
    /// The address has a host that is not known, in the system's words.
    Name(String),
    /// The system does not connect.
    Network(io::ErrorKind, String),
    /// No encryption comes about.
    Encryption(TlsError),
    /// Nothing comes any more.
    Silence(Step),
    /// The other side hangs up, or sends what is not of the protocol.
    HungUp(Step),
    /// The worker could not get what it logs in with.
    Login(String),
    /// The broker says no.
    Refusal(Option<ServerError>, String),
}

/// Why frames do not come from the broker. Holds no secret.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{sentence}")]
pub struct Trouble {
    /// A short static name: trouble is told again when it becomes another.
    pub reason: &'static str,
    sentence: String,
}

impl Trouble {
    fn new(reason: &'static str, sentence: impl Into<String>) -> Self {
        Self { reason, sentence: sentence.into() }
    }

    /// What was said, where nothing more is known.
    pub(super) fn said(error: &PulsarError) -> Self {
        Self::new("broker", error.to_string())
    }

    /// Nothing was said so far, and nothing is wrong as far as can be seen.
    pub(super) fn no_answer(at: &str) -> Self {
        Self::new(
            "no_answer",
            format!(
                "the broker at {at} does not answer: it is busy or hangs, or the network between \
                 loses what is sent"
            ),
        )
    }

    /// What a connection to `at` ended at, and what to do.
    pub(super) fn met(obstacle: &Obstacle, at: &str, settings: &PulsarSettings) -> Self {
        match obstacle {
            Obstacle::File(sentence) => Self::new("file", sentence.clone()),
            Obstacle::Name(said) => Self::new(
                "unknown_host",
                format!(
                    "the host of {at} is not known here ({said}): correct PULSAR_SERVICE_URL, or \
                     look at the name service"
                ),
            ),
            Obstacle::Network(io::ErrorKind::ConnectionRefused, said) => Self::new(
                "connection_refused",
                format!(
                    "nothing listens at {at} ({said}): start the broker, or correct \
                     PULSAR_SERVICE_URL"
                ),
            ),
            Obstacle::Network(_, said) => Self::new(
                "network",
                format!(
                    "{at} cannot be reached ({said}): look at the network between, and at \
                     PULSAR_SERVICE_URL"
                ),
            ),
            Obstacle::Silence(Step::Connect) => Self::new(
                "no_answer",
                format!(
                    "{at} does not answer: look at the network and at firewalls between, and at \
                     PULSAR_SERVICE_URL"
                ),
            ),
            Obstacle::Encryption(error) => Self::unencrypted(error, at, settings),
            Obstacle::Silence(Step::Encrypt) | Obstacle::HungUp(Step::Encrypt) => Self::no_tls(at),
            Obstacle::Silence(Step::Greet) | Obstacle::HungUp(_) => {
                let hint = match is_encrypted(at) {
                    true => "",
                    false => {
                        ", or this is a broker's encrypted port, for which pulsar+ssl:// is the \
                         form of PULSAR_SERVICE_URL"
                    }
                };
                Self::new(
                    "not_pulsar",
                    format!(
                        "what listens at {at} does not answer as a broker does: it is not one, it \
                         is not ready{hint}"
                    ),
                )
            }
            Obstacle::Login(said) => {
                Self::new("login", format!("the worker has nothing to log in with at {at}: {said}"))
            }
            Obstacle::Refusal(code, said) => Self::refused(*code, said, at, settings),
        }
    }

    fn no_tls(at: &str) -> Self {
        Self::new(
            "no_tls",
            format!(
                "what listens at {at} does not speak TLS: pulsar:// is the form of \
                 PULSAR_SERVICE_URL without encryption; a broker's encrypted port is mostly 6651"
            ),
        )
    }

    fn unencrypted(error: &TlsError, at: &str, settings: &PulsarSettings) -> Self {
        use CertificateError as Bad;
        let bad = match error {
            TlsError::InvalidMessage(_) => return Self::no_tls(at),
            TlsError::InvalidCertificate(bad) => bad,
            _ => {
                return Self::new(
                    "tls",
                    format!(
                        "no encrypted connection to {at} ({error}): look at what the broker's TLS \
                         takes; this worker speaks TLS 1.2 and 1.3, and shows no certificate of \
                         its own"
                    ),
                );
            }
        };
        match bad {
            Bad::UnknownIssuer | Bad::BadSignature => {
                let remedy = match &settings.tls.trust_certs_file {
                    Some(path) => format!(
                        "no authority in the file of PULSAR_TLS_TRUST_CERTS_FILE, {}, has made \
                         it; put the certificate (PEM) of the one that has in there",
                        path.display()
                    ),
                    None => "name the file of its authority's certificate (PEM) in \
                             PULSAR_TLS_TRUST_CERTS_FILE"
                        .into(),
                };
                Self::new(
                    "untrusted_certificate",
                    format!("the certificate of {at} is not trusted ({error}): {remedy}"),
                )
            }
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => Self::new(
                "wrong_name",
                format!(
                    "the certificate of {at} is made for another name ({error}): let \
                     PULSAR_SERVICE_URL, and what the broker advertises, use a name that it has, \
                     or give the broker one with this name"
                ),
            ),
            Bad::Expired
            | Bad::ExpiredContext { .. }
            | Bad::NotValidYet
            | Bad::NotValidYetContext { .. } => Self::new(
                "expired_certificate",
                format!(
                    "the certificate of {at} is not valid now ({error}): renew it, or set this \
                     machine's clock right"
                ),
            ),
            _ => Self::new(
                "bad_certificate",
                format!(
                    "the certificate of {at} cannot be accepted ({error}): give the broker one \
                     that an authority made for a server; its own is trusted by \
                     PULSAR_TLS_TRUST_CERTS_FILE"
                ),
            ),
        }
    }

    fn refused(code: Option<ServerError>, said: &str, at: &str, settings: &PulsarSettings) -> Self {
        let topic = &settings.topic;
        match code {
            Some(ServerError::AuthenticationError) => {
                let remedy = match &settings.auth {
                    PulsarAuth::None => "set PULSAR_AUTH_TOKEN_FILE, or what else it takes",
                    PulsarAuth::Token(_) => "PULSAR_AUTH_TOKEN has to be a token that it takes",
                    PulsarAuth::TokenFile(_) => {
                        "the file of PULSAR_AUTH_TOKEN_FILE has to hold a token that it takes"
                    }
                    PulsarAuth::OAuth2 { .. } => {
                        "look at the PULSAR_OAUTH2_ settings, and at what it takes"
                    }
                };
                Self::new(
                    "login",
                    format!("the broker at {at} does not let the worker in ({said}): {remedy}"),
                )
            }
            Some(ServerError::AuthorizationError) => Self::new(
                "permission",
                format!(
                    "the broker at {at} lets the worker in, and does not let it use {topic} \
                     ({said}): grant its role `consume`, and `produce` for the dead-letter topic"
                ),
            ),
            Some(ServerError::TopicNotFound) => Self::new(
                "no_topic",
                format!(
                    "the broker at {at} does not know {topic} ({said}): create it, or correct \
                     PULSAR_TOPIC"
                ),
            ),
            Some(ServerError::ServiceNotReady | ServerError::MetadataError) => Self::new(
                "not_ready",
                format!(
                    "the broker at {at} is not ready for {topic} ({said}): it may be starting; \
                     where it stays so, its log says why"
                ),
            ),
            _ => Self::new("refused", format!("the broker at {at} refuses {topic}: {said}")),
        }
    }
}

/// The reason, where the crate has kept it.
pub(super) fn kept_reason(error: &PulsarError) -> Option<Obstacle> {
    let PulsarError::Client { source, .. } = error else { return None };
    match &**source {
        pulsar::Error::Connection(error)
        | pulsar::Error::Consumer(ConsumerError::Connection(error))
        | pulsar::Error::Producer(ProducerError::Connection(error))
        | pulsar::Error::ServiceDiscovery(ServiceDiscoveryError::Connection(error)) => {
            reason_of_connection(error)
        }
        pulsar::Error::ServiceDiscovery(ServiceDiscoveryError::Query(code, said)) => {
            Some(refusal(*code, said.as_deref()))
        }
        pulsar::Error::Authentication(error) => Some(login(error)),
        _ => None,
    }
}

fn reason_of_connection(error: &ConnectionError) -> Option<Obstacle> {
    match error {
        ConnectionError::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            Some(Obstacle::Network(error.kind(), error.to_string()))
        }
        ConnectionError::PulsarError(code, said) => Some(refusal(*code, said.as_deref())),
        ConnectionError::Authentication(error) => Some(login(error)),
        _ => None,
    }
}

fn login(error: &AuthenticationError) -> Obstacle {
    Obstacle::Login(error.to_string())
}

/// What a broker says when it says no, at times nothing.
pub(super) fn refusal(code: Option<ServerError>, said: Option<&str>) -> Obstacle {
    let code_name = || code.map_or("without a word", |code| code.as_str_name());
    let said = said.filter(|said| !said.is_empty()).unwrap_or_else(code_name);
    Obstacle::Refusal(code, said.to_owned())
}

fn is_encrypted(url: &str) -> bool {
    url.starts_with("pulsar+ssl:")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::model::Secret;

    const AT: &str = "pulsar+ssl://broker:6651";

    fn settings() -> PulsarSettings {
        PulsarSettings::new(AT, "persistent://a/b/c", "sub", "worker-1")
    }

    fn bad(error: CertificateError) -> Obstacle {
        Obstacle::Encryption(TlsError::InvalidCertificate(error))
    }

    #[test]
    fn each_obstacle_has_a_reason_a_place_and_a_remedy() {
        let refused = io::ErrorKind::ConnectionRefused;
        let (name, file) = ("PULSAR_SERVICE_URL", "PULSAR_TLS_TRUST_CERTS_FILE");
        let cases = [
            (Obstacle::Name("no such".into()), "unknown_host", name),
            (Obstacle::Network(refused, "refused".into()), "connection_refused", name),
            (Obstacle::Network(io::ErrorKind::Other, "lost".into()), "network", name),
            (Obstacle::Silence(Step::Connect), "no_answer", "firewalls"),
            (Obstacle::Silence(Step::Encrypt), "no_tls", "pulsar://"),
            (Obstacle::HungUp(Step::Encrypt), "no_tls", "pulsar://"),
            (Obstacle::HungUp(Step::Greet), "not_pulsar", "not answer as a broker"),
            (bad(CertificateError::UnknownIssuer), "untrusted_certificate", file),
            (bad(CertificateError::NotValidForName), "wrong_name", name),
            (bad(CertificateError::Expired), "expired_certificate", "clock"),
            (bad(CertificateError::InvalidPurpose), "bad_certificate", file),
            (Obstacle::Encryption(TlsError::DecryptError), "tls", "TLS 1.2"),
            (Obstacle::Login("no file".into()), "login", "no file"),
            (refusal(Some(ServerError::AuthenticationError), None), "login", "PULSAR_AUTH_TOKEN"),
            (refusal(Some(ServerError::AuthorizationError), None), "permission", "consume"),
            (refusal(Some(ServerError::TopicNotFound), None), "no_topic", "PULSAR_TOPIC"),
            (refusal(Some(ServerError::ServiceNotReady), None), "not_ready", "starting"),
            (refusal(None, None), "refused", "without a word"),
        ];
        for (obstacle, reason, remedy) in cases {
            let trouble = Trouble::met(&obstacle, AT, &settings());
            assert_eq!(trouble.reason, reason, "{trouble}");
            let said = trouble.to_string();
            assert!(said.contains(AT), "{said}");
            assert!(said.contains(remedy), "{said}");
        }
    }

    #[test]
    fn the_remedy_is_of_the_settings_that_there_are() {
        let mut settings = settings();
        settings.tls.trust_certs_file = Some(PathBuf::from("/etc/our.pem"));
        let untrusted = bad(CertificateError::UnknownIssuer);
        let said = Trouble::met(&untrusted, AT, &settings).to_string();
        assert!(said.contains("/etc/our.pem"), "{said}");

        settings.auth = PulsarAuth::Token(Secret::new("hunter2"));
        let refused = refusal(Some(ServerError::AuthenticationError), Some("bad token"));
        let said = Trouble::met(&refused, AT, &settings).to_string();
        assert!(said.contains("bad token") && said.contains("PULSAR_AUTH_TOKEN has"), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }

    #[test]
    fn a_plain_address_may_be_a_broker_s_encrypted_port() {
        let silent = Obstacle::Silence(Step::Greet);
        let said = Trouble::met(&silent, "pulsar://broker:6651", &settings()).to_string();
        assert!(said.contains("pulsar+ssl:// is the form"), "{said}");
        let said = Trouble::met(&silent, AT, &settings()).to_string();
        assert!(!said.contains("pulsar+ssl:// is the form"), "{said}");
    }

    #[test]
    fn what_the_crate_keeps_is_taken_and_what_it_forgets_is_not_guessed() {
        let of = |source| {
            let source = Box::new(source);
            kept_reason(&PulsarError::Client { what: "open a consumer", source })
        };
        let io = |kind| ConnectionError::Io(io::Error::from(kind));
        assert!(matches!(
            of(io(io::ErrorKind::ConnectionRefused).into()),
            Some(Obstacle::Network(..))
        ));
        assert_eq!(of(io(io::ErrorKind::Other).into()), None);
        assert_eq!(of(ConnectionError::NotFound.into()), None);
        let query = ServiceDiscoveryError::Query(
            Some(ServerError::AuthorizationError),
            Some("not yours".into()),
        );
        assert_eq!(
            of(query.into()),
            Some(Obstacle::Refusal(Some(ServerError::AuthorizationError), "not yours".into()))
        );
        assert_eq!(kept_reason(&PulsarError::StreamEnded), None);
    }
}
