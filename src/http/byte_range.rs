//! `Range`: which bytes of a file were asked for (RFC 9110 section 14).

use std::ops::Range;

/// What to answer with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asked {
    /// The whole file: 200.
    Whole,
    /// These bytes, at least one, within the file: 206.
    Part(Range<u64>),
    /// Bytes that the file does not have: 416.
    Unsatisfiable,
}

/// Reads a `Range` field's value for a file of `len_bytes`. A field that cannot be read, a
/// unit other than bytes and several ranges at once are ignored, as RFC 9110 sections 14.1.1
/// and 14.2 allow: the answer is then the whole file.
pub fn parse(field: &str, len_bytes: u64) -> Asked {
    let Some((unit, set)) = field.split_once('=') else { return Asked::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Asked::Whole;
    }
    let Some((first, last)) = set.trim().split_once('-') else { return Asked::Whole };
    let range = match (position(first), position(last)) {
        (Ok(Some(first)), Ok(Some(last))) if first <= last => {
            first..last.saturating_add(1).min(len_bytes)
        }
        (Ok(Some(first)), Ok(None)) => first..len_bytes,
        (Ok(None), Ok(Some(suffix))) => len_bytes.saturating_sub(suffix)..len_bytes,
        _ => return Asked::Whole,
    };
    if range.start < range.end { Asked::Part(range) } else { Asked::Unsatisfiable }
}

/// Digits only: `parse` of the standard library also takes a sign.
fn position(text: &str) -> Result<Option<u64>, ()> {
    match text {
        "" => Ok(None),
        _ if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().map(Some).map_err(drop),
        _ => Err(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_to_the_file() {
        for (field, asked) in [
            ("bytes=0-0", Asked::Part(0..1)),
            ("bytes=0-99", Asked::Part(0..100)),
            ("bytes=90-1000", Asked::Part(90..100)),
            ("bytes=0-18446744073709551615", Asked::Part(0..100)),
            ("Bytes=50-", Asked::Part(50..100)),
            ("bytes=-1", Asked::Part(99..100)),
            ("bytes=-1000", Asked::Part(0..100)),
        ] {
            assert_eq!(parse(field, 100), asked, "{field}");
        }
    }

    #[test]
    fn bytes_that_are_not_there_are_refused() {
        for field in ["bytes=100-", "bytes=100-200", "bytes=-0"] {
            assert_eq!(parse(field, 100), Asked::Unsatisfiable, "{field}");
        }
        assert_eq!(parse("bytes=0-", 0), Asked::Unsatisfiable);
    }

    #[test]
    fn what_cannot_be_read_is_ignored() {
        for field in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5-4",
            "bytes=+1-2",
            "bytes=0-1,5-6",
            "lines=0-1",
            "bytes=a-b",
            "bytes=99999999999999999999-",
        ] {
            assert_eq!(parse(field, 100), Asked::Whole, "{field}");
        }
    }
}
