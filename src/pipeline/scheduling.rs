//! Which group is encoded next (pure).
//!
//! One group of a device at a time, which keeps its order and its media time; devices take
//! turns within a lane; of four turns the live lane has three and the backlog one, so that
//! neither starves the other.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::attempt::Work;
use super::lanes::{Lane, Turns};
use crate::model::{DeviceKey, UtcMillis};

/// Turns in a row that the live lane gets while the backlog waits.
const LIVE_TURNS: u32 = 3;

#[derive(Debug, Default)]
struct Queue {
    groups: VecDeque<Work>,
    busy: bool,
}

/// The groups that wait for an encoder.
#[derive(Debug)]
pub struct Schedule {
    live_within: Duration,
    queues: HashMap<DeviceKey, Queue>,
    turns: Turns,
    live_turns: u32,
    groups_waiting: usize,
}

impl Schedule {
    /// An empty schedule; a group is live when its newest frame was taken within
    /// `live_within` of now.
    pub fn new(live_within: Duration) -> Self {
        Self {
            live_within,
            queues: HashMap::new(),
            turns: Turns::default(),
            live_turns: 0,
            groups_waiting: 0,
        }
    }

    /// Groups that wait, those behind another of their device included.
    pub fn groups_waiting(&self) -> usize {
        self.groups_waiting
    }

    /// Devices whose next group waits in `lane`.
    pub fn devices_waiting(&self, lane: Lane) -> usize {
        self.turns.count(lane)
    }

    /// Adds a group behind the others of its device.
    pub fn push(&mut self, work: Work, now: UtcMillis) {
        let device = work.group.device.clone();
        let queue = self.queues.entry(device.clone()).or_default();
        queue.groups.push_back(work);
        self.groups_waiting += 1;
        if !queue.busy && queue.groups.len() == 1 {
            self.enqueue(device, now);
        }
    }

    /// The group to encode next; its device is busy until [`Schedule::finished`].
    pub fn take_next(&mut self) -> Option<Work> {
        let backlogs_turn = self.live_turns >= LIVE_TURNS && self.turns.count(Lane::Backlog) > 0;
        let device = if backlogs_turn || self.turns.count(Lane::Live) == 0 {
            self.live_turns = 0;
            self.turns.pop(Lane::Backlog)?
        } else {
            self.live_turns = (self.live_turns + 1).min(LIVE_TURNS);
            self.turns.pop(Lane::Live)?
        };
        let queue = self.queues.get_mut(&device)?;
        queue.busy = true;
        let work = queue.groups.pop_front()?;
        self.groups_waiting -= 1;
        Some(work)
    }

    /// A group that was given out could not go on: it is the device's next one again.
    pub fn retry(&mut self, work: Work, now: UtcMillis) {
        let device = work.group.device.clone();
        let queue = self.queues.entry(device.clone()).or_default();
        queue.busy = false;
        queue.groups.push_front(work);
        self.groups_waiting += 1;
        self.enqueue(device, now);
    }

    /// A device's group is settled: its next one may go.
    pub fn finished(&mut self, device: &DeviceKey, now: UtcMillis) {
        let Some(queue) = self.queues.get_mut(device) else { return };
        queue.busy = false;
        if queue.groups.is_empty() {
            self.queues.remove(device);
        } else {
            self.enqueue(device.clone(), now);
        }
    }

    fn enqueue(&mut self, device: DeviceKey, now: UtcMillis) {
        let newest = self
            .queues
            .get(&device)
            .and_then(|queue| queue.groups.front())
            .and_then(|work| work.group.frames.last());
        let lane = newest
            .map_or(Lane::Backlog, |frame| Lane::of(frame.captured_at, self.live_within, now));
        self.turns.push(device, lane);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::EventId;
    use crate::pipeline::accumulator::{Group, HeldFrame};

    const NOW: UtcMillis = UtcMillis(1_770_000_000_000);

    fn group(device: &str, number: u32, age_secs: i64) -> Work {
        Work::new(Group {
            device: DeviceKey::new("client", device).unwrap(),
            frames: vec![HeldFrame {
                event_id: EventId::new(&format!("{device}-{number}")).unwrap(),
                captured_at: NOW.plus_millis(-age_secs * 1_000),
                utc_offset_secs: 0,
                frame_path: String::new(),
                request_id: String::new(),
                deliveries: Vec::new(),
            }],
            opened_at: NOW,
        })
    }

    fn schedule() -> Schedule {
        Schedule::new(Duration::from_secs(60))
    }

    fn name(work: &Work) -> String {
        work.group.frames[0].event_id.to_string()
    }

    #[test]
    fn devices_take_turns_and_a_device_has_one_group_at_a_time() {
        let mut schedule = schedule();
        for number in 0..3 {
            schedule.push(group("flood", number, 5), NOW);
        }
        schedule.push(group("calm", 0, 5), NOW);
        assert_eq!(schedule.take_next().as_ref().map(name).unwrap(), "flood-0");
        assert_eq!(schedule.take_next().as_ref().map(name).unwrap(), "calm-0");
        assert!(schedule.take_next().is_none(), "the flood's second group waits for its first");
        schedule.finished(&group("flood", 0, 0).group.device, NOW);
        assert_eq!(schedule.take_next().as_ref().map(name).unwrap(), "flood-1");
    }

    #[test]
    fn live_groups_go_before_the_backlog_and_neither_starves() {
        let mut schedule = schedule();
        for number in 0..8 {
            schedule.push(group(&format!("old{number}"), 0, 7_200), NOW);
            schedule.push(group(&format!("new{number}"), 0, 5), NOW);
        }
        let order: Vec<_> =
            std::iter::from_fn(|| schedule.take_next()).map(|work| name(&work)).collect();
        assert_eq!(order[..5], ["new0-0", "new1-0", "new2-0", "old0-0", "new3-0"]);
        assert_eq!(order.len(), 16);
    }

    #[test]
    fn a_group_that_is_tried_again_goes_before_the_devices_newer_ones() {
        let mut schedule = schedule();
        schedule.push(group("a", 0, 5), NOW);
        schedule.push(group("a", 1, 5), NOW);
        let first = schedule.take_next().unwrap();
        assert!(schedule.take_next().is_none());
        schedule.retry(first, NOW);
        assert_eq!(schedule.take_next().as_ref().map(name).unwrap(), "a-0");
    }

    #[test]
    fn nothing_is_kept_of_a_device_whose_groups_are_done() {
        let mut schedule = schedule();
        schedule.push(group("a", 0, 5), NOW);
        let device = schedule.take_next().unwrap().group.device;
        schedule.finished(&device, NOW);
        assert!(schedule.queues.is_empty());
        assert_eq!(schedule.groups_waiting(), 0);
    }
}
