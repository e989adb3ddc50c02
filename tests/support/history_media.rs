//! The media files themselves: whether every picture of them decodes, and the timestamps inside.

use std::path::Path;
use std::sync::Once;

use ffmpeg_next::codec::decoder::Check;
use ffmpeg_next::{Error, codec, format, frame, log, media};

use super::parse::Listed;

/// Timestamps of a transport stream wrap after 33 bits at 90 kHz (ISO/IEC 13818-1, 2.4.3.7).
const WRAP_MILLIS: f64 = 8_589_934_592.0 / 90.0;

/// How far two times in milliseconds may be apart that should be the same.
const TOLERANCE_MILLIS: f64 = 1.0;

/// What libav says is told by its results; its log would drown them.
static QUIET: Once = Once::new();

/// The presentation times of a segment's pictures, ascending, in milliseconds. Every one of them
/// has decoded without an error, and the first is one that needs no other.
pub fn picture_times(folder: &Path, segment: &Listed) -> Result<Vec<f64>, String> {
    QUIET.call_once(|| log::set_level(log::Level::Quiet));
    let file = folder.join(&segment.uri).display().to_string();
    let input = match &segment.map {
        Some(map) => format!("concat:{}|{file}", folder.join(map).display()),
        None => file,
    };
    let times = decoded_times(&input).map_err(|error| format!("{}: {error}", segment.uri))?;
    if times.is_empty() { Err(format!("{}: no pictures", segment.uri)) } else { Ok(times) }
}

fn decoded_times(input: &str) -> Result<Vec<f64>, String> {
    let failed = |doing: &'static str| move |error: Error| format!("{doing}: {error}");
    let mut input = format::input(input).map_err(failed("it is not opened"))?;
    let stream = input.streams().best(media::Type::Video).ok_or("no video")?;
    let (index, base) = (stream.index(), stream.time_base());
    let context = codec::Context::from_parameters(stream.parameters());
    let mut decoder = context.map_err(failed("its parameters"))?.decoder();
    decoder.check(Check::EXPLODE | Check::BITSTREAM | Check::BUFFER);
    let mut decoder = decoder.video().map_err(failed("its decoder"))?;
    let (mut packets, mut pictures) = (0, 0);
    let mut times = Vec::new();
    let mut receive = |decoder: &mut ffmpeg_next::decoder::Video| {
        let mut picture = frame::Video::empty();
        loop {
            match decoder.receive_frame(&mut picture) {
                Ok(()) if picture.is_corrupt() => {
                    return Err(format!("picture {pictures}: corrupt"));
                }
                Ok(()) => pictures += 1,
                Err(Error::Eof) => return Ok(pictures),
                Err(Error::Other { errno: ffmpeg_next::error::EAGAIN }) => return Ok(pictures),
                Err(error) => return Err(format!("picture {pictures}: {error}")),
            }
        }
    };
    for (stream, packet) in input.packets() {
        if stream.index() != index {
            continue;
        }
        if packet.is_corrupt() {
            return Err(format!("packet {packets} is corrupt"));
        }
        if packets == 0 && !begins_with_idr(packet.data().unwrap_or_default()) {
            return Err("its first picture is not an IDR picture".into());
        }
        packets += 1;
        #[allow(clippy::cast_precision_loss)] // 33 bits.
        let ticks = packet.pts().ok_or(format!("packet {packets} has no time"))? as f64;
        times.push(ticks * f64::from(base.numerator()) * 1_000.0 / f64::from(base.denominator()));
        let sent = decoder.send_packet(&packet);
        sent.map_err(|error| format!("packet {packets} does not decode: {error}"))?;
        receive(&mut decoder)?;
    }
    decoder.send_eof().map_err(failed("its end"))?;
    let pictures = receive(&mut decoder)?;
    if pictures != packets {
        return Err(format!("{packets} packets and {pictures} pictures"));
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}

/// Whether the first slice of a picture is of type 5 (ITU-T H.264 table 7-1), with start codes
/// or with lengths of four bytes before its NAL units.
fn begins_with_idr(picture: &[u8]) -> bool {
    let is_slice = |header: &u8| matches!(header & 0x1f, 1..=5);
    let with_start_codes = picture.starts_with(&[0, 0, 1]) || picture.starts_with(&[0, 0, 0, 1]);
    let mut headers = Vec::new();
    if with_start_codes {
        headers.extend(picture.windows(4).filter(|w| w[..3] == [0, 0, 1]).map(|w| w[3]));
    } else {
        let mut rest = picture;
        while let [a, b, c, d, unit @ ..] = rest {
            let size = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
            headers.extend(unit.first());
            rest = unit.get(size..).unwrap_or_default();
        }
    }
    headers.iter().find(|header| is_slice(header)).is_some_and(|header| header & 0x1f == 5)
}

/// What is wrong with the pictures and timestamps of `segments`, each of which follows the one
/// before.
pub fn judge(folder: &Path, segments: &[Listed]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut end: Option<f64> = None;
    for segment in segments {
        let times = match picture_times(folder, segment) {
            Ok(times) => times,
            Err(detail) => {
                wrong.push(detail);
                end = None;
                continue;
            }
        };
        let (first, last) = (times[0], times[times.len() - 1]);
        #[allow(clippy::cast_precision_loss)] // Fewer than 53 bits.
        let lasts = segment.duration_millis as f64;
        if let Some(end) = end.filter(|_| !segment.discontinuity) {
            let off = (first - end + WRAP_MILLIS / 2.0).rem_euclid(WRAP_MILLIS) - WRAP_MILLIS / 2.0;
            if off.abs() > TOLERANCE_MILLIS {
                wrong.push(format!("{} starts {off} ms off the end before it", segment.uri));
            }
        }
        // The file does not say how long its last picture stays: about as long as the others.
        let longest = times.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
        let last_lasts = lasts - (last - first);
        let allowed = if times.len() > 1 { longest * 1.5 + TOLERANCE_MILLIS } else { lasts };
        if last_lasts <= 0.0 || last_lasts > allowed {
            let detail =
                format!("{}: EXTINF {lasts} ms, pictures {first} to {last} ms", segment.uri);
            wrong.push(detail);
        }
        end = Some(first + lasts);
    }
    wrong
}
