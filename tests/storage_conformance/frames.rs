//! The frames that events name.

use stream_processor::store::{FrameReadError, Store, StoreSettings};

use super::site::Part;
use super::store_fixture::settings;

async fn fault(store: &Store, path: &str) -> &'static str {
    match store.read_frame(path).await {
        Ok(bytes) => panic!("{path} has {} bytes", bytes.len()),
        Err(error) => {
            assert!(error.to_string().contains(path) || path.is_empty(), "{error}");
            assert!(!matches!(error, FrameReadError::Io { .. }), "{error}");
            error.reason()
        }
    }
}

pub async fn a_frame_is_read_and_each_fault_has_its_name(part: Part) {
    let store = part.store_with(StoreSettings { max_frame_bytes: 1_000, ..settings() });
    let path = "client_ids/c/device_id/d/frames/e 1.jpg";
    part.put(path, b"a frame").await;
    assert_eq!(store.read_frame(path).await.unwrap(), "a frame");
    let place = part.config.frames.as_ref().unwrap_or(&part.config.streams);
    let absolute = place.base_path.join(path);
    assert_eq!(store.read_frame(absolute.to_str().unwrap()).await.unwrap(), "a frame");
    assert_eq!(store.read_frame(&format!("./{path}")).await.unwrap(), "a frame");

    part.put("empty.jpg", b"").await;
    part.put("large.jpg", &[0; 1_001]).await;
    assert_eq!(fault(&store, "empty.jpg").await, "frame_empty");
    assert_eq!(fault(&store, "large.jpg").await, "frame_too_large");
    assert_eq!(fault(&store, "missing.jpg").await, "frame_missing");
    assert_eq!(fault(&store, "../other.jpg").await, "frame_outside");
    assert_eq!(fault(&store, "a/../../other.jpg").await, "frame_outside");
    assert_eq!(fault(&store, "/etc/passwd").await, "frame_outside");
}
