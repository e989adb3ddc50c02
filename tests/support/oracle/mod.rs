//! Says what is wrong with what a fleet's workers left behind. It knows every event that was
//! published, and looks at everything that can be seen from outside: what the broker believes is
//! done, what each device's records say, what lies on the dead-letter topic, every version of
//! every playlist, every media file. It decides by itself, and shares no decision with the
//! program.
//!
//! | file | what it finds |
//! |---|---|
//! | [`ledger`] | nothing: it is what was published |
//! | [`acks`] | what was acknowledged before it was durable, and what never was |
//! | [`frames`] | what is lost, shown twice or out of order, and what was refused |
//! | [`gaps`] | silences that the playlist does not tell of |
//! | [`playlists`] | broken rules of playlists, and media that do not play |
#![allow(dead_code)] // Each test binary uses its own part of it.

pub mod acks;
pub mod frames;
pub mod gaps;
pub mod ledger;
pub mod playlists;

use std::fmt;
use std::sync::Arc;

use stream_processor::model::{DeviceKey, UtcMillis};
use stream_processor::store::SegmentRecord;

use super::history::HistoryChecker;
use frames::Letters;
use ledger::Published;

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wrong {
    /// Published, and neither shown nor refused.
    Lost,
    /// Shown more than once, or shown and refused.
    Duplicated,
    /// Shown after a frame that was taken later.
    OutOfOrder,
    /// Shown, and never published.
    Invented,
    /// The broker had it as done when it was neither durable nor refused.
    AckedTooEarly,
    /// The broker still waits for it.
    NotAcked,
    /// On the dead-letter topic, and there was nothing wrong with it.
    Refused,
    /// A media file that does not decode, or whose timestamps are not what is promised.
    Unplayable,
    /// Time that passes in the pictures and not in the playlist, or the other way round.
    Gap,
    /// A version of a playlist that must not be, or must not follow the one before.
    PlaylistRule,
    /// Redis holds something else than the storage says.
    Mirror,
    /// A worker has ended by itself.
    Worker,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub wrong: Wrong,
    /// Whose stream it is; none if it is nobody's.
    pub device: Option<DeviceKey>,
    /// The events, files or entries that it is about.
    pub ids: Vec<String>,
    /// When it happened, or when it could first be seen.
    pub at: UtcMillis,
    pub detail: String,
}

impl Finding {
    pub fn of(device: &DeviceKey, wrong: Wrong, at: UtcMillis, detail: String) -> Self {
        Self { wrong, device: Some(device.clone()), ids: Vec::new(), at, detail }
    }

    /// The same, about these.
    pub fn about<T: ToString>(self, ids: impl IntoIterator<Item = T>) -> Self {
        Self { ids: ids.into_iter().map(|id| id.to_string()).collect(), ..self }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {}", self.wrong, self.at)?;
        if let Some(device) = &self.device {
            write!(f, " {}/{}", device.client, device.device)?;
        }
        write!(f, " [{}]: {}", self.ids.join(", "), self.detail)
    }
}

/// All that there is to see of one device.
pub struct Evidence {
    pub device: DeviceKey,
    /// Its frames, in capture order.
    pub published: Vec<Arc<Published>>,
    /// Its records, oldest first.
    pub records: Vec<SegmentRecord>,
    /// Every version of its playlist, and its media files.
    pub playlists: HistoryChecker,
    /// How far apart its frames are.
    pub interval_millis: i64,
}

impl Evidence {
    /// Everything that is wrong with the device's stream; decodes all of its media.
    pub fn judge(mut self, letters: &Letters) -> Vec<Finding> {
        self.playlists.check_media();
        let Self { device, published, records, playlists, interval_millis } = &self;
        let mut findings = frames::judge(device, published, records, letters);
        findings.extend(gaps::judge(device, playlists.listed(), records, *interval_millis));
        findings.extend(playlists::judge(device, playlists));
        findings
    }
}

/// How many findings there are of a kind.
pub fn count(findings: &[Finding], wrong: Wrong) -> usize {
    findings.iter().filter(|finding| finding.wrong == wrong).count()
}

/// Panics with every finding if there is one.
pub fn assert_none(findings: &[Finding], more: &dyn fmt::Display) {
    let all: Vec<_> = findings.iter().map(ToString::to_string).collect();
    assert!(all.is_empty(), "{} findings:\n{}\n{more}", all.len(), all.join("\n"));
}
