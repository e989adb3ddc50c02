//! A picture in the colours that JPEG stores (JFIF: YCbCr, full range, BT.601), and how to
//! paint on it.

#![expect(clippy::cast_possible_truncation, reason = "clamped to the picture or to 0..=255")]

use std::ops::Range;

use font8x8::legacy::{BASIC_LEGACY, LATIN_LEGACY};

/// Red, green and blue, 0 to 255 each; beyond is cut when painted.
pub(super) type Rgb = [f32; 3];

/// Bytes of one pixel.
const PIXEL: usize = 3;
/// The side of a glyph.
const GLYPH: usize = 8;

/// `colour`, lighter or darker.
pub(super) fn lit(colour: Rgb, by: f32) -> Rgb {
    colour.map(|c| c * by)
}

/// Between two colours.
pub(super) fn blend(a: Rgb, b: Rgb, t: f32) -> Rgb {
    let [ar, ag, ab] = a;
    let [br, bg, bb] = b;
    [ar + (br - ar) * t, ag + (bg - ag) * t, ab + (bb - ab) * t]
}

/// ASCII, and Latin-1 from U+00A0 on; of other scripts there is nothing to show.
fn glyph(letter: char) -> Option<&'static [u8; GLYPH]> {
    let code = letter as usize;
    BASIC_LEGACY.get(code).or_else(|| LATIN_LEGACY.get(code.checked_sub(0xa0)?))
}

fn ycc([r, g, b]: Rgb) -> [u8; PIXEL] {
    let cut = |value: f32| (value + 0.5).clamp(0.0, 255.0) as u8;
    [
        cut(0.299 * r + 0.587 * g + 0.114 * b),
        cut(128.0 - 0.168_736 * r - 0.331_264 * g + 0.5 * b),
        cut(128.0 + 0.5 * r - 0.418_688 * g - 0.081_312 * b),
    ]
}

/// Where to paint, in pixels; what is off the canvas is left out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Area {
    pub(super) left: f32,
    pub(super) top: f32,
    pub(super) width: f32,
    pub(super) height: f32,
}

/// Rows of pixels, three bytes each.
pub(super) struct Canvas {
    width: usize,
    height: usize,
    bytes: Vec<u8>,
}

impl Canvas {
    pub(super) fn new(width: usize, height: usize) -> Self {
        Self { width, height, bytes: vec![128; width * height * PIXEL] }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn size(&self) -> (f32, f32) {
        (self.width as f32, self.height as f32)
    }

    /// Paints `area`: `paint` is asked for each pixel, with the pixel's place within the area
    /// as 0 to 1 across and down; `None` leaves what is there.
    pub(super) fn paint(&mut self, area: Area, mut paint: impl FnMut(f32, f32) -> Option<Rgb>) {
        let (across, down) = self.clipped(area);
        for y in down {
            let v = (y as f32 + 0.5 - area.top) / area.height;
            for (x, pixel) in across.clone().zip(self.row(y, across.clone())) {
                let u = (x as f32 + 0.5 - area.left) / area.width;
                if let Some(colour) = paint(u, v) {
                    pixel.copy_from_slice(&ycc(colour));
                }
            }
        }
    }

    /// Takes light away from `area`, as a shadow or a tinted glass does.
    pub(super) fn darken(&mut self, area: Area, mut keep: impl FnMut(f32, f32) -> Option<f32>) {
        let (across, down) = self.clipped(area);
        for y in down {
            let v = (y as f32 + 0.5 - area.top) / area.height;
            for (x, pixel) in across.clone().zip(self.row(y, across.clone())) {
                let u = (x as f32 + 0.5 - area.left) / area.width;
                if let (Some(keep), [luma, cb, cr]) = (keep(u, v), pixel) {
                    *luma = (f32::from(*luma) * keep) as u8;
                    for chroma in [cb, cr] {
                        *chroma = (128.0 + (f32::from(*chroma) - 128.0) * keep) as u8;
                    }
                }
            }
        }
    }

    /// Becomes the part of `from` that begins `left` pixels from its left edge, its light
    /// changed by `light`.
    pub(super) fn copy_lit(&mut self, from: &Canvas, left: usize, light: &[u8; 256]) {
        let to_rows = self.bytes.chunks_exact_mut(self.width * PIXEL);
        for (to, from) in to_rows.zip(from.bytes.chunks_exact(from.width * PIXEL)) {
            let from = from.get(left * PIXEL..).unwrap_or_default();
            for (to, from) in to.chunks_exact_mut(PIXEL).zip(from.chunks_exact(PIXEL)) {
                if let ([ty, tb, tr], [fy, fb, fr]) = (to, from) {
                    (*ty, *tb, *tr) = (light[usize::from(*fy)], *fb, *fr);
                }
            }
        }
    }

    /// Adds `grain` to every byte; each row begins where `start` says.
    pub(super) fn add_grain(&mut self, grain: &[i8], mut start: impl FnMut(usize) -> usize) {
        let row_bytes = self.width * PIXEL;
        let room = grain.len().saturating_sub(row_bytes).max(1);
        for (y, row) in self.bytes.chunks_exact_mut(row_bytes).enumerate() {
            let grain = grain.get(start(y) % room..).unwrap_or_default();
            for (byte, grain) in row.iter_mut().zip(grain) {
                *byte = byte.saturating_add_signed(*grain);
            }
        }
    }

    /// Writes lines of text on a dark ground, the first at the upper left corner.
    pub(super) fn write(&mut self, lines: &[&str], scale: usize) {
        let glyph = GLYPH * scale;
        let columns = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
        let margin = glyph as f32 / 2.0;
        let ground = Area {
            left: margin,
            top: margin,
            width: (columns * glyph + glyph) as f32,
            height: (lines.len() * (glyph + 2 * scale) + glyph / 2) as f32,
        };
        self.darken(ground, |_, _| Some(0.3));
        for (row, line) in lines.iter().enumerate() {
            let top = margin * 1.5 + (row * (glyph + 2 * scale)) as f32;
            for (column, letter) in line.chars().enumerate() {
                let left = margin * 2.0 + (column * glyph) as f32;
                self.write_letter(letter, left, top, glyph as f32);
            }
        }
    }

    fn write_letter(&mut self, letter: char, left: f32, top: f32, side: f32) {
        let Some(rows) = glyph(letter) else { return };
        self.paint(Area { left, top, width: side, height: side }, |u, v| {
            let bits = rows.get((v * GLYPH as f32) as usize)?;
            (bits >> ((u * GLYPH as f32) as u32).min(7) & 1 == 1).then_some([245.0; 3])
        });
    }

    fn clipped(&self, area: Area) -> (Range<usize>, Range<usize>) {
        let cut = |at: f32, max: usize| at.round().clamp(0.0, max as f32) as usize;
        (
            cut(area.left, self.width)..cut(area.left + area.width, self.width),
            cut(area.top, self.height)..cut(area.top + area.height, self.height),
        )
    }

    fn row(&mut self, y: usize, across: Range<usize>) -> std::slice::ChunksExactMut<'_, u8> {
        let start = y * self.width;
        let bytes = (start + across.start) * PIXEL..(start + across.end) * PIXEL;
        self.bytes.get_mut(bytes).unwrap_or_default().chunks_exact_mut(PIXEL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn painting_off_the_canvas_changes_nothing_and_breaks_nothing() {
        let mut canvas = Canvas::new(16, 8);
        let before = canvas.bytes().to_vec();
        for (left, top) in [(-50.0, 0.0), (50.0, 0.0), (0.0, -50.0), (0.0, 50.0), (1e30, -1e30)] {
            canvas.paint(Area { left, top, width: 20.0, height: 20.0 }, |_, _| Some([0.0; 3]));
        }
        assert_eq!(canvas.bytes(), before);
        canvas.paint(Area { left: -4.0, top: -4.0, width: 99.0, height: 99.0 }, |_, _| {
            Some([255.0; 3])
        });
        assert!(canvas.bytes().chunks(3).all(|pixel| pixel == [255, 128, 128]));
    }

    #[test]
    fn a_letter_is_upright_and_not_mirrored() {
        let mut canvas = Canvas::new(8, 8);
        canvas.write_letter('L', 0.0, 0.0, 8.0);
        let ink = |x: usize, y: usize| canvas.bytes()[(y * 8 + x) * 3] > 200;
        let count = |xs: Range<usize>, ys: Range<usize>| {
            ys.flat_map(|y| xs.clone().map(move |x| (x, y))).filter(|&(x, y)| ink(x, y)).count()
        };
        assert!(count(0..4, 0..4) > count(4..8, 0..4), "its stem is on the left");
        assert!(count(0..8, 4..8) > count(0..8, 0..4), "its foot is below");
    }
}
