//! One attempt at turning a group into committed segments: the way of its frames through the
//! stages, in the order that loses nothing.
//!
//! read → encode → commit → settle. Whatever cannot go on now (a file that is not there yet,
//! a full disk, a fenced device) gives the group back with a delay; nothing waits here, so
//! that a device in trouble holds no encoder.
//!
//! Architecture invariant: a delivery is settled as done only after the commit of its frame.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;

use super::accumulator::{Group, HeldFrame};
use super::captions::Captions;
use super::ports::{Committed, Encode, Observer};
use super::steps;
use super::trouble::Trouble;
use crate::crash_point::reached;
use crate::encode::{EncodeJob, EncodeOutcome, JobFrame, StreamSoFar};
use crate::model::{Clock, DeviceKey, UtcMillis};
use crate::playlist::longest_segment_millis;
use crate::session::SessionRules;
use crate::source::{Refusal, Settlement, Settler};
use crate::store::{
    CommitError, DeviceState, FrameReadError, FrameRecord, NewSegment, Store, layout,
};

/// How far ahead of ours a device's clock may be and still count as right.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(5);

/// After so many failures in a row, some 16 s, what keeps a single frame from going on is taken
/// to be the frame.
const PATIENCE_FAILURES: u32 = 6;

/// The stages that a group goes through.
pub struct Stages {
    /// Frames, state, commit.
    pub store: Store,
    /// What sessions go by.
    pub sessions: SessionRules,
    /// JPEGs to segments.
    pub encoder: Arc<dyn Encode>,
    /// The way back to the source.
    pub settler: Settler,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Who is told what happened.
    pub observer: Arc<dyn Observer>,
    /// What is written on the pictures; nothing without it.
    pub captions: Option<Captions>,
    /// How long a frame's file may be missing: the event may overtake it.
    pub missing_file_patience: Duration,
}

/// A group on its way, and what earlier attempts have learnt.
#[derive(Clone, Debug)]
pub struct Work {
    /// The frames that are still to be settled.
    pub group: Group,
    /// Attempts in a row that ended in trouble of any kind.
    pub failures: u32,
    /// Those in which the encoders could not do the one frame that was tried.
    pub job_failures: u32,
    /// Those in which a file could not be read although others could.
    pub read_failures: u32,
    /// Since when one of its files is missing, by [`Clock::uptime`].
    pub missing_since: Option<Duration>,
    /// How many of its frames are tried together: fewer once they were too many for a helper.
    pub frames_at_once: usize,
}

impl Work {
    /// A group that has not been tried yet.
    pub fn new(group: Group) -> Self {
        Self {
            group,
            failures: 0,
            job_failures: 0,
            read_failures: 0,
            missing_since: None,
            frames_at_once: usize::MAX,
        }
    }
}

/// How an attempt ended.
pub struct Attempted {
    /// Whose group it was.
    pub device: DeviceKey,
    /// The device's state, when it is known to be current.
    pub state: Option<DeviceState>,
    /// Frames that are settled now: held no more.
    pub settled: usize,
    /// What is left, and when to try it again.
    pub again: Option<(Work, Duration)>,
}

/// A frame and its JPEG.
struct Ready {
    frame: HeldFrame,
    jpeg: Bytes,
}

/// Tries once.
pub async fn attempt(stages: &Stages, mut work: Work, known: Option<DeviceState>) -> Attempted {
    let device = work.group.device.clone();
    let before = work.group.frames.len();
    let later = work.group.frames.split_off(work.frames_at_once.min(before));
    let mut state = known;
    let again_after = match run(stages, &mut work, &mut state).await {
        Ok(()) => {
            (work.failures, work.job_failures) = (0, 0);
            Duration::ZERO
        }
        Err(trouble) => {
            let delay = trouble.delay(work.failures);
            if !matches!(trouble, Trouble::MissingFile) {
                work.failures = work.failures.saturating_add(1);
                state = None;
                stages.observer.trouble(&device, trouble.reason(), &trouble, delay);
            }
            if trouble.is_of_the_job() {
                make_smaller(stages, &mut work, &trouble);
            }
            delay
        }
    };
    work.group.frames.extend(later);
    let settled = before - work.group.frames.len();
    let again = (!work.group.frames.is_empty()).then_some((work, again_after));
    Attempted { device, state, settled, again }
}

/// A job that the encoders cannot do is tried in halves; a single frame that they cannot do
/// is refused.
fn make_smaller(stages: &Stages, work: &mut Work, trouble: &Trouble) {
    let frames = work.group.frames.len();
    if frames > 1 {
        work.frames_at_once = frames / 2;
        (work.failures, work.job_failures) = (0, 0);
        return;
    }
    work.job_failures = work.job_failures.saturating_add(1);
    if work.job_failures >= PATIENCE_FAILURES
        && let Some(frame) = work.group.frames.pop()
    {
        // The next one has done nothing yet.
        (work.failures, work.job_failures) = (0, 0);
        park(stages, &work.group.device, &frame, "encode_failed", trouble.to_string());
    }
}

/// On an error, `work` keeps exactly the frames that are not settled.
async fn run(
    stages: &Stages,
    work: &mut Work,
    state: &mut Option<DeviceState>,
) -> Result<(), Trouble> {
    let device = work.group.device.clone();
    if state.is_none() {
        *state = Some(stages.store.open(&device).await.map_err(Trouble::Open)?);
    }
    let Some(current) = state.as_ref() else { return Ok(()) };

    settle_known(stages, &mut work.group, current).await?;
    let ready = read_frames(stages, work).await?;
    if ready.is_empty() {
        return Ok(());
    }
    let job = EncodeJob {
        stream: StreamSoFar {
            timeline: current.timeline,
            max_segment_millis: longest_segment_millis(current.target_duration_secs),
        },
        frames: ready.iter().map(|ready| job_frame(stages, ready)).collect(),
    };
    let begun = stages.clock.now();
    let outcome = stages.encoder.encode(job).await.map_err(Trouble::Encode)?;
    stages.observer.encoded(&outcome, stages.clock.now().since(begun));
    let jpeg_bytes: Vec<u64> = ready.iter().map(|r| r.jpeg.len() as u64).collect();
    let frames: Vec<HeldFrame> = ready.into_iter().map(|r| r.frame).collect();
    park_rejected(stages, &mut work.group, &frames, &outcome);
    if outcome.segments.is_empty() {
        return Ok(());
    }
    let timeline = outcome.timeline;
    let mut segments = new_segments(&device, outcome, &frames, &jpeg_bytes);
    stages.sessions.mark(current.session.as_ref(), &mut segments);
    let count = segments.len() as u64;
    let media_bytes = segments.iter().map(|segment| segment.media.len() as u64).sum();
    reached(steps::ENCODED);
    let begun = stages.clock.now();
    let committed = stages.store.commit(&device, current, segments, timeline, begun).await;
    let committed = committed.map_err(|error| match error {
        CommitError::Fenced { .. } => Trouble::Fenced,
        other => Trouble::Commit(other),
    })?;
    reached(steps::COMMITTED);
    let now = stages.clock.now();
    let commit = Committed {
        state: &committed,
        frames: &work.group.frames,
        segments: count,
        media_bytes,
        took: now.since(begun),
        now,
    };
    stages.observer.committed(&device, &commit);
    *state = Some(committed);
    for frame in work.group.frames.drain(..) {
        settle_done(stages, &frame);
        reached(steps::PART_SETTLED);
    }
    reached(steps::SETTLED);
    Ok(())
}

fn job_frame(stages: &Stages, ready: &Ready) -> JobFrame {
    let HeldFrame { captured_at, utc_offset_secs, .. } = ready.frame;
    let caption =
        stages.captions.as_ref().map(|captions| captions.of(captured_at, utc_offset_secs));
    JobFrame { captured_at, jpeg: ready.jpeg.clone(), caption }
}

/// Settles the frames that are committed already, and refuses those that come too late to be
/// shown in order. Only a frame taken no later than the newest committed one can be either:
/// the others need no look-up.
async fn settle_known(
    stages: &Stages,
    group: &mut Group,
    state: &DeviceState,
) -> Result<(), Trouble> {
    let Some(last) = state.last_captured_at else { return Ok(()) };
    let shown_until = shown_until(state, stages.clock.now());
    let mut index = 0;
    while let Some(frame) = group.frames.get(index) {
        if frame.captured_at > last {
            index += 1;
            continue;
        }
        let record = record_of(&group.device, frame);
        let known = stages
            .store
            .is_committed(&group.device, state, &record)
            .await
            .map_err(Trouble::Open)?;
        if known {
            let frame = group.frames.remove(index);
            stages.observer.duplicate(&group.device, &frame);
            settle_done(stages, &frame);
        } else if let Some(shown) = shown_until.filter(|shown| frame.captured_at < *shown) {
            let frame = group.frames.remove(index);
            let taken = frame.captured_at;
            let detail =
                format!("it was taken at {taken}, and a frame of {shown} is shown already");
            park(stages, &group.device, &frame, "late_frame", detail);
        } else {
            index += 1;
        }
    }
    Ok(())
}

/// The capture time that no new frame may be older than. None when the newest one shown is from
/// the future: the device's clock was ahead, and once it is set right its frames are earlier.
/// They are shown after a discontinuity rather than refused until the time has caught up.
fn shown_until(state: &DeviceState, now: UtcMillis) -> Option<UtcMillis> {
    let shown = state.timeline?.last_captured_at;
    (shown <= now.plus(CLOCK_TOLERANCE)).then_some(shown)
}

/// Reads the JPEGs, all at once; refuses the frames that have none.
async fn read_frames(stages: &Stages, work: &mut Work) -> Result<Vec<Ready>, Trouble> {
    let now = stages.clock.uptime();
    let reads = work.group.frames.iter().map(|frame| stages.store.read_frame(&frame.frame_path));
    let results = join_all(reads).await;
    let storage_works = results.iter().any(Result::is_ok);
    let mut trouble = None;
    let mut is_a_file = false;
    let mut ready = Vec::new();
    for (frame, result) in std::mem::take(&mut work.group.frames).into_iter().zip(results) {
        let error = match result {
            Ok(jpeg) => {
                work.group.frames.push(frame.clone());
                ready.push(Ready { frame, jpeg });
                continue;
            }
            Err(error) => error,
        };
        let may_pass = match &error {
            FrameReadError::NotFound { .. } | FrameReadError::Empty { .. } => {
                let since = *work.missing_since.get_or_insert(now);
                now.saturating_sub(since) < stages.missing_file_patience
            }
            // One file that cannot be read must not hold up its device for ever; a storage
            // that is away must cost no frame.
            FrameReadError::Io { source, .. } => {
                let is_the_file =
                    storage_works || source.kind() == std::io::ErrorKind::PermissionDenied;
                is_a_file |= is_the_file;
                !is_the_file || work.read_failures < PATIENCE_FAILURES
            }
            _ => false,
        };
        if !may_pass {
            park(stages, &work.group.device, &frame, error.reason(), error.to_string());
            continue;
        }
        work.group.frames.push(frame);
        match error {
            FrameReadError::Io { .. } => trouble = Some(Trouble::Read(error)),
            _ => {
                trouble.get_or_insert(Trouble::MissingFile);
            }
        }
    }
    work.read_failures = if is_a_file { work.read_failures.saturating_add(1) } else { 0 };
    trouble.map_or(Ok(ready), Err)
}

fn park_rejected(
    stages: &Stages,
    group: &mut Group,
    frames: &[HeldFrame],
    outcome: &EncodeOutcome,
) {
    for rejected in &outcome.rejected {
        if let Some(frame) = frames.get(rejected.frame) {
            group.frames.retain(|kept| kept.event_id != frame.event_id);
            let detail = rejected.detail.clone();
            park(stages, &group.device, frame, rejected.fault.reason(), detail);
        }
    }
}

fn new_segments(
    device: &DeviceKey,
    outcome: EncodeOutcome,
    frames: &[HeldFrame],
    jpeg_bytes: &[u64],
) -> Vec<NewSegment> {
    let segments = outcome.segments.into_iter();
    segments
        .map(|segment| NewSegment {
            media: segment.media,
            init: segment.init,
            duration_millis: segment.duration_millis,
            captured_at: segment.captured_at,
            discontinuity: segment.discontinuity,
            begins_session: false,
            frame_bytes: segment.frames.iter().filter_map(|index| jpeg_bytes.get(*index)).sum(),
            frames: segment
                .frames
                .into_iter()
                .filter_map(|index| frames.get(index))
                .map(|frame| record_of(device, frame))
                .collect(),
        })
        .collect()
}

fn record_of(device: &DeviceKey, frame: &HeldFrame) -> FrameRecord {
    FrameRecord {
        event_id: frame.event_id.clone(),
        captured_at: frame.captured_at,
        file: layout::frame_file(device, &frame.event_id, &frame.frame_path),
    }
}

fn settle_done(stages: &Stages, frame: &HeldFrame) {
    for delivery in &frame.deliveries {
        stages.settler.settle(Settlement::Done(*delivery));
    }
}

fn park(
    stages: &Stages,
    device: &DeviceKey,
    frame: &HeldFrame,
    reason: &'static str,
    detail: String,
) {
    let refusal = Refusal { reason, detail };
    stages.observer.refused(device, frame, &refusal);
    for delivery in &frame.deliveries {
        stages.settler.settle(Settlement::Park(*delivery, refusal.clone()));
    }
}
