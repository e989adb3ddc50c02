//! The encoder pool against processes per segment: speed, then likeness and bytes of the same
//! segments.

use std::path::PathBuf;
use std::time::Instant;

use futures::future::try_join_all;
use stream_processor::encode::{EncodeOutcome, EncoderPool};

use super::footage::{Clip, Failure, Footage, cores, pool};
use super::service::{self, Likeness, Resize};
use super::table::{Row, Section, Wanted};
use super::usage::{children_of, cpu_of_all, ended_children_cpu, median, own_cpu, ratio};

/// Pictures that a frame five seconds long is shown by: one every half second.
const PICTURES_PER_FRAME: u32 = 10;

/// A pool and the processes that it has.
pub struct Pool {
    pub pool: EncoderPool,
    helpers: Vec<u32>,
}

impl Pool {
    pub async fn start(helpers: usize) -> Result<Self, Failure> {
        let before = children_of(std::process::id());
        let pool = pool(helpers).await?;
        let mut helpers = children_of(std::process::id());
        helpers.retain(|pid| !before.contains(pid));
        Ok(Self { pool, helpers })
    }

    /// CPU seconds so far of the helpers and of this process, which feeds them.
    pub fn cpu_secs(&self) -> f64 {
        (own_cpu() + cpu_of_all(&self.helpers)).as_secs_f64()
    }

    /// Encodes all clips and gives the outcomes with the CPU and wall seconds that they took.
    pub async fn encode_all(
        &self,
        clips: impl IntoIterator<Item = &Clip>,
    ) -> Result<(Vec<EncodeOutcome>, f64, f64), Failure> {
        let (cpu, begun) = (self.cpu_secs(), Instant::now());
        let jobs = clips.into_iter().map(|clip| self.pool.encode(clip.job()));
        let outcomes = try_join_all(jobs).await?;
        Ok((outcomes, self.cpu_secs() - cpu, begun.elapsed().as_secs_f64()))
    }
}

/// Segments per CPU-second of the pool and of processes per segment, in turns.
pub async fn speed(all: &[Footage], rounds: usize) -> Result<Section, Failure> {
    let mut section = Section::new(
        "Speed: segments per CPU-second, pool against processes per segment",
        &["pool/cpu-s", "service/cpu-s", "not enlarged"],
        "ratio",
        2,
    );
    section
        .note("pool: helpers and the process that feeds them. service: one ffmpeg and one ffprobe");
    section.note(
        "per segment, enlarging to 1920; \"not enlarged\" is the same without the enlarging.",
    );
    section.note("Both use all cores; in turns, the median of the rounds' ratios.");
    let pool = Pool::start(cores()).await?;
    for footage in all {
        let clips = &footage.clips;
        let count = clips.len() as f64;
        // Memory, page cache and clock speed.
        pool.encode_all(clips).await?;
        let mut rates = Vec::new();
        for _ in 0..rounds {
            let (_, ours, _) = pool.encode_all(clips).await?;
            let as_is = service_cpu_secs(clips, Resize::Enlarge)?;
            let kept = service_cpu_secs(clips, Resize::Keep)?;
            rates.push([count / ours, count / as_is, count / kept]);
        }
        let column = |at: usize| median(&rates.iter().map(|rate| rate[at]).collect::<Vec<_>>());
        let ratios: Vec<_> = rates.iter().map(|rate| rate[0] / rate[1]).collect();
        let wanted = if footage.kind.is_full_size() { 2.0 } else { 4.0 };
        let cells = (0..3).map(|at| format!("{:.2}", column(at)));
        section.push(
            Row::new(footage.kind.name(), cells).required(median(&ratios), Wanted::AtLeast(wanted)),
        );
    }
    pool.pool.close().await;
    Ok(section)
}

fn service_cpu_secs(clips: &[Clip], resize: Resize) -> Result<f64, Failure> {
    let before = ended_children_cpu();
    service::segments(clips, resize, cores())?;
    Ok((ended_children_cpu() - before).as_secs_f64())
}

#[derive(Clone, Copy, Default)]
struct Judged {
    likeness: Likeness,
    bytes: f64,
}

/// Likeness and bytes of the segments that [`speed`] compares.
pub async fn quality(all: &[Footage]) -> Result<Section, Failure> {
    let mut section = Section::new(
        "Quality: SSIM against the JPEGs, and bytes of a segment",
        &["SSIM", "SSIM luma", "KiB/segment"],
        "",
        4,
    );
    section.note("Compared at the JPEGs' size: the service's 720p, enlarged to 1920, is scaled back. SSIM is");
    section.note("ffmpeg's, luma and chroma together, the mean of all frames. TS with its repeat pictures is");
    section.note(
        "compared with the service's, which has one picture a frame and lasts a fifth of the time.",
    );
    let pool = Pool::start(cores()).await?;
    for footage in all {
        let (outcomes, ..) = pool.encode_all(&footage.clips).await?;
        let mut made: Vec<(PathBuf, u32)> = Vec::new();
        for (clip, outcome) in footage.clips.iter().zip(outcomes) {
            let [segment] = &outcome.segments[..] else {
                return Err(format!("{} segments of one clip", outcome.segments.len()).into());
            };
            let path = clip.folder.join("pool.ts");
            std::fs::write(&path, &segment.media)?;
            made.push((path, PICTURES_PER_FRAME));
        }
        let ours = judge(footage, &made)?;
        let name = footage.kind.name();
        section.push(Row::new(format!("{name}: pool"), cells(ours)));
        let resizes: &[_] = match footage.kind.is_full_size() {
            true => &[(Resize::Enlarge, "service")],
            false => &[(Resize::Enlarge, "service"), (Resize::Keep, "not enlarged")],
        };
        for (resize, called) in resizes {
            let made: Result<Vec<_>, Failure> = footage
                .clips
                .iter()
                .map(|clip| Ok((service::segment(clip, *resize)?, 1)))
                .collect();
            let theirs = judge(footage, &made?)?;
            section.push(Row::new(format!("{name}: {called}"), cells(theirs)));
            let bytes = if footage.kind.noisy { 0.85 } else { 0.65 };
            section.push(
                Row::new(format!("    {name}: SSIM less {called}'s"), [])
                    .required(ours.likeness.all - theirs.likeness.all, Wanted::AtLeast(0.0)),
            );
            section.push(
                Row::new(format!("    {name}: bytes to {called}'s"), [])
                    .required(ratio(ours.bytes, theirs.bytes), Wanted::AtMost(bytes)),
            );
        }
    }
    pool.pool.close().await;
    Ok(section)
}

fn cells(result: Judged) -> [String; 3] {
    [
        format!("{:.4}", result.likeness.all),
        format!("{:.4}", result.likeness.luma),
        format!("{:.1}", result.bytes / 1_024.0),
    ]
}

/// The mean over the clips.
fn judge(footage: &Footage, made: &[(PathBuf, u32)]) -> Result<Judged, Failure> {
    let mut sum = Judged::default();
    for (clip, (path, pictures_per_frame)) in footage.clips.iter().zip(made) {
        let likeness = service::likeness(clip, path, *pictures_per_frame)?;
        sum.likeness.all += likeness.all;
        sum.likeness.luma += likeness.luma;
        sum.bytes += std::fs::metadata(path)?.len() as f64;
    }
    let count = made.len() as f64;
    Ok(Judged {
        likeness: Likeness { all: sum.likeness.all / count, luma: sum.likeness.luma / count },
        bytes: sum.bytes / count,
    })
}
