//! Finished sessions as archives: `archives/{sessionId}/` with the media files, a playlist that
//! has ended, and `archive.json`.
//!
//! | file | owns |
//! |---|---|
//! | [`archiver`] | one device, and all of them: what others call |
//! | `sessions` | which sessions are finished (pure) |
//! | [`ledger`] | how far a device is archived and what is left to do (pure) |
//! | [`document`] | what an archive says of itself (pure) |
//! | `device`, `make` | the steps of one run and of one archive |
//! | `found` | what the archives that are there say, when the ledger is lost |
//! | [`expiry`] | which archives go, and their removal |
//! | [`cleanup`] | the same for a device, and for what the database has of it |
//! | [`database_url`], [`database`], `mirror` | the setting, the table, and how it is kept what the archives say |
//! | [`steps`] | where tests have the process killed |
//!
//! An archive is made in this order: media files, playlist, `archive.json`, ledger; each durable
//! before the next. With `archive.json` it is there. A run that dies before is finished by the
//! next one: what it left is in the folder that the same session has again. The database comes
//! after all of them, from a task of its own.
//!
//! Architecture invariant: media never pass through the process; a segment that an archive
//! needs is not given up ([`Ledger::may_go`]) before it is durably in that archive's folder; a
//! session that cannot be archived holds up no other, and a database that is away nothing at
//! all.

pub mod archiver;
pub mod cleanup;
pub mod database;
pub mod database_url;
mod device;
pub mod document;
mod error;
pub mod expiry;
#[cfg(test)]
mod fixture;
mod found;
pub mod ledger;
mod make;
mod mirror;
mod sessions;
pub mod steps;

use std::time::Duration;

pub use archiver::{Archiver, Outcome};
pub use cleanup::ArchiveCleanup;
pub use database::{Database, DatabaseError};
pub use document::Document;
pub use error::ArchiveError;
pub use ledger::Ledger;
pub use mirror::{MirrorError, Standing};

/// What archives go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchiveSettings {
    /// Whether sessions are archived. Those that end while they are not never will be.
    pub enabled: bool,
    /// Sessions that are shorter are not.
    pub min_duration: Duration,
    /// How long an archive is kept.
    pub keep: Duration,
    /// How long a segment stays in the stream: a session that goes on is archived piece by
    /// piece before that.
    pub stream_retention: Duration,
}
