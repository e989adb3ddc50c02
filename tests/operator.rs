//! The operator as a process under its own rights, against a real API server.
//!
//! No container runs here: what a node would say of pods is said by the test.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

#[path = "support/cluster/mod.rs"]
mod cluster;
#[path = "support/fleet.rs"]
mod film;
#[path = "support/servers/mod.rs"]
mod servers;
#[path = "support/store_fixture.rs"]
mod store_fixture;

#[path = "operator/api_server.rs"]
mod api_server;
#[path = "operator/children.rs"]
mod children;
#[path = "operator/definitions.rs"]
mod definitions;
#[path = "operator/fleet.rs"]
mod fleet;
#[path = "operator/leaders.rs"]
mod leaders;
#[path = "operator/proxy.rs"]
mod proxy;
#[path = "operator/rig.rs"]
mod rig;
#[path = "operator/rights.rs"]
mod rights;
#[path = "operator/silent.rs"]
mod silent;
#[path = "operator/troubles.rs"]
mod troubles;
