//! Rewrites what x264 encoded so that every frame can be shown for longer: repeat pictures of
//! a few bytes each, written by hand, that cost no encoding.
//!
//! Picture order counts of type 2 leave no room between two references, so the sequence
//! parameter set is changed to type 0 and every slice header gets its count. Slice data is
//! never touched. Clauses named in this room are those of ITU-T H.264.
//!
//! Architecture invariant: a stream that is not understood is refused, never passed on changed
//! by guesswork.

mod bits;
pub(super) mod nal;
mod params;
mod slice;
#[cfg(test)]
pub(super) mod tests;

use thiserror::Error;

use self::params::{Pps, Sps};
use super::timeline::PictureSize;

/// The most pictures of one frame: two a second for an hour and more, and few enough for
/// pic_order_cnt_lsb to tell them apart (8.2.1.1).
pub const MAX_PICTURES_OF_A_FRAME: u32 = 8_000;

/// An access unit delimiter for a picture of any slice type (7.3.2.4).
pub const ACCESS_UNIT_DELIMITER: [u8; 2] = [nal::DELIMITER, 0xF0];

/// Why a stream was not rewritten.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum H264Error {
    /// A syntax structure ends too early.
    #[error("the H.264 stream ends within {within}")]
    Truncated {
        /// Which structure.
        within: &'static str,
    },
    /// A syntax structure has a value that cannot be.
    #[error("the H.264 stream is malformed: {what} in {within}")]
    Malformed {
        /// Which structure.
        within: &'static str,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Valid perhaps, but not what the encoder is set to.
    #[error("the encoder was set up wrongly: {what} cannot be rewritten")]
    Unsupported {
        /// What the stream has.
        what: &'static str,
    },
    /// A unit that the encoder has no reason to write.
    #[error("the H.264 stream has a NAL unit of type {nal_type}, which is not expected")]
    UnexpectedNal {
        /// nal_unit_type, table 7-1.
        nal_type: u8,
    },
    /// The stream does not begin with an IDR picture and its parameter sets.
    #[error("access unit {access_unit} lacks {what}")]
    Missing {
        /// Which access unit, counted from 0.
        access_unit: usize,
        /// What it lacks.
        what: &'static str,
    },
    /// The parameter sets are not those of the first access unit.
    #[error("the parameter sets change at access unit {access_unit}")]
    ChangedParameters {
        /// Which access unit, counted from 0.
        access_unit: usize,
    },
    /// A frame is to be shown never, or more often than can be.
    #[error("access unit {access_unit} cannot be shown as {pictures} pictures")]
    PictureCount {
        /// Which access unit, counted from 0.
        access_unit: usize,
        /// How many were asked for.
        pictures: u32,
    },
}

/// One coded picture: a single slice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CodedPicture {
    /// The NAL unit with emulation prevention, without start code or length.
    pub nal: Vec<u8>,
    /// Whether decoding can start here.
    pub idr: bool,
    /// Whether other pictures are predicted from it; repeats are not.
    pub reference: bool,
}

/// A rewritten stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stream {
    /// The sequence parameter set, a NAL unit.
    pub sps: Vec<u8>,
    /// The encoder's picture parameter set and that of the repeats, NAL units.
    pub pps: [Vec<u8>; 2],
    /// What the decoder shows, in pixels.
    pub size: PictureSize,
    /// chroma_format_idc, bit_depth_luma_minus8 and bit_depth_chroma_minus8, when the profile
    /// is a high one.
    pub high: Option<[u8; 3]>,
    /// All pictures in decoding order, which is the order they are shown in.
    pub pictures: Vec<CodedPicture>,
}

impl Stream {
    /// Profile, constraints and level: the three bytes behind the NAL unit's header.
    pub fn profile(&self) -> [u8; 3] {
        profile(&self.sps)
    }

    /// The codec string (RFC 6381, 3.3), such as `avc1.640028`.
    pub fn codec(&self) -> String {
        codec(&self.sps)
    }
}

/// See [`Stream::codec`], of any sequence parameter set.
pub(super) fn codec(sps: &[u8]) -> String {
    let [profile, constraints, level] = profile(sps);
    format!("avc1.{profile:02X}{constraints:02X}{level:02X}")
}

/// See [`Stream::profile`], of any sequence parameter set.
pub(super) fn profile(sps: &[u8]) -> [u8; 3] {
    match sps {
        [_, profile, constraints, level, ..] => [*profile, *constraints, *level],
        _ => [0; 3],
    }
}

/// [`Stream::size`] and [`Stream::high`], read from a sequence parameter set.
///
/// # Errors
///
/// As [`with_repeats`].
pub(super) fn size_and_high(sps: &[u8]) -> Result<(PictureSize, Option<[u8; 3]>), H264Error> {
    Sps::parse(sps).map(|sps| (sps.size, sps.high))
}

/// Shows each of `access_units` (Annex B, the first an IDR with its parameter sets) as the
/// number of pictures that stands at its place in `pictures`.
///
/// # Errors
///
/// An [`H264Error`] for anything but what x264 writes with one slice a picture, no B-frames
/// and no weighted prediction. Counts that are missing are taken to be 1.
pub fn with_repeats(access_units: &[Vec<u8>], pictures: &[u32]) -> Result<Stream, H264Error> {
    let mut parameters: Option<Parameters> = None;
    let mut coded = Vec::new();
    // Advances by 2: counts of frames are even, those of their bottom fields odd.
    let mut order = 0_u16;
    let counts = pictures.iter().copied().chain(std::iter::repeat(1));
    for ((access_unit, bytes), count) in access_units.iter().enumerate().zip(counts) {
        if !(1..=MAX_PICTURES_OF_A_FRAME).contains(&count) {
            return Err(H264Error::PictureCount { access_unit, pictures: count });
        }
        let units = Units::collect(bytes, access_unit)?;
        let known = match parameters.take() {
            None => Parameters::parse(&units, access_unit)?,
            Some(known) if known.are_those_of(&units) => known,
            Some(_) => return Err(H264Error::ChangedParameters { access_unit }),
        };
        let idr = nal_type(units.slice) == nal::IDR_SLICE;
        if access_unit == 0 && !idr {
            return Err(H264Error::Missing { access_unit, what: "an IDR picture" });
        }
        if idr {
            order = 0;
        }
        let rewritten = slice::rewrite(units.slice, &known.sps, known.pps, order)?;
        coded.push(CodedPicture { nal: rewritten.nal, idr, reference: true });
        for _ in 1..count {
            order = order.wrapping_add(2);
            let nal = slice::repeat(&known.sps, rewritten.frame_num, order);
            coded.push(CodedPicture { nal, idr: false, reference: false });
        }
        order = order.wrapping_add(2);
        parameters = Some(known);
    }
    let known = parameters.ok_or(H264Error::Missing { access_unit: 0, what: "any data" })?;
    Ok(Stream {
        sps: known.sps.rewritten,
        pps: [known.pps_bytes, params::repeat_pps()],
        size: known.sps.size,
        high: known.sps.high,
        pictures: coded,
    })
}

/// nal_unit_type of a NAL unit (7.3.1); 0, which no unit has, when there is no byte.
pub(super) fn nal_type(unit: &[u8]) -> u8 {
    unit.first().map_or(0, |head| head & 31)
}

/// Whether other pictures may be predicted from this one: nal_ref_idc of one of its slices.
pub(super) fn is_reference(slice: &[u8]) -> bool {
    slice.first().is_some_and(|head| head >> 5 & 3 > 0)
}

/// The NAL units of an access unit that matter.
struct Units<'a> {
    sps: Option<&'a [u8]>,
    pps: Option<&'a [u8]>,
    slice: &'a [u8],
}

impl<'a> Units<'a> {
    fn collect(bytes: &'a [u8], access_unit: usize) -> Result<Self, H264Error> {
        let (mut sps, mut pps, mut slice) = (None, None, None);
        for unit in nal::split(bytes) {
            let place = match nal_type(unit) {
                nal::SPS => &mut sps,
                nal::PPS => &mut pps,
                nal::SLICE | nal::IDR_SLICE => &mut slice,
                // Nothing that a player needs: x264 tells its settings in SEI.
                nal::SEI
                | nal::DELIMITER
                | nal::END_OF_SEQUENCE
                | nal::END_OF_STREAM
                | nal::FILLER => continue,
                nal_type => return Err(H264Error::UnexpectedNal { nal_type }),
            };
            if place.replace(unit).is_some() {
                return Err(H264Error::Unsupported {
                    what: "more than one slice or parameter set of a kind in an access unit",
                });
            }
        }
        let slice = slice.ok_or(H264Error::Missing { access_unit, what: "a picture" })?;
        Ok(Self { sps, pps, slice })
    }
}

struct Parameters {
    sps_bytes: Vec<u8>,
    pps_bytes: Vec<u8>,
    sps: Sps,
    pps: Pps,
}

impl Parameters {
    fn parse(units: &Units<'_>, access_unit: usize) -> Result<Self, H264Error> {
        let missing = |what| H264Error::Missing { access_unit, what };
        let sps = units.sps.ok_or(missing("a sequence parameter set"))?;
        let pps = units.pps.ok_or(missing("a picture parameter set"))?;
        Ok(Self {
            sps: Sps::parse(sps)?,
            pps: Pps::parse(pps)?,
            sps_bytes: sps.to_vec(),
            pps_bytes: pps.to_vec(),
        })
    }

    fn are_those_of(&self, units: &Units<'_>) -> bool {
        units.sps.is_none_or(|sps| sps == self.sps_bytes)
            && units.pps.is_none_or(|pps| pps == self.pps_bytes)
    }
}
