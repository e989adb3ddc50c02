//! The helper process: reads jobs from stdin, writes what becomes of them to stdout, and can do
//! nothing else.
//!
//! Architecture invariant: no byte of a job is read before [`sandbox::enter`] returned.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;

use bytes::Bytes;

use super::protocol::{
    self, Done, FrameHeader, FromHelper, MAX_FILE_BYTES, MAX_FRAMES, MAX_JPEG_BYTES, PREFIX_BYTES,
    ProtocolError, SegmentHeader, ToHelper,
};
use super::{CodecError, EncodeJob, EncodeOutcome, Encoder, JobFrame, Step, native, sandbox};

#[cfg(feature = "failpoints")]
mod orders;

/// Why a helper ends other than because it was told to.
#[derive(Debug, thiserror::Error)]
enum HelperError {
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// A pipe without a buffer in between: what goes through is either short or large.
struct Pipe<F>(F);

impl<F: AsFd> Read for Pipe<F> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(&self.0, into)?)
    }
}

impl<F: AsFd> Write for Pipe<F> {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(&self.0, from)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Serves jobs until stdin ends. The whole life of a helper process: to be called before
/// anything else was opened or any thread was started.
///
/// # Errors
/// The worker is gone or does not speak this protocol, or FFmpeg's libraries are not what they
/// should be; one sentence.
pub fn serve() -> Result<(), String> {
    native::close_inherited();
    let mut stdin = Pipe(io::stdin());
    let mut stdout = Pipe(io::stdout());
    jobs(&mut stdin, &mut stdout).map_err(|error| error.to_string())
}

fn jobs(stdin: &mut impl Read, stdout: &mut impl Write) -> Result<(), HelperError> {
    let Some(setup) = receive(stdin)? else { return Ok(()) };
    let ToHelper::Setup { settings, memory_limit_bytes } = setup else {
        return Err(ProtocolError::OutOfTurn("no setup").into());
    };
    let mut encoder = Encoder::new(settings)?;
    encoder.warm_up()?;
    let sandbox = sandbox::enter(memory_limit_bytes);
    send(stdout, &FromHelper::Ready { sandbox })?;
    loop {
        match receive(stdin)? {
            None => return Ok(()),
            Some(ToHelper::Setup { .. }) => {
                return Err(ProtocolError::OutOfTurn("a second setup").into());
            }
            Some(ToHelper::Job { stream, frames }) => {
                let job = EncodeJob { stream, frames: receive_frames(stdin, &frames)? };
                answer(stdout, &mut encoder, &job)?;
            }
            #[cfg(feature = "failpoints")]
            Some(ToHelper::Probe) => send(stdout, &FromHelper::Probed(orders::probe()))?,
        }
    }
}

/// The next message; none at the end of the pipe.
fn receive(stdin: &mut impl Read) -> Result<Option<ToHelper>, ProtocolError> {
    let mut prefix = [0; PREFIX_BYTES];
    match stdin.read_exact(&mut prefix) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let header = receive_bytes(stdin, protocol::header_bytes(prefix)?)?;
    protocol::decode(&header).map(Some)
}

fn receive_frames(
    stdin: &mut impl Read,
    headers: &[FrameHeader],
) -> Result<Vec<JobFrame>, ProtocolError> {
    protocol::checked_u32("list of frames", headers.len(), MAX_FRAMES)?;
    headers
        .iter()
        .map(|header| {
            let bytes = protocol::checked_len("JPEG", header.jpeg_bytes, MAX_JPEG_BYTES)?;
            let jpeg = Bytes::from(receive_bytes(stdin, bytes)?);
            let FrameHeader { captured_at, ref caption, .. } = *header;
            Ok(JobFrame { captured_at, jpeg, caption: caption.clone() })
        })
        .collect()
}

/// Exactly `len` bytes, straight into their own buffer.
fn receive_bytes(stdin: &mut impl Read, len: usize) -> Result<Vec<u8>, ProtocolError> {
    let mut bytes = Vec::with_capacity(len);
    let limit = u64::try_from(len).unwrap_or(u64::MAX);
    match stdin.take(limit).read_to_end(&mut bytes)? == len {
        true => Ok(bytes),
        false => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
    }
}

fn answer(
    stdout: &mut impl Write,
    encoder: &mut Encoder,
    job: &EncodeJob,
) -> Result<(), HelperError> {
    let mut told = Ok(());
    let outcome = encoder.encode_reporting(job, |step| {
        let message = match step {
            Step::Frame(index) => FromHelper::Frame(index),
            Step::Encoding => FromHelper::Encoding,
        };
        if told.is_ok() {
            told = send(stdout, &message);
        }
        #[cfg(feature = "failpoints")]
        if let Step::Frame(index) = step {
            orders::obey(job, index);
        }
    });
    told?;
    match outcome {
        Ok(outcome) => Ok(send_outcome(stdout, &outcome)?),
        Err(error) => Ok(send(stdout, &FromHelper::Failed { detail: error.to_string() })?),
    }
}

fn send(stdout: &mut impl Write, message: &FromHelper) -> Result<(), ProtocolError> {
    Ok(stdout.write_all(&protocol::encode(message)?)?)
}

fn send_outcome(stdout: &mut impl Write, outcome: &EncodeOutcome) -> Result<(), ProtocolError> {
    let length = |file: &Bytes| protocol::checked_u32("file", file.len(), MAX_FILE_BYTES);
    let segments = outcome.segments.iter().map(|segment| {
        Ok(SegmentHeader {
            media_bytes: length(&segment.media)?,
            init_bytes: segment.init.as_ref().map(length).transpose()?,
            frames: segment.frames.clone(),
            duration_millis: segment.duration_millis,
            captured_at: segment.captured_at,
            discontinuity: segment.discontinuity,
            size: segment.size,
        })
    });
    let done = Done {
        segments: segments.collect::<Result<_, ProtocolError>>()?,
        rejected: outcome.rejected.clone(),
        timeline: outcome.timeline,
        cpu_micros: outcome.cpu_micros,
    };
    send(stdout, &FromHelper::Done(done))?;
    for segment in &outcome.segments {
        stdout.write_all(&segment.media)?;
        if let Some(init) = &segment.init {
            stdout.write_all(init)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::StreamSoFar;
    use crate::encode::{EncodeSettings, Quality};
    use crate::media::timeline::TimelineSettings;
    use crate::media::{Container, Playback};
    use crate::model::UtcMillis;

    fn settings() -> EncodeSettings {
        EncodeSettings {
            container: Container::Ts,
            max_width: 1920,
            quality: Quality::Standard,
            timeline: TimelineSettings {
                playback: Playback::Realtime,
                max_segment_millis: 45_000,
                default_interval_millis: 5_000,
                encoding: 0,
            },
            watermark: None,
        }
    }

    #[test]
    fn a_job_before_the_setup_is_refused() {
        let job = ToHelper::Job { stream: StreamSoFar::NEW, frames: Vec::new() };
        let mut out = Vec::new();
        assert!(jobs(&mut &protocol::encode(&job).unwrap()[..], &mut out).is_err());
        assert!(out.is_empty());
    }

    #[test]
    fn the_end_of_the_pipe_is_the_end_of_the_work() {
        assert!(jobs(&mut &[][..], &mut Vec::new()).is_ok());
    }

    #[test]
    fn the_answer_names_each_frame_and_then_the_outcome() {
        let jpeg = Bytes::from_static(b"<html>");
        let frame = JobFrame { captured_at: UtcMillis(0), jpeg, caption: None };
        let job = EncodeJob { stream: StreamSoFar::NEW, frames: vec![frame.clone(), frame] };
        let mut out = Vec::new();
        answer(&mut out, &mut Encoder::new(settings()).unwrap(), &job).unwrap();
        let mut messages = Vec::new();
        let mut rest = &out[..];
        while let Some((prefix, after)) = rest.split_first_chunk() {
            let (header, after) = after.split_at(protocol::header_bytes(*prefix).unwrap());
            messages.push(protocol::decode::<FromHelper>(header).unwrap());
            rest = after;
        }
        assert_eq!(messages[..2], [FromHelper::Frame(0), FromHelper::Frame(1)]);
        assert_eq!(messages[2], FromHelper::Encoding);
        let FromHelper::Done(done) = &messages[3] else { panic!("{:?}", messages[3]) };
        assert_eq!((done.segments.len(), done.rejected.len()), (0, 2));
    }
}
