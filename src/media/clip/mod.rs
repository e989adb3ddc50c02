//! One MP4 file of a span of capture time, from segments that [`crate::media::mux`] has made, by
//! stream copy: no picture is decoded, every picture keeps its bytes.
//!
//! A clip is exact. Its first picture is the one on screen at `from`, its last ends at `to`, and
//! each lasts for as long as it is in the span. What must be decoded before the first picture is
//! in front of it and left out by an edit list (ISO/IEC 14496-12, 8.6.6): at most the segment's
//! frames before it, none of their repeats. The repeats behind it are kept: players step and
//! stop by pictures, and some drop the time of a last picture that is long. (Chromium seeks
//! equally well without them.)
//!
//! Where the size or the quality of the pictures changes, the clip has a sample description for
//! each. Because Chromium decodes all with the first one's parameter sets, such a clip repeats
//! the sets in front of each picture where decoding can start. By the letter of ISO/IEC 14496-15
//! its descriptions would then be named `avc3`; but many players know `avc1` only, and they find
//! all that they need in the descriptions.
//!
//! Two passes over the segments, so that the tables can come first and hold everything: a clip
//! plays while it is fetched, its length is known before its first byte, and any range of it can
//! be made from the segments in it alone. Memory is that of the tables and of one segment,
//! whatever the span: about 2 MiB for a day. The price is that every segment is read twice, each
//! time as a whole, since a transport stream has no index.
//!
//! ```text
//! ClipPlan::new(span, list) ─▶ for each due(): add(segment) ─▶ finish() ─▶ Clip
//! Clip: header(), then for each of parts(): part(segment)
//! ```
//!
//! Architecture invariant: no files, and no panic whatever the segments' bytes are.

mod error;
pub(super) mod from_fmp4;
mod from_ts;
mod header;
mod pictures;
mod span;
mod table;
#[cfg(test)]
mod tests;

use std::ops::Range;

use bytes::Bytes;

pub use self::error::{ClipError, SegmentFault};
use self::header::Contents;
use self::pictures::{Pictures, Taken, take};
use self::span::Cut;
use self::table::{Sample, Table};
use super::Container;
use super::avc::{Configuration, LENGTH_BYTES};
use crate::model::UtcMillis;

/// A span of capture time, half open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClipSpan {
    /// The picture that is on screen at this instant is the first; `UtcMillis(i64::MIN)` for
    /// all that there is.
    pub from: UtcMillis,
    /// The last picture ends here; `UtcMillis(i64::MAX)` for all that there is.
    pub to: UtcMillis,
}

/// What a playlist, or a device's state, says of a segment.
///
/// A segment that continues the one before it in the list starts at the instant where that one
/// ends, whatever its `captured_at`, as its pictures do on screen. Any other starts at its
/// `captured_at`, and if what is on screen before it would last longer, it gives way. Time that
/// no segment covers is left out: media time goes on without it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListedSegment {
    /// When its first frame was taken.
    pub captured_at: UtcMillis,
    /// What it lasts, in milliseconds: EXTINF.
    pub duration_millis: u32,
    /// How much capture time its pictures stand for, in milliseconds: the same as
    /// `duration_millis` in real time; in a time lapse the time until the next one's first frame.
    pub covers_millis: u32,
    /// Whether it does not continue the one before it in the list: EXT-X-DISCONTINUITY, or one
    /// in between that is not in the list.
    pub discontinuity: bool,
}

/// A segment's files.
#[derive(Clone, Copy, Debug)]
pub struct SegmentBytes<'a> {
    /// What `media` is.
    pub container: Container,
    /// The media file.
    pub media: &'a [u8],
    /// The init file of an fMP4 segment; a transport stream's, if it has one, is not looked at.
    pub init: Option<&'a [u8]>,
}

/// The first pass: collects what the tables say of each picture.
#[derive(Clone, Debug)]
pub struct ClipPlan {
    cuts: Vec<Cut>,
    shown: ClipSpan,
    /// How many cuts have been added.
    added: usize,
    configurations: Vec<Configuration>,
    table: Table,
    lead_ticks: u64,
}

impl ClipPlan {
    /// Plans the clip of `span` from the segments of `list`, oldest first. It may list more than
    /// the span, and should begin with the run that `from` is in, since that is what the time of
    /// the segments that continue it is counted from.
    ///
    /// # Errors
    /// [`ClipError::Order`] and [`ClipError::Nothing`].
    pub fn new(span: ClipSpan, list: &[ListedSegment]) -> Result<Self, ClipError> {
        let (cuts, shown) = span::cuts(span, list)?;
        Ok(Self {
            cuts,
            shown,
            added: 0,
            configurations: Vec::new(),
            table: Table::default(),
            lead_ticks: 0,
        })
    }

    /// The indexes in the list of all segments that the clip needs, in order.
    pub fn needed(&self) -> impl Iterator<Item = usize> {
        self.cuts.iter().map(|cut| cut.segment)
    }

    /// The index in the list of the segment to add next; none when all have been.
    pub fn due(&self) -> Option<usize> {
        self.cuts.get(self.added).map(|cut| cut.segment)
    }

    /// Adds the segment that is [`Self::due`].
    ///
    /// # Errors
    /// [`ClipError::Turn`] when another is due, and [`ClipError::Segment`] when it cannot be used:
    /// the plan is then as it was. [`ClipError::TooLarge`]: it is of no more use.
    pub fn add(&mut self, segment: usize, bytes: &SegmentBytes<'_>) -> Result<(), ClipError> {
        let cut = self.cuts.get(self.added).filter(|cut| cut.segment == segment);
        let cut = cut.ok_or(ClipError::Turn { given: segment, due: self.due() })?;
        let pictures = read(cut, bytes)?;
        let mut lead_ticks = 0;
        let mut samples = Vec::with_capacity(pictures.list.len());
        for taken in taken(cut, &pictures) {
            lead_ticks += if taken.is_lead { taken.duration_ticks } else { 0 };
            samples.push(sample(&pictures, &taken).ok_or(ClipError::TooLarge)?);
        }
        let known = self.configurations.iter().position(|one| *one == pictures.configuration);
        let index = known.unwrap_or(self.configurations.len());
        self.table.add_chunk(index, samples).ok_or(ClipError::TooLarge)?;
        if known.is_none() {
            self.configurations.push(pictures.configuration);
        }
        self.lead_ticks += lead_ticks;
        self.added += 1;
        Ok(())
    }

    /// The clip, when all segments have been added.
    ///
    /// # Errors
    /// [`ClipError::Incomplete`]; [`ClipError::TooLarge`].
    pub fn finish(mut self) -> Result<Clip, ClipError> {
        if let Some(due) = self.due() {
            return Err(ClipError::Incomplete { due });
        }
        let mut in_band = vec![Vec::new(); self.configurations.len()];
        if self.configurations.len() > 1 {
            for (configuration, sets) in self.configurations.iter().zip(&mut in_band) {
                *sets = configuration.sets_in_band().map_err(|_| ClipError::TooLarge)?;
            }
            let enlarged = self.table.enlarge_syncs(|configuration| {
                in_band.get(configuration).and_then(|sets| u32::try_from(sets.len()).ok())
            });
            enlarged.ok_or(ClipError::TooLarge)?;
        }
        let header = header::write(&Contents {
            configurations: &self.configurations,
            table: &self.table,
            lead_ticks: self.lead_ticks,
            starts_at: self.shown.from,
        })?;
        let mut len_bytes = header.len() as u64;
        let mut parts = Vec::with_capacity(self.cuts.len());
        for (cut, bytes) in self.cuts.iter().zip(self.table.chunks_bytes()) {
            let from = len_bytes;
            len_bytes += bytes;
            parts.push(ClipPart { segment: cut.segment, place_bytes: from..len_bytes });
        }
        Ok(Clip {
            header: header.into(),
            len_bytes,
            parts,
            duration_ticks: self.table.total_ticks().saturating_sub(self.lead_ticks),
            in_band,
            plan: self,
        })
    }
}

/// The second pass: the file, part by part.
#[derive(Clone, Debug)]
pub struct Clip {
    header: Bytes,
    len_bytes: u64,
    parts: Vec<ClipPart>,
    duration_ticks: u64,
    /// What goes in front of a picture where decoding can start, for each configuration.
    in_band: Vec<Vec<u8>>,
    plan: ClipPlan,
}

/// What one segment contributes to the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClipPart {
    /// The segment's index in the list.
    pub segment: usize,
    /// Where in the file it goes.
    pub place_bytes: Range<u64>,
}

impl Clip {
    /// The length of the file.
    pub fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// The file's beginning, up to the first part.
    pub fn header(&self) -> &Bytes {
        &self.header
    }

    /// What comes behind the header, one part behind the other, each of which [`Self::part`]
    /// makes.
    pub fn parts(&self) -> &[ClipPart] {
        &self.parts
    }

    /// From the first picture to the end of the last one, silences included.
    pub fn shown(&self) -> ClipSpan {
        self.plan.shown
    }

    /// What is left out in between because nothing was captured.
    pub fn silences(&self) -> impl Iterator<Item = ClipSpan> {
        self.plan.cuts.windows(2).filter_map(|pair| {
            let [before, after] = pair else { return None };
            let silence = ClipSpan { from: before.shown.to, to: after.shown.from };
            (silence.from < silence.to).then_some(silence)
        })
    }

    /// How long it plays, in ticks of 90 kHz.
    pub fn duration_ticks(&self) -> u64 {
        self.duration_ticks
    }

    /// The bytes of the part of this index, of the segment that it names.
    ///
    /// # Errors
    /// [`ClipError::Segment`] when the segment is not the one that was planned with;
    /// [`ClipError::Turn`] when there is no such part.
    pub fn part(&self, index: usize, bytes: &SegmentBytes<'_>) -> Result<Bytes, ClipError> {
        let cut = self.plan.cuts.get(index).zip(self.plan.table.chunk(index));
        let (cut, chunk) = cut.ok_or(ClipError::Turn { given: index, due: None })?;
        let pictures = read(cut, bytes)?;
        let in_band = self.in_band.get(chunk.configuration).map_or(&[][..], Vec::as_slice);
        let mut is_as_planned =
            self.plan.configurations.get(chunk.configuration) == Some(&pictures.configuration);
        let mut planned_sizes = chunk.sizes_bytes.iter();
        let mut out = Vec::with_capacity(usize::try_from(chunk.bytes).unwrap_or(0));
        for taken in taken(cut, &pictures) {
            let begin = out.len();
            let unit = pictures.unit(taken.picture);
            if taken.picture.idr {
                out.extend_from_slice(in_band);
            }
            out.extend_from_slice(&u32::try_from(unit.len()).unwrap_or(0).to_be_bytes());
            out.extend_from_slice(unit);
            let size = u32::try_from(out.len() - begin).ok();
            is_as_planned &= size == planned_sizes.next().copied();
        }
        match is_as_planned && planned_sizes.next().is_none() {
            true => Ok(out.into()),
            false => Err(cut.refused(SegmentFault::Changed)),
        }
    }
}

fn read<'a>(cut: &Cut, bytes: &SegmentBytes<'a>) -> Result<Pictures<'a>, ClipError> {
    Pictures::read(bytes, cut.total_ticks).map_err(|fault| cut.refused(fault))
}

fn taken<'a>(cut: &Cut, pictures: &'a Pictures<'_>) -> impl Iterator<Item = Taken<'a>> {
    take(&pictures.list, cut.shown_ticks.clone(), cut.total_ticks)
}

/// What the tables say of a picture; `None` when it is too large for them.
fn sample(pictures: &Pictures<'_>, taken: &Taken<'_>) -> Option<Sample> {
    Some(Sample {
        size_bytes: u32::try_from(LENGTH_BYTES + pictures.unit(taken.picture).len()).ok()?,
        duration_ticks: u32::try_from(taken.duration_ticks).ok()?,
        is_sync: taken.picture.idr,
    })
}
