//! Many viewers at once of streams that are being made: what each of them sees is judged.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tokio::task::JoinSet;

use super::history::HistoryChecker;
use super::history::parse;
use super::viewer::Viewer;

/// How often each viewer asks for its playlist: more often than players do.
const EVERY: Duration = Duration::from_millis(500);
/// How many versions of its playlist each viewer sees before it has seen enough.
const VERSIONS: usize = 5;
/// By then something is wrong.
const LIMIT: Duration = Duration::from_secs(120);

/// The size and hash of every file that somebody was served, by device and name.
pub type Served = BTreeMap<(usize, String), (u64, [u8; 32])>;

/// What a crowd saw.
#[derive(Debug, Default)]
pub struct Seen {
    pub served: Served,
    /// Answers in all.
    pub answers: usize,
    /// Viewers that were there to the end.
    pub viewers: usize,
}

/// Lets that many viewers watch the playlists in turn, each on a connection of its own, until
/// each has seen some versions.
///
/// # Panics
/// When anything that a viewer sees is wrong.
pub async fn watch(port: u16, playlists: &[String], viewers: usize) -> Seen {
    let served = Arc::<Mutex<Served>>::default();
    let mut watching = JoinSet::new();
    for number in 0..viewers {
        let (device, served) = (number % playlists.len(), served.clone());
        let playlist = playlists[device].clone();
        let step =
            EVERY / u32::try_from(viewers).expect("few") * u32::try_from(number).expect("few");
        watching.spawn(async move {
            tokio::time::sleep(step).await;
            let seen = view(port, &playlist, device, &served).await;
            seen.unwrap_or_else(|error| panic!("viewer {number} of {playlist}: {error}"))
        });
    }
    let mut seen = Seen::default();
    while let Some(answers) = watching.join_next().await {
        seen.answers += answers.expect("what it saw is right");
        seen.viewers += 1;
    }
    seen.served = std::mem::take(&mut *served.lock().unwrap_or_else(PoisonError::into_inner));
    seen
}

/// Watches one playlist; returns how many answers came.
async fn view(
    port: u16,
    playlist: &str,
    device: usize,
    served: &Mutex<Served>,
) -> io::Result<usize> {
    let mut viewer = Viewer::connect(port, playlist).await?;
    let mut checker = HistoryChecker::of_texts();
    let (mut answers, mut newest) = (0, String::new());
    let mut ticks = tokio::time::interval(EVERY);
    let begun = Instant::now();
    while checker.versions() < VERSIONS {
        assert!(begun.elapsed() < LIMIT, "only {} versions came", checker.versions());
        ticks.tick().await;
        answers += 1;
        if !viewer.look().await? {
            continue;
        }
        checker.feed(viewer.text());
        let version = parse::parse(viewer.text()).expect("a playlist");
        let last = version.segments.last().expect("a segment");
        if last.uri == newest {
            continue;
        }
        newest.clone_from(&last.uri);
        for uri in last.map.iter().chain([&last.uri]) {
            answers += 1;
            let bytes = viewer.fetch(uri).await?;
            let about = (bytes.len() as u64, Sha256::digest(&bytes).into());
            let mut served = served.lock().unwrap_or_else(PoisonError::into_inner);
            let before = served.entry((device, uri.clone())).or_insert(about);
            assert_eq!(*before, about, "{uri} is not the same for everybody");
        }
    }
    checker.assert_clean();
    Ok(answers)
}
