//! Reads media and init files that [`crate::media::fmp4`] has written.

use std::borrow::Cow;

use super::error::{SegmentFault, unreadable};
use super::pictures::{Picture, Pictures};
use crate::media::avc::{Configuration, LENGTH_BYTES};
use crate::media::fmp4::{DEFAULT_BASE_IS_MOOF, TRUN_FIELDS};
use crate::media::mp4::{BOX_HEADER_BYTES, boxes, only_box};
use crate::media::timeline::TICKS_PER_SECOND;

/// The pictures of `file`, whose parameter sets are in `init`.
pub(super) fn read<'a>(
    init: &[u8],
    file: &'a [u8],
    total_ticks: u64,
) -> Result<Pictures<'a>, SegmentFault> {
    let configuration = configuration(init).ok_or(unreadable("its init file is not ours"))?;
    let [moof, data] = fragment(file).ok_or(unreadable("it is not one whole fragment"))?;
    let run = run(moof).ok_or(unreadable("its fragment is not described as ours are"))?;
    let mut list = Vec::with_capacity(run.len());
    let (mut from, mut start_ticks) = (0_usize, 0_u64);
    for sample in run {
        let [duration, size, _flags] = sample_numbers(sample);
        let whole = usize::try_from(size).ok().and_then(|size| from.checked_add(size));
        let whole = whole.and_then(|to| Some((data.get(from..to)?, to)));
        let (bytes, to) = whole.ok_or(unreadable("a picture is cut off"))?;
        let (length, unit) = bytes
            .split_first_chunk::<LENGTH_BYTES>()
            .filter(|(length, unit)| {
                usize::try_from(u32::from_be_bytes(**length)) == Ok(unit.len())
            })
            .ok_or(unreadable("a picture is not one NAL unit"))?;
        let place = from + length.len()..to;
        let picture = Picture::of(unit, place, start_ticks);
        list.push(picture.ok_or(unreadable("a picture is none"))?);
        if duration == 0 {
            return Err(unreadable("a picture lasts no time"));
        }
        start_ticks += u64::from(duration);
        from = to;
    }
    if from != data.len() {
        return Err(unreadable("it has data of no picture"));
    }
    if start_ticks != total_ticks {
        return Err(SegmentFault::Duration { found_ticks: start_ticks, listed_ticks: total_ticks });
    }
    Pictures::new(configuration, list, Cow::Borrowed(data))
}

/// Bytes of a visual sample entry before its boxes (ISO/IEC 14496-12, 12.1.3).
const VISUAL_ENTRY_BYTES: usize = 78;

/// What an init file says of the pictures; `None` when it is not ours.
pub(in crate::media) fn configuration(init: &[u8]) -> Option<Configuration> {
    let path: [&[u8; 4]; 4] = [b"moov", b"trak", b"mdia", b"minf"];
    let [_, _, media, information] = {
        let mut within = init;
        let mut found = [&[][..]; 4];
        for (kind, place) in path.into_iter().zip(&mut found) {
            within = only_box(within, kind)?;
            *place = within;
        }
        found
    };
    // Version and flags, two times, the scale.
    let header = only_box(media, b"mdhd")?;
    let timescale = header.get(12..16)?.first_chunk::<4>()?;
    if u64::from(u32::from_be_bytes(*timescale)) != TICKS_PER_SECOND {
        return None;
    }
    let table = only_box(information, b"stbl")?;
    // Version and flags, the number of entries.
    let entries = only_box(table, b"stsd")?.get(8..)?;
    let entry = only_box(entries, b"avc1")?.get(VISUAL_ENTRY_BYTES..)?;
    Configuration::read(only_box(entry, b"avcC")?)
}

/// The description and the data of a file that is one fragment.
fn fragment(file: &[u8]) -> Option<[&[u8]; 2]> {
    let mut found = boxes(file);
    let mut next = |kind: &[u8; 4]| {
        let (found_kind, content) = found.next()?.ok()?;
        (found_kind == *kind).then_some(content)
    };
    next(b"styp")?;
    let parts = [next(b"moof")?, next(b"mdat")?];
    found.next().is_none().then_some(parts)
}

/// Bytes of a sample's numbers in a track run.
const SAMPLE_BYTES: usize = 12;

/// The samples of the fragment's only run: their numbers.
fn run(moof: &[u8]) -> Option<&[[u8; SAMPLE_BYTES]]> {
    let track = only_box(moof, b"traf")?;
    let (flags, _) = only_box(track, b"tfhd")?.split_first_chunk::<4>()?;
    let (head, samples) = only_box(track, b"trun")?.split_first_chunk::<12>()?;
    let [run_flags, count, offset] = sample_numbers(head);
    let (samples, rest) = samples.as_chunks::<SAMPLE_BYTES>();
    // The data begins right behind the header of the box that follows.
    let data_at = moof.len() + 2 * BOX_HEADER_BYTES;
    let is_ours = u32::from_be_bytes(*flags) == DEFAULT_BASE_IS_MOOF
        && run_flags == TRUN_FIELDS
        && usize::try_from(count) == Ok(samples.len())
        && usize::try_from(offset) == Ok(data_at)
        && rest.is_empty();
    is_ours.then_some(samples)
}

/// Three numbers of 32 bits.
fn sample_numbers(bytes: &[u8; SAMPLE_BYTES]) -> [u32; 3] {
    let (numbers, _) = bytes.as_chunks::<4>();
    std::array::from_fn(|index| numbers.get(index).map_or(0, |bytes| u32::from_be_bytes(*bytes)))
}
