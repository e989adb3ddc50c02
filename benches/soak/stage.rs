//! What every part needs: a topic, a storage with JPEGs on it, a worker, and publishers that
//! come and go.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use stream_processor::model::{Clock, SystemClock};
use stream_processor::store::{Store, StoreSettings};
use tempfile::TempDir;

use super::broker::Broker;
use super::footage::{Failure, Footage, Kind, pool};
use super::judge::{Verdict, judge};
use super::publisher::{self, Publisher};
use super::watch::{Meter, Sample};
use super::worker::{SUBSCRIPTION, Worker};
use super::{BROKER, Extent, stand_in};

/// Partitions of every topic.
const PARTITIONS: u32 = 4;
/// How many cameras' pictures there are; every fleet shows them in turn.
const CLIPS: usize = 6;
/// How long the broker may take to take notice of the last acknowledgement.
const ACKNOWLEDGED: Duration = Duration::from_secs(30);

/// Who encodes.
#[derive(Clone, Copy, Debug)]
pub enum Encoders {
    /// The program's own helpers.
    Real,
    /// So many helpers are stood in for.
    StandIn(usize),
}

/// A worker at work.
pub struct Stage<'a> {
    pub broker: &'a Broker,
    pub topic: String,
    pub worker: Worker,
    pub extent: Extent,
    base: TempDir,
    footage: Footage,
    publishers: Vec<Publisher>,
    meter: Meter,
    tags: u16,
}

/// How a part ended.
pub struct Ended {
    /// What each fleet published, in the order in which they came, and what became of it.
    pub fleets: Vec<(String, Verdict)>,
    /// How many messages went to the dead-letter topic.
    pub dead_letters: f64,
    /// The largest that the worker ever was.
    pub peak_kib: f64,
    /// The most frames that it had put off.
    pub put_off: f64,
    /// How long the worker took after the last frame was published.
    pub drained_secs: f64,
}

impl<'a> Stage<'a> {
    /// Starts a worker that has nothing to do yet.
    pub async fn set(
        broker: &'a Broker,
        extent: Extent,
        kind: Kind,
        encoders: Encoders,
        settings: &[(&str, &str)],
    ) -> Result<Self, Failure> {
        // On a disk, as storage is.
        let base =
            tempfile::Builder::new().prefix("soak-").tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let footage = Footage::make(kind, CLIPS, base.path())?;
        let topic = broker.topic("soak");
        broker.create_partitioned(&topic, PARTITIONS).await;
        broker.create_subscription(&topic, SUBSCRIPTION).await;
        let segment_secs = extent.segment_secs.to_string();
        let mut settings = settings.to_vec();
        settings.push(("PROCESSING_SEGMENT_DURATION_SECONDS", &segment_secs));
        settings.push(("LOG_LEVEL", "WARN"));
        let mut worker = match encoders {
            Encoders::Real => Worker::start(broker, &topic, base.path(), &settings)?,
            Encoders::StandIn(helpers) => {
                let order = record(&footage, base.path(), helpers).await?;
                let order = serde_json::to_string(&order)?;
                settings.push((stand_in::ORDER, &order));
                let program = std::env::current_exe()?;
                Worker::start_program(&program, broker, &topic, base.path(), &settings)?
            }
        };
        worker.wait_for("source_lanes_connected", PARTITIONS.into()).await?;
        let meter = Meter::new(broker, worker.pid)?;
        let publishers = Vec::new();
        Ok(Self { broker, topic, worker, extent, base, footage, publishers, meter, tags: 0 })
    }

    /// Has cameras publish from now on, in turn; the number to stop them by.
    pub fn begin(&mut self, name: &str, devices: usize) -> Result<usize, Failure> {
        let began_at = SystemClock.now();
        self.publish(name, devices, began_at.0, None)
    }

    /// Has cameras publish at once what they have taken in the last while.
    pub fn upload(&mut self, name: &str, devices: usize, frames: u64) -> Result<usize, Failure> {
        let ago = i64::try_from(frames)? * self.extent.interval_millis;
        let began_at = SystemClock.now().plus_millis(-ago);
        self.publish(name, devices, began_at.0, Some(frames * devices as u64))
    }

    fn publish(
        &mut self,
        name: &str,
        devices: usize,
        began_at: i64,
        frames: Option<u64>,
    ) -> Result<usize, Failure> {
        self.tags += 1;
        let publisher = Publisher::start(publisher::Order {
            broker: BROKER.to_owned(),
            topic: self.topic.clone(),
            name: name.to_owned(),
            devices,
            tag: self.tags,
            began_at,
            interval_millis: self.extent.interval_millis,
            paths: self.paths(),
            frames,
        })?;
        self.publishers.push(publisher);
        Ok(self.publishers.len() - 1)
    }

    /// The JPEGs below the base path, camera after camera.
    fn paths(&self) -> Vec<String> {
        let folders = self.footage.clips.iter().map(|clip| &clip.folder);
        let below = folders.filter_map(|folder| folder.strip_prefix(self.base.path()).ok());
        let files = |folder: &Path| -> Vec<String> {
            let frames = 0..super::footage::FRAMES;
            frames.map(|n| format!("{}/frame_{n:03}.jpg", folder.display())).collect()
        };
        below.flat_map(files).collect()
    }

    /// What a frame and a segment weigh, for who reads the figures.
    pub fn jpeg_bytes(&self) -> f64 {
        let sizes: Vec<_> = self
            .footage
            .clips
            .iter()
            .flat_map(|clip| &clip.jpegs)
            .map(|j| j.len() as f64)
            .collect();
        sizes.iter().sum::<f64>() / sizes.len().max(1) as f64
    }

    /// Ends the frames of these cameras, or waits until all of them are published.
    pub async fn end(&mut self, publisher: usize) -> Result<u64, Failure> {
        self.publishers.get_mut(publisher).ok_or("no such publisher")?.stop().await
    }

    /// How many frames have been published.
    pub fn sent(&self) -> u64 {
        self.publishers.iter().map(Publisher::sent).sum()
    }

    /// Looks at everything once.
    pub async fn look(&mut self) -> Result<Sample, Failure> {
        let publishers: Vec<_> = self.publishers.iter().map(|publisher| publisher.pid).collect();
        let sent = self.sent();
        self.meter.look(self.broker, &self.topic, &self.worker, &publishers, sent).await
    }

    /// Looks at everything again and again for so long.
    pub async fn watch(&mut self, during: Duration) -> Result<Vec<Sample>, Failure> {
        let every = (during / 60).clamp(Duration::from_millis(250), Duration::from_secs(10));
        let begun = Instant::now();
        let mut samples = vec![self.look().await?];
        while begun.elapsed() < during {
            tokio::time::sleep(every).await;
            samples.push(self.look().await?);
        }
        Ok(samples)
    }

    /// Looks until all that was to be uploaded is, and no more than `usual` frames are not
    /// acknowledged.
    pub async fn watch_until_caught_up(
        &mut self,
        usual: f64,
        limit: Duration,
    ) -> Result<Vec<Sample>, Failure> {
        self.watch_until(limit, |stage, sample| {
            stage.publishers.iter().all(Publisher::is_through) && sample.backlog <= usual
        })
        .await
    }

    /// Looks until it is so.
    async fn watch_until(
        &mut self,
        limit: Duration,
        is_so: impl Fn(&Self, &Sample) -> bool,
    ) -> Result<Vec<Sample>, Failure> {
        let begun = Instant::now();
        let mut samples = Vec::new();
        loop {
            let sample = self.look().await?;
            samples.push(sample);
            if is_so(self, &sample) {
                return Ok(samples);
            }
            if begun.elapsed() > limit {
                let sent = self.sent();
                return Err(
                    format!("after {} s, {sent} published: {sample:?}", limit.as_secs()).into()
                );
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Ends all cameras, has the worker finish and leave, and judges what became of every frame.
    pub async fn close(mut self, limit: Duration) -> Result<Ended, Failure> {
        for publisher in &mut self.publishers {
            publisher.stop().await?;
        }
        let begun = Instant::now();
        self.watch_until(limit, |stage, sample| {
            sample.committed + sample.dead_letters >= stage.sent() as f64
        })
        .await?;
        let drained_secs = begun.elapsed().as_secs_f64();
        let acked = Instant::now();
        loop {
            let left = self.broker.counters(&self.topic, SUBSCRIPTION).await.backlog;
            if left == 0 {
                break;
            }
            if acked.elapsed() > ACKNOWLEDGED {
                return Err(format!("{left} frames are committed and not acknowledged").into());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let last = self.look().await?;
        let peak_kib = self.meter.peak_kib();
        let put_off = self.meter.most_put_off();
        self.worker.stop().await?;
        let store = Store::at(self.base.path(), StoreSettings::default())?;
        let mut fleets = Vec::new();
        for publisher in &self.publishers {
            let verdict = judge(&store, &publisher.cameras, publisher.sent()).await?;
            fleets.push((publisher.order.name.clone(), verdict));
        }
        Ok(Ended { fleets, dead_letters: last.dead_letters, peak_kib, put_off, drained_secs })
    }
}

/// Encodes one segment as the worker would, for who stands in.
async fn record(
    footage: &Footage,
    base: &Path,
    helpers: usize,
) -> Result<stand_in::Order, Failure> {
    let clip = footage.clips.first().ok_or("no footage")?;
    let pool = pool(1).await?;
    let outcome = pool.encode(clip.job()).await?;
    pool.close().await;
    let segment = outcome.segments.first().ok_or("no segment was made")?;
    let file: PathBuf = base.join("segment.ts");
    std::fs::write(&file, &segment.media)?;
    Ok(stand_in::Order {
        segment: file.display().to_string(),
        width: segment.size.width,
        height: segment.size.height,
        helpers,
    })
}
