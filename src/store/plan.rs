//! What a commit writes, and which playlist goes with a state (pure).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::layout::HistoryName;
use super::{DeviceState, NewSegment, OpenSession, PublishedPlaylist, SegmentRecord};
use crate::media::Container;
use crate::media::timeline::Timeline;
use crate::model::UtcMillis;
use crate::playlist::{self, NewEntry, PlaylistError, Window};

/// How large the state may become before its older segments go to a history file.
const MAX_STATE_BYTES: usize = 4_096;

/// How much of a content's SHA-256 names an init file, in hexadecimal digits.
const INIT_HASH_DIGITS: usize = 16;

/// A media or init file to be written.
#[derive(Debug)]
pub(super) struct PlannedFile {
    pub name: String,
    pub bytes: Bytes,
    pub is_init: bool,
}

/// Everything a commit writes, in this order.
#[derive(Debug)]
pub(super) struct Plan {
    pub files: Vec<PlannedFile>,
    pub history: Option<(HistoryName, Vec<SegmentRecord>)>,
    pub state: DeviceState,
    pub playlist: String,
}

/// Continues `stored` and its `window` by `segments`.
pub(super) fn plan(
    stored: &DeviceState,
    mut window: Window,
    segments: Vec<NewSegment>,
    timeline: Option<Timeline>,
    now: UtcMillis,
    retention: Duration,
) -> Result<Plan, PlaylistError> {
    let mut files = Vec::with_capacity(segments.len());
    let mut added = Vec::with_capacity(segments.len());
    let mut session = stored.session.clone();
    for segment in segments {
        let current = window.entries.last().and_then(|entry| entry.init.clone());
        let container = if segment.init.is_some() { Container::Fmp4 } else { Container::Ts };
        let init = segment.init.or_else(|| current.as_ref().and(program_tables(&segment.media)));
        let init_name = init.as_ref().map(|bytes| {
            let hash = sha256_hex(bytes);
            playlist::init_file_name(hash.get(..INIT_HASH_DIGITS).unwrap_or(&hash), container)
        });
        if let (Some(name), Some(bytes)) = (&init_name, init)
            && current.as_deref() != Some(name)
        {
            files.push(PlannedFile { name: name.clone(), bytes, is_init: true });
        }
        let number = window.next_number();
        let record = SegmentRecord {
            number,
            file: playlist::media_file_name(number, container),
            init: init_name,
            duration_millis: segment.duration_millis,
            captured_at: segment.captured_at,
            committed_at: now,
            discontinuity: segment.discontinuity,
            begins_session: segment.begins_session || session.is_none(),
            size_bytes: segment.media.len() as u64,
            sha256: sha256_hex(&segment.media),
            frame_bytes: segment.frame_bytes,
            frames: segment.frames,
        };
        match &mut session {
            Some(session) if !record.begins_session => session.extend(&record),
            session => *session = Some(OpenSession::begin(&record)),
        }
        window.push(entry_of(&record))?;
        files.push(PlannedFile { name: record.file.clone(), bytes: segment.media, is_init: false });
        added.push(record);
    }
    window.trim(now, retention);
    let playlist = window.render();
    let mut state = DeviceState {
        generation: stored.generation.saturating_add(1),
        next_segment: window.next_number(),
        published: published(&window, Some(&playlist)),
        timeline,
        last_captured_at: newest(&added).max(stored.last_captured_at),
        session,
        recent: added,
        ..stored.clone()
    };
    // Only what is already durable in the stored state is spilled: a history file never names a
    // frame that is not committed. And the new segments stay, for publishing them after a crash.
    let spilled = state_bytes(stored) + records_bytes(&state.recent) > MAX_STATE_BYTES;
    let mut history = None;
    if spilled {
        history = HistoryName::of(&stored.recent).map(|name| (name, stored.recent.clone()));
    } else {
        state.recent.splice(..0, stored.recent.iter().cloned());
    }
    Ok(Plan { files, history, state, playlist })
}

/// EXT-X-MAP cannot be taken back (RFC 8216 section 4.3.2.5), so when a stream changes from fMP4
/// to transport streams, these need one too: the program association and map tables, which are
/// the first two packets of each of our files (section 3.2).
fn program_tables(media: &Bytes) -> Option<Bytes> {
    const PACKET_BYTES: usize = 188;
    const SYNC_BYTE: u8 = 0x47;
    let synced = |at| media.get(at) == Some(&SYNC_BYTE);
    (synced(0) && synced(PACKET_BYTES) && media.len() >= 2 * PACKET_BYTES)
        .then(|| media.slice(..2 * PACKET_BYTES))
}

/// What the playlist says of a recorded segment.
pub(super) fn entry_of(record: &SegmentRecord) -> NewEntry {
    let container = if record.file.ends_with(".m4s") { Container::Fmp4 } else { Container::Ts };
    NewEntry {
        number: record.number,
        container,
        init: record.init.as_deref().map(Arc::from),
        duration_millis: record.duration_millis,
        discontinuity: record.discontinuity,
        captured_at: record.captured_at,
        committed_at: record.committed_at,
    }
}

/// What a state keeps of its playlist; none of a window without segments, which has none.
pub(super) fn published(window: &Window, text: Option<&str>) -> PublishedPlaylist {
    PublishedPlaylist {
        media_sequence: window.media_sequence,
        discontinuity_sequence: window.discontinuity_sequence,
        sha256: text.map(|text| sha256_hex(text.as_bytes())).unwrap_or_default(),
    }
}

/// The window as it is published; none without segments: a player waits for a playlist that is
/// not there yet, and gives up on one that lists nothing.
pub(super) fn playlist_of(window: &Window) -> Option<String> {
    (!window.entries.is_empty()).then(|| window.render())
}

/// The window that a state published, if `text` is it.
pub(super) fn window_in_step(state: &DeviceState, text: Option<&[u8]>) -> Option<Window> {
    let text = text?;
    if sha256_hex(text) != state.published.sha256 {
        return None;
    }
    Window::parse(std::str::from_utf8(text).ok()?).ok()
}

/// The window of a state whose playlist was not published before a crash: the playlist before
/// it, continued by the newest records. None if that is not exactly what the state says.
pub(super) fn window_one_behind(state: &DeviceState, text: Option<&[u8]>) -> Option<Window> {
    let mut window = match text {
        Some(text) => Window::parse(std::str::from_utf8(text).ok()?).ok()?,
        // Before the first segment.
        None => Window::new(state.target_duration_secs, state.first_recent(), 0),
    };
    if text.is_none() {
        window.discontinuity_sequence = state.published.discontinuity_sequence;
    }
    for record in &state.recent {
        if record.number >= window.next_number() {
            window.push(entry_of(record)).ok()?;
        }
    }
    window.drop_before(state.published.media_sequence);
    let right = published(&window, Some(&window.render())) == state.published;
    right.then_some(window)
}

/// The oldest record that [`rebuild`] asks for: the dates of a playlist depend on what was
/// written out before, back to a number at which one always is.
pub(super) fn rebuild_from(state: &DeviceState) -> u64 {
    const ALWAYS_DATED_EVERY: u64 = 10;
    state.published.media_sequence - state.published.media_sequence % ALWAYS_DATED_EVERY
}

/// The window of a state, from the records alone: byte for byte what was published if all of
/// them are there, else the newest unbroken run of them.
pub(super) fn rebuild(state: &DeviceState, records: &[SegmentRecord]) -> Window {
    let mut expected = state.next_segment;
    let mut run = records.len();
    for (index, record) in records.iter().enumerate().rev() {
        if record.number.checked_add(1) != Some(expected) {
            break;
        }
        expected = record.number;
        run = index;
    }
    let head = &state.published;
    let mut window = Window::new(state.target_duration_secs, expected, 0);
    for record in records.get(run..).unwrap_or_default() {
        if window.push(entry_of(record)).is_err() {
            // Only a history file that was edited by hand can hold such a record.
            window = Window::new(state.target_duration_secs, record.number.saturating_add(1), 0);
        }
    }
    window.drop_before(head.media_sequence);
    // What was dropped before the published head has been counted in it.
    window.discontinuity_sequence = head.discontinuity_sequence;
    window
}

/// The window of a stream without segments.
pub(super) fn empty_window(state: &DeviceState) -> Window {
    Window::new(
        state.target_duration_secs,
        state.published.media_sequence,
        state.published.discontinuity_sequence,
    )
}

/// Where a stream goes on after a playlist that is not ours (another program served the device
/// before): the next segment's number, and the discontinuities so far, so that neither sequence
/// steps back (RFC 8216 section 6.2.2).
pub(super) fn numbers_after(foreign: &str) -> (u64, u64) {
    let mut next: u64 = 0;
    let mut discontinuities: u64 = 0;
    for line in foreign.lines().map(str::trim) {
        if let Some(value) = line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:") {
            next = value.parse().unwrap_or(next);
        } else if let Some(value) = line.strip_prefix("#EXT-X-DISCONTINUITY-SEQUENCE:") {
            discontinuities = value.parse().unwrap_or(discontinuities);
        } else if line == "#EXT-X-DISCONTINUITY" {
            discontinuities = discontinuities.saturating_add(1);
        } else if !line.is_empty() && !line.starts_with('#') {
            next = next.saturating_add(1);
        }
    }
    (next, discontinuities)
}

fn newest(records: &[SegmentRecord]) -> Option<UtcMillis> {
    records.iter().flat_map(|record| &record.frames).map(|frame| frame.captured_at).max()
}

fn state_bytes(state: &DeviceState) -> usize {
    serde_json::to_vec(state).map_or(0, |bytes| bytes.len())
}

fn records_bytes(records: &[SegmentRecord]) -> usize {
    serde_json::to_vec(records).map_or(0, |bytes| bytes.len())
}

/// SHA-256 in hexadecimal.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::EventId;
    use crate::store::FrameRecord;

    const DAY: Duration = Duration::from_secs(24 * 3_600);

    fn segment(number: u64, frames: usize) -> NewSegment {
        let captured_at =
            UtcMillis(1_769_846_400_000).plus_millis(i64::try_from(number).unwrap() * 30_000);
        let frame = |index: usize| FrameRecord {
            event_id: EventId::new(&format!("{number:08}-0000-4000-8000-{index:012}")).unwrap(),
            captured_at: captured_at.plus_millis(i64::try_from(index).unwrap()),
            file: None,
        };
        NewSegment {
            media: Bytes::from(vec![0x47; 564]),
            init: None,
            duration_millis: 30_000,
            captured_at,
            discontinuity: false,
            begins_session: false,
            frame_bytes: 0,
            frames: (0..frames).map(frame).collect(),
        }
    }

    fn next(state: &DeviceState, window: Window, frames: usize) -> Plan {
        let segment = segment(state.next_segment, frames);
        let now = segment.captured_at.plus_millis(31_000);
        plan(state, window, vec![segment], None, now, DAY).unwrap()
    }

    #[test]
    fn a_state_stays_a_few_kib_and_every_record_is_spilled_once() {
        for frames in [1, 6, 30, 60] {
            let mut state = DeviceState::new(30, 0, 0);
            let mut window = empty_window(&state);
            let mut spilled = Vec::new();
            for _ in 0..50 {
                let plan = next(&state, window, frames);
                window = window_in_step(&plan.state, Some(plan.playlist.as_bytes())).unwrap();
                if let Some((name, records)) = plan.history {
                    assert_eq!(name.last + 1, plan.state.first_recent());
                    spilled.extend(records);
                }
                state = plan.state;
                let allowed = MAX_STATE_BYTES.max(768 + frames * 80);
                assert!(state_bytes(&state) <= allowed, "{} bytes", state_bytes(&state));
            }
            spilled.extend(state.recent);
            let numbers: Vec<_> = spilled.iter().map(|record| record.number).collect();
            assert_eq!(numbers, (0..50).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_playlist_one_behind_is_continued_and_any_other_is_not() {
        let first = next(&DeviceState::new(30, 0, 0), Window::new(30, 0, 0), 6);
        let window = window_in_step(&first.state, Some(first.playlist.as_bytes())).unwrap();
        let second = next(&first.state, window, 6);
        let behind = Some(first.playlist.as_bytes());
        assert_eq!(window_in_step(&second.state, behind), None);
        let mended = window_one_behind(&second.state, behind).unwrap();
        assert_eq!(mended.render(), second.playlist);
        let edited = first.playlist.replace("30.000", "29.000");
        assert_eq!(window_one_behind(&second.state, Some(edited.as_bytes())), None);
        assert_eq!(window_one_behind(&second.state, Some(b"\xff")), None);
    }

    #[test]
    fn the_first_playlist_is_made_from_the_state_alone() {
        let first = next(&DeviceState::new(30, 12, 3), Window::new(30, 12, 3), 6);
        let window = window_one_behind(&first.state, None).unwrap();
        assert_eq!(window.render(), first.playlist);
        assert_eq!((window.media_sequence, window.discontinuity_sequence), (12, 3));
    }

    #[test]
    fn a_broken_run_of_records_gives_its_newest_part() {
        let mut state = DeviceState::new(30, 0, 0);
        let mut window = empty_window(&state);
        for _ in 0..6 {
            let plan = next(&state, window, 1);
            window = window_in_step(&plan.state, Some(plan.playlist.as_bytes())).unwrap();
            state = plan.state;
        }
        let mut records = state.recent.clone();
        records.remove(2);
        let rebuilt = rebuild(&state, &records);
        assert_eq!((rebuilt.media_sequence, rebuilt.entries.len()), (3, 3));
        assert_eq!(rebuild(&state, &state.recent), window);
        let empty = rebuild(&state, &[]);
        assert_eq!((empty.media_sequence, empty.entries.len()), (6, 0));
    }

    #[test]
    fn another_programs_numbers_are_read_leniently() {
        assert_eq!(numbers_after(""), (0, 0));
        assert_eq!(numbers_after("no playlist\r\n\r\n"), (1, 0));
        let text = "#EXTM3U\r\n#EXT-X-MEDIA-SEQUENCE:9\r\n#EXT-X-DISCONTINUITY-SEQUENCE:2\r\n\
                    #EXTINF:6,\r\na.ts\r\n#EXT-X-DISCONTINUITY\r\n#EXTINF:6,\r\nb.ts\r\n";
        assert_eq!(numbers_after(text), (11, 3));
    }
}
