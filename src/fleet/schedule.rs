//! When a device is looked at next, and who comes first when many are due (pure).

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::known::{Known, Seen};
use crate::http::page::Presence;
use crate::model::{DeviceKey, UtcMillis};

/// A page asks every two seconds; a device that none has shown for this long is shown by none.
const SHOWN_FOR: Duration = Duration::from_secs(10);

/// Between these is the pause before a device that is shown is looked at again.
const SHOWN_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));

/// The same for one that nobody looks at.
const UNSEEN_PAUSE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(900));

/// How many segments of a device that nobody looks at pass between two looks.
const UNSEEN_SEGMENTS: u32 = 4;

/// A device that was silent for this many times a pause is looked at again after the pause: it
/// is found to be back after a tenth of the time that it was away.
const SILENCE_PART: u32 = 10;

/// Whether a page shows the device now.
pub(super) fn is_shown(shown_at: Option<UtcMillis>, now: UtcMillis) -> bool {
    shown_at.is_some_and(|at| now.since(at) < SHOWN_FOR)
}

/// How long to wait before a device is looked at again.
pub(super) fn pause(
    presence: Presence,
    seen: Option<Seen>,
    is_shown: bool,
    now: UtcMillis,
) -> Duration {
    let segment = Duration::from_secs(seen.map_or(30, |seen| seen.segment_secs).into());
    let (least, most) = if is_shown { SHOWN_PAUSE } else { UNSEEN_PAUSE };
    let pause = match (presence, is_shown) {
        (Presence::Offline, _) => {
            let silent = seen.and_then(|seen| seen.committed_at).map(|at| now.since(at));
            silent.unwrap_or(Duration::MAX) / SILENCE_PART
        }
        (Presence::Starting, true) => least * 3,
        (_, true) => segment / 2,
        (_, false) => segment * UNSEEN_SEGMENTS,
    };
    pause.clamp(least, most)
}

/// At most `most` of the devices that are due, with the tag of what is known: first those that a
/// page shows, then those that were never looked at, then those that have waited the longest.
pub(super) fn due(
    devices: &BTreeMap<DeviceKey, Known>,
    now: UtcMillis,
    most: usize,
) -> Vec<(DeviceKey, Option<String>)> {
    if most == 0 {
        return Vec::new();
    }
    // A clock that was set back must not put a device off for as long as it was set.
    let latest = now.plus(UNSEEN_PAUSE.1);
    let is_due = |known: &Known| known.due_at <= now || known.due_at > latest;
    let mut due: Vec<_> = devices.iter().filter(|(_, known)| is_due(known)).collect();
    let order = |(_, known): &(&DeviceKey, &Known)| {
        (!is_shown(known.shown_at, now), known.looked_at.is_some(), known.due_at)
    };
    if due.len() > most {
        due.select_nth_unstable_by_key(most, order);
        due.truncate(most);
    }
    due.into_iter().map(|(key, known)| (key.clone(), known.tag.clone())).collect()
}

/// So many looks a second, not saved up for more than a second.
pub(super) struct Budget {
    per_second: f64,
    left: f64,
    counted_at: Option<Instant>,
}

impl Budget {
    pub(super) fn new(per_second: u32) -> Self {
        Self { per_second: per_second.into(), left: 0.0, counted_at: None }
    }

    /// How many are allowed at `now`.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "small, not negative"
    )]
    pub(super) fn allowed(&mut self, now: Instant) -> usize {
        let since = self.counted_at.map_or(Duration::from_secs(1), |at| now - at);
        self.counted_at = Some(now);
        let earned = since.as_secs_f64() * self.per_second;
        self.left = (self.left + earned).min(self.per_second.max(1.0));
        self.left as usize
    }

    /// So many were used.
    #[expect(clippy::cast_precision_loss, reason = "small")]
    pub(super) fn spend(&mut self, looks: usize) {
        self.left -= looks as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UtcMillis = UtcMillis(1_769_846_400_000);

    fn known(due_at: i64, looked_at: Option<i64>, shown_at: Option<i64>) -> Known {
        Known {
            due_at: NOW.plus_millis(due_at),
            looked_at: looked_at.map(|at| NOW.plus_millis(at)),
            shown_at: shown_at.map(|at| NOW.plus_millis(at)),
            ..Known::default()
        }
    }

    #[test]
    fn who_is_shown_comes_first_then_who_is_not_known_then_who_waited_longest() {
        let devices = [
            ("a-waited-long", known(-60_000, Some(-90_000), None)),
            ("b-shown", known(-1, Some(-20_000), Some(-2_000))),
            ("c-not-due", known(1, Some(-1_000), Some(-2_000))),
            ("d-new", Known::default()),
            ("e-waited-little", known(-5, Some(-90_000), Some(-60_000))),
            // Its time was set when the clock was a day ahead.
            ("f-clock-set-back", known(86_400_000, Some(80_000_000), None)),
        ];
        let devices: BTreeMap<_, _> = devices
            .into_iter()
            .map(|(name, known)| (DeviceKey::new("c", name).unwrap(), known))
            .collect();
        let of = |most| {
            let due = due(&devices, NOW, most);
            let mut names: Vec<_> =
                due.into_iter().map(|(key, _)| key.device.as_str()[..1].to_owned()).collect();
            names.sort_unstable();
            names.concat()
        };
        assert_eq!([of(0), of(1), of(2), of(3), of(9)], ["", "b", "bd", "abd", "abdef"]);
    }

    #[test]
    fn looks_are_not_saved_up() {
        let mut budget = Budget::new(10);
        let start = Instant::now();
        let later = |millis| start + Duration::from_millis(millis);
        assert_eq!(budget.allowed(start), 10);
        budget.spend(10);
        assert_eq!(budget.allowed(later(250)), 2);
        budget.spend(2);
        assert_eq!(budget.allowed(later(300)), 1);
        assert_eq!(budget.allowed(later(60_000)), 10);
    }
}
