//! Raw settings → validated settings, one file a concern.
//!
//! Each concern has a table of [`Setting`]s (names, defaults, what they take, the words that
//! teach them) and the struct that the rest of the house sees. From strong to weak: flags,
//! environment, `.env`, defaults.
//!
//! Architecture invariant: reads nothing but its sources and the time zone database; what leaves
//! here is valid, and what is secret cannot print itself.

mod archive;
mod log;
mod metrics;
mod operator;
mod processing;
mod pulsar;
mod reader;
mod redis;
mod retention;
mod serve;
mod setting;
mod sources;
mod status;
mod storage;
mod unknown;
mod watermark;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

pub use archive::ArchiveConfig;
pub use log::{LogConfig, LogFilter, LogFormat};
pub use metrics::MetricsConfig;
pub use operator::OperatorConfig;
pub use processing::{ProcessingConfig, effective_workers};
pub use pulsar::PulsarConfig;
pub use reader::Problem;
pub use redis::RedisConfig;
pub use retention::RetentionConfig;
pub use serve::{ServeConfig, SigningKey};
pub use setting::{Setting, Takes};
pub use sources::{EnvFile, Origin, Sources};
pub use status::{StatusConfig, StatusPod};
pub use storage::{StorageBackend, StorageConfig, StoragePlace};
pub use watermark::WatermarkConfig;

use reader::Reader;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file of variables cannot be read.
    #[error("cannot read the settings in {}", path.display())]
    EnvFile {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file of variables has a line that means nothing.
    #[error(
        "line {line} of {} is not NAME=value; put a value with spaces, # or $ in single quotes",
        path.display()
    )]
    EnvFileLine {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
    },
    /// Some settings are wrong: all of them.
    #[error("{}", list(.0))]
    Invalid(Vec<Problem>),
}

fn list(problems: &[Problem]) -> String {
    let title = match problems.len() {
        1 => "a setting is not right:".to_owned(),
        count => format!("{count} settings are not right:"),
    };
    problems.iter().fold(title, |text, problem| format!("{text}\n  {problem}"))
}

/// The concerns that settings are grouped by. A command reads the groups that it uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Group {
    /// The broker.
    Pulsar,
    /// Where frames are and segments go.
    Storage,
    /// Frames to segments.
    Processing,
    /// The optional Redis.
    Redis,
    /// Metrics and health.
    Metrics,
    /// What is removed.
    Retention,
    /// Finished sessions.
    Archive,
    /// The text that is burnt in.
    Watermark,
    /// Streams to viewers.
    Serve,
    /// How devices are, told to Kubernetes.
    Status,
    /// The operator.
    Operator,
    /// The log.
    Log,
}

impl Group {
    /// All of them, in the order in which they are explained.
    pub const ALL: &'static [Self] = &[
        Self::Pulsar,
        Self::Storage,
        Self::Processing,
        Self::Retention,
        Self::Metrics,
        Self::Log,
        Self::Redis,
        Self::Archive,
        Self::Watermark,
        Self::Serve,
        Self::Status,
        Self::Operator,
    ];

    /// What the names of its variables begin with.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Pulsar => "PULSAR_",
            Self::Storage => "STORAGE_",
            Self::Processing => "PROCESSING_",
            Self::Redis => "REDIS_",
            Self::Metrics => "METRICS_",
            Self::Retention => "RETENTION_",
            Self::Archive => "ARCHIVE_",
            Self::Watermark => "WATERMARK_",
            Self::Serve => "SERVE_",
            Self::Status => "STATUS_",
            Self::Operator => "OPERATOR_",
            Self::Log => "LOG_",
        }
    }

    /// Its title in help and documentation.
    pub fn title(self) -> &'static str {
        match self {
            Self::Pulsar => "Pulsar",
            Self::Storage => "Storage",
            Self::Processing => "Processing",
            Self::Redis => "Redis",
            Self::Metrics => "Metrics and health",
            Self::Retention => "Retention",
            Self::Archive => "Archive",
            Self::Watermark => "Watermark",
            Self::Serve => "Serving",
            Self::Status => "Status in Kubernetes",
            Self::Operator => "Operator",
            Self::Log => "Log",
        }
    }

    /// Its settings, in the order in which they are explained.
    pub fn settings(self) -> &'static [&'static Setting] {
        match self {
            Self::Pulsar => pulsar::SETTINGS,
            Self::Storage => storage::SETTINGS,
            Self::Processing => processing::SETTINGS,
            Self::Redis => redis::SETTINGS,
            Self::Metrics => metrics::SETTINGS,
            Self::Retention => retention::SETTINGS,
            Self::Archive => archive::SETTINGS,
            Self::Watermark => watermark::SETTINGS,
            Self::Serve => serve::SETTINGS,
            Self::Status => status::SETTINGS,
            Self::Operator => operator::SETTINGS,
            Self::Log => log::SETTINGS,
        }
    }
}

/// Every setting there is.
pub fn settings() -> impl Iterator<Item = &'static Setting> {
    Group::ALL.iter().flat_map(|group| group.settings().iter().copied())
}

/// Valid settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// The broker.
    pub pulsar: PulsarConfig,
    /// Where frames are and segments go.
    pub storage: StorageConfig,
    /// Frames to segments.
    pub processing: ProcessingConfig,
    /// The optional Redis.
    pub redis: RedisConfig,
    /// Metrics and health.
    pub metrics: MetricsConfig,
    /// What is removed.
    pub retention: RetentionConfig,
    /// Finished sessions.
    pub archive: ArchiveConfig,
    /// The text that is burnt in.
    pub watermark: WatermarkConfig,
    /// Streams to viewers.
    pub serve: ServeConfig,
    /// How devices are, told to Kubernetes.
    pub status: StatusConfig,
    /// The operator.
    pub operator: OperatorConfig,
    /// The log.
    pub log: LogConfig,
}

/// Valid settings, and what is worth a warning about them.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The settings.
    pub config: Config,
    /// Sentences for a person: unknown names, settings without effect.
    pub notices: Vec<String>,
}

impl Config {
    /// Reads the settings of `groups` from `sources` and checks them, each by itself and
    /// together; the other groups keep their defaults. `host_name` is the consumer's name
    /// when none is given.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with everything that is wrong.
    pub fn resolve(
        sources: &Sources,
        groups: &[Group],
        host_name: &str,
    ) -> Result<Resolved, ConfigError> {
        let mut reader = Reader::new(sources, groups);
        for sentence in unknown::sentences(sources, groups) {
            reader.notice(sentence);
        }
        let config = Self {
            pulsar: pulsar::read(&mut reader, host_name),
            storage: storage::read(&mut reader),
            processing: processing::read(&mut reader),
            redis: redis::read(&mut reader),
            metrics: metrics::read(&mut reader),
            retention: retention::read(&mut reader),
            archive: archive::read(&mut reader),
            watermark: watermark::read(&mut reader),
            serve: serve::read(&mut reader),
            status: status::read(&mut reader),
            operator: operator::read(&mut reader, host_name),
            log: log::read(&mut reader),
        };
        let (problems, notices) = reader.finish();
        if problems.is_empty() {
            Ok(Resolved { config, notices })
        } else {
            Err(ConfigError::Invalid(problems))
        }
    }
}
