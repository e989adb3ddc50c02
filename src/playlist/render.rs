//! The window as text (pure).

use std::fmt::Write;

use super::{SEGMENTS_FOLDER, VERSION, Window};
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
            if entry.discontinuity {
                out.push_str("#EXT-X-DISCONTINUITY\n");
            }
            if let Some(init) = entry.init.as_deref().filter(|init| map != Some(*init)) {
                writeln!(out, "#EXT-X-MAP:URI=\"{SEGMENTS_FOLDER}/{init}\"")?;
                map = Some(init);
            }
            if entry.dated {
                writeln!(out, "#EXT-X-PROGRAM-DATE-TIME:{}", entry.start)?;
            }
            if let Some(at) = entry.committed_note {
                writeln!(out, "#SP-COMMITTED:{}", at.0)?;
            }
            let (secs, millis) = (entry.duration_millis / 1_000, entry.duration_millis % 1_000);
            writeln!(
                out,
                "#EXTINF:{secs}.{millis:03},\n{SEGMENTS_FOLDER}/seg_{number:06}.{}",
                extension(entry.container)
            )?;
        }
        Ok(())
    }
}
