//! Tests of the ledger.

use super::*;
use crate::archive::document::{Making, segments_left};
use crate::archive::fixture::{START, open_session, run, settings, state};
use crate::archive::sessions::finished;
use crate::model::DeviceKey;
use std::collections::BTreeSet;

const HOUR: Duration = Duration::from_secs(3_600);

fn id(number: u64) -> SessionId {
    SessionId::of(START, number)
}

#[test]
fn a_failed_session_keeps_its_segments_and_those_after_it_and_stops_no_other() {
    let mut ledger = Ledger::default();
    ledger.settle(0, 4);
    ledger.fail(&id(4), 4, 6, "full", START);
    ledger.settle(6, 9);
    ledger.settle(9, 12);
    assert_eq!((ledger.archived_below, ledger.ahead.len()), (4, 1));
    assert!(ledger.may_go(3) && !ledger.may_go(4) && !ledger.may_go(7));
    assert!(ledger.is_settled(3) && !ledger.is_settled(4) && ledger.is_settled(11));
    assert!(ledger.is_pending(&id(4), 4) && !ledger.is_pending(&id(6), 6));
    ledger.settle(4, 6);
    assert_eq!((ledger.archived_below, ledger.ahead.len(), ledger.failed.len()), (12, 0, 0));
    assert!(ledger.may_go(11));
}

#[test]
fn a_failed_session_is_tried_again_ever_later_and_given_up_when_its_archive_would_be_gone() {
    let records = run(&[(0, 4)]);
    let session = &finished(&records, 0, 4)[0];
    let mut ledger = Ledger::default();
    let mut now = START;
    let mut waits = Vec::new();
    for attempt in 1..=9 {
        assert_eq!(ledger.step(session, &settings(), now), Step::Make(attempt));
        ledger.fail(&session.id, 0, 4, &"full ".repeat(1_000), now);
        assert_eq!(ledger.step(session, &settings(), now), Step::Wait);
        let retry_at = ledger.failed[0].retry_at;
        waits.push(retry_at.since(now).as_secs());
        now = retry_at;
    }
    assert_eq!(waits, [60, 120, 240, 480, 960, 1_920, 3_600, 3_600, 3_600]);
    assert!(ledger.failed[0].error.len() <= MAX_ERROR_CHARS);
    let last = START.plus(settings().keep);
    assert_eq!(ledger.step(session, &settings(), last), Step::Make(10));
    assert_eq!(ledger.step(session, &settings(), last.plus_millis(1)), Step::GiveUp);
    // A clock set back by a year must not make it wait for a year.
    let back = START.plus_millis(-365 * 86_400_000);
    assert_eq!(ledger.step(session, &settings(), back), Step::Make(10));
}

#[test]
fn what_is_kept_account_of_is_bounded() {
    let records = run(&[(0, 4)]);
    let session = &finished(&records, 0, 4)[0];
    let mut ledger = Ledger::default();
    for number in 0..MAX_FAILED as u64 {
        ledger.fail(&id(100 + number), 100 + number, 101 + number, "full", START);
    }
    assert_eq!(ledger.step(session, &settings(), START), Step::Wait);
    assert!(!ledger.is_due(&state(1_000), &settings(), START), "nothing can be done now");
    assert!(ledger.is_due(&state(1_000), &settings(), START.plus(HOUR)));
    for number in 0..MAX_UNCONFIRMED as u64 {
        ledger.unconfirm(&id(number));
        ledger.unconfirm(&id(number));
    }
    assert!(ledger.is_behind() && !ledger.rebuild);
    ledger.unconfirm(&id(999));
    assert!(ledger.rebuild && ledger.unconfirmed.len() == MAX_UNCONFIRMED);
    let all = ledger.unconfirmed.clone();
    ledger.confirm(&all, true);
    assert!(!ledger.is_behind());
}

#[test]
fn a_device_without_news_has_nothing_to_do() {
    let records = run(&[(0, 4), (4, 9)]);
    let mut state = state(9);
    state.session = Some(open_session(&records[4..]));
    let mut ledger = Ledger::default();
    let now = START.plus_millis(9 * 30_000);
    assert!(ledger.is_due(&state, &settings(), now));
    ledger.settle(0, 4);
    assert!(!ledger.is_due(&state, &settings(), now));
    state.session = None;
    assert!(ledger.is_due(&state, &settings(), now));
}

#[test]
fn a_session_that_was_left_to_another_process_is_looked_at_again() {
    let mut ledger = Ledger::default();
    ledger.settle(4, 9);
    assert!(ledger.is_due(&state(9), &settings(), START), "nobody has settled the first");
    ledger.fail(&id(0), 0, 4, "full", START);
    assert!(!ledger.is_due(&state(9), &settings(), START));
}

#[test]
fn a_session_that_goes_on_is_linked_when_half_the_retention_is_over_and_each_half_again() {
    let records = run(&[(0, 9)]);
    let mut state = state(9);
    let session = open_session(&records);
    state.session = Some(session.clone());
    let mut ledger = Ledger::default();
    let half = session.started_at.plus(settings().stream_retention / 2);
    assert_eq!(ledger.link_from(&state, &settings(), half.plus_millis(-1)), None);
    assert_eq!(ledger.link_from(&state, &settings(), half), Some(0));
    ledger.link(&session.id, 0, 9, half);
    assert!(ledger.may_go(8) && !ledger.may_go(9));
    let full = half.plus(settings().stream_retention / 2);
    assert_eq!(ledger.link_from(&state, &settings(), full), None, "nothing has come");
    state.next_segment = 20;
    assert_eq!(ledger.link_from(&state, &settings(), full.plus_millis(-1)), None);
    assert_eq!(ledger.link_from(&state, &settings(), full), Some(9));
    ledger.fail(&session.id, 0, 0, "full", full);
    assert_eq!(ledger.link_from(&state, &settings(), full), None, "it has failed just now");
    let off = ArchiveSettings { enabled: false, ..settings() };
    assert_eq!(ledger.link_from(&state, &off, full.plus(HOUR)), None);
    ledger.settle(0, 20);
    assert_eq!((ledger.linked_below, ledger.linked), (20, None));
}

#[test]
fn what_is_linked_lets_nothing_go_while_an_older_session_has_failed() {
    let mut ledger = Ledger::default();
    ledger.fail(&id(0), 0, 4, "full", START);
    ledger.link(&id(4), 4, 9, START);
    assert!(!ledger.may_go(0) && !ledger.may_go(5));
    ledger.settle(0, 4);
    assert!(ledger.may_go(8) && !ledger.may_go(9));
}

fn document(first: u64, end: u64, status: Status) -> Document {
    let records = run(&[(first, end)]);
    let session = &finished(&records, first, end)[0];
    let key = DeviceKey::new("client-1", "camera-1").unwrap();
    let making = Making { key: &key, attempts: 3, now: START.plus(HOUR), keep: settings().keep };
    match status {
        Status::Ready => {
            let segments = segments_left(session, &BTreeSet::new());
            Document::ready(&making, session, segments, "ab".into())
        }
        Status::Failed => Document::failed(&making, session, "full".into(), START),
    }
}

#[test]
fn a_lost_ledger_is_found_again_from_the_archives() {
    let archives = [
        document(20, 30, Status::Ready),
        document(34, 40, Status::Failed),
        document(40, 44, Status::Ready),
    ];
    let mut ledger = Ledger::damaged();
    assert!(!ledger.may_go(0) && ledger.is_behind());
    ledger.find_again(23, &archives, settings().keep);
    assert_eq!((ledger.archived_below, ledger.lost), (30, false));
    assert!(!ledger.is_settled(30), "a session without an archive has still to be looked at");
    assert!(ledger.is_settled(43) && !ledger.is_settled(44));
    let failed = &ledger.failed[0];
    assert_eq!((failed.first, failed.end, failed.attempts), (34, 40, 3));
    assert_eq!((failed.first_failed_at, &*failed.error), (START, "full"));
    assert_eq!(failed.retry_at, START.plus(HOUR).plus(retry_after(3)));
    ledger.settle(30, 34);
    assert_eq!(ledger.archived_below, 34);
}

#[test]
fn of_a_device_without_archives_a_lost_ledger_knows_what_has_no_record_any_more() {
    let mut ledger = Ledger::absent();
    ledger.find_again(7, &[], settings().keep);
    assert_eq!(ledger, {
        let mut other = Ledger::default();
        other.settle(0, 7);
        other
    });
}

#[test]
fn a_ledger_is_read_back_and_one_with_less_in_it_too() {
    let mut ledger = Ledger::default();
    ledger.fail(&id(4), 4, 6, "full", START);
    ledger.settle(6, 9);
    ledger.link(&id(9), 9, 12, START);
    ledger.unconfirm(&id(6));
    let text = serde_json::to_string(&ledger).unwrap();
    assert_eq!(serde_json::from_str::<Ledger>(&text).unwrap(), ledger);
    let least: Ledger = serde_json::from_str(r#"{"format":1,"archived_below":7}"#).unwrap();
    assert!(least.may_go(6) && !least.may_go(7));
}
