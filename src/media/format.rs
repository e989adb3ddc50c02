//! What a stream's pictures take of a decoder, read from the beginning of a file of it.
//!
//! Architecture invariant: what is said is what the sequence parameter set says (ITU-T H.264,
//! 7.3.2.1.1), never what settings want it to be.

use super::avc::Configuration;
use super::clip::from_fmp4;
use super::h264::{nal, nal_type};
use super::timeline::PictureSize;
use super::ts::{PACKET_BYTES, VIDEO_PID, payload_of};

/// How many bytes of a transport stream's beginning hold the parameter sets of its first
/// picture: they come before it, and are tens of bytes.
pub const HEAD_BYTES: u64 = 16 * PACKET_BYTES as u64;

/// How the pictures of a file are coded, and how large they are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PictureFormat {
    /// The codec string (RFC 6381, 3.3), such as `avc1.640028`.
    pub codec: String,
    /// What the decoder shows, in pixels.
    pub size: PictureSize,
}

impl From<&Configuration> for PictureFormat {
    fn from(configuration: &Configuration) -> Self {
        let (codec, size) = configuration.described();
        Self { codec, size }
    }
}

/// Of an init file; `None` when it is not one that this program writes.
pub fn of_init(init: &[u8]) -> Option<PictureFormat> {
    from_fmp4::configuration(init).as_ref().map(PictureFormat::from)
}

/// Of a transport stream, by its first [`HEAD_BYTES`]; `None` when they do not begin with
/// parameter sets that this program writes.
pub fn of_transport_stream(head: &[u8]) -> Option<PictureFormat> {
    let mut video = Vec::with_capacity(head.len());
    let (packets, _) = head.as_chunks::<PACKET_BYTES>();
    for packet in packets {
        let [0x47, pid_high, pid_low, control, body @ ..] = packet else { return None };
        if u16::from_be_bytes([pid_high & 0x1F, *pid_low]) == VIDEO_PID {
            video.extend_from_slice(payload_of(*control, body)?);
        }
    }
    let units: Vec<&[u8]> = nal::places(&video).filter_map(|place| video.get(place)).collect();
    // The last one may go on in what was not read.
    let (_, whole) = units.split_last()?;
    let sps = whole.iter().find(|unit| nal_type(unit) == nal::SPS)?;
    let pps: Vec<&[u8]> = whole.iter().filter(|unit| nal_type(unit) == nal::PPS).copied().collect();
    Configuration::of_sets(sps, &pps).as_ref().map(PictureFormat::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn no_bytes_break_it(
            bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..600),
            control in proptest::prelude::any::<u8>(),
        ) {
            let _ = of_init(&bytes);
            let mut packet = vec![0x47, 0x41, 0x00, control];
            packet.extend(bytes);
            packet.resize(PACKET_BYTES * 4, 0);
            let _ = of_transport_stream(&packet);
        }
    }

    #[test]
    fn what_is_no_stream_of_ours_has_no_format() {
        assert_eq!(of_init(b""), None);
        assert_eq!(of_transport_stream(b""), None);
        assert_eq!(of_transport_stream(&[0x47; PACKET_BYTES * 4]), None);
    }
}
