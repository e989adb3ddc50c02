//! Lays frames out as the real encoder does, for encoders that make no pictures.

use std::ops::Range;

use bytes::Bytes;
use stream_processor::encode::{EncodeJob, EncodedSegment};
use stream_processor::media::timeline::{
    PictureSize, SegmentPlan, ShownFrame, TICKS_PER_MILLI, Timeline, TimelineSettings, plan,
};
use stream_processor::model::UtcMillis;

/// The segments of a job's `good` frames, which are indexes in it, ascending; and where media
/// time stands after them. `media` makes the file of a segment that begins at that time, and the init
/// file that it needs.
pub fn planned(
    job: &EncodeJob,
    good: &[usize],
    size: PictureSize,
    settings: TimelineSettings,
    media: impl Fn(&SegmentPlan, UtcMillis) -> (Bytes, Option<Bytes>),
) -> (Vec<EncodedSegment>, Option<Timeline>) {
    let shown = |index: &usize| ShownFrame { captured_at: job.frames[*index].captured_at, size };
    let shown: Vec<_> = good.iter().map(shown).collect();
    let max_segment_millis = settings.max_segment_millis.min(job.stream.max_segment_millis);
    let settings = TimelineSettings { max_segment_millis, ..settings };
    let (plans, timeline) = plan(job.stream.timeline.as_ref(), &shown, &settings);
    let segments = plans.into_iter().map(|segment| {
        let ticks: u64 = segment.showings.iter().map(|showing| showing.duration_ticks).sum();
        let captured_at = shown[segment.frames.start].captured_at;
        let (media, init) = media(&segment, captured_at);
        let Range { start, end } = segment.frames;
        EncodedSegment {
            media,
            init,
            frames: good[start..end].to_vec(),
            duration_millis: u32::try_from(ticks / TICKS_PER_MILLI).expect("minutes at most"),
            captured_at,
            discontinuity: segment.discontinuity,
            size,
        }
    });
    (segments.collect(), timeline)
}
