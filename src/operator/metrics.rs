//! The operator's own metrics, on a registry of their own.

use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use super::crd::{DeviceCounts, DeviceState};
use super::kinds::Kind;
use super::troubles::Trouble;
use crate::http::Exposition;

/// What stands before every name.
const NAMESPACE: &str = "stream_processor_operator";
/// From a look that finds nothing to do to an API server in trouble.
const RECONCILE_SECS: &[f64] = &[0.001, 0.005, 0.02, 0.1, 0.5, 1.0, 5.0, 30.0];

/// The operator's metrics. Cheap to clone: clones count into the same numbers.
#[derive(Clone, Debug)]
pub struct OperatorMetrics {
    registry: Registry,
    /// Looks at an object.
    pub reconciles: IntCounter,
    /// Looks that have to be tried again.
    pub reconcile_failures: IntCounter,
    /// How long a look takes.
    pub reconcile_secs: Histogram,
    /// Statuses written.
    pub status_writes: IntCounter,
    /// 1 while this operator leads.
    pub leader: IntGauge,
    /// Objects that are looked after.
    pub processors: IntGauge,
    /// Slices that are known.
    pub slices: IntGauge,
    /// Questions to Pulsar that were not answered.
    pub backlog_failures: IntCounter,
    /// Rights that the operator lacks.
    pub missing_rights: IntGauge,
    /// 1 while the installed definitions lack something.
    pub definitions_outdated: IntGauge,
    api_failures: IntCounterVec,
    devices: IntGaugeVec,
    applied: IntCounterVec,
    removed: IntCounterVec,
}

impl OperatorMetrics {
    /// All of them, at 0.
    ///
    /// # Errors
    /// Two metrics of one name: a defect.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        registry.register(Box::new(ProcessCollector::for_self()))?;
        let options = |name: &str, help: &str| Opts::new(name, help).namespace(NAMESPACE);
        let counter = |name, help| {
            let counter = IntCounter::with_opts(options(name, help))?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let gauge = |name, help| {
            let gauge = IntGauge::with_opts(options(name, help))?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let by_kind = |name, help| {
            let counter = IntCounterVec::new(options(name, help), &["kind"])?;
            for kind in Kind::BUILT_IN {
                counter.with_label_values(&[kind.as_str()]);
            }
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let help = "How long a look at a StreamProcessor took, in seconds.";
        let opts = HistogramOpts::new("reconcile_duration_seconds", help)
            .namespace(NAMESPACE)
            .buckets(RECONCILE_SECS.to_vec());
        let reconcile_secs = Histogram::with_opts(opts)?;
        registry.register(Box::new(reconcile_secs.clone()))?;
        let help =
            "Requests to the API server that it did not answer as it should, by what was wrong.";
        let api_failures = IntCounterVec::new(options("api_failures_total", help), &["trouble"])?;
        for trouble in Trouble::ALL {
            api_failures.with_label_values(&[trouble.as_str()]);
        }
        registry.register(Box::new(api_failures.clone()))?;
        let help = "Devices of a StreamProcessor by how they are; only of the operator that leads.";
        let devices = IntGaugeVec::new(options("devices", help), &["namespace", "name", "state"])?;
        registry.register(Box::new(devices.clone()))?;
        Ok(Self {
            reconciles: counter("reconciles_total", "Looks at a StreamProcessor.")?,
            reconcile_failures: counter(
                "reconcile_failures_total",
                "Looks at a StreamProcessor that have to be tried again. A rate above 0 for long means that the API server refuses or does not answer.",
            )?,
            reconcile_secs,
            status_writes: counter(
                "status_writes_total",
                "Statuses of a StreamProcessor that were written.",
            )?,
            leader: gauge(
                "leader",
                "1 while this operator leads. The sum over all operators should be 1.",
            )?,
            processors: gauge(
                "processors",
                "StreamProcessor objects that are looked after; 0 while another operator leads.",
            )?,
            slices: gauge(
                "device_slices",
                "DeviceSlice objects that are known; 0 while another operator leads.",
            )?,
            backlog_failures: counter(
                "backlog_failures_total",
                "Questions to Pulsar's admin interface that were not answered.",
            )?,
            missing_rights: gauge(
                "missing_rights",
                "Rights that the API server has refused the operator for want of; its log and the conditions name them.",
            )?,
            definitions_outdated: gauge(
                "definitions_outdated",
                "1 while the installed definitions lack fields that this operator writes; its log and the conditions name them.",
            )?,
            api_failures,
            devices,
            applied: by_kind("children_applied_total", "Children that were created or mended.")?,
            removed: by_kind(
                "children_removed_total",
                "Children that were removed because they are not asked for any more.",
            )?,
            registry,
        })
    }

    /// A child was created or mended.
    pub fn child_applied(&self, kind: Kind) {
        self.applied.with_label_values(&[kind.as_str()]).inc();
    }

    /// The API server did not answer as it should.
    pub fn api_failed(&self, trouble: Trouble) {
        self.api_failures.with_label_values(&[trouble.as_str()]).inc();
    }

    /// How the devices of an object are; with none, nothing is said of it any more.
    pub fn devices(&self, namespace: &str, name: &str, counts: Option<DeviceCounts>) {
        for state in DeviceState::ALL {
            let labels = [namespace, name, state.as_str()];
            match counts {
                Some(counts) => self.devices.with_label_values(&labels).set(counts.of(state)),
                // It may not have been told of.
                None => drop(self.devices.remove_label_values(&labels)),
            }
        }
    }

    /// Another leads: nothing is said of any object.
    pub fn not_leading(&self) {
        self.leader.set(0);
        self.processors.set(0);
        self.slices.set(0);
        self.devices.reset();
    }

    /// A child was removed.
    pub fn child_removed(&self, kind: Kind) {
        self.removed.with_label_values(&[kind.as_str()]).inc();
    }
}

impl Exposition for OperatorMetrics {
    fn registry(&self) -> &Registry {
        &self.registry
    }
}
