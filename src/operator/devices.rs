//! From the slices of all workers to what the parent says of its devices. Pure.

use std::collections::HashMap;

use super::crd::{DeviceCounts, DeviceEntry, DeviceSlice, DeviceState};
use super::names::{Component, LABEL_COMPONENT};

/// The most devices that the parent lists.
const MAX_LISTED: usize = 100;
/// The most that they may take there, in bytes of JSON: with all else in the status this stays
/// below 64 KiB.
const MAX_LISTED_BYTES: usize = 48 * 1024;

/// What the parent says.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Summary {
    /// How many devices are how; none while no worker has said anything.
    pub counts: Option<DeviceCounts>,
    /// Those that are not well, the worst first.
    pub worst: Vec<DeviceEntry>,
    /// Whether a worker has said anything, so that it is known how many devices send.
    pub workers_told: bool,
    /// What workers say keeps them from their work, by pod.
    pub problems: Vec<(String, String)>,
}

/// Sums up slices. A device that has moved from one worker to another is in the slices of both
/// for a while: the newest word counts. What the offline checker has found in the storage counts
/// for devices that no worker tells of.
pub fn sum<'a>(slices: impl IntoIterator<Item = (&'a str, &'a DeviceSlice)>) -> Summary {
    let mut known: HashMap<(&str, &str), &DeviceEntry> = HashMap::new();
    let mut problems = Vec::new();
    let (of_workers, of_checkers): (Vec<_>, Vec<_>) =
        slices.into_iter().partition(|(_, slice)| !is_of_checker(slice));
    let workers_told = !of_workers.is_empty();
    let any = workers_told || !of_checkers.is_empty();
    for (pod, slice) in of_workers {
        if let Some(worker) = slice.spec.worker.as_ref().filter(|w| !w.problem.is_empty()) {
            problems.push((pod.to_owned(), worker.problem.clone()));
        }
        for device in &slice.spec.devices {
            let key = (device.client_id.as_str(), device.device_id.as_str());
            known
                .entry(key)
                .and_modify(|other| {
                    if newness(device) > newness(other) {
                        *other = device;
                    }
                })
                .or_insert(device);
        }
    }
    // Two of them while one is rolled say the same.
    for device in of_checkers.iter().flat_map(|(_, slice)| &slice.spec.devices) {
        known.entry((&device.client_id, &device.device_id)).or_insert(device);
    }
    problems.sort();
    let mut counts = DeviceCounts::default();
    let mut unwell: Vec<&DeviceEntry> = Vec::new();
    for device in known.into_values() {
        counts.count(device.state);
        if device.state != DeviceState::Live {
            unwell.push(device);
        }
    }
    // The worst state first, in it who is so for longest; the ids make the order one.
    unwell.sort_by(|a, b| {
        let key = |d: &DeviceEntry| (d.state, d.since.as_ref().map(|t| t.0));
        key(a)
            .cmp(&key(b))
            .then_with(|| (&a.client_id, &a.device_id).cmp(&(&b.client_id, &b.device_id)))
    });
    let mut bytes = 0;
    let worst = unwell
        .into_iter()
        .take(MAX_LISTED)
        .take_while(|device| {
            bytes += serde_json::to_string(device).map_or(MAX_LISTED_BYTES, |text| text.len());
            bytes <= MAX_LISTED_BYTES
        })
        .cloned()
        .collect();
    Summary { counts: any.then_some(counts), worst, workers_told, problems }
}

fn is_of_checker(slice: &DeviceSlice) -> bool {
    let label = slice.metadata.labels.as_ref().and_then(|labels| labels.get(LABEL_COMPONENT));
    label.is_some_and(|component| component == Component::OfflineChecker.as_str())
}

/// The newest frame, then the newest change of state. The frame comes first because a worker that
/// has lost a device finds it silent later than the other has found it live.
fn newness(device: &DeviceEntry) -> impl PartialOrd + use<> {
    (device.last_frame_time.as_ref().map(|t| t.0), device.since.as_ref().map(|t| t.0))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "lists are made for it")]
    fn slice(devices: serde_json::Value) -> DeviceSlice {
        let slice = json!({
            "apiVersion": "streamhub.microboxlabs.com/v1alpha1", "kind": "DeviceSlice",
            "metadata": {"name": "a"}, "processor": "fleet", "devices": devices,
        });
        serde_json::from_value(slice).unwrap()
    }

    fn device(id: &str, state: &str, minute: u32) -> serde_json::Value {
        let since = format!("2026-01-01T00:{minute:02}:00Z");
        json!({"clientId": "c", "deviceId": id, "state": state, "since": since, "lastFrameTime": since})
    }

    #[test]
    fn the_worst_come_first_and_the_well_are_counted_only() {
        let slice = slice(json!([
            device("late", "late", 1),
            device("live", "live", 1),
            device("gone", "offline", 9),
            device("gone-longer", "offline", 2),
            device("broken", "failing", 30),
        ]));
        let summary = sum([("pod", &slice)]);
        let counts = DeviceCounts { total: 5, live: 1, late: 1, offline: 2, failing: 1 };
        assert_eq!(summary.counts, Some(counts));
        let ids: Vec<_> = summary.worst.iter().map(|d| d.device_id.as_str()).collect();
        assert_eq!(ids, ["broken", "gone-longer", "gone", "late"]);
    }

    #[test]
    fn a_device_that_has_moved_is_counted_once_by_its_newest_word() {
        let (old, new) =
            (slice(json!([device("a", "offline", 5)])), slice(json!([device("a", "live", 7)])));
        for order in [[("p", &old), ("q", &new)], [("q", &new), ("p", &old)]] {
            let counts = sum(order).counts.unwrap();
            assert_eq!((counts.total, counts.live), (1, 1));
        }
    }

    #[test]
    fn the_checker_is_heard_of_devices_that_no_worker_tells_of() {
        let mut found = slice(json!([device("a", "offline", 9), device("b", "offline", 9)]));
        found.metadata.labels = Some([(LABEL_COMPONENT.into(), "offline-checker".into())].into());
        let told = slice(json!([device("a", "failing", 1)]));
        for order in [[("p", &found), ("q", &told)], [("q", &told), ("p", &found)]] {
            let summary = sum(order);
            let counts = DeviceCounts { total: 2, offline: 1, failing: 1, ..Default::default() };
            assert_eq!((summary.counts, summary.workers_told), (Some(counts), true));
        }
        // How many send is not known from it.
        assert!(!sum([("p", &found)]).workers_told);
    }

    #[test]
    fn nothing_said_is_not_the_same_as_no_devices() {
        assert_eq!(sum([]).counts, None);
        let none = slice(json!([]));
        assert_eq!(sum([("p", &none)]).counts, Some(DeviceCounts::default()));
    }

    #[test]
    fn the_list_is_bounded_by_number_and_by_bytes() {
        let many: Vec<_> = (0..250).map(|i| device(&format!("{i:04}"), "failing", 1)).collect();
        let slice_of_many = slice(json!(many));
        assert_eq!(sum([("p", &slice_of_many)]).worst.len(), MAX_LISTED);
        let long: Vec<_> = (0..250)
            .map(|i| {
                let mut device = device(&format!("{i:0250}"), "failing", 1);
                device["clientId"] = json!("c".repeat(255));
                device["error"] = json!("e".repeat(500));
                device
            })
            .collect();
        let worst = sum([("p", &slice(json!(long)))]).worst;
        assert!(worst.len() > 20 && serde_json::to_string(&worst).unwrap().len() < 50 * 1024);
    }
}
