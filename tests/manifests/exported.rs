//! What the program exports, from its own registries.

use std::collections::{BTreeMap, BTreeSet};

use prometheus::proto::MetricType;
use stream_processor::http::{Exposition, Metrics};
use stream_processor::operator::crd::DeviceCounts;
use stream_processor::operator::metrics::OperatorMetrics;

/// The labels that Prometheus gives to what it scrapes by a `PodMonitor`.
pub const SCRAPED: &[&str] = &["namespace", "job", "pod"];

/// One series name.
#[derive(Clone, Debug)]
pub struct Series {
    /// Whether it only ever grows, so that only its rate says anything.
    pub counts: bool,
    /// Its own labels, each with the values that are known from the start.
    pub labels: BTreeMap<String, BTreeSet<String>>,
}

/// All series by name.
pub fn series() -> BTreeMap<String, Series> {
    let mut all = BTreeMap::new();
    let worker = Metrics::new().unwrap().registry().gather();
    let operator = OperatorMetrics::new().unwrap();
    // Of a fleet, where one is looked after.
    operator.devices("cameras", "fleet", Some(DeviceCounts::default()));
    let operator = operator.registry().gather();
    for family in worker.into_iter().chain(operator) {
        let mut labels: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for pair in family.get_metric().iter().flat_map(|metric| metric.get_label()) {
            labels.entry(pair.name().into()).or_default().insert(pair.value().into());
        }
        let name = family.name().to_owned();
        let kind = family.get_field_type();
        if kind == MetricType::HISTOGRAM {
            for part in ["_bucket", "_sum", "_count"] {
                let mut labels = labels.clone();
                if part == "_bucket" {
                    labels.insert("le".into(), BTreeSet::new());
                }
                all.insert(format!("{name}{part}"), Series { counts: true, labels });
            }
        } else {
            all.insert(name, Series { counts: kind == MetricType::COUNTER, labels });
        }
    }
    all
}
