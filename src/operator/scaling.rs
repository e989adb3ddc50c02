//! How many workers there should be. Pure.
//!
//! Each target asks for a number, and the most counts. More at once than a doubling is not
//! started; fewer only after fewer were enough for a while.

use std::collections::VecDeque;
use std::time::Duration;

use super::crd::AutoscalingSpec;

/// Devices may be this much over or under the target before it matters.
const TOLERANCE: f64 = 0.1;
/// The fewest workers that may be added at once.
const LEAST_STEP: i32 = 4;

/// What is known about the load.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Load {
    /// Devices that send.
    pub devices: Option<i64>,
    /// Messages that wait.
    pub backlog: Option<i64>,
    /// How old the oldest of them is.
    pub oldest_age_secs: Option<i64>,
}

/// What was asked for lately, by when on the clock's uptime.
#[derive(Clone, Debug, Default)]
pub struct Memory(VecDeque<(Duration, i32)>);

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decision {
    /// How many workers.
    pub replicas: i32,
    /// Why, in a sentence for a person.
    pub why: String,
    /// Whether anything was known to decide by.
    pub informed: bool,
}

/// Decides at `now` (uptime) from `current` workers.
pub fn decide(
    spec: &AutoscalingSpec,
    current: i32,
    load: Load,
    memory: &mut Memory,
    now: Duration,
) -> Decision {
    let within = |n: i32| n.clamp(spec.min_replicas, spec.max_replicas.max(spec.min_replicas));
    let asked = wanted(spec, current, load);
    let Some((wanted, why)) = asked else {
        return Decision {
            replicas: within(current),
            why: "neither devices nor the backlog are known: the number stays".into(),
            informed: false,
        };
    };
    if memory.0.is_empty() {
        // What was decided before this process began is not known: it counts as just decided.
        memory.0.push_back((now, current));
    }
    memory.0.push_back((now, within(wanted)));
    let window =
        Duration::from_secs(u64::try_from(spec.scale_down_stabilization_seconds).unwrap_or(0));
    while memory.0.len() > 1 && memory.0.front().is_some_and(|(at, _)| *at + window <= now) {
        memory.0.pop_front();
    }
    // Bounded also if it is asked often.
    while memory.0.len() > 1_000 {
        memory.0.pop_front();
    }
    let most = memory.0.iter().map(|(_, replicas)| *replicas).max().unwrap_or(current);
    let replicas = if wanted > current {
        wanted.min(current.saturating_mul(2).max(current + LEAST_STEP))
    } else {
        most.min(current)
    };
    Decision { replicas: within(replicas), why, informed: true }
}

fn wanted(spec: &AutoscalingSpec, current: i32, load: Load) -> Option<(i32, String)> {
    let by_devices = load.devices.map(|devices| {
        let each = f64::from(spec.devices_per_replica);
        let ratio = count(devices) / each;
        let near = current > 0 && (ratio / f64::from(current) - 1.0).abs() <= TOLERANCE;
        let n = if near { current } else { whole(ratio.ceil()) };
        (n, format!("{devices} devices send, {} for each worker", spec.devices_per_replica))
    });
    let by_backlog = spec.target_backlog_per_replica.zip(load.backlog).map(|(target, backlog)| {
        let n = whole((count(backlog) / f64::from(target)).ceil());
        (n, format!("{backlog} messages wait, {target} for each worker at most"))
    });
    let by_age = spec.target_frame_age_seconds.zip(load.oldest_age_secs).map(|(target, age)| {
        let ratio = count(age) / f64::from(target);
        // Young enough asks for nothing by itself.
        let n = if ratio > 1.0 + TOLERANCE {
            whole((f64::from(current.max(1)) * ratio.min(2.0)).ceil())
        } else {
            0
        };
        (n, format!("the oldest message is {age} s old, {target} s at most"))
    });
    [by_devices, by_backlog, by_age].into_iter().flatten().max_by_key(|(n, _)| *n)
}

fn count(n: i64) -> f64 {
    // Far below 2^53.
    #[allow(clippy::cast_precision_loss)]
    let n = n.max(0) as f64;
    n
}

fn whole(n: f64) -> i32 {
    // Saturates, which the bounds of the spec then cut.
    #[allow(clippy::cast_possible_truncation)]
    let n = n as i32;
    n
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> AutoscalingSpec {
        AutoscalingSpec {
            min_replicas: 1,
            max_replicas: 20,
            devices_per_replica: 100,
            target_backlog_per_replica: Some(1_000),
            target_frame_age_seconds: Some(60),
            scale_down_stabilization_seconds: 300,
        }
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn devices(devices: i64) -> Load {
        Load { devices: Some(devices), ..Load::default() }
    }

    #[test]
    fn the_target_that_asks_for_most_counts() {
        let ask = |load| decide(&spec(), 3, load, &mut Memory::default(), secs(0)).replicas;
        assert_eq!(ask(devices(500)), 5);
        assert_eq!(ask(Load { backlog: Some(6_500), ..devices(500) }), 7);
        assert_eq!(ask(Load { oldest_age_secs: Some(90), ..devices(300) }), 5);
        assert_eq!(ask(Load { oldest_age_secs: Some(60), ..devices(300) }), 3);
    }

    #[test]
    fn nothing_known_changes_nothing() {
        let decision = decide(&spec(), 7, Load::default(), &mut Memory::default(), secs(0));
        assert!(decision.replicas == 7 && !decision.informed);
    }

    #[test]
    fn a_little_more_or_less_is_left_alone() {
        for n in [271, 300, 329] {
            assert_eq!(decide(&spec(), 3, devices(n), &mut Memory::default(), secs(0)).replicas, 3);
        }
    }

    #[test]
    fn growth_is_at_most_a_doubling_at_once_and_never_above_the_most() {
        let mut memory = Memory::default();
        let mut current = 2;
        let mut steps = Vec::new();
        for at in 0..5 {
            current = decide(&spec(), current, devices(10_000), &mut memory, secs(at)).replicas;
            steps.push(current);
        }
        assert_eq!(steps, [6, 12, 20, 20, 20]);
    }

    #[test]
    fn fewer_only_after_fewer_were_enough_for_the_whole_window() {
        let mut memory = Memory::default();
        let mut at = |secs_now: u64, current, n| {
            decide(&spec(), current, devices(n), &mut memory, secs(secs_now)).replicas
        };
        assert_eq!(at(0, 10, 1_000), 10);
        assert_eq!(at(60, 10, 200), 10);
        // A short need in between counts for a window of its own.
        assert_eq!(at(200, 10, 600), 10);
        assert_eq!(at(360, 10, 200), 6);
        assert_eq!(at(490, 6, 200), 6);
        assert_eq!(at(510, 6, 200), 2);
    }

    #[test]
    fn a_new_leader_does_not_begin_by_taking_workers_away() {
        let mut memory = Memory::default();
        assert_eq!(decide(&spec(), 9, devices(100), &mut memory, secs(5)).replicas, 9);
        assert_eq!(decide(&spec(), 9, devices(100), &mut memory, secs(306)).replicas, 1);
    }
}
