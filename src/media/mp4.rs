//! What all our MP4 files have in common (ISO/IEC 14496-12): boxes, written and read back, and
//! the movie of one video track.
//!
//! Architecture invariant: a length that is read is never believed beyond the bytes that are
//! there.

use super::timeline::TICKS_PER_SECOND;

/// The only track.
pub(super) const TRACK_ID: u32 = 1;

/// Size and type of a box (4.2).
pub(super) const BOX_HEADER_BYTES: usize = 8;

/// The unity matrix of mvhd and tkhd (8.2.2.2), 16.16 and 2.30 fixed point.
const MATRIX: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];

/// Boxes within boxes (4.2).
#[derive(Default)]
pub(super) struct Boxes {
    pub(super) out: Vec<u8>,
}

impl Boxes {
    pub(super) fn nest(&mut self, kind: &[u8; 4], content: impl FnOnce(&mut Self)) {
        let start = self.out.len();
        self.u32(0);
        self.bytes(kind);
        content(self);
        self.patch(start, self.out.len() - start);
    }

    pub(super) fn full(
        &mut self,
        kind: &[u8; 4],
        version: u8,
        flags: u32,
        content: impl FnOnce(&mut Self),
    ) {
        self.nest(kind, |b| {
            b.u32(u32::from(version) << 24 | flags);
            content(b);
        });
    }

    /// Sets the number at `at`; callers have made sure that it fits.
    pub(super) fn patch(&mut self, at: usize, number: usize) {
        let number = u32::try_from(number).unwrap_or(0).to_be_bytes();
        if let Some(place) = self.out.get_mut(at..at + number.len()) {
            place.copy_from_slice(&number);
        }
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    pub(super) fn u16(&mut self, number: u16) {
        self.bytes(&number.to_be_bytes());
    }

    pub(super) fn u32(&mut self, number: u32) {
        self.bytes(&number.to_be_bytes());
    }

    pub(super) fn u32s(&mut self, numbers: &[u32]) {
        numbers.iter().for_each(|number| self.u32(*number));
    }

    pub(super) fn u64(&mut self, number: u64) {
        self.bytes(&number.to_be_bytes());
    }

    pub(super) fn zeros(&mut self, count: usize) {
        self.out.resize(self.out.len() + count, 0);
    }
}

/// The boxes that `bytes` consists of: type and content. An error is in place of the first one
/// that is longer than what there is, and the end.
pub(super) fn boxes(bytes: &[u8]) -> impl Iterator<Item = Result<([u8; 4], &[u8]), Overrun>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let taken = take_box(rest);
        rest = taken.map_or(&[][..], |(_, _, after)| after);
        Some(taken.map(|(kind, content, _)| (kind, content)).ok_or(Overrun))
    })
}

/// A box that does not end where its parent, or the file, ends or before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Overrun;

/// Type and content of the first box, and what comes after. None of ours needs a 64-bit size.
fn take_box(bytes: &[u8]) -> Option<([u8; 4], &[u8], &[u8])> {
    let (size, after_size) = bytes.split_first_chunk::<4>()?;
    let (kind, content) = after_size.split_first_chunk::<4>()?;
    let size = usize::try_from(u32::from_be_bytes(*size)).ok()?;
    let (content, after) = content.split_at_checked(size.checked_sub(BOX_HEADER_BYTES)?)?;
    Some((*kind, content, after))
}

/// The content of the only box of this type among those that `bytes` consists of.
pub(super) fn only_box<'a>(bytes: &'a [u8], kind: &[u8; 4]) -> Option<&'a [u8]> {
    let mut found = None;
    for each in boxes(bytes) {
        let (found_kind, content) = each.ok()?;
        if found_kind == *kind && found.replace(content).is_some() {
            return None;
        }
    }
    found
}

/// The times of a movie of one track, in ticks.
#[derive(Clone, Copy, Default)]
pub(super) struct MovieTimes {
    /// When it was made, in seconds since 1904-01-01 UTC (8.2.2.3); 0 when that is not said.
    pub(super) created_secs: u64,
    /// What is shown; 0 when fragments follow.
    pub(super) shown_ticks: u64,
    /// What is stored; 0 when fragments follow.
    pub(super) stored_ticks: u64,
}

/// Writes the movie of one video track: `edits` goes before the track's media, `tables` into its
/// sample table, `behind` behind the track.
///
/// `version` 1 has times of 64 bits, 0 has 32 (8.2.2.2).
pub(super) fn movie(
    b: &mut Boxes,
    version: u8,
    times: MovieTimes,
    (width, height): (u16, u16),
    edits: impl FnOnce(&mut Boxes),
    tables: impl FnOnce(&mut Boxes),
    behind: impl FnOnce(&mut Boxes),
) {
    let timescale = u32::try_from(TICKS_PER_SECOND).unwrap_or(u32::MAX);
    let time = |b: &mut Boxes, time: u64| match version {
        0 => b.u32(u32::try_from(time).unwrap_or(u32::MAX)),
        _ => b.u64(time),
    };
    let made = |b: &mut Boxes| {
        time(b, times.created_secs);
        time(b, times.created_secs);
    };
    b.nest(b"moov", |b| {
        b.full(b"mvhd", version, 0, |b| {
            made(b);
            b.u32(timescale);
            time(b, times.shown_ticks);
            b.u32(0x1_0000); // rate
            b.u16(0x0100); // volume
            b.zeros(10);
            b.u32s(&MATRIX);
            b.zeros(24);
            b.u32(TRACK_ID + 1); // next_track_ID
        });
        b.nest(b"trak", |b| {
            // Enabled, in the movie, in its preview.
            b.full(b"tkhd", version, 7, |b| {
                made(b);
                b.u32s(&[TRACK_ID, 0]);
                time(b, times.shown_ticks);
                b.zeros(16); // layer, group, volume
                b.u32s(&MATRIX);
                b.u32s(&[u32::from(width) << 16, u32::from(height) << 16]);
            });
            edits(b);
            b.nest(b"mdia", |b| {
                b.full(b"mdhd", version, 0, |b| {
                    made(b);
                    b.u32(timescale);
                    time(b, times.stored_ticks);
                    b.u16(0x55C4); // "und"
                    b.u16(0);
                });
                b.full(b"hdlr", 0, 0, |b| {
                    b.u32(0);
                    b.bytes(b"vide");
                    b.zeros(12);
                    b.bytes(b"video\0");
                });
                b.nest(b"minf", |b| {
                    b.full(b"vmhd", 0, 1, |b| b.zeros(8));
                    b.nest(b"dinf", |b| {
                        b.full(b"dref", 0, 0, |b| {
                            b.u32(1);
                            b.full(b"url ", 0, 1, |_| {}); // in this file
                        });
                    });
                    b.nest(b"stbl", tables);
                });
            });
        });
        behind(b);
    });
}
