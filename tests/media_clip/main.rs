//! Clips judged by others' parts: what the real encoder made is cut here, then decoded and
//! inspected by FFmpeg, and played and sought by Chromium.

// What the tests share is outside of test functions, and fails them all the same.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/browser.rs"]
mod browser;
mod chromium;
#[path = "../support/encoder.rs"]
mod encoder;
mod exact;
mod material;
mod screen;
#[path = "../media_real/material.rs"]
#[allow(dead_code, reason = "each test binary uses its part of it")]
mod tools;
