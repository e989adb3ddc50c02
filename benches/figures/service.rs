//! The obvious alternative: one ffmpeg process and one ffprobe process per segment, with the
//! settings of the service that this worker replaces; and FFmpeg's own measure of likeness.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::footage::{Clip, Failure};

/// What the service does to the pictures' size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resize {
    /// As it is: everything becomes 1920 wide.
    Enlarge,
    /// The same settings without that.
    Keep,
}

/// Makes one segment as the service does, and asks for its duration; the CPU time is that of
/// two processes which have ended.
pub fn segment(clip: &Clip, resize: Resize) -> Result<PathBuf, Failure> {
    let name = if resize == Resize::Enlarge { "service.ts" } else { "service-kept.ts" };
    let out = clip.folder.join(name);
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-y", "-framerate", "1", "-i", "frame_%03d.jpg", "-c:v", "libx264"]);
    ffmpeg.args(["-preset", "ultrafast", "-profile:v", "baseline", "-tune", "zerolatency"]);
    ffmpeg.args(["-crf", "23", "-pix_fmt", "yuv420p"]);
    if resize == Resize::Enlarge {
        ffmpeg.args(["-vf", "scale=1920:-2"]);
    }
    ffmpeg.args(["-f", "mpegts", name]).current_dir(&clip.folder);
    run(ffmpeg)?;
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args(["-v", "error", "-show_entries", "format=duration", name]);
    ffprobe.current_dir(&clip.folder);
    run(ffprobe)?;
    Ok(out)
}

/// Makes the segments of all clips, as many at a time as there are `workers`.
pub fn segments(clips: &[Clip], resize: Resize, workers: usize) -> Result<(), Failure> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let work = || -> Result<(), Failure> {
        while let Some(clip) = clips.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
            segment(clip, resize)?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(result) => result,
            Err(_) => Err("a thread that runs ffmpeg panicked".into()),
        })
    })
}

/// How alike pictures are, 0 to 1: the mean over a segment's frames.
#[derive(Clone, Copy, Debug, Default)]
pub struct Likeness {
    /// Luma and chroma, weighted by their samples.
    pub all: f64,
    /// Luma alone.
    pub luma: f64,
}

/// Compares a segment with the JPEGs that it was made of, at the JPEGs' size. Every frame is
/// shown `pictures_per_frame` times, of which the first counts.
pub fn likeness(clip: &Clip, media: &Path, pictures_per_frame: u32) -> Result<Likeness, Failure> {
    // Both in the range and sampling of the video: what is lost by that is nobody's fault.
    let graph = format!(
        "[0:v]select=not(mod(n\\,{pictures_per_frame})),setpts=N/TB[made];\
         [1:v]format=yuv420p,setpts=N/TB[taken];\
         [made][taken]scale2ref=flags=bicubic[fitted][source];\
         [fitted]format=yuv420p[same];[same][source]ssim=stats_file=-"
    );
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-i"]).arg(media);
    ffmpeg.args(["-framerate", "1", "-i", "frame_%03d.jpg", "-lavfi", &graph]);
    ffmpeg.args(["-f", "null", "-"]).current_dir(&clip.folder);
    let text = run(ffmpeg)?;
    let mean = |name: &str| -> Result<f64, Failure> {
        let fields = text.split_whitespace().filter_map(|field| field.strip_prefix(name));
        let values: Vec<f64> = fields.map(str::parse).collect::<Result<_, _>>()?;
        match values.len() == clip.jpegs.len() {
            true => Ok(values.iter().sum::<f64>() / values.len() as f64),
            false => Err(format!("ffmpeg compared {} pictures: {text}", values.len()).into()),
        }
    };
    Ok(Likeness { all: mean("All:")?, luma: mean("Y:")? })
}

/// The first line of `ffmpeg -version`.
pub fn version() -> Result<String, Failure> {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.arg("-version");
    let text = run(ffmpeg)?;
    Ok(text.split(" Copyright").next().unwrap_or_default().to_owned())
}

fn run(mut command: Command) -> Result<String, Failure> {
    let tool = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("{tool} cannot be run ({e}); `make setup` installs it"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{tool} failed: {}", said.trim()).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}
