//! Repeats show the same pixels, in decoders that know nothing of them.

use openh264::decoder::Decoder;
use openh264::formats::YUVSource;
use stream_processor::media::h264::{self, Stream};
use stream_processor::media::timeline::PictureSize;

use crate::material::{BASELINE, Bench, HIGH, MAIN, encode, picture_digests, raw_pictures};

const SIZES: [PictureSize; 3] = [
    PictureSize { width: 1920, height: 1080 },
    PictureSize { width: 636, height: 358 },
    PictureSize { width: 64, height: 48 },
];
const COUNTS: [u32; 4] = [10, 1, 7, 11];

/// Each picture with its start codes; parameter sets before an IDR.
fn annex_b(stream: &Stream) -> Vec<Vec<u8>> {
    stream
        .pictures
        .iter()
        .map(|picture| {
            let sets = [&stream.sps, &stream.pps[0], &stream.pps[1]];
            sets.into_iter()
                .filter(|_| picture.idr)
                .chain([&picture.nal])
                .flat_map(|unit| [&b"\0\0\0\x01"[..], unit].concat())
                .collect()
        })
        .collect()
}

fn repeated<T: Clone>(originals: &[T]) -> Vec<T> {
    originals
        .iter()
        .zip(COUNTS)
        .flat_map(|(original, count)| vec![original.clone(); usize::try_from(count).unwrap()])
        .collect()
}

#[test]
fn ffmpeg_decodes_every_repeat_to_the_pixels_of_its_frame() {
    let bench = Bench::new();
    let forms = [
        ("high", HIGH),
        ("main", MAIN),
        ("baseline", BASELINE),
        ("frequent idr", &["-preset", "superfast", "-g", "2"]),
        ("several references", &["-preset", "slow", "-refs", "4"]),
    ];
    for size in SIZES {
        // The rarer forms do not depend on the size.
        let forms_here = if size.width > 1_000 { &forms[..3] } else { &forms[..] };
        for (name, options) in forms_here {
            let units = encode(size, COUNTS.len(), options);
            let stream = h264::with_repeats(&units, &COUNTS).unwrap();
            let rewritten = annex_b(&stream);
            let before = bench.file("before.h264", &units.concat());
            let after = bench.file("after.h264", &rewritten.concat());
            let originals = picture_digests(&before);
            assert_eq!(originals.len(), COUNTS.len());
            assert!(originals.windows(2).all(|pair| pair[0] != pair[1]), "they do differ");
            assert_eq!(picture_digests(&after), repeated(&originals), "{name} {size:?}");

            let repeats: Vec<usize> =
                stream.pictures.iter().filter(|p| !p.reference).map(|p| p.nal.len()).collect();
            let largest = repeats.iter().max().unwrap();
            assert!(*largest <= 20, "{largest} bytes");
            println!(
                "{name} {}x{}: {} bytes, {} repeats of at most {largest}, {}",
                size.width,
                size.height,
                units.concat().len(),
                repeats.len(),
                stream.codec(),
            );
        }
    }
}

#[test]
fn streams_that_have_picture_order_counts_already_are_rewritten_as_well() {
    let bench = Bench::new();
    for options in [HIGH, BASELINE] {
        let units = encode(SIZES[1], COUNTS.len(), options);
        // x264 writes them only where it may use B-frames, so these are our own.
        let counted = annex_b(&h264::with_repeats(&units, &[]).unwrap());
        let originals = picture_digests(&bench.file("before.h264", &counted.concat()));
        let stream = h264::with_repeats(&counted_by_encoder(&counted), &COUNTS).unwrap();
        let after = bench.file("after.h264", &annex_b(&stream).concat());
        assert_eq!(picture_digests(&after), repeated(&originals));
    }
}

#[test]
fn picture_order_counts_that_wrap_keep_the_order() {
    let bench = Bench::new();
    let units = encode(SIZES[2], 5, HIGH);
    let stream = h264::with_repeats(&units, &[7_000; 5]).unwrap();
    let originals = picture_digests(&bench.file("before.h264", &units.concat()));
    let shown = picture_digests(&bench.file("after.h264", &annex_b(&stream).concat()));
    assert!(2 * shown.len() > 1 << 16);
    assert_eq!(shown.len(), 35_000);
    for (pictures, original) in shown.chunks(7_000).zip(&originals) {
        assert!(pictures.iter().all(|picture| picture == original));
    }
}

/// Without the repeats' parameter set, which an encoder does not write.
fn counted_by_encoder(units: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut units = units.to_vec();
    let first = &mut units[0];
    let places: Vec<usize> =
        (0..first.len()).filter(|at| first[*at..].starts_with(b"\0\0\0\x01")).collect();
    first.drain(places[2]..places[3]);
    units
}

#[test]
fn openh264_decodes_the_baseline_form_to_the_same_pictures() {
    let bench = Bench::new();
    for size in SIZES {
        let units = encode(size, COUNTS.len(), BASELINE);
        let stream = h264::with_repeats(&units, &COUNTS).unwrap();
        let originals = raw_pictures(&bench.file("before.h264", &units.concat()), size);
        let mut decoder = Decoder::new().unwrap();
        let mut shown = Vec::new();
        for picture in annex_b(&stream) {
            if let Some(yuv) = decoder.decode(&picture).unwrap() {
                shown.push(planar(&yuv));
            }
        }
        shown.extend(decoder.flush_remaining().unwrap().iter().map(planar));
        assert_eq!(shown.len(), repeated(&originals).len());
        assert!(shown == repeated(&originals), "{size:?}: other pixels");
    }
}

/// The picture without the padding of its rows.
fn planar(yuv: &impl YUVSource) -> Vec<u8> {
    let (width, height) = yuv.dimensions();
    let strides = yuv.strides();
    let plane = |bytes: &[u8], stride: usize, width: usize, height: usize| -> Vec<u8> {
        bytes.chunks(stride).take(height).flat_map(|row| row[..width].to_vec()).collect()
    };
    [
        plane(yuv.y(), strides.0, width, height),
        plane(yuv.u(), strides.1, width / 2, height / 2),
        plane(yuv.v(), strides.2, width / 2, height / 2),
    ]
    .concat()
}
