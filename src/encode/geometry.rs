//! The size a frame is shown at, and which way up it is turned (pure).

use crate::media::timeline::PictureSize;

/// The longest side of a JPEG that is decoded, in pixels: what H.264 encoders take at most.
pub(super) const MAX_SIDE_PIXELS: u32 = 16_384;

/// The most pixels of a JPEG that is decoded: 50 megapixels, twice what the largest
/// surveillance cameras have, and 150 MB once decoded without subsampling.
pub(super) const MAX_PICTURE_PIXELS: u64 = 50_000_000;

/// How a stored picture is turned to be shown: EXIF 2.32, tag 0x0112, as three moves. The
/// shown pixel (x, y) is the stored pixel (x, y), with the coordinates swapped first when
/// `transpose`, then counted from the other side along each axis that is flipped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Turn {
    /// Rows become columns.
    pub transpose: bool,
    /// The stored picture is read from right to left.
    pub flip_x: bool,
    /// The stored picture is read from bottom to top.
    pub flip_y: bool,
}

impl Turn {
    /// The turn for an EXIF orientation; 1 and whatever is not an orientation leave the
    /// picture as it is.
    pub fn from_exif(orientation: u8) -> Self {
        let (transpose, flip_x, flip_y) = match orientation {
            2 => (false, true, false),
            3 => (false, true, true),
            4 => (false, false, true),
            5 => (true, false, false),
            6 => (true, false, true),
            7 => (true, true, true),
            8 => (true, true, false),
            _ => (false, false, false),
        };
        Self { transpose, flip_x, flip_y }
    }

    /// Whether nothing is to be done.
    pub fn is_identity(self) -> bool {
        self == Self { transpose: false, flip_x: false, flip_y: false }
    }

    /// `size` after (or, the same, before) the turn.
    pub fn apply(self, size: PictureSize) -> PictureSize {
        match self.transpose {
            true => PictureSize { width: size.height, height: size.width },
            false => size,
        }
    }
}

/// The size at which a picture of `width` x `height` (as shown) leaves the encoder: never
/// enlarged, at most `max_width` wide, the aspect kept, both sides even because 4:2:0 halves
/// them. `None` when less than two pixels are left of a side.
pub(super) fn shown_size(width: u32, height: u32, max_width: u32) -> Option<PictureSize> {
    let (width, height) = match width > max_width {
        false => (width, height),
        true => {
            let widest = max_width & !1;
            // The nearest even height: half of it is rounded.
            let doubled = 2 * u64::from(width);
            let half = (u64::from(height) * u64::from(widest) + u64::from(width)) / doubled;
            (widest, u32::try_from(2 * half).ok()?)
        }
    };
    let even = PictureSize { width: width & !1, height: height & !1 };
    (even.width >= 2 && even.height >= 2).then_some(even)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(width: u32, height: u32) -> Option<PictureSize> {
        Some(PictureSize { width, height })
    }

    #[test]
    fn a_picture_is_scaled_down_to_the_width_and_never_up() {
        assert_eq!(shown_size(1280, 720, 1920), size(1280, 720));
        assert_eq!(shown_size(1920, 1080, 1920), size(1920, 1080));
        assert_eq!(shown_size(3840, 2160, 1920), size(1920, 1080));
        assert_eq!(shown_size(4000, 3000, 1920), size(1920, 1440));
        assert_eq!(shown_size(2592, 1944, 1281), size(1280, 960));
    }

    #[test]
    fn odd_sides_lose_their_last_pixel_and_slivers_are_refused() {
        assert_eq!(shown_size(641, 361, 1920), size(640, 360));
        assert_eq!(shown_size(16, 1, 1920), None);
        assert_eq!(shown_size(1, 16, 1920), None);
        assert_eq!(shown_size(16_000, 2, 1920), None);
        assert_eq!(shown_size(0, 0, 1920), None);
    }

    #[test]
    fn every_orientation_puts_the_right_corner_at_the_top_left() {
        // EXIF 2.32, 4.6.4 A: where the 0th row and the 0th column are.
        let stored = PictureSize { width: 4, height: 3 };
        for (orientation, corner) in [
            (1, (0, 0)),
            (2, (3, 0)),
            (3, (3, 2)),
            (4, (0, 2)),
            (5, (0, 0)),
            (6, (0, 2)),
            (7, (3, 2)),
            (8, (3, 0)),
        ] {
            let turn = Turn::from_exif(orientation);
            let x = if turn.flip_x { stored.width - 1 } else { 0 };
            let y = if turn.flip_y { stored.height - 1 } else { 0 };
            assert_eq!((x, y), corner, "orientation {orientation}");
            assert_eq!(turn.transpose, orientation >= 5, "orientation {orientation}");
        }
    }
}
