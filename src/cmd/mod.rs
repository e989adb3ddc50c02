//! One file a command: builds the parts, hands them over, waits. Decides nothing.

pub mod archive_cleanup;
pub mod archiving;
pub mod assembly;
mod chores;
pub mod cleanup;
mod cluster;
pub mod consumer;
pub mod crds;
pub mod demo;
pub mod encode_helper;
pub mod export;
pub mod offline_checker;
pub mod operator;
mod ops;
mod progress;
mod redis;
pub mod reset_device;
pub mod serve;
pub mod sign_url;
mod signals;

use std::error::Error;

/// Why a command has ended before its time, as a sentence and its cause.
#[derive(Debug, thiserror::Error)]
#[error("{sentence}")]
pub struct CommandError {
    sentence: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl CommandError {
    /// With nothing behind it.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), source: None }
    }

    /// With the error that led to it; the sentence says what was being done.
    pub fn because(
        sentence: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self { sentence: sentence.into(), source: Some(source.into()) }
    }
}

/// What a command has to say to whoever started it goes to stdout; the log is on stderr.
fn say(line: &str) {
    use std::io::Write;
    // Nobody reads it: nothing to be done about it.
    let _ = writeln!(std::io::stdout(), "{line}");
}
