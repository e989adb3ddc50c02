use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{ClientId, DeviceId, DeviceKey, EventId, IdError, UtcMillis};

/// The longest `framePath` in bytes (`PATH_MAX`, Linux `limits.h`).
const MAX_PATH_BYTES: usize = 4_096;

/// The largest message: several times what the longest ids and path take. Thousands are held
/// at a time, so what one takes must not be its sender's choice.
const MAX_MESSAGE_BYTES: usize = 64 * 1_024;

/// How much of serde's sentence is kept: it quotes the message.
const MAX_DETAIL_BYTES: usize = 256;

/// One frame event: the JSON of one message, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameEvent {
    /// The event's own id.
    pub event_id: EventId,
    /// The device that took the frame.
    pub device: DeviceKey,
    /// When the frame was taken, by the device's clock.
    pub captured_at: UtcMillis,
    /// How far that clock is ahead of UTC, in seconds: the offset that its timestamp carries.
    pub utc_offset_secs: i32,
    /// Where the JPEG is: relative to the storage base path, or absolute below it.
    pub frame_path: String,
    /// The upload request, for tracing a frame across services.
    pub request_id: String,
}

/// Which capture times are believed. Outside of them a frame is refused: one frame from
/// 2099 would make every later frame of its device late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlausibleTimes {
    /// The earliest capture time that is believed.
    pub not_before: UtcMillis,
    /// The latest capture time that is believed.
    pub not_after: UtcMillis,
}

impl PlausibleTimes {
    /// How far a device's clock may be ahead of ours, in milliseconds: one day, which covers
    /// a clock set to local time in any zone.
    const MAX_AHEAD_MILLIS: i64 = 24 * 3_600 * 1_000;

    /// Nothing before 2000-01-01, the year that a clock without a battery starts in or
    /// after; nothing more than a day ahead of `now`.
    pub fn around(now: UtcMillis) -> Self {
        Self {
            not_before: UtcMillis(946_684_800_000),
            not_after: now.plus_millis(Self::MAX_AHEAD_MILLIS),
        }
    }
}

/// Why a message is not a frame event; [`EventError::reason`] is the metric's label and the
/// dead-letter message's reason.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// More bytes than any event has.
    #[error("the message is {0} bytes long; a frame event has at most 65536")]
    TooLarge(usize),
    /// Not JSON; serde says where.
    #[error("the message is not JSON: {0}")]
    Json(String),
    /// A missing field or a field of a wrong type; serde says which and where.
    #[error("the message is not a frame event: {0}")]
    Fields(String),
    /// An id that could leave the base path.
    #[error("{field} {source}")]
    Id {
        /// The field's name in the message.
        field: &'static str,
        /// What is wrong with it.
        source: IdError,
    },
    /// A frame path that cannot be one.
    #[error("framePath is empty, holds NUL or is longer than 4096 bytes")]
    Path,
    /// Not RFC 3339 with a zone.
    #[error("timestamp {0:?} is not an RFC 3339 date and time with a zone")]
    Timestamp(String),
    /// A capture time that no camera can have.
    #[error("timestamp {at} is outside {} to {}", range.not_before, range.not_after)]
    Implausible {
        /// What the message said.
        at: UtcMillis,
        /// What would have been believed.
        range: PlausibleTimes,
    },
}

impl From<serde_json::Error> for EventError {
    fn from(error: serde_json::Error) -> Self {
        let mut detail = error.to_string();
        if detail.len() > MAX_DETAIL_BYTES {
            detail.truncate(detail.floor_char_boundary(MAX_DETAIL_BYTES));
            detail += "…";
        }
        if error.is_data() { Self::Fields(detail) } else { Self::Json(detail) }
    }
}

impl EventError {
    /// A short static name: a metric label, a dead-letter reason.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::TooLarge(_) => "message_too_large",
            Self::Json(_) => "message_json",
            Self::Fields(_) => "message_fields",
            Self::Id { .. } => "id",
            Self::Path => "frame_path",
            Self::Timestamp(_) | Self::Implausible { .. } => "timestamp",
        }
    }
}

/// The ids that a message gives, whatever else is wrong with it: for the log, so that a person
/// finds the camera. They are unchecked, so they never become a path or a label.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClaimedIds {
    /// `eventId`, if it is a text.
    pub event: Option<String>,
    /// `clientId`, if it is a text.
    pub client: Option<String>,
    /// `deviceId`, if it is a text.
    pub device: Option<String>,
}

impl ClaimedIds {
    /// What is longer is cut: an id has at most 255 bytes.
    const MAX_BYTES: usize = 256;

    /// Reads what is there; nothing when the message is not JSON, or too large to be looked
    /// into.
    pub fn of(message: &[u8]) -> Self {
        if message.len() > MAX_MESSAGE_BYTES {
            return Self::default();
        }
        let raw = serde_json::from_slice::<Object<RawIds>>(message);
        let raw = raw.map(|Object(raw)| raw).unwrap_or_default();
        let text = |value: Option<serde_json::Value>| match value {
            Some(serde_json::Value::String(mut text)) => {
                text.truncate(text.floor_char_boundary(Self::MAX_BYTES));
                Some(text)
            }
            _ => None,
        };
        Self { event: text(raw.event_id), client: text(raw.client_id), device: text(raw.device_id) }
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawIds {
    event_id: Option<serde_json::Value>,
    client_id: Option<serde_json::Value>,
    device_id: Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawEvent {
    event_id: String,
    client_id: String,
    device_id: String,
    timestamp: String,
    frame_path: String,
    request_id: String,
    #[serde(rename = "requestTimestamp")]
    _request_timestamp: Option<f64>,
    #[serde(rename = "secondaryKey")]
    _secondary_key: Option<String>,
    #[serde(rename = "location")]
    _location: Option<Object<RawLocation>>,
}

#[derive(Deserialize)]
struct RawLocation {
    #[serde(rename = "lat")]
    _lat: f64,
    #[serde(rename = "lon")]
    _lon: f64,
}

/// A JSON object. What serde derives for a struct takes an array of its fields' values as well.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields(PhantomData)).map(Self)
    }
}

struct Fields<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(fields))
    }
}

impl FrameEvent {
    /// Reads one message. Unknown fields are ignored; optional ones are checked for their
    /// type and not kept.
    ///
    /// # Errors
    /// Whatever keeps the message from naming one frame of one device at one instant.
    pub fn parse(message: &[u8], plausible: PlausibleTimes) -> Result<Self, EventError> {
        if message.len() > MAX_MESSAGE_BYTES {
            return Err(EventError::TooLarge(message.len()));
        }
        let Object::<RawEvent>(raw) = serde_json::from_slice(message)?;
        let id = |field| move |source| EventError::Id { field, source };
        let event_id = EventId::new(&raw.event_id).map_err(id("eventId"))?;
        let client = ClientId::new(&raw.client_id).map_err(id("clientId"))?;
        let device = DeviceId::new(&raw.device_id).map_err(id("deviceId"))?;
        if raw.frame_path.is_empty()
            || raw.frame_path.len() > MAX_PATH_BYTES
            || raw.frame_path.contains('\0')
        {
            return Err(EventError::Path);
        }
        let Some((captured_at, utc_offset_secs)) = UtcMillis::parse_with_offset(&raw.timestamp)
        else {
            return Err(EventError::Timestamp(raw.timestamp.chars().take(64).collect()));
        };
        if captured_at < plausible.not_before || captured_at > plausible.not_after {
            return Err(EventError::Implausible { at: captured_at, range: plausible });
        }
        Ok(Self {
            event_id,
            device: DeviceKey { client, device },
            captured_at,
            utc_offset_secs,
            frame_path: raw.frame_path,
            request_id: raw.request_id,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"eventId":"e1","clientId":"c","deviceId":"d",
        "timestamp":"2026-01-31T05:00:00.250-03:00","framePath":"client_ids/c/f.jpg",
        "requestId":"r","requestTimestamp":1769846400.5,"extra":[1],
        "location":{"lat":-33.4,"lon":-70.6}}"#;

    fn parse(text: &str) -> Result<FrameEvent, EventError> {
        let now = UtcMillis::parse_rfc3339("2026-01-31T09:00:00Z").unwrap();
        FrameEvent::parse(text.as_bytes(), PlausibleTimes::around(now))
    }

    #[test]
    fn a_message_of_the_contract_is_read() {
        let event = parse(GOOD).unwrap();
        assert_eq!(event.captured_at.to_string(), "2026-01-31T08:00:00.250Z");
        assert_eq!(event.utc_offset_secs, -3 * 3_600);
        assert_eq!(event.device.to_string(), "c/d");
    }

    #[test]
    fn a_bad_message_still_says_whose_it_is() {
        let bad = GOOD.replace("\"e1\"", "7").replace("\"d\"", &format!("{:?}", "ä".repeat(200)));
        let ids = ClaimedIds::of(bad.as_bytes());
        assert_eq!((ids.event.as_deref(), ids.client.as_deref()), (None, Some("c")));
        assert_eq!(ids.device, Some("ä".repeat(128)));
        assert_eq!(ClaimedIds::of(b"\xff"), ClaimedIds::default());
    }

    #[test]
    fn each_kind_of_bad_message_has_its_reason() {
        for (find, put, reason) in [
            ("{\"eventId", "<{\"eventId", "message_json"),
            ("\"e1\"", "7", "message_fields"),
            ("\"eventId\":\"e1\",", "", "message_fields"),
            ("\"e1\"", "\"../e1\"", "id"),
            ("\"deviceId\":\"d\"", "\"deviceId\":\"\\u0000\"", "id"),
            ("client_ids/c/f.jpg", "", "frame_path"),
            ("2026-01-31T05:00:00.250-03:00", "1970-01-01T00:00:00Z", "timestamp"),
            ("2026-01-31T05:00:00.250-03:00", "2099-01-01T00:00:00Z", "timestamp"),
            ("2026-01-31T05:00:00.250-03:00", "31/01/2026", "timestamp"),
        ] {
            let error = parse(&GOOD.replacen(find, put, 1)).unwrap_err();
            assert_eq!(error.reason(), reason, "{error}");
        }
    }

    #[test]
    fn an_array_of_the_fields_values_is_no_event() {
        let array = r#"["e1","c","d","2026-01-31T08:00:00Z","f.jpg","r",null,null,null]"#;
        assert_eq!(parse(array).unwrap_err().reason(), "message_fields");
        let location = GOOD.replacen(r#"{"lat":-33.4,"lon":-70.6}"#, "[-33.4,-70.6]", 1);
        assert_eq!(parse(&location).unwrap_err().reason(), "message_fields");
    }

    #[test]
    fn what_a_message_says_does_not_flood_the_log() {
        let long = format!("\"{}\"", "é".repeat(10_000));
        for find in ["1769846400.5", "{\"lat\":-33.4,\"lon\":-70.6}", "-33.4"] {
            let error = parse(&GOOD.replacen(find, &long, 1)).unwrap_err();
            assert_eq!(error.reason(), "message_fields");
            assert!(error.to_string().len() < 1_000, "{find}: {} bytes", error.to_string().len());
        }
    }

    #[test]
    fn a_message_larger_than_any_event_is_not_held() {
        let unknown = |bytes| GOOD.replacen("[1]", &format!("\"{}\"", "x".repeat(bytes)), 1);
        assert!(parse(&unknown(60_000)).is_ok());
        assert_eq!(parse(&unknown(70_000)).unwrap_err().reason(), "message_too_large");
    }
}
