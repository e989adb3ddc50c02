//! A media playlist as a player reads it, whoever wrote it (pure): which segments it lists,
//! where each is in time, and the lines that it came with. Lenient where [`super::Window`] is
//! strict: a tag that it does not know stays with its segment. No panic on any input.

use crate::model::UtcMillis;

/// What comes before the number of the first segment.
pub const MEDIA_SEQUENCE: &str = "#EXT-X-MEDIA-SEQUENCE:";
/// What comes before the number of discontinuities that have gone.
pub const DISCONTINUITY_SEQUENCE: &str = "#EXT-X-DISCONTINUITY-SEQUENCE:";
/// What comes before a segment's instant.
pub const PROGRAM_DATE_TIME: &str = "#EXT-X-PROGRAM-DATE-TIME:";
const DISCONTINUITY: &str = "#EXT-X-DISCONTINUITY";
const TARGET_DURATION: &str = "#EXT-X-TARGETDURATION:";
const MAP: &str = "#EXT-X-MAP:";
const EXTINF: &str = "#EXTINF:";
/// Tags that stand for the playlist as a whole.
const HEADER: [&str; 3] = ["#EXT-X-VERSION:", TARGET_DURATION, "#EXT-X-INDEPENDENT-SEGMENTS"];
/// Tags of the playlist's end and kind, which whoever writes it anew decides.
const OF_ITS_KIND: [&str; 3] = ["#EXT-X-PLAYLIST-TYPE:", "#EXT-X-ENDLIST", "#EXT-X-START:"];

/// The longest segment that is read as one: what fits into milliseconds of 32 bits.
const LONGEST_SECS: f64 = 4_294_967.295;

/// Why a text is not a media playlist.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct NoListing(&'static str);

/// A playlist that has been read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Listing<'a> {
    /// The lines that stand for the playlist as a whole.
    pub header: Vec<&'a str>,
    /// EXT-X-TARGETDURATION in seconds; 0 if there is none.
    pub target_duration_secs: u32,
    /// EXT-X-MEDIA-SEQUENCE.
    pub media_sequence: u64,
    /// EXT-X-DISCONTINUITY-SEQUENCE.
    pub discontinuity_sequence: u64,
    /// Oldest first.
    pub segments: Vec<ListedSegment<'a>>,
}

/// One segment of a playlist.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ListedSegment<'a> {
    /// Its tags and its URI.
    pub lines: Vec<&'a str>,
    /// Its URI.
    pub uri: &'a str,
    /// When its first picture is on screen and when its last one ends, by the capture clock;
    /// where the playlist says so (RFC 8216 section 6.3.3).
    pub at: Option<(UtcMillis, UtcMillis)>,
    /// Whether its instant is written, and not told by the others.
    pub dated: bool,
    /// Whether it does not continue the one before it.
    pub discontinuity: bool,
    /// The line that names its init file, if it stands here.
    pub map: Option<&'a str>,
    /// EXTINF.
    pub duration_millis: u32,
}

impl<'a> ListedSegment<'a> {
    /// The init file's URI, if its line stands here.
    pub fn map_uri(&self) -> Option<&'a str> {
        self.map?.split_once("URI=\"")?.1.split_once('"').map(|(uri, _)| uri)
    }
}

impl<'a> Listing<'a> {
    /// Reads a media playlist.
    ///
    /// # Errors
    /// [`NoListing`] if it does not begin as one, or a number in it is none.
    pub fn read(text: &'a str) -> Result<Self, NoListing> {
        let mut lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
        if lines.next() != Some("#EXTM3U") {
            return Err(NoListing("it does not begin with #EXTM3U"));
        }
        let mut listing = Self::default();
        let mut segment = ListedSegment::default();
        let mut clock = None;
        for line in lines {
            if let Some(number) = line.strip_prefix(MEDIA_SEQUENCE) {
                listing.media_sequence = sequence(number)?;
            } else if let Some(number) = line.strip_prefix(DISCONTINUITY_SEQUENCE) {
                listing.discontinuity_sequence = sequence(number)?;
            } else if HEADER.iter().any(|tag| line.starts_with(tag)) {
                listing.header.push(line);
                if let Some(secs) = line.strip_prefix(TARGET_DURATION) {
                    listing.target_duration_secs = secs.parse().unwrap_or(0);
                }
            } else if !OF_ITS_KIND.iter().any(|tag| line.starts_with(tag)) {
                segment.read_line(line, &mut clock)?;
                if !line.starts_with('#') {
                    segment.close(line, &mut clock);
                    listing.segments.push(std::mem::take(&mut segment));
                }
            }
        }
        listing.date_leading();
        Ok(listing)
    }

    /// Gives the segments before the first dated one the times that follow backwards from it:
    /// the date that they had may have left the window.
    fn date_leading(&mut self) {
        let Some(first) = self.segments.iter().position(|segment| segment.at.is_some()) else {
            return;
        };
        let (leading, dated) = self.segments.split_at_mut(first);
        let mut end = dated.first().and_then(|segment| segment.at).map(|(start, _)| start);
        for segment in leading.iter_mut().rev() {
            let Some(at) = end else { return };
            let start = at.plus_millis(-i64::from(segment.duration_millis));
            segment.at = Some((start, at));
            end = Some(start);
        }
    }
}

impl<'a> ListedSegment<'a> {
    fn read_line(&mut self, line: &'a str, clock: &mut Option<UtcMillis>) -> Result<(), NoListing> {
        self.lines.push(line);
        if line == DISCONTINUITY {
            self.discontinuity = true;
            // Capture time jumps as well: what went before says nothing about it.
            *clock = None;
        } else if line.starts_with(MAP) {
            self.map = Some(line);
        } else if let Some(at) = line.strip_prefix(PROGRAM_DATE_TIME) {
            let at = UtcMillis::parse_rfc3339(at)
                .ok_or(NoListing("a PROGRAM-DATE-TIME is not a time"))?;
            *clock = Some(at);
            self.dated = true;
        } else if let Some(rest) = line.strip_prefix(EXTINF) {
            let secs = rest.split(',').next().and_then(|text| text.parse::<f64>().ok());
            let secs = secs
                .filter(|secs| (0.0..=LONGEST_SECS).contains(secs))
                .ok_or(NoListing("an EXTINF is not a duration"))?;
            self.duration_millis = whole_millis(secs);
        }
        Ok(())
    }

    fn close(&mut self, uri: &'a str, clock: &mut Option<UtcMillis>) {
        self.uri = uri;
        if let Some(start) = *clock {
            let end = start.plus_millis(self.duration_millis.into());
            self.at = Some((start, end));
            *clock = Some(end);
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "fits, by its caller")]
fn whole_millis(secs: f64) -> u32 {
    (secs * 1_000.0).round() as u32
}

fn sequence(number: &str) -> Result<u64, NoListing> {
    number.parse().map_err(|_| NoListing("a sequence number is not a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_playlist_of_another_program_is_read_too() {
        let text = "#EXTM3U\r\n#EXT-X-VERSION:3\r\n#EXT-X-TARGETDURATION:10\r\n\
            #EXT-X-MEDIA-SEQUENCE:4\r\n#EXT-X-MAP:URI=\"i.mp4\"\r\n#X-ITS-OWN\r\n\
            #EXTINF:9.5,a title\r\na.m4s\r\n#EXT-X-DISCONTINUITY\r\n\
            #EXT-X-PROGRAM-DATE-TIME:2026-01-31T08:00:00.250Z\r\n#EXTINF:10,\r\nb.m4s\r\n";
        let listing = Listing::read(text).unwrap();
        assert_eq!((listing.target_duration_secs, listing.media_sequence), (10, 4));
        let [first, second] = listing.segments.as_slice() else { panic!("{listing:?}") };
        assert_eq!(
            (first.uri, first.map_uri(), first.duration_millis),
            ("a.m4s", Some("i.mp4"), 9_500)
        );
        assert!(first.lines.contains(&"#X-ITS-OWN") && second.discontinuity && second.dated);
        let start = UtcMillis::parse_rfc3339("2026-01-31T08:00:00.250Z").unwrap();
        assert_eq!(second.at, Some((start, start.plus_millis(10_000))));
        assert_eq!(first.at, Some((start.plus_millis(-9_500), start)));
    }

    #[test]
    fn what_is_no_playlist_is_refused_with_a_reason() {
        for text in
            ["", "<html>", "#EXTM3U\n#EXTINF:long,\n", "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:-1\n"]
        {
            assert!(Listing::read(text).is_err(), "{text:?}");
        }
    }
}
