//! What others call to have finished sessions archived: one device, or all of them. Beside the
//! async runtime; what to do with a device is `device`'s.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use tokio_util::sync::CancellationToken;

use super::database::Database;
use super::ledger::Ledger;
use super::mirror::{Mirror, Standing};
use super::{ArchiveSettings, device};
use crate::model::{Clock, DeviceKey};
use crate::store::{Store, StoreError};

/// What one run has done with a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Sessions that became archives.
    pub archived: u64,
    /// How large their media files are together.
    pub archived_bytes: u64,
    /// Sessions that were too short.
    pub dismissed: u64,
    /// Sessions that could not be archived now, and are tried again.
    pub failed: u64,
    /// Sessions that are tried no more, after as long as an archive is kept.
    pub given_up: u64,
    /// Segments of a session that goes on that are in its archive's folder now.
    pub linked: u64,
    /// Sessions that have failed so far and are tried again.
    pub waiting: usize,
    /// Whether somebody else was at the device, so that it was left to the next run.
    pub busy: bool,
    /// Whether the database's rows may not be what the archives say.
    pub database_behind: bool,
}

impl Outcome {
    /// Nothing was done.
    pub(super) fn of(ledger: &Ledger) -> Self {
        Self {
            waiting: ledger.failed.len(),
            database_behind: ledger.is_behind(),
            ..Self::default()
        }
    }
}

/// Archives finished sessions. Any number of them may run at once, in any number of processes.
pub struct Archiver {
    store: Store,
    settings: ArchiveSettings,
    clock: Arc<dyn Clock>,
    mirror: Option<Mirror>,
}

impl Archiver {
    /// With a copy in `database`, if there is one, which a task of its own writes. To be called
    /// within the async runtime.
    pub fn new(
        store: Store,
        settings: ArchiveSettings,
        clock: Arc<dyn Clock>,
        database: Option<Arc<Database>>,
    ) -> Self {
        let mirror =
            database.map(|database| Mirror::start(store.clone(), database, Arc::clone(&clock)));
        Self { store, settings, clock, mirror }
    }

    /// Archives what is due of a device. With nothing to do it reads two small files.
    ///
    /// # Errors
    /// [`StoreError`] if the device's state, records or ledger cannot be read or written. A
    /// session that cannot be archived is no error: [`Outcome::failed`] counts it, the ledger
    /// keeps its segments, and it is tried again.
    pub async fn run_device(&self, key: &DeviceKey) -> Result<Outcome, StoreError> {
        let (settings, mirrored, now) = (self.settings, self.mirror.is_some(), self.clock.now());
        let outcome = self
            .store
            .on_device(key, move |folder| device::run(folder, &settings, mirrored, now))
            .await?;
        if let Some(mirror) = self.mirror.as_ref().filter(|_| outcome.database_behind) {
            mirror.offer(key);
        }
        Ok(outcome)
    }

    /// Archives what is due of these devices, `at_once` of them at a time, and hands on what
    /// became of each. Stops between devices.
    pub async fn run_all(
        &self,
        keys: Vec<DeviceKey>,
        at_once: usize,
        stop: &CancellationToken,
        mut done: impl FnMut(&DeviceKey, Result<Outcome, StoreError>),
    ) {
        let runs = stream::iter(keys).take_while(|_| std::future::ready(!stop.is_cancelled()));
        let runs = runs.map(|key| async move {
            let outcome = self.run_device(&key).await;
            (key, outcome)
        });
        let mut runs = std::pin::pin!(runs.buffer_unordered(at_once.max(1)));
        while let Some((key, outcome)) = runs.next().await {
            done(&key, outcome);
        }
    }

    /// Waits until the database has what the archives say, at most `within`; whether that is
    /// so. What it does not have yet is found again by later runs.
    pub async fn flush(&self, within: Duration) -> bool {
        match &self.mirror {
            Some(mirror) => mirror.flush(within).await,
            None => true,
        }
    }

    /// How the database's copy stands; none without a database.
    pub fn database(&self) -> Option<Standing> {
        self.mirror.as_ref().map(Mirror::standing)
    }
}
