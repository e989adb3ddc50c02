//! Looks at all devices, ends the sessions that are over, and has done what follows: Redis is
//! told, sessions are archived. Owns the order of these; decides nothing by itself.
//!
//! Any number of checkers may be at work: a session is ended by a commit of its own, on condition
//! that the device is still as it was seen, so one of them does it, and none does while a worker
//! commits. The worker then finds the state changed, reads it again and begins a new session.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use super::watch::{Verdict, Watch};
use super::{SessionMirror, SessionRules};
use crate::model::{Clock, DeviceKey};
use crate::store::{DeviceState, Store, StoreError};

/// Devices that are looked at together.
const AT_ONCE: usize = 16;
/// How soon a device is looked at again with which something went wrong.
const PAUSE: Duration = Duration::from_secs(30);

/// What is done of a device after it has been looked at: its finished sessions are archived.
#[async_trait]
pub trait AfterCheck: Send + Sync {
    /// Does what is due.
    async fn run(&self, device: &DeviceKey) -> Result<Afterwards, Box<dyn Error + Send + Sync>>;
}

/// Is shown each device as a look has found it. Never waits.
pub trait Witness: Send + Sync {
    /// The device's state, after a session that was over has been ended.
    fn saw(&self, device: &DeviceKey, state: &DeviceState);
}

/// What was done of a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Afterwards {
    /// Archives made.
    pub archives: u64,
    /// Sessions that could not be archived so far, and are tried again.
    pub waiting: usize,
    /// Whether it is to be done again at the next look.
    pub again: bool,
}

/// What a pass over all devices has come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pass {
    /// Devices that there are.
    pub devices: u64,
    /// Those that were due and have been looked at.
    pub looked_at: u64,
    /// Sessions ended, by this checker.
    pub ended: u64,
    /// Archives made.
    pub archives: u64,
    /// Devices with which something went wrong.
    pub errors: u64,
}

/// What a look at one device has come to.
struct Looked {
    key: DeviceKey,
    watch: Watch,
    ended: bool,
    archives: u64,
    failed: bool,
}

/// Looks at devices, and remembers when to look again.
pub struct Checker {
    looker: Looker,
    watches: HashMap<DeviceKey, Watch>,
}

struct Looker {
    store: Store,
    rules: SessionRules,
    clock: Arc<dyn Clock>,
    mirror: Option<SessionMirror>,
    after: Option<Arc<dyn AfterCheck>>,
    witness: Option<Arc<dyn Witness>>,
}

impl Checker {
    /// One that knows no device yet.
    pub fn new(
        store: Store,
        rules: SessionRules,
        clock: Arc<dyn Clock>,
        mirror: Option<SessionMirror>,
        after: Option<Arc<dyn AfterCheck>>,
    ) -> Self {
        let looker = Looker { store, rules, clock, mirror, after, witness: None };
        Self { looker, watches: HashMap::new() }
    }

    /// Shows each device that is looked at to `witness`.
    pub fn watched_by(&mut self, witness: Arc<dyn Witness>) {
        self.looker.witness = Some(witness);
    }

    /// Looks at the devices that are due, those that are new among them; `tell` is called after
    /// each with how many there are and how many are done. Ends early, between two devices, when
    /// `stop` is cancelled. What goes wrong with one device is logged and counted.
    ///
    /// # Errors
    /// [`StoreError`] if the devices cannot be listed.
    pub async fn pass(
        &mut self,
        stop: &CancellationToken,
        tell: impl Fn(u64, u64),
    ) -> Result<Pass, StoreError> {
        let devices = self.looker.store.devices().await?;
        let mut pass = Pass { devices: devices.len() as u64, ..Pass::default() };
        let uptime = self.looker.clock.uptime();
        let mut before = std::mem::take(&mut self.watches);
        let mut due = Vec::new();
        for key in devices {
            let watch = before.remove(&key).unwrap_or_default();
            if watch.is_due(uptime) {
                due.push((key, watch));
            } else {
                self.watches.insert(key, watch);
            }
        }
        let all = due.len() as u64;
        let (looker, stop) = (&self.looker, stop.clone());
        let looks = due.into_iter().map(|(key, watch)| {
            let stop = stop.clone();
            async move {
                match stop.is_cancelled() {
                    true => None,
                    false => Some(looker.look(key, watch).await),
                }
            }
        });
        let mut looks = futures::stream::iter(looks).buffer_unordered(AT_ONCE);
        while let Some(looked) = looks.next().await {
            let Some(Looked { key, watch, ended, archives, failed }) = looked else { continue };
            self.watches.insert(key, watch);
            pass.looked_at += 1;
            pass.ended += u64::from(ended);
            pass.archives += archives;
            pass.errors += u64::from(failed);
            tell(all, pass.looked_at);
        }
        Ok(pass)
    }

    /// How long until every session that seems to be over can be looked at a second time, which
    /// decides; none if there is no such session.
    pub fn second_look_in(&self) -> Option<Duration> {
        let due = self.watches.values().filter_map(Watch::second_look_due).max()?;
        Some(due.saturating_sub(self.looker.clock.uptime()))
    }

    /// How many sessions could not be archived so far.
    pub fn sessions_waiting(&self) -> usize {
        self.watches.values().map(Watch::sessions_waiting).sum()
    }

    /// How many devices were in a session when they were last looked at.
    pub fn open_sessions(&self) -> usize {
        self.watches.values().filter(|watch| watch.in_session()).count()
    }
}

impl Looker {
    async fn look(&self, key: DeviceKey, mut watch: Watch) -> Looked {
        let mut ended = false;
        let mut archives = 0;
        let result = self.check(&key, &mut watch, &mut ended, &mut archives).await;
        let failed = result.is_err();
        match result {
            Ok(()) => {
                if watch.went_well() {
                    tracing::info!(device = %key, "mended: the device is checked again");
                }
            }
            Err(Failure { reason, error }) => {
                if watch.failed(reason, self.clock.uptime(), PAUSE) {
                    tracing::warn!(
                        device = %key, error_type = reason, %error,
                        "the device cannot be checked now: it is tried again"
                    );
                }
            }
        }
        Looked { key, watch, ended, archives, failed }
    }

    async fn check(
        &self,
        key: &DeviceKey,
        watch: &mut Watch,
        ended: &mut bool,
        archives: &mut u64,
    ) -> Result<(), Failure> {
        let Some(mut state) = self.read(key, watch).await? else { return Ok(()) };
        let (uptime, now) = (self.clock.uptime(), self.clock.now());
        let verdict = watch.look(state.session.as_ref(), &self.rules, uptime, now);
        if let Verdict::End(id, unchanged_since) = verdict {
            *ended = match self.store.end_session(key, &id, unchanged_since).await {
                // A worker was faster: its session goes on.
                Err(StoreError::Overtaken { .. }) => false,
                other => other?,
            };
            if *ended {
                tracing::info!(device = %key, session = %id, "the session is over");
            }
            // Ended by us or by another, or gone on.
            let Some(after) = self.read(key, watch).await? else { return Ok(()) };
            state = after;
            let _ = watch.look(state.session.as_ref(), &self.rules, uptime, now);
        }
        if let Some(mirror) = &self.mirror {
            mirror.tell(key, &state);
        }
        if let Some(witness) = &self.witness {
            witness.saw(key, &state);
        }
        let Some(after) = &self.after else { return Ok(()) };
        if watch.is_to_follow_up(&state, uptime) {
            let done = after.run(key).await.map_err(Failure::afterwards)?;
            *archives = done.archives;
            watch.followed_up(&state, uptime, done);
        }
        Ok(())
    }

    /// The device's state; none, and looked at, if it has no stream.
    async fn read(
        &self,
        key: &DeviceKey,
        watch: &mut Watch,
    ) -> Result<Option<DeviceState>, StoreError> {
        let state = self.store.on_device(key, |folder| folder.state()).await?;
        if state.is_none() {
            let _ = watch.look(None, &self.rules, self.clock.uptime(), self.clock.now());
        }
        Ok(state)
    }
}

/// Why a device could not be checked.
struct Failure {
    reason: &'static str,
    error: Box<dyn Error + Send + Sync>,
}

impl Failure {
    fn afterwards(error: Box<dyn Error + Send + Sync>) -> Self {
        Self { reason: "archive", error }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self { reason: error.reason(), error: error.into() }
    }
}
