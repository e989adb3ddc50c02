//! Segments by the real encoder, and clips of them.

use bytes::Bytes;
use jpeg_encoder::{ColorType, SamplingFactor};
use stream_processor::encode::{
    EncodeJob, EncodeSettings, EncodedSegment, Encoder, JobFrame, StreamSoFar,
};
use stream_processor::media::clip::{
    Clip, ClipError, ClipPlan, ClipSpan, ListedSegment, SegmentBytes,
};
use stream_processor::media::timeline::{TICKS_PER_MILLI, TimelineSettings};
use stream_processor::media::{Container, Playback};
use stream_processor::model::UtcMillis;

use super::encoder::encode_settings;

pub const START: UtcMillis = UtcMillis(1_769_846_400_250);

pub const SIZE: (u16, u16) = (320, 180);
pub const BOTH: [Container; 2] = [Container::Ts, Container::Fmp4];

/// One frame to encode: when after [`START`] it is taken, and its size.
#[derive(Clone, Copy)]
pub struct Shot {
    pub millis: i64,
    pub size: (u16, u16),
}

/// A stream of one device.
pub struct Stream {
    pub container: Container,
    pub segments: Vec<EncodedSegment>,
}

impl Stream {
    /// Encodes each group of frames as a job of its own, as the worker does.
    pub fn of(container: Container, playback: Playback, groups: &[Vec<Shot>]) -> Self {
        let usual = encode_settings();
        let timeline = TimelineSettings { playback, ..usual.timeline };
        let settings = EncodeSettings { container, timeline, ..usual };
        let mut encoder = Encoder::new(settings).unwrap();
        let mut timeline = None;
        let mut segments = Vec::new();
        for group in groups {
            let frames = group.iter().map(|shot| JobFrame {
                captured_at: START.plus_millis(shot.millis),
                jpeg: jpeg(*shot),
                caption: None,
            });
            let stream = StreamSoFar { timeline, ..StreamSoFar::NEW };
            let outcome = encoder.encode(&EncodeJob { stream, frames: frames.collect() }).unwrap();
            assert!(outcome.rejected.is_empty(), "{:?}", outcome.rejected);
            timeline = outcome.timeline;
            segments.extend(outcome.segments);
        }
        Self { container, segments }
    }

    /// When each segment is on screen, in ticks after [`START`]: what continues begins where the
    /// one before it ends.
    pub fn starts_ticks(&self) -> Vec<u64> {
        let mut end = START;
        let mut starts = Vec::new();
        for segment in &self.segments {
            let continues = !starts.is_empty() && !segment.discontinuity;
            let start = if continues { end } else { segment.captured_at };
            end = start.plus_millis(segment.duration_millis.into());
            starts.push(start.millis_since(START).unsigned_abs() * TICKS_PER_MILLI);
        }
        starts
    }

    pub fn list(&self) -> Vec<ListedSegment> {
        let listed = |segment: &EncodedSegment| ListedSegment {
            captured_at: segment.captured_at,
            duration_millis: segment.duration_millis,
            covers_millis: segment.duration_millis,
            discontinuity: segment.discontinuity,
        };
        self.segments.iter().map(listed).collect()
    }

    pub fn bytes(&self, segment: usize) -> SegmentBytes<'_> {
        let segment = &self.segments[segment];
        SegmentBytes {
            container: self.container,
            media: &segment.media,
            init: segment.init.as_deref(),
        }
    }

    pub fn clip(&self, span: ClipSpan) -> Result<(Clip, Vec<u8>), ClipError> {
        self.clip_of(&self.list(), span)
    }

    /// Both passes.
    pub fn clip_of(
        &self,
        list: &[ListedSegment],
        span: ClipSpan,
    ) -> Result<(Clip, Vec<u8>), ClipError> {
        let mut plan = ClipPlan::new(span, list)?;
        while let Some(due) = plan.due() {
            plan.add(due, &self.bytes(due))?;
        }
        let clip = plan.finish()?;
        let mut file = clip.header().to_vec();
        for (index, part) in clip.parts().iter().enumerate() {
            assert_eq!(part.place_bytes.start, file.len() as u64);
            file.extend_from_slice(&clip.part(index, &self.bytes(part.segment))?);
            assert_eq!(part.place_bytes.end, file.len() as u64);
        }
        assert_eq!(clip.len_bytes(), file.len() as u64);
        Ok((clip, file))
    }
}

/// The span from so many milliseconds after [`START`] to so many.
pub fn span(from_millis: i64, to_millis: i64) -> ClipSpan {
    ClipSpan { from: START.plus_millis(from_millis), to: START.plus_millis(to_millis) }
}

/// Six frames a group, five seconds apart or nearly: what cameras do.
pub fn groups(count: i64) -> Vec<Vec<Shot>> {
    const JITTER_MILLIS: [i64; 7] = [0, 180, -220, 37, -5, 401, -63];
    let shot = |frame: i64| {
        let jitter = JITTER_MILLIS[usize::try_from(frame % 7).unwrap()];
        Shot { millis: frame * 5_000 + jitter, size: SIZE }
    };
    (0..count).map(|group| (group * 6..group * 6 + 6).map(shot).collect()).collect()
}

/// How many bars a picture has.
pub const BARS: u32 = 16;

/// What the bars of a picture taken so long after [`START`] say: tenths of a second.
pub fn number(millis: i64) -> u64 {
    millis.unsigned_abs() / 100
}

/// A picture that no other shot has: its number as white and grey bars, above a gradient.
fn jpeg(shot: Shot) -> Bytes {
    let (width, height) = shot.size;
    let number = number(shot.millis);
    let mut pixels = Vec::new();
    for y in 0..u32::from(height) {
        for x in 0..u32::from(width) {
            let bar = x * BARS / u32::from(width);
            let is_white = y < u32::from(height) / 2 && number >> (BARS - 1 - bar) & 1 == 1;
            let shade = if is_white { 235 } else { u8::try_from(16 + (x + y) % 96).unwrap() };
            pixels.extend([shade, shade, u8::try_from(number % 200).unwrap()]);
        }
    }
    let mut bytes = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 85);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    encoder.encode(&pixels, width, height, ColorType::Rgb).unwrap();
    bytes.into()
}
