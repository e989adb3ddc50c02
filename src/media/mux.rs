//! A plan and what the encoder made of its frames become one media file.

use super::error::MediaError;
use super::sample::Sample;
use super::timeline::{PictureSize, SegmentPlan};
use super::{Container, fmp4, h264, ts};

/// A media file, and the init file it needs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Muxed {
    /// The media file.
    pub media: Vec<u8>,
    /// The init file (fMP4): the same bytes for the same format.
    pub init: Option<Vec<u8>>,
}

/// Makes one media file of `access_units`: Annex B, one for each frame of the plan, the first
/// an IDR with its parameter sets, all pictures of `size`.
///
/// # Errors
///
/// When the access units do not fit the plan, or are not what [`h264::with_repeats`] takes.
pub fn mux(
    container: Container,
    size: PictureSize,
    plan: &SegmentPlan,
    access_units: &[Vec<u8>],
) -> Result<Muxed, MediaError> {
    if plan.showings.len() != access_units.len() {
        return Err(MediaError::FrameCount {
            planned: plan.showings.len(),
            encoded: access_units.len(),
        });
    }
    let counts: Vec<u32> = plan.showings.iter().map(|showing| showing.pictures).collect();
    let stream = h264::with_repeats(access_units, &counts)?;
    if stream.size != size {
        return Err(MediaError::Size { planned: size, encoded: stream.size });
    }
    let times = plan.showings.iter().flat_map(|showing| {
        // From one picture's start to the next, so that rounding loses no tick.
        let start_of = |index: u32| {
            let part = u128::from(showing.duration_ticks) * u128::from(index)
                / u128::from(showing.pictures.max(1));
            showing.start_ticks.saturating_add(u64::try_from(part).unwrap_or(u64::MAX))
        };
        (0..showing.pictures).map(move |index| (start_of(index), start_of(index + 1)))
    });
    let samples: Vec<Sample<'_>> = times
        .zip(&stream.pictures)
        .map(|((start_ticks, end_ticks), picture)| Sample {
            start_ticks,
            duration_ticks: end_ticks - start_ticks,
            picture,
        })
        .collect();
    Ok(match container {
        Container::Ts => Muxed { media: ts::file(&stream, &samples), init: None },
        Container::Fmp4 => Muxed { media: fmp4::file(&samples)?, init: Some(fmp4::init(&stream)?) },
    })
}
