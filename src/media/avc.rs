//! How the pictures of a format are decoded, as MP4 files say it (ISO/IEC 14496-15).
//!
//! Architecture invariant: depends on the format alone, and on nothing of a picture.

use super::error::MediaError;
use super::h264::{self, Stream, nal, nal_type};
use super::mp4::Boxes;
use super::timeline::PictureSize;

/// Bytes of a NAL unit's length before it.
pub(super) const LENGTH_BYTES: usize = 4;

/// The parameter sets of a format, and what they say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Configuration {
    /// The sequence parameter set, a NAL unit.
    sps: Vec<u8>,
    /// The picture parameter sets, NAL units, 31 at most.
    pps: Vec<Vec<u8>>,
    size: PictureSize,
    high: Option<[u8; 3]>,
}

impl From<&Stream> for Configuration {
    fn from(stream: &Stream) -> Self {
        let pps = stream.pps.to_vec();
        Self { sps: stream.sps.clone(), pps, size: stream.size, high: stream.high }
    }
}

impl Configuration {
    /// Of parameter sets that were found in a file; `None` when they are damaged, or none that we
    /// write.
    pub(super) fn of_sets(sps: &[u8], pps: &[&[u8]]) -> Option<Self> {
        let are_sets = nal_type(sps) == nal::SPS
            && !pps.is_empty()
            && pps.iter().all(|set| nal_type(set) == nal::PPS);
        let (size, high) = are_sets.then(|| h264::size_and_high(sps).ok()).flatten()?;
        let pps = pps.iter().map(|set| set.to_vec()).collect();
        Some(Self { sps: sps.to_vec(), pps, size, high })
    }

    /// The codec string (RFC 6381, 3.3), and the size of what is shown.
    pub(super) fn described(&self) -> (String, PictureSize) {
        (h264::codec(&self.sps), self.size)
    }

    /// Width and height in the 16 bits that boxes have for them.
    ///
    /// # Errors
    /// [`MediaError::TooLarge`] when they do not fit.
    pub(super) fn narrow_size(&self) -> Result<(u16, u16), MediaError> {
        let narrow = |pixels: u32| u16::try_from(pixels).map_err(|_| MediaError::TooLarge);
        Ok((narrow(self.size.width)?, narrow(self.size.height)?))
    }

    /// Writes the entry of a sample description (5.4.2.1), with what `more` adds to its boxes.
    ///
    /// # Errors
    /// [`MediaError::TooLarge`] when a parameter set or the size does not fit its field.
    pub(super) fn write_entry(
        &self,
        b: &mut Boxes,
        more: impl FnOnce(&mut Boxes),
    ) -> Result<(), MediaError> {
        let (width, height) = self.narrow_size()?;
        let record = self.record()?;
        b.nest(b"avc1", |b| {
            b.zeros(6);
            b.u16(1); // data_reference_index
            b.zeros(16);
            b.u16(width);
            b.u16(height);
            b.u32s(&[0x48_0000, 0x48_0000, 0]); // 72 dpi
            b.u16(1); // frame_count
            b.zeros(32); // compressorname
            b.u16(24); // depth
            b.u16(0xFFFF);
            b.nest(b"avcC", |b| b.bytes(&record));
            more(b);
        });
        Ok(())
    }

    /// The parameter sets as they go into a sample, each with its length before it.
    ///
    /// # Errors
    /// [`MediaError::TooLarge`] when one does not fit the decoder configuration either.
    pub(super) fn sets_in_band(&self) -> Result<Vec<u8>, MediaError> {
        let mut sets = Vec::new();
        for set in std::iter::once(&self.sps).chain(&self.pps) {
            let length = u16::try_from(set.len()).map_err(|_| MediaError::TooLarge)?;
            sets.extend_from_slice(&u32::from(length).to_be_bytes());
            sets.extend_from_slice(set);
        }
        Ok(sets)
    }

    /// AVCDecoderConfigurationRecord (5.3.3.1).
    fn record(&self) -> Result<Vec<u8>, MediaError> {
        let mut record = vec![1];
        record.extend_from_slice(&h264::profile(&self.sps));
        record.push(0xFC | 3); // lengthSizeMinusOne
        record.push(0xE0 | 1);
        write_set(&mut record, &self.sps)?;
        record.push(u8::try_from(self.pps.len()).map_err(|_| MediaError::TooLarge)?);
        for set in &self.pps {
            write_set(&mut record, set)?;
        }
        if let Some([chroma_format, luma_depth, chroma_depth]) = self.high {
            let rest = [0xFC | chroma_format, 0xF8 | luma_depth, 0xF8 | chroma_depth, 0];
            record.extend_from_slice(&rest);
        }
        Ok(record)
    }

    /// Reads a record that [`Self::write_entry`] has written; `None` for any other.
    pub(super) fn read(record: &[u8]) -> Option<Self> {
        let (_, rest) = record.split_first_chunk::<4>()?;
        let ([0xFF, 0xE1], rest) = rest.split_first_chunk::<2>()? else { return None };
        let (sps, rest) = read_set(rest)?;
        let (count, mut rest) = rest.split_first()?;
        let mut pps = Vec::new();
        for _ in 0..*count {
            let (set, after) = read_set(rest)?;
            pps.push(set);
            rest = after;
        }
        let read = Self::of_sets(sps, &pps)?;
        (read.record().ok()? == record).then_some(read)
    }
}

fn write_set(record: &mut Vec<u8>, set: &[u8]) -> Result<(), MediaError> {
    let length = u16::try_from(set.len()).map_err(|_| MediaError::TooLarge)?;
    record.extend_from_slice(&length.to_be_bytes());
    record.extend_from_slice(set);
    Ok(())
}

fn read_set(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(u16::from_be_bytes(*length).into())
}
