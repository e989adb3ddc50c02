//! Pixel work on single 8-bit planes: from full to limited range, and turning (pure).
//!
//! The range is converted here and not by libswscale because most frames need nothing else:
//! sixteen pixels an instruction instead of its general path.

use super::geometry::Turn;
use super::mask::{Mask, mixed};

/// What grey is in both chroma planes.
pub(super) const NO_CHROMA: u8 = 128;

/// One plane of a picture: rows of `width` bytes, `stride` bytes apart.
#[derive(Clone, Copy)]
pub(super) struct Plane<'a> {
    pub bytes: &'a [u8],
    pub stride: usize,
}

/// Where a plane is written to.
pub(super) struct PlaneMut<'a> {
    pub bytes: &'a mut [u8],
    pub stride: usize,
    pub width: usize,
    pub height: usize,
}

impl PlaneMut<'_> {
    fn rows(&mut self) -> impl Iterator<Item = &mut [u8]> {
        let width = self.width;
        self.bytes
            .chunks_mut(self.stride.max(1))
            .take(self.height)
            .filter_map(move |row| row.get_mut(..width))
    }

    /// Sets every pixel to `value`.
    pub fn fill(&mut self, value: u8) {
        self.rows().for_each(|row| row.fill(value));
    }

    /// Copies the top left of `from`, each byte through `map`.
    pub fn copy_from(&mut self, from: Plane<'_>, map: impl Fn(u8) -> u8 + Copy) {
        let width = self.width;
        for (to, from) in self.rows().zip(from.bytes.chunks(from.stride.max(1))) {
            let Some(from) = from.get(..width) else { return };
            for (to, from) in to.iter_mut().zip(from) {
                *to = map(*from);
            }
        }
    }

    /// Paints `value` through `mask`, whose left upper corner is there.
    pub fn paint(&mut self, mask: &Mask, left: usize, top: usize, value: u8) {
        for (row, coverage) in self.rows().skip(top).zip(mask.rows()) {
            for (pixel, coverage) in row.iter_mut().skip(left).zip(coverage) {
                *pixel = mixed(*pixel, value, *coverage);
            }
        }
    }

    /// Copies `from`, a plane of this one's size before `turn`, turned.
    pub fn turn_from(&mut self, from: Plane<'_>, turn: Turn) {
        let (from_width, from_height) = match turn.transpose {
            true => (self.height, self.width),
            false => (self.width, self.height),
        };
        let flip = |at: usize, len: usize, flipped| if flipped { len - 1 - at } else { at };
        for (y, to) in self.rows().enumerate() {
            for (x, to) in to.iter_mut().enumerate() {
                let (u, v) = if turn.transpose { (y, x) } else { (x, y) };
                let column = flip(u, from_width, turn.flip_x);
                let row = flip(v, from_height, turn.flip_y);
                if let Some(&pixel) = from.bytes.get(row * from.stride + column) {
                    *to = pixel;
                }
            }
        }
    }
}

/// Full-range luma to limited range: 0..=255 to 16..=235 (ITU-T H.264 table E-4).
///
/// In 8.8 fixed point within 16 bits, the form that compilers turn into vector code.
#[inline]
pub(super) fn limited_luma(full: u8) -> u8 {
    limited(full, 56_284, 16 * 256 + 128)
}

/// Full-range chroma to limited range: 1..=255 to 16..=240 around 128.
#[inline]
pub(super) fn limited_chroma(full: u8) -> u8 {
    // 128 - 128 * 224 / 255 = 15.56: zero chroma must stay exactly 128.
    limited(full, 57_568, 3_984 + 128)
}

/// `full * factor / 65,536 + bias / 256`, rounded down; callers put the half into the bias.
/// `factor` is 219 / 255 or 224 / 255, so that the sum stays below 65,536.
#[inline]
#[allow(clippy::cast_possible_truncation)]
fn limited(full: u8, factor: u16, bias: u16) -> u8 {
    let scaled = (((u32::from(full) << 8) * u32::from(factor)) >> 16) as u16;
    (scaled.wrapping_add(bias) >> 8) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_is_the_nearest_limited_value_for_every_full_one() {
        for full in 0..=255u8 {
            let luma = 16.0 + f64::from(full) * 219.0 / 255.0;
            assert!((f64::from(limited_luma(full)) - luma).abs() <= 0.505, "luma {full}");
            let chroma = 128.0 + (f64::from(full) - 128.0) * 224.0 / 255.0;
            assert!((f64::from(limited_chroma(full)) - chroma).abs() <= 0.505, "chroma {full}");
        }
        assert_eq!((limited_luma(0), limited_luma(255)), (16, 235));
        assert_eq!(limited_chroma(128), 128);
    }

    #[test]
    fn a_plane_is_turned_as_its_orientation_says() {
        // a b c
        // d e f
        let stored = Plane { bytes: b"abc.def.", stride: 4 };
        for (orientation, shown) in [
            (1, "abcdef"),
            (2, "cbafed"),
            (3, "fedcba"),
            (4, "defabc"),
            (5, "adbecf"),
            (6, "daebfc"),
            (7, "fcebda"),
            (8, "cfbead"),
        ] {
            let turn = Turn::from_exif(orientation);
            let (width, height) = if turn.transpose { (2, 3) } else { (3, 2) };
            let mut bytes = [0; 6];
            let mut to = PlaneMut { bytes: &mut bytes, stride: width, width, height };
            to.turn_from(stored, turn);
            assert_eq!(bytes, shown.as_bytes(), "orientation {orientation}");
        }
    }

    #[test]
    fn paint_stays_within_the_rows() {
        let mut bytes = [100; 8];
        let mut to = PlaneMut { bytes: &mut bytes, stride: 4, width: 3, height: 2 };
        to.paint(&Mask::of(3, vec![255, 0, 255, 51, 255, 255]), 1, 1, 200);
        assert_eq!(bytes, [100, 100, 100, 100, 100, 200, 100, 100]);
        let mut to = PlaneMut { bytes: &mut bytes, stride: 4, width: 3, height: 2 };
        to.paint(&Mask::of(1, vec![51]), 0, 0, 200);
        assert_eq!(bytes[0], 120);
    }

    #[test]
    fn a_plane_that_is_too_short_is_copied_as_far_as_it_goes() {
        let mut bytes = [9; 6];
        let mut to = PlaneMut { bytes: &mut bytes, stride: 3, width: 3, height: 2 };
        to.copy_from(Plane { bytes: &[1, 2, 3, 4], stride: 3 }, |b| b);
        assert_eq!(bytes, [1, 2, 3, 9, 9, 9]);
    }
}
