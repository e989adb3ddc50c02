//! A decoded picture to the picture that is encoded: 4:2:0, limited range, the size and way up
//! that it is shown.
//!
//! Colour: a JPEG (JFIF 1.02) is full-range Y'CbCr of BT.601's matrix with sRGB's primaries.
//! The matrix is kept and named in the stream, since another one would cost a pass over every
//! pixel for no gain. The range is converted: full-range H.264 is legal, but players in the
//! field ignore the flag.

use ffmpeg_next::format::Pixel;
use ffmpeg_next::frame;
use ffmpeg_next::software::scaling::{Context, Flags};

use super::CodecError;
use super::decode::is_full_range;
use super::geometry::Turn;
use super::planes::{NO_CHROMA, Plane, PlaneMut, limited_chroma, limited_luma};
use crate::media::timeline::PictureSize;

/// Bicubic, and exact in the last bit: a grey wall must not take a tint.
const SCALING: Flags = Flags::BICUBIC.union(Flags::ACCURATE_RND);

/// Converts pictures; keeps libswscale's tables while the format stays the same.
#[derive(Default)]
pub(super) struct Scaler {
    swscale: Option<Context>,
}

impl Scaler {
    /// Makes the picture of `shown` size, turned by `turn`.
    ///
    /// # Errors
    /// libswscale refuses, or there is no memory.
    pub fn convert(
        &mut self,
        picture: &frame::Video,
        shown: PictureSize,
        turn: Turn,
    ) -> Result<frame::Video, CodecError> {
        let upright = self.resize(picture, turn.apply(shown))?;
        if turn.is_identity() {
            return Ok(upright);
        }
        let mut turned = allocate(shown)?;
        for index in 0..3 {
            let from = plane(&upright, index);
            plane_mut(&mut turned, index, shown).turn_from(from, turn);
        }
        Ok(turned)
    }

    fn resize(
        &mut self,
        picture: &frame::Video,
        size: PictureSize,
    ) -> Result<frame::Video, CodecError> {
        let mut out = allocate(size)?;
        // An odd side loses its last pixel; anything else is another size.
        let same = (picture.width() & !1, picture.height() & !1) == (size.width, size.height);
        match picture.format() {
            Pixel::YUVJ420P | Pixel::YUV420P if same && is_full_range(picture) => {
                plane_mut(&mut out, 0, size).copy_from(plane(picture, 0), limited_luma);
                plane_mut(&mut out, 1, size).copy_from(plane(picture, 1), limited_chroma);
                plane_mut(&mut out, 2, size).copy_from(plane(picture, 2), limited_chroma);
            }
            Pixel::GRAY8 if same => {
                plane_mut(&mut out, 0, size).copy_from(plane(picture, 0), limited_luma);
                plane_mut(&mut out, 1, size).fill(NO_CHROMA);
                plane_mut(&mut out, 2, size).fill(NO_CHROMA);
            }
            _ => self.swscale(picture, &mut out)?,
        }
        Ok(out)
    }

    /// libswscale knows by the pixel format that a JPEG's range is full, and converts it.
    fn swscale(&mut self, from: &frame::Video, to: &mut frame::Video) -> Result<(), CodecError> {
        let failed = |source| CodecError::Library { call: "scaling", source };
        let fits = |context: &Context| {
            let (input, output) = (context.input(), context.output());
            (input.format, input.width, input.height)
                == (from.format(), from.width(), from.height())
                && (output.width, output.height) == (to.width(), to.height())
        };
        let context = match self.swscale.take().filter(fits) {
            Some(context) => context,
            None => Context::get(
                from.format(),
                from.width(),
                from.height(),
                to.format(),
                to.width(),
                to.height(),
                SCALING,
            )
            .map_err(failed)?,
        };
        self.swscale.insert(context).run(from, to).map_err(failed)
    }
}

fn allocate(size: PictureSize) -> Result<frame::Video, CodecError> {
    let picture = frame::Video::new(Pixel::YUV420P, size.width, size.height);
    // Without memory libavutil leaves the frame without planes.
    match picture.planes() {
        3 => Ok(picture),
        _ => Err(CodecError::NoMemory { width: size.width, height: size.height }),
    }
}

fn plane(picture: &frame::Video, index: usize) -> Plane<'_> {
    match index < picture.planes() {
        true => Plane { bytes: picture.data(index), stride: picture.stride(index) },
        false => Plane { bytes: &[], stride: 0 },
    }
}

/// A plane of a picture of that size in 4:2:0.
pub(super) fn plane_mut(
    picture: &mut frame::Video,
    index: usize,
    size: PictureSize,
) -> PlaneMut<'_> {
    let half = if index == 0 { 1 } else { 2 };
    let stride = picture.stride(index);
    let (width, height) = (size.width / half, size.height / half);
    PlaneMut {
        bytes: picture.data_mut(index),
        stride,
        width: usize::try_from(width).unwrap_or(0),
        height: usize::try_from(height).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One colour in a format, as full range.
    fn solid(format: Pixel, size: (u32, u32), values: [u8; 3]) -> frame::Video {
        let mut picture = frame::Video::new(format, size.0, size.1);
        for index in 0..picture.planes() {
            picture.data_mut(index).fill(values[index.min(2)]);
        }
        picture
    }

    fn first_pixels(picture: &frame::Video) -> [u8; 3] {
        [0, 1, 2].map(|index| picture.data(index)[0])
    }

    #[test]
    fn every_way_to_limited_range_gives_the_same_colour() {
        let wanted = [limited_luma(200), limited_chroma(90), limited_chroma(160)];
        let size = PictureSize { width: 64, height: 48 };
        let as_is = Turn::from_exif(1);
        for (format, from) in [
            (Pixel::YUVJ420P, (64, 48)),
            (Pixel::YUVJ420P, (65, 49)),
            (Pixel::YUVJ420P, (128, 96)),
            (Pixel::YUVJ422P, (64, 48)),
            (Pixel::YUVJ444P, (64, 48)),
            (Pixel::YUVJ440P, (96, 72)),
        ] {
            let picture = solid(format, from, [200, 90, 160]);
            let shown = Scaler::default().convert(&picture, size, as_is).unwrap();
            for (got, wanted) in first_pixels(&shown).into_iter().zip(wanted) {
                assert!(got.abs_diff(wanted) <= 1, "{format:?} {from:?}: {got} for {wanted}");
            }
        }
    }

    #[test]
    fn grey_has_no_tint_at_any_size() {
        for from in [(64, 48), (128, 96)] {
            let picture = solid(Pixel::GRAY8, from, [200; 3]);
            let size = PictureSize { width: 64, height: 48 };
            let shown = Scaler::default().convert(&picture, size, Turn::from_exif(1)).unwrap();
            let [luma, cb, cr] = first_pixels(&shown);
            assert!(luma.abs_diff(limited_luma(200)) <= 1, "{from:?}: {luma}");
            assert_eq!((cb, cr), (128, 128), "{from:?}");
        }
    }

    #[test]
    fn the_tables_are_kept_only_for_the_same_format() {
        let mut scaler = Scaler::default();
        let size = PictureSize { width: 32, height: 24 };
        for (format, from) in
            [(Pixel::YUVJ422P, (64, 48)), (Pixel::YUVJ444P, (64, 48)), (Pixel::YUVJ444P, (96, 72))]
        {
            let shown = scaler.convert(&solid(format, from, [9; 3]), size, Turn::from_exif(1));
            assert_eq!(shown.unwrap().width(), 32);
        }
    }
}
