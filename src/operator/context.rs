//! What reconciliations share: the client, what is known of the cluster, and what is remembered
//! between two looks. Bounded by the objects that there are.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::core::DynamicObject;
use kube::runtime::events::Recorder;
use kube::{Client, ResourceExt};

use super::api_server::ApiServer;
use super::build::Child;
use super::conditions::Obstacle;
use super::crd::StreamProcessor;
use super::definitions::Installed;
use super::kinds::Kind;
use super::metrics::OperatorMetrics;
use super::rights::advice;
use super::scaling::{Load, Memory};
use super::view::View;
use crate::model::{Backoff, Clock, UtcMillis};

/// The shortest pause after a failure.
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What Pulsar said last of one object's subscription.
#[derive(Clone, Debug, Default)]
pub struct Backlog {
    /// Messages that wait.
    pub messages: Option<i64>,
    /// When the oldest of them was published.
    pub oldest_at: Option<UtcMillis>,
    /// Whether it was asked for and there was no answer.
    pub is_unknown: bool,
}

/// One object's memory.
#[derive(Default)]
struct Remembered {
    backoff: Option<Backoff>,
    /// The kinds of failure that were told of since it went well.
    failures: BTreeSet<&'static str>,
    backlog: Backlog,
    scaling: Memory,
}

type ChildKey = (Kind, String, String);
type SecretKeyOf = (String, String, String);

/// Shared by all reconciliations of one scope.
pub struct Context {
    /// The way to the API server.
    pub api: ApiServer,
    /// A client that goes this way.
    pub client: Client,
    /// What is known of it.
    pub view: View,
    /// Whether all namespaces are looked after, or one.
    pub all_namespaces: bool,
    /// The image of objects that name none.
    pub default_image: String,
    /// Who tells people.
    pub recorder: Recorder,
    /// Numbers.
    pub metrics: OperatorMetrics,
    /// The time.
    pub clock: Arc<dyn Clock>,
    pod_monitors: AtomicBool,
    definitions: Mutex<Arc<Installed>>,
    objects: Mutex<HashMap<String, Remembered>>,
    /// Children of which the API server keeps another value, by what was applied.
    settled: Mutex<HashMap<ChildKey, (String, Option<String>)>>,
    digests: Mutex<HashMap<SecretKeyOf, (String, Option<String>)>>,
    /// What the API server answered last to an apply, by uid: the generation.
    applied: Mutex<HashMap<String, i64>>,
}

impl Context {
    /// Nothing is remembered yet.
    pub fn new(
        api: ApiServer,
        view: View,
        all_namespaces: bool,
        default_image: String,
        recorder: Recorder,
        metrics: OperatorMetrics,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            client: api.client(),
            api,
            view,
            all_namespaces,
            default_image,
            recorder,
            metrics,
            clock,
            pod_monitors: AtomicBool::new(false),
            definitions: Mutex::default(),
            objects: Mutex::default(),
            settled: Mutex::default(),
            digests: Mutex::default(),
            applied: Mutex::default(),
        }
    }

    /// What keeps the operator from knowing what is there: without it, what is there would be
    /// taken for missing, or what was there for what is.
    pub fn unknowable(&self, object: &StreamProcessor) -> Option<Obstacle> {
        let mut missing = self.api.missing_rights(object.metadata.namespace.as_deref());
        missing.retain(|right| matches!(right.verb.as_str(), "list" | "watch"));
        if !missing.is_empty() {
            return Some(Obstacle::Forbidden(advice(&missing)));
        }
        let late = !self.view.is_listed() && self.view.begun.elapsed() > self.api.patience();
        late.then(|| {
            let sentence = "the API server has not listed yet what there is; the operator's log \
                            says what it answers";
            Obstacle::Away(sentence.into())
        })
    }

    /// Whether the cluster knows PodMonitors.
    pub fn has_pod_monitors(&self) -> bool {
        self.pod_monitors.load(Ordering::Relaxed)
    }

    /// Says whether it does; true if that is news.
    pub fn set_pod_monitors(&self, there: bool) -> bool {
        self.pod_monitors.swap(there, Ordering::Relaxed) != there
    }

    /// The definitions as they are installed, as they were when they were looked at last.
    pub fn definitions(&self) -> Arc<Installed> {
        lock(&self.definitions).clone()
    }

    /// Notes how they are now; true if that is news.
    pub fn set_definitions(&self, installed: Installed) -> bool {
        let mut known = lock(&self.definitions);
        let news = **known != installed;
        *known = Arc::new(installed);
        news
    }

    /// Another failure of this kind with this object: how long to wait, and whether it is news.
    pub fn failed(&self, uid: &str, kind: &'static str) -> (Duration, bool) {
        let mut objects = lock(&self.objects);
        let remembered = objects.entry(uid.to_owned()).or_default();
        let backoff =
            remembered.backoff.get_or_insert_with(|| Backoff::new(SHORTEST_PAUSE, LONGEST_PAUSE));
        (backoff.pause(), remembered.failures.insert(kind))
    }

    /// It went well; true if it had not the last time.
    pub fn succeeded(&self, uid: &str) -> bool {
        let mut objects = lock(&self.objects);
        let Some(remembered) = objects.get_mut(uid) else { return false };
        remembered.backoff = None;
        !std::mem::take(&mut remembered.failures).is_empty()
    }

    /// What Pulsar said last.
    pub fn backlog(&self, uid: &str) -> Backlog {
        lock(&self.objects).get(uid).map(|r| r.backlog.clone()).unwrap_or_default()
    }

    /// What Pulsar says now.
    pub fn set_backlog(&self, uid: &str, backlog: Backlog) {
        lock(&self.objects).entry(uid.to_owned()).or_default().backlog = backlog;
    }

    /// Decides about the number of workers with what is remembered of this object.
    pub fn scale<T>(&self, uid: &str, decide: impl FnOnce(&mut Memory, Load) -> T) -> T {
        let now = self.clock.now();
        let mut objects = lock(&self.objects);
        let remembered = objects.entry(uid.to_owned()).or_default();
        let backlog = &remembered.backlog;
        let age =
            backlog.oldest_at.map(|at| i64::try_from(now.since(at).as_secs()).unwrap_or(i64::MAX));
        let none_waits = backlog.messages == Some(0);
        let load = Load {
            devices: None,
            backlog: backlog.messages,
            oldest_age_secs: if none_waits { Some(0) } else { age },
        };
        decide(&mut remembered.scaling, load)
    }

    /// Forgets objects that are not there any more.
    pub fn retain(&self, is_there: impl Fn(&str) -> bool) {
        lock(&self.objects).retain(|uid, _| is_there(uid));
        // Rebuilt at need; this keeps them from growing with names that come and go.
        const MOST: usize = 10_000;
        let lens =
            [lock(&self.settled).len(), lock(&self.digests).len(), lock(&self.applied).len()];
        if lens.iter().any(|len| *len > MOST) {
            lock(&self.settled).clear();
            lock(&self.digests).clear();
            lock(&self.applied).clear();
        }
    }

    /// Notes what came of an apply.
    pub fn note_applied(&self, object: &DynamicObject) {
        if let (Some(uid), Some(generation)) = (object.uid(), object.metadata.generation) {
            lock(&self.applied).insert(uid, generation);
        }
    }

    /// The generation that an object has at least: the watches may not have told of it yet.
    pub fn least_generation(&self, uid: &str) -> Option<i64> {
        lock(&self.applied).get(uid).copied()
    }

    /// Whether exactly this was applied and the object has not changed since.
    pub fn is_settled(&self, child: &Child, namespace: &str, version: Option<&str>) -> bool {
        let key = (child.kind, namespace.to_owned(), child.name.clone());
        lock(&self.settled)
            .get(&key)
            .is_some_and(|(digest, seen)| *digest == child.digest && seen.as_deref() == version)
    }

    /// Remembers that this was applied and came to this version.
    pub fn settle(&self, child: &Child, namespace: &str, version: Option<&str>) {
        let key = (child.kind, namespace.to_owned(), child.name.clone());
        lock(&self.settled).insert(key, (child.digest.clone(), version.map(str::to_owned)));
    }

    /// The digest of a secret's key at this version, if it has been read.
    pub fn known_digest(
        &self,
        namespace: &str,
        name: &str,
        key: &str,
        version: &str,
    ) -> Option<Option<String>> {
        let of = (namespace.to_owned(), name.to_owned(), key.to_owned());
        let digests = lock(&self.digests);
        digests.get(&of).filter(|(seen, _)| seen == version).map(|(_, digest)| digest.clone())
    }

    /// Remembers it.
    pub fn keep_digest(
        &self,
        namespace: &str,
        name: &str,
        key: &str,
        version: &str,
        digest: Option<String>,
    ) {
        let of = (namespace.to_owned(), name.to_owned(), key.to_owned());
        lock(&self.digests).insert(of, (version.to_owned(), digest));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
