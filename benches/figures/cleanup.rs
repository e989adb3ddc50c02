//! What a clean-up costs that has nothing to delete, and one that has.

use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use stream_processor::model::{Clock, DeviceKey, ManualClock, UtcMillis};
use stream_processor::retention::{Cleaner, Outcome, Report, Run, Watch};
use stream_processor::store::{Store, StoreError, StoreSettings};

use super::devices::{Original, retention_settings};
use super::footage::Failure;
use super::store_fixture::FRAMES;
use super::table::{Row, Section, Wanted};
use super::usage::{median, read_bytes};

/// Names the folder that a copy of the bench cleans up once, under strace.
pub const COUNTED: &str = "BENCH_CLEANUP_COUNTED";
/// For that copy: how many segments are listed and doomed, and how many seconds have passed.
const COUNTED_HOW: &str = "BENCH_CLEANUP_HOW";
/// What has to do with files. A few of these calls are the async runtime's own.
const CALLS: &str = "trace=%file,read,pread64,write,pwrite64,close,fstat,lseek,getdents64,fsync,\
                     fdatasync,flock,fcntl,ftruncate";
/// Segments of a device that is compared with one of a day.
const SHORT: u64 = 120;
const ROUNDS: usize = 3;

/// How much is cleaned up.
#[derive(Clone, Copy)]
pub struct Fleet {
    pub devices: usize,
    /// Of so many devices the calls are counted.
    pub counted: usize,
    /// Segments that each device's playlist lists.
    pub listed: u64,
    /// Segments of each device that are to go.
    pub doomed: u64,
}

/// What one run took.
#[derive(Clone, Copy, Default)]
struct Cost {
    wall_secs: f64,
    read_bytes: f64,
}

/// Nothing to delete, then 1 % of the segments, then nothing again.
pub async fn cleanup(folder: &Path, fleet: Fleet) -> Result<Section, Failure> {
    let mut section = Section::new(
        "Clean-up: devices with nothing to delete, and with 1 % of their segments to delete",
        &["wall ms", "ms/device", "calls/device", "KiB/device"],
        "ratio",
        2,
    );
    let Fleet { devices, counted, listed, doomed } = fleet;
    section.note(format!(
        "{devices} devices of {listed} listed segments each, on disk, archives on. State, history, playlist"
    ));
    section.note("and notes are what the store, the archiver and the clean-up have written for one device, under");
    section.note("the names of all; of media and frames only those that are to go are there, as empty files.");
    section.note(format!(
        "calls: of file-system system calls, by strace, of {counted} of the devices. KiB: all that is read."
    ));
    let long = Original::film(listed, doomed).await?;
    let short = Original::film(SHORT.min(listed / 2), doomed).await?;
    let nothing = Duration::from_secs(1);
    let later = retention_settings(listed).grace;

    let base = tempfile::tempdir_in(folder)?;
    long.multiply(base.path(), devices)?;
    let counted_base = tempfile::tempdir_in(folder)?;
    long.multiply(counted_base.path(), counted)?;
    let short_base = tempfile::tempdir_in(folder)?;
    short.multiply(short_base.path(), counted)?;
    // What is still to be written must not be waited for by who is measured.
    rustix::fs::sync();

    let empty = tempfile::tempdir_in(folder)?;
    let calls_of = |original: &Original, base: &Path, passed: Duration| {
        let calls = count_calls(original, base, passed)?;
        let start = count_calls(original, empty.path(), passed)?;
        let per_device = |(calls, start): (u64, u64)| (calls - start) as f64 / counted as f64;
        Ok::<_, Failure>(calls.zip(start).map(per_device))
    };
    let mut row = |name: &str, cost: Option<Cost>, calls: Option<f64>, of: usize| {
        let millis = cost.map(|cost| cost.wall_secs * 1e3);
        let cells = [
            millis.map_or(String::new(), |millis| format!("{millis:.0}")),
            millis.map_or(String::new(), |millis| format!("{:.3}", millis / of as f64)),
            calls.map_or("no strace".into(), |calls| format!("{calls:.1}")),
            cost.map_or(String::new(), |cost| {
                format!("{:.1}", per_device(cost.read_bytes, of) / 1_024.0)
            }),
        ];
        section.push(Row::new(name, cells));
    };

    let idle = median_of(&long, base.path(), nothing).await?;
    let idle_calls = calls_of(&long, counted_base.path(), nothing)?;
    row("nothing to delete", Some(idle), idle_calls, devices);
    let brief = median_of(&short, short_base.path(), nothing).await?;
    let brief_calls = calls_of(&short, short_base.path(), nothing)?;
    let name = format!("nothing to delete, {} segments each", short.listed);
    row(&name, Some(brief), brief_calls, counted);

    let (busy, report) = clean(&long, base.path(), later).await?;
    let files = devices as u64 * doomed * (1 + FRAMES);
    if report.done.segments.files + report.done.frames.files != files || report.failed > 0 {
        return Err(format!("{files} files were to go: {report:?}").into());
    }
    let busy_calls = calls_of(&long, counted_base.path(), later)?;
    row("1 % of the segments to delete", Some(busy), busy_calls, devices);
    let (after, _) = clean(&long, base.path(), later).await?;
    row("nothing left to delete", Some(after), None, devices);

    let files_per_device = (doomed * (1 + FRAMES)) as f64;
    if let (Some(idle), Some(brief), Some(busy)) = (idle_calls, brief_calls, busy_calls) {
        let name = "calls: a day's device against a short one";
        section.push(Row::new(name, []).required(idle / brief, Wanted::AtMost(1.1)));
        let name = "calls more for each deleted file";
        let more = (busy - idle) / files_per_device;
        section.push(Row::new(name, []).required(more, Wanted::AtMost(4.0)));
    }
    let ratio = per_device(idle.read_bytes, devices) / per_device(brief.read_bytes, counted);
    let name = "bytes read: a day's device against a short one";
    section.push(Row::new(name, []).required(ratio, Wanted::AtMost(1.1)));
    let name = "KiB read more for each deleted segment";
    let more = per_device(busy.read_bytes - idle.read_bytes, devices) / 1_024.0 / doomed as f64;
    section.push(Row::new(name, []).figure(more));
    let name = "wall: nothing to delete against 1 %";
    section.push(Row::new(name, []).figure(idle.wall_secs / busy.wall_secs));
    Ok(section)
}

fn per_device(all: f64, devices: usize) -> f64 {
    all / devices as f64
}

/// Cleans up some times when there is nothing to delete.
async fn median_of(original: &Original, base: &Path, passed: Duration) -> Result<Cost, Failure> {
    // What is in no cache is read from the disk: the first time does not count.
    clean(original, base, passed).await?;
    let mut costs = Vec::new();
    for _ in 0..ROUNDS {
        let (cost, report) = clean(original, base, passed).await?;
        if report.done != Outcome::default() {
            return Err(format!("there was something to do: {report:?}").into());
        }
        costs.push(cost);
    }
    let of = |value: fn(&Cost) -> f64| median(&costs.iter().map(value).collect::<Vec<_>>());
    Ok(Cost { wall_secs: of(|cost| cost.wall_secs), read_bytes: of(|cost| cost.read_bytes) })
}

/// Cleans up as if so much time had passed since the last commit.
async fn clean(
    original: &Original,
    base: &Path,
    passed: Duration,
) -> Result<(Cost, Report), Failure> {
    let cleaner = cleaner(base, original.listed, original.seen_at().plus(passed))?;
    let (begun, read) = (Instant::now(), read_bytes());
    let report = cleaner.run(&Run::default(), &Nobody).await?;
    let read_bytes = (read_bytes() - read) as f64;
    Ok((Cost { wall_secs: begun.elapsed().as_secs_f64(), read_bytes }, report))
}

fn cleaner(base: &Path, listed: u64, now: UtcMillis) -> Result<Cleaner, Failure> {
    let store = Store::at(base, StoreSettings::default())?;
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(now));
    Ok(Cleaner::new(store, retention_settings(listed), clock))
}

/// How many calls a process of its own takes to clean up, its start included; none without
/// strace.
fn count_calls(original: &Original, base: &Path, passed: Duration) -> Result<Option<u64>, Failure> {
    let counted = tempfile::NamedTempFile::new()?;
    let mut strace = Command::new("strace");
    strace.args(["-f", "-c", "-e", CALLS, "-o"]).arg(counted.path());
    strace.arg(std::env::current_exe()?).env(COUNTED, base);
    let now = original.seen_at().plus(passed);
    strace.env(COUNTED_HOW, format!("{} {}", original.listed, now.0));
    let output = match strace.stdin(Stdio::null()).output() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        output => output?,
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("strace failed: {}", said.trim()).into());
    }
    let table = std::fs::read_to_string(counted.path())?;
    // % time, seconds, usecs/call, calls, errors, "total".
    let total = table.lines().rfind(|line| line.trim_end().ends_with(" total"));
    let calls = total.and_then(|line| line.split_whitespace().nth(3)?.parse().ok());
    calls.map(Some).ok_or_else(|| format!("strace says: {table}").into())
}

/// Does what [`count_calls`] counts.
pub async fn clean_counted(base: &Path) -> Result<(), Failure> {
    let how = std::env::var(COUNTED_HOW)?;
    let (listed, now) = how.split_once(' ').ok_or("two numbers are needed")?;
    let cleaner = cleaner(base, listed.parse()?, UtcMillis(now.parse()?))?;
    let report = cleaner.run(&Run::default(), &Nobody).await?;
    match report.failed {
        0 => Ok(()),
        failed => Err(format!("{failed} devices could not be cleaned up").into()),
    }
}

struct Nobody;

impl Watch for Nobody {
    fn begun(&self, _: usize) {}

    fn device(&self, _: &DeviceKey, _: &Result<Outcome, StoreError>) {}
}
