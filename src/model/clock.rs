use std::future::Future;
use std::pin::Pin;
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use super::UtcMillis;

/// Where all time comes from, sleep included, so that a test can move it.
pub trait Clock: Send + Sync + 'static {
    /// Wall time now.
    fn now(&self) -> UtcMillis;

    /// The time that has passed since an instant that means nothing by itself. Nobody can set it,
    /// so it tells how long something took where [`Clock::now`] may have been put right meanwhile.
    fn uptime(&self) -> Duration;

    /// Completes once `duration` has passed, whatever the wall time is set to meanwhile.
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// When the machine's clock was first asked.
static FIRST_ASKED: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The machine's own clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UtcMillis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = UtcMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
        #[cfg(feature = "failpoints")]
        let now = now.plus_millis(crate::crash_point::clock_step_millis());
        now
    }

    fn uptime(&self) -> Duration {
        FIRST_ASKED.elapsed()
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A clock that stands still until it is moved: for tests and simulations.
#[derive(Debug)]
pub struct ManualClock {
    shown: Mutex<watch::Sender<Shown>>,
}

#[derive(Clone, Copy, Debug)]
struct Shown {
    now: UtcMillis,
    uptime: Duration,
}

impl ManualClock {
    /// A clock that shows `start`.
    pub fn new(start: UtcMillis) -> Self {
        let shown = Shown { now: start, uptime: Duration::ZERO };
        Self { shown: Mutex::new(watch::Sender::new(shown)) }
    }

    /// Moves the clock forward and wakes the sleepers whose time has come.
    pub fn advance(&self, duration: Duration) {
        self.sender().send_modify(|shown| {
            shown.now = shown.now.plus(duration);
            shown.uptime = shown.uptime.saturating_add(duration);
        });
    }

    /// Sets the clock, backwards too, as an administrator or NTP does. No time passes by it.
    pub fn set(&self, now: UtcMillis) {
        self.sender().send_modify(|shown| shown.now = now);
    }

    fn sender(&self) -> std::sync::MutexGuard<'_, watch::Sender<Shown>> {
        self.shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> UtcMillis {
        self.sender().borrow().now
    }

    fn uptime(&self) -> Duration {
        self.sender().borrow().uptime
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let mut shown = self.sender().subscribe();
        let until = self.uptime().saturating_add(duration);
        Box::pin(async move {
            // The sender lives as long as `self`, so waiting cannot fail.
            let _ = shown.wait_for(|shown| shown.uptime >= until).await;
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

    #[tokio::test]
    async fn a_clock_that_is_set_wakes_nobody_and_leaves_the_uptime_as_it_was() {
        let clock = ManualClock::new(UtcMillis(1_000_000));
        let mut sleeper = tokio_test_poll(clock.sleep(Duration::from_secs(5)));
        clock.set(UtcMillis(9_000_000));
        assert!(!sleeper.poll_now());
        clock.set(UtcMillis(0));
        assert_eq!(clock.uptime(), Duration::ZERO);
        clock.advance(Duration::from_secs(5));
        assert!(sleeper.poll_now());
        assert_eq!((clock.now(), clock.uptime()), (UtcMillis(5_000), Duration::from_secs(5)));
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
