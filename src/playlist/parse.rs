//! Our own text read back, strictly: whatever we would not have written is an error, because it
//! was cut or edited and is then rebuilt from the device's records. No panic on any input.

use std::sync::Arc;

use super::window::is_dated_by_number;
use super::{Entry, PlaylistError, SEGMENTS_FOLDER, VERSION, Window};
use crate::media::Container;
use crate::model::UtcMillis;

/// The lines not yet read.
struct Lines<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Lines<'a> {
    /// The rest of the next line if it starts with `prefix`; the line is then read.
    fn after(&mut self, prefix: &str) -> Option<&'a str> {
        let tail = self.rest.strip_prefix(prefix)?;
        let (text, rest) = tail.split_once('\n')?;
        self.rest = rest;
        self.line += 1;
        Some(text)
    }

    /// Reads the next line if it is exactly `text`.
    fn is(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text).and_then(|tail| tail.strip_prefix('\n'));
        if let Some(rest) = rest {
            self.rest = rest;
            self.line += 1;
        }
        rest.is_some()
    }

    fn error(&self, expected: &'static str) -> PlaylistError {
        PlaylistError::Line { line: self.line, expected }
    }

    /// The value after `prefix` on the next line, as `read` makes it out.
    fn value<T>(
        &mut self,
        prefix: &'static str,
        read: impl FnOnce(&'a str) -> Option<T>,
    ) -> Result<T, PlaylistError> {
        let error = self.error(prefix);
        self.after(prefix).and_then(read).ok_or(error)
    }

    /// Like [`Lines::value`]; none if the line is not there.
    fn optional<T>(
        &mut self,
        prefix: &'static str,
        read: impl FnOnce(&'a str) -> Option<T>,
    ) -> Result<Option<T>, PlaylistError> {
        if self.rest.starts_with(prefix) { self.value(prefix, read).map(Some) } else { Ok(None) }
    }
}

/// A number as `Display` writes it: no sign, no leading zero.
fn number(text: &str) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with(['0', '+']);
    text.parse().ok().filter(|_| canonical)
}

fn duration_millis(text: &str) -> Option<u32> {
    let (secs, millis) = text.strip_suffix(',')?.split_once('.')?;
    let whole = u32::try_from(number(secs)?).ok()?;
    if millis.len() != 3 || !millis.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    whole.checked_mul(1_000)?.checked_add(millis.parse().ok()?)
}

fn date_time(text: &str) -> Option<UtcMillis> {
    UtcMillis::parse_rfc3339(text).filter(|at| at.to_string() == text)
}

fn epoch_millis(text: &str) -> Option<UtcMillis> {
    let at: i64 = text.parse().ok()?;
    (at.to_string() == text).then_some(UtcMillis(at))
}

fn segment(text: &str) -> Option<(u64, Container)> {
    let (digits, container) = match text.strip_suffix(".ts") {
        Some(digits) => (digits, Container::Ts),
        None => (text.strip_suffix(".m4s")?, Container::Fmp4),
    };
    let padded = digits.len() == 6 || (digits.len() > 6 && !digits.starts_with('0'));
    if !padded || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some((digits.parse().ok()?, container))
}

fn init_name(text: &str) -> Option<&str> {
    let name = text.strip_prefix("URI=\"")?.strip_suffix('"')?;
    let name = name.strip_prefix(SEGMENTS_FOLDER)?.strip_prefix('/')?;
    is_init_file_name(name).then_some(name)
}

/// Whether a file in the segments folder is an init file by its name.
pub fn is_init_file_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    name.starts_with("init_") && name.bytes().all(plain)
}

/// The number of a media file in the segments folder; none if it is not called like one.
pub fn media_file_number(name: &str) -> Option<u64> {
    segment(name.strip_prefix("seg_")?).map(|(number, _)| number)
}

/// What EXT-X-MEDIA-SEQUENCE says, by a playlist's first bytes, which need not end with a line;
/// none if it says nothing that is a number. Any program's playlist.
pub fn media_sequence_of(head: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(head);
    let (whole_lines, _) = text.rsplit_once('\n')?;
    let mut lines = whole_lines.lines();
    lines.find_map(|line| line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:"))?.trim().parse().ok()
}

impl Window {
    /// Reads what [`Window::render`] wrote; `render` of the result is the same text again.
    ///
    /// # Errors
    /// The first line that we would not have written, and entries that cannot be dated.
    pub fn parse(text: &str) -> Result<Self, PlaylistError> {
        let mut lines = Lines { rest: text, line: 1 };
        if !lines.is("#EXTM3U") {
            return Err(lines.error("#EXTM3U"));
        }
        lines.value("#EXT-X-VERSION:", |v| number(v).filter(|v| *v == u64::from(VERSION)))?;
        let target_duration_secs = lines
            .value("#EXT-X-TARGETDURATION:", |v| number(v).and_then(|v| u32::try_from(v).ok()))?;
        let media_sequence = lines.value("#EXT-X-MEDIA-SEQUENCE:", number)?;
        let discontinuity_sequence = lines.value("#EXT-X-DISCONTINUITY-SEQUENCE:", number)?;
        if !lines.is("#EXT-X-INDEPENDENT-SEGMENTS") {
            return Err(lines.error("#EXT-X-INDEPENDENT-SEGMENTS"));
        }
        let mut window = Self::new(target_duration_secs, media_sequence, discontinuity_sequence);
        let mut map: Option<Arc<str>> = None;
        while !lines.rest.is_empty() {
            let entry = window.parse_entry(&mut lines, &mut map)?;
            window.entries.push(entry);
        }
        if !window.entries.is_empty() && !window.entries.iter().any(|entry| entry.dated) {
            return Err(PlaylistError::Undated);
        }
        window.fill_in_leading_starts();
        Ok(window)
    }

    fn parse_entry(
        &self,
        lines: &mut Lines<'_>,
        map: &mut Option<Arc<str>>,
    ) -> Result<Entry, PlaylistError> {
        let discontinuity = lines.is("#EXT-X-DISCONTINUITY");
        let had_init = map.is_some();
        let current = map.as_deref();
        let changed = lines
            .optional("#EXT-X-MAP:", |v| init_name(v).filter(|name| current != Some(*name)))?;
        if let Some(name) = changed {
            *map = Some(name.into());
        }
        let date = lines.optional("#EXT-X-PROGRAM-DATE-TIME:", date_time)?;
        let committed_note = lines.optional("#SP-COMMITTED:", epoch_millis)?;
        let duration_millis = lines.value("#EXTINF:", duration_millis)?;
        let wanted = self.next_number();
        let (number, container) = lines.value("segments/seg_", |v| {
            segment(v).filter(|(number, _)| *number == wanted && wanted < u64::MAX)
        })?;
        if date.is_none() && (discontinuity || is_dated_by_number(number)) {
            return Err(lines.error("#EXT-X-PROGRAM-DATE-TIME before the segment above"));
        }
        self.check(number, container, map.is_some(), had_init, duration_millis)?;
        let start = date.or_else(|| self.entries.last().map(Entry::end)).unwrap_or_default();
        let init = map.clone();
        let dated = date.is_some();
        Ok(Entry { container, init, duration_millis, discontinuity, start, dated, committed_note })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
#EXTM3U
#EXT-X-VERSION:6
#EXT-X-TARGETDURATION:30
#EXT-X-MEDIA-SEQUENCE:18
#EXT-X-DISCONTINUITY-SEQUENCE:0
#EXT-X-INDEPENDENT-SEGMENTS
#EXTINF:30.000,
segments/seg_000018.ts
#EXTINF:29.500,
segments/seg_000019.ts
#EXT-X-PROGRAM-DATE-TIME:2026-01-31T08:10:00.000Z
#EXTINF:30.000,
segments/seg_000020.ts
#EXTINF:30.000,
segments/seg_000021.ts
";

    #[test]
    fn times_are_filled_in_forwards_and_backwards() {
        let window = Window::parse(GOOD).unwrap();
        let starts: Vec<_> = window.entries.iter().map(|e| e.start.to_string()).collect();
        assert_eq!(
            starts,
            [
                "2026-01-31T08:09:00.500Z",
                "2026-01-31T08:09:30.500Z",
                "2026-01-31T08:10:00.000Z",
                "2026-01-31T08:10:30.000Z"
            ]
        );
        assert_eq!(window.render(), GOOD);
    }

    #[test]
    fn a_playlist_s_first_bytes_tell_its_media_sequence() {
        assert_eq!(media_sequence_of(GOOD.as_bytes()), Some(18));
        let end = GOOD.find("18").unwrap() + 1;
        assert_eq!(media_sequence_of(&GOOD.as_bytes()[..end]), None, "the number may go on");
        assert_eq!(media_sequence_of(b"#EXTM3U\r\n#EXT-X-MEDIA-SEQUENCE:7\r\n"), Some(7));
        assert_eq!(media_sequence_of(b"\xff\n"), None);
    }

    #[test]
    fn an_empty_window_is_read_back() {
        let window = Window::new(6, 41, 2);
        assert_eq!(Window::parse(&window.render()), Ok(window));
    }

    #[test]
    fn what_we_would_not_have_written_is_refused_with_its_line() {
        for (find, put, line) in [
            ("#EXTM3U", " #EXTM3U", 1),
            ("VERSION:6", "VERSION:7", 2),
            ("DURATION:30", "DURATION:030", 3),
            ("SEQUENCE:18", "SEQUENCE:+18", 4),
            ("#EXT-X-INDEPENDENT-SEGMENTS\n", "", 6),
            ("#EXTINF:30.000,", "#EXTINF:30.00,", 7),
            ("#EXTINF:30.000,", "#EXTINF:30,", 7),
            ("#EXTINF:30.000,", "#EXTINF:30.000,title", 7),
            ("seg_000018.ts", "seg_000017.ts", 8),
            ("seg_000018.ts", "seg_18.ts", 8),
            ("seg_000018.ts", "seg_0000018.ts", 8),
            ("seg_000018.ts", "../seg_000018.ts", 8),
            ("seg_000018.ts", "seg_000018.mp4", 8),
            ("10:00.000Z", "10:00Z", 11),
            ("10:00.000Z", "10:00.000+00:00", 11),
            ("seg_000021.ts\n", "seg_000021.ts", 15),
            ("seg_000021.ts\n", "seg_000021.ts\n\n", 16),
            ("seg_000021.ts\n", "seg_000021.ts\n#EXT-X-ENDLIST\n", 16),
        ] {
            let text = GOOD.replacen(find, put, 1);
            assert_ne!(text, GOOD);
            let error = Window::parse(&text).unwrap_err();
            let PlaylistError::Line { line: at, .. } = error else { panic!("{put:?}: {error}") };
            assert_eq!(at, line, "{put:?}: {error}");
        }
    }

    #[test]
    fn files_are_known_by_their_names() {
        for (name, number) in [
            ("seg_000018.ts", Some(18)),
            ("seg_1000000.m4s", Some(1_000_000)),
            ("seg_18.ts", None),
            ("seg_0000018.ts", None),
            ("seg_000018.ts.part", None),
            ("18.ts", None),
        ] {
            assert_eq!(media_file_number(name), number, "{name}");
        }
        assert!(is_init_file_name("init_0a1b.mp4") && !is_init_file_name("init_/../x"));
    }

    #[test]
    fn an_undated_or_overlong_or_formatless_entry_is_refused() {
        for (find, put) in [
            ("#EXT-X-PROGRAM-DATE-TIME:2026-01-31T08:10:00.000Z\n", ""),
            ("#EXTINF:30.000", "#EXTINF:30.500"),
            ("seg_000018.ts", "seg_000018.m4s"),
            ("#EXTINF:30.000", "#EXT-X-DISCONTINUITY\n#EXTINF:30.000"),
        ] {
            assert!(Window::parse(&GOOD.replacen(find, put, 1)).is_err(), "{find:?}");
        }
        let undated = "#EXT-X-MEDIA-SEQUENCE:18";
        let start = GOOD.split("#EXT-X-PROGRAM").next().unwrap();
        assert!(start.contains(undated));
        assert_eq!(Window::parse(start), Err(PlaylistError::Undated));
    }
}
