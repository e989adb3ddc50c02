//! One helper process seen from the worker: starting it, giving it a job, ending it.
//!
//! Nothing that a helper says is believed without a check: it may have been taken over by a
//! picture. Dropping a [`HelperProcess`] kills it.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::protocol::{
    self, Done, FrameHeader, FromHelper, MAX_FILE_BYTES, MAX_JPEG_BYTES, PREFIX_BYTES,
    ProtocolError, SegmentHeader, ToHelper,
};
use super::settings::PoolSettings;
use super::{EncodeOutcome, EncodedSegment, JobFrame, Sandbox, StreamSoFar};
use crate::media::timeline::Timeline;

/// The hidden subcommand that makes the binary a helper.
const SUBCOMMAND: &str = "encode-helper";

/// How long a helper may take to load its libraries.
const START_LIMIT: Duration = Duration::from_secs(20);

/// How long a helper that closed its pipe may take to be gone.
const EXIT_LIMIT: Duration = Duration::from_secs(2);

/// What a pipe holds: the most that an unprivileged process may ask for (pipe(7)); fewer wakes
/// for a job of several megabytes.
const PIPE_BYTES: usize = 1 << 20;

/// How much of a helper's last words is kept.
const LAST_WORDS_BYTES: usize = 1_024;

/// glibc's allocator keeps what a job used for the next one, instead of having the kernel zero
/// the same megabytes again, and asks for large pages. Other C libraries ignore it.
const ALLOCATOR: (&str, &str) = (
    "GLIBC_TUNABLES",
    "glibc.malloc.mmap_threshold=1073741824:glibc.malloc.trim_threshold=1073741824",
);

/// Why a job was not finished by a helper. Whatever it is, that helper is not used again.
#[derive(Debug)]
pub(super) enum JobFault {
    /// The helper is gone, or spoke nonsense.
    Died { at: Option<usize>, how: String },
    /// The helper was too slow.
    TimedOut { at: Option<usize> },
    /// The helper says that it cannot.
    Failed { detail: String },
}

/// A helper that is ready for a job.
pub(super) struct HelperProcess {
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
    last_words: JoinHandle<String>,
    pub sandbox: Sandbox,
}

impl HelperProcess {
    /// Starts one and waits until it has locked itself in.
    ///
    /// # Errors
    /// One sentence: the binary is missing, or what it died of.
    pub async fn start(settings: &PoolSettings) -> Result<Self, String> {
        let mut command = Command::new(&settings.command);
        command.arg(SUBCOMMAND).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Tokens and passwords are none of its business.
        command.env_clear().env(ALLOCATOR.0, ALLOCATOR.1);
        command.envs(std::env::var_os("LD_LIBRARY_PATH").map(|path| ("LD_LIBRARY_PATH", path)));
        let mut child = command
            .kill_on_drop(true)
            // Ctrl-C at a terminal goes to the whole group of the worker, which then needs its
            // helpers to finish what is under way.
            .process_group(0)
            .spawn()
            .map_err(|error| format!("{}: {error}", settings.command.display()))?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err("its pipes are missing".to_owned());
        };
        // Smaller pipes work as well.
        let _ = rustix::pipe::fcntl_setpipe_size(&stdin, PIPE_BYTES);
        let _ = rustix::pipe::fcntl_setpipe_size(&stdout, PIPE_BYTES);
        let last_words = tokio::spawn(last_words(stderr));
        let mut helper = Self { child, stdin, stdout, last_words, sandbox: Sandbox::default() };
        match timeout(START_LIMIT, helper.set_up(settings)).await {
            Ok(Ok(sandbox)) => Ok(Self { sandbox, ..helper }),
            Ok(Err(error)) => Err(helper.post_mortem(&error).await),
            Err(_) => Err(format!("not ready after {} s", START_LIMIT.as_secs())),
        }
    }

    async fn set_up(&mut self, settings: &PoolSettings) -> Result<Sandbox, ProtocolError> {
        let setup = ToHelper::Setup {
            settings: settings.encode,
            memory_limit_bytes: settings.memory_limit_bytes,
        };
        self.stdin.write_all(&protocol::encode(&setup)?).await?;
        match self.receive().await? {
            FromHelper::Ready { sandbox } => Ok(sandbox),
            _ => Err(ProtocolError::OutOfTurn("not ready")),
        }
    }

    /// Runs a job of `frames`. Indexes in what comes back are into `frames`, and checked.
    ///
    /// `frame_limit` is the longest that one frame may take, all of it; decoding and encoding
    /// each.
    pub async fn run(
        &mut self,
        stream: StreamSoFar,
        frames: &[JobFrame],
        frame_limit: Duration,
    ) -> Result<EncodeOutcome, JobFault> {
        match timeout(frame_limit, self.submit(stream, frames)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(self.died(None, &error).await),
            Err(_) => return Err(JobFault::TimedOut { at: None }),
        }
        let mut at = None;
        let mut begun = 0;
        let mut encoding = false;
        let mut limit = frame_limit;
        loop {
            let message = match timeout(limit, self.receive()).await {
                Ok(Ok(message)) => message,
                Ok(Err(error)) => return Err(self.died(at, &error).await),
                Err(_) => return Err(JobFault::TimedOut { at }),
            };
            match message {
                // Each step once: or a helper could go on for ever, a step at a time.
                FromHelper::Frame(index) if index == begun && index < frames.len() => {
                    at = Some(index);
                    begun += 1;
                }
                FromHelper::Encoding if !encoding => {
                    at = None;
                    begun = frames.len();
                    encoding = true;
                    limit = frame_limit.saturating_mul(u32::try_from(frames.len()).unwrap_or(1));
                }
                FromHelper::Done(done) => {
                    return match timeout(limit, self.outcome(done, stream.timeline, frames)).await {
                        Ok(Ok(outcome)) => Ok(outcome),
                        Ok(Err(error)) => Err(self.died(None, &error).await),
                        Err(_) => Err(JobFault::TimedOut { at: None }),
                    };
                }
                FromHelper::Failed { detail } => return Err(JobFault::Failed { detail }),
                _ => {
                    let error = ProtocolError::OutOfTurn("neither a step nor an outcome");
                    return Err(self.died(at, &error).await);
                }
            }
        }
    }

    async fn submit(
        &mut self,
        stream: StreamSoFar,
        frames: &[JobFrame],
    ) -> Result<(), ProtocolError> {
        let headers = frames.iter().map(|frame| {
            let jpeg_bytes = protocol::checked_u32("JPEG", frame.jpeg.len(), MAX_JPEG_BYTES)?;
            let JobFrame { captured_at, ref caption, .. } = *frame;
            Ok(FrameHeader { captured_at, jpeg_bytes, caption: caption.clone() })
        });
        let frame_headers = headers.collect::<Result<_, ProtocolError>>()?;
        let job = ToHelper::Job { stream, frames: frame_headers };
        self.stdin.write_all(&protocol::encode(&job)?).await?;
        for frame in frames {
            self.stdin.write_all(&frame.jpeg).await?;
        }
        Ok(())
    }

    async fn receive(&mut self) -> Result<FromHelper, ProtocolError> {
        let mut prefix = [0; PREFIX_BYTES];
        self.stdout.read_exact(&mut prefix).await?;
        let header = read_file(&mut self.stdout, protocol::header_bytes(prefix)?).await?;
        protocol::decode(&header)
    }

    async fn outcome(
        &mut self,
        done: Done,
        before: Option<Timeline>,
        frames: &[JobFrame],
    ) -> Result<EncodeOutcome, ProtocolError> {
        let shown = done.segments.iter().flat_map(|segment| &segment.frames);
        let left_out = done.rejected.iter().map(|rejected| &rejected.frame);
        let mut seen: Vec<usize> = shown.chain(left_out).copied().collect();
        seen.sort_unstable();
        if !seen.iter().copied().eq(0..frames.len()) {
            return Err(ProtocolError::OutOfTurn("an outcome of other frames than the job's"));
        }
        // A device's later frames would all be late.
        let newest = frames.iter().map(|frame| frame.captured_at);
        let newest = newest.chain(before.map(|before| before.last_captured_at)).max();
        if done.timeline.map(|after| after.last_captured_at) > newest {
            return Err(ProtocolError::OutOfTurn("a timeline beyond the job's last frame"));
        }
        let mut segments = Vec::with_capacity(done.segments.len());
        for header in done.segments {
            segments.push(self.segment(header).await?);
        }
        let Done { rejected, timeline, cpu_micros, .. } = done;
        Ok(EncodeOutcome { segments, rejected, timeline, cpu_micros })
    }

    async fn segment(&mut self, header: SegmentHeader) -> Result<EncodedSegment, ProtocolError> {
        let media_bytes = protocol::checked_len("file", header.media_bytes, MAX_FILE_BYTES)?;
        let media = read_file(&mut self.stdout, media_bytes).await?;
        let init = match header.init_bytes {
            None => None,
            Some(bytes) => {
                let init_bytes = protocol::checked_len("file", bytes, MAX_FILE_BYTES)?;
                Some(read_file(&mut self.stdout, init_bytes).await?)
            }
        };
        Ok(EncodedSegment {
            media,
            init,
            frames: header.frames,
            duration_millis: header.duration_millis,
            captured_at: header.captured_at,
            discontinuity: header.discontinuity,
            size: header.size,
        })
    }

    async fn died(&mut self, at: Option<usize>, error: &ProtocolError) -> JobFault {
        JobFault::Died { at, how: self.post_mortem(error).await }
    }

    /// What became of a helper that did not answer as it should. It is gone afterwards.
    async fn post_mortem(&mut self, error: &ProtocolError) -> String {
        let status = self.reap(EXIT_LIMIT).await;
        let words = timeout(EXIT_LIMIT, &mut self.last_words).await;
        let words = words.ok().and_then(Result::ok).unwrap_or_default();
        let how = status.map_or_else(|| "it does not end".to_owned(), |status| status.to_string());
        match words.trim() {
            "" => format!("{how} ({error})"),
            words => format!("{how} ({error}); its last words: {words}"),
        }
    }

    /// Waits for the end of the process, and brings it about when it takes too long.
    async fn reap(&mut self, patience: Duration) -> Option<ExitStatus> {
        if let Ok(Ok(status)) = timeout(patience, self.child.wait()).await {
            return Some(status);
        }
        // SIGKILL also ends a stopped process.
        let _ = self.child.start_kill();
        timeout(EXIT_LIMIT, self.child.wait()).await.ok()?.ok()
    }

    /// Ends it now, and leaves no zombie.
    pub async fn kill(mut self) {
        self.reap(Duration::ZERO).await;
    }

    /// Lets it end by itself, which it does when its stdin closes.
    pub async fn close(self) {
        let Self { mut child, stdin, stdout, .. } = self;
        drop((stdin, stdout));
        if timeout(EXIT_LIMIT, child.wait()).await.is_err() {
            let _ = child.kill().await;
        }
    }

    /// Asks it to try what the sandbox forbids.
    #[cfg(feature = "failpoints")]
    pub async fn probe(&mut self) -> Result<Vec<(String, Option<String>)>, String> {
        let asked = async {
            self.stdin.write_all(&protocol::encode(&ToHelper::Probe)?).await?;
            self.receive().await
        };
        match asked.await {
            Ok(FromHelper::Probed(tried)) => Ok(tried),
            Ok(_) => Err("not an answer to a probe".to_owned()),
            Err(error) => Err(self.post_mortem(&error).await),
        }
    }
}

/// Exactly `len` bytes, read from the pipe into the buffer that is handed on.
async fn read_file(stdout: &mut ChildStdout, len: usize) -> Result<Bytes, ProtocolError> {
    let mut file = BytesMut::with_capacity(len);
    let mut limited = stdout.take(u64::try_from(len).unwrap_or(u64::MAX));
    while file.len() < len {
        if limited.read_buf(&mut file).await? == 0 {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
        }
    }
    Ok(file.freeze())
}

/// The end of what a helper wrote to stderr; reads on for ever, so that it never blocks.
async fn last_words(mut stderr: impl AsyncRead + Unpin) -> String {
    let mut kept = Vec::with_capacity(2 * LAST_WORDS_BYTES);
    let mut chunk = [0; LAST_WORDS_BYTES];
    while let Ok(read @ 1..) = stderr.read(&mut chunk).await {
        kept.extend_from_slice(chunk.get(..read).unwrap_or_default());
        let excess = kept.len().saturating_sub(LAST_WORDS_BYTES);
        kept.drain(..excess);
    }
    String::from_utf8_lossy(&kept).into_owned()
}
