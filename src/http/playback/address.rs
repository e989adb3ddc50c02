//! The path of everything that is served of a device (pure).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::model::{ClientId, DeviceKey, SessionId};

/// What needs no escape in a path segment (RFC 3986 section 3.3, `unreserved`).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The path below which everything of a client is, with a slash at its end.
pub fn client_url(client: &ClientId) -> String {
    format!("/client_ids/{}/", utf8_percent_encode(client.as_str(), SEGMENT))
}

/// The path below which everything of a device is, without a slash at its end.
pub fn device_url(key: &DeviceKey) -> String {
    let client = utf8_percent_encode(key.client.as_str(), SEGMENT);
    let device = utf8_percent_encode(key.device.as_str(), SEGMENT);
    format!("/client_ids/{client}/device_id/{device}")
}

/// The path of a device's live playlist.
pub fn playlist_url(key: &DeviceKey) -> String {
    format!("{}/hls/playlist.m3u8", device_url(key))
}

/// The path of an archive's playlist.
pub fn archive_url(key: &DeviceKey, session: &SessionId) -> String {
    let session = utf8_percent_encode(session.as_str(), SEGMENT);
    format!("{}/archives/{session}/playlist.m3u8", device_url(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_with_anything_in_it_is_one_segment_of_the_url() {
        let key = DeviceKey::new("ACME & Co?", "Kamera Süd #1").unwrap();
        assert_eq!(
            playlist_url(&key),
            "/client_ids/ACME%20%26%20Co%3F/device_id/Kamera%20S%C3%BCd%20%231/hls/playlist.m3u8"
        );
    }
}
