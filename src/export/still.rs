//! The frame nearest to an instant, as it was uploaded.

use bytes::Bytes;

use super::ExportError;
use crate::model::{DeviceKey, UtcMillis};
use crate::store::layout::{Place, default_frame_file};
use crate::store::{DeviceFolder, FrameRecord, SegmentRecord, Store, StoreError};

/// A frame.
#[derive(Clone, Debug)]
pub struct Still {
    /// When it was taken.
    pub captured_at: UtcMillis,
    /// The JPEG.
    pub jpeg: Bytes,
}

/// Which frame of an instant is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Which {
    /// The one whose capture is nearest.
    #[default]
    Nearest,
    /// The one on screen: the last that had been taken by then. Before the first, that one.
    OnScreen,
}

/// The committed frame of the instant `at`, of all that the device's records still know. Frames
/// are committed in the order they were taken in, so that only the records around the instant
/// are read; for one of the last minutes, the state alone.
///
/// # Errors
/// [`ExportError::Nothing`] if they know none; [`ExportError::Frame`] if its file is gone or
/// cannot be read.
pub async fn frame_of(
    store: &Store,
    key: &DeviceKey,
    at: UtcMillis,
    which: Which,
) -> Result<Still, ExportError> {
    let records = store.on_device(key, move |folder| records_around(folder, at)).await?;
    let frames = records.into_iter().flat_map(|record| record.frames);
    let Some(frame) = choose(frames, at, which) else {
        return Err(ExportError::Nothing(key.clone()));
    };
    let jpeg = store.read_frame(&path_of(key, &frame)).await?;
    Ok(Still { captured_at: frame.captured_at, jpeg })
}

fn choose(
    frames: impl Iterator<Item = FrameRecord>,
    at: UtcMillis,
    which: Which,
) -> Option<FrameRecord> {
    frames.min_by_key(|frame| {
        let is_later = which == Which::OnScreen && frame.captured_at > at;
        (is_later, frame.captured_at.millis_since(at).unsigned_abs())
    })
}

/// The state's records, and those of the history files that lie around `at`: the first one that
/// is not wholly before it, and its neighbours.
fn records_around(folder: &DeviceFolder, at: UtcMillis) -> Result<Vec<SegmentRecord>, StoreError> {
    let Some(state) = folder.state()? else { return Ok(Vec::new()) };
    if state.recent.first().is_some_and(|oldest| at >= oldest.captured_at) {
        return Ok(state.recent);
    }
    let names = folder.history_files(&state)?;
    let first = names.partition_point(|name| name.newest < at).saturating_sub(1);
    let mut records = Vec::new();
    for name in names.iter().skip(first).take(3) {
        let read = folder.read_json::<Vec<SegmentRecord>>(Place::History, &name.file_name())?;
        // Retention may remove a file between the listing and now.
        records.extend(read.map(|(records, _)| records).unwrap_or_default());
    }
    records.extend(state.recent);
    Ok(records)
}

fn path_of(key: &DeviceKey, frame: &FrameRecord) -> String {
    let file = frame.file.clone().unwrap_or_else(|| default_frame_file(&frame.event_id));
    format!("{}/{file}", Place::Frames.folder(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::EventId;

    #[test]
    fn the_nearest_frame_may_be_a_later_one_and_the_one_on_screen_never() {
        let frame = |millis| FrameRecord {
            event_id: EventId::new(&format!("e{millis}")).unwrap(),
            captured_at: UtcMillis(millis),
            file: None,
        };
        let of = |at, which| {
            let frames = [1_000, 6_000, 11_000].map(frame).into_iter();
            choose(frames, UtcMillis(at), which).map(|frame| frame.captured_at.0)
        };
        assert_eq!(of(5_900, Which::Nearest), Some(6_000));
        assert_eq!(of(5_900, Which::OnScreen), Some(1_000));
        assert_eq!(of(6_000, Which::OnScreen), Some(6_000));
        assert_eq!(of(99_000, Which::OnScreen), Some(11_000));
        assert_eq!(of(500, Which::OnScreen), Some(1_000));
        assert_eq!(choose(std::iter::empty(), UtcMillis(0), Which::Nearest), None);
    }
}
