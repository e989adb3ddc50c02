//! NAL units: the byte stream format and emulation prevention (ITU-T H.264, B.1 and 7.4.1).

use std::ops::Range;

use memchr::memmem;

/// nal_unit_type, table 7-1.
pub(in crate::media) const SLICE: u8 = 1;
/// A slice of an IDR picture.
pub(in crate::media) const IDR_SLICE: u8 = 5;
/// Supplemental enhancement information.
pub(super) const SEI: u8 = 6;
/// Sequence parameter set.
pub(in crate::media) const SPS: u8 = 7;
/// Picture parameter set.
pub(in crate::media) const PPS: u8 = 8;
/// Access unit delimiter.
pub(in crate::media) const DELIMITER: u8 = 9;
/// End of sequence.
pub(super) const END_OF_SEQUENCE: u8 = 10;
/// End of stream.
pub(super) const END_OF_STREAM: u8 = 11;
/// Filler data.
pub(super) const FILLER: u8 = 12;

/// The NAL units of an Annex B byte stream, without start codes and trailing zeros; what comes
/// before the first start code is left out.
pub(super) fn split(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    places(stream).map(|place| stream.get(place).unwrap_or(&[]))
}

/// Where they are.
pub(in crate::media) fn places(stream: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut starts = memmem::find_iter(stream, b"\0\0\x01").map(|at| at + 3).peekable();
    std::iter::from_fn(move || {
        let start = starts.next()?;
        let end = starts.peek().map_or(stream.len(), |next| next - 3);
        let unit = without_trailing_zeros(stream.get(start..end).unwrap_or(&[]));
        Some(start..start + unit.len())
    })
    .filter(|place| !place.is_empty())
}

fn without_trailing_zeros(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    bytes.get(..end).unwrap_or(&[])
}

/// A NAL unit without its emulation prevention bytes.
pub(super) fn unescape(nal: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(nal.len());
    let mut rest = nal;
    while let Some(at) = memmem::find(rest, b"\0\0\x03") {
        let (kept, after) = rest.split_at(at + 2);
        out.extend_from_slice(kept);
        rest = after.get(1..).unwrap_or(&[]);
    }
    out.extend_from_slice(rest);
    // cabac_zero_words (7.3.2.10) carry nothing.
    out.truncate(without_trailing_zeros(&out).len());
    out
}

/// `rbsp`, its header byte included, as a NAL unit: with emulation prevention bytes.
pub(super) fn escape(rbsp: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(rbsp.len() + rbsp.len() / 64 + 8);
    let mut rest = rbsp;
    // Where in `rest` two zeros may next be found; a prevention byte starts the count anew.
    let mut from = 0;
    while let Some(at) = rest.get(from..).and_then(|bytes| memmem::find(bytes, b"\0\0")) {
        let behind = from + at + 2;
        match rest.get(behind) {
            Some(0..=3) => {
                let (kept, after) = rest.split_at(behind);
                out.extend_from_slice(kept);
                out.push(3);
                rest = after;
                from = 0;
            }
            // Not a zero, so no pair begins before it.
            Some(_) => from = behind + 1,
            None => break,
        }
    }
    out.extend_from_slice(rest);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One byte at a time, as the standard words it.
    fn escape_plainly(rbsp: &[u8]) -> Vec<u8> {
        let (mut out, mut zeros) = (Vec::new(), 0);
        for byte in rbsp {
            if zeros >= 2 && *byte <= 3 {
                out.push(3);
                zeros = 0;
            }
            out.push(*byte);
            zeros = if *byte == 0 { zeros + 1 } else { 0 };
        }
        out
    }

    proptest! {
        #[test]
        fn escaping_is_the_standards_and_reads_back(
            bytes in prop::collection::vec(prop_oneof![3 => Just(0_u8), 1 => 0_u8..6], 1..60),
        ) {
            let mut rbsp = bytes;
            rbsp.push(0x80);
            let nal = escape(&rbsp);
            prop_assert_eq!(&nal, &escape_plainly(&rbsp));
            prop_assert_eq!(unescape(&nal), rbsp);
            prop_assert!(memmem::find(&nal, b"\0\0\x01").is_none());
        }
    }

    #[test]
    fn start_codes_of_three_and_four_bytes_separate_units() {
        let stream = b"\0\0\0\x01\x67\x01\0\0\x01\x68\0\0\0\x01\x65\x02\0\0";
        assert_eq!(split(stream).collect::<Vec<_>>(), [&b"\x67\x01"[..], b"\x68", b"\x65\x02"]);
        assert_eq!(split(b"no start code").count(), 0);
    }
}
