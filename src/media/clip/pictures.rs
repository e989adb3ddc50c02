//! The pictures of a segment, whatever its container, and which of them a clip takes (pure).

use std::borrow::Cow;
use std::ops::Range;

use super::error::{SegmentFault, unreadable};
use super::{SegmentBytes, from_fmp4, from_ts};
use crate::media::Container;
use crate::media::avc::Configuration;
use crate::media::h264;

/// How long a picture lasts that is there only for others to be decoded: 10 ms. Short, so that
/// in a player that knows nothing of edit lists the clip begins almost at once; not much shorter,
/// because FFmpeg warns of a jump in time where a picture lasts 1,000 times as long as those
/// before it.
pub(super) const LEAD_TICKS: u64 = 900;

/// A segment that was read.
pub(super) struct Pictures<'a> {
    pub(super) configuration: Configuration,
    /// At least one; the first is an IDR picture at 0 ticks, the times ascend.
    pub(super) list: Vec<Picture>,
    /// What the pictures' places are places in.
    data: Cow<'a, [u8]>,
}

/// One coded picture.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Picture {
    /// Where its only NAL unit is.
    pub(super) place: Range<usize>,
    /// When it is shown, from the first picture of the segment.
    pub(super) start_ticks: u64,
    /// Decoding can start here.
    pub(super) idr: bool,
    /// Others are predicted from it. One that is not is a repeat of the reference before it.
    pub(super) reference: bool,
}

impl<'a> Pictures<'a> {
    /// Reads a segment that lasts `total_ticks`.
    pub(super) fn read(segment: &SegmentBytes<'a>, total_ticks: u64) -> Result<Self, SegmentFault> {
        match segment.container {
            Container::Ts => from_ts::read(segment.media, total_ticks),
            Container::Fmp4 => {
                let init = segment.init.ok_or(SegmentFault::NoInit)?;
                from_fmp4::read(init, segment.media, total_ticks)
            }
        }
    }

    /// Of what a reader found, which has seen to what [`Self::list`] promises of the times.
    pub(super) fn new(
        configuration: Configuration,
        list: Vec<Picture>,
        data: Cow<'a, [u8]>,
    ) -> Result<Self, SegmentFault> {
        match list.first() {
            Some(first) if first.idr => Ok(Self { configuration, list, data }),
            _ => Err(unreadable("it does not begin with an IDR picture")),
        }
    }

    /// The NAL unit of a picture.
    pub(super) fn unit(&self, picture: &Picture) -> &[u8] {
        self.data.get(picture.place.clone()).unwrap_or(&[])
    }
}

impl Picture {
    /// The picture of a slice that stands at `place`; `None` for any other NAL unit.
    pub(super) fn of(slice: &[u8], place: Range<usize>, start_ticks: u64) -> Option<Self> {
        let idr = match h264::nal_type(slice) {
            h264::nal::IDR_SLICE => true,
            h264::nal::SLICE => false,
            _ => return None,
        };
        Some(Self { place, start_ticks, idr, reference: idr || h264::is_reference(slice) })
    }
}

/// A picture that a clip takes, and how long it lasts there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Taken<'a> {
    pub(super) picture: &'a Picture,
    pub(super) duration_ticks: u64,
    /// Not shown: there for others to be decoded.
    pub(super) is_lead: bool,
}

/// What it takes to show `shown_ticks` of a segment that lasts `total_ticks`.
///
/// The first one shown is the reference that is on screen then: if that is a repeat by now, it
/// looks the same. Before it go the references that it needs, and no repeats.
pub(super) fn take(
    list: &[Picture],
    shown_ticks: Range<u64>,
    total_ticks: u64,
) -> impl Iterator<Item = Taken<'_>> {
    let behind = list.partition_point(|picture| picture.start_ticks <= shown_ticks.start);
    let before = list.get(..behind).unwrap_or(&[]);
    let first = before.iter().rposition(|picture| picture.reference).unwrap_or(0);
    let up_to_first = before.get(..=first).unwrap_or(&[]);
    let sync = up_to_first.iter().rposition(|picture| picture.idr).unwrap_or(0);
    let lead = before.get(sync..first).unwrap_or(&[]);
    let lead = lead.iter().filter(|picture| picture.reference).map(|picture| Taken {
        picture,
        duration_ticks: LEAD_TICKS,
        is_lead: true,
    });
    let ends = list.iter().skip(behind).map(|next| next.start_ticks).chain([total_ticks]);
    let shown = before.get(first).into_iter().chain(list.get(behind..).unwrap_or(&[]));
    let shown = shown.zip(ends).map_while(move |(picture, end)| {
        let start = picture.start_ticks.max(shown_ticks.start);
        let end = end.min(shown_ticks.end);
        let duration_ticks = end.checked_sub(start).filter(|ticks| *ticks > 0)?;
        Some(Taken { picture, duration_ticks, is_lead: false })
    });
    lead.chain(shown)
}
