use std::time::Duration;

use rand::RngExt;

/// How long to pause before trying again: pauses that double from the shortest to the longest,
/// each cut by up to a half at random, so that processes which lost a server together do not come
/// back together.
#[derive(Debug)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    /// Pauses from `min` to `max`.
    pub fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, next: min }
    }

    /// The next pause.
    pub fn pause(&mut self) -> Duration {
        let whole = self.next;
        self.next = whole.saturating_mul(2).min(self.max);
        whole.mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    /// It went well for a while: starts from the shortest again.
    pub fn reset(&mut self) {
        self.next = self.min;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_start_over() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        for whole_millis in [100, 200, 400, 800, 1_000, 1_000] {
            let pause = backoff.pause();
            assert!(pause >= Duration::from_millis(whole_millis / 2), "{pause:?}");
            assert!(pause <= Duration::from_millis(whole_millis), "{pause:?}");
        }
        backoff.reset();
        assert!(backoff.pause() <= Duration::from_millis(100));
    }
}
