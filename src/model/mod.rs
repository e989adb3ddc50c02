//! Words that every room shares: ids, frame events, instants, the clock.
//!
//! Architecture invariant: nothing here does IO and nothing here imports another room.

mod backoff;
mod causes;
mod clock;
mod event;
mod id;
mod instant;
mod secret;

pub use backoff::Backoff;
pub use causes::causes;
pub use clock::{Clock, ManualClock, SystemClock};
pub use event::{ClaimedIds, EventError, FrameEvent, PlausibleTimes};
pub use id::{ClientId, DeviceId, DeviceKey, EventId, IdError, SessionId};
pub use instant::UtcMillis;
pub use secret::Secret;
