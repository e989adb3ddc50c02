//! The frames of one device that were put off for want of room, and their order (pure).
//!
//! A frame that is put off is *deferred* until there is room for it, then *awaited* until the
//! broker has delivered it again. It has a turn, which it keeps however often it is put off, and
//! nothing newer of its device is let in while an older one is deferred or awaited: it would make
//! the older one late for ever.
//!
//! Architecture invariant: knows nothing of other devices or of how much room there is.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::has_passed;
use crate::model::UtcMillis;
use crate::source::DeliveryId;

/// How long room is kept for the awaited, since the last of them came: if their device went to
/// another worker meanwhile, they never come.
pub(super) const ROOM_PATIENCE: Duration = Duration::from_secs(60);

/// How long the newer frames stay behind the awaited, since the last of them came: a broker that
/// has much to deliver again takes minutes.
pub(super) const ORDER_PATIENCE: Duration = Duration::from_secs(600);

#[derive(Debug)]
struct Deferred {
    /// Counts the frames in the order in which they were first put off.
    turn: u64,
    delivery: DeliveryId,
    event_hash: u64,
}

/// What is known of a frame that has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Come {
    /// Its turn, if it was awaited.
    turn: Option<u64>,
    /// Whether room was kept for it, which is no longer kept now.
    pub(super) had_room: bool,
}

/// The frames of one device that were put off.
#[derive(Debug)]
pub(super) struct PutOff {
    /// By turn.
    deferred: VecDeque<Deferred>,
    next_turn: u64,
    /// Their turns, by the events' hashes.
    awaited: HashMap<u64, u64>,
    /// For how many of the awaited room is kept.
    reserved: usize,
    /// Since when none of the awaited has come.
    awaited_since: UtcMillis,
}

impl PutOff {
    pub(super) fn new(now: UtcMillis) -> Self {
        Self {
            deferred: VecDeque::new(),
            next_turn: 0,
            awaited: HashMap::new(),
            reserved: 0,
            awaited_since: now,
        }
    }

    /// Frames that are to be asked for.
    pub(super) fn deferred(&self) -> usize {
        self.deferred.len()
    }

    /// Whether frames that were asked for have yet to come.
    pub(super) fn awaits_some(&self) -> bool {
        !self.awaited.is_empty()
    }

    /// A frame has come, perhaps one that is awaited.
    pub(super) fn has_come(&mut self, event_hash: u64, now: UtcMillis) -> Come {
        let turn = self.awaited.remove(&event_hash);
        if turn.is_some() {
            self.awaited_since = now;
        }
        let had_room = turn.is_some() && self.reserved > 0;
        self.reserved -= usize::from(had_room);
        Come { turn, had_room }
    }

    /// Whether the frame that has come has to stay behind older ones.
    pub(super) fn is_behind(&self, come: Come) -> bool {
        match come.turn {
            // Its room may have gone to others, so that one that was asked for with it had to be
            // put off once more.
            Some(turn) => self.deferred.front().is_some_and(|first| first.turn < turn),
            None => !self.deferred.is_empty() || self.awaits_some(),
        }
    }

    /// Puts the frame that has come off, into its place if it was put off before.
    pub(super) fn defer(&mut self, come: Come, delivery: DeliveryId, event_hash: u64) {
        let turn = come.turn.unwrap_or(self.next_turn);
        self.next_turn = self.next_turn.max(turn.saturating_add(1));
        let place = self.deferred.partition_point(|other| other.turn < turn);
        self.deferred.insert(place, Deferred { turn, delivery, event_hash });
    }

    /// Awaits the first `count` of the deferred: for how many of them to keep room, and, at the
    /// end of `wanted`, what to ask the source for. None may be awaited yet.
    pub(super) fn ask(
        &mut self,
        count: usize,
        now: UtcMillis,
        wanted: &mut Vec<DeliveryId>,
    ) -> usize {
        for Deferred { turn, delivery, event_hash } in self.deferred.drain(..count) {
            self.awaited.insert(event_hash, turn);
            wanted.push(delivery);
        }
        self.awaited_since = now;
        self.reserved = self.awaited.len();
        self.reserved
    }

    /// Gives up what was waited for too long: for how many frames no room is kept any more.
    pub(super) fn give_up(&mut self, now: UtcMillis) -> usize {
        if has_passed(self.awaited_since, ORDER_PATIENCE, now) {
            self.awaited.clear();
        }
        match has_passed(self.awaited_since, ROOM_PATIENCE, now) {
            true => std::mem::take(&mut self.reserved),
            false => 0,
        }
    }
}
