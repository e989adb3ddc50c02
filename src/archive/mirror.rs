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
use super::found::{archives_of, document_of};
use crate::model::{Clock, DeviceKey, SessionId};
use crate::store::layout::{ARCHIVE_FILE, Place};
use crate::store::{DeviceFolder, Store, StoreError};

/// How many devices can wait for the database; one that finds no room comes with the next run.
const MAX_WAITING: usize = 4_096;

/// How soon a database that is away is asked again, at first and at last.
const RETRIES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// How often a device is tried of which an archive changes at the same time.
const TRIES: usize = 3;

/// Why a device's rows could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The storage failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The archives that rows are of may be on another storage than this one.
    #[error(
        "the storage has none of the {devices} devices that the table deferred_transmissions has \
         rows of, such as {example}: another storage may be mounted or named than the one with \
         their archives, so no row is touched; look at STORAGE_TYPE, STORAGE_BASE_PATH and the \
         bucket. If those devices are gone for good, delete their rows by hand"
    )]
    AnotherStorage {
        /// How many devices have rows.
        devices: usize,
        /// One of them.
        example: DeviceKey,
    },
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
                Err(MirrorError::Database(error)) => {
                    shared.failures.fetch_add(1, Ordering::Relaxed);
                    if !std::mem::replace(&mut is_away, true) {
                        tracing::warn!(%error, "archives go on without their rows, which follow");
                    }
                }
                Err(error) => {
                    tracing::debug!(device = %key, %error, "its rows are left to the next run");
                    break;
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
    for _ in 0..TRIES {
        if bring_up_once(store, database, key, all).await? != Confirmed::Changed {
            break;
        }
    }
    Ok(())
}

/// What became of noting that rows are up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Confirmed {
    /// It is noted, or there was nothing to note.
    Yes,
    /// Somebody else is at the device: the next run does it all again.
    Busy,
    /// An archive is another than the one that its row was made of.
    Changed,
}

async fn bring_up_once(
    store: &Store,
    database: &Database,
    key: &DeviceKey,
    all: bool,
) -> Result<Confirmed, MirrorError> {
    let ledger = store.on_device(key, |folder| Book::open(folder).map(|book| book.ledger)).await?;
    let all = all || ledger.rebuild;
    if !all && ledger.unconfirmed.is_empty() {
        return Ok(Confirmed::Yes);
    }
    // From here on nobody else writes the device's rows: what is read now is never put in the
    // place of what was read later.
    let rows = database.begin(key).await?;
    // Those that there are before the archives: one that is made from here on is none that its
    // row outlives.
    let (rows, known) = if all { rows.sessions().await? } else { (rows, Vec::new()) };
    let asked = ledger.unconfirmed.clone();
    let seen = store
        .on_device(key, move |folder| {
            let ids = if all { archives_of(folder)? } else { asked };
            ids.into_iter().map(|id| Seen::at(folder, id)).collect::<Result<Vec<_>, StoreError>>()
        })
        .await?;
    let documents: Vec<_> = seen.iter().filter_map(|seen| seen.document.clone()).collect();
    let there: BTreeSet<&SessionId> =
        documents.iter().map(|document| &document.session_id).collect();
    let candidates = known.iter().chain(&ledger.unconfirmed);
    let gone: Vec<SessionId> = candidates.filter(|id| !there.contains(id)).cloned().collect();
    rows.replace(&documents, &gone).await?;
    if !ledger.is_behind() {
        return Ok(Confirmed::Yes);
    }
    let confirmed = ledger.unconfirmed;
    Ok(store.on_device(key, move |folder| confirm(folder, &confirmed, &seen, all)).await?)
}

/// An archive's document, and what tells it from any other that it may be replaced by.
struct Seen {
    id: SessionId,
    tag: Option<String>,
    document: Option<Document>,
}

impl Seen {
    fn at(folder: &DeviceFolder, id: SessionId) -> Result<Self, StoreError> {
        // The tag first: a document that comes in between has another one.
        let tag = Self::tag_of(folder, &id)?;
        let document = document_of(folder, &id)?;
        Ok(Self { id, tag, document })
    }

    fn tag_of(folder: &DeviceFolder, id: &SessionId) -> Result<Option<String>, StoreError> {
        Ok(folder.about(Place::Archive(id), ARCHIVE_FILE)?.map(|about| about.tag))
    }

    fn is_still_so(&self, folder: &DeviceFolder) -> Result<bool, StoreError> {
        Ok(Self::tag_of(folder, &self.id)? == self.tag)
    }
}

/// Notes in the ledger that these rows are what the archives say, if these are still as they were
/// seen. Whoever changes one notes that its row may be wrong while nobody else is at the device,
/// so this is asked then: a note that came meanwhile is never taken away.
fn confirm(
    folder: &DeviceFolder,
    ids: &[SessionId],
    seen: &[Seen],
    all: bool,
) -> Result<Confirmed, StoreError> {
    let Some(_lock) = folder.try_upkeep()? else { return Ok(Confirmed::Busy) };
    let mut book = Book::open(folder)?;
    for seen in seen {
        if !seen.is_still_so(folder)? {
            return Ok(Confirmed::Changed);
        }
    }
    book.ledger.confirm(ids, all);
    match book.write(folder) {
        Err(StoreError::Overtaken { .. }) => Ok(Confirmed::Busy),
        written => written.map(|()| Confirmed::Yes),
    }
}
