//! Synthetic cameras: pictures that look enough like a street to cost an encoder what a real
//! camera's cost, and the feed that plays ingest service to them.
//!
//! | file | owns |
//! |---|---|
//! | [`scene`] | one camera's pictures: pure, the same for the same seed and instant |
//! | [`feed`] | the contract's frame paths and messages, and the loop over the cameras |
//!
//! Architecture invariant: the worker never needs this; benches and tests use the same
//! pictures.

mod backdrop;
mod canvas;
pub mod feed;
mod movers;
pub mod scene;
mod texture;

pub use feed::{Cameras, CamerasConfig};
pub use scene::Scene;
