//! What is written on a frame's picture: when it was taken, as text (pure).

use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::{Offset, TimeZone};

use crate::encode::Caption;
use crate::model::UtcMillis;

/// How captions are worded.
#[derive(Clone, Debug)]
pub struct Captions {
    /// A strftime pattern that is known to be one.
    pub format: String,
    /// The time zone that the time is written in.
    pub zone: CaptionZone,
    /// Whether the zone is written behind the time.
    pub show_zone: bool,
}

/// A time zone for captions.
#[derive(Clone, PartialEq, Debug)]
pub enum CaptionZone {
    /// The offset from UTC that the frame's own timestamp carried.
    Frame,
    /// The same for all frames, with its rules for summer time.
    Fixed(TimeZone),
}

impl Captions {
    /// The caption of a frame that was taken at that time, by a clock that was so many seconds
    /// ahead of UTC.
    pub fn of(&self, captured_at: UtcMillis, utc_offset_secs: i32) -> Caption {
        let zone = match &self.zone {
            CaptionZone::Frame => {
                let offset = Offset::from_seconds(utc_offset_secs).unwrap_or(Offset::UTC);
                TimeZone::fixed(offset)
            }
            CaptionZone::Fixed(zone) => zone.clone(),
        };
        let text = self.text(captured_at, &zone);
        Caption::new(&text.unwrap_or_else(|_| captured_at.to_string()))
    }

    /// # Errors
    /// An instant that has no date, or a pattern that is none: both are refused before.
    fn text(&self, captured_at: UtcMillis, zone: &TimeZone) -> Result<String, jiff::Error> {
        let instant = Timestamp::from_millisecond(captured_at.0)?;
        let local = instant.to_zoned_datetime(zone.clone());
        let mut text = strtime::format(&self.format, &local)?;
        if self.show_zone {
            let info = zone.to_offset_info(instant);
            match info.abbreviation() {
                // Many zones have none; the database gives their offset's hours instead.
                name if name.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                    text.extend([" ", name]);
                }
                _ => text += &strtime::format(" %:z", &local)?,
            }
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captions(zone: &str) -> Captions {
        let zone = match zone {
            "frame" => CaptionZone::Frame,
            name => CaptionZone::Fixed(jiff::tz::TimeZoneDatabase::bundled().get(name).unwrap()),
        };
        Captions { format: "%Y-%m-%d %H:%M:%S".to_owned(), zone, show_zone: true }
    }

    fn at(text: &str) -> UtcMillis {
        UtcMillis::parse_rfc3339(text).unwrap()
    }

    fn caption(zone: &str, instant: &str) -> String {
        captions(zone).of(at(instant), 0).as_str().to_owned()
    }

    #[test]
    fn the_zone_s_summer_time_is_followed() {
        // Chile's clocks go back on the first Sunday of April, to UTC-4.
        for (instant, text) in [
            ("2026-01-31T08:00:00.999Z", "2026-01-31 05:00:00 -03:00"),
            ("2026-04-05T02:59:59Z", "2026-04-04 23:59:59 -03:00"),
            ("2026-04-05T03:00:00Z", "2026-04-04 23:00:00 -04:00"),
            ("2026-07-01T12:00:00Z", "2026-07-01 08:00:00 -04:00"),
        ] {
            assert_eq!(caption("America/Santiago", instant), text);
        }
    }

    #[test]
    fn a_zone_is_called_by_its_name_or_else_by_its_offset() {
        let instant = "2026-07-01T12:00:00Z";
        for (zone, text) in [
            ("UTC", "2026-07-01 12:00:00 UTC"),
            ("Europe/Berlin", "2026-07-01 14:00:00 CEST"),
            ("America/New_York", "2026-07-01 08:00:00 EDT"),
            ("Asia/Kathmandu", "2026-07-01 17:45:00 +05:45"),
        ] {
            assert_eq!(caption(zone, instant), text);
        }
        let bare = Captions { show_zone: false, ..captions("Europe/Berlin") };
        assert_eq!(bare.of(at(instant), 0).as_str(), "2026-07-01 14:00:00");
    }

    #[test]
    fn a_frame_s_own_zone_is_the_offset_that_it_carried() {
        let frame = captions("frame");
        let taken = at("2026-01-31T08:00:00Z");
        for (offset_secs, text) in [
            (-3 * 3_600, "2026-01-31 05:00:00 -03:00"),
            (5 * 3_600 + 1_800, "2026-01-31 13:30:00 +05:30"),
            (0, "2026-01-31 08:00:00 UTC"),
            (i32::MAX, "2026-01-31 08:00:00 UTC"),
        ] {
            assert_eq!(frame.of(taken, offset_secs).as_str(), text);
        }
        // What a frame carries is of no interest to the others.
        assert_eq!(captions("UTC").of(taken, -10_800).as_str(), "2026-01-31 08:00:00 UTC");
    }

    #[test]
    fn a_pattern_may_have_words_and_milliseconds() {
        let format = "Taken at %H:%M:%S%.3f on a %A".to_owned();
        let captions = Captions { format, ..captions("UTC") };
        let caption = captions.of(at("2026-01-31T08:00:00.25Z"), 0);
        assert_eq!(caption.as_str(), "Taken at 08:00:00.250 on a Saturday UTC");
    }

    #[test]
    fn an_instant_without_a_date_still_has_a_caption() {
        let caption = captions("UTC").of(UtcMillis(i64::MAX), 0);
        assert_eq!(caption.as_str(), format!("{} ms since 1970", i64::MAX));
    }
}
