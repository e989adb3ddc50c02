//! A finished session's playlist: whatever files are left of it, and an end (pure).

use std::fmt::Write;
use std::sync::Arc;

use super::render::extension;
use super::{NewEntry, PlaylistError, VERSION, Window};
use crate::media::Container;
use crate::model::UtcMillis;

/// One segment of a finished playlist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VodEntry<'a> {
    /// The media file's name in the segments folder.
    pub file: &'a str,
    /// The init file's name in the segments folder, if it needs one.
    pub init: Option<&'a str>,
    /// What it lasts, in milliseconds.
    pub duration_millis: u32,
    /// Whether it does not continue the entry before it; of no meaning for the first one.
    pub discontinuity: bool,
    /// When its first frame was taken.
    pub captured_at: UtcMillis,
}

/// The playlist of a session that is over: EXT-X-PLAYLIST-TYPE is VOD and EXT-X-ENDLIST stands
/// at its end (RFC 8216 sections 4.3.3.5 and 4.3.3.4). What is written of an entry is decided as
/// for a live playlist. `target_duration_secs` is the stream's; where a segment is longer, its
/// length is the target.
///
/// # Errors
/// [`PlaylistError::NeedsInit`] with the entry's place for a number.
pub fn render_vod(
    target_duration_secs: u32,
    entries: &[VodEntry<'_>],
) -> Result<String, PlaylistError> {
    let rounded_secs = |entry: &VodEntry<'_>| entry.duration_millis.saturating_add(500) / 1_000;
    let longest_secs = entries.iter().map(rounded_secs).max().unwrap_or(0);
    let mut window = Window::new(target_duration_secs.max(longest_secs), 0, 0);
    for (number, entry) in (0..).zip(entries) {
        let is_fmp4 = entry.file.ends_with(extension(Container::Fmp4));
        window.push(NewEntry {
            number,
            container: if is_fmp4 { Container::Fmp4 } else { Container::Ts },
            init: entry.init.map(Arc::from),
            duration_millis: entry.duration_millis,
            discontinuity: entry.discontinuity && number > 0,
            captured_at: entry.captured_at,
            // Nothing falls out of it, so the commit time is no concern of it.
            committed_at: entry.captured_at.plus_millis(entry.duration_millis.into()),
        })?;
    }
    let mut out = String::new();
    // Writing into a String cannot fail.
    let _ = render_into(&mut out, &window, entries);
    Ok(out)
}

fn render_into(out: &mut String, window: &Window, entries: &[VodEntry<'_>]) -> std::fmt::Result {
    writeln!(
        out,
        "#EXTM3U\n\
         #EXT-X-VERSION:{VERSION}\n\
         #EXT-X-TARGETDURATION:{}\n\
         #EXT-X-MEDIA-SEQUENCE:0\n\
         #EXT-X-PLAYLIST-TYPE:VOD\n\
         #EXT-X-INDEPENDENT-SEGMENTS",
        window.target_duration_secs
    )?;
    let mut map = None;
    for (listed, entry) in window.entries.iter().zip(entries) {
        listed.render_into(out, &mut map, format_args!("{}", entry.file))?;
    }
    out.push_str("#EXT-X-ENDLIST\n");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: UtcMillis = UtcMillis(1_769_846_400_000);

    fn entry<'a>(file: &'a str, init: Option<&'a str>, secs: i64) -> VodEntry<'a> {
        VodEntry {
            file,
            init,
            duration_millis: 30_000,
            discontinuity: false,
            captured_at: START.plus_millis(secs * 1_000),
        }
    }

    #[test]
    fn a_finished_playlist_is_written_as_the_rules_say() {
        let first = VodEntry { discontinuity: true, ..entry("seg_000018.ts", None, 0) };
        let second = entry("seg_000019.ts", None, 30);
        let third = VodEntry {
            discontinuity: true,
            duration_millis: 29_007,
            ..entry("seg_000022.m4s", Some("init_a.mp4"), 120)
        };
        let expected = "\
#EXTM3U
#EXT-X-VERSION:6
#EXT-X-TARGETDURATION:33
#EXT-X-MEDIA-SEQUENCE:0
#EXT-X-PLAYLIST-TYPE:VOD
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-PROGRAM-DATE-TIME:2026-01-31T08:00:00.000Z
#EXTINF:30.000,
segments/seg_000018.ts
#EXTINF:30.000,
segments/seg_000019.ts
#EXT-X-DISCONTINUITY
#EXT-X-MAP:URI=\"segments/init_a.mp4\"
#EXT-X-PROGRAM-DATE-TIME:2026-01-31T08:02:00.000Z
#EXTINF:29.007,
segments/seg_000022.m4s
#EXT-X-ENDLIST
";
        assert_eq!(render_vod(33, &[first, second, third]).unwrap(), expected);
    }

    #[test]
    fn the_target_is_never_below_a_segment() {
        let long = VodEntry { duration_millis: 45_500, ..entry("seg_000001.ts", None, 0) };
        let text = render_vod(33, &[long]).unwrap();
        assert!(text.contains("#EXT-X-TARGETDURATION:46\n"), "{text}");
    }

    #[test]
    fn a_fragment_without_its_init_file_is_refused() {
        let refused = render_vod(33, &[entry("seg_000001.m4s", None, 0)]);
        assert_eq!(refused, Err(PlaylistError::NeedsInit { number: 0 }));
    }
}
