//! Good pictures, odd ones and bad ones.

use std::path::Path;
use std::process::Command;

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

const WIDTH: u16 = 64;
const HEIGHT: u16 = 48;
const PIXELS: usize = WIDTH as usize * HEIGHT as usize;

/// An ordinary picture, another for each index.
pub fn good(index: usize) -> Vec<u8> {
    let shade = u8::try_from(40 + index % 4 * 40).expect("small");
    encoded(ColorType::Rgb, &[shade, 90, 160], SamplingFactor::F_2_2, false)
}

/// The rarer kinds of JPEG.
pub enum Odd {
    Cmyk,
    Grey,
    Progressive,
    /// 4:4:4.
    FullColour,
}

impl Odd {
    /// A picture of one colour, and the colour.
    pub fn jpeg(&self) -> (Vec<u8>, [u8; 3]) {
        let full = SamplingFactor::F_1_1;
        match self {
            // Magenta and yellow make red.
            Self::Cmyk => (encoded(ColorType::Cmyk, &[0, 255, 255, 0], full, false), [255, 0, 0]),
            Self::Grey => (encoded(ColorType::Luma, &[77], full, false), [77; 3]),
            Self::Progressive => (
                encoded(ColorType::Rgb, &[200, 60, 30], SamplingFactor::F_2_2, true),
                [200, 60, 30],
            ),
            Self::FullColour => {
                (encoded(ColorType::Rgb, &[30, 120, 200], full, false), [30, 120, 200])
            }
        }
    }
}

/// A good one's first half.
pub fn truncated() -> Vec<u8> {
    let mut jpeg = good(0);
    jpeg.truncate(jpeg.len() / 2);
    jpeg
}

/// A small good one whose header says another size.
pub fn of_size(width: u16, height: u16) -> Vec<u8> {
    let mut jpeg = good(0);
    let at = jpeg.windows(2).position(|pair| pair == [0xFF, 0xC0]).expect("a frame header");
    jpeg[at + 5..at + 7].copy_from_slice(&height.to_be_bytes());
    jpeg[at + 7..at + 9].copy_from_slice(&width.to_be_bytes());
    jpeg
}

/// A whole PNG of one pixel.
pub fn png() -> Vec<u8> {
    let source = ["-v", "error", "-f", "lavfi", "-i", "color=red:size=16x16", "-frames:v", "1"];
    let output = Command::new("ffmpeg")
        .args(source)
        .args(["-f", "image2pipe", "-c:v", "png", "-"])
        .output()
        .expect("ffmpeg runs");
    assert!(output.stdout.starts_with(b"\x89PNG"), "{output:?}");
    output.stdout
}

fn encoded(color: ColorType, pixel: &[u8], sampling: SamplingFactor, progressive: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 95);
    encoder.set_sampling_factor(sampling);
    encoder.set_progressive(progressive);
    encoder.encode(&pixel.repeat(PIXELS), WIDTH, HEIGHT, color).expect("a picture");
    bytes
}

/// The segment's first picture has this colour in its middle.
pub fn assert_first_picture(segment: &Path, colour: [u8; 3], what: &str) {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(segment)
        .args(["-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"])
        .output()
        .expect("ffmpeg runs");
    assert_eq!(output.stdout.len(), PIXELS * 3, "{what}: {output:?}");
    let middle = (PIXELS + usize::from(WIDTH)) / 2 * 3;
    let shown = &output.stdout[middle..middle + 3];
    let near = shown.iter().zip(colour).all(|(shown, wanted)| shown.abs_diff(wanted) <= 6);
    assert!(near, "{what}: {shown:?} for {colour:?}");
}
