//! Which segments there are of a device: those that its live playlist lists, and those that
//! only archives have (pure).

use std::collections::BTreeMap;

use crate::archive::Document;
use crate::archive::document::Status;
use crate::media::Container;
use crate::media::clip::{ClipSpan, ListedSegment};
use crate::model::UtcMillis;
use crate::store::{SegmentRecord, StreamFile};

/// One segment and where its files are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Piece {
    /// Its number in the stream.
    pub number: u64,
    /// Its media file.
    pub media: StreamFile,
    /// The init file that it needs.
    pub init: Option<StreamFile>,
    /// What the media file is.
    pub container: Container,
    /// When its first frame was taken.
    pub captured_at: UtcMillis,
    /// What it lasts.
    pub duration_millis: u32,
    /// How much of the captures' time it shows: more than it lasts in a time lapse.
    pub covers_millis: u32,
    /// Whether it does not continue the piece before it.
    pub discontinuity: bool,
}

/// Everything that is kept of a device's stream, oldest first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Coverage {
    pieces: Vec<Piece>,
}

impl Coverage {
    /// The segments that `listed` says are in the live window, and those of the `archives` that
    /// are not.
    pub fn of(listed: &[SegmentRecord], archives: &[Document]) -> Self {
        let mut pieces = BTreeMap::new();
        for document in archives.iter().filter(|document| document.status == Status::Ready) {
            for segment in &document.segments {
                let file = |name: &String| {
                    StreamFile::ArchiveSegment(document.session_id.clone(), name.clone())
                };
                let piece = Piece {
                    number: segment.number,
                    media: file(&segment.file),
                    init: segment.init.as_ref().map(file),
                    container: container_of(&segment.file),
                    captured_at: segment.captured_at,
                    duration_millis: segment.duration_millis,
                    covers_millis: segment.duration_millis,
                    discontinuity: segment.discontinuity,
                };
                pieces.insert(segment.number, piece);
            }
        }
        for record in listed {
            let piece = Piece {
                number: record.number,
                media: StreamFile::Segment(record.file.clone()),
                init: record.init.clone().map(StreamFile::Segment),
                container: container_of(&record.file),
                captured_at: record.captured_at,
                duration_millis: record.duration_millis,
                covers_millis: record.duration_millis,
                discontinuity: record.discontinuity,
            };
            pieces.insert(record.number, piece);
        }
        let mut pieces: Vec<Piece> = pieces.into_values().collect();
        mark_gaps(&mut pieces);
        stretch_time_lapses(&mut pieces);
        Self { pieces }
    }

    /// The segments, oldest first.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// From the first frame to the end of the last; none without segments. There may be gaps.
    pub fn span(&self) -> Option<ClipSpan> {
        let (first, last) = (self.pieces.first()?, self.pieces.last()?);
        let to = last.captured_at.plus_millis(last.covers_millis.into());
        Some(ClipSpan { from: first.captured_at, to })
    }

    /// The segments as a clip is planned from them.
    pub fn listed(&self) -> Vec<ListedSegment> {
        let listed = |piece: &Piece| ListedSegment {
            captured_at: piece.captured_at,
            duration_millis: piece.duration_millis,
            covers_millis: piece.covers_millis,
            discontinuity: piece.discontinuity,
        };
        self.pieces.iter().map(listed).collect()
    }
}

fn container_of(file: &str) -> Container {
    if file.ends_with(".m4s") { Container::Fmp4 } else { Container::Ts }
}

/// What follows a segment that is not kept does not continue what is kept before it.
fn mark_gaps(pieces: &mut [Piece]) {
    let mut expected = None;
    for piece in pieces {
        piece.discontinuity |= expected.is_some_and(|number| number != piece.number);
        expected = piece.number.checked_add(1);
    }
}

/// In a time lapse a segment that is continued covers the time until the next one. A real one
/// is continued to within a few hundred milliseconds of its end.
fn stretch_time_lapses(pieces: &mut [Piece]) {
    for index in 1..pieces.len() {
        let [piece, next] = &mut pieces[index - 1..=index] else { continue };
        let until = next.captured_at.millis_since(piece.captured_at);
        if !next.discontinuity && until > 2 * i64::from(piece.duration_millis) {
            piece.covers_millis = u32::try_from(until).unwrap_or(u32::MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(number: u64, captured_secs: i64, duration_millis: u32) -> Piece {
        Piece {
            number,
            media: StreamFile::Segment(format!("seg_{number:06}.ts")),
            init: None,
            container: Container::Ts,
            captured_at: UtcMillis(captured_secs * 1_000),
            duration_millis,
            covers_millis: duration_millis,
            discontinuity: false,
        }
    }

    #[test]
    fn what_follows_a_gap_does_not_continue() {
        let mut pieces = [piece(4, 0, 30_000), piece(5, 30, 30_000), piece(9, 150, 30_000)];
        mark_gaps(&mut pieces);
        assert_eq!(pieces.map(|piece| piece.discontinuity), [false, false, true]);
    }

    #[test]
    fn a_time_lapse_covers_the_time_until_the_next_segment_and_a_real_stream_does_not() {
        let mut lapse = [piece(0, 0, 240), piece(1, 30, 240), piece(2, 60, 240)];
        stretch_time_lapses(&mut lapse);
        assert_eq!(lapse.map(|piece| piece.covers_millis), [30_000, 30_000, 240]);
        let mut real = [piece(0, 0, 30_000), piece(1, 30, 30_000)];
        stretch_time_lapses(&mut real);
        assert_eq!(real.map(|piece| piece.covers_millis), [30_000, 30_000]);
    }
}
