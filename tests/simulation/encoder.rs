//! Encoders that lay out media time as the real ones do and make real files of it, of a picture
//! that was written once. They can be slow, die, and refuse frames.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use stream_processor::encode::{EncodeError, EncodeJob, EncodeOutcome, FrameFault, RejectedFrame};
use stream_processor::media::timeline::{PictureSize, SegmentPlan, TimelineSettings};
use stream_processor::media::{Container, Playback, mux};
use stream_processor::pipeline::ports::Encode;

use crate::plan::Breakdown;
use crate::planned::planned;
use crate::process::Process;

/// What a JPEG holds that does not decode.
pub const BAD: &[u8] = b"bad";
/// What a JPEG holds that no helper survives.
pub const POISON: &[u8] = b"poison";

const SIZE: PictureSize = PictureSize { width: 32, height: 16 };

/// An IDR picture of 32x16 pixels with its parameter sets, in Annex B.
const PICTURE: &[u8] = b"\x00\x00\x00\x01\x67\x4d\x40\x0a\xed\x17\x20\
    \x00\x00\x00\x01\x68\xee\x3c\x80\
    \x00\x00\x00\x01\x65\x88\x84\x02\xbf\xde\xad\xbe\xef\x00\x04";

/// The encoders of one process.
pub struct WorkerEncoder(pub Arc<Process>);

#[async_trait]
impl Encode for WorkerEncoder {
    async fn encode(&self, job: EncodeJob) -> Result<EncodeOutcome, EncodeError> {
        let process = &self.0;
        process.takes(20).await;
        let died = || EncodeError::Died { deaths: 3, reason: "signal: 9".into() };
        match process.encoder_failure() {
            Some(Breakdown::NoHelper) => {
                return Err(EncodeError::Start { starts: 4, reason: "no memory".into() });
            }
            Some(Breakdown::Died) => return Err(died()),
            Some(Breakdown::Slow) => {
                tokio::time::sleep(Duration::from_secs(4)).await;
                process.go_on().await;
            }
            None => {}
        }
        if job.frames.iter().any(|frame| frame.jpeg == POISON) {
            return Err(died());
        }
        Ok(encode(&job, process.world.plan.is_fmp4))
    }
}

fn encode(job: &EncodeJob, is_fmp4: bool) -> EncodeOutcome {
    let is_bad = |index: &usize| job.frames[*index].jpeg == BAD;
    let (bad, good): (Vec<_>, Vec<_>) = (0..job.frames.len()).partition(is_bad);
    let settings = TimelineSettings {
        playback: Playback::Realtime,
        max_segment_millis: job.stream.max_segment_millis,
        default_interval_millis: 1_000,
        encoding: 1,
    };
    let container = if is_fmp4 { Container::Fmp4 } else { Container::Ts };
    let media = |segment: &SegmentPlan, _| {
        let units = vec![PICTURE.to_vec(); segment.showings.len()];
        let muxed = mux(container, SIZE, segment, &units).unwrap();
        (Bytes::from(muxed.media), muxed.init.map(Bytes::from))
    };
    let (segments, timeline) = planned(job, &good, SIZE, settings, media);
    let rejected = |frame| {
        let detail = "it does not decode".into();
        RejectedFrame { frame, fault: FrameFault::Undecodable, detail }
    };
    let rejected = bad.into_iter().map(rejected).collect();
    EncodeOutcome { segments, rejected, timeline, cpu_micros: 0 }
}
