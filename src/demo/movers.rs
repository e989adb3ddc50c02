//! What of a scene moves: vehicles on the road and people on the pavement. Where each one is
//! follows from the time alone.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::backdrop::Layout;
use super::canvas::{Area, Canvas, Rgb, blend, lit};
use super::texture::lerp;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Car,
    Van,
    Person,
}

/// One thing that crosses the picture again and again.
pub(super) struct Mover {
    kind: Kind,
    colour: Rgb,
    /// Where its feet or wheels are, as a part of the height.
    foot: f32,
    /// Its height as a part of the picture's.
    tall: f32,
    /// Picture widths a second; to the left when negative.
    speed: f64,
    /// Where on its way it was at time 0, as a part of the way.
    start: f64,
}

/// How much longer the way is than the picture is wide: they are out of sight for a while.
const WAY: f64 = 1.7;

impl Mover {
    /// Those of a scene, the farthest first.
    pub(super) fn crowd(layout: Layout, rng: &mut ChaCha8Rng) -> Vec<Self> {
        const PAINTS: [Rgb; 7] = [
            [196.0, 40.0, 36.0],
            [232.0, 232.0, 230.0],
            [36.0, 40.0, 46.0],
            [44.0, 86.0, 160.0],
            [160.0, 166.0, 172.0],
            [226.0, 178.0, 44.0],
            [52.0, 116.0, 84.0],
        ];
        let mut crowd = Vec::new();
        let lanes = [(0.24, -1.0, 0.115), (0.78, 1.0, 0.17)];
        let mut add = |kind, place: f32, direction: f64, tall: f32, rng: &mut ChaCha8Rng| {
            let speed = match kind {
                Kind::Person => rng.random_range(0.012..0.03),
                Kind::Car | Kind::Van => rng.random_range(0.07..0.16),
            };
            crowd.push(Self {
                kind,
                colour: PAINTS.get(rng.random_range(0..PAINTS.len())).copied().unwrap_or(PAINTS[0]),
                foot: place,
                tall: tall * rng.random_range(0.92..1.12),
                speed: speed * direction,
                start: rng.random(),
            });
        };
        for _ in 0..rng.random_range(2..5) {
            let place = lerp(layout.ground, layout.road_top, rng.random_range(0.5..0.95));
            let direction = if rng.random_bool(0.5) { 1.0 } else { -1.0 };
            add(Kind::Person, place, direction, 0.10, rng);
        }
        for (part, direction, tall) in lanes {
            let place = lerp(layout.road_top, layout.road_bottom, part);
            for _ in 0..rng.random_range(2..4) {
                let van = rng.random_bool(0.25);
                let (kind, tall) = if van { (Kind::Van, tall * 1.45) } else { (Kind::Car, tall) };
                add(kind, place + rng.random_range(-0.01..0.01), direction, tall, rng);
            }
        }
        for _ in 0..rng.random_range(1..4) {
            let place = lerp(layout.road_bottom, 1.0, rng.random_range(0.5..1.0));
            let direction = if rng.random_bool(0.5) { 1.0 } else { -1.0 };
            add(Kind::Person, place, direction, 0.21, rng);
        }
        crowd
    }

    /// Paints it where it is `secs` after the scene's beginning, with the picture moved
    /// `pan` pixels to the right.
    pub(super) fn paint(&self, canvas: &mut Canvas, secs: f64, pan: f32, light: f32) {
        let (width, height) = canvas.size();
        let along = (self.start + secs * self.speed / WAY).rem_euclid(1.0);
        #[expect(clippy::cast_possible_truncation, reason = "0 to WAY")]
        let middle = ((along * WAY - (WAY - 1.0) / 2.0) as f32) * width - pan;
        let tall = self.tall * height;
        let long = tall
            * match self.kind {
                Kind::Car => 2.75,
                Kind::Van => 2.1,
                Kind::Person => 0.42,
            };
        let area = Area {
            left: middle - long / 2.0,
            top: self.foot * height - tall,
            width: long,
            height: tall,
        };
        let shadow = Area {
            left: area.left - 0.04 * long,
            top: area.top + 0.86 * tall,
            width: long * 1.08,
            height: tall * 0.2,
        };
        canvas.darken(shadow, |u, v| {
            (square(2.0 * u - 1.0) + square(2.0 * v - 1.0) < 1.0).then_some(0.55)
        });
        let forward = self.speed > 0.0;
        let colour = lit(self.colour, light);
        match self.kind {
            Kind::Car => canvas.paint(area, |u, v| car(turned(u, forward), v, colour)),
            Kind::Van => canvas.paint(area, |u, v| van(turned(u, forward), v, colour)),
            Kind::Person => {
                #[expect(clippy::cast_possible_truncation, reason = "-1 to 1")]
                let stride = (secs * 5.0 + self.start * 40.0).sin() as f32;
                canvas.paint(area, |u, v| person(turned(u, forward), v, colour, stride));
            }
        }
    }
}

fn turned(u: f32, forward: bool) -> f32 {
    if forward { u } else { 1.0 - u }
}

fn square(x: f32) -> f32 {
    x * x
}

const GLASS: Rgb = [46.0, 58.0, 70.0];
const RUBBER: Rgb = [24.0, 24.0, 26.0];
const RIM: Rgb = [150.0, 152.0, 156.0];

/// Wheels, drawn round: `aspect` is length over height.
fn wheel(u: f32, v: f32, aspect: f32) -> Option<Rgb> {
    [0.2, 0.79].into_iter().find_map(|hub| {
        let distance = (square((u - hub) * aspect) + square(v - 0.82)).sqrt();
        (distance < 0.18).then_some(if distance < 0.09 { RIM } else { RUBBER })
    })
}

fn car(u: f32, v: f32, paint: Rgb) -> Option<Rgb> {
    if let Some(colour) = wheel(u, v, 2.75) {
        return Some(colour);
    }
    // The cabin leans forward and back; the body's ends are round.
    let (back, front) = (lerp(0.3, 0.14, v / 0.42), lerp(0.6, 0.74, v / 0.42));
    if v < 0.42 {
        if u < back || u > front || v < 0.02 {
            return None;
        }
        let pillar = (u - 0.45).abs() < 0.012 || u < back + 0.02 || u > front - 0.02 || v < 0.08;
        return Some(if pillar {
            lit(paint, 0.95)
        } else {
            blend(GLASS, [170.0, 190.0, 205.0], (0.4 - v).max(0.0))
        });
    }
    let end = square((v - 0.62) / 0.3) * 0.035;
    if v > 0.86 || u < end || u > 1.0 - end {
        return None;
    }
    if u > 0.955 && (0.5..0.6).contains(&v) {
        return Some([255.0, 246.0, 214.0]);
    }
    if u < 0.04 && (0.48..0.6).contains(&v) {
        return Some([200.0, 30.0, 28.0]);
    }
    let door = (u - 0.45).abs() < 0.005;
    let shine = 1.22 - 0.75 * (v - 0.42) - if door { 0.25 } else { 0.0 };
    Some(lit(paint, shine))
}

fn van(u: f32, v: f32, paint: Rgb) -> Option<Rgb> {
    if let Some(colour) = wheel(u, v, 2.1) {
        return Some(colour);
    }
    let front = if v < 0.45 { lerp(0.84, 0.96, v / 0.45) } else { 1.0 };
    if !(0.03..0.88).contains(&v) || u > front {
        return None;
    }
    let window = (0.1..0.42).contains(&v) && u > 0.7 && u < front - 0.03 && (u - 0.8).abs() > 0.012;
    let seam = (u - 0.62).abs() < 0.004 || (v - 0.5).abs() < 0.008;
    Some(if window { GLASS } else { lit(paint, 1.15 - 0.4 * v - if seam { 0.2 } else { 0.0 }) })
}

fn person(u: f32, v: f32, coat: Rgb, stride: f32) -> Option<Rgb> {
    let head = square((u - 0.52) * 0.42 / 0.075) + square((v - 0.08) / 0.075);
    if head < 1.0 {
        return Some(if v < 0.06 { [58.0, 44.0, 36.0] } else { [206.0, 164.0, 138.0] });
    }
    if (0.16..0.56).contains(&v) {
        let half = 0.22 + 0.1 * (1.0 - (v - 0.16) / 0.4);
        let fold = 1.0 - 0.4 * (u - 0.5).abs() - 0.2 * (v - 0.16);
        return ((u - 0.5).abs() < half).then(|| lit(coat, fold));
    }
    if (0.56..0.99).contains(&v) {
        let swing = stride * 0.3 * (v - 0.56) / 0.43;
        let leg = |side: f32| (u - 0.5 - side * swing).abs() < 0.13;
        return (leg(1.0) || leg(-1.0)).then_some([44.0, 46.0, 60.0]);
    }
    None
}
