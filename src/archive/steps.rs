//! The named instants of archiving and of removing what has expired, between every two durable
//! steps and within them, at which a test can have the process killed. Compiled out without the
//! feature `failpoints`.

use crate::store::steps::{WriteSteps, write_steps};

/// One more media or init file is in the archive's folder, perhaps in memory only.
pub const FILE_LINKED: &str = "archive.file_linked";
/// All of them are, durably.
pub const FILES_LINKED: &str = "archive.files_linked";
/// The archive's playlist.
pub const PLAYLIST: WriteSteps = write_steps!("archive.playlist");
/// What the archive says of itself: with it the archive is there.
pub const DOCUMENT: WriteSteps = write_steps!("archive.document");
/// What it says while it cannot be made.
pub const FAILURE: WriteSteps = write_steps!("archive.failure");
/// How far the device's sessions are archived.
pub const LEDGER: WriteSteps = write_steps!("archive.ledger");

/// The document of an expired archive is gone, perhaps in memory only.
pub const DOCUMENT_REMOVED: &str = "archive_cleanup.document_removed";
/// The document of an expired archive is gone for good.
pub const UNMADE: &str = "archive_cleanup.unmade";
/// One more of its other files is gone.
pub const FILE_REMOVED: &str = "archive_cleanup.file_removed";
/// All of its files are gone; its folders are there.
pub const EMPTIED: &str = "archive_cleanup.emptied";
