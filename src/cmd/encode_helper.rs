//! `encode-helper`: a helper process of the worker; started by the encoder pool, by nobody
//! else.

use std::process::ExitCode;

use crate::encode;

/// Serves jobs on stdin until it ends. To be called first thing in the process: before a log,
/// a thread or a runtime.
pub fn run() -> ExitCode {
    match encode::serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            // The worker reads stderr and logs it.
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}
