//! What a setting is: its names, its default, what it takes and the words that teach it.
//! Owns the shapes of values (pure); never reads a source.

use std::fmt;
use std::net::IpAddr;

use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use tracing_subscriber::EnvFilter;
use url::Url;

/// The most characters of a time that a pattern may make.
const MAX_TIME_CHARS: usize = 60;

/// The longest name of a subscription or consumer in bytes that is taken.
const MAX_NAME_BYTES: usize = 255;

/// One setting. The tables of these are the only place where a setting is described: flags,
/// help, documentation and the list of known names are made from them.
#[derive(Debug)]
pub struct Setting {
    /// The environment variable.
    pub variable: &'static str,
    /// The same as a flag, without the two dashes.
    pub flag: &'static str,
    /// What holds when nothing is given; none when there is nothing to assume.
    pub default: Option<&'static str>,
    /// Which values it takes.
    pub takes: Takes,
    /// Whether its value is never shown.
    pub secret: bool,
    /// What it is, in which unit, when to change it.
    pub help: &'static str,
}

/// Which values a setting takes.
#[derive(Debug)]
pub enum Takes {
    /// A whole number.
    Integer {
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
    },
    /// Yes or no.
    Bool,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A URL with one of these schemes, without user and password: it may be shown.
    Url(&'static [&'static str]),
    /// The same, and it may hold a password.
    UrlWithPassword(&'static [&'static str]),
    /// A Pulsar topic.
    Topic,
    /// A name without spaces or slashes.
    Name,
    /// Any text of one line.
    Text,
    /// The path of a file.
    File,
    /// The path of a folder.
    Folder,
    /// An IP address.
    Address,
    /// A level or filter expression of the log.
    LogFilter,
    /// A strftime pattern.
    TimeFormat,
    /// The name of a time zone, or this word.
    TimeZoneOr(&'static str),
}

impl Takes {
    /// Whether `text` is such a value.
    pub fn accepts(&self, text: &str) -> bool {
        match self {
            Self::Integer { .. } => self.integer(text).is_some(),
            Self::Bool => parse_bool(text).is_some(),
            Self::OneOf(words) => words.iter().any(|word| word.eq_ignore_ascii_case(text)),
            Self::Url(schemes) => parse_url(text, schemes)
                .is_some_and(|url| url.username().is_empty() && url.password().is_none()),
            Self::UrlWithPassword(schemes) => parse_url(text, schemes).is_some(),
            Self::Topic => is_topic(text),
            Self::Name => {
                text.len() <= MAX_NAME_BYTES
                    && text.chars().all(|c| !c.is_whitespace() && !c.is_control() && c != '/')
            }
            Self::Text | Self::File | Self::Folder => !text.chars().any(char::is_control),
            Self::Address => text.parse::<IpAddr>().is_ok(),
            Self::LogFilter => is_log_filter(text),
            Self::TimeFormat => is_time_format(text),
            Self::TimeZoneOr(word) => text.eq_ignore_ascii_case(word) || time_zone(text).is_some(),
        }
    }

    /// `text` as a whole number within the bounds.
    pub fn integer(&self, text: &str) -> Option<u64> {
        let Self::Integer { min, max } = self else { return None };
        text.parse().ok().filter(|number| (min..=max).contains(&number))
    }

    /// What stands for the value in a usage line.
    pub fn placeholder(&self) -> &'static str {
        match self {
            Self::Integer { .. } => "N",
            Self::Bool => "true|false",
            Self::OneOf(_) => "WORD",
            Self::Url(_) | Self::UrlWithPassword(_) => "URL",
            Self::Topic => "TOPIC",
            Self::Name => "NAME",
            Self::Text => "TEXT",
            Self::File => "FILE",
            Self::Folder => "FOLDER",
            Self::Address => "ADDRESS",
            Self::LogFilter => "LEVEL",
            Self::TimeFormat => "PATTERN",
            Self::TimeZoneOr(_) => "ZONE",
        }
    }
}

/// Completes the sentence "it takes …".
impl fmt::Display for Takes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer { min, max } => write!(f, "a whole number from {min} to {max}"),
            Self::Bool => f.write_str("true or false"),
            Self::OneOf(words) => write!(f, "one of {}", words.join(", ")),
            Self::Url(schemes) => write!(
                f,
                "a URL that starts with {}://, without user and password",
                schemes.join(":// or ")
            ),
            Self::UrlWithPassword(schemes) => {
                write!(f, "a URL that starts with {}://", schemes.join(":// or "))
            }
            Self::Topic => f.write_str("a topic such as persistent://tenant/namespace/name"),
            Self::Name => {
                write!(f, "a name of at most {MAX_NAME_BYTES} bytes without spaces and slashes")
            }
            Self::Text => f.write_str("a text of one line"),
            Self::File => f.write_str("the path of a file"),
            Self::Folder => f.write_str("the path of a folder"),
            Self::Address => f.write_str("an IP address such as 0.0.0.0 or ::1"),
            Self::LogFilter => f.write_str(
                "OFF, ERROR, WARN, INFO, DEBUG, TRACE or a filter such as \
                 info,stream_processor::store=debug",
            ),
            Self::TimeFormat => write!(
                f,
                "a strftime pattern such as %Y-%m-%d %H:%M:%S, for a text of at most \
                 {MAX_TIME_CHARS} characters"
            ),
            Self::TimeZoneOr(word) => {
                write!(f, "a time zone such as UTC or America/Santiago, or {word}")
            }
        }
    }
}

/// Yes or no, in the words that people and charts use.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// `text` as a URL of one of `schemes`. The parser drops line breaks silently; the text is
/// what is used later, so they are refused here.
fn parse_url(text: &str, schemes: &[&str]) -> Option<Url> {
    let url = Url::parse(text).ok().filter(|_| !text.chars().any(char::is_control))?;
    (schemes.contains(&url.scheme()) && url.has_host()).then_some(url)
}

/// Only persistent topics: what a broker does not store it cannot deliver again.
fn is_topic(text: &str) -> bool {
    text.strip_prefix("persistent://").is_some_and(|path| {
        let parts: Vec<&str> = path.split('/').collect();
        parts.len() == 3
            && parts
                .iter()
                .all(|p| !p.is_empty() && !p.chars().any(|c| c.is_whitespace() || c.is_control()))
    })
}

/// A bare word must be a level: `EnvFilter` takes any other word for the name of a module, so
/// that a mistyped level would silence the log without a sound.
fn is_log_filter(text: &str) -> bool {
    let fields = text.contains(['[', '{']);
    let bare_words_are_levels = text
        .split(',')
        .filter(|directive| !directive.contains('='))
        .all(|word| log_level(word.trim()).is_some());
    (fields || bare_words_are_levels)
        && (log_level(text).is_some() || EnvFilter::try_new(text).is_ok())
}

/// The level that `text` alone names, as `tracing` spells it; other loggers' words for the
/// same levels too.
pub fn log_level(text: &str) -> Option<&'static str> {
    Some(match text.to_ascii_lowercase().as_str() {
        "off" => "off",
        "error" | "critical" | "fatal" => "error",
        "warn" | "warning" => "warn",
        "info" => "info",
        "debug" => "debug",
        "trace" => "trace",
        _ => return None,
    })
}

fn is_time_format(text: &str) -> bool {
    let example = Timestamp::UNIX_EPOCH.to_zoned_datetime(TimeZone::UTC);
    !text.chars().any(char::is_control)
        && strtime::format(text, &example).is_ok_and(|time| time.chars().count() <= MAX_TIME_CHARS)
}

/// The time zone of that name, by the machine's database or, where it has none or does not
/// know the name, by the one that is built in.
pub fn time_zone(name: &str) -> Option<TimeZone> {
    // The machine's database is a folder: only what can be a name is looked for in it.
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "/_+-".contains(c));
    let find = || TimeZone::get(name).or_else(|_| TimeZoneDatabase::bundled().get(name)).ok();
    is_name.then(find).flatten().filter(|zone| !zone.is_unknown())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_level_is_not_taken_for_the_name_of_a_module() {
        for good in ["INFO", "warning", "off", "info,stream_processor=debug", "a[b{c=1}]=trace"] {
            assert!(Takes::LogFilter.accepts(good), "{good}");
        }
        for bad in ["INFOO", "debig", "info,loud", "info,stream_processor=loud"] {
            assert!(!Takes::LogFilter.accepts(bad), "{bad}");
        }
    }

    #[test]
    fn a_topic_that_a_broker_does_not_store_is_refused() {
        assert!(Takes::Topic.accepts("persistent://streamhub/stream/frames"));
        for bad in ["non-persistent://a/b/c", "frames", "persistent://a/b", "persistent://a//c"] {
            assert!(!Takes::Topic.accepts(bad), "{bad}");
        }
    }

    #[test]
    fn the_bounds_of_a_number_belong_to_it() {
        let takes = Takes::Integer { min: 2, max: 30 };
        assert_eq!(takes.integer("2"), Some(2));
        assert_eq!(takes.integer("30"), Some(30));
        for bad in ["1", "31", "-2", "2.5", "two", "99999999999999999999"] {
            assert_eq!(takes.integer(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_time_pattern_with_an_unknown_field_is_refused() {
        assert!(Takes::TimeFormat.accepts("%Y-%m-%d %H:%M:%S"));
        assert!(!Takes::TimeFormat.accepts("%Y-%!"));
    }

    #[test]
    fn a_time_pattern_for_an_endless_text_is_refused() {
        assert!(Takes::TimeFormat.accepts("Taken on %A, the %e of %B %Y, at %H:%M:%S"));
        assert!(!Takes::TimeFormat.accepts(&"%H:%M:%S ".repeat(8)));
    }

    #[test]
    fn only_a_time_zone_that_there_is_can_be_set() {
        let takes = Takes::TimeZoneOr("frame");
        for good in ["UTC", "America/Santiago", "europe/berlin", "Etc/GMT+3", "frame", "Frame"] {
            assert!(takes.accepts(good), "{good}");
        }
        for bad in [
            "America/Atlantis",
            "CST6CDT7",
            "+03:00",
            "../etc/passwd",
            "/etc/passwd",
            "Etc/Unknown",
        ] {
            assert!(!takes.accepts(bad), "{bad}");
        }
    }

    #[test]
    fn a_url_needs_the_right_scheme_and_a_host() {
        let takes = Takes::Url(&["pulsar", "pulsar+ssl"]);
        assert!(takes.accepts("pulsar://localhost:6650"));
        assert!(takes.accepts("pulsar+ssl://[::1]:6651"));
        for bad in [
            "http://localhost",
            "localhost:6650",
            "pulsar://",
            "pulsar://a:b",
            "pulsar://a\nb",
            "pulsar://me:secret@a",
        ] {
            assert!(!takes.accepts(bad), "{bad}");
        }
        assert!(Takes::UrlWithPassword(&["redis"]).accepts("redis://:secret@a:6379/0"));
    }
}
