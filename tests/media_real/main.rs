//! Media files judged by others' parts: what x264 encodes is muxed here, then decoded and
//! inspected by FFmpeg, OpenH264 and demultiplexers that share no code with this project.

// What the tests share is outside of test functions, and fails them all the same.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod damage;
mod fmp4;
mod headers;
mod material;
mod pixels;
mod ts;
