//! What is installed in a cluster beside the program agrees with the program and with itself: the
//! dashboard and the alerts with the metrics that are exported, the Helm chart with `manifests`.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

#[path = "manifests/chart.rs"]
mod chart;
#[path = "manifests/exported.rs"]
mod exported;
#[path = "manifests/files.rs"]
mod files;
#[path = "manifests/helm.rs"]
mod helm;
#[path = "manifests/monitoring.rs"]
mod monitoring;
#[path = "manifests/promql.rs"]
mod promql;
#[path = "support/servers/mod.rs"]
mod servers;
