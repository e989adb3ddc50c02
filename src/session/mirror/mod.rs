//! Tells Redis which sessions devices are in and, if it is asked to, which segments their windows
//! list, so that other services read it there.
//!
//! | file | owns |
//! |---|---|
//! | [`keys`] | what Redis holds of a device, and what brings it there (pure) |
//! | `pending` | which devices have still to be told (pure) |
//! | `link` | one connection |
//! | [`trouble`] | what keeps Redis from being told, for a person (pure) |
//!
//! One task does it beside the work, from a list in which a device is at most once: whoever
//! commits never waits. It looks before it writes, and writes only what is newer than what is
//! there. Where Redis has less than the state at hand can fill up, or where it seems to know
//! more, the storage decides. Whenever it has connected, it tells of every device again.
//!
//! Architecture invariant: nothing reads the truth from Redis. It may be away, slow, wrong or
//! empty, and no stream is any different for it.

pub mod keys;
mod link;
mod pending;
pub mod trouble;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use redis::IntoConnectionInfo;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use keys::{Command, Excerpt, Step};
use link::Link;
use pending::{Pending, Told};
pub use trouble::RedisTrouble;

use crate::model::{Backoff, DeviceKey, Secret, UtcMillis};
use crate::store::{DeviceState, Store, StoreError};

/// Devices that are told with one question and one write.
const AT_ONCE: usize = 64;
/// How often a connection is tried out on which nothing else is done.
const PING_EVERY: Duration = Duration::from_secs(5);
/// Pauses between two tries to connect.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
/// How long the last devices may take when the mirror is closed.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// How often a device is tried that somebody else writes to at the same time.
const TRIES: usize = 3;

/// Where Redis is, and what it is told.
#[derive(Clone, Debug)]
pub struct MirrorSettings {
    /// `redis://` or `rediss://`, password included.
    pub url: Secret,
    /// Whether windows are told as well as sessions.
    pub windows: bool,
}

/// Why there is no mirror.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// The address is not one.
    #[error("REDIS_URL is not understood: {0}")]
    Url(String),
    /// It could not be told.
    #[error(transparent)]
    Trouble(#[from] RedisTrouble),
}

/// Who is told how Redis is. Never blocks.
pub trait MirrorWatcher: Send + Sync {
    /// It is connected and takes what it is told.
    fn up(&self);
    /// It cannot be told now; what is to be told waits.
    fn down(&self, trouble: &RedisTrouble);
    /// So many devices have been written, and so many wait.
    fn told(&self, written: usize, waiting: usize);
}

/// Tells Redis. Cheap to clone.
#[derive(Clone)]
pub struct SessionMirror {
    shared: Arc<Shared>,
    closing: CancellationToken,
    task: Arc<Mutex<Option<AbortOnDropHandle<()>>>>,
}

struct Shared {
    pending: Mutex<Pending>,
    /// There is something to tell.
    wake: Notify,
    /// Everything has been told.
    all_told: Notify,
}

impl Shared {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionMirror {
    /// Begins to connect, and to keep connected. What the devices' states alone do not say is
    /// read from `store`.
    ///
    /// # Errors
    /// [`MirrorError::Url`]. A Redis that is away is none.
    pub fn start(
        settings: &MirrorSettings,
        store: Store,
        watcher: Arc<dyn MirrorWatcher>,
    ) -> Result<Self, MirrorError> {
        let client = open(&settings.url)?;
        let shared = Arc::new(Shared {
            pending: Mutex::default(),
            wake: Notify::new(),
            all_told: Notify::new(),
        });
        let closing = CancellationToken::new();
        let teller = Teller {
            client,
            windows: settings.windows,
            store,
            watcher,
            shared: Arc::clone(&shared),
            closing: closing.clone(),
            trouble: None,
        };
        let task = AbortOnDropHandle::new(tokio::spawn(teller.run()));
        Ok(Self { shared, closing, task: Arc::new(Mutex::new(Some(task))) })
    }

    /// A device's state has been read or written: Redis is to know it. Never waits.
    pub fn tell(&self, key: &DeviceKey, state: &DeviceState) {
        self.shared.pending().tell(key, Excerpt::of(state));
        self.shared.wake.notify_one();
    }

    /// Waits until everything has been told, at most `patience`; whether it has.
    pub async fn flush(&self, patience: Duration) -> bool {
        let all_told = async {
            loop {
                let told = self.shared.all_told.notified();
                if self.shared.pending().len() == 0 {
                    break;
                }
                told.await;
            }
        };
        tokio::time::timeout(patience, all_told).await.is_ok()
    }

    /// Tells what is left for a moment, then ends.
    pub async fn close(&self) {
        let _ = self.flush(LAST_WORDS).await;
        self.closing.cancel();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            let _ = task.await;
        }
    }

    /// Removes all that Redis holds of a device: for a stream that is begun anew. The names of
    /// the keys that there were.
    ///
    /// # Errors
    /// [`MirrorError`]: some of it may be left.
    pub async fn forget(
        settings: &MirrorSettings,
        key: &DeviceKey,
    ) -> Result<Vec<String>, MirrorError> {
        let mut link = Link::connect(&open(&settings.url)?, true).await?;
        let found = link.look(&[(key, None)]).await?;
        link.write(&keys::forget(key)).await?;
        Ok(keys::names(key, &found))
    }

    /// The names of the keys that Redis has of a device, which [`SessionMirror::forget`] would
    /// remove.
    ///
    /// # Errors
    /// [`MirrorError`].
    pub async fn recall(
        settings: &MirrorSettings,
        key: &DeviceKey,
    ) -> Result<Vec<String>, MirrorError> {
        let mut link = Link::connect(&open(&settings.url)?, true).await?;
        let found = link.look(&[(key, None)]).await?;
        Ok(keys::names(key, &found))
    }
}

fn open(url: &Secret) -> Result<redis::Client, MirrorError> {
    // Two crates of the house bring a TLS library each, so that none is chosen by itself; whoever
    // chose one before us is right as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let opened = url.expose().into_connection_info().and_then(|address| {
        // A command less that a user needs the right for.
        let settings = address.redis_settings().clone().set_skip_set_lib_name();
        redis::Client::open(address.set_redis_settings(settings))
    });
    opened.map_err(|error| MirrorError::Url(error.to_string()))
}

/// The task that tells.
struct Teller {
    client: redis::Client,
    windows: bool,
    store: Store,
    watcher: Arc<dyn MirrorWatcher>,
    shared: Arc<Shared>,
    closing: CancellationToken,
    /// The reason that has been logged.
    trouble: Option<&'static str>,
}

impl Teller {
    async fn run(mut self) {
        let closing = self.closing.clone();
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        while !closing.is_cancelled() {
            let trouble = tokio::select! {
                () = closing.cancelled() => break,
                trouble = self.keep_told(&mut backoff) => trouble,
            };
            self.warn(&trouble);
            tokio::select! {
                () = closing.cancelled() => break,
                () = tokio::time::sleep(backoff.pause()) => {}
            }
        }
    }

    /// Connects and tells until that fails.
    async fn keep_told(&mut self, backoff: &mut Backoff) -> RedisTrouble {
        let mut link = match Link::connect(&self.client, self.windows).await {
            Ok(link) => link,
            Err(trouble) => return trouble,
        };
        // It may have lost everything, or be another one.
        self.shared.pending().tell_all();
        loop {
            let batch = self.shared.pending().take(AT_ONCE);
            if batch.is_empty() {
                self.is_well();
                self.shared.all_told.notify_waiters();
                if let Ok(()) = tokio::time::timeout(PING_EVERY, self.shared.wake.notified()).await
                {
                    continue;
                }
                match link.ping().await {
                    Ok(()) => continue,
                    Err(trouble) => return trouble,
                }
            }
            match self.tell(&mut link, &batch).await {
                Ok(again) => {
                    let waiting = {
                        let mut pending = self.shared.pending();
                        pending.done(again);
                        pending.len()
                    };
                    self.watcher.told(batch.len(), waiting);
                    backoff.reset();
                    self.is_well();
                }
                Err(trouble) => {
                    self.shared.pending().done(batch);
                    return trouble;
                }
            }
        }
    }

    /// Tells of some devices; gives back those that have to be told again.
    async fn tell(&self, link: &mut Link, batch: &[Told]) -> Result<Vec<Told>, RedisTrouble> {
        let devices = self.fill_up(batch).await;
        let looks: Vec<_> = devices.iter().map(|(key, state)| (*key, state.listed())).collect();
        if looks.is_empty() {
            return Ok(Vec::new());
        }
        let found = link.watch_and_look(&looks).await?;
        let mut commands: Vec<Command> = Vec::new();
        let mut written = Vec::new();
        let mut unsure = Vec::new();
        for ((key, state), found) in devices.iter().zip(&found) {
            match keys::step(key, state, found) {
                Step::Nothing => {}
                Step::Write(more) => {
                    commands.extend(more);
                    written.push(*key);
                }
                Step::AskStorage => unsure.push(*key),
            }
        }
        if commands.is_empty() {
            link.unwatch().await?;
        } else if !link.write(&commands).await? {
            // Somebody else has written to one of them: each by itself.
            unsure.extend(written);
        }
        let mut again = Vec::new();
        for key in unsure {
            if !self.tell_from_storage(link, key).await? {
                again.push((key.clone(), None));
            }
        }
        Ok(again)
    }

    /// Reads the states that are not at hand. A device that cannot be read is left out: its next
    /// commit tells of it.
    async fn fill_up<'a>(&self, batch: &'a [Told]) -> Vec<(&'a DeviceKey, Excerpt)> {
        let each = batch.iter().map(async |(key, excerpt)| match excerpt {
            Some(excerpt) => Some((key, excerpt.clone())),
            None => Some((key, self.stored(key, false).await?.0)),
        });
        join_all(each).await.into_iter().flatten().collect()
    }

    /// Makes Redis hold what the storage does. Redis is watched before the storage is read: what
    /// it holds then has been committed before, so the storage is never the older one.
    async fn tell_from_storage(
        &self,
        link: &mut Link,
        key: &DeviceKey,
    ) -> Result<bool, RedisTrouble> {
        for _ in 0..TRIES {
            link.watch(&[key]).await?;
            let Some((state, window)) = self.stored(key, self.windows).await else {
                link.unwatch().await?;
                return Ok(true);
            };
            let found = link.look(&[(key, state.listed())]).await?;
            let step = match found.first() {
                Some(found) => keys::step(key, &state, found),
                None => Step::AskStorage,
            };
            let commands = match step {
                Step::Nothing => {
                    link.unwatch().await?;
                    return Ok(true);
                }
                Step::Write(commands) => commands,
                Step::AskStorage => keys::rewrite(key, &state, window.as_deref()),
            };
            if link.write(&commands).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What the storage says of a device, its window only if it is asked for; none of a device
    /// that has no stream, and of one that cannot be read now.
    async fn stored(
        &self,
        key: &DeviceKey,
        with_window: bool,
    ) -> Option<(Excerpt, Option<Window>)> {
        let read = self.store.on_device(key, move |folder| {
            let Some(state) = folder.state()? else { return Ok(None) };
            let window = with_window.then(|| folder.window(&state)).transpose()?;
            let starts = window.map(|window| {
                let numbers = window.media_sequence..;
                numbers.zip(window.entries.iter().map(|entry| entry.start)).collect()
            });
            Ok::<_, StoreError>(Some((Excerpt::of(&state), starts)))
        });
        match read.await {
            Ok(Some(stored)) => Some(stored),
            Ok(None) => {
                self.shared.pending().forget(key);
                None
            }
            Err(error) => {
                tracing::debug!(device = %key, %error, "Redis is not told of a device that cannot be read");
                None
            }
        }
    }

    fn warn(&mut self, trouble: &RedisTrouble) {
        self.watcher.down(trouble);
        if self.trouble.replace(trouble.reason) != Some(trouble.reason) {
            tracing::warn!(
                error_type = trouble.reason, %trouble,
                "Redis cannot be told of sessions; streams go on, and it is tried again"
            );
        }
    }

    fn is_well(&mut self) {
        self.watcher.up();
        if self.trouble.take().is_some() {
            tracing::info!("Redis is told of sessions again, and of all it may have lost");
        }
    }
}

/// The listed segments' numbers and capture times. Those are a playlist's: within a tenth of a
/// second.
type Window = Vec<(u64, UtcMillis)>;
