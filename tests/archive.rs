//! Archives on a real folder: sessions exactly, whatever is missing, killed or twice at once.
#![cfg(feature = "failpoints")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may panic.

#[path = "support/archive_fixture.rs"]
mod archive_fixture;
#[path = "archive/cleanup.rs"]
mod cleanup;
#[path = "archive/cost.rs"]
mod cost;
#[path = "archive/crash.rs"]
mod crash;
#[path = "archive/faults.rs"]
mod faults;
#[path = "archive/sessions.rs"]
mod sessions;
#[path = "support/step_names.rs"]
mod step_names;
#[path = "support/store_fixture.rs"]
mod store_fixture;
