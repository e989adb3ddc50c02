//! How long it takes until frames are shown again as they are without a fault (pure).

use std::collections::BTreeMap;
use std::fmt;

use stream_processor::model::UtcMillis;

use super::oracle::ledger::Published;
use super::plan::Kind;

/// A fault that has been.
#[derive(Clone, Copy, Debug)]
pub struct Struck {
    pub kind: Kind,
    /// Whose frames it could delay: one topic's, or all.
    pub topic: Option<usize>,
    pub began: UtcMillis,
    pub ended: UtcMillis,
}

/// When a frame could be seen first.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub topic: usize,
    pub published_at: UtcMillis,
    pub shown_at: UtcMillis,
}

/// When each of a device's frames could be seen, by the versions of its playlist: when each was
/// seen, and until when its pictures last.
pub fn seen<'a>(
    topic: usize,
    published: impl Iterator<Item = &'a Published> + 'a,
    progress: &'a [(UtcMillis, UtcMillis)],
) -> impl Iterator<Item = Seen> + 'a {
    let mut version = 0;
    published.filter_map(move |frame| {
        while progress.get(version)?.1 <= frame.captured_at {
            version += 1;
        }
        let shown_at = progress.get(version)?.0;
        Some(Seen { topic, published_at: frame.published_at, shown_at })
    })
}

/// How many milliseconds after the fault's end the last frame was shown that was published before
/// and is late by it; 0 if none was late.
pub fn recovery_millis(struck: &Struck, frames: &[Seen], normal_millis: i64) -> i64 {
    let concerned = frames.iter().filter(|frame| {
        struck.topic.is_none_or(|topic| topic == frame.topic)
            && frame.published_at <= struck.ended
            && frame.published_at.plus_millis(normal_millis) >= struck.began
            && frame.shown_at >= struck.began
    });
    let late =
        concerned.filter(|frame| frame.shown_at.millis_since(frame.published_at) > normal_millis);
    late.map(|frame| frame.shown_at.millis_since(struck.ended)).max().unwrap_or(0).max(0)
}

/// For each kind how often it was, and in how many milliseconds the fleet recovered.
#[derive(Debug, Default)]
pub struct Recoveries(BTreeMap<Kind, Vec<i64>>);

impl Recoveries {
    pub fn of(all: &[Struck], frames: &[Seen], normal_millis: i64) -> Self {
        let mut recoveries = Self::default();
        for struck in all {
            let took = recovery_millis(struck, frames, normal_millis);
            recoveries.0.entry(struck.kind).or_default().push(took);
        }
        recoveries.0.values_mut().for_each(|took| took.sort_unstable());
        recoveries
    }
}

impl fmt::Display for Recoveries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, took) in &self.0 {
            let secs = |millis: Option<&i64>| {
                let millis = millis.copied().unwrap_or_default();
                format!("{}.{} s", millis / 1_000, millis % 1_000 / 100)
            };
            let (median, worst) = (secs(took.get(took.len() / 2)), secs(took.last()));
            writeln!(f, "  {kind:20} {:3}   median {median:>7}   worst {worst:>7}", took.len())?;
        }
        Ok(())
    }
}
