//! Why there is no clip.

use thiserror::Error;

use super::ClipSpan;
use crate::model::UtcMillis;

/// Why there is no clip.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum ClipError {
    /// The ends are the wrong way round, or the same.
    #[error("the clip would end at {}, which is not after its start at {}", .0.to, .0.from)]
    Order(ClipSpan),
    /// The list is empty, or all of it is silence in that time.
    #[error("nothing was captured from {} to {}{}", .span.from, .span.to, reach(.listed))]
    Nothing {
        /// What was asked for.
        span: ClipSpan,
        /// From where to where there is something, silences left aside; none for an empty list.
        listed: Option<ClipSpan>,
    },
    /// A segment's bytes cannot be used.
    #[error("segment {segment} of the list, which starts at {starts_at}, {fault}")]
    Segment {
        /// Its index in the list.
        segment: usize,
        /// The instant that its first picture stands for.
        starts_at: UtcMillis,
        /// What is wrong with it.
        fault: SegmentFault,
    },
    /// Segments were not given in the order in which [`super::ClipPlan::due`] asks for them.
    #[error("segment {given} of the list was given, {}", match .due {
        Some(due) => format!("segment {due} is due"),
        None => "but no more are needed".to_owned(),
    })]
    Turn {
        /// The index of the given one.
        given: usize,
        /// The index of the one that is due, if any is.
        due: Option<usize>,
    },
    /// Not all segments have been given yet.
    #[error("the clip is not complete: segment {due} of the list is due")]
    Incomplete {
        /// The index of the one that is due.
        due: usize,
    },
    /// More pictures, or larger ones, than an MP4 file can count.
    #[error("the clip has more pictures than an MP4 file can hold, or larger ones: shorten it")]
    TooLarge,
}

fn reach(listed: &Option<ClipSpan>) -> String {
    listed.map_or_else(String::new, |listed| {
        format!(": what there is reaches from {} to {}", listed.from, listed.to)
    })
}

/// What is wrong with a segment's bytes. Without that segment in the list there is a clip,
/// which leaves its time out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum SegmentFault {
    /// Damaged, or written by something else.
    #[error("is damaged or was not made here ({what}): leave it out of the list")]
    Unreadable {
        /// What was found, or not.
        what: &'static str,
    },
    /// An fMP4 file came without its init file.
    #[error("needs its init file")]
    NoInit,
    /// The list is not about this file.
    #[error(
        "lasts {found_ticks} ticks of 90 kHz, the list says {listed_ticks}: it is another file's \
         entry"
    )]
    Duration {
        /// What the file says.
        found_ticks: u64,
        /// What the list says.
        listed_ticks: u64,
    },
    /// It was another file when the clip was planned.
    #[error("has changed since the clip was planned: plan it again")]
    Changed,
}

/// Shorthand for the readers.
pub(super) const fn unreadable(what: &'static str) -> SegmentFault {
    SegmentFault::Unreadable { what }
}
