//! Access units by x264, plans for them, and what FFmpeg says of files.

use std::path::{Path, PathBuf};
use std::process::Command;

use stream_processor::media::Playback;
use stream_processor::media::timeline::{
    self, PictureSize, SegmentPlan, ShownFrame, Timeline, TimelineSettings,
};
use stream_processor::model::UtcMillis;
use tempfile::TempDir;

pub const HIGH: &[&str] = &["-preset", "superfast", "-profile:v", "high"];
pub const MAIN: &[&str] = &["-preset", "medium", "-profile:v", "main", "-bf", "0"];
pub const BASELINE: &[&str] = &["-preset", "ultrafast", "-profile:v", "baseline"];

/// Moving and noisy pictures, the same in every run.
pub fn encode(size: PictureSize, frames: usize, options: &[&str]) -> Vec<Vec<u8>> {
    let source = format!(
        "testsrc2=size={}x{}:rate=1,noise=alls=12:allf=t:all_seed=7,format=yuv420p",
        size.width, size.height
    );
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", &source, "-frames:v", &frames.to_string()])
        .args(["-c:v", "libx264"])
        .args(options)
        .args(["-bf", "0", "-x264-params"])
        .arg("weightp=0:threads=1:sliced-threads=0:slices=1:scenecut=0:aud=1")
        .args(["-f", "h264", "pipe:1"])
        .output()
        .expect("ffmpeg runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let delimiter = b"\0\0\0\x01\x09";
    let stream = output.stdout;
    let mut starts: Vec<usize> =
        (0..stream.len()).filter(|at| stream[*at..].starts_with(delimiter)).collect();
    starts.push(stream.len());
    let units: Vec<_> = starts.windows(2).map(|pair| stream[pair[0]..pair[1]].to_vec()).collect();
    assert_eq!(units.len(), frames);
    units
}

/// Plans one segment of frames `interval_millis` apart, behind `previous`.
pub fn plan_one(
    previous: Option<&Timeline>,
    size: PictureSize,
    captures_millis: &[i64],
    playback: Playback,
) -> (SegmentPlan, Timeline) {
    let frames: Vec<_> = captures_millis
        .iter()
        .map(|at| ShownFrame { captured_at: UtcMillis(1_750_000_000_000 + at), size })
        .collect();
    let settings = TimelineSettings {
        playback,
        max_segment_millis: 60_000,
        default_interval_millis: 5_000,
        encoding: 1,
    };
    let (mut segments, timeline) = timeline::plan(previous, &frames, &settings);
    assert_eq!(segments.len(), 1);
    (segments.remove(0), timeline.unwrap())
}

/// When each picture of the plan is shown, in ticks.
pub fn picture_ticks(plan: &SegmentPlan) -> Vec<u64> {
    plan.showings
        .iter()
        .flat_map(|showing| {
            let count = u64::from(showing.pictures);
            (0..count).map(move |n| showing.start_ticks + showing.duration_ticks * n / count)
        })
        .collect()
}

/// A folder for the files of one test.
pub struct Bench(TempDir);

impl Bench {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

/// The output of a tool that must find nothing to say on its error stream.
pub fn silently(command: &mut Command) -> String {
    let output = command.output().expect("the tool runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim().is_empty(), "{command:?} said: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// A packet as ffprobe tells it.
#[derive(Debug)]
pub struct Packet {
    pub pts: u64,
    /// Decoding can start here.
    pub key: bool,
    /// Something before it is missing, the continuity counters say.
    pub corrupt: bool,
}

/// The packets of a file that ffprobe has nothing to say against.
pub fn packets(path: &Path) -> Vec<Packet> {
    let listing = silently(
        Command::new("ffprobe")
            .args(["-v", "warning", "-show_packets", "-select_streams", "v"])
            .args(["-show_entries", "packet=pts,dts,flags", "-of", "csv=p=0"])
            .arg(path),
    );
    listing
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            assert_eq!(fields[0], fields[1], "decoded when shown");
            let flags = fields[2];
            Packet {
                pts: fields[0].parse().unwrap(),
                key: flags.contains('K'),
                corrupt: flags.contains('C'),
            }
        })
        .collect()
}

/// One digest per decoded picture.
pub fn picture_digests(path: &Path) -> Vec<String> {
    let listing = silently(Command::new("ffmpeg").args(["-v", "error", "-i"]).arg(path).args([
        "-map",
        "0:v",
        "-fps_mode",
        "passthrough",
        "-f",
        "framemd5",
        "-",
    ]));
    listing
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.rsplit(", ").next().unwrap().to_owned())
        .collect()
}

/// The decoded pictures themselves, planar 4:2:0.
pub fn raw_pictures(path: &Path, size: PictureSize) -> Vec<Vec<u8>> {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(path)
        .args(["-map", "0:v", "-fps_mode", "passthrough", "-f", "rawvideo"])
        .args(["-pix_fmt", "yuv420p", "-"])
        .output()
        .expect("ffmpeg runs");
    let bytes = usize::try_from(size.width * size.height * 3 / 2).unwrap();
    output.stdout.chunks(bytes).map(<[u8]>::to_vec).collect()
}
