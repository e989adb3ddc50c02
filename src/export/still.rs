//! The frame nearest to an instant, as it was uploaded.

use bytes::Bytes;

use super::ExportError;
use crate::model::{DeviceKey, UtcMillis};
use crate::store::layout::{Place, default_frame_file};
use crate::store::{FrameRecord, Store};

/// A frame.
#[derive(Clone, Debug)]
pub struct Still {
    /// When it was taken.
    pub captured_at: UtcMillis,
    /// The JPEG.
    pub jpeg: Bytes,
}

/// The committed frame whose capture is nearest to `at`, of all that the device's records still
/// know.
///
/// # Errors
/// [`ExportError::Nothing`] if they know none; [`ExportError::Frame`] if its file is gone or
/// cannot be read.
pub async fn nearest_frame(
    store: &Store,
    key: &DeviceKey,
    at: UtcMillis,
) -> Result<Still, ExportError> {
    let records = store.committed_segments(key).await?;
    let frames = records.into_iter().flat_map(|record| record.frames);
    let nearest = frames.min_by_key(|frame| frame.captured_at.millis_since(at).unsigned_abs());
    let Some(frame) = nearest else { return Err(ExportError::Nothing(key.clone())) };
    let jpeg = store.read_frame(&path_of(key, &frame)).await?;
    Ok(Still { captured_at: frame.captured_at, jpeg })
}

fn path_of(key: &DeviceKey, frame: &FrameRecord) -> String {
    let file = frame.file.clone().unwrap_or_else(|| default_frame_file(&frame.event_id));
    format!("{}/{file}", Place::Frames.folder(key))
}
