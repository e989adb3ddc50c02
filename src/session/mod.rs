//! Sessions: unbroken runs of a device's frames. What begins one and what ends one is decided
//! here; the device's durable state holds the one it is in.
//!
//! | file | owns |
//! |---|---|
//! | [`rules`] | when a session begins and when it is over (pure) |
//!
//! Architecture invariant: a session is a run of whole segments, told by their records alone, so
//! that everyone who reads them comes to the same sessions, with Redis or without.

pub mod rules;

pub use rules::SessionRules;
