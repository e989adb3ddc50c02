//! Whether the playlist tells the time at which frames were taken: within a run a segment begins
//! when the frames before it have been shown, and where a camera was silent there is a
//! discontinuity (RFC 8216 section 4.3.2.3).

use std::collections::BTreeMap;

use stream_processor::model::DeviceKey;
use stream_processor::store::SegmentRecord;

use super::super::history::parse::Listed;
use super::{Finding, Wrong};

/// Judges one device by all it ever listed, and its records. `interval_millis` is how far apart
/// its frames are; within a run a picture may be that and a second off its time.
pub fn judge(
    device: &DeviceKey,
    listed: &[Listed],
    records: &[SegmentRecord],
    interval_millis: i64,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let by_file: BTreeMap<&str, &SegmentRecord> =
        records.iter().map(|record| (record.file.as_str(), record)).collect();
    let off_millis = interval_millis + 1_000;
    let silence_millis = interval_millis * 3 + 1_000;
    let mut shown_until: Option<i64> = None;
    for segment in listed {
        let name = segment.uri.rsplit('/').next().unwrap_or(&segment.uri);
        let Some(record) = by_file.get(name) else { continue };
        let mut say = |detail: String| {
            let finding = Finding::of(device, Wrong::Gap, record.committed_at, detail);
            let events = record.frames.iter().map(|frame| frame.event_id.to_string());
            findings.push(finding.about([name.to_owned()].into_iter().chain(events)));
        };
        let begins = match shown_until {
            Some(until) if !segment.discontinuity => until,
            _ => segment.date_millis.unwrap_or(record.captured_at.0),
        };
        let first = record.frames.first().map_or(record.captured_at.0, |f| f.captured_at.0);
        if (begins - first).abs() > off_millis {
            say(format!("it begins {} ms off its first frame", begins - first));
        }
        for pair in record.frames.windows(2) {
            let apart = pair[1].captured_at.0 - pair[0].captured_at.0;
            if apart > silence_millis {
                say(format!("{apart} ms without a frame lie within it"));
            }
        }
        let lasts = i64::try_from(segment.duration_millis).unwrap_or(i64::MAX);
        let last = record.frames.last().map_or(first, |frame| frame.captured_at.0);
        if lasts + begins > last + silence_millis || lasts + begins < last {
            say(format!("it ends {} ms after its last frame", lasts + begins - last));
        }
        shown_until = Some(begins + lasts);
    }
    findings
}
