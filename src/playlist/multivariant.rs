//! The multivariant playlist of a stream that has one variant (RFC 8216 section 4.3.4): how much
//! of a line it takes, and what of a decoder (pure).

use std::collections::BTreeSet;

use super::VERSION;
use crate::media::format::PictureFormat;

/// What of a media segment counts for bit rates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Weight {
    /// The media file's size.
    pub bytes: u64,
    /// EXTINF, in milliseconds.
    pub millis: u32,
}

/// The bit rates of a variant, in bits per second, rounded up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rates {
    /// The peak segment bit rate (RFC 8216 section 4.1).
    pub peak: u64,
    /// The average segment bit rate (ibid.).
    pub average: u64,
}

impl Rates {
    /// The rates of the segments in the order of their playlist, whose target duration is
    /// `target_secs`. None if they last no time.
    ///
    /// The peak is that of the fastest run of segments that lasts from a half to one and a half
    /// of the target duration; where all of them are shorter than that half, it is theirs
    /// together.
    pub fn of(segments: &[Weight], target_secs: u32) -> Option<Self> {
        let all = Sum::default().plus_all(segments);
        let average = all.rate()?;
        let target_millis = u64::from(target_secs) * 1_000;
        let mut peak = 0;
        for first in 0..segments.len() {
            let mut run = Sum::default();
            for segment in segments.iter().skip(first) {
                run = run.plus(segment);
                // Doubled, so that halves are whole numbers.
                if run.millis * 2 > target_millis * 3 {
                    break;
                }
                if run.millis * 2 >= target_millis {
                    peak = peak.max(run.rate().unwrap_or(0));
                }
            }
        }
        Some(Self { peak: peak.max(average), average })
    }
}

#[derive(Clone, Copy, Default)]
struct Sum {
    bytes: u64,
    millis: u64,
}

impl Sum {
    fn plus(self, segment: &Weight) -> Self {
        Self {
            bytes: self.bytes.saturating_add(segment.bytes),
            millis: self.millis + u64::from(segment.millis),
        }
    }

    fn plus_all(self, segments: &[Weight]) -> Self {
        segments.iter().fold(self, Self::plus)
    }

    fn rate(self) -> Option<u64> {
        (self.millis > 0).then(|| self.bytes.saturating_mul(8_000).div_ceil(self.millis))
    }
}

/// The playlist that names one variant at `uri`. `formats` are those of its media, of which it
/// may have several one after the other; without any, nothing is said of codecs and size.
///
/// FRAME-RATE is left out: it would have to be the highest there is, and pictures are as far
/// apart as frames were taken.
pub fn render(rates: Rates, formats: &[PictureFormat], uri: &str) -> String {
    let mut attributes = format!("BANDWIDTH={},AVERAGE-BANDWIDTH={}", rates.peak, rates.average);
    let codecs: BTreeSet<&str> = formats.iter().map(|format| format.codec.as_str()).collect();
    let largest = formats.iter().map(|format| format.size);
    let largest = largest.max_by_key(|size| u64::from(size.width) * u64::from(size.height));
    if let Some(size) = largest {
        let codecs = codecs.into_iter().collect::<Vec<_>>().join(",");
        attributes
            .push_str(&format!(",CODECS=\"{codecs}\",RESOLUTION={}x{}", size.width, size.height));
    }
    format!(
        "#EXTM3U\n#EXT-X-VERSION:{VERSION}\n#EXT-X-INDEPENDENT-SEGMENTS\n\
         #EXT-X-STREAM-INF:{attributes}\n{uri}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::timeline::PictureSize;

    fn weights(segments: &[(u64, u32)]) -> Vec<Weight> {
        segments.iter().map(|(bytes, millis)| Weight { bytes: *bytes, millis: *millis }).collect()
    }

    #[test]
    fn the_peak_is_that_of_the_fastest_run_of_about_a_target_duration() {
        let even = weights(&[(30_000, 30_000), (60_000, 30_000), (30_000, 30_000)]);
        assert_eq!(Rates::of(&even, 33), Some(Rates { peak: 16_000, average: 10_667 }));
        // A short segment counts together with its neighbours: 61 kB in 31 s.
        let short = weights(&[(60_000, 30_000), (1_000, 1_000), (3_000, 30_000)]);
        assert_eq!(Rates::of(&short, 33).unwrap().peak, 16_000);
        let burst = weights(&[(60_000, 30_000), (5_000, 1_000), (3_000, 30_000)]);
        assert_eq!(Rates::of(&burst, 33).unwrap().peak, 65_000_u64 * 8_000 / 31_000 + 1);
    }

    #[test]
    fn a_stream_of_less_than_half_a_target_is_as_fast_as_it_is() {
        let brief = weights(&[(100, 240), (200, 240)]);
        assert_eq!(Rates::of(&brief, 33), Some(Rates { peak: 5_000, average: 5_000 }));
        assert_eq!(Rates::of(&[], 33), None);
        assert_eq!(Rates::of(&weights(&[(100, 0)]), 33), None);
    }

    #[test]
    fn another_parser_reads_what_is_said() {
        let format = |codec: &str, width, height| PictureFormat {
            codec: codec.into(),
            size: PictureSize { width, height },
        };
        let formats = [format("avc1.640028", 1_920, 1_080), format("avc1.64001F", 1_280, 720)];
        let text = render(Rates { peak: 90, average: 80 }, &formats, "playlist.m3u8?from=&to=");
        let (_, read) = m3u8_rs::parse_master_playlist(text.as_bytes()).unwrap();
        let [variant] = read.variants.as_slice() else { panic!("{text}") };
        assert_eq!((variant.bandwidth, variant.average_bandwidth), (90, Some(80)));
        assert_eq!(variant.codecs.as_deref(), Some("avc1.64001F,avc1.640028"));
        let size = variant.resolution.unwrap();
        assert_eq!((size.width, size.height), (1_920, 1_080));
        assert_eq!(variant.uri, "playlist.m3u8?from=&to=");
        let bare = render(Rates { peak: 90, average: 80 }, &[], "playlist.m3u8");
        assert!(!bare.contains("CODECS") && !bare.contains("RESOLUTION"), "{bare}");
    }
}
