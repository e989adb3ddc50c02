//! Names, frames, the device's durable state, the commit.
//!
//! Architecture invariant: segment, then state, then playlist, each durable before the next,
//! all of it while this process alone holds the device; whoever finds the state changed by
//! another changes nothing.

mod state;

pub use state::{DeviceState, FrameRecord, SegmentRecord};
