//! What cameras and strangers send: each kind is shown right, or left out with its reason, and
//! never costs a frame beside it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails says so by panicking")]

mod encode_support;

use encode_support::*;
use jpeg_encoder::{ColorType, SamplingFactor};
use stream_processor::encode::{EncodeOutcome, Encoder, FrameFault};

/// The outcome of a good frame, `jpeg`, and another good frame.
fn between_good_ones(jpeg: Vec<u8>) -> EncodeOutcome {
    let frames = [self::jpeg(64, 48, 0), jpeg, self::jpeg(64, 48, 1)];
    Encoder::new(encode_settings()).unwrap().encode(&job(frames)).unwrap()
}

/// Why `jpeg` is left out, having seen that the frames beside it are shown.
fn fault_of(what: &str, jpeg: Vec<u8>) -> FrameFault {
    let outcome = between_good_ones(jpeg);
    let shown: Vec<usize> = outcome.segments.iter().flat_map(|s| s.frames.clone()).collect();
    assert_eq!(shown, [0, 2], "{what}: {:?}", outcome.rejected);
    let [rejected] = &outcome.rejected[..] else { panic!("{what}: {:?}", outcome.rejected) };
    assert_eq!(rejected.frame, 1, "{what}");
    assert!(!rejected.detail.is_empty(), "{what}");
    rejected.fault
}

/// The first picture of a frame on its own.
fn shown(what: &str, jpeg: Vec<u8>) -> Vec<u8> {
    let outcome = Encoder::new(encode_settings()).unwrap().encode(&job([jpeg])).unwrap();
    let segment = outcome.segments.first();
    let segment = segment.unwrap_or_else(|| panic!("{what}: {:?}", outcome.rejected));
    first_picture(segment)
}

fn solid(color: ColorType, values: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 95);
    encoder.set_sampling_factor(SamplingFactor::F_1_1);
    encoder.encode(&values.repeat(64 * 48), 64, 48, color).unwrap();
    bytes
}

#[test]
fn what_is_no_jpeg_costs_only_itself() {
    let mut random = Random(7);
    let mut noise = vec![0xFF, 0xD8];
    noise.extend(random.bytes(16 << 10));
    for (what, bytes, fault) in [
        ("empty", Vec::new(), FrameFault::NotJpeg),
        ("PNG", b"\x89PNG\r\n\x1a\n and more".to_vec(), FrameFault::NotJpeg),
        ("HTML", b"<!doctype html><title>502</title>".to_vec(), FrameFault::NotJpeg),
        ("noise", noise, FrameFault::Undecodable),
    ] {
        assert_eq!(fault_of(what, bytes), fault, "{what}");
    }
}

#[test]
fn a_truncated_jpeg_is_left_out_wherever_it_was_cut() {
    for progressive in [false, true] {
        let kind = JpegKind { progressive, ..ORDINARY };
        let whole = jpeg_of(&kind, 160, 120, 0);
        for tenths in [1, 3, 5, 7, 9] {
            let cut = whole[..whole.len() * tenths / 10].to_vec();
            let what = format!("{tenths}/10, progressive {progressive}");
            assert_eq!(fault_of(&what, cut), FrameFault::Undecodable, "{what}");
        }
        let cut = whole[..whole.len() - 2].to_vec();
        assert_eq!(fault_of("without its end", cut), FrameFault::Undecodable);
    }
}

#[test]
fn a_header_of_a_gigapixel_is_refused_without_a_buffer_for_it() {
    let mut huge = jpeg(64, 48, 0);
    let at = huge.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
    for side in [30_000_u16, 16_384] {
        huge[at + 5..at + 7].copy_from_slice(&side.to_be_bytes());
        huge[at + 7..at + 9].copy_from_slice(&side.to_be_bytes());
        assert_eq!(fault_of("huge", huge.clone()), FrameFault::TooLarge, "{side}");
    }
}

/// The second header is hidden behind the first, which is what the limit is checked against.
#[test]
fn a_second_larger_header_is_no_way_around_the_limit() {
    let small = jpeg(64, 48, 0);
    let at = small.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
    let length = 2 + usize::from(u16::from_be_bytes([small[at + 2], small[at + 3]]));
    let mut second = small[at..at + length].to_vec();
    second[5..9].copy_from_slice(&[0x40, 0x00, 0x40, 0x00]);
    let mut twice = small;
    twice.splice(at + length..at + length, second);
    let fault = fault_of("two headers", twice);
    assert_eq!(fault, FrameFault::Undecodable);
}

#[test]
fn flipped_bits_cost_at_most_their_own_frame() {
    let whole = jpeg(160, 120, 0);
    for seed in 0..150 {
        println!("seed {seed}");
        let mut random = Random(seed);
        let mut damaged = whole.clone();
        for _ in 0..=random.below(8) {
            let at = random.below(damaged.len());
            damaged[at] ^= 1 << random.below(8);
        }
        let outcome = between_good_ones(damaged);
        let mut shown: Vec<usize> =
            outcome.segments.iter().flat_map(|s| s.frames.clone()).collect();
        shown.retain(|&frame| frame != 1);
        assert_eq!(shown, [0, 2], "seed {seed}: {:?}", outcome.rejected);
    }
}

#[test]
fn every_subsampling_and_coding_shows_the_same_picture() {
    let reference = shown("4:2:0", jpeg(160, 120, 0));
    for (sampling, progressive) in [
        (SamplingFactor::F_1_1, false),
        (SamplingFactor::F_2_1, false),
        (SamplingFactor::F_1_2, false),
        (SamplingFactor::F_4_1, false),
        (SamplingFactor::F_2_2, true),
        (SamplingFactor::F_1_1, true),
        (SamplingFactor::F_2_1, true),
    ] {
        let what = format!("{sampling:?}, progressive {progressive}");
        let picture = shown(&what, jpeg_of(&JpegKind { sampling, progressive }, 160, 120, 0));
        assert_eq!(picture.len(), reference.len(), "{what}");
        let differences = picture.iter().zip(&reference).map(|(a, b)| u64::from(a.abs_diff(*b)));
        let mean = differences.sum::<u64>() as f64 / reference.len() as f64;
        assert!(mean < 4.0, "{what}: {mean} apart");
    }
}

#[test]
fn a_colour_survives_within_three_steps() {
    for colour in [
        [255, 0, 0],
        [0, 0, 255],
        [0, 255, 0],
        [128, 128, 128],
        [0, 0, 0],
        [255, 255, 255],
        [30, 120, 200],
    ] {
        let picture = shown("solid", solid(ColorType::Rgb, &colour));
        assert_near(pixel(&picture, 64, 32, 24), colour, 3, "solid");
    }
    let grey = shown("grey", solid(ColorType::Luma, &[77]));
    assert_near(pixel(&grey, 64, 32, 24), [77; 3], 2, "greyscale");
}

/// Magenta and yellow make red. The encoder inverts the inks and says so, as Adobe does.
#[test]
fn cmyk_is_shown_in_its_colours_or_refused() {
    let inks = [0, 255, 255, 0];
    for color in [ColorType::Cmyk, ColorType::CmykAsYcck] {
        let picture = shown("inks", solid(color, &inks));
        let what = format!("{color:?}");
        assert_near(pixel(&picture, 64, 32, 24), [255, 0, 0], 4, &what);
    }
    let bare = without_adobe(solid(ColorType::Cmyk, &inks));
    assert_eq!(fault_of("CMYK without a marker", bare), FrameFault::Unsupported);
}

fn without_adobe(mut jpeg: Vec<u8>) -> Vec<u8> {
    if let Some(at) = jpeg.windows(2).position(|pair| pair == [0xFF, 0xEE]) {
        let length = usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
        jpeg.drain(at..at + 2 + length);
    }
    jpeg
}

#[test]
fn every_exif_orientation_is_shown_upright() {
    let [red, green, blue, white] = [[230, 30, 30], [30, 200, 30], [30, 30, 230], [230, 230, 230]];
    // How the quarters of the stored picture must lie for the shown one to be
    // red, green / blue, white.
    for (orientation, stored) in [
        (1, [red, green, blue, white]),
        (2, [green, red, white, blue]),
        (3, [white, blue, green, red]),
        (4, [blue, white, red, green]),
        (5, [red, blue, green, white]),
        (6, [green, white, red, blue]),
        (7, [white, green, blue, red]),
        (8, [blue, red, white, green]),
    ] {
        let (width, height) = if orientation < 5 { (96, 64) } else { (64, 96) };
        let picture = shown("turned", quarters(width, height, stored, orientation));
        assert_eq!(picture.len(), 96 * 64 * 3, "orientation {orientation}");
        for (x, y, colour) in [(8, 8, red), (88, 8, green), (8, 56, blue), (88, 56, white)] {
            let what = format!("orientation {orientation} at {x},{y}");
            assert_near(pixel(&picture, 96, x, y), colour, 8, &what);
        }
    }
}

/// A portrait from a camera on its side is capped by the width it is shown at.
#[test]
fn the_width_that_counts_is_the_one_that_is_shown() {
    let mut settings = encode_settings();
    settings.max_width = 64;
    let frame = quarters(160, 96, [[90; 3]; 4], 6);
    let outcome = Encoder::new(settings).unwrap().encode(&job([frame])).unwrap();
    let size = outcome.segments[0].size;
    assert_eq!((size.width, size.height), (64, 106));
}

#[test]
fn the_smallest_pictures_are_shown_or_refused() {
    for side in [1, 2, 3, 15, 16, 17] {
        let outcome = Encoder::new(encode_settings()).unwrap().encode(&job([jpeg(side, side, 0)]));
        let outcome = outcome.unwrap();
        match side {
            1 => assert_eq!(outcome.rejected[0].fault, FrameFault::Unsupported),
            _ => assert_eq!(outcome.segments.len(), 1, "{side}: {:?}", outcome.rejected),
        }
    }
}
