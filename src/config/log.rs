//! The log: how much and in which form.

use super::reader::Reader;
use super::setting::{Setting, Takes, log_level};

static LEVEL: Setting = Setting {
    variable: "LOG_LEVEL",
    flag: "log-level",
    default: Some("INFO"),
    takes: Takes::LogFilter,
    secret: false,
    help: "How much is logged. A filter says it module by module, in the syntax of \
           tracing-subscriber's EnvFilter.",
};

static FORMAT: Setting = Setting {
    variable: "LOG_FORMAT",
    flag: "log-format",
    default: Some("auto"),
    takes: Takes::OneOf(&["auto", "json", "human"]),
    secret: false,
    help: "json is one object a line, for machines; human is for eyes; auto is human on a \
           terminal outside Kubernetes, else json.",
};

/// The table of this concern.
pub(super) static SETTINGS: &[&Setting] = &[&LEVEL, &FORMAT];

/// The log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogConfig {
    /// How much.
    pub filter: LogFilter,
    /// In which form.
    pub format: LogFormat,
}

/// How much is logged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LogFilter {
    /// Everything from this level on: one of off, error, warn, info, debug, trace.
    Level(&'static str),
    /// What this `EnvFilter` expression says.
    Expression(String),
}

/// In which form the log is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// By where the process runs.
    Auto,
    /// One object a line.
    Json,
    /// For eyes.
    Human,
}

/// Reads this concern's settings.
pub(super) fn read(reader: &mut Reader<'_>) -> LogConfig {
    let text = reader.text(&LEVEL);
    LogConfig {
        filter: match log_level(&text) {
            Some(level) => LogFilter::Level(level),
            None => LogFilter::Expression(text),
        },
        format: reader.choice(&FORMAT, LogFormat::Auto, |word| match word {
            "auto" => Some(LogFormat::Auto),
            "json" => Some(LogFormat::Json),
            "human" => Some(LogFormat::Human),
            _ => None,
        }),
    }
}
