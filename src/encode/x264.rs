//! Pictures to H.264 access units: libx264 through libavcodec.
//!
//! What [`crate::media`] needs of the stream to write repeat pictures into it is set here: one
//! slice a picture, no B-frames, no weighted prediction, and one IDR picture, the first, with
//! its parameter sets in band.

use ffmpeg_next::codec::{self, threading};
use ffmpeg_next::format::Pixel;
use ffmpeg_next::util::color;
use ffmpeg_next::{Dictionary, Error, Packet, Rational, encoder, frame};

use super::{CodecError, Quality};
use crate::media::timeline::PictureSize;

/// What every quality shares: see the module. Nothing looks ahead, so that a picture comes out
/// as soon as it went in; `infinite` with no scene cuts keeps the first IDR the only one.
const STRUCTURE: &str = "keyint=infinite:scenecut=0:bframes=0:weightp=0:slices=1:\
    qcomp=0.5:rc-lookahead=0:sync-lookahead=0:mbtree=0";

/// The coding tools, chosen by measurement on x264's cheapest preset; what is put back is worth
/// its time, and the rest moves bits to where SSIM says they show:
/// * CABAC: a third of the bytes for a tenth of the time;
/// * 8x8 transform with 8x8 intra prediction, and a weak deblocking filter: quality for little;
/// * the first picture much finer than the others ([`FIRST_PICTURE_RATIO`]): a fixed camera's
///   background is then copied from it;
/// * `qcomp` 0.5 (x264: 0.6) with a higher rate factor: the same for clean pictures, fewer bytes
///   and less time for noisy ones;
/// * no adaptive quantisation: it spends bits on flat areas, a sky's noise above all.
const TOOLS: &str = "cabac=1:8x8dct=1:analyse=i8x8:no-deblock=0:deblock=-1,-1";

impl Quality {
    /// x264's constant rate factor at [`REFERENCE_RATE`], lower is better.
    fn rate_factor(self) -> f64 {
        match self {
            Self::Low => 29.0,
            Self::Standard => 24.9,
            Self::High => 21.5,
        }
    }
}

/// The pictures a second that the figures here were measured at.
const REFERENCE_RATE: f64 = 2.0;

/// How much finer the first picture is than the others at [`REFERENCE_RATE`] (x264: 1.4).
const FIRST_PICTURE_RATIO: f64 = 2.4;

/// x264 takes pictures that follow each other faster to be worth less: by (1 - qcomp) * 6 steps
/// for each doubling of their rate.
const STEPS_PER_DOUBLING: f64 = 3.0;

/// The rate factor and the first picture's ratio for another rate. Our pictures are seconds
/// apart whatever the stream says, so x264's steps are taken back. Not from the first
/// picture though: that one's quantiser is the rate factor less its ratio, six steps a doubling,
/// at any rate.
fn rate_factor_and_ratio(quality: Quality, pictures_per_second: u32) -> (f64, f64) {
    let doublings = (f64::from(pictures_per_second) / REFERENCE_RATE).log2();
    let steps = STEPS_PER_DOUBLING * doublings;
    (quality.rate_factor() - steps, FIRST_PICTURE_RATIO / (steps / 6.0).exp2())
}

/// Encodes `pictures`, all of one `size`, as one closed group: one access unit each, Annex B.
///
/// `pictures_per_second` is what the stream says of itself and what its level is chosen for.
///
/// # Errors
/// The library is without libx264, or it refuses.
pub(super) fn encode_group<'a>(
    pictures: impl ExactSizeIterator<Item = &'a mut frame::Video>,
    size: PictureSize,
    quality: Quality,
    pictures_per_second: u32,
) -> Result<Vec<Vec<u8>>, CodecError> {
    let failed = |call| move |source| CodecError::Library { call, source };
    let mut encoder =
        open(size, quality, pictures_per_second).map_err(failed("opening libx264"))?;
    let expected = pictures.len();
    let mut units = Vec::with_capacity(expected);
    for (index, picture) in pictures.enumerate() {
        picture.set_pts(i64::try_from(index).ok());
        encoder.send_frame(picture).map_err(failed("encoding"))?;
        drain(&mut encoder, &mut units)?;
    }
    encoder.send_eof().map_err(failed("encoding"))?;
    drain(&mut encoder, &mut units)?;
    match units.len() == expected {
        true => Ok(units),
        false => Err(CodecError::Count { pictures: expected, units: units.len() }),
    }
}

fn open(
    size: PictureSize,
    quality: Quality,
    pictures_per_second: u32,
) -> Result<encoder::video::Encoder, Error> {
    let codec = encoder::find_by_name("libx264").ok_or(Error::EncoderNotFound)?;
    let mut context = codec::Context::new_with_codec(codec);
    context.set_threading(threading::Config { count: 1, ..threading::Config::default() });
    let rate = i32::try_from(pictures_per_second.max(1)).unwrap_or(i32::MAX);
    context.set_time_base(Rational(1, rate));
    context.set_frame_rate(Some(Rational(rate, 1)));
    let mut video = context.encoder().video()?;
    video.set_width(size.width);
    video.set_height(size.height);
    video.set_format(Pixel::YUV420P);
    // See the scaling: BT.601's matrix (6 is the number that browsers know best), sRGB's
    // primaries, which are BT.709's, and a curve that players treat as sRGB's.
    video.set_colorspace(color::Space::SMPTE170M);
    video.set_color_range(color::Range::MPEG);
    video.set_color_primaries(color::Primaries::BT709);
    video.set_color_transfer_characteristic(color::TransferCharacteristic::BT709);
    let mut options = Dictionary::new();
    options.set("preset", "ultrafast");
    let (factor, ratio) = rate_factor_and_ratio(quality, pictures_per_second.max(1));
    options.set("crf", &format!("{factor:.2}"));
    // JFIF 1.02 puts chroma samples between the luma samples.
    options.set("chroma_sample_location", "center");
    options.set("x264-params", &format!("{STRUCTURE}:{TOOLS}:ipratio={ratio:.3}"));
    video.open_as_with(codec, options)
}

fn drain(
    encoder: &mut encoder::video::Encoder,
    units: &mut Vec<Vec<u8>>,
) -> Result<(), CodecError> {
    loop {
        let mut packet = Packet::empty();
        match encoder.receive_packet(&mut packet) {
            Ok(()) => units.push(packet.data().unwrap_or_default().to_vec()),
            Err(Error::Eof) => return Ok(()),
            Err(Error::Other { errno }) if errno == ffmpeg_next::error::EAGAIN => return Ok(()),
            Err(source) => return Err(CodecError::Library { call: "encoding", source }),
        }
    }
}
