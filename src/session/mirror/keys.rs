//! What Redis holds of a device (pure): the names of its keys, the session's record, and the
//! commands that bring what is there to what the device's state says.
//!
//! | key | what it is |
//! |---|---|
//! | `stream:session:{client}:{device}` | the open session as JSON, for 24 hours after it was written |
//! | `stream:sessions` | set of `{client}:{device}`, for each device that is in a session |
//! | `hls:segments:{client}:{device}` | sorted set of the window's segment numbers, by capture time in seconds since 1970 |
//! | `hls:seq:{client}:{device}` | the number of the next segment |
//!
//! Numbers never fall in a device's life, so whatever holds a smaller one is older.

use serde::{Deserialize, Serialize};

use crate::model::{DeviceKey, SessionId, UtcMillis};
use crate::store::{DeviceState, OpenSession};

/// How long a session's record stays without being written again, in seconds.
pub const RECORD_TTL_SECS: u64 = 86_400;

/// The set of all devices that are in a session.
pub const SESSIONS: &str = "stream:sessions";

/// How many segments leave a window one by one; if there are more, it is written anew.
const MOST_TRIMMED: u64 = 1_000;

/// The names of a device's keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Keys {
    /// The open session's record.
    pub session: String,
    /// What the device is called in [`SESSIONS`].
    pub member: String,
    /// The window's segments.
    pub segments: String,
    /// The number of the next segment.
    pub next: String,
}

impl Keys {
    /// Those of a device.
    pub fn of(key: &DeviceKey) -> Self {
        let member = format!("{}:{}", key.client, key.device);
        Self {
            session: format!("stream:session:{member}"),
            segments: format!("hls:segments:{member}"),
            next: format!("hls:seq:{member}"),
            member,
        }
    }
}

/// What a device's state says that Redis is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Excerpt {
    /// The session that the device is in.
    pub session: Option<OpenSession>,
    /// The number of the next segment.
    pub next_segment: u64,
    /// The number of the oldest listed segment.
    pub media_sequence: u64,
    /// Numbers and capture times of the newest listed segments, up to the next one's.
    pub recent: Vec<(u64, UtcMillis)>,
}

impl Excerpt {
    /// That of a state.
    pub fn of(state: &DeviceState) -> Self {
        let media_sequence = state.published.media_sequence;
        let listed = state.recent.iter().filter(|record| record.number >= media_sequence);
        Self {
            session: state.session.clone(),
            next_segment: state.next_segment,
            media_sequence,
            recent: listed.map(|record| (record.number, record.captured_at)).collect(),
        }
    }

    /// The listed segments, if all of them are among the newest.
    fn whole_window(&self) -> Option<&[(u64, UtcMillis)]> {
        let first = self.recent.first().map_or(self.next_segment, |(number, _)| *number);
        (first == self.media_sequence).then_some(&self.recent)
    }

    /// The first and the last listed segment's numbers; none of an empty window.
    pub fn listed(&self) -> Option<(u64, u64)> {
        let last = self.next_segment.checked_sub(1)?;
        (self.media_sequence <= last).then_some((self.media_sequence, last))
    }
}

/// A session's record. Times are RFC 3339 in UTC with milliseconds.
#[derive(Serialize, Deserialize)]
struct Record {
    client_id: String,
    device_id: String,
    session_id: SessionId,
    started_at: String,
    last_frame_at: String,
    first_segment_number: u64,
    last_segment_number: u64,
    frame_count: u64,
    first_frame_captured_at: String,
    last_frame_captured_at: String,
}

/// The record of a device's session, as JSON.
pub fn record(key: &DeviceKey, session: &OpenSession) -> String {
    let record = Record {
        client_id: key.client.to_string(),
        device_id: key.device.to_string(),
        session_id: session.id.clone(),
        started_at: session.started_at.to_string(),
        last_frame_at: session.last_frame_at.to_string(),
        first_segment_number: session.first_segment,
        last_segment_number: session.last_segment,
        frame_count: session.frame_count,
        first_frame_captured_at: session.first_captured_at.to_string(),
        last_frame_captured_at: session.last_captured_at.to_string(),
    };
    // Texts and numbers: nothing in it can fail to become JSON.
    serde_json::to_string(&record).unwrap_or_default()
}

/// What was found in Redis of a device.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Found {
    /// The session's record; empty if the key holds something else.
    pub record: Option<String>,
    /// Whether the device is in [`SESSIONS`].
    pub in_sessions: bool,
    /// What there is of its window, where it is told.
    pub window: Option<FoundWindow>,
}

/// What was found in Redis of a device's window.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FoundWindow {
    /// The number of the next segment; none if there is none, or something else.
    pub next: Option<u64>,
    /// Whether there is that, or something else.
    pub has_next: bool,
    /// How many segments; none if the key holds something else.
    pub count: Option<u64>,
    /// Whether the window's first segment is among them.
    pub has_first: bool,
    /// Whether the window's last segment is among them.
    pub has_last: bool,
}

impl Found {
    /// The number of the next segment as whoever wrote this knew it.
    fn next_segment(&self) -> u64 {
        let record = self.record.as_deref();
        let record = record.and_then(|record| serde_json::from_str::<Record>(record).ok());
        let after = record.map_or(0, |record| record.last_segment_number.saturating_add(1));
        after.max(self.window.as_ref().and_then(|window| window.next).unwrap_or(0))
    }
}

/// One command and its arguments.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Command(pub Vec<String>);

fn command<const N: usize>(words: [&str; N]) -> Command {
    Command(words.map(str::to_owned).into())
}

/// What is to be done about a device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Nothing: it is as it shall be.
    Nothing,
    /// These commands, all at once.
    Write(Vec<Command>),
    /// The device has to be read from the storage, its window included: what was found is newer
    /// than the state that was given, or less than the state alone can fill up.
    AskStorage,
}

/// What brings Redis from what was found to what the state says.
pub fn step(key: &DeviceKey, state: &Excerpt, found: &Found) -> Step {
    if found.next_segment() > state.next_segment {
        return Step::AskStorage;
    }
    let keys = Keys::of(key);
    let mut commands = session_commands(key, &keys, state, found);
    if let Some(window) = &found.window {
        match window_commands(&keys, state, window) {
            Some(more) => commands.extend(more),
            None => return Step::AskStorage,
        }
    }
    if commands.is_empty() { Step::Nothing } else { Step::Write(commands) }
}

/// Everything of a device, whatever is there. Without a window, that is left alone.
pub fn rewrite(
    key: &DeviceKey,
    state: &Excerpt,
    window: Option<&[(u64, UtcMillis)]>,
) -> Vec<Command> {
    let keys = Keys::of(key);
    let anything = Found { record: Some(String::new()), in_sessions: true, window: None };
    let mut commands = session_commands(key, &keys, state, &anything);
    if let Some(window) = window {
        commands.extend(whole_window(&keys, state.next_segment, window));
    }
    commands
}

/// Nothing is left of a device.
pub fn forget(key: &DeviceKey) -> Vec<Command> {
    let keys = Keys::of(key);
    vec![
        command(["DEL", &keys.session, &keys.segments, &keys.next]),
        command(["SREM", SESSIONS, &keys.member]),
    ]
}

/// The names of the keys that were `found` of a device; of a set, with what it has of the device.
pub fn names(key: &DeviceKey, found: &[Found]) -> Vec<String> {
    let keys = Keys::of(key);
    let mut names = Vec::new();
    for found in found {
        let window = found.window.clone().unwrap_or_default();
        names.extend(found.record.is_some().then(|| keys.session.clone()));
        names.extend(found.in_sessions.then(|| format!("{} of {SESSIONS}", keys.member)));
        // It holds something else: that goes as well.
        let segments = window.count.map_or("something".to_owned(), |count| count.to_string());
        names.extend((window.count != Some(0)).then(|| format!("{} ({segments})", keys.segments)));
        names.extend(window.has_next.then_some(keys.next.clone()));
    }
    names
}

fn session_commands(key: &DeviceKey, keys: &Keys, state: &Excerpt, found: &Found) -> Vec<Command> {
    let Some(session) = &state.session else {
        return match (&found.record, found.in_sessions) {
            (None, false) => Vec::new(),
            _ => vec![command(["DEL", &keys.session]), command(["SREM", SESSIONS, &keys.member])],
        };
    };
    let record = record(key, session);
    if found.in_sessions && found.record.as_ref() == Some(&record) {
        return Vec::new();
    }
    vec![
        command(["SET", &keys.session, &record, "EX", &RECORD_TTL_SECS.to_string()]),
        command(["SADD", SESSIONS, &keys.member]),
    ]
}

/// What brings the window to what the state says; none if the state does not know enough.
fn window_commands(keys: &Keys, state: &Excerpt, found: &FoundWindow) -> Option<Vec<Command>> {
    let Some((first, _)) = state.listed() else {
        // A stream without segments may be told of or not.
        let nothing = found.count == Some(0) && found.next.is_none_or(|n| n == state.next_segment);
        let commands = || whole_window(keys, state.next_segment, &[]);
        return Some(if nothing { Vec::new() } else { commands() });
    };
    let begins = found.next.zip(found.count).and_then(|(next, count)| next.checked_sub(count));
    let is_whole = begins == Some(first)
        && found.next == Some(state.next_segment)
        && found.has_first
        && found.has_last;
    if is_whole {
        return Some(Vec::new());
    }
    if let Some(window) = state.whole_window() {
        return Some(whole_window(keys, state.next_segment, window));
    }
    continued_window(keys, state, found.next?, begins?, found.has_first)
}

/// The window that begins with `begins` and ends before `next`, with the segments that are new
/// and without those that have left it; none if it is not an earlier version of it.
fn continued_window(
    keys: &Keys,
    state: &Excerpt,
    next: u64,
    begins: u64,
    has_first: bool,
) -> Option<Vec<Command>> {
    let first = state.media_sequence;
    let known_from = state.recent.first().map(|(number, _)| *number)?;
    let new: Vec<_> = state.recent.iter().filter(|(number, _)| *number >= next).copied().collect();
    let is_earlier = has_first && begins <= first && first - begins <= MOST_TRIMMED;
    if !is_earlier || next < known_from || new.is_empty() {
        return None;
    }
    let mut commands = vec![
        add_segments(keys, &new),
        command(["SET", &keys.next, &state.next_segment.to_string()]),
    ];
    if begins < first {
        let mut words = vec!["ZREM".to_owned(), keys.segments.clone()];
        words.extend((begins..first).map(|number| number.to_string()));
        commands.push(Command(words));
    }
    Some(commands)
}

fn whole_window(keys: &Keys, next_segment: u64, window: &[(u64, UtcMillis)]) -> Vec<Command> {
    let mut commands = vec![
        command(["DEL", &keys.segments]),
        command(["SET", &keys.next, &next_segment.to_string()]),
    ];
    if !window.is_empty() {
        commands.push(add_segments(keys, window));
    }
    commands
}

fn add_segments(keys: &Keys, segments: &[(u64, UtcMillis)]) -> Command {
    let mut words = vec!["ZADD".to_owned(), keys.segments.clone()];
    for (number, captured_at) in segments {
        words.extend([score(*captured_at), number.to_string()]);
    }
    Command(words)
}

/// Seconds since 1970 with three decimals: exact, and a double holds it.
fn score(at: UtcMillis) -> String {
    let sign = if at.0 < 0 { "-" } else { "" };
    let millis = at.0.unsigned_abs();
    format!("{sign}{}.{:03}", millis / 1_000, millis % 1_000)
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
