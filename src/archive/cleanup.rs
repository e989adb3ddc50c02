//! What `archive-cleanup` does with a device: expired archives go, and so do their rows in the
//! database.

use std::collections::HashSet;
use std::sync::Arc;

use super::database::Database;
use super::expiry::{Swept, sweep};
use super::mirror::{MirrorError, bring_up};
use crate::model::{Clock, DeviceKey};
use crate::store::{Store, StoreError};

/// Removes expired archives, and keeps the database's copy what the archives say.
pub struct ArchiveCleanup {
    store: Store,
    clock: Arc<dyn Clock>,
    database: Option<Arc<Database>>,
    dry_run: bool,
}

impl ArchiveCleanup {
    /// With a copy in `database`, if there is one. With `dry_run` nothing is changed.
    pub fn new(
        store: Store,
        clock: Arc<dyn Clock>,
        database: Option<Arc<Database>>,
        dry_run: bool,
    ) -> Self {
        Self { store, clock, database, dry_run }
    }

    /// Removes a device's expired archives, and what is left of half-made ones.
    ///
    /// # Errors
    /// [`StoreError`]; what was removed until then stays removed.
    pub async fn sweep(&self, key: &DeviceKey) -> Result<Swept, StoreError> {
        let (mirrored, dry_run, now) = (self.database.is_some(), self.dry_run, self.clock.now());
        self.store.on_device(key, move |folder| sweep(folder, mirrored, dry_run, now)).await
    }

    /// Writes a device's rows where they may not be what its archives say: `all` of them, or
    /// those that are known to have changed.
    ///
    /// # Errors
    /// [`MirrorError`]; what is not written is found again by later runs.
    pub async fn bring_up(&self, key: &DeviceKey, all: bool) -> Result<(), MirrorError> {
        match self.database.as_ref().filter(|_| !self.dry_run) {
            Some(database) => bring_up(&self.store, database, key, all).await,
            None => Ok(()),
        }
    }

    /// Whether the table can be a copy of this storage's archives, whose devices are `known`.
    ///
    /// # Errors
    /// [`MirrorError::AnotherStorage`] if there are rows and none of them is of a device that is
    /// known: their archives would be taken for gone. [`MirrorError::Database`].
    pub async fn check_storage(&self, known: &[DeviceKey]) -> Result<(), MirrorError> {
        let with_rows = self.devices_with_rows(false).await?;
        let known: HashSet<&DeviceKey> = known.iter().collect();
        match with_rows.first() {
            Some(example) if with_rows.iter().all(|key| !known.contains(key)) => {
                let (devices, example) = (with_rows.len(), example.clone());
                Err(MirrorError::AnotherStorage { devices, example })
            }
            _ => Ok(()),
        }
    }

    /// The devices that have rows, or rows whose time is over.
    ///
    /// # Errors
    /// [`MirrorError::Database`].
    pub async fn devices_with_rows(&self, expired: bool) -> Result<Vec<DeviceKey>, MirrorError> {
        match self.database.as_ref().filter(|_| !self.dry_run) {
            Some(database) => Ok(database.devices(expired.then(|| self.clock.now())).await?),
            None => Ok(Vec::new()),
        }
    }
}
