//! Writes fragmented MP4 (ISO/IEC 14496-12 and -15): an init file for a format, and media files
//! of one fragment that say exactly how long each picture lasts.
//!
//! Architecture invariant: the init file depends on the format alone.

use super::avc::{Configuration, LENGTH_BYTES};
use super::error::MediaError;
use super::h264::Stream;
use super::mp4::{BOX_HEADER_BYTES, Boxes, MovieTimes, TRACK_ID, movie};
use super::sample::Sample;
use super::timeline::TICKS_PER_MILLI;

/// Sample flags (8.8.3.1): depends on no other; a sync sample.
const SYNC_SAMPLE: u32 = 0x0200_0000;
/// Depends on others, is no sync sample.
const PREDICTED_SAMPLE: u32 = 0x0101_0000;
/// As before, and no other depends on it.
const DISPOSABLE_SAMPLE: u32 = PREDICTED_SAMPLE | 0x0080_0000;

/// tfhd: offsets count from the moof (8.8.7.1).
pub(super) const DEFAULT_BASE_IS_MOOF: u32 = 0x02_0000;
/// trun: data offset; duration, size and flags of each sample (8.8.8.1).
pub(super) const TRUN_FIELDS: u32 = 0x00_0701;

/// Box sizes and offsets stay within 31 bits.
const MAX_DATA_BYTES: usize = 0x7FFF_0000;

/// The init file.
///
/// # Errors
///
/// [`MediaError::TooLarge`] when a parameter set or the size does not fit its field.
pub(super) fn init(stream: &Stream) -> Result<Vec<u8>, MediaError> {
    let configuration = Configuration::from(stream);
    let size = configuration.narrow_size()?;
    let mut entry = Boxes::default();
    configuration.write_entry(&mut entry, |_| {})?;
    let mut b = Boxes::default();
    b.nest(b"ftyp", |b| {
        b.bytes(b"iso6");
        b.u32(0);
        b.bytes(b"iso6mp41");
    });
    let tables = |b: &mut Boxes| {
        b.full(b"stsd", 0, 0, |b| {
            b.u32(1);
            b.bytes(&entry.out);
        });
        // Empty: the samples are in the fragments.
        b.full(b"stts", 0, 0, |b| b.u32(0));
        b.full(b"stsc", 0, 0, |b| b.u32(0));
        b.full(b"stsz", 0, 0, |b| b.zeros(8));
        b.full(b"stco", 0, 0, |b| b.u32(0));
    };
    let fragments = |b: &mut Boxes| {
        b.nest(b"mvex", |b| {
            b.full(b"trex", 0, 0, |b| b.u32s(&[TRACK_ID, 1, 0, 0, 0]));
        });
    };
    movie(&mut b, 0, MovieTimes::default(), size, |_| {}, tables, fragments);
    Ok(b.out)
}

/// The media file.
///
/// # Errors
///
/// [`MediaError::TooLarge`] beyond 2 GiB, which readers with signed offsets take.
pub(super) fn file(samples: &[Sample<'_>]) -> Result<Vec<u8>, MediaError> {
    let fits = |number: u64| u32::try_from(number).map_err(|_| MediaError::TooLarge);
    let mut run = Vec::with_capacity(samples.len());
    let mut data_bytes = 0;
    for sample in samples {
        let bytes = sample.picture.nal.len() + LENGTH_BYTES;
        data_bytes += bytes;
        let flags = match (sample.picture.idr, sample.picture.reference) {
            (true, _) => SYNC_SAMPLE,
            (false, true) => PREDICTED_SAMPLE,
            (false, false) => DISPOSABLE_SAMPLE,
        };
        run.push([fits(sample.duration_ticks)?, u32::try_from(bytes).unwrap_or(0), flags]);
    }
    if data_bytes > MAX_DATA_BYTES {
        return Err(MediaError::TooLarge);
    }
    let start_ticks = samples.first().map_or(0, |sample| sample.start_ticks);
    // Fragments count up (8.8.5.1): so do their milliseconds, and nothing needs remembering.
    let sequence =
        u32::try_from((start_ticks / TICKS_PER_MILLI) & u64::from(u32::MAX)).unwrap_or(0);
    let mut b = Boxes { out: Vec::with_capacity(data_bytes + samples.len() * 12 + 200) };
    b.nest(b"styp", |b| {
        b.bytes(b"msdh");
        b.u32(0);
        b.bytes(b"msdhiso6");
    });
    let mut offset_at = 0;
    let moof_at = b.out.len();
    b.nest(b"moof", |b| {
        b.full(b"mfhd", 0, 0, |b| b.u32(sequence));
        b.nest(b"traf", |b| {
            b.full(b"tfhd", 0, DEFAULT_BASE_IS_MOOF, |b| b.u32(TRACK_ID));
            b.full(b"tfdt", 1, 0, |b| b.bytes(&start_ticks.to_be_bytes()));
            b.full(b"trun", 0, TRUN_FIELDS, |b| {
                b.u32(u32::try_from(run.len()).unwrap_or(0));
                offset_at = b.out.len();
                b.u32(0);
                run.iter().for_each(|sample| b.u32s(sample));
            });
        });
    });
    let data_at = b.out.len() - moof_at + BOX_HEADER_BYTES;
    b.patch(offset_at, data_at);
    b.nest(b"mdat", |b| {
        for sample in samples {
            b.u32(u32::try_from(sample.picture.nal.len()).unwrap_or(0));
            b.bytes(&sample.picture.nal);
        }
    });
    Ok(b.out)
}
