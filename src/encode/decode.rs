//! One JPEG to one decoded picture, or to the reason why not.
//!
//! Every frame gets a decoder of its own: libavcodec's keeps the Huffman and quantisation
//! tables of the picture before, and one camera's tables must never decode another's frame.

use ffmpeg_next::codec::decoder::Check;
use ffmpeg_next::codec::threading;
use ffmpeg_next::format::Pixel;
use ffmpeg_next::util::color;
use ffmpeg_next::{Dictionary, Error, Packet, codec, decoder, frame};

use super::geometry::{MAX_PICTURE_PIXELS, MAX_SIDE_PIXELS};
use super::{CodecError, FrameFault};
use crate::media::jpeg::{self, JpegFault, JpegHeader};

/// A frame that is left out, and why.
#[derive(Debug)]
pub(super) struct Rejection {
    pub fault: FrameFault,
    pub detail: String,
}

/// Reads the header and refuses what must not or cannot be decoded, at the cost of a few
/// bytes.
pub(super) fn inspect(jpeg: &[u8]) -> Result<JpegHeader, Rejection> {
    let header = jpeg::probe(jpeg).map_err(|fault| Rejection {
        fault: match fault {
            JpegFault::Empty | JpegFault::NotJpeg { .. } => FrameFault::NotJpeg,
            JpegFault::Unsupported { .. } => FrameFault::Unsupported,
            JpegFault::NoFrameHeader { .. } | JpegFault::BadFrameHeader { .. } => {
                FrameFault::Undecodable
            }
        },
        detail: fault.to_string(),
    })?;
    let (width, height) = (u32::from(header.width), u32::from(header.height));
    if width.max(height) > MAX_SIDE_PIXELS
        || u64::from(width) * u64::from(height) > MAX_PICTURE_PIXELS
    {
        return Err(Rejection {
            fault: FrameFault::TooLarge,
            detail: format!(
                "{width}x{height} is more than {MAX_SIDE_PIXELS} pixels a side or \
                 {MAX_PICTURE_PIXELS} in all: lower the camera's resolution"
            ),
        });
    }
    let unsupported = |detail: String| Err(Rejection { fault: FrameFault::Unsupported, detail });
    match (header.precision, header.components, header.adobe_transform) {
        (8, 1 | 3, _) | (8, 4, Some(0 | 2)) => Ok(header),
        // Nothing in such a file says whether its inks are inverted; Adobe's marker does.
        (8, 4, _) => unsupported("CMYK without Adobe's marker is ambiguous".to_owned()),
        (8, n, _) => unsupported(format!("{n} colour components; 1, 3 and 4 are supported")),
        (bits, ..) => unsupported(format!("{bits} bits a sample; 8 are supported")),
    }
}

/// Decodes a JPEG that [`inspect`] let through; whole, or not at all.
pub(super) fn decode(jpeg: &[u8]) -> Result<Result<frame::Video, Rejection>, CodecError> {
    if !ends(jpeg) {
        return Ok(Err(undecodable("it ends in the middle of the picture: truncated")));
    }
    // Without tables of its own libavcodec decodes to plain grey.
    if !jpeg.windows(2).any(|pair| pair == [0xFF, 0xDB]) {
        return Ok(Err(undecodable("it has no quantisation tables")));
    }
    let mut decoder = open()?;
    let mut picture = frame::Video::empty();
    let outcome = decoder
        .send_packet(&Packet::borrow(jpeg))
        .and_then(|()| decoder.send_eof())
        .and_then(|()| decoder.receive_frame(&mut picture));
    if let Err(error) = outcome {
        let fault = match error {
            Error::PatchWelcome => FrameFault::Unsupported,
            _ => FrameFault::Undecodable,
        };
        return Ok(Err(Rejection { fault, detail: format!("the decoder gave up: {error}") }));
    }
    if picture.is_corrupt() || picture.has_decode_errors() {
        return Ok(Err(undecodable("its data is damaged")));
    }
    if !is_eight_bit(picture.format()) {
        return Ok(Err(Rejection {
            fault: FrameFault::Unsupported,
            detail: format!("pixel format {:?} is not supported", picture.format()),
        }));
    }
    Ok(Ok(picture))
}

fn undecodable(detail: &str) -> Rejection {
    Rejection { fault: FrameFault::Undecodable, detail: detail.to_owned() }
}

/// Whether an end-of-image marker follows the last scan. libavcodec invents a missing one, and
/// with it the rows that are missing. In the data of a scan 0xFF is always followed by zero or
/// a restart marker (ITU-T T.81, B.1.1.5), so neither marker can be met there by chance.
fn ends(jpeg: &[u8]) -> bool {
    let Some(end) = jpeg.windows(2).rposition(|pair| pair == [0xFF, 0xD9]) else { return false };
    jpeg.get(end..).is_some_and(|rest| !rest.windows(2).any(|pair| pair == [0xFF, 0xDA]))
}

fn open() -> Result<decoder::Video, CodecError> {
    let missing = CodecError::Missing { codec: "mjpeg decoder" };
    let codec = decoder::find(codec::Id::MJPEG).ok_or(missing)?;
    let mut context = codec::Context::new_with_codec(codec).decoder();
    context.set_threading(threading::Config { count: 1, ..threading::Config::default() });
    context.check(Check::EXPLODE);
    let mut options = Dictionary::new();
    // A second frame header behind the one that was inspected may not ask for more.
    options.set("max_pixels", &MAX_PICTURE_PIXELS.to_string());
    let opened = context.open_as_with(codec, options).and_then(|opened| opened.video());
    opened.map_err(|source| CodecError::Library { call: "opening the JPEG decoder", source })
}

/// The formats that libavcodec's JPEG decoder gives for 8-bit pictures.
fn is_eight_bit(format: Pixel) -> bool {
    matches!(
        format,
        Pixel::YUVJ420P
            | Pixel::YUVJ422P
            | Pixel::YUVJ440P
            | Pixel::YUVJ444P
            | Pixel::YUVJ411P
            | Pixel::YUV420P
            | Pixel::YUV422P
            | Pixel::YUV440P
            | Pixel::YUV444P
            | Pixel::YUV411P
            | Pixel::GRAY8
            | Pixel::GBRP
            | Pixel::GBRAP
            | Pixel::YUVA444P
            | Pixel::BGR24
    )
}

/// Whether the picture's values span 0 to 255, as a JPEG's do unless it says otherwise.
pub(super) fn is_full_range(picture: &frame::Video) -> bool {
    picture.color_range() != color::Range::MPEG
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jpeg(color: jpeg_encoder::ColorType, channels: usize) -> Vec<u8> {
        let ramp: Vec<u8> = (0..251).collect();
        let pixels: Vec<u8> = ramp.into_iter().cycle().take(64 * 48 * channels).collect();
        let mut bytes = Vec::new();
        jpeg_encoder::Encoder::new(&mut bytes, 90).encode(&pixels, 64, 48, color).unwrap();
        bytes
    }

    #[test]
    fn a_truncated_picture_is_never_shown_in_part() {
        let whole = jpeg(jpeg_encoder::ColorType::Rgb, 3);
        assert!(decode(&whole).unwrap().is_ok());
        for len in (2..whole.len()).step_by(97).chain([whole.len() - 1, whole.len() - 2]) {
            let rejection = decode(&whole[..len]).unwrap().err();
            assert_eq!(rejection.map(|r| r.fault), Some(FrameFault::Undecodable), "{len}");
        }
    }

    #[test]
    fn a_hole_in_the_data_is_noticed() {
        let whole = jpeg(jpeg_encoder::ColorType::Rgb, 3);
        let mut holed = whole.clone();
        holed.drain(whole.len() / 2..whole.len() - 2);
        assert!(decode(&holed).unwrap().is_err());
    }

    #[test]
    fn bytes_after_the_end_do_no_harm() {
        let mut whole = jpeg(jpeg_encoder::ColorType::Luma, 1);
        whole.extend([0; 300]);
        assert_eq!(decode(&whole).unwrap().unwrap().format(), Pixel::GRAY8);
    }

    #[test]
    fn a_frame_never_borrows_the_tables_of_the_one_before() {
        let whole = jpeg(jpeg_encoder::ColorType::Luma, 1);
        assert!(decode(&whole).unwrap().is_ok());
        // The same picture without its quantisation tables.
        let mut bare = whole;
        while let Some(at) = bare.windows(2).position(|pair| pair == [0xFF, 0xDB]) {
            let len = 2 + usize::from(u16::from_be_bytes([bare[at + 2], bare[at + 3]]));
            bare.drain(at..at + len);
        }
        assert!(decode(&bare).unwrap().is_err());
    }

    #[test]
    fn a_picture_that_is_too_large_is_refused_by_its_header() {
        let mut huge = jpeg(jpeg_encoder::ColorType::Luma, 1);
        let at = huge.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
        huge[at + 5..at + 9].copy_from_slice(&[0x75, 0x30, 0x75, 0x30]);
        assert_eq!(inspect(&huge).unwrap_err().fault, FrameFault::TooLarge);
    }
}
