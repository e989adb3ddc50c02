//! Who of several operators works: the one that holds the Lease.
//!
//! Safe against two leaders: the Lease is only ever written with the resourceVersion that was
//! read, so of two that reach for it one is refused; whether another holder is silent is judged
//! by how long its Lease has not changed on our own clock, never by its; a leader that gets no
//! answer stops before another may begin; and one that was stopped itself and goes on later finds
//! its time over before its next write leaves.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::api_server::ApiServer;

/// What is to be done about the Lease (pure).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// There is none: make it.
    Create,
    /// It is free, ours, or its holder has been silent for too long: write it.
    Take,
    /// Somebody else holds it.
    Wait,
}

fn step(lease: Option<&LeaseSpec>, me: &str, unchanged_for: Duration, patience: Duration) -> Step {
    let Some(lease) = lease else { return Step::Create };
    let holder = lease.holder_identity.as_deref().unwrap_or_default();
    let secs = lease.lease_duration_seconds.and_then(|secs| u64::try_from(secs).ok());
    // A holder with another setting keeps its own promise.
    let patience = secs.map_or(patience, |secs| patience.max(Duration::from_secs(secs)));
    if holder.is_empty() || holder == me || unchanged_for > patience {
        Step::Take
    } else {
        Step::Wait
    }
}

/// A candidate, and then a leader.
pub struct Elector {
    api: ApiServer,
    leases: Api<Lease>,
    name: String,
    identity: String,
    lease: Duration,
    /// The version that was seen last, and since when.
    seen: Option<(String, Instant)>,
}

impl Elector {
    /// A candidate of this identity, which no other may have.
    pub fn new(
        api: ApiServer,
        namespace: &str,
        name: &str,
        identity: &str,
        lease: Duration,
    ) -> Self {
        // Until it leads it writes nothing.
        api.lead_until(Instant::now());
        let leases = Api::namespaced(api.client(), namespace);
        let (name, identity) = (name.to_owned(), identity.to_owned());
        Self { api, leases, name, identity, lease, seen: None }
    }

    /// Waits to be the leader; false if `stop` came first.
    pub async fn win(&mut self, stop: &CancellationToken) -> bool {
        let mut trouble = false;
        loop {
            let asked = Instant::now();
            let reached = timeout(self.interval(), self.reach()).await;
            let begins = !std::mem::replace(&mut trouble, !matches!(reached, Ok(Ok(_))));
            match reached {
                Ok(Ok(true)) => {
                    self.api.lead_until(asked + self.promise());
                    return true;
                }
                Ok(Ok(false)) => {}
                Ok(Err(error)) if begins => {
                    tracing::warn!(%error, "the Lease cannot be read or written");
                }
                Err(_) if begins => {
                    tracing::warn!("the API server does not answer about the Lease")
                }
                Ok(Err(_)) | Err(_) => {}
            }
            tokio::select! {
                () = stop.cancelled() => return false,
                () = sleep(self.interval() / 2) => {}
            }
        }
    }

    /// Renews until the lead is lost or `stop` comes.
    pub async fn keep(&mut self, stop: &CancellationToken) {
        let mut renewed = Instant::now();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(self.interval()) => {}
            }
            let asked = Instant::now();
            let left = self.promise().saturating_sub(renewed.elapsed());
            match timeout(left.min(self.interval()), self.reach()).await {
                // The promise counts from before the request.
                Ok(Ok(true)) => {
                    renewed = asked;
                    self.api.lead_until(asked + self.promise());
                }
                Ok(Ok(false)) => {
                    self.api.lead_until(Instant::now());
                    tracing::warn!("another operator leads: this one stops its work");
                    return;
                }
                Ok(Err(error)) => tracing::warn!(%error, "the Lease was not renewed"),
                Err(_) => tracing::warn!("the Lease was not renewed: no answer"),
            }
            if renewed.elapsed() >= self.promise() {
                tracing::warn!(
                    "the Lease could not be renewed in time: this operator stops its work"
                );
                return;
            }
        }
    }

    /// Gives the lead up, if it is ours, so that another need not wait.
    pub async fn release(&mut self) {
        let give_up = async {
            let Some(mut lease) = self.leases.get_opt(&self.name).await? else { return Ok(()) };
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_deref() != Some(&self.identity) {
                return Ok(());
            }
            spec.holder_identity = None;
            spec.renew_time = Some(MicroTime(Timestamp::now()));
            self.leases.replace(&self.name, &PostParams::default(), &lease).await.map(drop)
        };
        match timeout(self.interval(), give_up).await {
            Ok(Ok(())) => tracing::info!("the Lease is given up"),
            Ok(Err(error)) => {
                tracing::warn!(%error, "the Lease could not be given up: it runs out")
            }
            Err(_) => tracing::warn!("the Lease could not be given up: it runs out"),
        }
    }

    /// For how long after it has asked a leader may write: another begins later.
    fn promise(&self) -> Duration {
        self.lease * 2 / 3
    }

    fn interval(&self) -> Duration {
        self.lease / 3
    }

    /// Whether the Lease is ours now.
    async fn reach(&mut self) -> kube::Result<bool> {
        let found: Option<Lease> = self.leases.get_opt(&self.name).await?;
        let version = found.as_ref().and_then(|lease| lease.metadata.resource_version.clone());
        let unchanged_for = match (&self.seen, version) {
            (Some((seen, since)), Some(version)) if *seen == version => since.elapsed(),
            (_, version) => {
                self.seen = version.map(|version| (version, Instant::now()));
                Duration::ZERO
            }
        };
        let spec = found.as_ref().and_then(|lease| lease.spec.as_ref());
        let written = match step(spec, &self.identity, unchanged_for, self.lease) {
            Step::Wait => return Ok(false),
            Step::Create => {
                let lease = self.written(None);
                self.leases.create(&PostParams::default(), &lease).await
            }
            Step::Take => {
                let lease = self.written(found);
                // Its resourceVersion is the one that was read.
                self.leases.replace(&self.name, &PostParams::default(), &lease).await
            }
        };
        match written {
            Ok(lease) => {
                let version = lease.metadata.resource_version;
                self.seen = version.map(|version| (version, Instant::now()));
                Ok(true)
            }
            // Somebody was quicker.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn written(&self, found: Option<Lease>) -> Lease {
        let now = MicroTime(Timestamp::now());
        let before = found.as_ref().and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let ours = before.holder_identity.as_deref() == Some(&self.identity);
        let metadata = found.map(|lease| lease.metadata).unwrap_or_else(|| ObjectMeta {
            name: Some(self.name.clone()),
            ..ObjectMeta::default()
        });
        let transitions = before.lease_transitions.unwrap_or(0);
        let spec = LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.lease.as_secs()).ok(),
            acquire_time: before.acquire_time.filter(|_| ours).or_else(|| Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(if ours { transitions } else { transitions.saturating_add(1) }),
            ..before
        };
        Lease { metadata, spec: Some(spec) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held_by(holder: Option<&str>, secs: i32) -> LeaseSpec {
        LeaseSpec {
            holder_identity: holder.map(str::to_owned),
            lease_duration_seconds: Some(secs),
            ..LeaseSpec::default()
        }
    }

    #[test]
    fn only_a_lease_that_is_free_ours_or_silent_is_taken() {
        let patience = Duration::from_secs(15);
        let asked = |lease: Option<LeaseSpec>, secs| {
            step(lease.as_ref(), "me", Duration::from_secs(secs), patience)
        };
        assert_eq!(asked(None, 0), Step::Create);
        assert_eq!(asked(Some(held_by(None, 15)), 0), Step::Take);
        assert_eq!(asked(Some(held_by(Some(""), 15)), 0), Step::Take);
        assert_eq!(asked(Some(held_by(Some("me"), 15)), 0), Step::Take);
        assert_eq!(asked(Some(held_by(Some("other"), 15)), 15), Step::Wait);
        assert_eq!(asked(Some(held_by(Some("other"), 15)), 16), Step::Take);
        // It has promised to be back within a minute.
        assert_eq!(asked(Some(held_by(Some("other"), 60)), 16), Step::Wait);
    }
}
