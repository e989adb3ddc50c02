//! How metrics are found, a Service, and a PodMonitor where the cluster knows that kind; and how
//! viewers find the streams. Pure.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::core::DynamicObject;
use serde_json::json;

use super::meta;
use super::pod::{METRICS_PORT_NAME, SERVE_PORT_NAME};
use crate::operator::kinds::Kind;
use crate::operator::names::{APPLICATION, Component, LABEL_INSTANCE, LABEL_NAME, metrics_service};
use crate::operator::validate::Validated;

/// The workers' metrics by one name. It has no address of its own: whoever asks gets the pods.
pub fn metrics(of: &Validated) -> Service {
    Service {
        metadata: meta(of, &metrics_service(&of.name), Component::Shared),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".into()),
            selector: Some(Component::Consumer.selector(&of.name)),
            ports: Some(vec![ServicePort {
                name: Some(METRICS_PORT_NAME.into()),
                port: of.metrics_port,
                target_port: Some(IntOrString::String(METRICS_PORT_NAME.into())),
                protocol: Some("TCP".into()),
                ..ServicePort::default()
            }]),
            // One that is not ready is the one whose metrics are wanted most.
            publish_not_ready_addresses: Some(true),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// The streams and the page by one name, within the cluster: what stands before it, an Ingress or
/// a Gateway, brings TLS.
pub fn serve(of: &Validated) -> Service {
    Service {
        metadata: meta(of, &Component::Serve.name(&of.name), Component::Serve),
        spec: Some(ServiceSpec {
            selector: Some(Component::Serve.selector(&of.name)),
            ports: Some(vec![ServicePort {
                name: Some(SERVE_PORT_NAME.into()),
                port: 80,
                target_port: Some(IntOrString::String(SERVE_PORT_NAME.into())),
                protocol: Some("TCP".into()),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// For the Prometheus operator: all pods that serve metrics.
pub fn pod_monitor(of: &Validated) -> DynamicObject {
    let mut monitor = DynamicObject::new(&of.name, &Kind::PodMonitor.resource());
    monitor.metadata = meta(of, &of.name, Component::Shared);
    monitor.data(json!({
        "spec": {
            "selector": {"matchLabels": {LABEL_NAME: APPLICATION, LABEL_INSTANCE: of.name}},
            "podMetricsEndpoints": [{"port": METRICS_PORT_NAME}],
        },
    }))
}
