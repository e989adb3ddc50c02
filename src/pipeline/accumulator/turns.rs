//! Whose turn it is to get room (pure).

use std::collections::VecDeque;

use crate::model::DeviceKey;

/// Devices with deferred frames, in the order in which they get room: those whose oldest such
/// frame was live when they came here, and the others.
#[derive(Debug, Default)]
pub(super) struct Turns {
    live: VecDeque<DeviceKey>,
    others: VecDeque<DeviceKey>,
}

impl Turns {
    /// How many of a kind wait.
    pub(super) fn count(&self, is_live: bool) -> usize {
        if is_live { self.live.len() } else { self.others.len() }
    }

    /// Whether devices wait that are not live.
    pub(super) fn some_are_not_live(&self) -> bool {
        !self.others.is_empty()
    }

    /// Adds a device behind the others of its kind; it must not wait already.
    pub(super) fn push(&mut self, device: DeviceKey, is_live: bool) {
        self.of(is_live).push_back(device);
    }

    /// Gives a device its turn back.
    pub(super) fn push_first(&mut self, device: DeviceKey, is_live: bool) {
        self.of(is_live).push_front(device);
    }

    /// The device whose turn it is.
    pub(super) fn pop(&mut self, is_live: bool) -> Option<DeviceKey> {
        self.of(is_live).pop_front()
    }

    /// Drops those of which it is not so.
    pub(super) fn retain(&mut self, is_so: impl Fn(&DeviceKey) -> bool) {
        self.live.retain(&is_so);
        self.others.retain(&is_so);
    }

    fn of(&mut self, is_live: bool) -> &mut VecDeque<DeviceKey> {
        if is_live { &mut self.live } else { &mut self.others }
    }
}
