//! What looks after streams, as processes: beside workers, again and again, by hand; and what
//! each command says and does where the storage is not as it should be.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may panic.

mod all_in_one;
#[path = "../support/archive_fixture.rs"]
mod archive_fixture;
#[path = "../support/broker.rs"]
#[allow(dead_code, reason = "each test binary uses its part of the rig")]
mod broker;
#[path = "../support/consumer.rs"]
mod consumer;
mod continuous;
mod damage;
#[path = "../support/fleet.rs"]
mod fleet;
#[path = "../bad_input/pictures.rs"]
#[allow(dead_code, reason = "each test binary uses its part of the rig")]
mod pictures;
#[path = "../support/redis_agreement.rs"]
mod redis_agreement;
mod reset;
mod rig;
#[path = "../support/servers/mod.rs"]
mod servers;
#[path = "../support/small_disk.rs"]
mod small_disk;
mod storages;
#[path = "../support/store_fixture.rs"]
mod store_fixture;
