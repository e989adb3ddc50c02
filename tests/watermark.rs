//! The watermark end to end: real helper processes draw it, FFmpeg's own tools show it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails says so by panicking")]

mod encode_support;

use encode_support::*;
use jpeg_encoder::{ColorType, SamplingFactor};
use stream_processor::encode::{
    Caption, Corner, EncodeOutcome, EncodedSegment, EncoderPool, Watermark,
};

const CORNERS: [Corner; 4] =
    [Corner::TopLeft, Corner::TopRight, Corner::BottomLeft, Corner::BottomRight];
const LOOK: Watermark = Watermark { position: Corner::TopRight, font_size_px: 24 };
const TEXT: &str = "2026-01-31 05:00:00 -03:00";

/// A picture as it was decoded: 4:2:0, limited range.
#[derive(PartialEq)]
struct Shown {
    width: usize,
    luma: Vec<u8>,
    chroma: Vec<u8>,
}

/// What differs between two pictures of the same size, as a rectangle in pixels.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Changed {
    left: usize,
    top: usize,
    right: usize,
    bottom: usize,
}

impl Shown {
    fn height(&self) -> usize {
        self.luma.len() / self.width
    }

    fn at(&self, x: usize, y: usize) -> u8 {
        self.luma[y * self.width + x]
    }

    /// The pixels whose luma is further apart than codecs make it.
    fn changed(&self, other: &Self, apart: u8) -> Changed {
        assert_eq!((self.width, self.luma.len()), (other.width, other.luma.len()));
        let far =
            (0..self.luma.len()).filter(|at| self.luma[*at].abs_diff(other.luma[*at]) > apart);
        let places: Vec<_> = far.map(|at| (at % self.width, at / self.width)).collect();
        assert!(!places.is_empty(), "the pictures are the same");
        let (columns, rows) = (places.iter().map(|p| p.0), places.iter().map(|p| p.1));
        Changed {
            left: columns.clone().min().unwrap(),
            top: rows.clone().min().unwrap(),
            right: columns.max().unwrap() + 1,
            bottom: rows.max().unwrap() + 1,
        }
    }
}

impl Changed {
    fn pixels(self) -> impl Iterator<Item = (usize, usize)> {
        (self.top..self.bottom).flat_map(move |y| (self.left..self.right).map(move |x| (x, y)))
    }

    fn holds(self, x: usize, y: usize) -> bool {
        (self.left..self.right).contains(&x) && (self.top..self.bottom).contains(&y)
    }
}

fn jpeg_of_pixels(width: usize, height: usize, value: impl FnMut(usize) -> [u8; 3]) -> Vec<u8> {
    let pixels: Vec<u8> = (0..width * height).flat_map(value).collect();
    let mut bytes = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 90);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    let (width, height) = (u16::try_from(width).unwrap(), u16::try_from(height).unwrap());
    encoder.encode(&pixels, width, height, ColorType::Rgb).unwrap();
    bytes
}

fn plain(width: usize, height: usize, colour: [u8; 3]) -> Vec<u8> {
    jpeg_of_pixels(width, height, |_| colour)
}

/// Every pixel another colour.
fn noise(width: usize, height: usize) -> Vec<u8> {
    let mut random = Random(5);
    jpeg_of_pixels(width, height, |_| random.bytes(3).try_into().unwrap())
}

/// Encodes a segment of `jpegs`, each with its caption, in a helper process.
async fn encoded(look: Option<Watermark>, jpegs: &[Vec<u8>], captions: &[&str]) -> EncodeOutcome {
    let mut settings = pool_settings(1);
    settings.encode.watermark = look;
    let pool = EncoderPool::start(settings).await.unwrap();
    let mut job = job(jpegs.iter().cloned());
    for (frame, caption) in job.frames.iter_mut().zip(captions) {
        frame.caption = Some(Caption::new(caption));
    }
    let outcome = pool.encode(job).await.unwrap();
    pool.close().await;
    assert!(outcome.rejected.is_empty(), "{:?}", outcome.rejected);
    outcome
}

/// Every picture of a segment, repeats too.
fn pictures(segment: &EncodedSegment) -> Vec<Shown> {
    let folder = tempfile::tempdir().unwrap();
    let path = written(segment, folder.path());
    let raw = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-"];
    let planes = run("ffmpeg", &[&["-v", "error", "-i", &path][..], &raw[..]].concat());
    let width = usize::try_from(segment.size.width).unwrap();
    let pixels = width * usize::try_from(segment.size.height).unwrap();
    let split = |picture: &[u8]| Shown {
        width,
        luma: picture[..pixels].to_vec(),
        chroma: picture[pixels..].to_vec(),
    };
    planes.chunks(pixels * 3 / 2).map(split).collect()
}

/// The first picture of one frame with this caption.
async fn shown(look: Option<Watermark>, jpeg: &[u8], caption: &str) -> Shown {
    let outcome = encoded(look, &[jpeg.to_vec()], &[caption]).await;
    pictures(&outcome.segments[0]).swap_remove(0)
}

/// A frame with and without the watermark.
async fn with_and_without(look: Watermark, jpeg: &[u8], caption: &str) -> (Shown, Shown) {
    tokio::join!(shown(Some(look), jpeg, caption), shown(None, jpeg, caption))
}

fn mean(values: impl Iterator<Item = u8>) -> f64 {
    let (sum, count) =
        values.fold((0.0, 0.0), |(sum, count), value| (sum + f64::from(value), count + 1.0));
    sum / count
}

/// Where the letters are: on black they are the only thing that is not.
async fn letters() -> (Shown, Changed) {
    let (with, without) = with_and_without(LOOK, &plain(640, 360, [0; 3]), TEXT).await;
    let text = with.changed(&without, 100);
    (with, text)
}

#[tokio::test]
async fn the_caption_can_be_read_on_black_on_white_and_on_noise() {
    let (on_black, text) = letters().await;
    for (what, jpeg) in [
        ("black", plain(640, 360, [0; 3])),
        ("white", plain(640, 360, [255; 3])),
        ("red", plain(640, 360, [255, 0, 0])),
        ("noise", noise(640, 360)),
    ] {
        let shown = shown(Some(LOOK), &jpeg, TEXT).await;
        let of = |wanted: fn(u8) -> bool| {
            let pixels = text.pixels().filter(|(x, y)| wanted(on_black.at(*x, *y)));
            pixels.map(|(x, y)| shown.at(x, y)).collect::<Vec<_>>()
        };
        let (letters, ground) = (of(|luma| luma > 200), of(|luma| luma < 24));
        assert!(letters.len() > 500 && ground.len() > 500, "{what}");
        // Luma goes from 16 to 235; black on white would be 219 apart.
        let apart = mean(letters.iter().copied()) - mean(ground.iter().copied());
        assert!(apart > 120.0, "{what}: {apart} apart");
        let faint = letters.iter().filter(|luma| **luma < 180).count();
        let bright = ground.iter().filter(|luma| **luma > 140).count();
        assert!(faint * 50 < letters.len(), "{what}: {faint} of {} faint", letters.len());
        assert!(bright * 50 < ground.len(), "{what}: {bright} of {} bright", ground.len());
    }
}

#[tokio::test]
async fn letters_have_no_colour_whatever_is_behind_them() {
    let (on_black, text) = letters().await;
    let shown = shown(Some(LOOK), &plain(640, 360, [255, 0, 0]), TEXT).await;
    let planes = shown.chroma.len() / 2;
    let (cb, cr) = shown.chroma.split_at(planes);
    // Wholly white around a chroma sample, so that it is a letter's alone.
    let whole = |x: usize, y: usize| {
        [(0, 0), (1, 0), (0, 1), (1, 1)].iter().all(|(dx, dy)| on_black.at(x + dx, y + dy) > 225)
    };
    let samples = text.pixels().filter(|(x, y)| x % 2 == 0 && y % 2 == 0 && whole(*x, *y));
    let samples: Vec<_> = samples.map(|(x, y)| y / 2 * 320 + x / 2).collect();
    assert!(samples.len() > 50, "{}", samples.len());
    for plane in [cb, cr] {
        let tint = mean(samples.iter().map(|at| plane[*at].abs_diff(128)));
        assert!(tint < 6.0, "{tint}");
    }
    // Beside it all is as red as before: Cr of limited-range red is 240.
    assert!(cr[planes - 1].abs_diff(240) <= 4, "{}", cr[planes - 1]);
}

#[tokio::test]
async fn nothing_but_the_caption_s_corner_is_changed() {
    let margin = 8;
    for (what, jpeg, noise_mean) in [
        ("white", plain(640, 360, [255; 3]), 0.2),
        ("scene", jpeg(640, 360, 3), 1.0),
        ("noise", noise(640, 360), 2.0),
    ] {
        for position in CORNERS {
            let look = Watermark { position, ..LOOK };
            let (with, without) = with_and_without(look, &jpeg, TEXT).await;
            let (width, height) = (404, 32);
            let left = match position {
                Corner::TopLeft | Corner::BottomLeft => margin,
                Corner::TopRight | Corner::BottomRight => 640 - margin - width,
            };
            let top = match position {
                Corner::TopLeft | Corner::TopRight => margin,
                Corner::BottomLeft | Corner::BottomRight => 360 - margin - height,
            };
            let plate = Changed { left, top, right: left + width, bottom: top + height };
            let inside =
                mean(plate.pixels().map(|(x, y)| with.at(x, y).abs_diff(without.at(x, y))));
            let all = Changed { left: 0, top: 0, right: 640, bottom: 360 };
            let outside = all.pixels().filter(|(x, y)| !plate.holds(*x, *y));
            let outside = mean(outside.map(|(x, y)| with.at(x, y).abs_diff(without.at(x, y))));
            assert!(inside > 30.0, "{what} {position:?}: {inside} inside");
            assert!(outside < noise_mean, "{what} {position:?}: {outside} outside");
        }
    }
}

#[tokio::test]
async fn each_frame_shows_its_own_time_and_its_repeats_show_it_again() {
    let black = plain(320, 180, [0; 3]);
    let captions = ["08:00:00", "08:00:05"];
    let outcome = encoded(Some(LOOK), &[black.clone(), black.clone()], &captions).await;
    let pictures = pictures(&outcome.segments[0]);
    assert_eq!(pictures.len(), 20);
    let (first, second) = pictures.split_at(10);
    assert!(first.iter().all(|picture| *picture == first[0]));
    assert!(second.iter().all(|picture| *picture == second[0]));
    // Only the last digit differs: the others are where they were.
    let digit = first[0].changed(&second[0], 60);
    let text = first[0].changed(&shown(None, &black, "").await, 60);
    assert!(digit.left > text.right - 20 && digit.right <= text.right, "{digit:?} of {text:?}");
}

#[tokio::test]
async fn a_caption_is_as_tall_as_was_asked_for_on_the_finished_picture() {
    let look = Watermark { position: Corner::TopLeft, font_size_px: 48 };
    let mut found = Vec::new();
    for (width, height) in [(1280, 720), (1920, 1080), (2560, 1440)] {
        let (with, without) = with_and_without(look, &plain(width, height, [0; 3]), TEXT).await;
        assert!(with.width <= 1920 && with.height() <= 1080);
        found.push(with.changed(&without, 100));
    }
    let height = found[0].bottom - found[0].top;
    // Digits are three quarters of their size tall.
    assert!((33..=38).contains(&height), "{height}");
    assert!(found.iter().all(|place| *place == found[0]), "{found:?}");
}

#[tokio::test]
async fn a_caption_that_is_too_wide_is_written_smaller_inside_of_the_picture() {
    let black = plain(320, 240, [0; 3]);
    let text = "Taken on Saturday, 31 January 2026 at 05:00:00";
    let (with, without) = with_and_without(LOOK, &black, text).await;
    let found = with.changed(&without, 60);
    assert!(found.right - found.left > 200 && found.right < 320, "{found:?}");
    assert!(found.bottom - found.top < 12, "{found:?}");
}

/// Where not even the smallest letters fit, the picture is as it would be without.
#[tokio::test]
async fn a_picture_that_is_too_small_for_any_caption_is_shown_without() {
    for (width, height) in [(2, 2), (16, 16), (64, 48), (640, 8)] {
        let picture = jpeg(width, height, 0);
        let (with, without) = with_and_without(LOOK, &picture, TEXT).await;
        assert!(with == without, "{width}x{height}");
    }
}

#[tokio::test]
async fn a_caption_of_any_characters_costs_no_frame() {
    let picture = plain(640, 360, [0; 3]);
    let (with, without) = with_and_without(LOOK, &picture, "2026年1月31日 \u{202E}😀\u{301}").await;
    assert!(with.changed(&without, 100).left > 320);
    let blank = with_and_without(LOOK, &picture, "\n\t ").await;
    assert!(blank.0 == blank.1);
}

/// The watermark goes on what is shown, not on what is stored.
#[tokio::test]
async fn a_picture_from_a_camera_on_its_side_has_its_caption_upright() {
    let stored = quarters(360, 640, [[0; 3]; 4], 6);
    let (with, without) = with_and_without(LOOK, &stored, TEXT).await;
    assert_eq!((with.width, with.height()), (640, 360));
    let (_, upright) = letters().await;
    assert_eq!(with.changed(&without, 100), upright);
}

#[tokio::test]
async fn without_the_setting_no_caption_is_drawn() {
    let pictures = jpegs(320, 240, 2);
    let bare = encoded(None, &pictures, &[]).await;
    let unset = encoded(None, &pictures, &[TEXT, TEXT]).await;
    let without_caption = encoded(Some(LOOK), &pictures, &[]).await;
    for outcome in [unset, without_caption] {
        assert_eq!(outcome.segments[0].media, bare.segments[0].media);
    }
}
