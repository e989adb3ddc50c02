//! The window as text (pure).

use std::fmt::{Arguments, Write};

use super::{Entry, SEGMENTS_FOLDER, VERSION, Window};
use crate::media::Container;

/// What an entry without tags of its own takes, in bytes, for one allocation that fits.
const ENTRY_BYTES: usize = 46;
const HEADER_BYTES: usize = 256;

/// How a media file's name ends.
pub(super) fn extension(container: Container) -> &'static str {
    match container {
        Container::Ts => "ts",
        Container::Fmp4 => "m4s",
    }
}

/// The name of a segment's media file within the segments folder: at least six digits, more
/// when it takes them.
pub fn media_file_name(number: u64, container: Container) -> String {
    format!("seg_{number:06}.{}", extension(container))
}

/// The name of an init file within the segments folder: named by its content, so that one name
/// never has two contents and the same format shares one file.
pub fn init_file_name(hash: &str, container: Container) -> String {
    match container {
        Container::Fmp4 => format!("init_{hash}.mp4"),
        Container::Ts => format!("init_{hash}.ts"),
    }
}

impl Window {
    /// The playlist as it is published. No EXT-X-PLAYLIST-TYPE: entries go, and the end is
    /// open. Each segment starts with a picture that can be decoded by itself, so
    /// EXT-X-INDEPENDENT-SEGMENTS is right.
    pub fn render(&self) -> String {
        let mut out = String::with_capacity(HEADER_BYTES + self.entries.len() * ENTRY_BYTES);
        // Writing into a String cannot fail.
        let _ = self.render_into(&mut out);
        out
    }

    fn render_into(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "#EXTM3U\n\
             #EXT-X-VERSION:{VERSION}\n\
             #EXT-X-TARGETDURATION:{}\n\
             #EXT-X-MEDIA-SEQUENCE:{}\n\
             #EXT-X-DISCONTINUITY-SEQUENCE:{}\n\
             #EXT-X-INDEPENDENT-SEGMENTS",
            self.target_duration_secs, self.media_sequence, self.discontinuity_sequence
        )?;
        let mut map = None;
        for (entry, number) in self.entries.iter().zip(self.media_sequence..) {
            let extension = extension(entry.container);
            entry.render_into(out, &mut map, format_args!("seg_{number:06}.{extension}"))?;
        }
        Ok(())
    }
}

impl Entry {
    /// Writes the entry of the media file `file`; `map` is the init file that holds so far.
    pub(super) fn render_into<'a>(
        &'a self,
        out: &mut String,
        map: &mut Option<&'a str>,
        file: Arguments<'_>,
    ) -> std::fmt::Result {
        if self.discontinuity {
            out.push_str("#EXT-X-DISCONTINUITY\n");
        }
        if let Some(init) = self.init.as_deref().filter(|init| *map != Some(*init)) {
            writeln!(out, "#EXT-X-MAP:URI=\"{SEGMENTS_FOLDER}/{init}\"")?;
            *map = Some(init);
        }
        if self.dated {
            writeln!(out, "#EXT-X-PROGRAM-DATE-TIME:{}", self.start)?;
        }
        if let Some(at) = self.committed_note {
            writeln!(out, "#SP-COMMITTED:{}", at.0)?;
        }
        let (secs, millis) = (self.duration_millis / 1_000, self.duration_millis % 1_000);
        writeln!(out, "#EXTINF:{secs}.{millis:03},\n{SEGMENTS_FOLDER}/{file}")
    }
}

#[cfg(test)]
mod tests {
    use super::super::NewEntry;
    use super::*;
    use crate::model::UtcMillis;

    #[test]
    fn a_playlist_is_written_as_the_rules_say() {
        let start = UtcMillis(1_769_846_400_000);
        let entry = |number: u64, init: Option<&str>, discontinuity| NewEntry {
            number,
            container: if init.is_some() { Container::Fmp4 } else { Container::Ts },
            init: init.map(Into::into),
            duration_millis: 29_007,
            discontinuity,
            captured_at: start.plus_millis(i64::try_from(number - 999_998).unwrap() * 29_007),
            committed_at: start.plus_millis(29_007 * 2),
        };
        let mut window = Window::new(30, 999_998, 2);
        window.push(entry(999_998, None, false)).unwrap();
        window.push(entry(999_999, Some("init_a.mp4"), true)).unwrap();
        let late = entry(1_000_000, Some("init_a.mp4"), false);
        window.push(NewEntry { committed_at: start.plus_millis(900_000), ..late }).unwrap();
        let expected = "\
#EXTM3U
#EXT-X-VERSION:6
#EXT-X-TARGETDURATION:30
#EXT-X-MEDIA-SEQUENCE:999998
#EXT-X-DISCONTINUITY-SEQUENCE:2
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-PROGRAM-DATE-TIME:2026-01-31T08:00:00.000Z
#EXTINF:29.007,
segments/seg_999998.ts
#EXT-X-DISCONTINUITY
#EXT-X-MAP:URI=\"segments/init_a.mp4\"
#EXT-X-PROGRAM-DATE-TIME:2026-01-31T08:00:29.007Z
#EXTINF:29.007,
segments/seg_999999.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-01-31T08:00:58.014Z
#SP-COMMITTED:1769847300000
#EXTINF:29.007,
segments/seg_1000000.m4s
";
        assert_eq!(window.render(), expected);
        assert_eq!(Window::parse(expected).unwrap(), window);
        window.drop_before(1_000_000);
        let text = window.render();
        assert!(text.contains("#EXT-X-MAP:"), "the format stays known: {text}");
        assert_eq!(Window::parse(&text).unwrap(), window);
    }

    #[test]
    fn another_parser_agrees() {
        let mut window = Window::new(10, 3, 0);
        window
            .push(NewEntry {
                number: 3,
                container: Container::Ts,
                init: None,
                duration_millis: 9_500,
                discontinuity: true,
                captured_at: UtcMillis(1_769_846_400_250),
                committed_at: UtcMillis(1_769_846_410_000),
            })
            .unwrap();
        let text = window.render();
        let (_, theirs) = m3u8_rs::parse_media_playlist(text.as_bytes()).unwrap();
        assert_eq!((theirs.media_sequence, theirs.target_duration), (3, 10));
        assert!(!theirs.end_list && theirs.playlist_type.is_none() && theirs.independent_segments);
        let segment = &theirs.segments[0];
        assert_eq!((segment.uri.as_str(), segment.duration), ("segments/seg_000003.ts", 9.5));
        assert!(segment.discontinuity);
        assert_eq!(segment.program_date_time.unwrap().timestamp_millis(), 1_769_846_400_250);
    }
}
