use std::fmt;
use std::time::Duration;

use jiff::fmt::temporal::Pieces;
use serde::{Deserialize, Serialize};

/// An instant of wall time in milliseconds since 1970-01-01T00:00:00Z, the precision that
/// `EXT-X-PROGRAM-DATE-TIME` carries (RFC 8216 section 4.3.2.6).
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UtcMillis(pub i64);

impl UtcMillis {
    /// The time from `earlier` to `self`; zero when `earlier` is the later one.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.millis_since(earlier).max(0).unsigned_abs())
    }

    /// The signed distance from `other` to `self` in milliseconds; saturates.
    pub fn millis_since(self, other: Self) -> i64 {
        self.0.saturating_sub(other.0)
    }

    /// This instant moved by `millis`; saturates.
    pub fn plus_millis(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// This instant moved later by `duration`; saturates.
    pub fn plus(self, duration: Duration) -> Self {
        self.plus_millis(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
    }

    /// Reads an RFC 3339 date and time with a zone; `None` when it is not one.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>().ok().map(|at| Self(at.as_millisecond()))
    }

    /// As [`Self::parse_rfc3339`], and how far the writer's clock is ahead of UTC, in seconds.
    pub fn parse_with_offset(text: &str) -> Option<(Self, i32)> {
        let instant = Self::parse_rfc3339(text)?;
        let offset = Pieces::parse(text).ok()?.to_numeric_offset()?;
        Some((instant, offset.seconds()))
    }
}

/// RFC 3339 in UTC with milliseconds: `2026-01-31T08:00:00.000Z`.
impl fmt::Display for UtcMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(at) => write!(f, "{at:.3}"),
            Err(_) => write!(f, "{} ms since 1970", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_reads_back_what_it_prints() {
        for text in ["2026-01-31T08:00:00.000Z", "1969-12-31T23:59:59.999Z"] {
            assert_eq!(UtcMillis::parse_rfc3339(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_zone_is_converted_and_a_missing_zone_is_refused() {
        let utc = UtcMillis::parse_rfc3339("2026-01-31T08:00:00Z").unwrap();
        assert_eq!(UtcMillis::parse_rfc3339("2026-01-31T05:00:00-03:00"), Some(utc));
        assert_eq!(UtcMillis::parse_rfc3339("2026-01-31T08:00:00"), None);
        assert_eq!(UtcMillis::parse_rfc3339("yesterday"), None);
    }

    #[test]
    fn the_offset_of_a_zone_is_kept_beside_the_instant() {
        let utc = UtcMillis::parse_rfc3339("2026-01-31T08:00:00Z").unwrap();
        for (text, offset_secs) in [
            ("2026-01-31T08:00:00Z", 0),
            ("2026-01-31t08:00:00z", 0),
            ("2026-01-31T08:00:00-00:00", 0),
            ("2026-01-31T05:00:00-03:00", -3 * 3_600),
            ("2026-01-31T13:45:00.000+05:45", 5 * 3_600 + 45 * 60),
        ] {
            assert_eq!(UtcMillis::parse_with_offset(text), Some((utc, offset_secs)), "{text}");
        }
        assert_eq!(UtcMillis::parse_with_offset("2026-01-31T08:00:00"), None);
    }
}
