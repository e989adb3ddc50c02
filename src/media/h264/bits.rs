//! Bits of an RBSP: fixed-width and Exp-Golomb numbers (ITU-T H.264, 7.2 and 9.1).

use super::H264Error;

/// Reads bits; running out of them is an error that names the syntax structure.
#[derive(Clone)]
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    position: usize,
    within: &'static str,
}

impl<'a> BitReader<'a> {
    pub(super) fn new(bytes: &'a [u8], within: &'static str) -> Self {
        Self { bytes, position: 0, within }
    }

    /// How many bits have been read.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    pub(super) fn flag(&mut self) -> Result<bool, H264Error> {
        let byte = self
            .bytes
            .get(self.position / 8)
            .ok_or(H264Error::Truncated { within: self.within })?;
        let bit = byte >> (7 - self.position % 8) & 1;
        self.position += 1;
        Ok(bit == 1)
    }

    /// u(`count`), at most 32 bits.
    pub(super) fn bits(&mut self, count: u32) -> Result<u32, H264Error> {
        let mut value = 0;
        for _ in 0..count {
            value = value << 1 | u32::from(self.flag()?);
        }
        Ok(value)
    }

    /// ue(v).
    pub(super) fn unsigned(&mut self) -> Result<u32, H264Error> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 31 {
                return Err(H264Error::Malformed {
                    within: self.within,
                    what: "an Exp-Golomb number of more than 32 bits",
                });
            }
        }
        let suffix = self.bits(zeros)?;
        Ok((1_u32 << zeros) - 1 + suffix)
    }

    /// se(v), which nothing here needs the value of.
    pub(super) fn skip_signed(&mut self) -> Result<(), H264Error> {
        self.unsigned().map(|_| ())
    }
}

/// The number of bits before the stop bit of `rbsp` (7.3.2.11).
pub(super) fn bits_before_stop(rbsp: &[u8]) -> Option<usize> {
    let last = rbsp.iter().rposition(|byte| *byte != 0)?;
    let zeros = rbsp.get(last)?.trailing_zeros();
    Some(last * 8 + 7 - usize::try_from(zeros).ok()?)
}

/// Writes bits.
#[derive(Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    /// Bits of the last byte that are used, 1 to 8; 0 only when there is no byte.
    used: usize,
}

impl BitWriter {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), used: 0 }
    }

    pub(super) fn flag(&mut self, value: bool) {
        self.bits(1, u32::from(value));
    }

    /// u(`count`), at most 32 bits.
    pub(super) fn bits(&mut self, count: u32, value: u32) {
        for shift in (0..count).rev() {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
                self.used = 0;
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= u8::from(value >> shift & 1 == 1) << (7 - self.used);
            }
            self.used += 1;
        }
    }

    /// ue(v); `value` below `u32::MAX`.
    pub(super) fn unsigned(&mut self, value: u32) {
        let code = value.saturating_add(1);
        let length = u32::BITS - code.leading_zeros();
        self.bits(length - 1, 0);
        self.bits(length, code);
    }

    /// Copies the bits `from..to` of `source`, whole bytes at a time.
    pub(super) fn copy(&mut self, source: &[u8], from: usize, to: usize) {
        let mut position = from;
        let mut one_by_one = |writer: &mut Self, until: usize| {
            while position < until.min(to) {
                let byte = source.get(position / 8).copied().unwrap_or(0);
                writer.bits(1, u32::from(byte >> (7 - position % 8) & 1));
                position += 1;
            }
        };
        // Up to a byte boundary of the source.
        one_by_one(self, from.next_multiple_of(8));
        let whole = source.get(from.div_ceil(8)..to / 8).unwrap_or(&[]);
        self.whole_bytes(whole);
        let behind = from.next_multiple_of(8) + whole.len() * 8;
        if behind < to {
            let mut rest = BitReader::new(source, "copied bits");
            rest.position = behind;
            let count = u32::try_from(to - behind).unwrap_or(0);
            self.bits(count, rest.bits(count).unwrap_or(0));
        }
    }

    fn whole_bytes(&mut self, source: &[u8]) {
        if self.used.is_multiple_of(8) {
            self.bytes.extend_from_slice(source);
            return;
        }
        let used = self.used;
        let mut carry = self.bytes.pop().unwrap_or(0);
        self.bytes.extend(source.iter().map(|byte| {
            let out = carry | byte >> used;
            carry = byte << (8 - used);
            out
        }));
        self.bytes.push(carry);
    }

    /// Fills the last byte with ones: cabac_alignment_one_bit (7.3.4).
    pub(super) fn align_with_ones(&mut self) {
        while !self.used.is_multiple_of(8) {
            self.flag(true);
        }
    }

    /// Ends the RBSP with its stop bit and gives its bytes.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.flag(true);
        self.bytes
    }

    /// The bytes as they are, when the stop bit has been copied; the last one filled with zeros.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_read_back(numbers in prop::collection::vec(0..u32::MAX, 0..20)) {
            let mut writer = BitWriter::default();
            numbers.iter().for_each(|number| writer.unsigned(*number));
            let bytes = writer.finish();
            let mut reader = BitReader::new(&bytes, "a test");
            for number in &numbers {
                prop_assert_eq!(reader.unsigned().unwrap(), *number);
            }
            prop_assert_eq!(bits_before_stop(&bytes), Some(reader.position()));
        }

        #[test]
        fn copied_bits_are_the_same(
            bytes in prop::collection::vec(any::<u8>(), 0..40),
            before in 0_u32..20,
            from in 0_usize..40,
            length in 0_usize..320,
        ) {
            let to = (from + length).min(bytes.len() * 8);
            let from = from.min(to);
            let mut writer = BitWriter::default();
            writer.bits(before, 0);
            writer.copy(&bytes, from, to);
            let copied = writer.finish();
            prop_assert_eq!(
                bits_before_stop(&copied).unwrap(),
                usize::try_from(before).unwrap() + to - from
            );
            let mut original = BitReader::new(&bytes, "a test");
            original.position = from;
            let mut copy = BitReader::new(&copied, "a test");
            copy.bits(before).unwrap();
            for _ in from..to {
                prop_assert_eq!(copy.flag().unwrap(), original.flag().unwrap());
            }
        }
    }
}
