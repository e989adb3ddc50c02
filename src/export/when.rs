//! How a person gives an instant (pure).

use crate::model::UtcMillis;

/// Reads an instant: RFC 3339 with a zone, `now`, or a time before now such as `-10m` or
/// `-1h30m`. None if it is none of these.
pub fn parse(text: &str, now: UtcMillis) -> Option<UtcMillis> {
    let text = text.trim();
    if text.eq_ignore_ascii_case("now") {
        return Some(now);
    }
    if let Some(before) = text.strip_prefix('-') {
        let ago = before.parse::<jiff::SignedDuration>().ok()?;
        let millis = i64::try_from(ago.as_millis()).ok()?;
        return (millis >= 0).then(|| now.plus_millis(-millis));
    }
    UtcMillis::parse_rfc3339(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UtcMillis = UtcMillis(1_769_846_400_000);

    #[test]
    fn an_instant_is_a_date_or_a_time_before_now() {
        assert_eq!(parse("now", NOW), Some(NOW));
        assert_eq!(parse("-10m", NOW), Some(NOW.plus_millis(-600_000)));
        assert_eq!(parse("-1h30m", NOW), Some(NOW.plus_millis(-5_400_000)));
        assert_eq!(parse("-2.5s", NOW), Some(NOW.plus_millis(-2_500)));
        assert_eq!(parse("2026-01-31T05:00:00-03:00", NOW), Some(NOW));
        for bad in ["", "yesterday", "10m", "-", "--10m", "-ten", "2026-01-31", "-1y"] {
            assert_eq!(parse(bad, NOW), None, "{bad}");
        }
    }
}
