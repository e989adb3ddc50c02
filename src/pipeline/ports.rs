//! What the pipeline asks of a stage that a test or a simulation may replace.

use std::error::Error;
use std::time::Duration;

use async_trait::async_trait;

use super::accumulator::HeldFrame;
use crate::encode::{EncodeError, EncodeJob, EncodeOutcome, EncoderPool};
use crate::model::{DeviceKey, UtcMillis};
use crate::source::Refusal;
use crate::store::DeviceState;

/// Turns JPEGs into segments.
#[async_trait]
pub trait Encode: Send + Sync {
    /// See [`EncoderPool::encode`].
    async fn encode(&self, job: EncodeJob) -> Result<EncodeOutcome, EncodeError>;
}

#[async_trait]
impl Encode for EncoderPool {
    async fn encode(&self, job: EncodeJob) -> Result<EncodeOutcome, EncodeError> {
        Self::encode(self, job).await
    }
}

/// One commit, for whoever is told of it.
#[derive(Clone, Copy, Debug)]
pub struct Committed<'a> {
    /// The device's state after it.
    pub state: &'a DeviceState,
    /// The frames that are durable now.
    pub frames: &'a [HeldFrame],
    /// How many segments.
    pub segments: u64,
    /// Their media files' bytes.
    pub media_bytes: u64,
    /// How long the commit took.
    pub took: Duration,
    /// When it ended.
    pub now: UtcMillis,
}

/// Who is told what happened to a group: metrics, the log, the board of devices. Never blocks.
pub trait Observer: Send + Sync {
    /// A job came back from the encoders.
    fn encoded(&self, outcome: &EncodeOutcome, took: Duration);
    /// A group's segments are durable.
    fn committed(&self, device: &DeviceKey, commit: &Committed<'_>);
    /// A frame was committed before: it was delivered again.
    fn duplicate(&self, device: &DeviceKey, frame: &HeldFrame);
    /// A frame goes to the dead-letter topic.
    fn refused(&self, device: &DeviceKey, frame: &HeldFrame, refusal: &Refusal);
    /// A group cannot go on now; it is tried again after `delay`.
    fn trouble(
        &self,
        device: &DeviceKey,
        reason: &'static str,
        trouble: &(dyn Error + 'static),
        delay: Duration,
    );
}
