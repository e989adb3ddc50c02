//! Collects a device's frames until they make a segment (pure).
//!
//! A group closes at N frames or on the wall clock, whichever is first, so that nobody waits
//! for a frame that never comes. Memory is bounded in total and per device: a frame beyond
//! either bound is deferred, of which only its delivery id is kept, and asked for again when
//! there is room. While a device has deferred frames its newer ones are deferred behind them,
//! which keeps its order; no other device waits.
//!
//! A quarter of the room is for live frames alone, and of what was deferred they are asked for
//! first: who comes back with the frames of hours does not keep others from their live edge.
//!
//! Open groups alone must not fill the room, or frames would be put off while the encoders have
//! nothing to do: so many devices are a reason to close the oldest groups early.
//!
//! Architecture invariant: no IO, no clock of its own; what it is told is all that it knows.

mod put_off;

use std::collections::HashMap;
use std::time::Duration;

use self::put_off::PutOff;
use super::lanes::{Lane, Turns};
use crate::model::{DeviceKey, EventId, FrameEvent, UtcMillis};
use crate::source::DeliveryId;

/// The accumulator's bounds.
#[derive(Clone, Copy, Debug)]
pub struct AccumulatorSettings {
    /// A group closes when it has this many frames.
    pub frames_per_segment: usize,
    /// A group closes this long after its first frame arrived.
    pub close_after: Duration,
    /// Frames held at most, all devices together, until they are settled.
    pub max_held: usize,
    /// Frames held at most of one device.
    pub max_held_per_device: usize,
    /// A frame is live when it was taken within this of now.
    pub live_within: Duration,
    /// A device without frames for this long is forgotten.
    pub forget_after: Duration,
}

/// The share of the room that open groups leave to what is closed, as a divisor: it is for the
/// groups under way, and for the frames that come between two ticks.
const CLOSED_SHARE: usize = 8;

/// The share of the room that only live frames get, as a divisor.
const LIVE_SHARE: usize = 4;

impl AccumulatorSettings {
    fn lane_of(&self, captured_at: UtcMillis, now: UtcMillis) -> Lane {
        Lane::of(captured_at, self.live_within, now)
    }

    /// How many frames may be held when one of the lane is let in.
    fn room_for(&self, lane: Lane) -> usize {
        match lane {
            Lane::Live => self.max_held,
            Lane::Backlog => self.max_held - self.max_held / LIVE_SHARE,
        }
    }
}

/// One frame that is held, and every delivery that brought it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldFrame {
    /// The event's id.
    pub event_id: EventId,
    /// When it was taken.
    pub captured_at: UtcMillis,
    /// How far the clock that took it is ahead of UTC, in seconds.
    pub utc_offset_secs: i32,
    /// Where its JPEG is.
    pub frame_path: String,
    /// The upload request, for the log.
    pub request_id: String,
    /// The deliveries to settle with it: usually one.
    pub deliveries: Vec<DeliveryId>,
}

/// The frames of one device that go into a segment together, in capture order.
#[derive(Clone, Debug)]
pub struct Group {
    /// The device.
    pub device: DeviceKey,
    /// At least one.
    pub frames: Vec<HeldFrame>,
    /// When the first of them arrived.
    pub opened_at: UtcMillis,
}

/// What became of an offered frame.
#[derive(Debug)]
pub enum Offer {
    /// It is held; its group is still open.
    Held,
    /// It is held, and its group is complete.
    Closed(Group),
    /// There is no room: it will be asked for again.
    Deferred,
}

#[derive(Debug)]
struct Open {
    frames: Vec<HeldFrame>,
    opened_at: UtcMillis,
}

impl Open {
    fn close(self, device: DeviceKey) -> Group {
        Group { device, frames: self.frames, opened_at: self.opened_at }
    }
}

#[derive(Debug)]
struct Device {
    open: Option<Open>,
    /// Held and unsettled: in the open group, waiting or being encoded.
    held: usize,
    put_off: PutOff,
    last_offer_at: UtcMillis,
}

impl Device {
    fn new(now: UtcMillis) -> Self {
        Self { open: None, held: 0, put_off: PutOff::new(now), last_offer_at: now }
    }

    fn is_idle(&self) -> bool {
        self.held == 0 && self.put_off.deferred() == 0 && !self.put_off.has_room_kept()
    }
}

/// Collects frames per device.
#[derive(Debug)]
pub struct Accumulator {
    settings: AccumulatorSettings,
    devices: HashMap<DeviceKey, Device>,
    held: usize,
    /// Of them in groups that are open.
    open: usize,
    deferred: usize,
    /// Room that is kept for what was asked for again, all devices together.
    reserved: usize,
    /// Devices with deferred frames, in the order in which they get room.
    waiting: Turns,
    /// To be asked for whether there is room or not.
    overdue: Vec<DeliveryId>,
}

impl Accumulator {
    /// An empty one.
    pub fn new(settings: AccumulatorSettings) -> Self {
        Self {
            settings,
            devices: HashMap::new(),
            held: 0,
            open: 0,
            deferred: 0,
            reserved: 0,
            waiting: Turns::default(),
            overdue: Vec::new(),
        }
    }

    /// Frames held, all devices together.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Frames deferred, all devices together.
    pub fn deferred(&self) -> usize {
        self.deferred
    }

    /// Devices that are known.
    pub fn devices(&self) -> usize {
        self.devices.len()
    }

    /// Takes one frame in.
    pub fn offer(&mut self, event: FrameEvent, delivery: DeliveryId, now: UtcMillis) -> Offer {
        let FrameEvent { event_id, device: key, .. } = event;
        let hash = hash_of(&event_id);
        let settings = self.settings;
        let device = self.devices.entry(key.clone()).or_insert_with(|| Device::new(now));
        device.last_offer_at = now;
        let come = device.put_off.has_come(hash, now);
        self.reserved -= come.freed;

        if let Some(open) = &mut device.open
            && let Some(same) = open.frames.iter_mut().find(|held| held.event_id == event_id)
        {
            same.deliveries.push(delivery);
            return Offer::Held;
        }
        let captured_at = event.captured_at;
        let lane = settings.lane_of(captured_at, now);
        // What is kept for those that were asked for is not for others.
        let has_room = come.had_room
            || (self.held + self.reserved < settings.room_for(lane)
                && device.held < settings.max_held_per_device);
        if !has_room || device.put_off.is_behind(come) {
            if device.put_off.deferred() == 0 {
                self.waiting.push(key, lane);
            }
            device.put_off.defer(come, delivery, hash, captured_at);
            self.deferred += 1;
            return Offer::Deferred;
        }

        self.held += 1;
        self.open += 1;
        device.held += 1;
        let open = device.open.get_or_insert_with(|| Open { frames: Vec::new(), opened_at: now });
        let frame = HeldFrame {
            event_id,
            captured_at,
            utc_offset_secs: event.utc_offset_secs,
            frame_path: event.frame_path,
            request_id: event.request_id,
            deliveries: vec![delivery],
        };
        let place = open.frames.partition_point(|held| held.captured_at <= frame.captured_at);
        open.frames.insert(place, frame);
        if open.frames.len() < settings.frames_per_segment {
            return Offer::Held;
        }
        match device.open.take() {
            Some(open) => {
                self.open -= open.frames.len();
                Offer::Closed(open.close(key))
            }
            None => Offer::Held,
        }
    }

    /// Closes the groups whose time has come, and the oldest others while the open ones take too
    /// much of the room. Devices that have been silent for long are forgotten, and given in the
    /// second list.
    pub fn tick(&mut self, now: UtcMillis) -> (Vec<Group>, Vec<DeviceKey>) {
        let mut closed = Vec::new();
        let mut forgotten = Vec::new();
        let settings = self.settings;
        let mut none_left = false;
        self.devices.retain(|key, device| {
            if let Some(open) =
                device.open.take_if(|open| has_passed(open.opened_at, settings.close_after, now))
            {
                self.open -= open.frames.len();
                closed.push(open.close(key.clone()));
            }
            let (freed, asked) = device.put_off.insist(now, &mut self.overdue);
            self.reserved -= freed;
            self.deferred -= asked;
            none_left |= asked > 0 && device.put_off.deferred() == 0;
            let forget =
                device.is_idle() && has_passed(device.last_offer_at, settings.forget_after, now);
            if forget {
                forgotten.push(key.clone());
            }
            !forget
        });
        if none_left {
            let devices = &self.devices;
            self.waiting.retain(|key| devices.get(key).is_some_and(|d| d.put_off.deferred() > 0));
        }
        self.close_early(&mut closed);
        // HashMap order is random: by age, so that nobody waits longer than another.
        closed.sort_by(|a, b| (a.opened_at, &a.device).cmp(&(b.opened_at, &b.device)));
        (closed, forgotten)
    }

    /// Closes the oldest groups, which have the most frames, until the open ones leave room.
    fn close_early(&mut self, closed: &mut Vec<Group>) {
        let backlog_waits = self.waiting.count(Lane::Backlog) > 0;
        let lane = if backlog_waits { Lane::Backlog } else { Lane::Live };
        let most_open = self.settings.room_for(lane) - self.settings.max_held / CLOSED_SHARE;
        if self.open <= most_open {
            return;
        }
        let open = self.devices.iter().filter_map(|(key, device)| {
            device.open.as_ref().map(|open| (open.opened_at, key.clone()))
        });
        let mut oldest: Vec<_> = open.collect();
        oldest.sort_unstable();
        for (_, key) in oldest {
            if self.open <= most_open {
                break;
            }
            if let Some(open) = self.devices.get_mut(&key).and_then(|device| device.open.take()) {
                self.open -= open.frames.len();
                closed.push(open.close(key));
            }
        }
    }

    /// Makes room: `frames` of `device` are settled.
    pub fn release(&mut self, device: &DeviceKey, frames: usize) {
        if let Some(device) = self.devices.get_mut(device) {
            let frames = frames.min(device.held);
            device.held -= frames;
            self.held -= frames;
        }
    }

    /// The deferred frames that there is room for again, in their order: ask the source for
    /// them. Devices take turns, live ones first, and get whole groups: frames that are let in by
    /// ones and twos wait for the others of their group, and take up the room of those meanwhile.
    /// First come those that a tick found to be behind others that were asked for long ago.
    pub fn rerequest(&mut self, now: UtcMillis) -> Vec<DeliveryId> {
        let mut wanted = std::mem::take(&mut self.overdue);
        for lane in [Lane::Live, Lane::Backlog] {
            self.rerequest_of(lane, now, &mut wanted);
        }
        wanted
    }

    fn rerequest_of(&mut self, lane: Lane, now: UtcMillis, wanted: &mut Vec<DeliveryId>) {
        let settings = self.settings;
        let limit = settings.room_for(lane);
        let mut room = limit.saturating_sub(self.held + self.reserved);
        for _ in 0..self.waiting.count(lane) {
            if room == 0 {
                break;
            }
            let Some(key) = self.waiting.pop(lane) else { break };
            let Some(device) = self.devices.get_mut(&key) else { continue };
            let deferred = device.put_off.deferred();
            let device_room = settings.max_held_per_device.saturating_sub(device.held);
            // One request at a time, and not for a trickle: half of the device's room at least,
            // or all that it wants.
            let worthwhile =
                device_room >= settings.max_held_per_device.div_ceil(2) || device_room >= deferred;
            if !device.put_off.awaits_some() && worthwhile {
                let open = device.open.as_ref().map_or(0, |open| open.frames.len());
                let missing = settings.frames_per_segment.saturating_sub(open).max(1);
                let most = device_room.min(deferred);
                if room < missing.min(most).min(limit) {
                    // It is its turn, as soon as there is enough.
                    self.waiting.push_first(key, lane);
                    break;
                }
                let count = match most.min(room) {
                    all if all == deferred => all,
                    some => whole_groups(some, missing, settings.frames_per_segment),
                };
                self.reserved += device.put_off.ask(count, now, wanted);
                room -= count;
                self.deferred -= count;
            }
            if let Some(captured_at) = device.put_off.first_captured_at() {
                self.waiting.push(key, settings.lane_of(captured_at, now));
            }
        }
    }

    /// When the oldest open group was opened: how far behind the clock may be.
    pub fn oldest_open(&self) -> Option<UtcMillis> {
        self.devices.values().filter_map(|d| d.open.as_ref().map(|open| open.opened_at)).min()
    }
}

/// As many of the frames as complete a group that misses some, and further groups; all of them
/// where that is none.
fn whole_groups(frames: usize, missing: usize, per_group: usize) -> usize {
    match frames.checked_sub(missing) {
        Some(rest) => missing + rest - rest % per_group.max(1),
        None => frames,
    }
}

/// A clock that was stepped back must not hold a group for the length of the step.
fn has_passed(since: UtcMillis, duration: Duration, now: UtcMillis) -> bool {
    now.millis_since(since).unsigned_abs()
        >= u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn hash_of(id: &EventId) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
