//! One device's finished sessions: which are due, each made, the ledger written. Blocks.

use std::time::Duration;

use super::document::Making;
use super::error::ArchiveError;
use super::found::{archives_of, documents_from, recorded_from};
use super::ledger::{Failed, LEDGER_FORMAT, Ledger, Step};
use super::make::{bring, make, note_failure};
use super::sessions::{Session, finished, finished_below};
use super::{ArchiveSettings, Outcome, steps};
use crate::model::{DeviceKey, SessionId, UtcMillis};
use crate::store::layout::{ARCHIVED_FILE, Place};
use crate::store::{DeviceFolder, DeviceState, Expect, StoreError, Stored, Written};

/// A ledger, and the file that it was read from.
pub(super) struct Book {
    pub ledger: Ledger,
    file: Option<Stored>,
}

impl Book {
    /// A device's ledger; an empty one if there is none, or if it cannot be read: what was in it
    /// is found again from the archives by the next run that has something to do.
    pub fn open(folder: &DeviceFolder) -> Result<Self, StoreError> {
        let Some(file) = folder.read(Place::Hls, ARCHIVED_FILE)? else {
            return Ok(Self { ledger: Ledger::absent(), file: None });
        };
        let ledger = match serde_json::from_slice::<Ledger>(&file.bytes) {
            Ok(ledger) if ledger.format == LEDGER_FORMAT => ledger,
            Ok(ledger) => {
                let detail = format!(
                    "has format {}; this program reads {LEDGER_FORMAT}, a newer one wrote it",
                    ledger.format
                );
                let path = folder.path(Place::Hls, ARCHIVED_FILE);
                return Err(StoreError::Unreadable { path, detail });
            }
            Err(error) => {
                tracing::warn!(device = %folder.key(), %error, "archived.json is begun anew");
                Ledger::damaged()
            }
        };
        Ok(Self { ledger, file: Some(file) })
    }

    /// Finds again from the archives what a lost ledger knew.
    fn find_again(
        &mut self,
        folder: &DeviceFolder,
        state: &DeviceState,
        keep: Duration,
    ) -> Result<(), StoreError> {
        // The session that goes on is not over, even if its first records are gone.
        let from = recorded_from(folder, state)?.min(finished_below(state));
        let archives = archives_of(folder)?;
        let documents = documents_from(folder, &archives, from)?;
        self.ledger.find_again(from, &documents, keep);
        self.ledger.rebuild |= !archives.is_empty();
        if !archives.is_empty() {
            tracing::warn!(
                device = %folder.key(), archives = archives.len(),
                archived_below = self.ledger.archived_below,
                "archived.json was lost; what is archived is found again from the archives"
            );
        }
        Ok(())
    }

    /// Writes the ledger in the place of the one that was read.
    pub fn write(self, folder: &DeviceFolder) -> Result<(), StoreError> {
        let expect = Expect::unchanged(self.file.as_ref());
        let written =
            folder.write_json(Place::Hls, ARCHIVED_FILE, &self.ledger, expect, &steps::LEDGER)?;
        match written {
            Written::Done => Ok(()),
            Written::Conflict => {
                Err(StoreError::Overtaken { path: folder.path(Place::Hls, ARCHIVED_FILE) })
            }
        }
    }
}

/// Archives what is due of a device. With nothing to do it reads two small files. `mirrored`:
/// whether a database has a copy.
pub(super) fn run(
    folder: &DeviceFolder,
    settings: &ArchiveSettings,
    mirrored: bool,
    now: UtcMillis,
) -> Result<Outcome, StoreError> {
    let Some(state) = folder.state()? else { return Ok(Outcome::default()) };
    let known = Book::open(folder)?.ledger;
    if !known.is_due(&state, settings, now) {
        return Ok(Outcome::of(&known));
    }
    let Some(_lock) = folder.try_upkeep()? else {
        return Ok(Outcome { busy: true, ..Outcome::of(&known) });
    };
    // Whoever had the device until now may have changed both.
    let Some(state) = folder.state()? else { return Ok(Outcome::default()) };
    let mut book = Book::open(folder)?;
    let before = book.ledger.clone();
    folder.clear_upkeep_temporaries()?;
    if book.ledger.lost {
        book.find_again(folder, &state, settings.keep)?;
        book.ledger.rebuild &= mirrored;
    }
    let mut work = Work {
        folder,
        settings,
        mirrored,
        now,
        ledger: &mut book.ledger,
        done: Outcome::default(),
        failures: Vec::new(),
    };
    if settings.enabled {
        work.archive(&state)?;
    } else {
        work.ledger.settle(work.ledger.archived_below, finished_below(&state));
        work.ledger.forget_failures_but(|_| false);
    }
    let (done, failures) = (work.done, work.failures);
    let mut outcome = Outcome {
        waiting: book.ledger.failed.len(),
        database_behind: book.ledger.is_behind(),
        ..done
    };
    if book.ledger != before {
        match book.write(folder) {
            // In a bucket: the archives are there, and the next run finds them.
            Err(StoreError::Overtaken { .. }) => outcome.busy = true,
            written => written?,
        }
    }
    failures.iter().for_each(|failed| tell(folder.key(), failed));
    Ok(outcome)
}

/// The first failure is a warning; those after it are for who looks closer. Told only when the
/// ledger counts them, or each would be the first one.
fn tell(device: &DeviceKey, failed: &Failed) {
    let Failed { session_id: session, attempts, retry_at, error, .. } = failed;
    if *attempts == 1 {
        tracing::warn!(
            %device, %session, error, %retry_at,
            "a session cannot be archived; its segments are kept, and it is tried again"
        );
    } else {
        tracing::debug!(
            %device, %session, error, attempts, %retry_at, "a session still cannot be archived"
        );
    }
}

/// One run.
struct Work<'a> {
    folder: &'a DeviceFolder,
    settings: &'a ArchiveSettings,
    mirrored: bool,
    now: UtcMillis,
    ledger: &'a mut Ledger,
    done: Outcome,
    failures: Vec<Failed>,
}

impl Work<'_> {
    fn archive(&mut self, state: &DeviceState) -> Result<(), StoreError> {
        let (from, below) = (self.ledger.archived_below, finished_below(state));
        let records = self.folder.records(state, from)?;
        let sessions = finished(&records, from, below);
        let is_open = |id: &_| state.session.as_ref().is_some_and(|session| session.id == *id);
        self.ledger.forget_failures_but(|id| is_open(id) || sessions.iter().any(|s| s.id == *id));
        for session in &sessions {
            if !self.ledger.is_settled(session.first) {
                self.step(session, state.target_duration_secs);
            }
        }
        if sessions.is_empty() && from < below {
            // There is no record of them any more.
            self.ledger.settle(from, below);
        }
        if let (Some(open), Some(from)) =
            (&state.session, self.ledger.link_from(state, self.settings, self.now))
        {
            let start = records.partition_point(|record| record.number < from);
            let records = records.get(start..).unwrap_or_default();
            match bring(self.folder, &open.id, records) {
                Ok(lost) => {
                    let linked = records.len().saturating_sub(lost.len());
                    self.done.linked = linked as u64;
                    self.ledger.link(&open.id, open.first_segment, state.next_segment, self.now);
                    tracing::debug!(
                        device = %self.folder.key(), session = %open.id, linked,
                        "a session that goes on is archived up to here"
                    );
                }
                Err(error) => {
                    let first = open.first_segment;
                    self.ledger.fail(&open.id, first, first, &error.to_string(), self.now);
                    self.failure(&open.id);
                }
            }
        }
        Ok(())
    }

    fn step(&mut self, session: &Session<'_>, target_duration_secs: u32) {
        let key = self.folder.key();
        match self.ledger.step(session, self.settings, self.now) {
            Step::Wait => self.ledger.keep_waiting(session),
            Step::Dismiss => {
                self.ledger.settle(session.first, session.end);
                self.done.dismissed += 1;
                tracing::debug!(
                    device = %key, session = %session.id, secs = session.duration().as_secs(),
                    "a session is too short to be archived"
                );
            }
            Step::GiveUp => {
                self.ledger.settle(session.first, session.end);
                self.done.given_up += 1;
                tracing::error!(
                    device = %key, session = %session.id,
                    "a session could not be archived for as long as archives are kept: its \
                     segments are no longer kept for it"
                );
            }
            Step::Make(attempts) => {
                let (now, keep) = (self.now, self.settings.keep);
                let making = Making { key, attempts, now, keep };
                match make(self.folder, &making, session, target_duration_secs) {
                    Ok(document) => {
                        self.ledger.settle(session.first, session.end);
                        self.done.archived += 1;
                        self.done.archived_bytes += document.size_bytes;
                        self.note_row(session);
                        let missing = document.missing_segments.iter();
                        let missing: u64 = missing.map(|gap| gap.last - gap.first + 1).sum();
                        tracing::info!(
                            device = %key,
                            session = %session.id,
                            segments = document.segment_count,
                            secs = session.duration().as_secs(),
                            bytes = document.size_bytes,
                            missing,
                            "a session is archived"
                        );
                    }
                    Err(error) if error.is_overtaken() => self.done.busy = true,
                    Err(error) => self.failed(&making, session, &error),
                }
            }
        }
    }

    fn failed(&mut self, making: &Making<'_>, session: &Session<'_>, error: &ArchiveError) {
        let said = error.to_string();
        self.ledger.fail(&session.id, session.first, session.end, &said, self.now);
        let since = self.ledger.failure(&session.id).map_or(self.now, |f| f.first_failed_at);
        self.failure(&session.id);
        match note_failure(self.folder, making, session, said, since) {
            Ok(()) => self.note_row(session),
            // The storage that failed before fails again: the ledger has it, or the log.
            Err(error) => tracing::debug!(
                device = %self.folder.key(), session = %session.id, %error,
                "the archive cannot say that it failed"
            ),
        }
    }

    /// Notes a failure, to be told once the ledger has it.
    fn failure(&mut self, id: &SessionId) {
        self.done.failed += 1;
        self.failures.extend(self.ledger.failure(id).cloned());
    }

    fn note_row(&mut self, session: &Session<'_>) {
        if self.mirrored {
            self.ledger.unconfirm(&session.id);
        }
    }
}
