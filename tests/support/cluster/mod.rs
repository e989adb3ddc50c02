//! A real Kubernetes control plane for tests: etcd, kube-apiserver and kube-controller-manager on
//! loopback, with RBAC and an audit log, until it is dropped or the test run has ended, however
//! it ended. There is no node in it, so no container ever runs: `node.sh` has one.
//!
//! A test binary that has this module has `support/servers` as `servers` at its root as well.
#![allow(dead_code)] // Each test binary uses its own part of it.

mod access;
pub mod audit;
mod builds;
mod control_plane;
mod pods;

#[allow(unused_imports)]
pub use access::client_of;
pub use control_plane::ControlPlane;
