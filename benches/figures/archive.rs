//! What it costs to archive a session: on a file system, and in a bucket.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use bytes::Bytes;
use stream_processor::config::StorageBackend;
use stream_processor::store::{Store, StoreSettings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::archive_fixture::Camera;
use super::footage::Failure;
use super::servers::s3::S3Server;
use super::site::Site;
use super::table::{Row, Section, Wanted};
use super::usage::read_bytes;

/// What a segment's file has: of 1080p footage at its usual, and next to nothing.
const SEGMENT_BYTES: [usize; 2] = [512 << 10, 188 * 4];

/// The archive of one session of that many segments, of large and of tiny files.
pub async fn archive(folder: &Path, segments: u64) -> Result<Section, Failure> {
    let mut section = Section::new(
        "Archive: a finished session, on a file system and in a bucket",
        &["wall ms", "requests", "MiB of media", "KiB read"],
        "media read",
        3,
    );
    section.note(format!(
        "A session of {segments} segments, archived once with large files and once with tiny ones. media read: how"
    ));
    section.note("much more was read for the large ones, as a part of how much larger they are. On the file system");
    section.note("all that the process read is counted, in the bucket (S3, a server on this machine) all that came");
    section.note("back from the server.");
    let mut costs = Vec::new();
    for bytes in SEGMENT_BYTES {
        let base = tempfile::tempdir_in(folder)?;
        let camera = Camera::of(Store::at(base.path(), StoreSettings::default())?);
        film(&camera, segments, bytes).await;
        let (begun, read) = (Instant::now(), read_bytes());
        run(&camera).await?;
        let read = read_bytes() - read;
        costs.push(Cost { wall_secs: begun.elapsed().as_secs_f64(), read, requests: None });
    }
    push(&mut section, "file system", segments, &costs);

    let server = tokio::spawn(S3Server::start_logging()).await;
    let server = server.map_err(|error| format!("the server does not start: {error}"))?;
    let (port, answered) = relay(server.process.port()).await?;
    let mut kinds = BTreeMap::new();
    let mut costs = Vec::new();
    for (bytes, name) in SEGMENT_BYTES.into_iter().zip(["large", "tiny"]) {
        let mut part = Site::s3(&server).part(name);
        let camera = Camera::of(part.store());
        film(&camera, segments, bytes).await;
        if let StorageBackend::S3 { endpoint_url, .. } = &mut part.config.streams.backend {
            *endpoint_url = Some(format!("http://127.0.0.1:{port}"));
        }
        let relayed = camera.seen_by(part.store());
        let asked = server.asked().len();
        let (begun, read) = (Instant::now(), answered.load(Relaxed));
        run(&relayed).await?;
        let wall_secs = begun.elapsed().as_secs_f64();
        let read = answered.load(Relaxed) - read;
        let asked = server.asked().split_off(asked);
        costs.push(Cost { wall_secs, read, requests: Some(asked.len()) });
        kinds.clear();
        asked.into_iter().for_each(|kind| *kinds.entry(kind).or_insert(0) += 1);
    }
    push(&mut section, "bucket", segments, &costs);
    for (kind, count) in kinds {
        section.push(Row::new(format!("    {kind}"), [String::new(), count.to_string()]));
    }
    Ok(section)
}

/// Hands every connection on to a port of loopback; returns its own port, and how many bytes
/// have come back from there.
async fn relay(to: u16) -> Result<(u16, Arc<AtomicU64>), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let answered = Arc::<AtomicU64>::default();
    let counted = answered.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(hand_on(client, to, counted.clone()));
        }
    });
    Ok((port, answered))
}

async fn hand_on(client: TcpStream, to: u16, answered: Arc<AtomicU64>) -> std::io::Result<()> {
    let server = TcpStream::connect(("127.0.0.1", to)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
    let mut bytes = vec![0; 64 << 10];
    loop {
        let read = from_server.read(&mut bytes).await?;
        answered.fetch_add(read as u64, Relaxed);
        if read == 0 {
            return Ok(());
        }
        to_client.write_all(&bytes[..read]).await?;
    }
}

/// What one run took.
struct Cost {
    wall_secs: f64,
    read: u64,
    requests: Option<usize>,
}

async fn film(camera: &Camera, segments: u64, bytes: usize) {
    let media = Bytes::from(vec![0x47; bytes]);
    camera.film_as(segments, &[], |segment| segment.media = media.clone()).await;
    camera.end_session().await;
}

async fn run(camera: &Camera) -> Result<(), Failure> {
    let outcome = camera.run().await;
    if outcome.archived == 1 { Ok(()) } else { Err(format!("{outcome:?}").into()) }
}

fn push(section: &mut Section, name: &str, segments: u64, costs: &[Cost]) {
    let mut rows = Vec::new();
    for (cost, bytes) in costs.iter().zip(SEGMENT_BYTES) {
        let media_bytes = bytes as f64 * segments as f64;
        let cells = [
            format!("{:.0}", cost.wall_secs * 1e3),
            cost.requests.map_or(String::new(), |requests| requests.to_string()),
            format!("{:.2}", media_bytes / f64::from(1 << 20)),
            format!("{:.0}", cost.read as f64 / 1_024.0),
        ];
        rows.push((format!("{name}, segments of {:.1} KiB", bytes as f64 / 1_024.0), cells));
    }
    let more = |of: fn(&Cost) -> f64| match costs {
        [large, tiny] => of(large) - of(tiny),
        _ => f64::NAN,
    };
    let larger = (SEGMENT_BYTES[0] - SEGMENT_BYTES[1]) as f64 * segments as f64;
    let read = more(|cost| cost.read as f64) / larger;
    for (index, (name, cells)) in rows.into_iter().enumerate() {
        let row = Row::new(name, cells);
        section.push(if index == 0 { row.required(read, Wanted::AtMost(0.0)) } else { row });
    }
}
