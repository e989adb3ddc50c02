//! What a run is summed up as.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::oracle::{Finding, Wrong, count};
use super::plan::{Kind, Plan};
use super::recovery::Recoveries;

/// How many findings are shown of each kind.
const SHOWN: usize = 8;

/// The figures of a run.
#[derive(Debug, Default)]
pub struct Verdict {
    pub plan: Plan,
    pub published: usize,
    pub entries: usize,
    pub committed: usize,
    pub segments: usize,
    pub versions: usize,
    pub duplicates_dropped: usize,
    pub workers_started: usize,
    /// How long it took until nothing was left; none if something was.
    pub drained: Option<Duration>,
    pub faults: BTreeMap<Kind, usize>,
    pub recoveries: Recoveries,
    pub findings: Vec<Finding>,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "chaos: {}", self.plan)?;
        let Self { published, entries, committed, segments, versions, .. } = self;
        writeln!(
            f,
            "published {published} (in {entries} entries), committed {committed}, \
             segments {segments}, playlist versions seen {versions}, \
             duplicates dropped {}, workers started {}",
            self.duplicates_dropped, self.workers_started
        )?;
        let faults: Vec<_> =
            self.faults.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        writeln!(f, "faults {}: {}", self.faults.values().sum::<usize>(), faults.join(", "))?;
        writeln!(f, "recovered (from a fault's end until all frames from before it are shown):")?;
        write!(f, "{}", self.recoveries)?;
        match self.drained {
            Some(drained) => writeln!(f, "drained {:.1} s after the end", drained.as_secs_f64())?,
            None => writeln!(f, "not drained")?,
        }
        let found = |wrong| count(&self.findings, wrong);
        writeln!(
            f,
            "lost {}, duplicated {}, out of order {}, acked before durable {}, unplayable {}, \
             gaps {}, playlist rules {}",
            found(Wrong::Lost),
            found(Wrong::Duplicated) + found(Wrong::Invented),
            found(Wrong::OutOfOrder),
            found(Wrong::AckedTooEarly),
            found(Wrong::Unplayable),
            found(Wrong::Gap),
            found(Wrong::PlaylistRule),
        )?;
        write!(
            f,
            "refused {}, not acked {}, Redis differs {}, workers that failed {}",
            found(Wrong::Refused),
            found(Wrong::NotAcked),
            found(Wrong::Mirror),
            found(Wrong::Worker),
        )?;
        let mut last = None;
        let mut shown = 0;
        for finding in &self.findings {
            shown = if last == Some(finding.wrong) { shown + 1 } else { 1 };
            last = Some(finding.wrong);
            if shown <= SHOWN {
                write!(f, "\n{finding}")?;
            }
        }
        Ok(())
    }
}
