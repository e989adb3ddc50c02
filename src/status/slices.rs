//! Which device is in which slice, what has changed in it, and when it may be written. Pure.
//!
//! A device stays in its slice, so that one that changes makes one slice news. A slice is due
//! when a state in it has changed, and not sooner after its last write than the interval.

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::health::{HealthRules, Judged, Known, judge};
use crate::model::{DeviceKey, UtcMillis};
use crate::operator::crd::{DeviceCounts, DeviceEntry, DeviceState};

/// The most devices in a slice.
pub const MAX_DEVICES: usize = 250;
/// The most that its devices may take, in bytes of JSON: with all else it stays below 100 KiB.
const MAX_BYTES: usize = 95 * 1024;
/// What a device takes besides its ids: the longest error, and the rest.
const ENTRY_BYTES: usize = 330;

/// One slice, as it should be.
#[derive(Clone, PartialEq, Debug)]
pub struct Page {
    /// Its number, from 0.
    pub number: usize,
    /// How many devices are how.
    pub counts: DeviceCounts,
    /// The devices; none means that the slice is not needed any more.
    pub devices: Vec<DeviceEntry>,
}

struct Member {
    slice: usize,
    judged: Judged,
    entry: DeviceEntry,
    seen: u64,
}

#[derive(Default)]
struct Slice {
    members: Vec<DeviceKey>,
    bytes: usize,
    changed: bool,
    /// On the clock's uptime.
    not_before: Duration,
}

/// All slices of a worker.
pub struct Slices {
    rules: HealthRules,
    members: HashMap<DeviceKey, Member>,
    slices: Vec<Slice>,
    looks: u64,
    /// Whether only devices that are offline are told of.
    silent_only: bool,
}

impl Slices {
    /// None yet. The first is there at once, without devices: it says that the worker is.
    pub fn new(rules: HealthRules) -> Self {
        let first = Slice { changed: true, ..Slice::default() };
        let slices = vec![first];
        Self { rules, members: HashMap::new(), slices, looks: 0, silent_only: false }
    }

    /// Those of somebody who only tells of devices that are offline. There is none without one.
    pub fn of_silent(rules: HealthRules) -> Self {
        Self { slices: vec![Slice::default()], silent_only: true, ..Self::new(rules) }
    }

    /// Takes in how every device is now; `each` shows them all.
    pub fn look(&mut self, now: UtcMillis, each: impl FnOnce(&mut dyn FnMut(&DeviceKey, &Known))) {
        self.looks += 1;
        each(&mut |key, known| self.take_in(key, known, now));
        let looks = self.looks;
        let gone: Vec<DeviceKey> = self
            .members
            .iter()
            .filter(|(_, member)| member.seen != looks)
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            if let Some(member) = self.members.remove(&key)
                && let Some(slice) = self.slices.get_mut(member.slice)
            {
                slice.members.retain(|other| *other != key);
                slice.bytes = slice.bytes.saturating_sub(bytes(&key));
                slice.changed = true;
            }
        }
    }

    fn take_in(&mut self, key: &DeviceKey, known: &Known, now: UtcMillis) {
        let judged = judge(known, self.rules, now);
        if self.silent_only && judged.state != DeviceState::Offline {
            return;
        }
        let looks = self.looks;
        if let Some(member) = self.members.get_mut(key) {
            member.seen = looks;
            let news = member.judged.state != judged.state || member.judged.reason != judged.reason;
            let since = if member.judged.state == judged.state {
                member.entry.since.clone()
            } else {
                time(now)
            };
            // Numbers are kept up to date, and go with the next write that there is.
            let error = if news { judged.error.clone() } else { member.entry.error.clone() };
            member.entry = DeviceEntry { error, ..entry(key, known, &judged, since) };
            if news {
                member.judged = judged;
                if let Some(slice) = self.slices.get_mut(member.slice) {
                    slice.changed = true;
                }
            }
            return;
        }
        let size = bytes(key);
        let fits =
            |slice: &Slice| slice.members.len() < MAX_DEVICES && slice.bytes + size <= MAX_BYTES;
        let number = self.slices.iter().position(fits).unwrap_or(self.slices.len());
        if number == self.slices.len() {
            self.slices.push(Slice::default());
        }
        if let Some(slice) = self.slices.get_mut(number) {
            slice.members.push(key.clone());
            slice.bytes += size;
            slice.changed = true;
        }
        let since = match judged.state {
            // It was before anybody looked.
            DeviceState::Offline => known.received_at.plus(self.rules.offline_after),
            _ => now,
        };
        let entry = entry(key, known, &judged, time(since));
        self.members.insert(key.clone(), Member { slice: number, judged, entry, seen: looks });
    }

    /// The slices to write at `now` (uptime): those that have changed and may be written again.
    pub fn due(&self, now: Duration) -> Vec<Page> {
        let is_due = |slice: &Slice| slice.changed && slice.not_before <= now;
        self.slices
            .iter()
            .enumerate()
            .filter(|(_, slice)| is_due(slice))
            .map(|(number, slice)| self.page(number, slice))
            .collect()
    }

    fn page(&self, number: usize, slice: &Slice) -> Page {
        let mut counts = DeviceCounts::default();
        let devices: Vec<DeviceEntry> = slice
            .members
            .iter()
            .filter_map(|key| self.members.get(key))
            .inspect(|member| counts.count(member.judged.state))
            .map(|member| member.entry.clone())
            .collect();
        Page { number, counts, devices }
    }

    /// Notes that a slice is written as it was when it was due; it may be written again at
    /// `not_before` (uptime).
    pub fn written(&mut self, number: usize, not_before: Duration) {
        if let Some(slice) = self.slices.get_mut(number) {
            slice.changed = false;
            slice.not_before = not_before;
        }
    }

    /// Notes that it could not be written: again from `not_before` (uptime) on.
    pub fn failed(&mut self, number: usize, not_before: Duration) {
        if let Some(slice) = self.slices.get_mut(number) {
            slice.not_before = not_before;
        }
    }

    /// Has the first slice written for another reason than its devices.
    pub fn touch_first(&mut self) {
        if let Some(slice) = self.slices.first_mut() {
            slice.changed = true;
        }
    }
}

fn bytes(key: &DeviceKey) -> usize {
    key.client.as_str().len() + key.device.as_str().len() + ENTRY_BYTES
}

fn entry(key: &DeviceKey, known: &Known, judged: &Judged, since: Option<Time>) -> DeviceEntry {
    DeviceEntry {
        client_id: key.client.to_string(),
        device_id: key.device.to_string(),
        state: judged.state,
        since,
        last_frame_time: known.captured_at.and_then(time),
        last_segment: known.last_segment.and_then(|n| i64::try_from(n).ok()),
        segment_count: i64::try_from(known.segments).ok(),
        error: judged.error.clone(),
    }
}

/// To the second: nobody needs more, and each digit is a byte for each device.
fn time(at: UtcMillis) -> Option<Time> {
    Timestamp::from_second(at.0.div_euclid(1_000)).ok().map(Time)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: HealthRules =
        HealthRules { late_after: Duration::from_secs(90), offline_after: Duration::from_secs(60) };

    fn now(secs: i64) -> UtcMillis {
        UtcMillis(1_700_000_000_000 + secs * 1_000)
    }

    fn key(n: usize) -> DeviceKey {
        DeviceKey::new("client", &format!("device-{n:05}")).unwrap()
    }

    fn live(secs: i64) -> Known {
        let captured_at = Some(now(secs));
        Known { captured_at, committed_until: captured_at, ..Known::new(now(secs)) }
    }

    fn look(slices: &mut Slices, secs: i64, devices: &[(usize, Known)]) {
        slices.look(now(secs), |see| {
            devices.iter().for_each(|(n, known)| see(&key(*n), known));
        });
    }

    fn write_all(slices: &mut Slices, secs: u64) -> Vec<usize> {
        let due = slices.due(Duration::from_secs(secs));
        due.iter().for_each(|p| slices.written(p.number, Duration::from_secs(secs + 10)));
        due.iter().map(|page| page.number).collect()
    }

    #[test]
    fn the_first_slice_says_that_the_worker_is_there() {
        let slices = Slices::new(RULES);
        let due = slices.due(Duration::ZERO);
        assert_eq!((due.len(), due[0].devices.len()), (1, 0));
    }

    #[test]
    fn who_tells_of_silent_devices_has_a_slice_while_there_is_one() {
        let mut slices = Slices::of_silent(RULES);
        assert_eq!(slices.due(Duration::ZERO).len(), 0);
        look(&mut slices, 200, &[(1, live(0)), (2, live(190))]);
        let due = slices.due(Duration::ZERO);
        assert_eq!((due.len(), due[0].counts.offline, due[0].counts.total), (1, 1, 1));
        // Since when, not since it was found.
        assert_eq!(due[0].devices[0].since, time(now(60)));
        assert_eq!(write_all(&mut slices, 0), [0]);
        look(&mut slices, 210, &[(1, live(205)), (2, live(205))]);
        let due = slices.due(Duration::from_secs(20));
        assert_eq!((due.len(), due[0].devices.len()), (1, 0));
    }

    #[test]
    fn nothing_new_is_not_written_and_one_change_is_one_slice() {
        let mut slices = Slices::new(RULES);
        let mut all: Vec<_> = (0..600).map(|n| (n, live(0))).collect();
        look(&mut slices, 0, &all);
        assert_eq!(write_all(&mut slices, 0), [0, 1, 2]);
        all.iter_mut().for_each(|(_, known)| *known = live(30));
        look(&mut slices, 30, &all);
        assert_eq!(write_all(&mut slices, 30), [0; 0]);
        all[260].1.trouble = Some(("storage", "the disk is full".into()));
        look(&mut slices, 31, &all);
        let due = slices.due(Duration::from_secs(31));
        assert_eq!((due.len(), due[0].number), (1, 1));
        assert_eq!((due[0].counts.failing, due[0].counts.live), (1, 249));
        assert_eq!(due[0].devices[10].state, DeviceState::Failing);
    }

    #[test]
    fn a_sentence_that_differs_each_time_is_news_once() {
        let mut slices = Slices::new(RULES);
        let failing = |text: &str| Known { trouble: Some(("storage", text.into())), ..live(0) };
        look(&mut slices, 0, &[(1, failing("after 1 s"))]);
        write_all(&mut slices, 0);
        look(&mut slices, 20, &[(1, failing("after 2 s"))]);
        assert_eq!(write_all(&mut slices, 20), [0; 0]);
    }

    #[test]
    fn a_slice_waits_for_its_interval_and_then_says_all() {
        let mut slices = Slices::new(RULES);
        look(&mut slices, 0, &[(1, live(0))]);
        write_all(&mut slices, 0);
        look(&mut slices, 1, &[(1, live(1)), (2, live(1))]);
        assert_eq!(slices.due(Duration::from_secs(9)).len(), 0);
        assert_eq!(slices.due(Duration::from_secs(10))[0].devices.len(), 2);
    }

    #[test]
    fn a_device_that_is_gone_leaves_its_place_to_another() {
        let mut slices = Slices::new(RULES);
        let all: Vec<_> = (0..260).map(|n| (n, live(0))).collect();
        look(&mut slices, 0, &all);
        write_all(&mut slices, 0);
        look(&mut slices, 20, &all[1..]);
        assert_eq!(write_all(&mut slices, 20), [0]);
        let more: Vec<_> = (1..261).map(|n| (n, live(0))).collect();
        look(&mut slices, 40, &more);
        let due = slices.due(Duration::from_secs(40));
        assert_eq!((due.len(), due[0].number, due[0].devices.len()), (1, 0, 250));
    }

    #[test]
    fn a_slice_is_below_its_size_with_the_longest_ids_and_errors() {
        let mut slices = Slices::new(RULES);
        let client = "c".repeat(255);
        slices.look(now(0), |see| {
            for n in 0..300 {
                let device = DeviceKey::new(&client, &format!("{n:0255}")).unwrap();
                let trouble = Some(("storage", "\"".repeat(1_000)));
                see(&device, &Known { trouble, ..live(0) });
            }
        });
        let due = slices.due(Duration::ZERO);
        assert!(due.len() > 1);
        for page in due {
            let bytes = serde_json::to_string(&page.devices).unwrap().len();
            assert!(bytes < 98 * 1024, "{bytes}");
        }
    }
}
