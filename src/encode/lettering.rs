//! Letters: the font that is built in, and lines of text as masks.
//!
//! A letter is rasterised once for each size that is used; after that a line costs no more than
//! copying its letters together.
//!
//! Architecture invariant: every text is written. A character that the font does not have is
//! an empty box.

use std::collections::HashMap;

use fontdue::{Font, FontSettings};

use super::CodecError;
use super::mask::Mask;

/// Latin letters, digits and punctuation; see the README beside it.
static FONT: &[u8] = include_bytes!("fonts/DejaVuSansMono-Bold-Subset.ttf");

/// What the font's tables `head`, `hhea` and `hmtx` say: in units of an em, the room above and
/// below the base line, and the width that all its letters have.
const UNITS_PER_EM: usize = 2_048;
const ASCENT_UNITS: usize = 1_901;
const DESCENT_UNITS: usize = 483;
const ADVANCE_UNITS: usize = 1_233;

/// Outlines are made smooth for letters of this size, in pixels.
const SMOOTH_AT_PX: f32 = 96.0;

/// How much the plate covers, of 255: so that white letters before a white picture still have
/// the contrast of 7 to 1 that WCAG 2.2 asks for in its criterion 1.4.6.
const PLATE: u8 = 166;

/// The most letters that are kept, all sizes together. Usually it is ten digits and a few more.
const MAX_KEPT: usize = 256;

/// A size of letters and what follows from it, in pixels.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct TypeSize(u8);

impl TypeSize {
    /// The size at which an em is that tall.
    pub fn of_px(px: u8) -> Self {
        Self(px)
    }

    /// How wide a line of so many letters is, with what is beside them: even.
    pub fn line_width(self, letters: usize) -> usize {
        (letters * self.advance() + 2 * self.beside()).next_multiple_of(2)
    }

    /// How tall every line is: even.
    pub fn line_height(self) -> usize {
        (self.ascent() + self.scaled(DESCENT_UNITS) + 2 * self.above()).next_multiple_of(2)
    }

    /// How wide the rim is: black still after the encoder has blurred it, and no wider than
    /// that where letters are large.
    fn rim(self) -> u8 {
        (self.0 / 16).clamp(1, 6)
    }

    /// What a line has to the left and the right of its letters: room for the rim and to spare.
    fn beside(self) -> usize {
        usize::from(self.rim() + self.0 / 4)
    }

    /// What a line has above and below: room for the rim; the font has room of its own there.
    fn above(self) -> usize {
        usize::from(self.rim())
    }

    fn advance(self) -> usize {
        self.scaled(ADVANCE_UNITS)
    }

    fn ascent(self) -> usize {
        self.scaled(ASCENT_UNITS)
    }

    fn scaled(self, units: usize) -> usize {
        (usize::from(self.0) * units).div_ceil(UNITS_PER_EM)
    }
}

/// A line of text, or a part of one.
pub(super) struct Line {
    /// What the letters cover.
    pub letters: Mask,
    /// The dark ground under them, of the same size: a plate that the picture shows through,
    /// and a rim around each letter that nothing shows through.
    pub ground: Mask,
}

/// Writes lines, and keeps the letters for the next ones.
pub(super) struct Lettering {
    font: Font,
    kept: HashMap<(char, TypeSize), Line>,
}

impl Lettering {
    /// # Errors
    /// The font cannot be read, which says that the program was built wrong.
    pub fn new() -> Result<Self, CodecError> {
        let settings =
            FontSettings { scale: SMOOTH_AT_PX, load_substitutions: false, collection_index: 0 };
        let font =
            Font::from_bytes(FONT, settings).map_err(|reason| CodecError::Font { reason })?;
        Ok(Self { font, kept: HashMap::new() })
    }

    /// `text` in one line: a mask of [`TypeSize::line_width`] and [`TypeSize::line_height`].
    pub fn write(&mut self, text: &str, size: TypeSize) -> Line {
        let (width, height) = (size.line_width(text.chars().count()), size.line_height());
        let mut line = Line {
            letters: Mask::even(width, height, 0),
            ground: Mask::even(width, height, PLATE),
        };
        if self.kept.len() > MAX_KEPT {
            self.kept.clear();
        }
        for (index, character) in text.chars().enumerate() {
            let font = &self.font;
            let letter = self.kept.entry((character, size));
            let letter = letter.or_insert_with(|| rasterise(font, character, size));
            let left = (index * size.advance()).cast_signed();
            line.letters.lay(&letter.letters, left, 0);
            line.ground.lay(&letter.ground, left, 0);
        }
        line
    }
}

/// One letter as a line of its own, without a plate.
fn rasterise(font: &Font, character: char, size: TypeSize) -> Line {
    let (metrics, coverage) = font.rasterize(character, f32::from(size.0));
    let mut letters = Mask::even(size.line_width(1), size.line_height(), 0);
    // Within a few hundred pixels of zero.
    let pixels = |pixels: i32| isize::try_from(pixels).unwrap_or(0);
    let left = size.beside().cast_signed() + pixels(metrics.xmin);
    let base = (size.above() + size.ascent()).cast_signed();
    let top = base - pixels(metrics.ymin) - metrics.height.cast_signed();
    letters.lay(&Mask::of(metrics.width, coverage), left, top);
    Line { ground: letters.with_rim(size.rim()), letters }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_blank(mask: &Mask) -> bool {
        mask.rows().all(|row| row.iter().all(|coverage| *coverage == 0))
    }

    fn letter(text: &str, px: u8) -> Line {
        Lettering::new().unwrap().write(text, TypeSize::of_px(px))
    }

    #[test]
    fn the_font_is_what_is_said_of_it() {
        let font = Lettering::new().unwrap().font;
        let line = font.horizontal_line_metrics(2_048.0).unwrap();
        assert_eq!((font.units_per_em(), line.ascent, line.descent), (2_048.0, 1_901.0, -483.0));
        for character in (' '..='~').chain('¡'..='ÿ') {
            assert!(font.has_glyph(character), "{character:?}");
            assert_eq!(font.metrics(character, 2_048.0).advance_width, 1_233.0, "{character:?}");
        }
    }

    #[test]
    fn a_character_that_the_font_does_not_have_is_a_box() {
        let boxes = letter("年", 24);
        assert!(!is_blank(&boxes.letters));
        assert_eq!(boxes.letters, letter("\u{10FFFF}", 24).letters);
        assert_ne!(boxes.letters, letter("?", 24).letters);
        assert!(is_blank(&letter(" ", 24).letters));
    }

    #[test]
    fn every_digit_can_be_told_from_the_others_at_every_size() {
        for px in [6, 8, 12, 24, 200] {
            let mut lettering = Lettering::new().unwrap();
            let digits: Vec<Mask> = ('0'..='9')
                .map(|digit| lettering.write(&digit.to_string(), TypeSize::of_px(px)).letters)
                .collect();
            for (index, digit) in digits.iter().enumerate() {
                assert!(!digits[..index].contains(digit), "{index} at {px}");
            }
        }
    }

    #[test]
    fn no_letter_is_cut_off() {
        for px in 6..=200 {
            let mut lettering = Lettering::new().unwrap();
            for character in "0123456789:+-/.AZgjpqyÅÇ".chars() {
                let size = TypeSize::of_px(px);
                let ink = |mask: &Mask| -> u64 {
                    mask.rows().flatten().map(|coverage| u64::from(*coverage)).sum()
                };
                let (_, coverage) = lettering.font.rasterize(character, f32::from(px));
                let whole: u64 = coverage.iter().map(|coverage| u64::from(*coverage)).sum();
                let line = lettering.write(&character.to_string(), size);
                assert_eq!(ink(&line.letters), whole, "{character} at {px}");
            }
        }
    }

    #[test]
    fn a_line_is_as_large_as_it_is_said_to_be() {
        for px in [6, 7, 24, 113] {
            let size = TypeSize::of_px(px);
            let line = letter("08:00", px);
            for mask in [&line.letters, &line.ground] {
                assert_eq!(mask.rows().count(), size.line_height());
                assert!(mask.rows().all(|row| row.len() == size.line_width(5)));
            }
            assert_eq!((size.line_width(5) % 2, size.line_height() % 2), (0, 0));
        }
    }

    #[test]
    fn letters_are_kept_up_to_a_bound() {
        let mut lettering = Lettering::new().unwrap();
        for px in 6..=200 {
            lettering.write("2026-01-31 08:00:00 UTC", TypeSize::of_px(px));
        }
        assert!(lettering.kept.len() <= MAX_KEPT + 80);
    }
}
