use proptest::prelude::*;

use super::*;

const FRAME: [u8; 15] = [8, 4, 56, 7, 128, 3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1];

fn segment(marker: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len() + 2).unwrap().to_be_bytes();
    [&[0xFF, marker], &length[..], body].concat()
}

fn jpeg(segments: &[Vec<u8>]) -> Vec<u8> {
    [&[0xFF, 0xD8], &segments.concat()[..], &segment(0xDA, &[0; 10])].concat()
}

fn exif(orientation: u16) -> Vec<u8> {
    let mut body = b"Exif\0\0MM\0\x2A\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01".to_vec();
    body.extend_from_slice(&orientation.to_be_bytes());
    body.extend_from_slice(&[0; 6]);
    segment(0xE1, &body)
}

fn typical() -> Vec<u8> {
    let adobe = segment(0xEE, b"Adobe\0\x64\0\0\0\0\x02");
    jpeg(&[segment(0xE0, b"JFIF\0"), exif(6), adobe, segment(0xC2, &FRAME)])
}

#[test]
fn the_headers_of_a_jpeg_are_read() {
    let header = probe(&typical()).unwrap();
    assert_eq!((header.width, header.height), (1920, 1080));
    assert_eq!((header.components, header.precision, header.progressive), (3, 8, true));
    assert_eq!((header.orientation, header.adobe_transform), (6, Some(2)));
}

#[test]
fn exif_after_the_frame_header_counts_too_and_bad_exif_means_upright() {
    let frame = segment(0xC0, &FRAME);
    assert_eq!(probe(&jpeg(&[frame.clone(), exif(3)])).unwrap().orientation, 3);
    for bad in [exif(0), exif(9), segment(0xE1, b"Exif\0\0MM\0"), segment(0xE1, b"http")] {
        assert_eq!(probe(&jpeg(&[bad, frame.clone()])).unwrap().orientation, 1);
    }
}

#[test]
fn fill_and_stray_bytes_before_a_marker_are_skipped() {
    let stray = jpeg(&[vec![0xFF, 0xFF, 0xFF], segment(0xC0, &FRAME)]);
    assert_eq!(probe(&stray).unwrap().width, 1920);
    let stray = jpeg(&[vec![0, 1, 2], segment(0xC0, &FRAME)]);
    assert_eq!(probe(&stray).unwrap().width, 1920);
}

#[test]
fn what_is_not_a_jpeg_is_named() {
    assert_eq!(probe(&[]), Err(JpegFault::Empty));
    let found = |bytes: &[u8]| match probe(bytes) {
        Err(JpegFault::NotJpeg { found }) => found,
        other => panic!("{other:?}"),
    };
    assert_eq!(found(b"\x89PNG\r\n\x1a\n"), Lookalike::Png);
    assert_eq!(found(b"\n <!DOCTYPE html>"), Lookalike::Markup);
    assert_eq!(found(b"\xFF"), Lookalike::Bytes([0xFF, 0, 0, 0]));
}

#[test]
fn a_jpeg_without_a_frame_header_is_a_fault() {
    assert!(matches!(probe(&jpeg(&[])), Err(JpegFault::NoFrameHeader { .. })));
    let truncated = &typical()[..70];
    assert!(matches!(probe(truncated), Err(JpegFault::NoFrameHeader { .. })));
}

#[test]
fn rare_codings_are_unsupported_and_corrupt_headers_are_faults() {
    for marker in [0xC3, 0xC5, 0xC9, 0xCA, 0xCF] {
        let fault = probe(&jpeg(&[segment(marker, &FRAME)]));
        assert!(matches!(fault, Err(JpegFault::Unsupported { .. })), "{marker:X}");
    }
    let mut without_width = FRAME;
    without_width[3..5].fill(0);
    for bad in [&without_width[..], &FRAME[..14], &FRAME[..3]] {
        let fault = probe(&jpeg(&[segment(0xC0, bad)]));
        assert!(matches!(fault, Err(JpegFault::BadFrameHeader { at_byte: 2 })), "{fault:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_answered(mut bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = probe(&bytes);
        bytes.splice(0..0, [0xFF, 0xD8]);
        let _ = probe(&bytes);
    }

    #[test]
    fn any_mutation_is_answered(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        length in any::<prop::sample::Index>(),
    ) {
        let mut bytes = typical();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let _ = probe(&bytes);
        let _ = probe(&bytes[..length.index(bytes.len())]);
    }
}
