//! What became of every frame that was published, by the state and the history of its device.

use std::collections::HashMap;

use futures::future::try_join_all;
use stream_processor::model::{DeviceKey, UtcMillis};
use stream_processor::store::{SegmentRecord, Store};

use super::cameras::Cameras;
use super::footage::Failure;

/// Devices that are read at once.
const AT_ONCE: usize = 64;

/// One committed frame.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    pub taken_at: UtcMillis,
    /// From its capture to its commit.
    pub lag_millis: i64,
    /// Whether it is the newest of its segment, which waited for nothing but the worker.
    pub is_newest: bool,
}

/// What became of a fleet's frames.
#[derive(Debug, Default)]
pub struct Verdict {
    pub published: u64,
    pub segments: u64,
    /// Published, and in no segment.
    pub lost: u64,
    /// In more than one segment, or more than once in one.
    pub twice: u64,
    /// Committed, and never published, or not in the order of their capture.
    pub astray: u64,
    /// Every frame that was committed.
    pub shown: Vec<Shown>,
}

/// Judges the first `published` frames of these cameras, which took turns.
pub async fn judge(store: &Store, cameras: &Cameras, published: u64) -> Result<Verdict, Failure> {
    let mut verdict = Verdict { published, ..Verdict::default() };
    let devices = cameras.devices();
    let published = usize::try_from(published)?;
    let indexes: Vec<_> = (0..devices.len()).collect();
    for some in indexes.chunks(AT_ONCE) {
        let reads = some.iter().filter_map(|index| devices.get(*index));
        let all = try_join_all(reads.map(|key: &DeviceKey| store.committed_segments(key))).await?;
        for (index, records) in some.iter().zip(&all) {
            let rounds = published / devices.len();
            let frames = rounds + usize::from(*index < published % devices.len());
            verdict.take(cameras, *index, frames, records)?;
        }
    }
    Ok(verdict)
}

impl Verdict {
    fn take(
        &mut self,
        cameras: &Cameras,
        camera: usize,
        frames: usize,
        records: &[SegmentRecord],
    ) -> Result<(), Failure> {
        self.segments += records.len() as u64;
        let expected = (0..frames).map(|frame| Ok((cameras.event(camera, frame)?, frame)));
        let expected: HashMap<_, _> = expected.collect::<Result<_, Failure>>()?;
        let mut seen = vec![0_u64; frames];
        let mut newest = None;
        for record in records {
            for frame in &record.frames {
                match expected.get(&frame.event_id) {
                    Some(number) => {
                        self.astray += u64::from(newest > Some(*number));
                        newest = newest.max(Some(*number));
                        seen[*number] += 1;
                    }
                    None => self.astray += 1,
                }
                self.shown.push(Shown {
                    taken_at: frame.captured_at,
                    lag_millis: record.committed_at.millis_since(frame.captured_at),
                    is_newest: frame.captured_at == record.last_captured_at(),
                });
            }
        }
        self.lost += seen.iter().filter(|count| **count == 0).count() as u64;
        self.twice += seen.iter().filter(|count| **count > 1).count() as u64;
        Ok(())
    }

    /// The lags in seconds, ascending, of the frames that were taken then and are of interest.
    pub fn lags(
        &self,
        from: UtcMillis,
        until: UtcMillis,
        is_of_interest: impl Fn(&Shown) -> bool,
    ) -> Vec<f64> {
        let taken_then = |shown: &&Shown| shown.taken_at >= from && shown.taken_at < until;
        let shown = self.shown.iter().filter(taken_then).filter(|shown| is_of_interest(shown));
        let mut lags: Vec<_> = shown.map(|shown| shown.lag_millis as f64 / 1_000.0).collect();
        lags.sort_by(f64::total_cmp);
        lags
    }
}

/// The value that so large a share, 0 to 1, of the ascending ones does not exceed.
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
    let at = (share * last as f64).round() as usize;
    sorted.get(at).copied().unwrap_or(0.0)
}
