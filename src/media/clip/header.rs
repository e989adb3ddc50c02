//! Everything of a clip that comes before its pictures (ISO/IEC 14496-12).

use super::ClipError;
use super::table::Table;
use crate::media::avc::Configuration;
use crate::media::mp4::{BOX_HEADER_BYTES, Boxes, MovieTimes, movie};
use crate::model::UtcMillis;

/// From 1904-01-01 to 1970-01-01.
const SECS_TO_1970: i64 = 2_082_844_800;

/// From here on sizes and offsets have 64 bits: far enough below 4 GiB that the tables, which
/// are smaller than the pictures that they describe, have room.
const WIDE_FROM_BYTES: u64 = 1 << 31;

/// What is in a clip.
pub(super) struct Contents<'a> {
    /// The sample descriptions.
    pub(super) configurations: &'a [Configuration],
    pub(super) table: &'a Table,
    /// How much of the beginning is there for decoding only.
    pub(super) lead_ticks: u64,
    /// The instant of the first picture that is shown.
    pub(super) starts_at: UtcMillis,
}

/// The file up to the first byte of the pictures.
pub(super) fn write(contents: &Contents<'_>) -> Result<Vec<u8>, ClipError> {
    let data_bytes: u64 = contents.table.chunks_bytes().sum();
    let wide = data_bytes >= WIDE_FROM_BYTES;
    // Offsets have the same length whatever they are, so the first try tells what they are.
    let header_bytes = write_for(contents, data_bytes, wide, 0)?.len();
    write_for(contents, data_bytes, wide, header_bytes as u64)
}

fn write_for(
    contents: &Contents<'_>,
    data_bytes: u64,
    wide: bool,
    data_at: u64,
) -> Result<Vec<u8>, ClipError> {
    let mut entries = Boxes::default();
    let mut size = (0, 0);
    for configuration in contents.configurations {
        // Square pixels (12.1.4): else FFmpeg tells their shape from the track's size.
        let square = |b: &mut Boxes| b.nest(b"pasp", |b| b.u32s(&[1, 1]));
        configuration.write_entry(&mut entries, square).map_err(|_| ClipError::TooLarge)?;
        let its_size = configuration.narrow_size().map_err(|_| ClipError::TooLarge)?;
        // All pictures are shown as large as the largest ones.
        size = std::cmp::max_by_key(its_size, size, |(w, h)| u32::from(*w) * u32::from(*h));
    }
    let created_secs = contents.starts_at.0.div_euclid(1_000).saturating_add(SECS_TO_1970);
    let stored_ticks = contents.table.total_ticks();
    let shown_ticks = stored_ticks.saturating_sub(contents.lead_ticks);
    let times =
        MovieTimes { created_secs: created_secs.max(0).unsigned_abs(), shown_ticks, stored_ticks };
    let edits = |b: &mut Boxes| {
        if contents.lead_ticks > 0 {
            b.nest(b"edts", |b| {
                // 8.6.6: one edit, at the normal rate.
                b.full(b"elst", 1, 0, |b| {
                    b.u32(1);
                    b.u64(shown_ticks);
                    b.u64(contents.lead_ticks);
                    b.u32(0x1_0000);
                });
            });
        }
    };
    let tables = |b: &mut Boxes| {
        b.full(b"stsd", 0, 0, |b| {
            b.u32(u32::try_from(contents.configurations.len()).unwrap_or(0));
            b.bytes(&entries.out);
        });
        contents.table.write(b, data_at, wide);
    };
    let mut b = Boxes::default();
    b.nest(b"ftyp", |b| {
        b.bytes(b"isom");
        b.u32(0x200);
        b.bytes(b"isomiso2avc1mp41");
    });
    movie(&mut b, 1, times, size, edits, tables, |b| write_date(b, contents.starts_at));
    if wide {
        b.u32(1); // 4.2: the size is behind the type
        b.bytes(b"mdat");
        b.u64(data_bytes + 2 * BOX_HEADER_BYTES as u64);
    } else {
        b.u32(u32::try_from(data_bytes + BOX_HEADER_BYTES as u64).unwrap_or(0));
        b.bytes(b"mdat");
    }
    Ok(b.out)
}

/// The date as players and tools show it: the item `©day` of Apple's metadata list (QuickTime
/// File Format, "Metadata"), in RFC 3339.
fn write_date(b: &mut Boxes, date: UtcMillis) {
    b.nest(b"udta", |b| {
        b.full(b"meta", 0, 0, |b| {
            b.full(b"hdlr", 0, 0, |b| {
                b.u32(0);
                b.bytes(b"mdirappl");
                b.zeros(9);
            });
            b.nest(b"ilst", |b| {
                b.nest(b"\xA9day", |b| {
                    b.nest(b"data", |b| {
                        b.u32s(&[1, 0]); // UTF-8, any locale
                        b.bytes(date.to_string().as_bytes());
                    });
                });
            });
        });
    });
}
