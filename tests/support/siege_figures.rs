//! What a siege has done, for the reader of the log.

use std::collections::BTreeMap;
use std::fmt;

/// What was done, for the reader of the log.
#[derive(Debug, Default)]
pub struct Figures {
    pub kills: BTreeMap<&'static str, u32>,
    pub published: usize,
    pub entries: usize,
    pub committed: usize,
    pub segments: usize,
    pub duplicates: usize,
    pub versions: usize,
    pub acks_checked: usize,
    pub seconds: f64,
}

impl Figures {
    pub fn kills(&self) -> u32 {
        self.kills.values().sum()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kills: Vec<_> =
            self.kills.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        write!(
            f,
            "kills={} ({}) published={} in {} entries committed={} segments={} \
             duplicates_dropped={} playlist_versions={} acks_checked={} seconds={:.0}",
            self.kills(),
            kills.join(", "),
            self.published,
            self.entries,
            self.committed,
            self.segments,
            self.duplicates,
            self.versions,
            self.acks_checked,
            self.seconds,
        )
    }
}
