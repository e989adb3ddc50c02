//! What the checker of playlists and media found, as findings.

use stream_processor::model::DeviceKey;

use super::super::history::{HistoryChecker, Rule};
use super::{Finding, Wrong};

/// Every breach that was found of a device's stream.
pub fn judge(device: &DeviceKey, checker: &HistoryChecker) -> Vec<Finding> {
    let as_finding = |breach: &super::super::history::Breach| {
        let wrong = match breach.rule {
            Rule::Timestamps => Wrong::Unplayable,
            _ => Wrong::PlaylistRule,
        };
        Finding::of(device, wrong, breach.seen_at, breach.to_string())
            .about([format!("version {}", breach.version)])
    };
    checker.breaches().iter().map(as_finding).collect()
}
