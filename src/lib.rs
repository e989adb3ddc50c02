//! Frames in, HLS out: the map of the house.
//!
//! A frame's way through the rooms, each of which can be read without the others:
//!
//! ```text
//! source ──▶ pipeline::accumulator ──▶ encode ──▶ store ──▶ source (ack)
//! ```
//!
//! | room | owns | never |
//! |---|---|---|
//! | [`model`] | ids, frame events, instants, the clock | does IO, imports another room |
//! | [`config`] | raw settings → validated settings | reads anything but its input |
//! | [`source`] | where frames come from and what has been settled | looks inside a frame |
//! | [`media`] | JPEG headers, H.264 rewriting, media time, TS, fMP4 and clips of them: bytes in, bytes out | opens a file |
//! | [`encode`] | the helper processes and the protocol to them | knows devices, stores or sources |
//! | [`playlist`] | the window and its rendering (pure) | does IO |
//! | [`session`] | when a session begins and when it is over | writes media |
//! | [`archive`] | finished sessions as archives, and their end | reads media, holds up the pipeline |
//! | [`store`] | names, frames, the device's durable state, the commit | decides what to commit |
//! | [`export`] | clips and stills of what is kept | changes anything |
//! | [`retention`] | what has gone from a device, and what may go | removes what a playlist lists |
//! | [`pipeline`] | the order of the stages, the decisions between them | touches disk, broker or codec itself |
//! | [`http`] | metrics, health, playback | changes anything |
//! | [`fleet`] | which devices a storage has and how each is | changes anything, reads media |
//! | `crash_point` | where tests have the process killed, or a step fail | is in a release |
//! | [`status`] | how devices are, told to Kubernetes | holds up the pipeline |
//! | [`operator`] | what runs in Kubernetes for one `StreamProcessor` object | handles a frame |
//! | [`demo`] | synthetic cameras | is needed by the worker |
//! | [`cmd`] | one file a command: builds the parts, hands them over, waits | decides |
//!
//! A stage never imports another stage: only [`pipeline`] knows the order.

// What a command has to say goes through one place each; the rest is the log's.
#![deny(clippy::print_stdout)]

pub mod archive;
pub mod cli;
pub mod cmd;
pub mod config;
mod crash_point;
pub mod demo;
pub mod encode;
pub mod export;
pub mod fleet;
pub mod http;
pub mod logging;
pub mod media;
pub mod model;
pub mod operator;
pub mod pipeline;
pub mod playlist;
pub mod retention;
pub mod session;
pub mod source;
pub mod status;
pub mod store;

#[cfg(feature = "failpoints")]
pub use crash_point::follow_file as follow_failpoints;
