//! The watermark: what a caption is, where it goes on a picture, and drawing it there.
//!
//! White letters with a black rim on a plate that the picture shows through: they can be read
//! on anything. A caption that is too wide is written smaller; where even the smallest letters do
//! not fit, the picture stays as it is.
//!
//! Architecture invariant: draws into the picture only, and refuses no frame.

use std::sync::Arc;

use ffmpeg_next::frame;
use serde::{Deserialize, Serialize};

use super::CodecError;
use super::lettering::{Lettering, TypeSize};
use super::planes::{NO_CHROMA, limited_luma};
use super::scale::plane_mut;
use crate::media::timeline::PictureSize;

/// The smallest letters, in pixels: below them no digit can be told from another.
const MIN_FONT_SIZE_PX: u8 = 6;

/// How captions are drawn; the same for all jobs of a worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Watermark {
    /// Which corner of the picture they are in.
    pub position: Corner,
    /// How tall a letter is, from the top of a capital to the bottom of a `g`, in pixels of the
    /// finished picture.
    pub font_size_px: u8,
}

/// A corner of the picture.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Corner {
    /// Top left.
    TopLeft,
    /// Top right.
    TopRight,
    /// Bottom left.
    BottomLeft,
    /// Bottom right.
    BottomRight,
}

/// The text that is burnt into a picture: one short line.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Caption(Arc<str>);

impl Caption {
    /// The most characters of a caption, which keeps the longest job's header within its limit.
    pub const MAX_CHARS: usize = 80;

    /// `text` in one line, cut where it is too long.
    pub fn new(text: &str) -> Self {
        let in_one_line = |c: char| if c.is_control() { ' ' } else { c };
        let text: String = text.trim().chars().take(Self::MAX_CHARS).map(in_one_line).collect();
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Draws captions; keeps the letters that it has drawn before.
pub(super) struct Stamp {
    watermark: Watermark,
    lettering: Lettering,
}

impl Stamp {
    /// # Errors
    /// The font that is built in cannot be read.
    pub fn new(watermark: Watermark) -> Result<Self, CodecError> {
        Ok(Self { watermark, lettering: Lettering::new()? })
    }

    /// Writes `caption` on a finished picture: 4:2:0, limited range.
    pub fn draw(&mut self, picture: &mut frame::Video, caption: &Caption) {
        let size = PictureSize { width: picture.width(), height: picture.height() };
        let letters = caption.as_str().chars().count();
        let Some(place) = Place::find(self.watermark, letters, size) else { return };
        let line = self.lettering.write(caption.as_str(), place.type_size);
        let (left, top) = (place.left, place.top);
        let mut luma = plane_mut(picture, 0, size);
        luma.paint(&line.ground, left, top, limited_luma(0));
        luma.paint(&line.letters, left, top, limited_luma(255));
        let without_colour = line.ground.halved();
        for index in [1, 2] {
            let mut chroma = plane_mut(picture, index, size);
            chroma.paint(&without_colour, left / 2, top / 2, NO_CHROMA);
        }
    }
}

/// Where a caption goes, in whole chroma samples: everything is even.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Place {
    type_size: TypeSize,
    left: usize,
    top: usize,
}

impl Place {
    /// The place of a caption of that many letters, in the largest type up to the wanted one
    /// that fits; none when nothing does, or there is nothing to write.
    fn find(watermark: Watermark, letters: usize, picture: PictureSize) -> Option<Self> {
        let width = usize::try_from(picture.width & !1).ok()?;
        let height = usize::try_from(picture.height & !1).ok()?;
        let place = |px| {
            let type_size = TypeSize::of_px(px);
            let margin = margin(px);
            // What is left between the two margins' far ends.
            let right = width.checked_sub(type_size.line_width(letters) + margin)?;
            let bottom = height.checked_sub(type_size.line_height() + margin)?;
            let (left, top) = match watermark.position {
                Corner::TopLeft => (margin, margin),
                Corner::TopRight => (right, margin),
                Corner::BottomLeft => (margin, bottom),
                Corner::BottomRight => (right, bottom),
            };
            (right >= margin && bottom >= margin).then_some(Self { type_size, left, top })
        };
        let sizes = (MIN_FONT_SIZE_PX..=watermark.font_size_px).rev();
        if letters == 0 { None } else { sizes.into_iter().find_map(place) }
    }
}

/// The distance of a line from the picture's edges, in pixels: even.
fn margin(px: u8) -> usize {
    usize::from(px / 6 * 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CORNERS: [Corner; 4] =
        [Corner::TopLeft, Corner::TopRight, Corner::BottomLeft, Corner::BottomRight];

    fn place(
        position: Corner,
        font_size_px: u8,
        size: (u32, u32),
        letters: usize,
    ) -> Option<Place> {
        let picture = PictureSize { width: size.0, height: size.1 };
        Place::find(Watermark { position, font_size_px }, letters, picture)
    }

    #[test]
    fn a_caption_is_inside_of_the_picture_at_any_size() {
        for position in CORNERS {
            for size in [(2, 2), (16, 16), (64, 48), (90, 2_000), (2_000, 20), (1_280, 720)] {
                for letters in [1, 23, 80] {
                    for font_size_px in [8, 24, 200] {
                        let Some(place) = place(position, font_size_px, size, letters) else {
                            continue;
                        };
                        let right = place.left + place.type_size.line_width(letters);
                        let bottom = place.top + place.type_size.line_height();
                        let what = format!("{position:?} {size:?} {letters} {font_size_px}");
                        assert!(right <= size.0 as usize && bottom <= size.1 as usize, "{what}");
                        assert!(place.left % 2 == 0 && place.top % 2 == 0, "{what}");
                        assert!(place.type_size <= TypeSize::of_px(font_size_px), "{what}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_caption_is_as_far_from_the_edges_in_every_corner() {
        let [top_left, top_right, bottom_left, bottom_right] =
            CORNERS.map(|corner| place(corner, 24, (1_280, 720), 23).unwrap());
        let (width, height) = (top_left.type_size.line_width(23), top_left.type_size.line_height());
        let right = 1_280 - width - top_left.left;
        let bottom = 720 - height - top_left.top;
        assert_eq!((top_right.left, top_right.top), (right, top_left.top));
        assert_eq!((bottom_left.left, bottom_left.top), (top_left.left, bottom));
        assert_eq!((bottom_right.left, bottom_right.top), (right, bottom));
    }

    #[test]
    fn a_caption_that_is_too_wide_is_written_as_large_as_it_fits() {
        let type_size =
            |size, letters| place(Corner::TopLeft, 24, size, letters).map(|place| place.type_size);
        let px = |px| Some(TypeSize::of_px(px));
        assert_eq!(type_size((1_280, 720), 23), px(24));
        let smaller = type_size((320, 240), 23);
        assert!(px(12) <= smaller && smaller < px(24), "{smaller:?}");
        assert!(type_size((320, 240), 40) < smaller);
        assert!(type_size((1_280, 20), 23).is_some_and(|short| Some(short) < px(24)));
        assert_eq!(type_size((16, 16), 23), None);
        assert_eq!(type_size((1_280, 720), 0), None);
    }

    #[test]
    fn a_caption_is_one_short_line() {
        assert_eq!(Caption::new(" 08:00\n\tUTC ").as_str(), "08:00  UTC");
        assert_eq!(Caption::new(&"é".repeat(200)).as_str(), "é".repeat(80));
    }
}
