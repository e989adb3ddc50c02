//! Keeps the database's rows what the archives say. The ledger knows which may not be, so what a
//! database that was away has missed is found again; the queue here only says where to look.
//!
//! Architecture invariant: nobody waits for the database but the one task here, and whoever was
//! told to bring the rows up to date.

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::database::{Database, DatabaseError};
use super::device::Book;
use super::document::Document;
use crate::model::{Clock, DeviceKey, SessionId};
use crate::store::layout::{ARCHIVE_FILE, Place};
use crate::store::{DeviceFolder, Store, StoreError};

/// How many devices can wait for the database; one that finds no room comes with the next run.
const MAX_WAITING: usize = 4_096;

/// How soon a database that is away is asked again, at first and at last.
const RETRIES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Why a device's rows could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The storage failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How the database's copy stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Devices whose rows are being brought up to date, or wait for it. One of which there is
    /// news while it is under way counts twice.
    pub waiting: usize,
    /// How often the database has failed so far.
    pub failures: u64,
}

/// The queue, and the task behind it that ends with it.
pub(super) struct Mirror {
    sender: mpsc::Sender<DeviceKey>,
    shared: Arc<Shared>,
}

struct Shared {
    /// In the queue, so that no device is in it twice.
    queued: Mutex<HashSet<DeviceKey>>,
    /// In the queue or under way.
    waiting: watch::Sender<usize>,
    failures: AtomicU64,
}

impl Shared {
    fn queued(&self) -> MutexGuard<'_, HashSet<DeviceKey>> {
        self.queued.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mirror {
    /// Starts the task. To be called within the async runtime.
    pub fn start(store: Store, database: Arc<Database>, clock: Arc<dyn Clock>) -> Self {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        let shared = Arc::new(Shared {
            queued: Mutex::default(),
            waiting: watch::Sender::new(0),
            failures: AtomicU64::new(0),
        });
        tokio::spawn(work(store, database, clock, receiver, Arc::clone(&shared)));
        Self { sender, shared }
    }

    /// Says that a device's rows may not be what its archives say.
    pub fn offer(&self, key: &DeviceKey) {
        if !self.shared.queued().insert(key.clone()) {
            return;
        }
        self.shared.waiting.send_modify(|waiting| *waiting += 1);
        if self.sender.try_send(key.clone()).is_err() {
            self.shared.queued().remove(key);
            self.shared.waiting.send_modify(|waiting| *waiting -= 1);
        }
    }

    /// Waits until no device waits any more, at most `within`; whether that is so.
    pub async fn flush(&self, within: Duration) -> bool {
        let mut waiting = self.shared.waiting.subscribe();
        let settled = waiting.wait_for(|waiting| *waiting == 0);
        tokio::time::timeout(within, settled).await.is_ok_and(|settled| settled.is_ok())
    }

    /// How it stands.
    pub fn standing(&self) -> Standing {
        Standing {
            waiting: *self.shared.waiting.borrow(),
            failures: self.shared.failures.load(Ordering::Relaxed),
        }
    }
}

async fn work(
    store: Store,
    database: Arc<Database>,
    clock: Arc<dyn Clock>,
    mut queue: mpsc::Receiver<DeviceKey>,
    shared: Arc<Shared>,
) {
    let mut is_away = false;
    while let Some(key) = queue.recv().await {
        // What changes from here on is offered again.
        shared.queued().remove(&key);
        let mut delay = RETRIES.0;
        loop {
            match bring_up(&store, &database, &key, false).await {
                Ok(()) => {
                    if std::mem::take(&mut is_away) {
                        tracing::info!("the archive database is written again");
                    }
                    break;
                }
                Err(MirrorError::Store(error)) => {
                    tracing::debug!(device = %key, %error, "its rows are left to the next run");
                    break;
                }
                Err(MirrorError::Database(error)) => {
                    shared.failures.fetch_add(1, Ordering::Relaxed);
                    if !std::mem::replace(&mut is_away, true) {
                        tracing::warn!(%error, "archives go on without their rows, which follow");
                    }
                }
            }
            if queue.is_closed() {
                return;
            }
            clock.sleep(delay).await;
            delay = RETRIES.1.min(delay * 2);
        }
        shared.waiting.send_modify(|waiting| *waiting -= 1);
    }
}

/// Brings a device's rows up to date where the ledger says that they may not be, or `all` of
/// them.
pub(super) async fn bring_up(
    store: &Store,
    database: &Database,
    key: &DeviceKey,
    all: bool,
) -> Result<(), MirrorError> {
    let ledger = store.on_device(key, |folder| Book::open(folder).map(|book| book.ledger)).await?;
    let all = all || ledger.rebuild;
    if !all && ledger.unconfirmed.is_empty() {
        return Ok(());
    }
    // The rows first: an archive that is made from here on is none that its row outlives.
    let rows = if all { database.sessions(key).await? } else { Vec::new() };
    let asked = ledger.unconfirmed.clone();
    let documents = store
        .on_device(key, move |folder| {
            let ids = if all { archives_of(folder)? } else { asked };
            let read = ids.iter().map(|id| document_of(folder, id));
            read.filter_map(Result::transpose).collect::<Result<Vec<_>, StoreError>>()
        })
        .await?;
    let there: BTreeSet<&SessionId> =
        documents.iter().map(|document| &document.session_id).collect();
    let candidates = rows.iter().chain(&ledger.unconfirmed);
    let gone: Vec<SessionId> = candidates.filter(|id| !there.contains(id)).cloned().collect();
    database.put(&documents).await?;
    database.remove(key, &gone).await?;
    if ledger.is_behind() {
        let confirmed = ledger.unconfirmed;
        store.on_device(key, move |folder| confirm(folder, &confirmed, all)).await?;
    }
    Ok(())
}

/// Every folder of a device's archives that has a session's name.
fn archives_of(folder: &DeviceFolder) -> Result<Vec<SessionId>, StoreError> {
    let listed = folder.list(Place::Archives)?;
    let folders = listed.iter().filter(|listed| listed.is_folder);
    Ok(folders.filter_map(|listed| SessionId::new(&listed.name).ok()).collect())
}

/// What an archive says of itself, without its segments; none if it does not, or if it was put
/// there from elsewhere.
fn document_of(folder: &DeviceFolder, id: &SessionId) -> Result<Option<Document>, StoreError> {
    let Some(stored) = folder.read(Place::Archive(id), ARCHIVE_FILE)? else { return Ok(None) };
    let document: Option<Document> = serde_json::from_slice(&stored.bytes).ok();
    let ours =
        document.filter(|document| document.session_id == *id && document.key() == *folder.key());
    Ok(ours.map(|document| Document { segments: Vec::new(), ..document }))
}

/// Notes it in the ledger. Where somebody else is at the device the next run does it all again.
fn confirm(folder: &DeviceFolder, ids: &[SessionId], all: bool) -> Result<(), StoreError> {
    let Some(_lock) = folder.try_upkeep()? else { return Ok(()) };
    let mut book = Book::open(folder)?;
    book.ledger.confirm(ids, all);
    match book.write(folder) {
        Err(StoreError::Overtaken { .. }) => Ok(()),
        written => written,
    }
}
