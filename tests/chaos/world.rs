//! All that a run needs: the broker with two topics, a plain and a partitioned one, the storage,
//! Redis, the cameras, the workers.

use std::path::PathBuf;
use std::time::Duration;

use stream_processor::store::layout::hls_folder;

use super::broker::Broker;
use super::bucket_link::BucketLink;
use super::crew::{Crew, Post};
use super::filming::Fleet;
use super::history::watch::Watcher;
use super::link::Link;
use super::place::Place;
use super::plan::{Plan, Storage};
use super::servers::redis::RedisServer;
use super::servers::s3::S3Server;
use super::small_disk::SmallDisk;
use super::uploads::{INTERVAL_MILLIS, UploadsPlan, pictures};

/// The subscription of all workers.
pub const SUBSCRIPTION: &str = "stream-processor";
/// How many partitions the partitioned topic has.
const PARTITIONS: u32 = 4;
/// Frames in a segment: short ones, so that there is much to disturb.
const FRAMES_PER_SEGMENT: i64 = 3;
/// What a minute of a device takes of the disk at most, in KiB, generously.
const KIB_PER_DEVICE_MINUTE: f64 = 400.0;
/// How often each playlist is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What a frame takes until it is shown when nothing is wrong: its segment, the entry that it
/// shares with the next frame, and a little.
pub const NORMAL_MILLIS: i64 = INTERVAL_MILLIS * (FRAMES_PER_SEGMENT + 1);

/// One topic and its cameras.
pub struct Topic {
    pub name: String,
    /// 0 for a plain one.
    pub partitions: u32,
    pub uploads: Fleet,
    pub watcher: Option<Watcher>,
}

/// Where streams are kept, and what can be done to it.
pub enum Disk {
    Folder(SmallDisk),
    /// Where no file system may be mounted.
    PlainFolder,
    Bucket(S3Server, Vec<BucketLink>),
}

/// Everything.
pub struct World {
    pub broker: Broker,
    pub redis: RedisServer,
    pub disk: Disk,
    pub place: Place,
    pub topics: Vec<Topic>,
    pub crew: Crew,
    pub folder: tempfile::TempDir,
}

impl World {
    pub async fn begin(plan: Plan) -> Self {
        let folder = tempfile::Builder::new().prefix("chaos-").tempdir().expect("a folder");
        let broker = Broker::own(&format!("chaos-{}", std::process::id())).await;
        // What is acknowledged stays in the broker's figures.
        let kept = serde_json::json!({"retentionTimeInMinutes": -1, "retentionSizeInMB": -1});
        broker.admin("POST", "namespaces/public/default/retention", kept).await;
        let redis = RedisServer::start().await;
        let frames = folder.path().join("frames");
        std::fs::create_dir(&frames).expect("a folder");
        let (disk, place, frames) = match plan.storage {
            Storage::Folder => {
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // In KiB.
                let size_kib = ((plan.minutes + 5.0) * plan.devices as f64 * KIB_PER_DEVICE_MINUTE)
                    .clamp(65_536.0, 8_388_608.0) as u32;
                let disk = SmallDisk::mount(size_kib);
                let place = match &disk {
                    Some(disk) => Place::at(disk.path()),
                    None => Place::folder(),
                };
                (disk.map_or(Disk::PlainFolder, Disk::Folder), place, frames)
            }
            Storage::Bucket => {
                let server = S3Server::start().await;
                let objects = server.process.folder().join("data").join(server.bucket());
                let keys = (server.access_key(), server.secret());
                let place = Place::s3(&objects, &server.endpoint(), server.bucket(), keys);
                let mut links = Vec::new();
                for _ in 0..plan.workers {
                    links.push(BucketLink::to(&server.endpoint()).await);
                }
                let base = place.base.clone();
                (Disk::Bucket(server, links), place, base)
            }
        };
        let pictures = pictures(plan.seed, folder.path());
        let mut topics = Vec::new();
        for (index, partitions) in [PARTITIONS, 0].into_iter().enumerate() {
            topics.push(topic(&plan, &broker, index, partitions, &frames, &place, &pictures).await);
        }
        let mut posts = Vec::new();
        for number in 0..plan.workers {
            let topic = number % topics.len();
            let link = Link::to(broker.port).await;
            let mut variables = vec![
                ("PULSAR_ADMIN_URL", broker.admin_url.clone()),
                ("PULSAR_TOPIC", topics[topic].name.clone()),
                ("PULSAR_SUBSCRIPTION", SUBSCRIPTION.to_owned()),
                (
                    "PROCESSING_SEGMENT_DURATION_SECONDS",
                    (INTERVAL_MILLIS / 1_000 * FRAMES_PER_SEGMENT).to_string(),
                ),
                ("PROCESSING_FRAMES_PER_SEGMENT", FRAMES_PER_SEGMENT.to_string()),
                ("PROCESSING_QUALITY", "low".to_owned()),
                ("PROCESSING_MAX_WORKERS", "1".to_owned()),
                ("REDIS_ENABLED", "true".to_owned()),
                ("REDIS_PLAYLIST_ENABLED", "true".to_owned()),
                ("REDIS_URL", redis.url()),
                ("PATH", std::env::var("PATH").unwrap_or_default()),
            ];
            variables.extend(place.variables.clone());
            match &disk {
                // A full disk must not keep cameras from uploading.
                Disk::Folder(_) | Disk::PlainFolder => {
                    variables.push(("STORAGE_FRAMES_TYPE", "filesystem".to_owned()));
                    variables.push(("STORAGE_FRAMES_BASE_PATH", frames.display().to_string()));
                }
                Disk::Bucket(_, links) => {
                    variables.push(("STORAGE_S3_ENDPOINT_URL", links[number].url()));
                }
            }
            posts.push(Post::new(number, topic, link, folder.path(), variables));
        }
        let crew = Crew::new(folder.path(), posts);
        Self { broker, redis, disk, place, topics, crew, folder }
    }
}

async fn topic(
    plan: &Plan,
    broker: &Broker,
    index: usize,
    partitions: u32,
    frames: &std::path::Path,
    place: &Place,
    pictures: &[PathBuf],
) -> Topic {
    let name = broker.topic("chaos");
    let parts = match partitions {
        0 => vec![name.clone()],
        _ => (0..partitions).map(|part| format!("{name}-partition-{part}")).collect(),
    };
    if partitions > 0 {
        broker.create_partitioned(&name, partitions).await;
    }
    broker.create_subscription(&name, SUBSCRIPTION).await;
    // A third of the cameras are on the plain one.
    let (client, devices) = match partitions {
        0 => ("plain", plan.devices / 3),
        _ => ("partitioned", plan.devices - plan.devices / 3),
    };
    let uploads = Fleet::start(&UploadsPlan {
        seed: plan.seed ^ index as u64,
        client,
        devices,
        broker_port: broker.port,
        topics: &parts,
        base: frames,
        pictures,
    });
    let folders: Vec<_> =
        uploads.devices.iter().map(|device| place.base.join(hls_folder(device))).collect();
    let watcher = Some(Watcher::of_all(&folders, LOOK_EVERY));
    Topic { name, partitions, uploads, watcher }
}
