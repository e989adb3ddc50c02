//! The frames of one device that were put off for want of room, and their order (pure).
//!
//! A frame that is put off is *deferred* until there is room for it, then *awaited* until the
//! broker has delivered it again. It has a turn, which it keeps however often it is put off, and
//! nothing newer of its device is let in while an older one is deferred or awaited: it would make
//! the older one late for ever.
//!
//! What is awaited may take minutes, or have gone to another worker with its device. No clock
//! tells which, but the broker's order does: more of the device's frames are asked for, and when
//! one of those comes, what is older and was asked for before does not come any more. A broker
//! that hands a device over does so once it has all of its frames back: so twice as many are
//! asked for each time.
//!
//! Architecture invariant: knows nothing of other devices or of how much room there is.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::has_passed;
use crate::model::UtcMillis;
use crate::source::DeliveryId;

/// How long room is kept for the awaited, and more of the deferred are not asked for, since the
/// last of them came.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Deferred {
    /// Counts the frames in the order in which they were first put off.
    turn: u64,
    delivery: DeliveryId,
    event_hash: u64,
    captured_at: UtcMillis,
}

#[derive(Clone, Copy, Debug)]
struct Awaited {
    turn: u64,
    /// Counts how often frames were asked for.
    round: u64,
}

/// What is known of a frame that has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Come {
    /// What was awaited of it, if it was.
    awaited: Option<Awaited>,
    /// Whether room was kept for it.
    pub(super) had_room: bool,
    /// For how many frames, it among them, no room is kept any more.
    pub(super) freed: usize,
}

/// The frames of one device that were put off.
#[derive(Debug)]
pub(super) struct PutOff {
    /// By turn.
    deferred: VecDeque<Deferred>,
    next_turn: u64,
    /// By the events' hashes.
    awaited: HashMap<u64, Awaited>,
    /// The oldest round of the awaited, and the newest.
    first_round: u64,
    last_round: u64,
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
            first_round: 0,
            last_round: 0,
            reserved: 0,
            awaited_since: now,
        }
    }

    /// Frames that are to be asked for.
    pub(super) fn deferred(&self) -> usize {
        self.deferred.len()
    }

    /// When the first of them was taken.
    pub(super) fn first_captured_at(&self) -> Option<UtcMillis> {
        self.deferred.front().map(|first| first.captured_at)
    }

    /// Whether frames that were asked for have yet to come.
    pub(super) fn awaits_some(&self) -> bool {
        !self.awaited.is_empty()
    }

    /// Whether room is kept for some of the awaited.
    pub(super) fn has_room_kept(&self) -> bool {
        self.reserved > 0
    }

    /// A frame has come, perhaps one that is awaited.
    pub(super) fn has_come(&mut self, event_hash: u64, now: UtcMillis) -> Come {
        let Some(awaited) = self.awaited.remove(&event_hash) else {
            return Come { awaited: None, had_room: false, freed: 0 };
        };
        let Awaited { turn, round } = awaited;
        self.awaited_since = now;
        let before = self.reserved;
        self.reserved = before.saturating_sub(1);
        if round > self.first_round {
            // One that is newer and was asked for later has overtaken them.
            self.awaited.retain(|_, other| other.round >= round || other.turn > turn);
            let rounds = self.awaited.values().map(|other| other.round);
            self.first_round = rounds.min().unwrap_or(round);
            self.reserved = self.reserved.min(self.awaited.len());
        }
        Come { awaited: Some(awaited), had_room: before > 0, freed: before - self.reserved }
    }

    /// Whether the frame that has come has to stay behind older ones.
    pub(super) fn is_behind(&self, come: Come) -> bool {
        match come.awaited {
            // Its room may have gone to others, so that one that was asked for with it had to be
            // put off once more, and perhaps was asked for once more.
            Some(Awaited { turn, round }) => {
                self.deferred.front().is_some_and(|first| first.turn < turn)
                    || (round < self.last_round
                        && self.awaited.values().any(|a| a.turn < turn && a.round > round))
            }
            None => !self.deferred.is_empty() || self.awaits_some(),
        }
    }

    /// Puts the frame that has come off, into its place if it was put off before.
    pub(super) fn defer(
        &mut self,
        come: Come,
        delivery: DeliveryId,
        event_hash: u64,
        captured_at: UtcMillis,
    ) {
        let turn = come.awaited.map_or(self.next_turn, |awaited| awaited.turn);
        self.next_turn = self.next_turn.max(turn.saturating_add(1));
        let place = self.deferred.partition_point(|other| other.turn < turn);
        self.deferred.insert(place, Deferred { turn, delivery, event_hash, captured_at });
    }

    /// Awaits the first `count` of the deferred: for how many of them to keep room, and, at the
    /// end of `wanted`, what to ask the source for. None may be awaited yet.
    pub(super) fn ask(
        &mut self,
        count: usize,
        now: UtcMillis,
        wanted: &mut Vec<DeliveryId>,
    ) -> usize {
        self.first_round = self.last_round.saturating_add(1);
        self.begin_round(count, now, wanted);
        self.reserved = self.awaited.len();
        self.reserved
    }

    /// Keeps no more room for what was awaited too long, and asks for more if there is more: for
    /// how many frames no room is kept any more, and how many were asked for.
    pub(super) fn insist(
        &mut self,
        now: UtcMillis,
        wanted: &mut Vec<DeliveryId>,
    ) -> (usize, usize) {
        if !self.awaits_some() || !has_passed(self.awaited_since, PATIENCE, now) {
            return (0, 0);
        }
        let count = self.awaited.len().min(self.deferred.len());
        if count > 0 {
            self.begin_round(count, now, wanted);
        }
        (std::mem::take(&mut self.reserved), count)
    }

    fn begin_round(&mut self, count: usize, now: UtcMillis, wanted: &mut Vec<DeliveryId>) {
        self.last_round = self.last_round.saturating_add(1);
        for Deferred { turn, delivery, event_hash, .. } in self.deferred.drain(..count) {
            self.awaited.insert(event_hash, Awaited { turn, round: self.last_round });
            wanted.push(delivery);
        }
        self.awaited_since = now;
    }
}
