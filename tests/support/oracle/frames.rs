//! Whether every published frame is shown exactly once and in order, or refused for a reason.

use std::collections::BTreeMap;
use std::sync::Arc;

use stream_processor::model::{DeviceKey, EventId, UtcMillis};
use stream_processor::store::SegmentRecord;

use super::ledger::Published;
use super::{Finding, Wrong};

/// The events on the dead-letter topic, with the reason of each.
pub type Letters = BTreeMap<EventId, String>;

/// Judges one device by its published frames, in capture order, and its records.
pub fn judge(
    device: &DeviceKey,
    published: &[Arc<Published>],
    records: &[SegmentRecord],
    letters: &Letters,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let place: BTreeMap<&EventId, usize> =
        published.iter().enumerate().map(|(index, frame)| (&frame.event_id, index)).collect();
    // Where each is shown, by the numbers of the segments.
    let mut shown: BTreeMap<&EventId, Vec<u64>> = BTreeMap::new();
    let mut latest: Option<(usize, u64)> = None;
    for record in records {
        for frame in &record.frames {
            shown.entry(&frame.event_id).or_default().push(record.number);
            let Some(&index) = place.get(&frame.event_id) else {
                let detail = format!("segment {} shows what nobody published", record.number);
                let finding = Finding::of(device, Wrong::Invented, record.committed_at, detail);
                findings.push(finding.about([&frame.event_id]));
                continue;
            };
            match latest {
                Some((before, number)) if index < before => {
                    let earlier = &published[before];
                    let detail = format!(
                        "segment {} shows a frame of {} after segment {number} one of {}",
                        record.number, published[index].captured_at, earlier.captured_at
                    );
                    let finding =
                        Finding::of(device, Wrong::OutOfOrder, record.committed_at, detail);
                    findings.push(finding.about([&frame.event_id, &earlier.event_id]));
                }
                _ => latest = Some((index, record.number)),
            }
        }
    }
    for frame in published {
        let numbers = shown.get(&frame.event_id).map_or(&[][..], Vec::as_slice);
        let letter = letters.get(&frame.event_id);
        let (wrong, at, detail) = match (numbers, letter) {
            ([], None) => (Wrong::Lost, frame.published_at, lost(frame, published, &shown)),
            ([], Some(reason)) => (Wrong::Refused, frame.published_at, reason.clone()),
            ([_], None) => continue,
            ([number], Some(reason)) => {
                let detail = format!("segment {number} shows it, and it was refused: {reason}");
                (Wrong::Duplicated, committed_at(records, *number), detail)
            }
            (numbers, _) => {
                let last = numbers.last().copied().unwrap_or_default();
                let detail = format!("shown in the segments {numbers:?}");
                (Wrong::Duplicated, committed_at(records, last), detail)
            }
        };
        findings.push(Finding::of(device, wrong, at, detail).about([&frame.event_id]));
    }
    findings
}

/// What is around a frame that is not there.
fn lost(
    frame: &Published,
    published: &[Arc<Published>],
    shown: &BTreeMap<&EventId, Vec<u64>>,
) -> String {
    let index = published.iter().position(|other| other.event_id == frame.event_id);
    let (before, after) = published.split_at(index.unwrap_or_default());
    let number = |frame: &Arc<Published>| shown.get(&frame.event_id)?.first().copied();
    let last = before.iter().rev().find_map(number);
    let next = after.iter().skip(1).find_map(number);
    format!("taken at {}; shown before it: segment {last:?}, after it: {next:?}", frame.captured_at)
}

fn committed_at(records: &[SegmentRecord], number: u64) -> UtcMillis {
    let record = records.iter().find(|record| record.number == number);
    record.map_or(UtcMillis(0), |record| record.committed_at)
}
