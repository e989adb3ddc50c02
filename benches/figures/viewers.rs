//! What is left to the encoders while many viewers watch.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use stream_processor::http::playback::address::playlist_url;
use stream_processor::model::DeviceKey;
use stream_processor::store::{DeviceState, Store, StoreSettings};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::devices::{Original, name_of};
use super::encoding::Pool;
use super::footage::{Failure, Footage, cores};
use super::serving::Server;
use super::store_fixture::{commits_at, segment, timeline};
use super::table::{Row, Section, Wanted};
use super::usage::{cpu_of, median, own_cpu, ratio};
use super::viewer::Viewer;

/// How many streams are watched.
const STREAMS: usize = 20;
/// A segment's length, and how often a player asks for a playlist of them: twice a target
/// duration, which is a tenth longer.
const SEGMENT: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(16_500);

/// How much is measured.
#[derive(Clone, Copy)]
pub struct Audience {
    pub viewers: u32,
    /// Of each pair of windows, and how many pairs.
    pub window: Duration,
    pub pairs: usize,
    /// Segments that each playlist lists.
    pub listed: u64,
}

/// The encoders' throughput with viewers and without, in turns.
pub async fn viewers(
    footage: &Footage,
    folder: &Path,
    audience: Audience,
) -> Result<Section, Failure> {
    let mut section = Section::new(
        "Viewers: encoders with all cores, while viewers watch and while nobody does",
        &["frames/s", "without", "server cores", "viewers cores", "answers/s", "MiB/s"],
        "ratio",
        2,
    );
    let Audience { viewers, listed, window, pairs } = audience;
    section.note(format!(
        "{} frames, encoded by {} helpers as fast as they can. Meanwhile {STREAMS} live streams of {listed} listed",
        footage.kind.name(),
        cores()
    ));
    section.note(format!(
        "segments get one more each 30 s, and `serve` serves them to {viewers} viewers on this machine, who ask"
    ));
    section.note("for their playlist each 16.5 s and for each new segment once, or ten times as often. In turns of");
    section.note(format!(
        "{} s, {pairs} pairs, the median of their ratios. viewers cores: of the viewers, the feeding of the",
        window.as_secs()
    ));
    section.note("helpers and the commits, less the same without viewers. By CPU time: what these and the server");
    section.note("leave of all cores, which others on the machine do not disturb.");
    let pool = Pool::start(cores()).await?;
    let (outcomes, ..) = pool.encode_all(&footage.clips[..1]).await?;
    let media = outcomes.first().and_then(|outcome| outcome.segments.first());
    let media = media.ok_or("no segment")?.media.clone();
    for (name, hurry) in [("as often as players do", 1), ("ten times as often", 10)] {
        let base = tempfile::tempdir_in(folder)?;
        let mut streams = Streams::make(base.path(), listed, &media).await?;
        streams.commit_to_all().await?;
        let storage = [("STORAGE_BASE_PATH", base.path().display().to_string())];
        let server = Server::start(&storage, &[]).await;
        let crowd = Crowd::gather(&server, &streams, viewers, hurry).await?;
        let going_on = tokio::spawn(streams.go_on(SEGMENT / hurry));
        let mut turns = Vec::new();
        for pair in 0..pairs {
            // Each goes first every other time.
            let (one, other) = (pair % 2 == 0, pair % 2 != 0);
            let first = encode(&pool, footage, &crowd, &server, one, window).await?;
            let second = encode(&pool, footage, &crowd, &server, other, window).await?;
            turns.push(if one { (first, second) } else { (second, first) });
        }
        going_on.abort();
        crowd.leave().await?;
        let of = |value: &dyn Fn(&(Turn, Turn)) -> f64| {
            median(&turns.iter().map(value).collect::<Vec<_>>())
        };
        let cells = [
            format!("{:.1}", of(&|(with, _)| with.frames_per_sec)),
            format!("{:.1}", of(&|(_, without)| without.frames_per_sec)),
            format!("{:.3}", of(&|(with, _)| with.server_cores)),
            format!("{:.3}", of(&|(with, without)| with.own_cores - without.own_cores)),
            format!("{:.1}", of(&|(with, _)| with.answers_per_sec)),
            format!("{:.2}", of(&|(with, _)| with.bytes_per_sec) / f64::from(1 << 20)),
        ];
        let figure = of(&|(with, without)| ratio(with.frames_per_sec, without.frames_per_sec));
        let row = Row::new(format!("{viewers} viewers, {name}"), cells);
        section.push(match hurry {
            1 => row.required(figure, Wanted::AtLeast(0.95)),
            _ => row.figure(figure),
        });
        let used = of(&|(with, without)| {
            with.server_cores - without.server_cores + with.own_cores - without.own_cores
        });
        let left = 1.0 - used / cores() as f64;
        section.push(
            Row::new("    by the CPU time of server and viewers", [])
                .required(left, Wanted::AtLeast(0.95)),
        );
    }
    pool.pool.close().await;
    Ok(section)
}

/// What came about in one window.
#[derive(Clone, Copy)]
struct Turn {
    frames_per_sec: f64,
    server_cores: f64,
    own_cores: f64,
    answers_per_sec: f64,
    bytes_per_sec: f64,
}

/// Encodes for that long, as many clips at a time as keep all helpers busy.
async fn encode(
    pool: &Pool,
    footage: &Footage,
    crowd: &Crowd,
    server: &Server,
    watched: bool,
    window: Duration,
) -> Result<Turn, Failure> {
    crowd.watching.send_replace(watched);
    let mut clips = footage.clips.iter().cycle();
    let mut jobs: FuturesUnordered<_> =
        clips.by_ref().take(2 * cores()).map(|clip| pool.pool.encode(clip.job())).collect();
    // The first ones fill the pipes.
    for _ in 0..cores() {
        jobs.next().await.transpose()?;
        jobs.extend(clips.next().map(|clip| pool.pool.encode(clip.job())));
    }
    let (begun, server_cpu, own) = (Instant::now(), cpu_of(server.id()), own_cpu());
    let (answers, bytes) = (crowd.answers.load(Relaxed), crowd.bytes.load(Relaxed));
    let (mut frames, mut wall_secs) = (0, 0.0);
    while wall_secs < window.as_secs_f64() {
        let outcome = jobs.next().await.ok_or("no job is left")??;
        frames += outcome.segments.iter().map(|segment| segment.frames.len()).sum::<usize>();
        // Whole segments, so that none is counted in part.
        wall_secs = begun.elapsed().as_secs_f64();
        jobs.extend(clips.next().map(|clip| pool.pool.encode(clip.job())));
    }
    let turn = Turn {
        frames_per_sec: frames as f64 / wall_secs,
        server_cores: (cpu_of(server.id()) - server_cpu).as_secs_f64() / wall_secs,
        own_cores: (own_cpu() - own).as_secs_f64() / wall_secs,
        answers_per_sec: (crowd.answers.load(Relaxed) - answers) as f64 / wall_secs,
        bytes_per_sec: (crowd.bytes.load(Relaxed) - bytes) as f64 / wall_secs,
    };
    while let Some(outcome) = jobs.next().await {
        outcome?;
    }
    Ok(turn)
}

/// Streams that go on.
struct Streams {
    store: Store,
    media: Bytes,
    streams: Vec<(DeviceKey, DeviceState)>,
}

impl Streams {
    async fn make(base: &Path, listed: u64, media: &Bytes) -> Result<Self, Failure> {
        Original::film(listed, 0).await?.multiply(base, STREAMS)?;
        let store = Store::at(base, StoreSettings::default())?;
        let mut streams = Vec::new();
        for number in 0..STREAMS {
            let key = DeviceKey::new("bench", &name_of(number))?;
            let state = store.open(&key).await?;
            streams.push((key, state));
        }
        Ok(Self { store, media: media.clone(), streams })
    }

    async fn commit_to_all(&mut self) -> Result<(), Failure> {
        for index in 0..self.streams.len() {
            self.commit(index).await?;
        }
        Ok(())
    }

    async fn commit(&mut self, index: usize) -> Result<(), Failure> {
        let Some((key, state)) = self.streams.get_mut(index) else { return Ok(()) };
        let number = state.next_segment;
        let mut new = segment(number);
        new.media = self.media.clone();
        let commit = self.store.commit(key, state, vec![new], timeline(number), commits_at(number));
        *state = commit.await?;
        Ok(())
    }

    /// One more segment of each stream in each `period`, one stream after the other.
    async fn go_on(mut self, period: Duration) -> Result<(), Failure> {
        let mut ticks = interval(period / u32::try_from(STREAMS)?);
        for index in (0..STREAMS).cycle() {
            ticks.tick().await;
            self.commit(index).await?;
        }
        Ok(())
    }
}

/// Viewers, each with a connection of its own.
struct Crowd {
    watching: watch::Sender<bool>,
    answers: Arc<AtomicU64>,
    bytes: Arc<AtomicU64>,
    viewers: JoinSet<io::Result<()>>,
}

impl Crowd {
    async fn gather(
        server: &Server,
        streams: &Streams,
        viewers: u32,
        hurry: u32,
    ) -> Result<Self, Failure> {
        let mut crowd = Self {
            watching: watch::Sender::new(false),
            answers: Arc::default(),
            bytes: Arc::default(),
            viewers: JoinSet::new(),
        };
        let every = LOOK_EVERY / hurry;
        for (number, (key, _)) in (0..viewers).zip(streams.streams.iter().cycle()) {
            let viewer = Viewer::connect(server.port, &playlist_url(key)).await?;
            let (answers, bytes) = (crowd.answers.clone(), crowd.bytes.clone());
            let watching = crowd.watching.subscribe();
            let step = every / viewers * number;
            crowd.viewers.spawn(async move {
                sleep(step).await;
                view(viewer, every, watching, &answers, &bytes).await
            });
        }
        Ok(crowd)
    }

    /// Ends it; fails if one of them was served what is wrong.
    async fn leave(mut self) -> Result<(), Failure> {
        drop(self.watching);
        while let Some(viewer) = self.viewers.join_next().await {
            viewer??;
        }
        Ok(())
    }
}

/// Watches as long as somebody says whether to.
async fn view(
    mut viewer: Viewer,
    every: Duration,
    mut watching: watch::Receiver<bool>,
    answers: &AtomicU64,
    bytes: &AtomicU64,
) -> io::Result<()> {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut fetched = String::new();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            said = watching.changed() => match said {
                Ok(()) => continue,
                Err(_) => return Ok(()),
            },
        }
        if !*watching.borrow() {
            continue;
        }
        answers.fetch_add(1, Relaxed);
        if !viewer.look().await? {
            continue;
        }
        let newest = viewer.newest().unwrap_or_default().to_owned();
        if newest != fetched {
            let media = viewer.fetch(&newest).await?;
            answers.fetch_add(1, Relaxed);
            bytes.fetch_add(media.len() as u64, Relaxed);
            fetched = newest;
        }
    }
}
