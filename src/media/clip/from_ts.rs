//! Reads transport streams that [`crate::media::ts`] has written.
//!
//! Every packet is looked at, so that damage is noticed wherever the format lets it be. The
//! tables are not: they say nothing about the pictures.

use std::borrow::Cow;
use std::ops::Range;

use super::error::{SegmentFault, unreadable};
use super::pictures::{Picture, Pictures};
use crate::media::avc::Configuration;
use crate::media::h264::{nal, nal_type};
use crate::media::ts::{
    COUNTERS, MAX_TICKS, PACKET_BYTES, PAT_PID, PMT_PID, VIDEO_PID, payload_of,
};

/// The pictures of `file`, which lasts `total_ticks`: it does not say itself how long its last
/// picture is shown.
pub(super) fn read(file: &[u8], total_ticks: u64) -> Result<Pictures<'static>, SegmentFault> {
    let video = Video::collect(file)?;
    let mut list: Vec<Picture> = Vec::with_capacity(video.begins.len());
    let mut first_pts = None;
    let mut sets = Vec::new();
    for packet in video.packets() {
        let (pts, place) = payload(&video.data, packet)?;
        let unit = AccessUnit::read(&video.data, place)?;
        let start_ticks = pts.wrapping_sub(*first_pts.get_or_insert(pts)) & MAX_TICKS;
        if list.last().is_some_and(|last| last.start_ticks >= start_ticks) {
            return Err(unreadable("its time stamps do not ascend"));
        }
        if list.is_empty() {
            sets = unit.sets;
        } else if !unit.sets.is_empty() && unit.sets != sets {
            return Err(unreadable("its parameter sets change"));
        }
        let slice = video.data.get(unit.slice.clone()).unwrap_or(&[]);
        let picture = Picture::of(slice, unit.slice, start_ticks);
        list.push(picture.ok_or(unreadable("a picture is none"))?);
    }
    let last_ticks = list.last().map_or(0, |last| last.start_ticks);
    if last_ticks >= total_ticks {
        return Err(SegmentFault::Duration { found_ticks: last_ticks, listed_ticks: total_ticks });
    }
    let configuration = sets.split_first().and_then(|(sps, pps)| Configuration::of_sets(sps, pps));
    let configuration = configuration.ok_or(unreadable("its parameter sets are not ours"))?;
    Pictures::new(configuration, list, Cow::Owned(video.data))
}

/// The PES packets of the video, one behind the other.
struct Video {
    data: Vec<u8>,
    /// Where in `data` each begins.
    begins: Vec<usize>,
}

impl Video {
    fn collect(file: &[u8]) -> Result<Self, SegmentFault> {
        let (packets, rest) = file.as_chunks::<PACKET_BYTES>();
        if !rest.is_empty() {
            return Err(unreadable("its length is not one of whole packets"));
        }
        let mut video = Self { data: Vec::with_capacity(file.len()), begins: Vec::new() };
        let mut count = 0;
        for packet in packets {
            let [sync, flags_and_pid, pid_low, control, body @ ..] = packet;
            if *sync != 0x47 || flags_and_pid & 0x80 != 0 {
                return Err(unreadable("a packet is out of step or marked as wrong"));
            }
            match u16::from_be_bytes([flags_and_pid & 0x1F, *pid_low]) {
                PAT_PID | PMT_PID => continue,
                VIDEO_PID => {}
                _ => return Err(unreadable("it has other streams than the video")),
            }
            if usize::from(control & 15) != count % COUNTERS {
                return Err(unreadable("a packet is missing"));
            }
            count += 1;
            if flags_and_pid & 0x40 != 0 {
                video.begins.push(video.data.len());
            }
            let payload = payload_of(*control, body);
            video.data.extend_from_slice(payload.ok_or(unreadable("a packet without payload"))?);
        }
        // Our files have whole rounds of counters: see `ts::file`.
        match video.begins.first() {
            Some(0) if count % COUNTERS == 0 => Ok(video),
            _ => Err(unreadable("its beginning or its end is missing")),
        }
    }

    fn packets(&self) -> impl Iterator<Item = Range<usize>> {
        let ends = self.begins.iter().skip(1).copied().chain([self.data.len()]);
        self.begins.iter().zip(ends).map(|(begin, end)| *begin..end)
    }
}

/// PTS of a PES packet, and where its payload is (2.4.3.6).
fn payload(data: &[u8], packet: Range<usize>) -> Result<(u64, Range<usize>), SegmentFault> {
    let bytes = data.get(packet.clone()).unwrap_or(&[]);
    // Video, '10', PTS only, and nothing behind it.
    let Some(([0, 0, 1, 0xE0, high, low, 0x80..=0xBF, 0x80, 5, time @ ..], _)) =
        bytes.split_first_chunk::<14>()
    else {
        return Err(unreadable("a picture has no header"));
    };
    // 0 leaves the length open, as video may.
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if length != 0 && length + 6 != bytes.len() {
        return Err(unreadable("a picture is cut off"));
    }
    // Three bits, fifteen and fifteen, each with a marker behind them.
    let [a, b, c, d, e] = time.map(u64::from);
    if [a >> 4, a & 1, c & 1, e & 1] != [2, 1, 1, 1] {
        return Err(unreadable("a time stamp is none"));
    }
    let pts = (a & 0x0E) << 29 | b << 22 | (c & 0xFE) << 14 | d << 7 | e >> 1;
    Ok((pts, packet.start + 14..packet.end))
}

/// One picture with what goes before it.
struct AccessUnit<'a> {
    /// Parameter sets.
    sets: Vec<&'a [u8]>,
    /// Where the only slice is.
    slice: Range<usize>,
}

impl<'a> AccessUnit<'a> {
    /// The one at `place`: a delimiter, parameter sets or none, one slice.
    fn read(data: &'a [u8], place: Range<usize>) -> Result<Self, SegmentFault> {
        let (mut sets, mut slice, mut is_delimited) = (Vec::new(), None, false);
        let unit = data.get(place.clone()).unwrap_or(&[]);
        for within in nal::places(unit) {
            let bytes = unit.get(within.clone()).unwrap_or(&[]);
            match (nal_type(bytes), is_delimited, &slice) {
                (nal::DELIMITER, false, None) => is_delimited = true,
                (nal::SPS | nal::PPS, true, None) => sets.push(bytes),
                (nal::SLICE | nal::IDR_SLICE, true, None) => {
                    slice = Some(place.start + within.start..place.start + within.end);
                }
                _ => return Err(unreadable("it has NAL units that are not ours")),
            }
        }
        let slice = slice.ok_or(unreadable("an access unit has no picture"))?;
        Ok(Self { sets, slice })
    }
}
