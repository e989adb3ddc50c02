//! The optional Redis, for other services that read from it.

use super::reader::Reader;
use super::setting::{Setting, Takes};
use crate::model::Secret;

static URL: Setting = Setting {
    variable: "REDIS_URL",
    flag: "redis-url",
    default: None,
    takes: Takes::UrlWithPassword(&["redis", "rediss"]),
    secret: true,
    help: "Where Redis listens, for example redis://redis:6379/0; rediss:// is the encrypted \
           form. It may hold a password, so it is never shown.",
};

static ENABLED: Setting = Setting {
    variable: "REDIS_ENABLED",
    flag: "redis-enabled",
    default: Some("false"),
    takes: Takes::Bool,
    secret: false,
    help: "Whether sessions are told to Redis (stream:*). Nothing that is promised of the \
           streams depends on it.",
};

static PLAYLIST_ENABLED: Setting = Setting {
    variable: "REDIS_PLAYLIST_ENABLED",
    flag: "redis-playlist-enabled",
    default: Some("false"),
    takes: Takes::Bool,
    secret: false,
    help: "Whether the segments of each playlist are told to Redis as well (hls:*).",
};

/// The table of this concern.
pub(super) static SETTINGS: &[&Setting] = &[&URL, &ENABLED, &PLAYLIST_ENABLED];

/// The optional Redis.
#[derive(Clone, Debug)]
pub struct RedisConfig {
    /// Where it is, password included; given whenever it is enabled.
    pub url: Option<Secret>,
    /// Sessions are told to it.
    pub enabled: bool,
    /// Segments are told to it as well.
    pub playlist_enabled: bool,
}

/// Reads this concern's settings.
pub(super) fn read(reader: &mut Reader<'_>) -> RedisConfig {
    let config = RedisConfig {
        url: reader.secret(&URL),
        enabled: reader.bool(&ENABLED),
        playlist_enabled: reader.bool(&PLAYLIST_ENABLED),
    };
    reader.rule(&[&URL, &ENABLED], !config.enabled || config.url.is_some(), || {
        format!(
            "{} is true, which needs {}: it takes {}",
            ENABLED.variable, URL.variable, URL.takes
        )
    });
    if config.playlist_enabled && !config.enabled {
        reader.notice(format!(
            "{} has no effect while {} is false",
            PLAYLIST_ENABLED.variable, ENABLED.variable
        ));
    }
    config
}
