//! How much of something covers each pixel of a rectangle, and what can be done with that
//! (pure).

/// Rows of coverage: 0 not at all, 255 wholly.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Mask {
    width: usize,
    coverage: Vec<u8>,
}

impl Mask {
    /// `coverage` in rows of `width`.
    pub fn of(width: usize, coverage: Vec<u8>) -> Self {
        Self { width, coverage }
    }

    /// A rectangle that is covered alike everywhere.
    pub fn even(width: usize, height: usize, coverage: u8) -> Self {
        Self::of(width, vec![coverage; width * height])
    }

    /// The rows, from the top.
    pub fn rows(&self) -> impl Iterator<Item = &[u8]> {
        self.coverage.chunks(self.width.max(1))
    }

    /// Lays `over` on it with its left upper corner there; what would be outside is left out.
    pub fn lay(&mut self, over: &Self, left: isize, top: isize) {
        let hidden = |start: isize| usize::try_from(start.saturating_neg()).unwrap_or(0);
        let shown = |start: isize| usize::try_from(start).unwrap_or(0);
        let rows = self.coverage.chunks_mut(self.width.max(1)).skip(shown(top));
        for (to, from) in rows.zip(over.rows().skip(hidden(top))) {
            let from = from.iter().skip(hidden(left));
            for (to, from) in to.iter_mut().skip(shown(left)).zip(from) {
                *to = (*to).max(*from);
            }
        }
    }

    /// The same with a rim of `radius` pixels around it, whose outer edge is smooth.
    pub fn with_rim(&self, radius: u8) -> Self {
        let brush = brush(radius);
        let mut grown = self.clone();
        for (y, row) in self.rows().enumerate() {
            for (x, coverage) in row.iter().enumerate().filter(|(_, coverage)| **coverage > 0) {
                for (right, down, strength) in &brush {
                    let (x, y) = (x.checked_add_signed(*right), y.checked_add_signed(*down));
                    let at = x.filter(|x| *x < self.width).zip(y).map(|(x, y)| y * self.width + x);
                    if let Some(pixel) = at.and_then(|at| grown.coverage.get_mut(at)) {
                        *pixel = (*pixel).max(mixed(0, *coverage, *strength));
                    }
                }
            }
        }
        grown
    }

    /// The mask for a plane of half its width and height, both of which have to be even: the
    /// mean of each four pixels.
    pub fn halved(&self) -> Self {
        let rows: Vec<&[u8]> = self.rows().collect();
        let mean = |(upper, lower): (&[u8], &[u8])| {
            let sum: u16 = upper.iter().chain(lower).map(|coverage| u16::from(*coverage)).sum();
            u8::try_from(sum.div_ceil(4)).unwrap_or(u8::MAX)
        };
        let halved = rows.chunks_exact(2).filter_map(|pair| <&[&[u8]; 2]>::try_from(pair).ok());
        let halved = halved.flat_map(|[upper, lower]| upper.chunks(2).zip(lower.chunks(2)));
        Self::of(self.width / 2, halved.map(mean).collect())
    }
}

/// A disc: where its pixels are, seen from the middle, and how much it covers them.
fn brush(radius: u8) -> Vec<(isize, isize, u8)> {
    let reach = i16::from(radius);
    let pixel = |(x, y): (i16, i16)| {
        // The middle of a pixel at the edge of a letter is half a pixel inside.
        let beyond = f32::from(x).hypot(f32::from(y)) - f32::from(radius);
        let strength = 255.0 * (1.0 - beyond).clamp(0.0, 1.0);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 255")]
        (isize::from(x), isize::from(y), strength.round() as u8)
    };
    let square = (-reach..=reach).flat_map(|y| (-reach..=reach).map(move |x| (x, y)));
    square.map(pixel).filter(|(.., strength)| *strength > 0).collect()
}

/// `from` on its way to `to`: 0 stays, 255 is there. Rounded to the nearest.
pub(super) fn mixed(from: u8, to: u8, share: u8) -> u8 {
    // At most 255 * 255 + 127.
    let sum = u16::from(from) * u16::from(255 - share) + u16::from(to) * u16::from(share);
    u8::try_from((sum + 127) / 255).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(mask: &Mask) -> String {
        let pixel = |coverage: &u8| match coverage {
            0 => '.',
            1..128 => 'o',
            128.. => '#',
        };
        mask.rows().map(|row| row.iter().map(pixel).collect()).collect::<Vec<String>>().join("/")
    }

    #[test]
    fn what_is_laid_over_the_edge_is_left_out() {
        let block = Mask::of(2, vec![255; 4]);
        for (left, top, wanted) in [
            (0, 0, "##./##./..."),
            (1, 1, ".../.##/.##"),
            (2, 2, ".../.../..#"),
            (-1, -1, "#../.../..."),
            (-2, 0, ".../.../..."),
            (3, 5, ".../.../..."),
        ] {
            let mut mask = Mask::even(3, 3, 0);
            mask.lay(&block, left, top);
            assert_eq!(text(&mask), wanted, "{left}, {top}");
        }
    }

    #[test]
    fn a_rim_is_round_and_stays_inside() {
        let mut dot = Mask::even(7, 5, 0);
        dot.lay(&Mask::of(1, vec![255]), 3, 2);
        assert_eq!(text(&dot.with_rim(1)), "......./..###../..###../..###../.......");
        assert_eq!(text(&dot.with_rim(2)), ".o###o./.#####./.#####./.#####./.o###o.");
        let mut edge = Mask::even(3, 1, 0);
        edge.lay(&Mask::of(1, vec![255]), 0, 0);
        assert_eq!(text(&edge.with_rim(1)), "##.");
    }

    #[test]
    fn half_of_it_covers_as_much() {
        let mask = Mask::of(4, vec![255, 255, 0, 0, 255, 255, 0, 200]);
        assert_eq!(mask.halved(), Mask::of(2, vec![255, 50]));
    }

    #[test]
    fn a_mixture_is_the_nearest_value() {
        assert_eq!((mixed(16, 235, 0), mixed(16, 235, 255)), (16, 235));
        for share in 0..=255 {
            let exact = 200.0 + (16.0 - 200.0) * f64::from(share) / 255.0;
            assert!((f64::from(mixed(200, 16, share)) - exact).abs() <= 0.5, "{share}");
        }
    }
}
