use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use super::UtcMillis;

/// Where all time comes from, sleep included, so that a test can move it.
pub trait Clock: Send + Sync + 'static {
    /// Wall time now.
    fn now(&self) -> UtcMillis;

    /// Completes once `duration` has passed on this clock.
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// The machine's own clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UtcMillis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UtcMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A clock that stands still until it is moved: for tests and simulations.
#[derive(Debug)]
pub struct ManualClock {
    now: Mutex<watch::Sender<UtcMillis>>,
}

impl ManualClock {
    /// A clock that shows `start`.
    pub fn new(start: UtcMillis) -> Self {
        Self { now: Mutex::new(watch::Sender::new(start)) }
    }

    /// Moves the clock forward and wakes the sleepers whose time has come.
    pub fn advance(&self, duration: Duration) {
        self.sender().send_modify(|now| *now = now.plus(duration));
    }

    /// Sets the clock, backwards too, as an administrator or NTP does.
    pub fn set(&self, now: UtcMillis) {
        self.sender().send_modify(|shown| *shown = now);
    }

    fn sender(&self) -> std::sync::MutexGuard<'_, watch::Sender<UtcMillis>> {
        self.now.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> UtcMillis {
        *self.sender().borrow()
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let mut shown = self.sender().subscribe();
        let until = self.now().plus(duration);
        Box::pin(async move {
            // The sender lives as long as `self`, so waiting cannot fail.
            let _ = shown.wait_for(|now| *now >= until).await;
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sleeper_wakes_when_the_clock_is_moved_past_its_time() {
        let clock = ManualClock::new(UtcMillis(1_000));
        let mut sleeper = tokio_test_poll(clock.sleep(Duration::from_secs(5)));
        assert!(!sleeper.poll_now());
        clock.advance(Duration::from_secs(4));
        assert!(!sleeper.poll_now());
        clock.advance(Duration::from_secs(1));
        assert!(sleeper.poll_now());
    }

    struct Polled<'a>(Pin<Box<dyn Future<Output = ()> + Send + 'a>>);

    impl Polled<'_> {
        fn poll_now(&mut self) -> bool {
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            self.0.as_mut().poll(&mut cx).is_ready()
        }
    }

    fn tokio_test_poll(f: Pin<Box<dyn Future<Output = ()> + Send + '_>>) -> Polled<'_> {
        Polled(f)
    }
}
