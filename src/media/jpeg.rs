//! Reads what a JPEG says of itself, without decoding it.
//!
//! Walks the markers (ITU-T T.81, annex B) up to the frame header and stops at the first scan:
//! the work is bounded by the bytes before the picture's data.
//!
//! Architecture invariant: answers before a decoder has seen the bytes, so it trusts none of
//! them.

use thiserror::Error;

/// What the headers say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JpegHeader {
    /// Width of the coded picture in pixels, before its orientation is applied.
    pub width: u16,
    /// Height of the coded picture in pixels, before its orientation is applied.
    pub height: u16,
    /// How many colour components: 1 grey, 3 colour, 4 CMYK or YCCK.
    pub components: u8,
    /// Bits a sample.
    pub precision: u8,
    /// Coded in several passes.
    pub progressive: bool,
    /// How to turn the picture, 1 to 8 as in EXIF (JEITA CP-3451, tag 0x0112); 1 when it does
    /// not say.
    pub orientation: u8,
    /// The transform byte of Adobe's APP14 marker when it is there (ITU-T T.872, 6.5.3):
    /// 0 RGB or CMYK, 1 YCbCr, 2 YCCK.
    pub adobe_transform: Option<u8>,
}

/// Why bytes are not a JPEG that can be shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum JpegFault {
    /// Nothing at all.
    #[error("the file is empty")]
    Empty,
    /// Something else than a JPEG.
    #[error("not a JPEG: it begins with {found}, a JPEG with FF D8")]
    NotJpeg {
        /// What it seems to be.
        found: Lookalike,
    },
    /// It ends before the frame header, or has none.
    #[error("no frame header in the {searched_bytes} bytes before the picture's data: truncated?")]
    NoFrameHeader {
        /// How far it was read.
        searched_bytes: usize,
    },
    /// The frame header contradicts itself.
    #[error("the frame header at byte {at_byte} is corrupt")]
    BadFrameHeader {
        /// Where its marker is.
        at_byte: usize,
    },
    /// A coding that no camera and hardly a decoder has.
    #[error("{coding} JPEG is not supported: configure the camera for baseline or progressive")]
    Unsupported {
        /// Which.
        coding: &'static str,
    },
}

/// What bytes that are no JPEG begin with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lookalike {
    /// The signature of a PNG.
    Png,
    /// `<`: a web page or other markup, an error page perhaps.
    Markup,
    /// These bytes; zeros where the file is shorter.
    Bytes([u8; 4]),
}

impl std::fmt::Display for Lookalike {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Png => f.write_str("the signature of a PNG"),
            Self::Markup => f.write_str("\"<\" like a web page"),
            Self::Bytes(bytes) => write!(f, "{bytes:02X?}"),
        }
    }
}

/// Marker codes, ITU-T T.81 table B.1.
const START_OF_IMAGE: u8 = 0xD8;
const END_OF_IMAGE: u8 = 0xD9;
const START_OF_SCAN: u8 = 0xDA;
const APP1: u8 = 0xE1;
const APP14: u8 = 0xEE;

/// Reads the headers of `bytes`.
///
/// # Errors
///
/// A [`JpegFault`] that says why this is not a JPEG that can be shown. A JPEG that passes may
/// still turn out to be corrupt when it is decoded.
pub fn probe(bytes: &[u8]) -> Result<JpegHeader, JpegFault> {
    let Some(rest) = bytes.strip_prefix(&[0xFF, START_OF_IMAGE]) else {
        return Err(match bytes {
            [] => JpegFault::Empty,
            _ => JpegFault::NotJpeg { found: lookalike(bytes) },
        });
    };
    let mut walk = Walk { whole: bytes.len(), rest };
    let mut frame = None;
    let mut orientation = None;
    let mut adobe_transform = None;
    while let Some(segment) = walk.next_segment() {
        match segment.marker {
            START_OF_SCAN | END_OF_IMAGE => break,
            APP1 => orientation = orientation.or_else(|| exif_orientation(segment.body)),
            APP14 => adobe_transform = adobe_transform.or_else(|| adobe(segment.body)),
            marker => {
                if frame.is_none() && is_frame_header(marker) {
                    frame = Some(frame_header(&segment)?);
                }
            }
        }
    }
    let searched_bytes = bytes.len() - walk.rest.len();
    let frame = frame.ok_or(JpegFault::NoFrameHeader { searched_bytes })?;
    Ok(JpegHeader { orientation: orientation.unwrap_or(1), adobe_transform, ..frame })
}

struct Segment<'a> {
    marker: u8,
    body: &'a [u8],
    at_byte: usize,
}

struct Walk<'a> {
    whole: usize,
    rest: &'a [u8],
}

impl<'a> Walk<'a> {
    /// The next marker segment that is there whole. Stray bytes before a marker are skipped,
    /// as decoders do.
    fn next_segment(&mut self) -> Option<Segment<'a>> {
        loop {
            let (marker, after) = match self.rest {
                // Fill bytes (B.1.1.2) and stray ones.
                [0xFF, 0xFF, ..] | [0xFF, 0x00, ..] => (None, self.rest.get(1..)?),
                [0xFF, marker, after @ ..] => (Some(*marker), after),
                [_, _, ..] => (None, self.rest.get(1..)?),
                _ => return None,
            };
            let at_byte = self.whole - self.rest.len();
            self.rest = after;
            match marker {
                // TEM, RSTn and SOI stand alone.
                None | Some(0x01 | 0xD0..=START_OF_IMAGE) => {}
                Some(END_OF_IMAGE) => {
                    return Some(Segment { marker: END_OF_IMAGE, body: &[], at_byte });
                }
                Some(marker) => {
                    let [high, low, ..] = after else { return None };
                    let length = usize::from(u16::from_be_bytes([*high, *low]));
                    // The length counts itself (B.1.1.4); a decoder gives up on less than 2.
                    let body = after.get(2..length)?;
                    self.rest = after.get(length..)?;
                    return Some(Segment { marker, body, at_byte });
                }
            }
        }
    }
}

fn is_frame_header(marker: u8) -> bool {
    // 0xC4 is DHT, 0xC8 JPG, 0xCC DAC.
    matches!(marker, 0xC0..=0xCF) && !matches!(marker, 0xC4 | 0xC8 | 0xCC)
}

/// ITU-T T.81, B.2.2.
fn frame_header(segment: &Segment<'_>) -> Result<JpegHeader, JpegFault> {
    let coding = match segment.marker {
        0xC0..=0xC2 => None,
        0xC3 => Some("lossless"),
        0xC5..=0xC7 => Some("hierarchical"),
        _ => Some("arithmetic-coded"),
    };
    if let Some(coding) = coding {
        return Err(JpegFault::Unsupported { coding });
    }
    let corrupt = JpegFault::BadFrameHeader { at_byte: segment.at_byte };
    let [precision, h1, h0, w1, w0, components, tables @ ..] = segment.body else {
        return Err(corrupt);
    };
    let height = u16::from_be_bytes([*h1, *h0]);
    let width = u16::from_be_bytes([*w1, *w0]);
    if height == 0 {
        return Err(JpegFault::Unsupported { coding: "height-after-data (DNL)" });
    }
    if width == 0 || *components == 0 || tables.len() != 3 * usize::from(*components) {
        return Err(corrupt);
    }
    Ok(JpegHeader {
        width,
        height,
        components: *components,
        precision: *precision,
        progressive: segment.marker == 0xC2,
        orientation: 1,
        adobe_transform: None,
    })
}

/// The orientation of an APP1 segment; none when it is not EXIF, or its EXIF is damaged: that
/// is no reason to lose the picture.
fn exif_orientation(body: &[u8]) -> Option<u8> {
    let tiff = body.strip_prefix(b"Exif\0\0")?;
    let exif = exif::Reader::new().read_raw(tiff.to_vec()).ok()?;
    let field = exif.get_field(exif::Tag::Orientation, exif::In::PRIMARY)?;
    let value = u8::try_from(field.value.get_uint(0)?).ok()?;
    (1..=8).contains(&value).then_some(value)
}

fn adobe(body: &[u8]) -> Option<u8> {
    body.strip_prefix(b"Adobe")?.get(6).copied()
}

fn lookalike(bytes: &[u8]) -> Lookalike {
    if bytes.starts_with(b"\x89PNG") {
        return Lookalike::Png;
    }
    if bytes.trim_ascii_start().first() == Some(&b'<') {
        return Lookalike::Markup;
    }
    let mut found = [0; 4];
    found.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    Lookalike::Bytes(found)
}

#[cfg(test)]
mod tests;
