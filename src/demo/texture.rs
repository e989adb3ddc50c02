//! Fractal noise: what makes asphalt, clouds and leaves look like themselves. Its energy falls
//! with frequency as that of natural pictures does, which is what an encoder's cost hangs on.

#![expect(clippy::cast_possible_truncation, reason = "masked or held within range beforehand")]

/// The side of the tile; a power of two.
const SIDE: usize = 512;
/// Cells across the tile in the coarsest octave, and how many octaves follow: the finest has
/// one cell a texel.
const COARSEST: usize = 4;
const OCTAVES: u32 = 8;

/// A tile of fractal noise that repeats without a seam; values are 0 to 1, 0.5 on average.
pub(super) struct Texture(Vec<f32>);

impl Texture {
    /// The tile of a seed.
    pub(super) fn new(seed: u64) -> Self {
        let mut sum = vec![0.0_f32; SIDE * SIDE];
        let (mut weight, mut total) = (0.5, 0.0);
        for octave in 0..OCTAVES {
            let cells = COARSEST << octave;
            add_octave(&mut sum, cells, weight, mix(seed ^ u64::from(octave)));
            total += weight;
            weight *= 0.7;
        }
        for value in &mut sum {
            // Octaves average out: stretch what is left of the contrast.
            *value = ((*value / total - 0.5) * 2.2 + 0.5).clamp(0.0, 1.0);
        }
        Self(sum)
    }

    /// The value at a point in texels, between texels interpolated; any finite point.
    pub(super) fn at(&self, x: f32, y: f32) -> f32 {
        let (x0, y0) = (x.floor(), y.floor());
        let (fx, fy) = (x - x0, y - y0);
        let (xi, yi) = (x0 as i64, y0 as i64);
        let top = lerp(self.texel(xi, yi), self.texel(xi + 1, yi), fx);
        let bottom = lerp(self.texel(xi, yi + 1), self.texel(xi + 1, yi + 1), fx);
        lerp(top, bottom, fy)
    }

    fn texel(&self, x: i64, y: i64) -> f32 {
        let side = SIDE as i64;
        let index = y.rem_euclid(side) * side + x.rem_euclid(side);
        self.0.get(index as usize).copied().unwrap_or(0.5)
    }
}

fn add_octave(sum: &mut [f32], cells: usize, weight: f32, seed: u64) {
    let step = cells as f32 / SIDE as f32;
    let corner = |x: usize, y: usize| {
        let bits = mix(seed ^ ((x % cells) as u64) << 32 ^ (y % cells) as u64);
        (bits >> 40) as f32 / (1_u32 << 24) as f32
    };
    for (y, row) in sum.chunks_exact_mut(SIDE).enumerate() {
        let v = y as f32 * step;
        let cy = v as usize;
        let fy = smooth(v - cy as f32);
        let mut cell = usize::MAX;
        let (mut left, mut right) = (0.0, 0.0);
        for (x, value) in row.iter_mut().enumerate() {
            let u = x as f32 * step;
            let cx = u as usize;
            if cx != cell {
                cell = cx;
                left = lerp(corner(cx, cy), corner(cx, cy + 1), fy);
                right = lerp(corner(cx + 1, cy), corner(cx + 1, cy + 1), fy);
            }
            *value += weight * lerp(left, right, smooth(u - cx as f32));
        }
    }
}

/// Scatters the bits of a number: the finalizer of SplitMix64 (Steele, Lea, Flood 2014).
pub(super) fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

pub(super) fn lerp(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

/// Zero slope at 0 and at 1, so that cells do not show.
pub(super) fn smooth(t: f32) -> f32 {
    let t = t.clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tile_has_no_seam_and_both_light_and_dark() {
        let texture = Texture::new(7);
        let side = SIDE as f32;
        let mut seen = (1.0_f32, 0.0_f32);
        for i in 0..SIDE {
            let i = i as f32;
            assert_eq!(texture.at(i, 3.5), texture.at(i - side, 3.5 + 2.0 * side));
            assert!((texture.at(side - 0.01, i) - texture.at(side + 0.01, i)).abs() < 0.02);
            let here = texture.at(i, 2.0 * i);
            seen = (seen.0.min(here), seen.1.max(here));
        }
        assert!(seen.0 < 0.3 && seen.1 > 0.7, "{seen:?}");
    }
}
