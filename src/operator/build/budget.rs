//! How many workers a drain of nodes may take at once. Pure.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::meta;
use crate::operator::names::Component;
use crate::operator::validate::Validated;

/// One at a time: its devices move to the others before the next one goes. A single worker may
/// be moved, too, or no node could ever be drained.
pub fn budget(of: &Validated) -> PodDisruptionBudget {
    let selector = Component::Consumer.selector(&of.name);
    PodDisruptionBudget {
        metadata: meta(of, &Component::Consumer.name(&of.name), Component::Consumer),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(LabelSelector { match_labels: Some(selector), match_expressions: None }),
            // One that does not get ready must not hold up a drain.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".into()),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    }
}
