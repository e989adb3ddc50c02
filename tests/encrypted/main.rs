//! What is encrypted is checked: a server is believed only with a certificate that was made by an
//! authority that is trusted, and whoever is refused says what to do. Each is tried with the
//! server's own authority, with another, and with those that the machine trusts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may panic.

mod bucket;
mod certificates;
mod database;
mod mirror;
mod pulsar;
mod secrets;
mod tunnel;

#[path = "../support/broker.rs"]
#[allow(dead_code, reason = "other tests need more of it")]
mod broker;
#[path = "../support/fleet.rs"]
mod fleet;
#[path = "../support/servers/mod.rs"]
mod servers;
#[path = "../support/store_fixture.rs"]
mod store_fixture;

use std::path::Path;
use std::process::Command;

/// One command of the program, in a folder, that knows nothing but what a test tells it.
fn program(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stream-processor"));
    command.args(arguments).current_dir(folder).env_clear();
    command
}

/// How it ended and all it said.
fn ran(command: &mut Command) -> (bool, String) {
    let output = command.output().expect("the program runs");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}
