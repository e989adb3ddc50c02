//! What the API server has, as far as the operator looks: kept up to date by watches, which also
//! say which `StreamProcessor` is to be looked at again. Reads only.
//!
//! Deletions are told like every other change: no event is filtered away.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::{FutureExt, Stream, StreamExt};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret};
use kube::core::{DynamicObject, PartialObjectMeta};
use kube::runtime::reflector::{ObjectRef, Store, store::Writer};
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::crd::{DeviceSlice, StreamProcessor};
use super::kinds::Kind;
use super::names::{
    LABEL_COMPONENT, LABEL_INSTANCE, LABEL_MANAGED_BY, LABEL_PROCESSOR, MANAGED_BY,
};
use super::references::References;

/// Which object is to be looked at.
pub type Wanted = ObjectRef<StreamProcessor>;

/// What Kubernetes notes at a claim that has its volume.
/// <https://kubernetes.io/docs/reference/labels-annotations-taints/#pv-kubernetes-io-bind-completed>
const ANNOTATION_BOUND: &str = "pv.kubernetes.io/bind-completed";

/// How many of them may wait; the watches wait when there are more.
const QUEUE: usize = 1_024;

/// What is known.
#[derive(Clone)]
pub struct View {
    /// The objects.
    pub processors: Store<StreamProcessor>,
    /// Their slices.
    pub slices: Store<DeviceSlice>,
    /// The workers' pods.
    pub pods: Store<Pod>,
    secrets: Store<PartialObjectMeta<Secret>>,
    claims: Store<PartialObjectMeta<PersistentVolumeClaim>>,
    children: BTreeMap<Kind, Store<DynamicObject>>,
    listed: Arc<AtomicBool>,
    /// When it was begun to look.
    pub begun: Instant,
}

impl View {
    /// Whether everything has been listed once.
    pub fn is_listed(&self) -> bool {
        // Once ready, a store stays so.
        if !self.listed.load(Ordering::Relaxed) && self.ready().now_or_never().is_some() {
            self.listed.store(true, Ordering::Relaxed);
        }
        self.listed.load(Ordering::Relaxed)
    }

    /// A child by its name.
    pub fn child(&self, kind: Kind, namespace: &str, name: &str) -> Option<DynamicObject> {
        let key = ObjectRef::new_with(name, kind.resource()).within(namespace);
        self.children.get(&kind)?.get(&key).map(|object| (*object).clone())
    }

    /// The children of one kind that an object owns.
    pub fn owned(&self, kind: Kind, namespace: &str, uid: &str) -> Vec<DynamicObject> {
        let Some(store) = self.children.get(&kind) else { return Vec::new() };
        let found = store.state_filter(|child| {
            child.metadata.namespace.as_deref() == Some(namespace) && owned_by(child, uid)
        });
        found.into_iter().map(|child| (*child).clone()).collect()
    }

    /// The version of a secret; none if it is not there.
    pub fn secret_version(&self, namespace: &str, name: &str) -> Option<String> {
        let found = self.secrets.get(&ObjectRef::new(name).within(namespace))?;
        found.metadata.resource_version.clone()
    }

    /// Whether a claim has its volume for good; none if it is not there.
    pub fn claim_is_bound(&self, namespace: &str, name: &str) -> Option<bool> {
        let found = self.claims.get(&ObjectRef::new(name).within(namespace))?;
        Some(found.annotations().contains_key(ANNOTATION_BOUND))
    }

    /// The objects that have been seen of a label's value in a namespace.
    pub fn of_label<K>(store: &Store<K>, namespace: &str, label: &str, value: &str) -> Vec<Arc<K>>
    where
        K: Resource<DynamicType = ()> + Clone + 'static,
    {
        store.state_filter(|object| {
            object.namespace().as_deref() == Some(namespace)
                && object.labels().get(label).is_some_and(|found| found == value)
        })
    }

    /// Until everything has been listed once.
    async fn ready(&self) {
        let _ = self.processors.wait_until_ready().await;
        let _ = self.slices.wait_until_ready().await;
        let _ = self.pods.wait_until_ready().await;
        let _ = self.secrets.wait_until_ready().await;
        let _ = self.claims.wait_until_ready().await;
        for store in self.children.values() {
            let _ = store.wait_until_ready().await;
        }
    }
}

/// Whether `object` says that the object of this uid owns it.
pub fn owned_by(object: &DynamicObject, uid: &str) -> bool {
    object.metadata.owner_references.iter().flatten().any(|owner| owner.uid == uid)
}

/// Watches that run until they are dropped.
pub struct Watches {
    /// What they know.
    pub view: View,
    /// Which objects are to be looked at.
    pub queue: mpsc::Receiver<Wanted>,
    /// For others who want an object looked at.
    pub ask: mpsc::Sender<Wanted>,
    tasks: JoinSet<()>,
}

impl Watches {
    /// Begins to watch one namespace, or all. News of devices is gathered for `gather`; a watch is
    /// begun anew after `renew`, so that one whose connection died unseen is not for longer deaf.
    pub fn start(
        client: &Client,
        namespace: Option<&str>,
        gather: Duration,
        renew: Duration,
    ) -> Self {
        let (ask, queue) = mpsc::channel(QUEUE);
        let mut start = Starting { client, namespace, ask: ask.clone(), tasks: JoinSet::new() };
        let secs = u32::try_from(renew.as_secs()).unwrap_or(u32::MAX);
        let all = watcher::Config::default().timeout(secs.clamp(1, 290));
        let ours = all.clone().labels(&format!("{LABEL_MANAGED_BY}={MANAGED_BY}"));
        let processors = start
            .watch((), all.clone(), |object: &StreamProcessor| vec![ObjectRef::from_obj(object)]);
        let of_instance = |labels: &BTreeMap<String, String>, namespace: Option<String>| {
            labels
                .get(LABEL_INSTANCE)
                .zip(namespace)
                .map(|(name, namespace)| ObjectRef::new(name).within(&namespace))
                .into_iter()
                .collect::<Vec<Wanted>>()
        };
        let mut children = BTreeMap::new();
        for kind in Kind::BUILT_IN {
            let store = start.watch_dynamic(kind, ours.clone(), move |child: &DynamicObject| {
                of_instance(child.labels(), child.namespace())
            });
            children.insert(kind, store);
        }
        let workers =
            ours.labels(&format!("{LABEL_MANAGED_BY}={MANAGED_BY},{LABEL_COMPONENT}=consumer"));
        let pods =
            start.watch((), workers, move |pod: &Pod| of_instance(pod.labels(), pod.namespace()));
        let known = processors.clone();
        let naming = move |namespace: Option<String>, names: &dyn Fn(&References) -> bool| {
            let named = known.state_filter(|object| {
                object.namespace() == namespace && names(&References::of(&object.spec))
            });
            named.iter().map(|object| ObjectRef::from_obj(object.as_ref())).collect::<Vec<Wanted>>()
        };
        let (of_secret, of_claim) = (naming.clone(), naming);
        let secrets = start.watch((), all.clone(), move |secret: &PartialObjectMeta<Secret>| {
            let name = secret.name_any();
            of_secret(secret.namespace(), &|references| references.name_secret(&name))
        });
        let claims = start.watch(
            (),
            all.clone(),
            move |claim: &PartialObjectMeta<PersistentVolumeClaim>| {
                let name = claim.name_any();
                of_claim(claim.namespace(), &|references| references.claim.as_ref() == Some(&name))
            },
        );
        let direct =
            std::mem::replace(&mut start.ask, gathered(&mut start.tasks, ask.clone(), gather));
        let slices = start.watch((), all, |slice: &DeviceSlice| {
            let name = slice.labels().get(LABEL_PROCESSOR).cloned();
            name.zip(slice.namespace())
                .map(|(name, namespace)| ObjectRef::new(&name).within(&namespace))
                .into_iter()
                .collect()
        });
        drop(direct);
        let tasks = start.tasks;
        let (listed, begun) = (Arc::default(), Instant::now());
        let view = View { processors, slices, pods, secrets, claims, children, listed, begun };
        Self { view, queue, ask, tasks }
    }

    /// Takes the parts that a controller needs; the watches end with the tasks.
    pub fn into_parts(self) -> (View, mpsc::Receiver<Wanted>, mpsc::Sender<Wanted>, JoinSet<()>) {
        (self.view, self.queue, self.ask, self.tasks)
    }
}

struct Starting<'a> {
    client: &'a Client,
    namespace: Option<&'a str>,
    ask: mpsc::Sender<Wanted>,
    tasks: JoinSet<()>,
}

impl Starting<'_> {
    fn watch<K>(
        &mut self,
        kind: K::DynamicType,
        config: watcher::Config,
        names: impl Fn(&K) -> Vec<Wanted> + Send + Sync + 'static,
    ) -> Store<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + Sync
            + 'static,
    {
        let api = match self.namespace {
            Some(namespace) => Api::<K>::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        // Who manages which field is of no use here, and the larger part of a small object.
        let events = watcher(api, config).modify(|object| object.managed_fields_mut().clear());
        self.keep(Writer::new(kind), events, names)
    }

    fn watch_dynamic(
        &mut self,
        kind: Kind,
        config: watcher::Config,
        names: impl Fn(&DynamicObject) -> Vec<Wanted> + Send + Sync + 'static,
    ) -> Store<DynamicObject> {
        let resource = kind.resource();
        let api = match self.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        };
        self.keep(Writer::new(resource), watcher(api, config), names)
    }

    fn keep<K>(
        &mut self,
        writer: Writer<K>,
        events: impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
        names: impl Fn(&K) -> Vec<Wanted> + Send + Sync + 'static,
    ) -> Store<K>
    where
        K: Resource + Clone + Debug + Send + Sync + 'static,
        K::DynamicType: Eq + Hash + Clone + Debug + Send + Sync,
    {
        let store = writer.as_reader();
        self.tasks.spawn(follow(writer, events.default_backoff(), self.ask.clone(), names));
        store
    }
}

/// Keeps a store as the events say, and asks for the objects that a change is about.
///
/// What was deleted while nobody watched is told by no event: it is missing in the list with
/// which the next watch begins. So the end of a list asks for what was known before as well; and
/// not before its end, at which the store takes it over.
async fn follow<K>(
    writer: Writer<K>,
    events: impl Stream<Item = watcher::Result<Event<K>>> + Send,
    ask: mpsc::Sender<Wanted>,
    names: impl Fn(&K) -> Vec<Wanted>,
) where
    K: Resource + Clone + Debug + Send + Sync + 'static,
    K::DynamicType: Eq + Hash + Clone + Debug + Send + Sync,
{
    let store = writer.as_reader();
    let mut events = std::pin::pin!(reflector(writer, events));
    let mut known_before = Vec::new();
    while let Some(event) = events.next().await {
        let wanted: HashSet<Wanted> = match event {
            Ok(Event::Apply(object) | Event::Delete(object)) => {
                names(&object).into_iter().collect()
            }
            Ok(Event::Init) => {
                known_before = store.state();
                continue;
            }
            Ok(Event::InitApply(_)) => continue,
            Ok(Event::InitDone) => {
                let before = std::mem::take(&mut known_before);
                before.into_iter().chain(store.state()).flat_map(|object| names(&object)).collect()
            }
            Err(error) => {
                // What is wrong with the API server is told once, where it is asked.
                let kind = std::any::type_name::<K>();
                tracing::debug!(%error, kind, "a watch was interrupted: it goes on by itself");
                continue;
            }
        };
        for object in wanted {
            if ask.send(object).await.is_err() {
                return;
            }
        }
    }
}

/// A queue that hands on each object once in `gather`, however often it is named.
fn gathered(
    tasks: &mut JoinSet<()>,
    onwards: mpsc::Sender<Wanted>,
    gather: Duration,
) -> mpsc::Sender<Wanted> {
    let (ask, mut asked) = mpsc::channel::<Wanted>(QUEUE);
    tasks.spawn(async move {
        while let Some(first) = asked.recv().await {
            let mut named = HashSet::from([first]);
            let until = tokio::time::Instant::now() + gather;
            while let Ok(Some(more)) = tokio::time::timeout_at(until, asked.recv()).await {
                named.insert(more);
            }
            for wanted in named {
                if onwards.send(wanted).await.is_err() {
                    return;
                }
            }
        }
    });
    ask
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;

    use super::*;

    fn service(name: &str) -> Service {
        let mut service = Service::default();
        service.metadata.name = Some(name.into());
        service.metadata.namespace = Some("cameras".into());
        service
    }

    /// Which objects were asked for after these events; each service is its object's own.
    async fn asked(events: Vec<Event<Service>>) -> Vec<String> {
        let (ask, mut queue) = mpsc::channel(QUEUE);
        let names = |service: &Service| vec![ObjectRef::new(&service.name_any()).within("cameras")];
        let events = futures::stream::iter(events.into_iter().map(Ok));
        follow(Writer::default(), events, ask, names).await;
        let mut asked = Vec::new();
        while let Some(wanted) = queue.recv().await {
            asked.push(wanted.name);
        }
        asked.sort();
        asked
    }

    #[tokio::test]
    async fn what_comes_and_goes_is_asked_for() {
        let list = vec![Event::Init, Event::InitApply(service("a")), Event::InitDone];
        assert_eq!(asked(list).await, ["a"]);
        let changes = vec![Event::Apply(service("a")), Event::Delete(service("a"))];
        assert_eq!(asked(changes).await, ["a", "a"]);
    }

    #[tokio::test]
    async fn what_went_while_nobody_watched_is_asked_for_at_the_end_of_the_next_list() {
        let list = |names: &[&str]| {
            let found = names.iter().map(|name| Event::InitApply(service(name)));
            let mut events: Vec<_> = std::iter::once(Event::Init).chain(found).collect();
            events.push(Event::InitDone);
            events
        };
        let mut events = list(&["a", "b"]);
        // A list that was cut forgets nothing.
        events.extend([Event::Init, Event::InitApply(service("a"))]);
        events.extend(list(&["a"]));
        assert_eq!(asked(events).await, ["a", "a", "b", "b"]);
    }

    #[tokio::test]
    async fn a_list_is_asked_about_once_it_is_known() {
        let writer = Writer::<Service>::default();
        let store = writer.as_reader();
        let (ask, mut queue) = mpsc::channel(QUEUE);
        let events = [Event::Init, Event::InitApply(service("a")), Event::InitDone];
        let names = move |service: &Service| {
            let known = store.get(&ObjectRef::from_obj(service)).is_some();
            vec![ObjectRef::new(if known { "known" } else { "unknown" })]
        };
        follow(writer, futures::stream::iter(events.map(Ok)), ask, names).await;
        assert_eq!(queue.recv().await.map(|wanted| wanted.name), Some("known".into()));
    }
}
