//! What of a scene stands still: sky, hills, houses, trees, pavement and road. Painted once.

#![expect(clippy::cast_possible_truncation, reason = "held within range beforehand")]

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::canvas::{Area, Canvas, Rgb, blend, lit};
use super::texture::{Texture, lerp, smooth};

/// Where things are, as parts of the height.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// Where the sky ends.
    pub(super) horizon: f32,
    /// Where the far pavement begins.
    pub(super) ground: f32,
    /// Where the road begins.
    pub(super) road_top: f32,
    /// Where the road ends and the near pavement begins.
    pub(super) road_bottom: f32,
}

impl Layout {
    pub(super) fn new(rng: &mut ChaCha8Rng) -> Self {
        let horizon = rng.random_range(0.40..0.50);
        let ground = horizon + rng.random_range(0.06..0.10);
        let road_top = ground + rng.random_range(0.06..0.09);
        Self { horizon, ground, road_top, road_bottom: rng.random_range(0.86..0.91) }
    }
}

/// The time of day: its sky and how light it is.
#[derive(Clone, Copy)]
struct Day {
    zenith: Rgb,
    horizon: Rgb,
    light: f32,
    windows_lit: f64,
}

const DAYS: [Day; 4] = [
    Day {
        zenith: [70.0, 120.0, 190.0],
        horizon: [190.0, 212.0, 232.0],
        light: 1.0,
        windows_lit: 0.05,
    },
    Day {
        zenith: [128.0, 140.0, 156.0],
        horizon: [198.0, 204.0, 210.0],
        light: 0.88,
        windows_lit: 0.15,
    },
    Day {
        zenith: [66.0, 82.0, 132.0],
        horizon: [240.0, 176.0, 122.0],
        light: 0.78,
        windows_lit: 0.35,
    },
    Day {
        zenith: [22.0, 28.0, 52.0],
        horizon: [84.0, 82.0, 108.0],
        light: 0.52,
        windows_lit: 0.55,
    },
];

/// Paints all that stands still onto `canvas` and returns how light it is, 1 at noon. `kind`
/// chooses the time of day.
pub(super) fn paint(canvas: &mut Canvas, layout: Layout, kind: u64, rng: &mut ChaCha8Rng) -> f32 {
    let texture = Texture::new(rng.random());
    let day = DAYS.get((kind % DAYS.len() as u64) as usize).copied().unwrap_or(DAYS[0]);
    let mut painter = Painter { canvas, layout, day, texture: &texture };
    painter.sky();
    painter.hills();
    painter.houses(rng);
    painter.trees(rng);
    painter.ground();
    painter.lane_marks();
    day.light
}

struct Painter<'a> {
    canvas: &'a mut Canvas,
    layout: Layout,
    day: Day,
    texture: &'a Texture,
}

impl Painter<'_> {
    /// A band across the whole canvas, its ends as parts of the height.
    fn band(&self, top: f32, bottom: f32) -> Area {
        let (width, height) = self.canvas.size();
        Area { left: 0.0, top: top * height, width, height: (bottom - top) * height }
    }

    fn sky(&mut self) {
        let (texture, day) = (self.texture, self.day);
        self.canvas.paint(self.band(0.0, self.layout.ground), |u, v| {
            let clear = blend(day.zenith, day.horizon, v.powf(0.8));
            let cloud = texture.at(u * 300.0, v * 420.0 + 40.0);
            let white = lit([250.0, 248.0, 246.0], 0.35 + 0.62 * day.light);
            Some(blend(clear, white, smooth((cloud - 0.48) * 3.4) * 0.75))
        });
    }

    fn hills(&mut self) {
        let (texture, day, layout) = (self.texture, self.day, self.layout);
        for (far, rise, row, green) in
            [(0.65, 0.16, 11.0, [92.0, 112.0, 116.0]), (0.3, 0.09, 97.0, [74.0, 98.0, 70.0])]
        {
            let area = self.band(layout.horizon - rise, layout.ground);
            self.canvas.paint(area, |u, v| {
                let ridge = texture.at(u * 180.0, row);
                if v < (1.0 - ridge) * 0.75 {
                    return None;
                }
                let leaf = 0.7 + 0.6 * texture.at(u * 1_500.0, v * 500.0 + row);
                Some(blend(lit(green, leaf * day.light), day.horizon, far))
            });
        }
    }

    fn houses(&mut self, rng: &mut ChaCha8Rng) {
        const WALLS: [Rgb; 6] = [
            [176.0, 152.0, 130.0],
            [150.0, 92.0, 74.0],
            [188.0, 184.0, 176.0],
            [120.0, 126.0, 136.0],
            [206.0, 192.0, 160.0],
            [104.0, 108.0, 102.0],
        ];
        let (width, height) = self.canvas.size();
        let bottom = (self.layout.ground + 0.01) * height;
        let mut left = -0.05 * width;
        while left < width {
            let house_width = width * rng.random_range(0.07..0.17);
            let house_height = height * rng.random_range(0.14..0.40);
            if rng.random_bool(0.82) {
                let wall = WALLS.get(rng.random_range(0..WALLS.len())).copied().unwrap_or(WALLS[0]);
                let area = Area {
                    left,
                    top: bottom - house_height,
                    width: house_width,
                    height: house_height,
                };
                self.house(area, wall, rng);
            }
            left += house_width * rng.random_range(0.9..1.25);
        }
    }

    fn house(&mut self, area: Area, wall: Rgb, rng: &mut ChaCha8Rng) {
        let (texture, day) = (self.texture, self.day);
        let (_, height) = self.canvas.size();
        let columns = (area.width / (height * rng.random_range(0.032..0.05))).floor().max(2.0);
        let rows = (area.height / (height * rng.random_range(0.045..0.065))).floor().max(2.0);
        let (offset, lit_bits): (f32, u64) = (rng.random_range(0.0..400.0), rng.random());
        self.canvas.paint(area, |u, v| {
            let (cell_u, cell_v) = (u * columns, (v - 0.04) * rows);
            let (in_u, in_v) = (cell_u.fract(), cell_v.fract());
            let grime = 0.82 + 0.36 * texture.at(u * area.width + offset, v * area.height);
            // The side away from the sun, and the cornice.
            let side = if u < 0.12 { 0.72 } else { 1.0 };
            let cornice = if v < 0.03 { 1.2 } else { 1.0 };
            let is_window =
                v > 0.06 && (0.24..0.76).contains(&in_u) && (0.22..0.78).contains(&in_v);
            if !is_window {
                let sill = if v > 0.06 && (0.2..0.8).contains(&in_u) && (0.78..0.86).contains(&in_v)
                {
                    1.15
                } else {
                    1.0
                };
                return Some(lit(wall, grime * side * cornice * sill * day.light));
            }
            let window = super::texture::mix(lit_bits ^ (cell_u as u64) << 8 ^ cell_v as u64);
            if (window & 0xff) as f64 / 256.0 < day.windows_lit {
                return Some(blend([255.0, 214.0, 140.0], [190.0, 140.0, 80.0], in_v));
            }
            let glass =
                blend([52.0, 62.0, 74.0], day.horizon, 0.12 + 0.35 * (1.0 - in_v) * day.light);
            let frame = (in_u - 0.5).abs() < 0.03 || (in_v - 0.5).abs() < 0.025;
            Some(if frame { lit(wall, 0.6 * day.light) } else { lit(glass, side) })
        });
    }

    fn trees(&mut self, rng: &mut ChaCha8Rng) {
        let (texture, day) = (self.texture, self.day);
        let (width, height) = self.canvas.size();
        for _ in 0..rng.random_range(4..8) {
            let tall = height * rng.random_range(0.16..0.28);
            let left = width * rng.random_range(-0.05..1.0);
            let area = Area {
                left,
                top: (self.layout.ground + 0.03) * height - tall,
                width: tall * 0.95,
                height: tall,
            };
            let green = blend([52.0, 84.0, 42.0], [96.0, 110.0, 48.0], rng.random());
            let offset: f32 = rng.random_range(0.0..500.0);
            self.canvas.paint(area, |u, v| {
                let (du, dv) = ((u - 0.5) * 2.0, (v - 0.4) / 0.42);
                let leaf = texture.at(u * tall * 0.9 + offset, v * tall * 0.9);
                let clump = texture.at(u * 60.0 + offset, v * 60.0);
                if (du * du + dv * dv).sqrt() + (clump - 0.5) * 0.9 < 0.72 {
                    let sun = 0.55 + 0.35 * (1.0 - v) + 0.7 * (leaf - 0.5) + 0.5 * (clump - 0.5);
                    return Some(lit(green, 1.5 * sun.max(0.1) * day.light));
                }
                let trunk = (u - 0.5).abs() < 0.035 && v > 0.5;
                trunk.then(|| lit([70.0, 54.0, 40.0], (0.6 + leaf * 0.6) * day.light))
            });
        }
    }

    fn ground(&mut self) {
        let (texture, day, layout) = (self.texture, self.day, self.layout);
        let (width, height) = self.canvas.size();
        let far_edge = layout.ground;
        self.canvas.paint(self.band(layout.ground, 1.0), |u, v| {
            let y = lerp(far_edge, 1.0, v);
            // Nearer ground shows larger grains.
            let near = 0.25 + (y - far_edge) / (1.0 - far_edge);
            let (x, z) = ((u - 0.5) * width / near * 0.55, height * 0.9 / near);
            let grain = texture.at(x * 1.4, z * 1.4);
            let patch = texture.at(x * 0.11 + 70.0, z * 0.16);
            let rough = 0.62 + 0.36 * grain + 0.4 * (patch - 0.25);
            let is_road = (layout.road_top..layout.road_bottom).contains(&y);
            let from_kerb = (y - layout.road_top).abs().min((y - layout.road_bottom).abs());
            let colour = if from_kerb < 0.004 {
                [176.0, 174.0, 168.0]
            } else if is_road {
                [86.0, 86.0, 90.0]
            } else {
                [146.0, 140.0, 132.0]
            };
            let joint = !is_road && ((u * 46.0 / near.max(0.4)).fract() < 0.02);
            Some(lit(colour, rough * if joint { 0.8 } else { 1.0 } * day.light))
        });
    }

    fn lane_marks(&mut self) {
        let (texture, day, layout) = (self.texture, self.day, self.layout);
        let middle = lerp(layout.road_top, layout.road_bottom, 0.44);
        self.canvas.paint(self.band(middle, middle + 0.011), |u, v| {
            let worn = texture.at(u * 900.0, v * 9.0);
            let dash = (u * 9.0).fract() < 0.45 && worn > 0.36;
            dash.then(|| lit([214.0, 210.0, 196.0], (0.7 + 0.4 * worn) * day.light))
        });
    }
}
