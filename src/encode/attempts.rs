//! What to do with a job whose helper died: whom to blame, whom to leave out, when to give up
//! (pure).
//!
//! A frame is left out when two helpers died, or were too slow, over it. Once could be the
//! kernel's choice when memory ran out, or a machine that was paused; a frame must not be lost
//! to that.

use super::error::EncodeError;
use super::helper_process::JobFault;
use super::protocol::{MAX_FRAMES, MAX_JPEG_BYTES};
use super::{EncodeJob, EncodeOutcome, FrameFault, JobFrame, RejectedFrame, StreamSoFar};

/// How often a helper may die at no frame before the job fails.
const MAX_UNBLAMED_DEATHS: u32 = 3;

/// A job and what has been learnt about its frames.
pub(super) struct Attempts {
    job: EncodeJob,
    /// The indexes in the job of the frames that are still tried, ascending.
    tried: Vec<usize>,
    /// Frames that a helper died over once.
    suspects: Vec<usize>,
    rejected: Vec<RejectedFrame>,
    unblamed_deaths: u32,
}

impl Attempts {
    /// The job as it was given; frames too large to send are left out already.
    pub fn new(job: EncodeJob) -> Result<Self, EncodeError> {
        let frames = job.frames.len();
        if frames == 0 || frames > MAX_FRAMES {
            return Err(EncodeError::Frames { frames, limit: MAX_FRAMES });
        }
        let (tried, too_large): (Vec<_>, Vec<_>) =
            (0..frames).zip(&job.frames).partition(|(_, frame)| frame.jpeg.len() <= MAX_JPEG_BYTES);
        let rejected = too_large.into_iter().map(|(frame, JobFrame { jpeg, .. })| RejectedFrame {
            frame,
            fault: FrameFault::TooLarge,
            detail: format!("{} bytes; at most {MAX_JPEG_BYTES} are taken", jpeg.len()),
        });
        let rejected = rejected.collect();
        let tried = tried.into_iter().map(|(index, _)| index).collect();
        Ok(Self { job, tried, suspects: Vec::new(), rejected, unblamed_deaths: 0 })
    }

    /// What was before the job.
    pub fn stream(&self) -> StreamSoFar {
        self.job.stream
    }

    /// The frames to try next.
    pub fn frames(&self) -> Vec<JobFrame> {
        self.tried.iter().filter_map(|&index| self.job.frames.get(index)).cloned().collect()
    }

    /// Learns from an attempt that failed.
    ///
    /// # Errors
    /// Another attempt would fail as well.
    pub fn failed(&mut self, fault: JobFault) -> Result<(), EncodeError> {
        let (at, fault, detail) = match fault {
            JobFault::Failed { detail } => return Err(EncodeError::Failed { detail }),
            JobFault::Died { at, how } => (at, FrameFault::Crashed, how),
            JobFault::TimedOut { at } => {
                (at, FrameFault::TimedOut, "the helper took too long".to_owned())
            }
        };
        let Some(frame) = at.and_then(|at| self.tried.get(at).copied()) else {
            self.unblamed_deaths += 1;
            return match self.unblamed_deaths < MAX_UNBLAMED_DEATHS {
                true => Ok(()),
                false => Err(EncodeError::Died { deaths: self.unblamed_deaths, reason: detail }),
            };
        };
        if self.suspects.contains(&frame) {
            self.tried.retain(|&index| index != frame);
            self.rejected.push(RejectedFrame { frame, fault, detail });
        } else {
            self.suspects.push(frame);
        }
        Ok(())
    }

    /// The job's outcome, given that of the frames that were tried last.
    pub fn finish(mut self, mut outcome: EncodeOutcome) -> EncodeOutcome {
        let in_job = |at: usize| self.tried.get(at).copied().unwrap_or(at);
        for segment in &mut outcome.segments {
            segment.frames.iter_mut().for_each(|at| *at = in_job(*at));
        }
        outcome.rejected.iter_mut().for_each(|rejected| rejected.frame = in_job(rejected.frame));
        outcome.rejected.append(&mut self.rejected);
        outcome.rejected.sort_by_key(|rejected| rejected.frame);
        outcome
    }

    /// The outcome when every frame was left out.
    pub fn nothing_left(self) -> EncodeOutcome {
        let timeline = self.job.stream.timeline;
        let nothing =
            EncodeOutcome { segments: Vec::new(), rejected: Vec::new(), timeline, cpu_micros: 0 };
        self.finish(nothing)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::model::UtcMillis;

    fn job(frames: usize) -> Attempts {
        let jpeg = Bytes::from_static(b"x");
        let frame = JobFrame { captured_at: UtcMillis(0), jpeg, caption: None };
        Attempts::new(EncodeJob { stream: StreamSoFar::NEW, frames: vec![frame; frames] }).unwrap()
    }

    fn died(at: Option<usize>) -> JobFault {
        JobFault::Died { at, how: "signal 11".to_owned() }
    }

    #[test]
    fn a_frame_is_left_out_when_it_killed_two_helpers() {
        let mut attempts = job(3);
        attempts.failed(died(Some(1))).unwrap();
        assert_eq!(attempts.frames().len(), 3);
        attempts.failed(died(Some(1))).unwrap();
        assert_eq!(attempts.frames().len(), 2);
        let outcome = attempts.nothing_left();
        assert_eq!(outcome.rejected[0].frame, 1);
        assert_eq!(outcome.rejected[0].fault, FrameFault::Crashed);
    }

    #[test]
    fn indexes_count_in_the_job_whatever_was_left_out_before() {
        let mut attempts = job(4);
        for at in [0, 0, 1, 1] {
            attempts.failed(died(Some(at))).unwrap();
        }
        let outcome = EncodeOutcome {
            segments: Vec::new(),
            rejected: vec![RejectedFrame {
                frame: 1,
                fault: FrameFault::Undecodable,
                detail: String::new(),
            }],
            timeline: None,
            cpu_micros: 0,
        };
        let rejected = attempts.finish(outcome).rejected;
        let frames: Vec<_> = rejected.iter().map(|rejected| rejected.frame).collect();
        assert_eq!(frames, [0, 2, 3]);
    }

    #[test]
    fn deaths_at_no_frame_end_the_job_and_not_the_pool() {
        let mut attempts = job(2);
        attempts.failed(died(None)).unwrap();
        attempts.failed(JobFault::TimedOut { at: None }).unwrap();
        let error = attempts.failed(died(None)).unwrap_err();
        assert!(matches!(error, EncodeError::Died { deaths: 3, .. }), "{error}");
    }

    #[test]
    fn an_empty_job_is_refused() {
        assert!(Attempts::new(EncodeJob { stream: StreamSoFar::NEW, frames: Vec::new() }).is_err());
    }
}
