use super::*;

const START: UtcMillis = UtcMillis(1_769_846_400_250);

fn key() -> DeviceKey {
    DeviceKey::new("acme", "truck-7").unwrap()
}

fn at(number: u64) -> UtcMillis {
    START.plus_millis(i64::try_from(number).unwrap() * 30_000)
}

fn session(first: u64, last: u64) -> OpenSession {
    OpenSession {
        id: SessionId::of(at(first), first),
        started_at: at(first + 1),
        last_frame_at: at(last + 1),
        first_captured_at: at(first),
        last_captured_at: at(last).plus_millis(25_000),
        first_segment: first,
        last_segment: last,
        frame_count: (last - first + 1) * 6,
    }
}

/// A window from `first` to before `next`, of which the state knows the segments from `known`.
fn state(first: u64, known: u64, next: u64) -> Excerpt {
    Excerpt {
        session: Some(session(0, next - 1)),
        next_segment: next,
        media_sequence: first,
        recent: (known..next).map(|number| (number, at(number))).collect(),
    }
}

/// What Redis holds once it has been told of a state.
fn told(state: &Excerpt) -> Found {
    let count = state.next_segment - state.media_sequence;
    Found {
        record: state.session.as_ref().map(|session| record(&key(), session)),
        in_sessions: state.session.is_some(),
        window: Some(FoundWindow {
            next: Some(state.next_segment),
            has_next: true,
            count: Some(count),
            has_first: count > 0,
            has_last: count > 0,
        }),
    }
}

/// What Redis holds of `before` when it is looked at for the window of `now`.
fn behind(before: &Excerpt, now: &Excerpt) -> Found {
    let mut found = told(before);
    let window = found.window.as_mut().unwrap();
    let holds = |number| (before.media_sequence..before.next_segment).contains(&number);
    window.has_first = holds(now.media_sequence);
    window.has_last = holds(now.next_segment - 1);
    found
}

fn written(step: Step) -> Vec<String> {
    match step {
        Step::Write(commands) => commands.iter().map(|c| c.0.join(" ")).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_record_is_that_of_the_contract() {
    let record: serde_json::Value = serde_json::from_str(&record(&key(), &session(3, 5))).unwrap();
    let expected = serde_json::json!({
        "client_id": "acme",
        "device_id": "truck-7",
        "session_id": "20260131T080130Z-000003",
        "started_at": "2026-01-31T08:02:00.250Z",
        "last_frame_at": "2026-01-31T08:03:00.250Z",
        "first_segment_number": 3,
        "last_segment_number": 5,
        "frame_count": 18,
        "first_frame_captured_at": "2026-01-31T08:01:30.250Z",
        "last_frame_captured_at": "2026-01-31T08:02:55.250Z",
    });
    assert_eq!(record, expected);
}

#[test]
fn an_empty_redis_gets_everything_that_the_state_knows() {
    let state = state(0, 0, 2);
    let found = Found {
        window: Some(FoundWindow { count: Some(0), ..Default::default() }),
        ..Default::default()
    };
    let record = record(&key(), state.session.as_ref().unwrap());
    let expected = [
        format!("SET stream:session:acme:truck-7 {record} EX 86400"),
        "SADD stream:sessions acme:truck-7".into(),
        "DEL hls:segments:acme:truck-7".into(),
        "SET hls:seq:acme:truck-7 2".into(),
        "ZADD hls:segments:acme:truck-7 1769846400.250 0 1769846430.250 1".into(),
    ];
    assert_eq!(written(step(&key(), &state, &found)), expected);
}

#[test]
fn what_is_as_it_shall_be_is_left_alone() {
    for state in [state(0, 0, 2), state(5, 95, 100), Excerpt { session: None, ..state(5, 95, 100) }]
    {
        assert_eq!(step(&key(), &state, &told(&state)), Step::Nothing);
    }
}

#[test]
fn a_commit_adds_its_segments_and_takes_those_that_left_the_window() {
    let (before, now) = (state(5, 90, 100), state(7, 95, 102));
    let commands = written(step(&key(), &now, &behind(&before, &now)));
    let [set, sadd, rest @ ..] = &commands[..] else { panic!("{commands:?}") };
    assert!(set.starts_with("SET stream:session:acme:truck-7 {"), "{set}");
    assert_eq!(sadd, "SADD stream:sessions acme:truck-7");
    let expected = [
        "ZADD hls:segments:acme:truck-7 1769849400.250 100 1769849430.250 101",
        "SET hls:seq:acme:truck-7 102",
        "ZREM hls:segments:acme:truck-7 5 6",
    ];
    assert_eq!(rest, expected);
}

#[test]
fn without_its_window_only_the_session_is_told() {
    let state = state(5, 95, 100);
    let commands = written(step(&key(), &state, &Found::default()));
    assert_eq!(commands.len(), 2, "{commands:?}");
    let known = Found { window: None, ..told(&state) };
    assert_eq!(step(&key(), &state, &known), Step::Nothing);
}

#[test]
fn a_session_that_is_over_leaves_nothing_of_itself() {
    let over = Excerpt { session: None, ..state(5, 95, 100) };
    let expected = ["DEL stream:session:acme:truck-7", "SREM stream:sessions acme:truck-7"];
    let open = told(&state(5, 95, 100));
    assert_eq!(written(step(&key(), &over, &open)), expected);
    let half = Found { record: None, ..open };
    assert_eq!(written(step(&key(), &over, &half)), expected);
}

#[test]
fn what_is_newer_than_the_state_is_not_overwritten() {
    let (old, new) = (state(5, 95, 100), state(6, 96, 101));
    assert_eq!(step(&key(), &old, &told(&new)), Step::AskStorage);
    let session_only = Found { window: None, ..told(&new) };
    assert_eq!(step(&key(), &old, &session_only), Step::AskStorage);
    let over = Excerpt { session: None, ..old };
    assert_eq!(step(&key(), &over, &session_only), Step::AskStorage);
}

#[test]
fn a_window_that_the_state_cannot_fill_up_is_asked_for() {
    let now = state(5, 95, 100);
    let found = |change: fn(&mut FoundWindow)| {
        let mut found = told(&now);
        change(found.window.as_mut().unwrap());
        found
    };
    for lost in [
        found(|window| window.next = None),
        found(|window| window.count = Some(0)),
        found(|window| window.count = Some(90)),
        found(|window| window.count = Some(96)),
        found(|window| window.count = None),
        found(|window| window.has_first = false),
        found(|window| window.has_last = false),
        // More was committed than the state has records of.
        behind(&state(5, 80, 94), &now),
        // What is there begins after the window, so that some of it is missing.
        behind(&state(6, 90, 99), &now),
    ] {
        assert_eq!(step(&key(), &now, &lost), Step::AskStorage, "{lost:?}");
    }
}

#[test]
fn a_stream_begun_anew_has_no_window() {
    let reset = Excerpt { session: None, next_segment: 100, media_sequence: 100, recent: vec![] };
    let commands = written(step(&key(), &reset, &told(&state(5, 95, 100))));
    let expected = [
        "DEL stream:session:acme:truck-7",
        "SREM stream:sessions acme:truck-7",
        "DEL hls:segments:acme:truck-7",
        "SET hls:seq:acme:truck-7 100",
    ];
    assert_eq!(commands, expected);
    let forgotten = Found {
        window: Some(FoundWindow { count: Some(0), ..Default::default() }),
        ..Default::default()
    };
    assert_eq!(step(&key(), &reset, &forgotten), Step::Nothing);
    assert_eq!(step(&key(), &reset, &told(&reset)), Step::Nothing);
}

#[test]
fn keys_that_hold_something_else_are_written_anew() {
    let now = state(5, 95, 100);
    let garbage = Found { record: Some(String::new()), ..told(&now) };
    assert_eq!(written(step(&key(), &now, &garbage)).len(), 2);
    let window = [(98, at(98)), (99, at(99))];
    let all = rewrite(&key(), &now, Some(&window));
    let first_words: Vec<_> = all.iter().map(|command| command.0[0].as_str()).collect();
    assert_eq!(first_words, ["SET", "SADD", "DEL", "SET", "ZADD"]);
}

#[test]
fn instants_before_1970_have_scores_too() {
    assert_eq!(score(UtcMillis(-1_250)), "-1.250");
    assert_eq!(score(UtcMillis(5)), "0.005");
}

#[test]
fn the_keys_that_were_found_are_named() {
    let all = [
        "stream:session:acme:truck-7",
        "acme:truck-7 of stream:sessions",
        "hls:segments:acme:truck-7 (5)",
        "hls:seq:acme:truck-7",
    ];
    assert_eq!(names(&key(), &[told(&state(95, 95, 100))]), all);
    let nothing = FoundWindow { count: Some(0), ..Default::default() };
    let nothing = Found { window: Some(nothing), ..Default::default() };
    assert_eq!(names(&key(), &[nothing]), Vec::<String>::new());
    let garbage = FoundWindow { has_next: true, ..Default::default() };
    let garbage = Found { window: Some(garbage), ..Default::default() };
    let expected = ["hls:segments:acme:truck-7 (something)", "hls:seq:acme:truck-7"];
    assert_eq!(names(&key(), &[garbage]), expected);
}
