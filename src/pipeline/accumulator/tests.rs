use std::collections::{BTreeSet, VecDeque};

use proptest::prelude::*;

use super::put_off::PATIENCE;
use super::*;

const START: UtcMillis = UtcMillis(1_770_000_000_000);

fn settings() -> AccumulatorSettings {
    AccumulatorSettings {
        frames_per_segment: 6,
        close_after: Duration::from_secs(30),
        max_held: 40,
        max_held_per_device: 12,
        live_within: Duration::from_secs(90),
        forget_after: Duration::from_secs(600),
    }
}

fn event(device: &str, number: u64) -> FrameEvent {
    FrameEvent {
        event_id: EventId::new(&format!("{device}-{number}")).unwrap(),
        device: DeviceKey::new("client", device).unwrap(),
        captured_at: START.plus_millis(i64::try_from(number).unwrap() * 5_000),
        utc_offset_secs: 0,
        frame_path: format!("{device}/{number}.jpg"),
        request_id: String::new(),
    }
}

fn delivery(entry: u64) -> DeliveryId {
    DeliveryId { lane: 0, index: 0, entry }
}

fn ids(group: &Group) -> Vec<String> {
    group.frames.iter().map(|f| f.event_id.to_string()).collect()
}

#[test]
fn a_group_closes_at_its_last_frame() {
    let mut accumulator = Accumulator::new(settings());
    for number in 0..5 {
        let offer = accumulator.offer(event("a", number), delivery(number), START);
        assert!(matches!(offer, Offer::Held));
    }
    let Offer::Closed(group) = accumulator.offer(event("a", 5), delivery(5), START) else {
        panic!("the sixth frame closes the group");
    };
    assert_eq!(ids(&group), ["a-0", "a-1", "a-2", "a-3", "a-4", "a-5"]);
}

#[test]
fn a_group_closes_on_the_wall_clock_with_what_it_has() {
    let mut accumulator = Accumulator::new(settings());
    accumulator.offer(event("a", 0), delivery(0), START);
    accumulator.offer(event("a", 1), delivery(1), START.plus_millis(20_000));
    assert!(accumulator.tick(START.plus_millis(29_999)).0.is_empty());
    let (closed, _) = accumulator.tick(START.plus_millis(30_000));
    assert_eq!(ids(&closed[0]), ["a-0", "a-1"]);
    assert!(accumulator.tick(START.plus_millis(90_000)).0.is_empty());
}

#[test]
fn a_clock_that_steps_back_does_not_hold_a_group() {
    let mut accumulator = Accumulator::new(settings());
    accumulator.offer(event("a", 0), delivery(0), START);
    assert_eq!(accumulator.tick(START.plus_millis(-3_600_000)).0.len(), 1);
}

#[test]
fn frames_that_come_out_of_order_are_put_in_capture_order() {
    let mut accumulator = Accumulator::new(settings());
    for number in [0, 2, 1, 4, 3] {
        accumulator.offer(event("a", number), delivery(number), START);
    }
    let (closed, _) = accumulator.tick(START.plus_millis(30_000));
    assert_eq!(ids(&closed[0]), ["a-0", "a-1", "a-2", "a-3", "a-4"]);
}

#[test]
fn a_frame_delivered_twice_is_held_once_and_settled_twice() {
    let mut accumulator = Accumulator::new(settings());
    accumulator.offer(event("a", 0), delivery(7), START);
    accumulator.offer(event("a", 0), delivery(8), START);
    assert_eq!(accumulator.held(), 1);
    let (closed, _) = accumulator.tick(START.plus_millis(30_000));
    assert_eq!(closed[0].frames[0].deliveries, [delivery(7), delivery(8)]);
}

#[test]
fn a_device_at_its_bound_is_deferred_and_no_other_waits() {
    let mut accumulator = Accumulator::new(settings());
    for number in 0..12 {
        assert!(!matches!(
            accumulator.offer(event("a", number), delivery(number), START),
            Offer::Deferred
        ));
    }
    let over = accumulator.offer(event("a", 12), delivery(12), START);
    assert!(matches!(over, Offer::Deferred));
    assert!(matches!(accumulator.offer(event("b", 0), delivery(13), START), Offer::Held));
    assert!(accumulator.rerequest(START).is_empty(), "there is no room yet");
}

#[test]
fn deferred_frames_are_asked_for_in_order_and_newer_ones_stay_behind_them() {
    let mut accumulator = Accumulator::new(settings());
    for number in 0..16 {
        accumulator.offer(event("a", number), delivery(number), START);
    }
    assert_eq!((accumulator.held(), accumulator.deferred()), (12, 4));
    let key = event("a", 0).device;
    accumulator.release(&key, 12);
    assert_eq!(accumulator.rerequest(START), [12, 13, 14, 15].map(delivery));
    // A newer frame overtakes the ones asked for: it has to wait for them.
    assert!(matches!(accumulator.offer(event("a", 16), delivery(16), START), Offer::Deferred));
    for number in 12..16 {
        let again = accumulator.offer(event("a", number), delivery(100 + number), START);
        assert!(matches!(again, Offer::Held), "{number}");
    }
    assert_eq!(accumulator.rerequest(START), [delivery(16)]);
}

#[test]
fn frames_asked_for_that_never_come_are_not_waited_for_for_ever() {
    let mut accumulator = three_asked_for();
    assert!(matches!(accumulator.offer(event("a", 15), delivery(15), START), Offer::Deferred));
    assert_eq!(accumulator.rerequest(START), []);
    let later = START.plus(PATIENCE);
    accumulator.tick(later);
    assert_eq!(accumulator.rerequest(later), [delivery(15)]);
    // It has come before them: they went elsewhere.
    assert!(matches!(accumulator.offer(event("a", 15), delivery(15), later), Offer::Held));
    assert!(matches!(accumulator.offer(event("a", 16), delivery(16), later), Offer::Held));
}

#[test]
fn frames_asked_for_that_take_minutes_are_not_overtaken() {
    let mut accumulator = three_asked_for();
    let mut now = START;
    for number in 15..30 {
        let offer = accumulator.offer(event("a", number), delivery(number), now);
        assert!(matches!(offer, Offer::Deferred), "{number}");
        accumulator.tick(now);
        accumulator.rerequest(now);
        now = now.plus(PATIENCE);
    }
    for number in 12..24 {
        let offer = accumulator.offer(event("a", number), delivery(number), now);
        assert!(!matches!(offer, Offer::Deferred), "{number}");
    }
    assert!(matches!(accumulator.offer(event("a", 30), delivery(30), now), Offer::Deferred));
}

#[test]
fn a_device_that_another_worker_is_to_have_is_soon_given_back() {
    let mut accumulator = three_asked_for();
    for number in 15..500 {
        accumulator.offer(event("a", number), delivery(number), START);
    }
    let mut now = START;
    let mut given_back = Vec::new();
    for _ in 0..8 {
        now = now.plus(PATIENCE);
        accumulator.tick(now);
        given_back.extend(accumulator.rerequest(now));
    }
    assert_eq!(given_back, (15..500).map(delivery).collect::<Vec<_>>());
    assert_eq!((accumulator.held(), accumulator.deferred()), (0, 0));
    let (_, forgotten) = accumulator.tick(now.plus(settings().forget_after));
    assert_eq!(forgotten, [event("a", 0).device], "not even those that never came are remembered");
}

/// Twelve frames of `a` held, its next three asked for, and the rest of the room taken.
fn three_asked_for() -> Accumulator {
    let mut accumulator = Accumulator::new(settings());
    for number in 0..15 {
        accumulator.offer(event("a", number), delivery(number), START);
    }
    accumulator.release(&event("a", 0).device, 12);
    assert_eq!(accumulator.rerequest(START), [12, 13, 14].map(delivery));
    accumulator
}

#[test]
fn room_for_what_was_asked_for_is_not_given_to_others() {
    let mut accumulator = three_asked_for();
    let offers = (0..60).map(|device| {
        accumulator.offer(event(&format!("other{device}"), 0), delivery(100 + device), START)
    });
    let held = offers.filter(|offer| matches!(offer, Offer::Held)).count();
    assert_eq!(held, settings().max_held - 3);
    for number in 12..15 {
        let offer = accumulator.offer(event("a", number), delivery(200 + number), START);
        assert!(matches!(offer, Offer::Held), "{number}");
    }
    assert_eq!(accumulator.held(), settings().max_held);
}

#[test]
fn frames_that_come_too_late_for_their_room_go_before_the_newer_ones() {
    let mut accumulator = three_asked_for();
    let late = START.plus(PATIENCE);
    accumulator.tick(late);
    for other in 0..40 {
        let device = ["b", "c", "d", "e"][other / 10];
        accumulator.offer(event(device, other as u64), delivery(100 + other as u64), late);
    }
    assert_eq!(accumulator.held(), 40);
    assert!(matches!(accumulator.offer(event("a", 15), delivery(15), late), Offer::Deferred));
    for number in 12..15 {
        let offer = accumulator.offer(event("a", number), delivery(number), late);
        assert!(matches!(offer, Offer::Deferred), "{number}");
        accumulator.release(&event("b", 0).device, 1);
    }
    accumulator.release(&event("b", 0).device, 6);
    assert_eq!(accumulator.rerequest(late), [12, 13, 14, 15].map(delivery));
}

#[test]
fn open_groups_alone_do_not_keep_frames_out() {
    let mut accumulator = Accumulator::new(settings());
    let mut closed = Vec::new();
    // Five frames each of twenty devices are more than there is room for, and close no group.
    for number in 0..5 {
        for device in 0..20 {
            let now = START.plus_millis(i64::try_from(number * 20 + device).unwrap() * 50);
            let id = delivery(number * 20 + device);
            let offer = accumulator.offer(event(&format!("{device:02}"), number), id, now);
            assert!(matches!(offer, Offer::Held), "frame {number} of device {device}");
            for group in accumulator.tick(now).0 {
                accumulator.release(&group.device, group.frames.len());
                closed.push(group);
            }
        }
    }
    assert!(closed.is_sorted_by_key(|group| group.opened_at), "the oldest first");
    assert!(closed.iter().all(|group| group.frames.len() > 1), "nor sooner than need be");
    let most_open = settings().max_held * 7 / 8;
    assert!(accumulator.held() <= most_open, "an eighth of the room is left");
    assert!(accumulator.held() + 6 > most_open, "and no more than a group is closed for it");
}

#[test]
fn many_devices_in_little_room_still_get_whole_groups() {
    let mut accumulator = Accumulator::new(settings());
    // Twenty devices have two places each: not one of them could ever complete a group.
    for number in 0..30 {
        for device in 0..20 {
            let id = delivery(number * 20 + device);
            accumulator.offer(event(&format!("{device:02}"), number), id, START);
        }
    }
    assert_eq!((accumulator.held(), accumulator.deferred()), (40, 560));
    let mut now = START;
    let mut sizes = Vec::new();
    while accumulator.held() > 0 {
        now = now.plus_millis(30_000);
        let mut closed = accumulator.tick(now).0;
        while let Some(group) = closed.pop() {
            accumulator.release(&group.device, group.frames.len());
            sizes.push(group.frames.len());
            for id in accumulator.rerequest(now) {
                let event = event(&format!("{:02}", id.entry % 20), id.entry / 20);
                if let Offer::Closed(group) = accumulator.offer(event, id, now) {
                    closed.push(group);
                }
            }
        }
    }
    assert_eq!(sizes.iter().sum::<usize>(), 600);
    // What was open at first, and what is left at the end.
    let short = sizes.iter().filter(|size| **size < 6).count();
    assert!(short <= 40, "{short} of {} groups are short: {sizes:?}", sizes.len());
    assert!(sizes.len() <= 120, "{} groups of {sizes:?}", sizes.len());
}

/// An hour after the frames of these tests were taken.
const HOUR_LATER: UtcMillis = UtcMillis(START.0 + 3_600_000);

/// Where in the numbers of the frames that hour is.
const LIVE: u64 = 720;

/// A room full of the old frames of five devices, of each of which one more is put off.
fn full_of_old_frames() -> Accumulator {
    let mut accumulator = Accumulator::new(settings());
    for number in 0..7 {
        for device in 0..5 {
            let id = delivery(number * 5 + device);
            accumulator.offer(event(&format!("old{device}"), number), id, HOUR_LATER);
        }
    }
    assert_eq!((accumulator.held(), accumulator.deferred()), (30, 5));
    accumulator
}

#[test]
fn old_frames_leave_a_quarter_of_the_room_to_live_ones() {
    let mut accumulator = full_of_old_frames();
    for number in 0..10 {
        let event = event(&format!("live{}", number % 2), LIVE + number);
        let offer = accumulator.offer(event, delivery(100 + number), HOUR_LATER);
        assert!(matches!(offer, Offer::Held), "{number}");
    }
    let over = accumulator.offer(event("live2", LIVE), delivery(110), HOUR_LATER);
    assert!(matches!(over, Offer::Deferred));
    // Room that only live frames may have is none for those that wait longer.
    accumulator.release(&event("live0", 0).device, 5);
    assert_eq!(accumulator.rerequest(HOUR_LATER), [delivery(110)]);
    assert_eq!(accumulator.rerequest(HOUR_LATER), []);
}

#[test]
fn live_frames_that_were_put_off_are_asked_for_before_old_ones() {
    let mut accumulator = full_of_old_frames();
    for device in 0..11 {
        let event = event(&format!("live{device}"), LIVE);
        accumulator.offer(event, delivery(100 + device), HOUR_LATER);
    }
    accumulator.release(&event("old0", 0).device, 6);
    accumulator.release(&event("old1", 0).device, 6);
    let wanted = accumulator.rerequest(HOUR_LATER);
    assert_eq!(wanted, [delivery(110), delivery(30)], "and a place is left for a live one");
}

#[test]
fn open_groups_of_old_frames_do_not_keep_old_frames_out() {
    let mut accumulator = Accumulator::new(settings());
    for device in 0..31 {
        accumulator.offer(event(&format!("{device:02}"), 0), delivery(device), HOUR_LATER);
    }
    assert_eq!((accumulator.held(), accumulator.deferred()), (30, 1));
    let (closed, _) = accumulator.tick(HOUR_LATER);
    assert_eq!(closed.len(), 5, "an eighth of the whole room");
}

#[test]
fn groups_that_wait_for_an_encoder_close_no_others() {
    let mut accumulator = Accumulator::new(settings());
    for number in 0..6 {
        accumulator.offer(event("a", number), delivery(number), START);
    }
    for device in 0..40 {
        accumulator.offer(event(&format!("{device}"), 0), delivery(100 + device), START);
    }
    assert_eq!(accumulator.held(), 40);
    assert!(accumulator.tick(START).0.is_empty());
}

#[test]
fn an_idle_device_is_forgotten_and_one_that_holds_frames_is_not() {
    let mut accumulator = Accumulator::new(settings());
    for number in 0..6 {
        accumulator.offer(event("done", number), delivery(number), START);
        accumulator.offer(event("busy", number), delivery(10 + number), START);
    }
    let done = event("done", 0).device;
    accumulator.release(&done, 6);
    let (_, forgotten) = accumulator.tick(START.plus_millis(600_000));
    assert_eq!(forgotten, [done]);
    assert_eq!(accumulator.devices(), 1);
}

proptest! {
    /// Whatever comes in whatever order, with a broker that delivers again what it is asked to,
    /// however slowly, each device's in order, all in between each other and behind what is on its
    /// way: the bounds hold, every frame leaves in a group, and a device's frames leave in order.
    #[test]
    fn every_frame_leaves_once_in_order_and_the_bounds_hold(
        published in prop::array::uniform5(0_u64..120),
        turns in prop::collection::vec(0_usize..5, 1..60),
        drain_every in 1_usize..50,
        on_their_way in 1_usize..100,
        step_millis in 0_i64..20_000,
    ) {
        // What is known of a device goes with it.
        let never_forget = AccumulatorSettings { forget_after: Duration::MAX, ..settings() };
        let mut accumulator = Accumulator::new(never_forget);
        let mut broker = published.map(|count| (0..count).collect::<BTreeSet<_>>());
        let mut coming = VecDeque::new();
        let id = |device: usize, number: u64| delivery(number * 5 + device as u64);
        let mut seen: [Vec<u64>; 5] = Default::default();
        let mut waiting: Vec<Group> = Vec::new();
        let mut now = START;
        let mut turns = turns.into_iter().cycle();
        let mut steps = 0;
        let all = usize::try_from(published.iter().sum::<u64>()).unwrap();
        while seen.iter().map(Vec::len).sum::<usize>() < all {
            steps += 1;
            prop_assert!(steps < 50_000, "it got stuck");
            now = now.plus_millis(step_millis);
            while coming.len() < on_their_way {
                let turn = turns.next().unwrap();
                let next = (0..5).map(|device| (device + turn) % 5).find_map(|device| {
                    broker[device].pop_first().map(|number| (device, number))
                });
                match next {
                    Some(next) => coming.push_back(next),
                    None => break,
                }
            }
            match coming.pop_front() {
                Some((device, number)) => {
                    let event = event(&device.to_string(), number);
                    match accumulator.offer(event, id(device, number), now) {
                        Offer::Closed(group) => waiting.push(group),
                        Offer::Held | Offer::Deferred => {}
                    }
                }
                None => now = now.plus_millis(30_000),
            }
            waiting.extend(accumulator.tick(now).0);
            prop_assert!(accumulator.held() <= settings().max_held);
            if steps % drain_every == 0 || coming.is_empty() {
                for group in waiting.drain(..) {
                    accumulator.release(&group.device, group.frames.len());
                    for frame in &group.frames {
                        let entry = frame.deliveries[0].entry;
                        seen[usize::try_from(entry % 5).unwrap()].push(entry / 5);
                    }
                }
                for id in accumulator.rerequest(now) {
                    broker[usize::try_from(id.entry % 5).unwrap()].insert(id.entry / 5);
                }
            }
        }
        for (numbers, count) in seen.iter().zip(published) {
            prop_assert_eq!(numbers, &(0..count).collect::<Vec<_>>());
        }
    }
}
