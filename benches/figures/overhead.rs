//! What the pool, the repeat pictures and the watermark cost on top of the bare libav calls.

use std::time::Instant;

use stream_processor::encode::{
    Caption, Corner, EncodeJob, EncodeOutcome, EncodeSettings, Encoder, Watermark,
};
use stream_processor::media::{Container, Playback};

use super::encoding::Pool;
use super::footage::{Clip, FRAMES, Failure, Footage, encode_settings};
use super::table::{Row, Section, Wanted};
use super::usage::{median, own_cpu, ratio};

/// The pool with one helper against the same calls in this thread, clip by clip in turns.
pub async fn pipeline(all: &[Footage], rounds: usize) -> Result<Section, Failure> {
    let mut section = Section::new(
        "Pipeline: the pool against the same libav calls in one thread",
        &["pool ms", "thread ms"],
        "ratio",
        3,
    );
    section.note(
        "Milliseconds per segment; the ratio is of segments per second. One helper process with",
    );
    section
        .note("its pipes, sandbox and supervision, against `Encoder` in the bench's own thread.");
    let pool = Pool::start(1).await?;
    let mut encoder = Encoder::new(encode_settings())?;
    for footage in all {
        let mut cpu = Pairs::default();
        let mut wall = Pairs::default();
        pool.encode_all(&footage.clips[..1]).await?;
        encode(&mut encoder, &footage.clips[0].job())?;
        for round in 0..rounds {
            for clip in &footage.clips {
                let inline = |encoder: &mut Encoder| -> Result<(f64, f64), Failure> {
                    let (cpu, begun) = (own_cpu(), Instant::now());
                    encode(encoder, &clip.job())?;
                    Ok(((own_cpu() - cpu).as_secs_f64(), begun.elapsed().as_secs_f64()))
                };
                // Each goes first every other time.
                let (ours, bare) = if round % 2 == 0 {
                    let bare = inline(&mut encoder)?;
                    (pool.encode_all([clip]).await?, bare)
                } else {
                    (pool.encode_all([clip]).await?, inline(&mut encoder)?)
                };
                cpu.push(ours.1, bare.0);
                wall.push(ours.2, bare.1);
            }
        }
        for (pairs, of) in [(cpu, "CPU"), (wall, "wall")] {
            let (ours, bare) = pairs.medians();
            let cells = [ours, bare].map(|secs| format!("{:.1}", secs * 1_000.0));
            let figure = 1.0 / pairs.ratio();
            section.push(
                Row::new(format!("{} {of}", footage.kind.name()), cells)
                    .required(figure, Wanted::AtLeast(0.9)),
            );
        }
    }
    pool.pool.close().await;
    Ok(section)
}

/// A segment in real time, which shows each picture again every half second, against the same
/// pictures once each.
pub fn repeats(all: &[Footage], rounds: usize) -> Result<Section, Failure> {
    let mut section = Section::new(
        "Repeat pictures: a segment with them against the same without",
        &["CPU with ms", "without ms", "KiB with", "KiB without"],
        "ratio",
        3,
    );
    section.note("The same frames, encoded alike: real time, 60 pictures in 30 s, against a time lapse of two");
    section.note(
        "pictures a second, 6 in 3 s. In a transport stream a repeat takes a packet of 188 bytes.",
    );
    for footage in all {
        for (container, name) in [(Container::Ts, "ts"), (Container::Fmp4, "fmp4")] {
            let realtime = EncodeSettings { container, ..encode_settings() };
            let mut lapse = realtime;
            lapse.timeline.playback = Playback::Timelapse { frame_rate: 2 };
            let (cpu, bytes) = compare(footage, [realtime, lapse], rounds)?;
            let name = format!("{} {name}", footage.kind.name());
            let (with, without) = cpu.medians();
            let cells = [with, without].map(|secs| format!("{:.1}", secs * 1_000.0));
            section.push(
                Row::new(format!("{name} CPU"), cells).required(cpu.ratio(), Wanted::AtMost(1.05)),
            );
            let (with, without) = bytes.medians();
            let kib = [with, without].map(|bytes| format!("{:.1}", bytes / 1_024.0));
            let cells = [String::new(), String::new()].into_iter().chain(kib);
            section.push(
                Row::new(format!("{name} bytes"), cells)
                    .required(bytes.ratio(), Wanted::AtMost(1.02)),
            );
        }
    }
    Ok(section)
}

/// Frames with their capture time burnt in against the same frames without.
pub fn watermark(all: &[Footage], rounds: usize) -> Result<Section, Failure> {
    let mut section = Section::new(
        "Watermark: a frame with its capture time burnt in against the same without",
        &["CPU with ms", "without ms", "KiB with", "KiB without"],
        "ratio",
        3,
    );
    section.note("Milliseconds and bytes per frame, decoded, drawn on, encoded and muxed, in this thread. The");
    section.note("text is that of the default settings: 24 pixels tall, date, time and zone.");
    let plain = encode_settings();
    let look = Watermark { position: Corner::TopRight, font_size_px: 24 };
    let marked = EncodeSettings { watermark: Some(look), ..plain };
    for footage in all {
        let (cpu, bytes) = compare(footage, [marked, plain], rounds)?;
        let name = footage.kind.name();
        let per_frame = |(with, without): (f64, f64), unit: f64| {
            [with, without].map(|value| format!("{:.2}", value / unit / FRAMES as f64))
        };
        section.push(
            Row::new(format!("{name} CPU"), per_frame(cpu.medians(), 1e-3))
                .required(cpu.ratio(), Wanted::AtMost(1.05)),
        );
        let cells = [String::new(), String::new()];
        let cells = cells.into_iter().chain(per_frame(bytes.medians(), 1_024.0));
        section.push(Row::new(format!("{name} bytes"), cells).figure(bytes.ratio()));
    }
    Ok(section)
}

/// CPU seconds and bytes of each clip's segment, by the one settings and by the other.
fn compare(
    footage: &Footage,
    settings: [EncodeSettings; 2],
    rounds: usize,
) -> Result<(Pairs, Pairs), Failure> {
    let job = |clip: &Clip, settings: &EncodeSettings| {
        let mut job = clip.job();
        if settings.watermark.is_some() {
            caption(&mut job);
        }
        job
    };
    let [one, other] = settings;
    let mut encoders = [Encoder::new(one)?, Encoder::new(other)?];
    let mut cpu = Pairs::default();
    let mut bytes = Pairs::default();
    for (encoder, settings) in encoders.iter_mut().zip(&settings) {
        encode(encoder, &job(&footage.clips[0], settings))?;
    }
    for round in 0..rounds {
        for clip in &footage.clips {
            let mut outcomes = [None, None];
            for turn in 0..2 {
                let which = (turn + round) % 2;
                let job = job(clip, &settings[which]);
                outcomes[which] = Some(encode(&mut encoders[which], &job)?);
            }
            let [Some(one), Some(other)] = outcomes else { continue };
            cpu.push(cpu_secs(&one), cpu_secs(&other));
            bytes.push(media_bytes(&one), media_bytes(&other));
        }
    }
    Ok((cpu, bytes))
}

/// Gives each frame its time, as the worker does.
fn caption(job: &mut EncodeJob) {
    for frame in &mut job.frames {
        let taken = frame.captured_at.to_string();
        let text = format!("{} UTC", taken[..19].replace('T', " "));
        frame.caption = Some(Caption::new(&text));
    }
}

fn encode(encoder: &mut Encoder, job: &EncodeJob) -> Result<EncodeOutcome, Failure> {
    let outcome = encoder.encode(job)?;
    match outcome.segments.len() {
        1 => Ok(outcome),
        other => Err(format!("{other} segments of one clip").into()),
    }
}

fn cpu_secs(outcome: &EncodeOutcome) -> f64 {
    outcome.cpu_micros as f64 / 1e6
}

fn media_bytes(outcome: &EncodeOutcome) -> f64 {
    outcome.segments.iter().map(|segment| segment.media.len() as f64).sum()
}

/// Two things measured right after each other, again and again.
#[derive(Default)]
struct Pairs(Vec<(f64, f64)>);

impl Pairs {
    fn push(&mut self, one: f64, other: f64) {
        self.0.push((one, other));
    }

    fn medians(&self) -> (f64, f64) {
        let (ones, others): (Vec<_>, Vec<_>) = self.0.iter().copied().unzip();
        (median(&ones), median(&others))
    }

    /// The median of the pairs' ratios.
    fn ratio(&self) -> f64 {
        let ratios: Vec<_> = self.0.iter().map(|(one, other)| ratio(*one, *other)).collect();
        median(&ratios)
    }
}
