//! Why frames did not become a stream.

/// Why a job was not done; its frames may be good.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// No helper could be started.
    #[error("no encode helper could be started in {starts} attempts: {reason}")]
    Start {
        /// How often it was tried.
        starts: u32,
        /// What the last one died of.
        reason: String,
    },
    /// Helpers died again and again, and no frame is to blame.
    #[error("the encode helper died over the job {deaths} times, at no frame: {reason}")]
    Died {
        /// How often.
        deaths: u32,
        /// What the last one died of.
        reason: String,
    },
    /// FFmpeg's libraries failed.
    #[error("the encode helper failed: {detail}")]
    Failed {
        /// What it said.
        detail: String,
    },
    /// The job itself makes no sense.
    #[error("a job of {frames} frames; at least 1 and at most {limit} are taken")]
    Frames {
        /// How many it has.
        frames: usize,
        /// How many are taken.
        limit: usize,
    },
    /// The pool is being closed.
    #[error("the encoder pool is closed")]
    Closed,
}
