//! What every part's tables have in common.

use std::time::Duration;

use stream_processor::model::UtcMillis;

use super::judge::{Shown, Verdict, percentile};
use super::stage::Ended;
use super::table::{Row, Section, Wanted};
use super::watch::{Sample, most, rate, slope};

const MIB: f64 = 1_024.0;

/// What a worker may have without any frame: the program, its runtime, what it is told in.
const BASE_MIB: f64 = 64.0;
/// A generous bound of what is kept of one frame that is held, and of one device.
const KIB_PER_FRAME: f64 = 4.0;
const KIB_PER_DEVICE: f64 = 24.0;
/// What is remembered of a frame that was put off.
const KIB_PER_PUT_OFF: f64 = 0.5;
/// How much of what a worker has by then may be added within the window.
const GROWTH_SHARE: f64 = 0.1;
const GROWTH_MIB: f64 = 16.0;

/// The processor's name, for figures that are no ratios.
pub fn machine() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name"));
    let name = name.and_then(|line| line.split_once(':')).map_or("a machine", |(_, name)| name);
    name.trim().to_owned()
}

/// How much else the machine has to do.
pub fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

/// One line per stretch of time: what came and went, and what the worker had.
pub fn timeline(title: &'static str, stretches: &[(String, &[Sample])]) -> Section {
    const COLUMNS: [&str; 10] = [
        "published/s",
        "committed/s",
        "segments/s",
        "not acked",
        "held",
        "put off",
        "deferred/s",
        "oldest s",
        "threads",
        "files",
    ];
    let mut section = Section::new(title, &COLUMNS, "RSS MiB", 1);
    for (name, samples) in stretches {
        let cells = [
            format!("{:.0}", rate(samples, |s| s.sent)),
            format!("{:.0}", rate(samples, |s| s.committed)),
            format!("{:.1}", rate(samples, |s| s.segments)),
            format!("{:.0}", most(samples, |s| s.backlog)),
            format!("{:.0}", most(samples, |s| s.held)),
            format!("{:.0}", most(samples, |s| s.put_off)),
            format!("{:.0}", rate(samples, |s| s.deferred)),
            format!("{:.0}", most(samples, |s| s.oldest_secs)),
            format!("{:.0}", most(samples, |s| s.threads)),
            format!("{:.0}", most(samples, |s| s.descriptors)),
        ];
        section.push(Row::new(name, cells).figure(most(samples, |s| s.rss_kib) / MIB));
    }
    section
}

/// The samples in so many stretches of the same length, named by when they begin.
pub fn stretches(samples: &[Sample], count: usize) -> Vec<(String, &[Sample])> {
    let size = samples.len().div_ceil(count).max(2);
    let begun = samples.first().map_or(0.0, |sample| sample.secs);
    // The last of one is the first of the next: nothing between them goes uncounted.
    let starts = (0..samples.len().saturating_sub(1)).step_by(size);
    let stretch = |start: usize| {
        let samples = &samples[start..(start + size + 1).min(samples.len())];
        let from = samples.first().map_or(0.0, |sample| sample.secs) - begun;
        (format!("from {from:.0} s on"), samples)
    };
    starts.map(stretch).collect()
}

/// A section of lags in seconds: from a frame's capture to its commit.
pub fn lags() -> Section {
    let mut section = Section::new(
        "Lag: seconds from a frame's capture to its commit",
        &["frames", "p50", "p95", "p99"],
        "most",
        2,
    );
    section.note("all: every frame; the first of six waits 25 s for the others of its segment.");
    section.note("newest: the last of each segment, which waits for the worker alone, or for a next one that");
    section.note("does not come before the segment is closed.");
    section
}

/// Adds what the frames of a fleet that were taken then had to wait.
pub fn push_lags(
    section: &mut Section,
    name: &str,
    verdict: &Verdict,
    from: UtcMillis,
    until: UtcMillis,
) {
    type Kind = (&'static str, fn(&Shown) -> bool);
    let kinds: [Kind; 2] = [("all", |_| true), ("newest", |s| s.is_newest)];
    for (kind, is_of_interest) in kinds {
        let lags = verdict.lags(from, until, is_of_interest);
        let cells = [
            lags.len().to_string(),
            format!("{:.2}", percentile(&lags, 0.5)),
            format!("{:.2}", percentile(&lags, 0.95)),
            format!("{:.2}", percentile(&lags, 0.99)),
        ];
        section.push(Row::new(format!("{name}, {kind}"), cells).figure(percentile(&lags, 1.0)));
    }
}

/// What has to hold whatever the machine: nothing lost, nothing twice, nothing refused.
pub fn promises(title: &'static str, ended: &Ended) -> Section {
    let mut section = Section::new(title, &["published", "segments"], "frames", 0);
    for (name, verdict) in &ended.fleets {
        let Verdict { published, segments, lost, twice, astray, .. } = verdict;
        let cells = [published.to_string(), segments.to_string()];
        let none = Wanted::AtMost(0.0);
        section.push(Row::new(format!("{name}: lost"), cells).required(*lost as f64, none));
        section.push(Row::new(format!("{name}: shown twice"), []).required(*twice as f64, none));
        section.push(Row::new(format!("{name}: out of order"), []).required(*astray as f64, none));
    }
    let dead = ended.dead_letters;
    section.push(Row::new("dead letters", []).required(dead, Wanted::AtMost(0.0)));
    section
}

/// What the worker had at most, against what the settings allow.
pub fn push_memory(section: &mut Section, ended: &Ended, max_held: usize, devices: usize) {
    let bound = BASE_MIB
        + (max_held as f64 * KIB_PER_FRAME
            + devices as f64 * KIB_PER_DEVICE
            + ended.put_off * KIB_PER_PUT_OFF)
            / MIB;
    let row = Row::new(
        format!(
            "peak MiB with {max_held} frames, {devices} devices, {:.0} frames put off at most",
            ended.put_off
        ),
        [],
    );
    section.push(row.required(ended.peak_kib / MIB, Wanted::AtMost(bound)));
}

/// How much the worker grew: what it would be in an hour, and what it was in the window. One that
/// is given more than it can do remembers what it put off, and has to grow.
pub fn push_growth(section: &mut Section, samples: &[Sample]) {
    let per_hour = slope(samples, |sample| sample.rss_kib) * 3_600.0 / MIB;
    section.push(Row::new("RSS MiB an hour, by the line that fits best", []).figure(per_hour));
    let window = samples.last().map_or(0.0, |s| s.secs) - samples.first().map_or(0.0, |s| s.secs);
    let grown = per_hour * window / 3_600.0;
    let had = samples.first().map_or(0.0, |sample| sample.rss_kib) / MIB;
    let bound = had * GROWTH_SHARE + GROWTH_MIB;
    let keeps_up =
        rate(samples, |sample| sample.backlog) * window <= most(samples, |s| s.sent) / 10.0;
    let name = format!("RSS MiB within the {window:.0} s, of {had:.0}");
    section.push(match keeps_up {
        true => Row::new(name, []).required(grown, Wanted::AtMost(bound)),
        false => Row::new(format!("{name}, not keeping up"), []).figure(grown),
    });
}

/// Who used the cores, and what a thousand frames cost.
pub fn push_cost(section: &mut Section, samples: &[Sample]) {
    let frames = rate(samples, |s| s.committed) / 1_000.0;
    type Of = fn(&Sample) -> f64;
    let who: [(&str, Of); 4] = [
        ("worker", |s| s.worker_cpu),
        ("helpers", |s| s.helpers_cpu),
        ("broker", |s| s.broker_cpu),
        ("publishers", |s| s.publishers_cpu),
    ];
    for (name, of) in who {
        let cores = rate(samples, of);
        if cores > 0.0 {
            section.push(Row::new(format!("{name}: cores used"), []).figure(cores));
            let each = if frames > 0.0 { cores / frames } else { 0.0 };
            section
                .push(Row::new(format!("{name}: CPU seconds per 1,000 frames"), []).figure(each));
        }
    }
}

/// So long, for a title or a note.
pub fn duration(duration: Duration) -> String {
    match duration.as_secs() {
        secs @ ..120 => format!("{secs} s"),
        secs => format!("{} min", secs / 60),
    }
}
