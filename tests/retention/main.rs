//! Clean-up and reset on a real folder, with a clock that is moved by days.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may panic.

#[cfg(feature = "failpoints")]
#[path = "../support/step_names.rs"]
mod step_names;
#[path = "../support/store_fixture.rs"]
mod store_fixture;

#[cfg(feature = "failpoints")]
mod crash;
mod dry_run;
mod orphans;
mod quotas;
mod reset;
mod rig;
mod streams;
