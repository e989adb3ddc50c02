//! Which part of which segment a span of capture time is (pure).

use std::ops::Range;

use super::{ClipError, ClipSpan, ListedSegment, SegmentFault};
use crate::media::timeline::TICKS_PER_MILLI;
use crate::model::UtcMillis;

/// A part of a segment that is shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Cut {
    /// The segment's index in the list.
    pub(super) segment: usize,
    /// The instant that the segment's first picture stands for.
    pub(super) starts_at: UtcMillis,
    /// What is shown of it, in ticks from its first picture: not empty. Begins at 0 but for
    /// the first cut of a clip.
    pub(super) shown_ticks: Range<u64>,
    /// What the whole segment lasts.
    pub(super) total_ticks: u64,
    /// The capture time that is shown.
    pub(super) shown: ClipSpan,
}

impl Cut {
    /// Says of which segment `fault` is.
    pub(super) fn refused(&self, fault: SegmentFault) -> ClipError {
        ClipError::Segment { segment: self.segment, starts_at: self.starts_at, fault }
    }
}

/// What of `list` is on screen in `span`, in order, one at least, and from where to where that
/// reaches: see [`super::ListedSegment`].
pub(super) fn cuts(
    span: ClipSpan,
    list: &[ListedSegment],
) -> Result<(Vec<Cut>, ClipSpan), ClipError> {
    if span.from >= span.to {
        return Err(ClipError::Order(span));
    }
    let lasting = on_screen(list);
    let cuts: Vec<Cut> = lasting
        .iter()
        .zip(list)
        .enumerate()
        .filter_map(|(segment, (lasts, listed))| cut(span, segment, *lasts, listed))
        .collect();
    match reach(cuts.iter().map(|cut| cut.shown)) {
        Some(shown) => Ok((cuts, shown)),
        None => {
            let listed = reach(lasting.into_iter().filter(|lasts| lasts.from < lasts.to));
            Err(ClipError::Nothing { span, listed })
        }
    }
}

/// From the start of the first to the end of the last; they ascend.
fn reach(spans: impl Iterator<Item = ClipSpan>) -> Option<ClipSpan> {
    spans.reduce(|first, last| ClipSpan { from: first.from, to: last.to })
}

/// When each segment is on screen, in capture time. Ascending; empty for one that later ones
/// cover as a whole.
fn on_screen(list: &[ListedSegment]) -> Vec<ClipSpan> {
    let mut lasting: Vec<ClipSpan> = Vec::with_capacity(list.len());
    for listed in list {
        let continued = lasting.last().filter(|_| !listed.discontinuity).map(|before| before.to);
        let from = continued.unwrap_or(listed.captured_at);
        lasting.push(ClipSpan { from, to: from.plus_millis(listed.covers_millis.into()) });
    }
    let mut next_from = UtcMillis(i64::MAX);
    for lasts in lasting.iter_mut().rev() {
        lasts.to = lasts.to.min(next_from);
        next_from = lasts.from.min(next_from);
    }
    lasting
}

fn cut(span: ClipSpan, segment: usize, lasts: ClipSpan, listed: &ListedSegment) -> Option<Cut> {
    let shown = ClipSpan { from: lasts.from.max(span.from), to: lasts.to.min(span.to) };
    let total_ticks = u64::from(listed.duration_millis) * TICKS_PER_MILLI;
    let ticks_at = |at: UtcMillis| {
        let millis = u128::from(at.millis_since(lasts.from).max(0).unsigned_abs());
        let ticks = millis * u128::from(total_ticks) / u128::from(listed.covers_millis.max(1));
        u64::try_from(ticks).unwrap_or(u64::MAX)
    };
    let shown_ticks = ticks_at(shown.from)..ticks_at(shown.to);
    let seen = shown.from < shown.to && !shown_ticks.is_empty();
    seen.then_some(Cut { segment, starts_at: lasts.from, shown_ticks, total_ticks, shown })
}
