//! The timestamps inside the media files, by ffprobe.

use std::path::Path;
use std::process::Command;

use super::parse::Listed;

/// Timestamps of a transport stream wrap after 33 bits at 90 kHz (ISO/IEC 13818-1, 2.4.3.7).
const WRAP_MILLIS: f64 = 8_589_934_592.0 / 90.0;

/// How far the times that ffprobe prints may be off.
const TOLERANCE_MILLIS: f64 = 1.0;

/// The presentation times of a segment's pictures, ascending, in milliseconds.
pub fn picture_times(folder: &Path, segment: &Listed) -> Result<Vec<f64>, String> {
    let file = folder.join(&segment.uri).display().to_string();
    let input = match &segment.map {
        Some(map) => format!("concat:{}|{file}", folder.join(map).display()),
        None => file,
    };
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v:0", "-show_entries", "packet=pts_time"])
        .args(["-of", "csv=p=0", &input])
        .output()
        .map_err(|e| format!("ffprobe: {e}"))?;
    if !output.stderr.is_empty() {
        return Err(format!("{}: {}", segment.uri, String::from_utf8_lossy(&output.stderr)));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    // A line for each packet, and an empty one for its side data.
    let lines = text.lines().map(|line| line.trim_end_matches(',')).filter(|line| !line.is_empty());
    let times = lines.map(str::parse::<f64>);
    let times = times.collect::<Result<Vec<_>, _>>();
    let mut times: Vec<f64> =
        times.map_err(|e| format!("{}: {e}", segment.uri))?.iter().map(|t| t * 1_000.0).collect();
    times.sort_by(f64::total_cmp);
    if times.is_empty() { Err(format!("{}: no pictures", segment.uri)) } else { Ok(times) }
}

/// What is wrong with the timestamps of `segments`, each of which follows the one before.
pub fn judge(folder: &Path, segments: &[Listed]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut end: Option<f64> = None;
    for segment in segments {
        let times = match picture_times(folder, segment) {
            Ok(times) => times,
            Err(detail) => {
                wrong.push(detail);
                end = None;
                continue;
            }
        };
        let (first, last) = (times[0], times[times.len() - 1]);
        let lasts = segment.duration_millis as f64;
        if let Some(end) = end.filter(|_| !segment.discontinuity) {
            let off = (first - end + WRAP_MILLIS / 2.0).rem_euclid(WRAP_MILLIS) - WRAP_MILLIS / 2.0;
            if off.abs() > TOLERANCE_MILLIS {
                wrong.push(format!("{} starts {off} ms off the end before it", segment.uri));
            }
        }
        // The file does not say how long its last picture stays: about as long as the others.
        let longest = times.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
        let last_lasts = lasts - (last - first);
        let allowed = if times.len() > 1 { longest * 1.5 + TOLERANCE_MILLIS } else { lasts };
        if last_lasts <= 0.0 || last_lasts > allowed {
            let detail =
                format!("{}: EXTINF {lasts} ms, pictures {first} to {last} ms", segment.uri);
            wrong.push(detail);
        }
        end = Some(first + lasts);
    }
    wrong
}
