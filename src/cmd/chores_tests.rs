use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Arc, Mutex};

use tracing_subscriber::fmt::MakeWriter;

use super::*;

const INTERVAL: Duration = Duration::from_secs(100);

/// How a turn goes.
#[derive(Clone, Copy)]
enum Turn {
    Well,
    Fails(&'static str),
    Panics,
    Hangs,
}

/// A chore whose turns go as is said, and well when no more is said.
struct Scripted {
    name: &'static str,
    turns: VecDeque<Turn>,
}

fn scripted(name: &'static str, turns: &[Turn]) -> Box<dyn Chore> {
    Box::new(Scripted { name, turns: turns.iter().copied().collect() })
}

#[async_trait]
impl Chore for Scripted {
    fn name(&self) -> &'static str {
        self.name
    }

    fn interval(&self) -> Duration {
        INTERVAL
    }

    async fn run(&mut self, _: &CancellationToken, _: &Health) -> Result<(), CommandError> {
        match self.turns.pop_front().unwrap_or(Turn::Well) {
            Turn::Well => Ok(()),
            Turn::Fails(why) => Err(CommandError::new(why)),
            Turn::Panics => panic!("the test says so"),
            Turn::Hangs => std::future::pending().await,
        }
    }
}

/// What is logged meanwhile on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn listen(&self) -> tracing::subscriber::DefaultGuard {
        let lines = tracing_subscriber::fmt().with_ansi(false).with_writer(self.clone());
        tracing::subscriber::set_default(lines.finish())
    }

    fn count(&self, what: &str) -> usize {
        let log = self.0.lock().unwrap();
        String::from_utf8_lossy(&log).lines().filter(|line| line.contains(what)).count()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;
    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test(start_paused = true)]
async fn a_chore_that_fails_panics_or_hangs_costs_its_own_turn() {
    use Turn::{Fails, Hangs, Panics, Well};
    let log = Log::default();
    let listening = log.listen();
    let (metrics, stop) = (Metrics::new().unwrap(), CancellationToken::new());
    let chores = vec![
        scripted("cleanup", &[Fails("no room"), Panics, Panics, Fails("no room"), Well]),
        scripted("archive_cleanup", &[Hangs]),
        scripted("offline_check", &[]),
    ];
    let chores = Chores::start(chores, &metrics, &stop);
    tokio::time::sleep(FIRST_WITHIN + 10 * INTERVAL).await;
    let (turns, failed) = metrics.chore_turns("cleanup");
    assert!((9..=12).contains(&turns), "{turns}");
    assert_eq!(failed, 4);
    assert_eq!(metrics.chore_turns("archive_cleanup"), (1, 0));
    let (turns, failed) = metrics.chore_turns("offline_check");
    assert!((9..=12).contains(&turns) && failed == 0, "{turns}");
    assert_eq!(log.count("no room"), 2, "once, and once more after another trouble");
    assert_eq!(log.count("a defect of this program: the test says so"), 1);
    assert_eq!(log.count("mended"), 1);

    stop.cancel();
    let asked = tokio::time::Instant::now();
    chores.ended().await;
    assert!(asked.elapsed() <= LAST_WORDS + Duration::from_millis(10), "{:?}", asked.elapsed());
    drop(listening);
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_a_pause_at_once() {
    let (metrics, stop) = (Metrics::new().unwrap(), CancellationToken::new());
    let chores = Chores::start(vec![scripted("cleanup", &[])], &metrics, &stop);
    tokio::time::sleep(FIRST_WITHIN + INTERVAL / 2).await;
    stop.cancel();
    let asked = tokio::time::Instant::now();
    chores.ended().await;
    assert!(asked.elapsed() < Duration::from_millis(10), "{:?}", asked.elapsed());
    assert_eq!(metrics.chore_turns("cleanup"), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_process_that_waits_for_a_turn_is_alive_and_one_whose_turn_hangs_is_not() {
    struct Daily(Scripted);
    #[async_trait]
    impl Chore for Daily {
        fn name(&self) -> &'static str {
            self.0.name()
        }
        fn interval(&self) -> Duration {
            Duration::from_secs(86_400)
        }
        async fn run(&mut self, stop: &CancellationToken, h: &Health) -> Result<(), CommandError> {
            self.0.run(stop, h).await
        }
    }
    let turns = [Turn::Well, Turn::Hangs].into();
    let chore = Box::new(Daily(Scripted { name: "cleanup", turns }));
    let (metrics, health) = (Metrics::new().unwrap(), health());
    let turns = Turns::of(chore, metrics.clone(), health.clone(), CancellationToken::new());
    let taking = tokio::spawn(turns.take(Duration::ZERO));
    tokio::time::sleep(Duration::from_secs(70_000)).await;
    assert!(health.liveness().ok && metrics.chore_turns("cleanup").0 == 1);
    tokio::time::sleep(Duration::from_secs(30_000)).await;
    assert!(!health.liveness().ok && metrics.chore_turns("cleanup").0 == 2);
    taking.abort();
}

#[test]
fn a_device_in_trouble_is_told_of_once_until_it_is_another_trouble_or_none() {
    let log = Log::default();
    let listening = log.listen();
    let mut troubles = Troubles::default();
    let key = |device| DeviceKey::new("acme", device).unwrap();
    for _ in 0..3 {
        troubles.failed(&key("a"), "it could not be done", &"no room");
        troubles.went_well(&key("b"));
    }
    troubles.failed(&key("a"), "it could not be done", &"no rights");
    assert_eq!((log.count("no room"), log.count("no rights"), log.count("mended")), (1, 1, 0));
    troubles.went_well(&key("a"));
    troubles.went_well(&key("a"));
    assert_eq!(log.count("mended"), 1);
    drop(listening);
}
