//! What keeps Redis from being told, put so that a person can act on it (pure).

use redis::{ErrorKind, RedisError};

use crate::model::causes;

/// Every reason there is: a metric's label.
pub const REASONS: [&str; 10] = [
    "connection",
    "timeout",
    "tls",
    "auth",
    "permission",
    "full",
    "read_only",
    "not_ready",
    "not_redis",
    "refused",
];

/// Why Redis cannot be told. Holds no password.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{sentence}")]
pub struct RedisTrouble {
    /// One of [`REASONS`].
    pub reason: &'static str,
    sentence: String,
}

impl RedisTrouble {
    pub(super) fn new(reason: &'static str, sentence: impl Into<String>) -> Self {
        Self { reason, sentence: sentence.into() }
    }

    /// No connection came about, nor an error.
    pub(super) fn no_connection_in_time(encrypted: bool) -> Self {
        // A server that expects no encryption waits for the end of what it takes for a command.
        let hint = match encrypted {
            true => "; redis:// is the form of REDIS_URL for a Redis without encryption",
            false => "",
        };
        Self::new("timeout", format!("Redis does not let us in in time{hint}"))
    }

    /// What was said to the first question that was asked on a connection.
    pub(super) fn of_first_answer(error: &RedisError) -> Self {
        // The client says no more of an answer that it cannot read.
        match error.is_connection_dropped() {
            true => Self::new(
                "not_redis",
                "what listens at REDIS_URL hangs up when it is spoken to: it is not Redis, or one \
                 that wants rediss://",
            ),
            false => Self::of(error),
        }
    }

    /// What the client or the server said.
    pub(super) fn of(error: &RedisError) -> Self {
        let errors = error.clone().into_server_errors();
        if let Some((_, said)) = errors.as_ref().and_then(|errors| errors.first()) {
            return Self::said(said.code(), said.details());
        }
        if let Some(code) = error.code() {
            return Self::said(code, error.detail());
        }
        let all = causes(error);
        match error.kind() {
            ErrorKind::AuthenticationFailed => {
                Self::new("auth", "Redis refuses the user or the password of REDIS_URL")
            }
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => {
                Self::new("not_redis", format!("what answers at REDIS_URL is not Redis: {all}"))
            }
            _ if error.is_timeout() => Self::new("timeout", "Redis does not answer in time"),
            _ if ["certificate", "corrupt message", "TLS"].iter().any(|w| all.contains(w)) => {
                Self::new(
                    "tls",
                    format!(
                        "no encrypted connection to Redis: {all}; a certificate of your own is \
                         trusted when SSL_CERT_FILE names its authority's file, and redis:// is \
                         the form of REDIS_URL for a Redis without encryption"
                    ),
                )
            }
            _ => Self::new("connection", format!("Redis cannot be reached: {all}")),
        }
    }

    /// What the server said: the first word of its answer is a code.
    fn said(code: &str, details: Option<&str>) -> Self {
        let said = format!("{code} {}", details.unwrap_or_default());
        let said = said.trim_end();
        match code {
            "NOAUTH" | "WRONGPASS" => Self::new(
                "auth",
                format!("Redis wants another user or password than REDIS_URL has: {said}"),
            ),
            "NOPERM" => Self::new(
                "permission",
                format!("the user of REDIS_URL may not do what is needed: {said}"),
            ),
            "OOM" => Self::new("full", format!("Redis has no memory left: {said}")),
            "READONLY" => Self::new("read_only", format!("this Redis is a copy: {said}")),
            "LOADING" | "MASTERDOWN" | "TRYAGAIN" | "CLUSTERDOWN" | "BUSY" => {
                Self::new("not_ready", format!("Redis is not ready: {said}"))
            }
            "MOVED" | "ASK" | "CROSSSLOT" => Self::new(
                "refused",
                format!(
                    "this is a Redis Cluster, which cannot change the keys of a device at once; \
                     REDIS_URL takes a single Redis: {said}"
                ),
            ),
            _ => Self::new("refused", format!("Redis refuses: {said}")),
        }
    }
}
