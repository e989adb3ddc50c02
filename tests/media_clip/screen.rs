//! What is on screen when, as FFmpeg decodes it: of a stream's own files, and of a clip.

use std::path::Path;
use std::process::Command;

use stream_processor::media::timeline::TICKS_PER_MILLI;

use crate::material::Stream;
use crate::tools::{Bench, silently};

/// A picture's digest and how long it is on screen, in ticks. Pictures that look the same and
/// follow each other are one: a repeat may be shown or not.
pub type Screen = Vec<(String, u64)>;

fn push(screen: &mut Screen, digest: String, ticks: u64) {
    match screen.last_mut() {
        Some((last, lasts)) if *last == digest => *lasts += ticks,
        _ => screen.push((digest, ticks)),
    }
}

/// The decoded pictures of a file: when each is shown, and its digest.
fn decoded(path: &Path) -> Vec<(u64, String)> {
    let listing = silently(
        Command::new("ffmpeg")
            .args(["-v", "warning", "-copyts", "-i"])
            .arg(path)
            .args(["-map", "0:v", "-fps_mode", "passthrough", "-autoscale", "0"])
            .args(["-enc_time_base", "1:90000", "-f", "framemd5", "-"]),
    );
    let picture = |line: &str| {
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        (fields[2].parse().unwrap(), fields[5].to_owned())
    };
    listing.lines().filter(|line| !line.starts_with('#')).map(picture).collect()
}

/// A clip of `duration_ticks`, from its first picture on.
pub fn of_clip(path: &Path, duration_ticks: u64) -> Screen {
    let pictures = decoded(path);
    assert_eq!(pictures[0].0, 0, "the first picture is shown at once");
    let ends = pictures.iter().skip(1).map(|(start, _)| *start).chain([duration_ticks]);
    let mut screen = Screen::new();
    for ((start, digest), end) in pictures.iter().zip(ends) {
        push(&mut screen, digest.clone(), end - start);
    }
    screen
}

/// Each picture of a stream: from when to when it is on screen, in ticks after the stream's
/// start, and its digest.
pub struct Watched(Vec<(u64, u64, String)>);

impl Watched {
    pub fn of(stream: &Stream, bench: &Bench) -> Self {
        let mut all: Vec<(u64, u64, String)> = Vec::new();
        for (segment, start_ticks) in stream.segments.iter().zip(stream.starts_ticks()) {
            let init = segment.init.as_deref().unwrap_or_default();
            let pictures = decoded(&bench.file("segment", &[init, &segment.media].concat()));
            let end_ticks = start_ticks + u64::from(segment.duration_millis) * TICKS_PER_MILLI;
            let starts = || pictures.iter().map(|(at, _)| start_ticks + at - pictures[0].0);
            // What was taken later covers what would last longer.
            all.retain(|(start, ..)| *start < start_ticks);
            all.iter_mut().for_each(|(_, end, _)| *end = (*end).min(start_ticks));
            let ends = starts().skip(1).chain([end_ticks]);
            let digests = pictures.iter().map(|(_, digest)| digest.clone());
            all.extend(
                starts().zip(ends).zip(digests).map(|((from, to), digest)| (from, to, digest)),
            );
        }
        Self(all)
    }

    /// What is on screen in a span, in milliseconds after the stream's start.
    pub fn between(&self, from_millis: i64, to_millis: i64) -> Screen {
        let ticks = |millis: i64| u64::try_from(millis.max(0)).unwrap() * TICKS_PER_MILLI;
        let (from, to) = (ticks(from_millis), ticks(to_millis));
        let mut screen = Screen::new();
        for (start, end, digest) in &self.0 {
            let (start, end) = ((*start).max(from), (*end).min(to));
            if start < end {
                push(&mut screen, digest.clone(), end - start);
            }
        }
        screen
    }
}
