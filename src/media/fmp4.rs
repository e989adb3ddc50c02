//! Writes fragmented MP4 (ISO/IEC 14496-12 and -15): an init file for a format, and media files
//! of one fragment that say exactly how long each picture lasts.
//!
//! Architecture invariant: the init file depends on the format alone.

use super::h264::Stream;
use super::mux::{MediaError, Sample};
use super::timeline::{TICKS_PER_MILLI, TICKS_PER_SECOND};

const TRACK_ID: u32 = 1;

/// The unity matrix of mvhd and tkhd (8.2.2.2), 16.16 and 2.30 fixed point.
const MATRIX: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];

/// Sample flags (8.8.3.1): depends on no other; a sync sample.
const SYNC_SAMPLE: u32 = 0x0200_0000;
/// Depends on others, is no sync sample.
const PREDICTED_SAMPLE: u32 = 0x0101_0000;
/// As before, and no other depends on it.
const DISPOSABLE_SAMPLE: u32 = PREDICTED_SAMPLE | 0x0080_0000;

/// tfhd: offsets count from the moof (8.8.7.1).
const DEFAULT_BASE_IS_MOOF: u32 = 0x02_0000;
/// trun: data offset; duration, size and flags of each sample (8.8.8.1).
const TRUN_FIELDS: u32 = 0x00_0701;

/// Box sizes and offsets stay within 31 bits.
const MAX_DATA_BYTES: usize = 0x7FFF_0000;

/// Bytes of a sample before its NAL unit: how long that is.
const LENGTH_BYTES: usize = 4;

/// The init file.
///
/// # Errors
///
/// [`MediaError::TooLarge`] when a parameter set or the size does not fit its field.
pub(super) fn init(stream: &Stream) -> Result<Vec<u8>, MediaError> {
    let timescale = u32::try_from(TICKS_PER_SECOND).unwrap_or(u32::MAX);
    let narrow = |pixels: u32| u16::try_from(pixels).map_err(|_| MediaError::TooLarge);
    let (width, height) = (narrow(stream.size.width)?, narrow(stream.size.height)?);
    let configuration = decoder_configuration(stream)?;
    let mut b = Boxes::default();
    b.nest(b"ftyp", |b| {
        b.bytes(b"iso6");
        b.u32(0);
        b.bytes(b"iso6mp41");
    });
    b.nest(b"moov", |b| {
        b.full(b"mvhd", 0, 0, |b| {
            b.u32s(&[0, 0, timescale, 0, 0x1_0000]);
            b.u16(0x0100); // volume
            b.zeros(10);
            b.u32s(&MATRIX);
            b.zeros(24);
            b.u32(TRACK_ID + 1); // next_track_ID
        });
        b.nest(b"trak", |b| {
            // Enabled, in the movie, in its preview.
            b.full(b"tkhd", 0, 7, |b| {
                b.u32s(&[0, 0, TRACK_ID, 0, 0]);
                b.zeros(16); // layer, group, volume
                b.u32s(&MATRIX);
                b.u32s(&[u32::from(width) << 16, u32::from(height) << 16]);
            });
            b.nest(b"mdia", |b| {
                b.full(b"mdhd", 0, 0, |b| {
                    b.u32s(&[0, 0, timescale, 0]);
                    b.u16(0x55C4); // "und"
                    b.u16(0);
                });
                b.full(b"hdlr", 0, 0, |b| {
                    b.u32(0);
                    b.bytes(b"vide");
                    b.zeros(12);
                    b.bytes(b"video\0");
                });
                b.nest(b"minf", |b| {
                    b.full(b"vmhd", 0, 1, |b| b.zeros(8));
                    b.nest(b"dinf", |b| {
                        b.full(b"dref", 0, 0, |b| {
                            b.u32(1);
                            b.full(b"url ", 0, 1, |_| {}); // in this file
                        });
                    });
                    b.nest(b"stbl", |b| {
                        b.full(b"stsd", 0, 0, |b| {
                            b.u32(1);
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
                                b.nest(b"avcC", |b| b.bytes(&configuration));
                            });
                        });
                        // Empty: the samples are in the fragments.
                        b.full(b"stts", 0, 0, |b| b.u32(0));
                        b.full(b"stsc", 0, 0, |b| b.u32(0));
                        b.full(b"stsz", 0, 0, |b| b.zeros(8));
                        b.full(b"stco", 0, 0, |b| b.u32(0));
                    });
                });
            });
        });
        b.nest(b"mvex", |b| {
            b.full(b"trex", 0, 0, |b| b.u32s(&[TRACK_ID, 1, 0, 0, 0]));
        });
    });
    Ok(b.out)
}

/// AVCDecoderConfigurationRecord (ISO/IEC 14496-15, 5.3.3.1).
fn decoder_configuration(stream: &Stream) -> Result<Vec<u8>, MediaError> {
    let mut record = vec![1];
    record.extend_from_slice(&stream.profile());
    record.push(0xFC | 3); // lengthSizeMinusOne
    let mut sets = |head: u8, sets: &[&Vec<u8>]| {
        record.push(head);
        for set in sets {
            let length = u16::try_from(set.len()).map_err(|_| MediaError::TooLarge)?;
            record.extend_from_slice(&length.to_be_bytes());
            record.extend_from_slice(set);
        }
        Ok::<(), MediaError>(())
    };
    let [own, repeats] = &stream.pps;
    sets(0xE0 | 1, &[&stream.sps])?;
    sets(2, &[own, repeats])?;
    if let Some([chroma_format, luma_depth, chroma_depth]) = stream.high {
        let rest = [0xFC | chroma_format, 0xF8 | luma_depth, 0xF8 | chroma_depth, 0];
        record.extend_from_slice(&rest);
    }
    Ok(record)
}

/// The media file.
///
/// # Errors
///
/// [`MediaError::TooLarge`] beyond 2 GiB, which readers with signed offsets take.
pub(super) fn file(samples: &[Sample<'_>]) -> Result<Vec<u8>, MediaError> {
    let fits = |number: u64| u32::try_from(number).map_err(|_| MediaError::TooLarge);
    let mut run = Vec::with_capacity(samples.len());
    let mut data_bytes = 0;
    for sample in samples {
        let bytes = sample.picture.nal.len() + LENGTH_BYTES;
        data_bytes += bytes;
        let flags = match (sample.picture.idr, sample.picture.reference) {
            (true, _) => SYNC_SAMPLE,
            (false, true) => PREDICTED_SAMPLE,
            (false, false) => DISPOSABLE_SAMPLE,
        };
        run.push([fits(sample.duration_ticks)?, u32::try_from(bytes).unwrap_or(0), flags]);
    }
    if data_bytes > MAX_DATA_BYTES {
        return Err(MediaError::TooLarge);
    }
    let start_ticks = samples.first().map_or(0, |sample| sample.start_ticks);
    // Fragments count up (8.8.5.1): so do their milliseconds, and nothing needs remembering.
    let sequence =
        u32::try_from((start_ticks / TICKS_PER_MILLI) & u64::from(u32::MAX)).unwrap_or(0);
    let mut b = Boxes { out: Vec::with_capacity(data_bytes + samples.len() * 12 + 200) };
    b.nest(b"styp", |b| {
        b.bytes(b"msdh");
        b.u32(0);
        b.bytes(b"msdhiso6");
    });
    let mut offset_at = 0;
    let moof_at = b.out.len();
    b.nest(b"moof", |b| {
        b.full(b"mfhd", 0, 0, |b| b.u32(sequence));
        b.nest(b"traf", |b| {
            b.full(b"tfhd", 0, DEFAULT_BASE_IS_MOOF, |b| b.u32(TRACK_ID));
            b.full(b"tfdt", 1, 0, |b| b.bytes(&start_ticks.to_be_bytes()));
            b.full(b"trun", 0, TRUN_FIELDS, |b| {
                b.u32(u32::try_from(run.len()).unwrap_or(0));
                offset_at = b.out.len();
                b.u32(0);
                run.iter().for_each(|sample| b.u32s(sample));
            });
        });
    });
    let data_at = b.out.len() - moof_at + BOX_HEADER_BYTES;
    b.patch(offset_at, data_at);
    b.nest(b"mdat", |b| {
        for sample in samples {
            b.u32(u32::try_from(sample.picture.nal.len()).unwrap_or(0));
            b.bytes(&sample.picture.nal);
        }
    });
    Ok(b.out)
}

const BOX_HEADER_BYTES: usize = 8;

/// Boxes within boxes (4.2).
#[derive(Default)]
struct Boxes {
    out: Vec<u8>,
}

impl Boxes {
    fn nest(&mut self, kind: &[u8; 4], content: impl FnOnce(&mut Self)) {
        let start = self.out.len();
        self.u32(0);
        self.bytes(kind);
        content(self);
        self.patch(start, self.out.len() - start);
    }

    fn full(&mut self, kind: &[u8; 4], version: u8, flags: u32, content: impl FnOnce(&mut Self)) {
        self.nest(kind, |b| {
            b.u32(u32::from(version) << 24 | flags);
            content(b);
        });
    }

    /// Sets the number at `at`; callers have made sure that it fits.
    fn patch(&mut self, at: usize, number: usize) {
        let number = u32::try_from(number).unwrap_or(0).to_be_bytes();
        if let Some(place) = self.out.get_mut(at..at + number.len()) {
            place.copy_from_slice(&number);
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    fn u16(&mut self, number: u16) {
        self.bytes(&number.to_be_bytes());
    }

    fn u32(&mut self, number: u32) {
        self.bytes(&number.to_be_bytes());
    }

    fn u32s(&mut self, numbers: &[u32]) {
        numbers.iter().for_each(|number| self.u32(*number));
    }

    fn zeros(&mut self, count: usize) {
        self.out.resize(self.out.len() + count, 0);
    }
}
