//! Real servers for tests, each on loopback, in a folder of its own, until it is dropped or the
//! test run has ended, however it ended. Never one that was there before the test.
#![allow(dead_code)] // Each test binary uses its own part of it.

pub mod azure;
pub mod builds;
pub mod gcs;
pub mod postgres;
pub mod process;
pub mod redis;
pub mod s3;
