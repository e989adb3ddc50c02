//! The helper process: takes jobs on standard input, answers on standard output.

use std::process::ExitCode;

/// Serves the worker that started this process until it closes the pipe.
pub fn run() -> ExitCode {
    eprintln!("stream-processor: the encode helper is not part of this build");
    ExitCode::FAILURE
}
