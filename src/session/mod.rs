//! Sessions: unbroken runs of a device's frames. What begins one and what ends one is decided
//! here; the device's durable state holds the one it is in.
//!
//! | file | owns |
//! |---|---|
//! | [`rules`] | when a session begins and when it is over (pure) |
//! | [`checker`] | the looks at all devices that end sessions |
//! | [`watch`] | what a checker remembers of a device between two looks (pure) |
//! | [`mirror`] | what Redis is told |
//!
//! Architecture invariant: a session is a run of whole segments, told by their records alone, so
//! that everyone who reads them comes to the same sessions, with Redis or without.

pub mod checker;
pub mod mirror;
pub mod rules;
pub mod watch;

pub use checker::{AfterCheck, Afterwards, Checker, Pass, Witness};
pub use mirror::{MirrorSettings, SessionMirror};
pub use rules::SessionRules;
