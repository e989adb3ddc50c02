//! Writes MPEG-2 transport streams of one H.264 video (ISO/IEC 13818-1): whole files that a
//! player can begin with, each with its own PAT and PMT.
//!
//! Architecture invariant: the same pictures give the same bytes, whatever was written before.

use super::h264::{ACCESS_UNIT_DELIMITER, Stream};
use super::sample::Sample;

pub(super) const PACKET_BYTES: usize = 188;
pub(super) const HEADER_BYTES: usize = 4;
/// What a packet holds besides its header.
const ROOM_BYTES: usize = PACKET_BYTES - HEADER_BYTES;
/// Length, flags and PCR of an adaptation field.
const PCR_FIELD_BYTES: usize = 8;

pub(super) const PAT_PID: u16 = 0;
pub(super) const PMT_PID: u16 = 0x1000;
pub(super) const VIDEO_PID: u16 = 0x100;
const PROGRAM: u16 = 1;
/// AVC video, table 2-34.
const STREAM_TYPE: u8 = 0x1B;

/// How long before it is shown a picture is said to arrive: 100 ms.
const ARRIVAL_TICKS: u64 = 9_000;

/// What precedes the access unit in a PES packet with a PTS.
const PES_HEADER_BYTES: usize = 14;
const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// The 33 bits of a time stamp.
pub(super) const MAX_TICKS: u64 = (1 << 33) - 1;

/// continuity_counter has four bits (2.4.3.3).
pub(super) const COUNTERS: usize = 16;

/// What a packet holds of its stream, by the byte of its header that says so and what follows
/// the header (2.4.3.3 and 2.4.3.4); none if that is nothing.
pub(super) fn payload_of(control: u8, body: &[u8]) -> Option<&[u8]> {
    let payload = match control >> 4 & 3 {
        1 => Some(body),
        3 => body.split_first().and_then(|(length, rest)| rest.get(usize::from(*length)..)),
        _ => None,
    };
    payload.filter(|payload| !payload.is_empty())
}

/// The file. Each picture is a PES packet of its own, with a PCR.
///
/// The standard wants a PCR every 100 ms (2.7.2), which with pictures 500 ms apart would take
/// four empty packets for every repeat and double what repeats cost. It is for receivers that
/// recover a clock from a steady channel; HLS players fetch files and go by PTS.
///
/// The file keeps no state, so every PID's continuity counter begins at 0. The video's packets
/// are brought to a multiple of 16 so that the next file's 0 is what a demultiplexer that reads
/// file after file expects: FFmpeg marks the last picture of a file as corrupt otherwise.
pub(super) fn file(stream: &Stream, samples: &[Sample<'_>]) -> Vec<u8> {
    let coded_bytes: usize = samples.iter().map(|sample| sample.picture.nal.len()).sum();
    let mut out =
        Vec::with_capacity(coded_bytes + coded_bytes / 32 + (samples.len() + 20) * PACKET_BYTES);
    section(&mut out, PAT_PID, &program_association());
    section(&mut out, PMT_PID, &program_map());
    let mut video = VideoPackets { out, written: 0 };
    let packets = |sample| packets_for(PES_HEADER_BYTES + unit_bytes(stream, sample));
    let natural: usize = samples.iter().map(packets).sum();
    // The first picture has bytes enough to be spread over more packets.
    let mut additional = natural.next_multiple_of(COUNTERS) - natural;
    let mut pes = Vec::new();
    for sample in samples {
        pes.clear();
        write_pes(&mut pes, stream, sample);
        video.write(&pes, sample, packets_for(pes.len()) + additional);
        additional = 0;
    }
    video.out
}

/// How many packets a PES packet takes.
fn packets_for(pes_bytes: usize) -> usize {
    1 + pes_bytes.saturating_sub(ROOM_BYTES - PCR_FIELD_BYTES).div_ceil(ROOM_BYTES)
}

/// The access unit of a picture: each with a delimiter, as transport streams want it (2.14.1),
/// and where decoding can start with everything it takes.
fn units<'a>(stream: &'a Stream, sample: &Sample<'a>) -> impl Iterator<Item = &'a [u8]> + Clone {
    let parameter_sets = [&stream.sps[..], &stream.pps[0], &stream.pps[1]];
    let idr = sample.picture.idr;
    std::iter::once(&ACCESS_UNIT_DELIMITER[..])
        .chain(parameter_sets.into_iter().filter(move |_| idr))
        .chain([&sample.picture.nal[..]])
}

fn unit_bytes(stream: &Stream, sample: &Sample<'_>) -> usize {
    units(stream, sample).map(|unit| START_CODE.len() + unit.len()).sum()
}

/// One picture: header, PTS and access unit (2.4.3.6). No DTS: nothing is reordered.
fn write_pes(pes: &mut Vec<u8>, stream: &Stream, sample: &Sample<'_>) {
    // Three bytes of flags and five of PTS come before. 0 leaves the length open, as video may.
    let length = u16::try_from(unit_bytes(stream, sample) + 8).unwrap_or(0).to_be_bytes();
    pes.extend_from_slice(&[0, 0, 1, 0xE0, length[0], length[1]]);
    // '10', data_alignment_indicator; PTS only; five bytes follow.
    pes.extend_from_slice(&[0x84, 0x80, 5]);
    let pts = sample.start_ticks & MAX_TICKS;
    let low_byte = |value: u64| value.to_be_bytes()[7];
    pes.extend_from_slice(&[
        0x21 | low_byte(pts >> 29 & 0x0E),
        low_byte(pts >> 22),
        low_byte(pts >> 14) | 1,
        low_byte(pts >> 7),
        low_byte(pts << 1) | 1,
    ]);
    for unit in units(stream, sample) {
        pes.extend_from_slice(&START_CODE);
        pes.extend_from_slice(unit);
    }
}

struct VideoPackets {
    out: Vec<u8>,
    written: usize,
}

impl VideoPackets {
    /// Spreads `pes` over `packets` packets, each with a byte of it at least: one without
    /// payload would not be counted.
    fn write(&mut self, pes: &[u8], sample: &Sample<'_>, packets: usize) {
        let mut rest = pes;
        for left in (0..packets).rev() {
            let first = left + 1 == packets;
            let room = if first { ROOM_BYTES - PCR_FIELD_BYTES } else { ROOM_BYTES };
            let (payload, after) = rest.split_at(room.min(rest.len().saturating_sub(left)));
            self.packet(payload, first.then_some(sample));
            rest = after;
        }
    }

    /// `begins` is the sample whose first packet this is.
    fn packet(&mut self, payload: &[u8], begins: Option<&Sample<'_>>) {
        let adaptation_bytes = ROOM_BYTES - payload.len();
        let control = if adaptation_bytes > 0 { 0x30 } else { 0x10 };
        let counter = u8::try_from(self.written % COUNTERS).unwrap_or(0);
        header(&mut self.out, VIDEO_PID, begins.is_some(), control | counter);
        self.written += 1;
        let end = self.out.len() + adaptation_bytes;
        if adaptation_bytes > 0 {
            self.out.push(u8::try_from(adaptation_bytes - 1).unwrap_or(u8::MAX));
        }
        if adaptation_bytes > 1 {
            let random_access = begins.is_some_and(|sample| sample.picture.idr);
            let has_clock = begins.is_some();
            self.out.push(u8::from(random_access) << 6 | u8::from(has_clock) << 4);
        }
        if let Some(sample) = begins {
            let base = sample.start_ticks.saturating_sub(ARRIVAL_TICKS) & MAX_TICKS;
            // 33 bits of base, 6 reserved ones, 9 bits of extension (2.4.3.5).
            let clock = (base << 15 | 0x3F << 9).to_be_bytes();
            self.out.extend_from_slice(clock.get(2..).unwrap_or(&[]));
        }
        self.out.resize(end, 0xFF);
        self.out.extend_from_slice(payload);
    }
}

fn header(out: &mut Vec<u8>, pid: u16, begins_unit: bool, control_and_counter: u8) {
    let [high, low] = pid.to_be_bytes();
    out.extend_from_slice(&[0x47, u8::from(begins_unit) << 6 | high, low, control_and_counter]);
}

/// A packet with a whole section (2.4.4), filled up with stuffing.
fn section(out: &mut Vec<u8>, pid: u16, section: &[u8]) {
    let end = out.len() + PACKET_BYTES;
    header(out, pid, true, 0x10);
    out.push(0); // pointer_field
    out.extend_from_slice(section);
    out.extend_from_slice(&crc32(section).to_be_bytes());
    out.resize(end, 0xFF);
}

/// 2.4.4.3, without its CRC.
fn program_association() -> [u8; 12] {
    let [program_high, program_low] = PROGRAM.to_be_bytes();
    let [pid_high, pid_low] = PMT_PID.to_be_bytes();
    [
        0x00, // table_id
        0xB0,
        13, // section_length: nine bytes more, and the CRC
        0x00,
        0x01, // transport_stream_id
        0xC1, // version 0, current
        0,
        0, // section 0 of 0
        program_high,
        program_low,
        0xE0 | pid_high,
        pid_low,
    ]
}

/// 2.4.4.8, without its CRC.
fn program_map() -> [u8; 17] {
    let [program_high, program_low] = PROGRAM.to_be_bytes();
    let [pid_high, pid_low] = VIDEO_PID.to_be_bytes();
    [
        0x02, // table_id
        0xB0,
        18, // section_length: fourteen bytes more, and the CRC
        program_high,
        program_low,
        0xC1, // version 0, current
        0,
        0, // section 0 of 0
        0xE0 | pid_high,
        pid_low, // PCR_PID
        0xF0,
        0, // program_info_length
        STREAM_TYPE,
        0xE0 | pid_high,
        pid_low,
        0xF0,
        0, // ES_info_length
    ]
}

/// Annex A: polynomial 0x04C11DB7, all ones first, not reflected.
fn crc32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| {
            crc << 1 ^ if crc >> 31 == 1 { 0x04C1_1DB7 } else { 0 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::h264::CodedPicture;
    use crate::media::timeline::PictureSize;

    fn stream(sizes: &[usize]) -> Stream {
        let pictures = sizes.iter().enumerate().map(|(index, size)| CodedPicture {
            nal: vec![0x65; *size],
            idr: index == 0,
            reference: true,
        });
        Stream {
            sps: vec![0x67; 20],
            pps: [vec![0x68; 6], vec![0x68; 5]],
            size: PictureSize { width: 16, height: 16 },
            high: None,
            pictures: pictures.collect(),
        }
    }

    fn written(sizes: &[usize], first_ticks: u64) -> Vec<u8> {
        let stream = stream(sizes);
        let samples: Vec<_> = (first_ticks..)
            .step_by(45_000)
            .zip(&stream.pictures)
            .map(|(start_ticks, picture)| Sample { start_ticks, duration_ticks: 45_000, picture })
            .collect();
        file(&stream, &samples)
    }

    #[test]
    fn the_crc_is_the_standards() {
        // The check value of CRC-32/MPEG-2.
        assert_eq!(crc32(b"123456789"), 0x0376_E6E7);
    }

    #[test]
    fn counters_run_on_from_file_to_file_whatever_the_sizes() {
        for size in (10..800).chain([65_000, 70_000]) {
            let file = written(&[size, 900, size / 2 + 10], 900_000);
            assert_eq!(file.len() % PACKET_BYTES, 0);
            let packets: Vec<_> = file.chunks(PACKET_BYTES).collect();
            assert!(packets.iter().all(|packet| packet[0] == 0x47));
            let video = &packets[2..];
            assert_eq!(video.len() % COUNTERS, 0, "{size}");
            for (index, packet) in video.iter().enumerate() {
                assert_eq!(usize::from(packet[3] & 15), index % COUNTERS);
                assert_eq!(packet[3] & 0x10, 0x10, "every packet has a payload");
            }
        }
    }

    #[test]
    fn the_longest_time_stamps_keep_their_33_bits() {
        let late = (1 << 33) - 1;
        let file = written(&[50], late);
        let video = &file[2 * PACKET_BYTES..];
        let adaptation = usize::from(video[4]) + 1;
        let pts = &video[HEADER_BYTES + adaptation + 9..][..5];
        assert_eq!(pts, [0x2F, 0xFF, 0xFF, 0xFF, 0xFF]);
    }
}
