use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::UtcMillis;

/// The longest id in bytes: what one path component holds on every file system in use
/// (`NAME_MAX`, POSIX `limits.h`).
const MAX_ID_BYTES: usize = 255;

/// Why a text may not be an id. Ids become path components, so whatever could leave the
/// base path is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Nothing was given.
    #[error("is empty")]
    Empty,
    /// More than 255 bytes.
    #[error("is {0} bytes long; an id has at most 255")]
    TooLong(usize),
    /// `.` or `..`.
    #[error("is a relative path")]
    Relative,
    /// `/`, `\`, NUL or another control character.
    #[error("holds a path separator or a control character")]
    Forbidden,
}

fn checked(text: &str) -> Result<Arc<str>, IdError> {
    match text {
        "" => Err(IdError::Empty),
        "." | ".." => Err(IdError::Relative),
        _ if text.len() > MAX_ID_BYTES => Err(IdError::TooLong(text.len())),
        _ if text.chars().any(|c| matches!(c, '/' | '\\') || c.is_control()) => {
            Err(IdError::Forbidden)
        }
        _ => Ok(text.into()),
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text`: one path component, 1 to 255 bytes, no `/`, `\`, NUL or
            /// control character, neither `.` nor `..`.
            pub fn new(text: &str) -> Result<Self, IdError> {
                checked(text).map(Self)
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.as_ref().into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// Who owns a device.
    ClientId
);
id!(
    /// One camera of a client.
    DeviceId
);
id!(
    /// One unbroken run of frames of a device; the name of its archive's folder.
    SessionId
);
impl SessionId {
    /// The session whose first frame was taken then and is in that segment. Its name follows
    /// from these alone, so that whoever works it out again comes to the same one; the number
    /// keeps sessions apart when a clock was set back.
    pub fn of(first_captured_at: UtcMillis, first_segment: u64) -> Self {
        let at = first_captured_at.to_string();
        let second: String =
            at.chars().take_while(|c| *c != '.').filter(|c| c.is_ascii_alphanumeric()).collect();
        Self(format!("{second}Z-{first_segment:06}").into())
    }

    /// The number of the session's first segment, as the name says it; none if it is no name
    /// that [`SessionId::of`] gives to a session of our time.
    pub fn first_segment(&self) -> Option<u64> {
        const SHAPE: &[u8] = b"00000000T000000";
        let (second, number) = self.0.split_once("Z-")?;
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        let fits = |(b, shape): (u8, &u8)| b == *shape || (b.is_ascii_digit() && *shape == b'0');
        let is_ours = second.len() == SHAPE.len() && second.bytes().zip(SHAPE).all(fits);
        let padded = number.len() == 6 || (number.len() > 6 && !number.starts_with('0'));
        (is_ours && padded && digits(number)).then(|| number.parse().ok())?
    }
}
id!(
    /// One frame event; unique, chosen by the ingest service.
    EventId
);

/// One device: the unit of order, of state and of fairness.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeviceKey {
    /// Who owns it.
    pub client: ClientId,
    /// Which of the client's devices.
    pub device: DeviceId,
}

impl DeviceKey {
    /// The key of `client`'s `device`; the error is the first id's that is not one.
    pub fn new(client: &str, device: &str) -> Result<Self, IdError> {
        Ok(Self { client: ClientId::new(client)?, device: DeviceId::new(device)? })
    }
}

impl fmt::Display for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.client, self.device)
    }
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_could_leave_its_folder_is_refused() {
        for (text, why) in [
            ("", IdError::Empty),
            (".", IdError::Relative),
            ("..", IdError::Relative),
            ("a/b", IdError::Forbidden),
            ("..\\b", IdError::Forbidden),
            ("a\0b", IdError::Forbidden),
            ("a\nb", IdError::Forbidden),
        ] {
            assert_eq!(DeviceId::new(text), Err(why), "{text:?}");
        }
        assert_eq!(DeviceId::new(&"x".repeat(300)), Err(IdError::TooLong(300)));
    }

    #[test]
    fn an_ordinary_id_is_kept_as_it_is() {
        for text in ["cam-1", "..hidden", "a.b", "Kamera Süd", &"x".repeat(255)] {
            assert_eq!(DeviceId::new(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn a_session_s_name_says_its_first_segment_and_any_other_name_says_nothing() {
        for number in [0, 7, 999_999, 1_000_000] {
            let id = SessionId::of(UtcMillis(1_769_846_400_250), number);
            assert_eq!(id.first_segment(), Some(number), "{id}");
        }
        for other in [
            "20260131T080000Z-07",
            "20260131T080000Z-0000007",
            "20260131T080000-000007",
            "2026-01-31T08:00:00Z-000007",
            "20260131X080000Z-000007",
            "20260131T080000Z-00000a",
            "backup",
        ] {
            assert_eq!(SessionId::new(other).unwrap().first_segment(), None, "{other}");
        }
    }

    #[test]
    fn a_stored_id_is_checked_when_it_is_read_back() {
        assert!(serde_json::from_str::<EventId>("\"../x\"").is_err());
    }
}
