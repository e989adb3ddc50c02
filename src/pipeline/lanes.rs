//! What is live and what is backlog, and whose turn it is in each (pure).

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::{DeviceKey, UtcMillis};

/// How urgent a frame or a group is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lane {
    /// Somebody may be watching the live edge.
    Live,
    /// Frames from a while ago.
    Backlog,
}

impl Lane {
    /// Where what was taken then belongs: live is what was taken within `live_within` of now.
    pub(super) fn of(captured_at: UtcMillis, live_within: Duration, now: UtcMillis) -> Self {
        if now.since(captured_at) <= live_within { Self::Live } else { Self::Backlog }
    }
}

/// Devices that wait, each in the lane that it was in when it came here, in turn.
#[derive(Debug, Default)]
pub(super) struct Turns {
    live: VecDeque<DeviceKey>,
    backlog: VecDeque<DeviceKey>,
}

impl Turns {
    /// How many wait in a lane.
    pub(super) fn count(&self, lane: Lane) -> usize {
        match lane {
            Lane::Live => self.live.len(),
            Lane::Backlog => self.backlog.len(),
        }
    }

    /// Adds a device behind the others of the lane; it must not wait already.
    pub(super) fn push(&mut self, device: DeviceKey, lane: Lane) {
        self.queue(lane).push_back(device);
    }

    /// Gives a device its turn back.
    pub(super) fn push_first(&mut self, device: DeviceKey, lane: Lane) {
        self.queue(lane).push_front(device);
    }

    /// The device of the lane whose turn it is.
    pub(super) fn pop(&mut self, lane: Lane) -> Option<DeviceKey> {
        self.queue(lane).pop_front()
    }

    /// Drops those of which it is not so.
    pub(super) fn retain(&mut self, is_so: impl Fn(&DeviceKey) -> bool) {
        self.live.retain(&is_so);
        self.backlog.retain(&is_so);
    }

    fn queue(&mut self, lane: Lane) -> &mut VecDeque<DeviceKey> {
        match lane {
            Lane::Live => &mut self.live,
            Lane::Backlog => &mut self.backlog,
        }
    }
}
