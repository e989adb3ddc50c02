//! The log of the process: its form, its level, where it goes. Owns the global subscriber,
//! once; never decides what is worth a line.
//!
//! It goes to standard error in both forms: standard output belongs to what a command prints
//! for others to read, and container runtimes collect the two alike.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::config::{LogConfig, LogFilter, LogFormat};

/// Crates that tell at INFO and DEBUG what only their authors want to know.
const NOISY: &[&str] = &[
    "h2",
    "hyper",
    "hyper_util",
    "mio",
    "oauth2",
    "pulsar",
    "reqwest",
    "rustls",
    "tokio_util",
    "tower_http",
];

/// Crates whose every try that fails is a line, at ERROR and WARN: what they tell is told by who
/// asked them, once for each trouble.
const TOLD_ELSEWHERE: &[&str] =
    &["kube_client", "kube_runtime", "pulsar::connection", "pulsar::service_discovery"];

/// Set by Kubernetes in every container.
/// <https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>
const POD_VARIABLE: &str = "KUBERNETES_SERVICE_HOST";

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter means nothing.
    #[error("LOG_LEVEL is not a filter")]
    Filter(#[from] ParseError),
    /// There is a log already.
    #[error("the log was set up twice")]
    Twice(#[from] TryInitError),
}

/// Sets up the log of the whole process.
///
/// # Errors
/// When it is set up already, or the filter means nothing.
pub fn init(config: &LogConfig) -> Result<(), LoggingError> {
    let filter = EnvFilter::try_new(directives(&config.filter))?;
    let in_pod = std::env::var_os(POD_VARIABLE).is_some();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    if is_json(config.format, in_pod, io::stderr().is_terminal()) {
        builder.json().flatten_event(true).with_span_list(false).finish().try_init()?;
        std::panic::set_hook(Box::new(|panic| tracing::error!(panic = %panic, "a task panicked")));
    } else {
        // Colours are for terminals: in a file or a pipe they are rubbish between the words.
        builder.with_ansi(io::stderr().is_terminal()).with_target(false).finish().try_init()?;
    }
    Ok(())
}

/// Whether to write JSON: machines read what is not a terminal.
fn is_json(format: LogFormat, in_pod: bool, is_terminal: bool) -> bool {
    match format {
        LogFormat::Json => true,
        LogFormat::Human => false,
        LogFormat::Auto => in_pod || !is_terminal,
    }
}

/// The filter as directives; noisy crates get in from WARN on, unless it names them.
fn directives(filter: &LogFilter) -> String {
    let (noise, wanted) = match filter {
        LogFilter::Level(level @ ("off" | "error")) => (*level, *level),
        LogFilter::Level(level) => ("warn", *level),
        LogFilter::Expression(expression) => ("warn", expression.as_str()),
    };
    let quieted = NOISY.iter().map(|name| format!("{name}={noise},"));
    let silent = TOLD_ELSEWHERE.iter().map(|name| format!("{name}=off,"));
    quieted.chain(silent).collect::<String>() + wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_and_a_pipe_get_json_and_a_terminal_gets_words() {
        assert!(is_json(LogFormat::Auto, true, true));
        assert!(is_json(LogFormat::Auto, false, false));
        assert!(!is_json(LogFormat::Auto, false, true));
        assert!(!is_json(LogFormat::Human, true, false));
        assert!(is_json(LogFormat::Json, false, true));
    }

    #[test]
    fn noisy_crates_are_quiet_and_never_louder_than_the_rest() {
        let debug = directives(&LogFilter::Level("debug"));
        assert!(debug.contains("pulsar=warn") && debug.ends_with(",debug"), "{debug}");
        let error = directives(&LogFilter::Level("error"));
        assert!(error.contains("pulsar=error") && error.ends_with(",error"), "{error}");
    }

    #[test]
    fn a_filter_that_names_a_noisy_crate_is_obeyed() {
        let expression = LogFilter::Expression("info,pulsar=debug".into());
        let filter = EnvFilter::try_new(directives(&expression)).unwrap().to_string();
        assert!(filter.contains("pulsar=debug") && !filter.contains("pulsar=warn"), "{filter}");
    }
}
