//! The live playlist as a finished one, whole or in part: what a player that has no way back
//! on a live playlist can seek in.
//!
//! Pure, and textual: a tag that it does not know stays with its segment.

use percent_encoding::percent_decode_str;

use crate::model::UtcMillis;
use crate::playlist::listing::{
    DISCONTINUITY_SEQUENCE, ListedSegment, Listing, MEDIA_SEQUENCE, NoListing, PROGRAM_DATE_TIME,
};

/// Which part of the window: half open, either end may be left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Span {
    /// Segments that end at or before this are left out.
    pub from: Option<UtcMillis>,
    /// Segments that begin at or after this are left out.
    pub to: Option<UtcMillis>,
}

/// Why there is no snapshot.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Neither an instant nor a number.
    #[error(
        "{key}={value:?} is not a time: give RFC 3339 with a zone (2026-01-31T08:00:00Z) or \
         seconds since 1970"
    )]
    Time {
        /// `from` or `to`.
        key: &'static str,
        /// What was given, cut short.
        value: String,
    },
    /// The ends are the wrong way round.
    #[error("from is not before to")]
    Order,
    /// Nothing to show.
    #[error("the window has no segment in that time")]
    Empty,
    /// Not a media playlist.
    #[error("the playlist cannot be read: {0}")]
    Playlist(#[from] NoListing),
}

impl Span {
    /// Reads a URL's query. `None` when it names neither `from` nor `to`: the live playlist is
    /// meant. Named without a value, an end is open.
    ///
    /// # Errors
    /// An end that is not a time, or ends that are the wrong way round.
    pub fn from_query(query: &str) -> Result<Option<Self>, SnapshotError> {
        let mut span = Self::default();
        let mut named = false;
        for pair in query.split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (key, end) = match key {
                "from" => ("from", &mut span.from),
                "to" => ("to", &mut span.to),
                _ => continue,
            };
            named = true;
            *end = time(key, value)?;
        }
        match (span.from, span.to) {
            (Some(from), Some(to)) if from >= to => Err(SnapshotError::Order),
            _ => Ok(named.then_some(span)),
        }
    }

    /// The span as a query that [`Span::from_query`] reads back.
    pub fn to_query(self) -> String {
        let end = |at: Option<UtcMillis>| at.map(|at| at.to_string()).unwrap_or_default();
        format!("from={}&to={}", end(self.from), end(self.to))
    }

    fn shows(self, start: UtcMillis, end: UtcMillis) -> bool {
        self.from.is_none_or(|from| end > from) && self.to.is_none_or(|to| start < to)
    }
}

/// The instant that the query gives under this name; none without the name or its value.
///
/// # Errors
/// [`SnapshotError::Time`].
pub fn instant(query: &str, name: &'static str) -> Result<Option<UtcMillis>, SnapshotError> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    match pairs.rfind(|(key, _)| *key == name) {
        Some((_, value)) => time(name, value),
        None => Ok(None),
    }
}

/// A plus sign stays one: it is part of a zone far more often than it is a space.
fn time(key: &'static str, value: &str) -> Result<Option<UtcMillis>, SnapshotError> {
    let value = percent_decode_str(value).decode_utf8_lossy();
    if value.is_empty() {
        return Ok(None);
    }
    let seconds = || value.parse::<f64>().ok().filter(|s| s.abs() < 1e11).map(from_seconds);
    match UtcMillis::parse_rfc3339(&value).or_else(seconds) {
        Some(at) => Ok(Some(at)),
        None => Err(SnapshotError::Time { key, value: value.chars().take(64).collect() }),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "rounded, and held within i64 by its callers")]
fn from_seconds(seconds: f64) -> UtcMillis {
    UtcMillis((seconds * 1_000.0).round() as i64)
}

/// A copy of the live playlist `text` that has ended: PLAYLIST-TYPE VOD, ENDLIST (RFC 8216
/// sections 4.3.3.5 and 4.3.3.4), and of its segments those that `span` touches.
///
/// # Errors
/// A text that is not a media playlist, and a span without a segment.
pub fn of(text: &str, span: Span) -> Result<String, SnapshotError> {
    let playlist = Listing::read(text)?;
    let mut out = String::with_capacity(text.len() + 64);
    let mut skipped = Skipped::default();
    let mut begun = false;
    for segment in &playlist.segments {
        if !segment.at.is_none_or(|(start, end)| span.shows(start, end)) {
            if begun {
                break;
            }
            skipped.count(segment);
            continue;
        }
        if !begun {
            write_header(&playlist, &mut out, &skipped);
            skipped.write_missing(&mut out, segment);
            begun = true;
        }
        for line in &segment.lines {
            push(&mut out, line);
        }
    }
    if !begun {
        return Err(SnapshotError::Empty);
    }
    push(&mut out, "#EXT-X-ENDLIST");
    Ok(out)
}

fn write_header(playlist: &Listing<'_>, out: &mut String, skipped: &Skipped<'_>) {
    push(out, "#EXTM3U");
    for line in &playlist.header {
        push(out, line);
    }
    push(out, "#EXT-X-PLAYLIST-TYPE:VOD");
    let media = playlist.media_sequence.saturating_add(skipped.segments);
    push(out, &format!("{MEDIA_SEQUENCE}{media}"));
    let jumps = playlist.discontinuity_sequence.saturating_add(skipped.discontinuities);
    if jumps > 0 {
        push(out, &format!("{DISCONTINUITY_SEQUENCE}{jumps}"));
    }
}

/// What was left out before the first segment that is shown.
#[derive(Default)]
struct Skipped<'a> {
    segments: u64,
    discontinuities: u64,
    map: Option<&'a str>,
}

impl<'a> Skipped<'a> {
    fn count(&mut self, segment: &ListedSegment<'a>) {
        self.segments += 1;
        self.discontinuities += u64::from(segment.discontinuity);
        self.map = segment.map.or(self.map);
    }

    /// What the first shown segment had from those before it.
    fn write_missing(&self, out: &mut String, first: &ListedSegment<'_>) {
        if let (None, Some(map)) = (first.map, self.map) {
            push(out, map);
        }
        if let (false, Some((start, _))) = (first.dated, first.at) {
            push(out, &format!("{PROGRAM_DATE_TIME}{start}"));
        }
    }
}

fn push(out: &mut String, line: &str) {
    out.push_str(line);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIVE: &str = "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:30\n\
        #EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-DISCONTINUITY-SEQUENCE:2\n\
        #EXT-X-MAP:URI=\"segments/init_1.mp4\"\n\
        #EXT-X-PROGRAM-DATE-TIME:2026-01-31T08:00:00.000Z\n#EXTINF:30.000,\nsegments/seg_000007.m4s\n\
        #EXTINF:30.000,\nsegments/seg_000008.m4s\n\
        #EXT-X-DISCONTINUITY\n#EXT-X-PROGRAM-DATE-TIME:2026-01-31T08:10:00.000Z\n\
        #EXTINF:30.000,\nsegments/seg_000009.m4s\n";

    fn snapshot(query: &str) -> Result<String, SnapshotError> {
        of(LIVE, Span::from_query(query)?.unwrap())
    }

    fn names(text: &str) -> Vec<&str> {
        text.lines().filter_map(|line| line.strip_prefix("segments/seg_00000")).collect()
    }

    #[test]
    fn the_whole_window_ends_and_is_otherwise_as_it_was() {
        let text = snapshot("from=&to=").unwrap();
        assert_eq!(names(&text), ["7.m4s", "8.m4s", "9.m4s"]);
        assert!(text.ends_with("segments/seg_000009.m4s\n#EXT-X-ENDLIST\n"), "{text}");
        for line in LIVE.lines() {
            assert!(text.contains(line), "{line} is missing in {text}");
        }
        let (list, _) = m3u8_rs::parse_media_playlist(text.as_bytes())
            .map(|(rest, list)| (list, rest.len()))
            .unwrap();
        assert!(list.end_list && list.media_sequence == 7 && list.segments.len() == 3);
        assert_eq!(list.playlist_type, Some(m3u8_rs::MediaPlaylistType::Vod));
    }

    #[test]
    fn a_part_begins_with_what_its_first_segment_needs() {
        let text = snapshot("from=2026-01-31T08:00:30Z&to=2026-01-31T05:10:00-03:00").unwrap();
        assert_eq!(names(&text), ["8.m4s"]);
        assert!(text.contains("#EXT-X-MEDIA-SEQUENCE:8\n#EXT-X-DISCONTINUITY-SEQUENCE:2\n"));
        assert!(text.contains(
            "#EXT-X-MAP:URI=\"segments/init_1.mp4\"\n\
             #EXT-X-PROGRAM-DATE-TIME:2026-01-31T08:00:30.000Z\n#EXTINF"
        ));
    }

    #[test]
    fn a_segment_that_the_span_only_touches_is_shown() {
        // 2026-01-31T08:00:29.9Z, as seconds.
        assert_eq!(names(&snapshot("from=1769846429.9").unwrap()), ["7.m4s", "8.m4s", "9.m4s"]);
        assert_eq!(names(&snapshot("from=1769846430").unwrap()), ["8.m4s", "9.m4s"]);
        assert_eq!(names(&snapshot("to=2026-01-31T08%3A00%3A30Z").unwrap()), ["7.m4s"]);
    }

    #[test]
    fn segments_before_the_first_date_are_dated_backwards_from_it() {
        let text = LIVE.replacen("#EXT-X-PROGRAM-DATE-TIME:2026-01-31T08:00:00.000Z\n", "", 1);
        let text = text.replacen("#EXT-X-DISCONTINUITY\n", "", 1);
        let from = |query| of(&text, Span::from_query(query).unwrap().unwrap()).unwrap();
        let part = from("from=2026-01-31T08:09:40Z&to=2026-01-31T08:10:00Z");
        assert_eq!(names(&part), ["8.m4s"]);
        assert!(part.contains("DATE-TIME:2026-01-31T08:09:30.000Z\n#EXTINF"), "{part}");
        assert_eq!(names(&from("from=2026-01-31T08:10:10Z")), ["9.m4s"]);
    }

    #[test]
    fn no_query_means_live_and_a_bad_one_says_what_it_takes() {
        assert_eq!(Span::from_query(""), Ok(None));
        assert_eq!(Span::from_query("v=3&x"), Ok(None));
        for query in ["from=&to=", "from=1769846430.25&to=", "from=&to=2026-01-31T05:10:00-03:00"] {
            let span = Span::from_query(query).unwrap().unwrap();
            assert_eq!(Span::from_query(&span.to_query()), Ok(Some(span)), "{query}");
        }
        assert_eq!(Span::from_query("from=2&to=2"), Err(SnapshotError::Order));
        for query in ["from=yesterday", "to=1e300", "to=NaN", "from=%ff"] {
            let error = Span::from_query(query).unwrap_err().to_string();
            assert!(error.contains("RFC 3339"), "{error}");
        }
        assert_eq!(snapshot("from=2030-01-01T00:00:00Z"), Err(SnapshotError::Empty));
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_it(
            lines in proptest::collection::vec(
                proptest::prop_oneof![
                    "#EXTINF:[0-9.eE+-]{0,9},", "#EXT-X-[A-Z-]{1,24}:.{0,24}", "[a-z.]{0,9}",
                    "#EXT-X-DISCONTINUITY", "#EXT-X-MEDIA-SEQUENCE:[0-9]{0,30}",
                ],
                0..30,
            ),
            query in "(from|to)=[0-9TZ:.%+-]{0,30}",
        ) {
            let text = format!("#EXTM3U\n{}", lines.join("\n"));
            if let Ok(Some(span)) = Span::from_query(&query) {
                let _ = of(&text, span);
            }
        }
    }
}
