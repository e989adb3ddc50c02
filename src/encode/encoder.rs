//! A job from first to last in one thread: decode, plan, encode, mux. What a helper process
//! runs, and what a program that trusts its JPEGs may call without one.

use std::sync::Once;

use bytes::Bytes;
use ffmpeg_next::format::Pixel;
use ffmpeg_next::frame;

use super::decode::{Rejection, decode, inspect};
use super::geometry::{Turn, shown_size};
use super::scale::Scaler;
use super::watermark::Stamp;
use super::{
    EncodeJob, EncodeOutcome, EncodeSettings, EncodedSegment, FrameFault, JobFrame, RejectedFrame,
    native, x264,
};
use crate::media::timeline::{PictureSize, SegmentPlan, ShownFrame, TICKS_PER_MILLI, plan};
use crate::media::{MediaError, Playback, mux};

/// Pictures a second of a stream in real time: [`crate::media`] repeats a picture that often.
const REALTIME_PICTURES_PER_SECOND: u32 = 2;

/// Before the first use of FFmpeg's libraries: their log is silenced, since what they say of a
/// frame is in its rejection, and their error texts are loaded.
static LIBRARIES: Once = Once::new();

/// Why a job came to nothing, though its frames may be good.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// FFmpeg was built without it.
    #[error("FFmpeg's libraries here have no {codec}: install a build that has it")]
    Missing {
        /// What is missing.
        codec: &'static str,
    },
    /// A call failed that has no reason to.
    #[error("{call} failed: {source}")]
    Library {
        /// Which call.
        call: &'static str,
        /// What the library says.
        source: ffmpeg_next::Error,
    },
    /// The memory limit is too low for such a picture, or the machine has none left.
    #[error("no memory for a picture of {width}x{height}: raise the helper's memory limit")]
    NoMemory {
        /// In pixels.
        width: u32,
        /// In pixels.
        height: u32,
    },
    /// The encoder kept pictures, or made two of one.
    #[error("the encoder made {units} access units of {pictures} pictures")]
    Count {
        /// Pictures that went in.
        pictures: usize,
        /// Access units that came out.
        units: usize,
    },
    /// The font that is built in cannot be read.
    #[error("the watermark's font is broken ({reason}): build the program anew")]
    Font {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The encoder's output could not be put into the container.
    #[error("writing the segment: {0}")]
    Media(#[from] MediaError),
}

/// How far a job is: told before the step begins, so that whoever watches knows what to blame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// The frame of this index is decoded next.
    Frame(usize),
    /// All frames are decoded; the good ones are encoded next.
    Encoding,
}

/// Encodes jobs in the calling thread.
pub struct Encoder {
    settings: EncodeSettings,
    scaler: Scaler,
    stamp: Option<Stamp>,
}

/// A frame that will be shown.
struct Good {
    /// Its index in the job.
    index: usize,
    picture: frame::Video,
}

impl Encoder {
    /// An encoder; silences FFmpeg's own log for the whole process.
    ///
    /// # Errors
    /// FFmpeg's libraries lack the JPEG decoder or libx264, or the watermark's font is broken.
    pub fn new(settings: EncodeSettings) -> Result<Self, CodecError> {
        LIBRARIES.call_once(|| {
            ffmpeg_next::log::set_level(ffmpeg_next::log::Level::Quiet);
            ffmpeg_next::error::register_all();
        });
        if ffmpeg_next::decoder::find(ffmpeg_next::codec::Id::MJPEG).is_none() {
            return Err(CodecError::Missing { codec: "mjpeg decoder" });
        }
        if ffmpeg_next::encoder::find_by_name("libx264").is_none() {
            return Err(CodecError::Missing { codec: "libx264" });
        }
        let stamp = settings.watermark.map(Stamp::new).transpose()?;
        Ok(Self { settings, scaler: Scaler::default(), stamp })
    }

    /// Makes the libraries do now what they do on first use: look at the processor, fill their
    /// tables. To be called before the process locks itself in.
    pub(super) fn warm_up(&mut self) -> Result<(), CodecError> {
        let size = PictureSize { width: 64, height: 64 };
        let source = frame::Video::new(Pixel::YUVJ444P, 96, 96);
        let mut picture = self.scaler.convert(&source, size, Turn::from_exif(1))?;
        let quality = self.settings.quality;
        x264::encode_group(std::iter::once(&mut picture), size, quality, 1).map(drop)
    }

    /// Encodes one job.
    ///
    /// # Errors
    /// A library failed; bad frames are no error, they are in the outcome.
    pub fn encode(&mut self, job: &EncodeJob) -> Result<EncodeOutcome, CodecError> {
        self.encode_reporting(job, |_| ())
    }

    /// Encodes one job and tells `report` each step before it begins.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn encode_reporting(
        &mut self,
        job: &EncodeJob,
        mut report: impl FnMut(Step),
    ) -> Result<EncodeOutcome, CodecError> {
        let cpu_before = native::cpu_micros();
        let mut good = Vec::with_capacity(job.frames.len());
        let mut rejected = Vec::new();
        for (index, frame) in job.frames.iter().enumerate() {
            report(Step::Frame(index));
            match self.picture(frame)? {
                Ok(picture) => good.push(Good { index, picture }),
                Err(Rejection { fault, detail }) => {
                    rejected.push(RejectedFrame { frame: index, fault, detail });
                }
            }
        }
        let shown: Vec<ShownFrame> = good.iter().map(|good| good.shown(&job.frames)).collect();
        let mut settings = self.settings.timeline;
        settings.max_segment_millis =
            settings.max_segment_millis.min(job.stream.max_segment_millis);
        let (plans, timeline) = plan(job.stream.timeline.as_ref(), &shown, &settings);
        report(Step::Encoding);
        let mut segments = Vec::with_capacity(plans.len());
        for plan in &plans {
            // A plan's ranges are of the frames it was made of.
            let Some(good) = good.get_mut(plan.frames.clone()) else { continue };
            segments.extend(self.segment(plan, good, &job.frames)?);
        }
        let cpu_micros = native::cpu_micros().saturating_sub(cpu_before);
        Ok(EncodeOutcome { segments, rejected, timeline, cpu_micros })
    }

    /// The frame as it will be shown.
    fn picture(&mut self, frame: &JobFrame) -> Result<Result<frame::Video, Rejection>, CodecError> {
        let header = match inspect(&frame.jpeg) {
            Ok(header) => header,
            Err(rejection) => return Ok(Err(rejection)),
        };
        let decoded = match decode(&frame.jpeg)? {
            Ok(decoded) => decoded,
            Err(rejection) => return Ok(Err(rejection)),
        };
        let turn = Turn::from_exif(header.orientation);
        let stored = PictureSize { width: decoded.width(), height: decoded.height() };
        let upright = turn.apply(stored);
        let Some(size) = shown_size(upright.width, upright.height, self.settings.max_width) else {
            return Ok(Err(Rejection {
                fault: FrameFault::Unsupported,
                detail: format!("{}x{} is too small to show", stored.width, stored.height),
            }));
        };
        let mut picture = self.scaler.convert(&decoded, size, turn)?;
        if let (Some(stamp), Some(caption)) = (&mut self.stamp, &frame.caption) {
            stamp.draw(&mut picture, caption);
        }
        Ok(Ok(picture))
    }

    fn segment(
        &self,
        plan: &SegmentPlan,
        good: &mut [Good],
        frames: &[JobFrame],
    ) -> Result<Option<EncodedSegment>, CodecError> {
        let Some(first) = good.first() else { return Ok(None) };
        let (size, captured_at) = (first.size(), first.shown(frames).captured_at);
        let units = x264::encode_group(
            good.iter_mut().map(|good| &mut good.picture),
            size,
            self.settings.quality,
            self.pictures_per_second(),
        )?;
        let muxed = mux(self.settings.container, size, plan, &units)?;
        let ticks: u64 = plan.showings.iter().map(|showing| showing.duration_ticks).sum();
        Ok(Some(EncodedSegment {
            media: Bytes::from(muxed.media),
            init: muxed.init.map(Bytes::from),
            frames: good.iter().map(|good| good.index).collect(),
            duration_millis: u32::try_from(ticks / TICKS_PER_MILLI).unwrap_or(u32::MAX),
            captured_at,
            discontinuity: plan.discontinuity,
            size,
        }))
    }

    fn pictures_per_second(&self) -> u32 {
        match self.settings.timeline.playback {
            Playback::Realtime => REALTIME_PICTURES_PER_SECOND,
            Playback::Timelapse { frame_rate } => frame_rate,
        }
    }
}

impl Good {
    fn size(&self) -> PictureSize {
        PictureSize { width: self.picture.width(), height: self.picture.height() }
    }

    fn shown(&self, frames: &[JobFrame]) -> ShownFrame {
        let captured_at = frames.get(self.index).map(|frame| frame.captured_at);
        ShownFrame { captured_at: captured_at.unwrap_or_default(), size: self.size() }
    }
}
