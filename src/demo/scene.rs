//! One camera's pictures, the same for the same seed and instant.

#![expect(clippy::cast_possible_truncation, reason = "held within the picture or 0..=255")]

use std::f64::consts::TAU;

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::backdrop::{self, Layout};
use super::canvas::Canvas;
use super::movers::Mover;
use super::texture::mix;
use crate::model::UtcMillis;

/// JPEG quality: what network cameras are usually set to.
const QUALITY: u8 = 85;
/// The standard deviation of the sensor's noise, in steps of 256: a small sensor by daylight.
const GRAIN_STEPS: f32 = 3.5;
/// Values of noise kept; rows begin anywhere in them, so that no pattern shows.
const GRAIN_VALUES: usize = 1 << 18;
/// How long the camera takes to pan there and back, and the light to change.
const PAN_SECS: f64 = 80.0;
const LIGHT_SECS: f64 = 110.0;

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub enum SceneError {
    /// A side that is too short for the clock, or too long for a JPEG.
    #[error("a picture of {width} x {height} is not possible: from 160 x 90 to 7680 x 4320")]
    Size {
        /// What was asked for, in pixels.
        width: u16,
        /// What was asked for, in pixels.
        height: u16,
    },
    /// The JPEG encoder's own refusal.
    #[error("the picture cannot be written as JPEG: {0}")]
    Jpeg(#[from] jpeg_encoder::EncodingError),
}

/// A street as one fixed camera sees it: houses, trees and road stand still, vehicles and
/// people move, the light changes and the camera pans slowly.
pub struct Scene {
    seed: u64,
    width: u16,
    height: u16,
    /// Wider than the picture by twice `pan_pixels`.
    backdrop: Canvas,
    pan_pixels: f64,
    phase: f64,
    daylight: f32,
    movers: Vec<Mover>,
    grain: Option<Vec<i8>>,
}

impl Scene {
    /// The scene of a seed. `noisy` adds a sensor's noise, which is what makes pictures
    /// costly to encode. Takes about 0.1 s at 1080p; a picture
    /// takes 0.03 to 0.04 s.
    ///
    /// # Errors
    /// A size that no camera has.
    pub fn new(seed: u64, width: u16, height: u16, noisy: bool) -> Result<Self, SceneError> {
        if !(160..=7_680).contains(&width) || !(90..=4_320).contains(&height) {
            return Err(SceneError::Size { width, height });
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let layout = Layout::new(&mut rng);
        let margin = usize::from(width) / 40;
        let mut backdrop = Canvas::new(usize::from(width) + 2 * margin, usize::from(height));
        // Neighbouring seeds are different times of day.
        let daylight = backdrop::paint(&mut backdrop, layout, seed, &mut rng);
        let movers = Mover::crowd(layout, &mut rng);
        let phase = rng.random();
        let grain = noisy.then(|| grain(&mut rng));
        Ok(Self {
            seed,
            width,
            height,
            backdrop,
            pan_pixels: margin as f64,
            phase,
            daylight,
            movers,
            grain,
        })
    }

    /// The JPEG (4:2:0, quality 85) that the camera takes at `at`, with `label` and the time
    /// burnt in at the upper left.
    ///
    /// # Errors
    /// The JPEG encoder's own; none is known for the sizes that [`Scene::new`] takes.
    pub fn jpeg(&self, at: UtcMillis, label: &str) -> Result<Vec<u8>, SceneError> {
        let picture = self.picture(at, label);
        let mut jpeg = Vec::with_capacity(picture.bytes().len() / 8);
        let mut encoder = Encoder::new(&mut jpeg, QUALITY);
        encoder.set_sampling_factor(SamplingFactor::R_4_2_0);
        encoder.encode(picture.bytes(), self.width, self.height, ColorType::Ycbcr)?;
        Ok(jpeg)
    }

    fn picture(&self, at: UtcMillis, label: &str) -> Canvas {
        let secs = at.0 as f64 / 1_000.0;
        let turn = |period: f64| ((secs / period + self.phase) * TAU).sin();
        let pan = (self.pan_pixels * (1.0 + turn(PAN_SECS))).round().max(0.0);
        let light = 1.0 + 0.09 * turn(LIGHT_SECS);
        let mut canvas = Canvas::new(usize::from(self.width), usize::from(self.height));
        canvas.copy_lit(&self.backdrop, pan as usize, &curve(light));
        let shift = (pan - self.pan_pixels) as f32;
        for mover in &self.movers {
            mover.paint(&mut canvas, secs, shift, self.daylight * light as f32);
        }
        if let Some(grain) = &self.grain {
            let frame = mix(self.seed ^ mix(at.0.cast_unsigned()));
            canvas.add_grain(grain, |row| (mix(frame ^ row as u64) >> 16) as usize);
        }
        let clock = at.to_string().replacen('T', " ", 1);
        canvas.write(&[label, &clock], (usize::from(self.height) / 360).max(1));
        canvas
    }
}

fn curve(light: f64) -> [u8; 256] {
    std::array::from_fn(|luma| (luma as f64 * light).round().clamp(0.0, 255.0) as u8)
}

/// Roughly normal: the sum of four even ones.
fn grain(rng: &mut ChaCha8Rng) -> Vec<i8> {
    // Four even numbers within 1 of 0 have a standard deviation of 2/sqrt(3).
    let scale = GRAIN_STEPS * 3.0_f32.sqrt() / 2.0;
    let mut even = || f32::from(rng.random::<u16>()) / 32_767.5 - 1.0;
    (0..GRAIN_VALUES).map(|_| ((even() + even() + even() + even()) * scale).round() as i8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: UtcMillis = UtcMillis(1_769_846_400_250);

    #[test]
    fn the_same_seed_and_instant_give_the_same_bytes() {
        for noisy in [false, true] {
            let jpeg =
                |seed, at| Scene::new(seed, 320, 180, noisy).unwrap().jpeg(at, "cam").unwrap();
            assert_eq!(jpeg(3, AT), jpeg(3, AT));
            assert_ne!(jpeg(3, AT), jpeg(4, AT));
            assert_ne!(jpeg(3, AT), jpeg(3, AT.plus_millis(1_000)));
        }
    }

    #[test]
    fn a_picture_is_a_jpeg_of_the_size_that_was_asked_for() {
        let jpeg = Scene::new(1, 1_280, 720, false).unwrap().jpeg(AT, "Gate 1").unwrap();
        assert_eq!(jpeg[..2], [0xff, 0xd8]);
        let sof = jpeg.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
        // Length (2), precision (1), height, width, components, then id and factors each.
        assert_eq!(jpeg[sof + 5..sof + 9], [0x02, 0xd0, 0x05, 0x00]);
        assert_eq!(jpeg[sof + 11], 0x22, "4:2:0");
    }

    #[test]
    fn noise_costs_bytes_and_things_move() {
        let bytes = |noisy| Scene::new(5, 640, 360, noisy).unwrap().jpeg(AT, "").unwrap().len();
        assert!(bytes(true) * 10 > bytes(false) * 12, "{} {}", bytes(true), bytes(false));
        let scene = Scene::new(5, 640, 360, false).unwrap();
        let (a, b) = (scene.picture(AT, ""), scene.picture(AT.plus_millis(5_000), ""));
        let moved = a.bytes().iter().zip(b.bytes()).filter(|(a, b)| a.abs_diff(**b) > 24).count();
        assert!(moved * 200 > a.bytes().len(), "{moved} of {}", a.bytes().len());
    }

    #[test]
    fn a_size_that_no_camera_has_is_refused() {
        for (width, height) in [(0, 0), (100, 720), (1_280, 5_000)] {
            assert!(Scene::new(1, width, height, false).is_err());
        }
    }

    #[test]
    fn any_instant_and_any_label_can_be_painted() {
        let scene = Scene::new(9, 320, 180, true).unwrap();
        for at in [i64::MIN, -1, 0, i64::MAX] {
            for label in ["", "Kamera Süd – 日本", &"x".repeat(500)] {
                scene.jpeg(UtcMillis(at), label).unwrap();
            }
        }
    }
}
