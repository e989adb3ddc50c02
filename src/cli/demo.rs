//! `demo` on the command line: what the demonstration shows.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{DemoSettings, SettingFlags};

/// Most cameras of a demonstration.
const MAX_CAMERAS: i64 = 1_000;

/// The longest interval between two frames of the demonstration's cameras.
const MAX_INTERVAL_SECS: f64 = 60.0;

/// The shortest.
const MIN_INTERVAL_SECS: f64 = 0.1;

/// `demo`.
#[derive(Debug, Args)]
pub struct DemoCommand {
    /// What to show.
    #[command(flatten)]
    pub demo: DemoArgs,
    /// Its settings.
    #[command(flatten)]
    pub settings: SettingFlags<DemoSettings>,
}

/// What the demonstration shows.
#[derive(Clone, Debug, Args)]
#[group(skip)]
pub struct DemoArgs {
    /// How many cameras.
    #[arg(long, value_name = "N", default_value_t = 4,
          value_parser = clap::value_parser!(u32).range(1..=MAX_CAMERAS))]
    pub cameras: u32,
    /// Folder of JPEGs to show instead of made-up pictures, in the order of their names.
    #[arg(long, value_name = "FOLDER")]
    pub frames: Option<PathBuf>,
    /// End by itself after so many seconds, with a summary; without it, at Ctrl-C.
    #[arg(long = "duration", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub duration_secs: Option<u64>,
    /// Port of the page on this machine; 0 is any free one.
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    pub port: u16,
    /// Seconds between two frames of a camera, 0.1 to 60.
    #[arg(long = "interval-secs", value_name = "SECONDS", default_value = "1",
          value_parser = interval_millis)]
    pub interval_millis: u32,
    /// Size of the made-up pictures.
    #[arg(long, value_enum, default_value_t = DemoSize::Hd720, conflicts_with_all = ["width", "height"])]
    pub size: DemoSize,
    /// Width of the made-up pictures in pixels, instead of a size.
    #[arg(long, value_name = "PIXELS", requires = "height",
          value_parser = clap::value_parser!(u32).range(64..=7680))]
    pub width: Option<u32>,
    /// Height of the made-up pictures in pixels, instead of a size.
    #[arg(long, value_name = "PIXELS", requires = "width",
          value_parser = clap::value_parser!(u32).range(64..=4320))]
    pub height: Option<u32>,
    /// Keep the files at the end, and say where they are.
    #[arg(long)]
    pub keep: bool,
}

impl DemoArgs {
    /// Width and height of the made-up pictures, in pixels.
    pub fn picture_size(&self) -> (u32, u32) {
        match (self.width, self.height) {
            (Some(width), Some(height)) => (width, height),
            _ => self.size.pixels(),
        }
    }
}

/// The usual sizes of pictures.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum DemoSize {
    /// 1280 × 720.
    #[value(name = "720p")]
    Hd720,
    /// 1920 × 1080.
    #[value(name = "1080p")]
    Hd1080,
}

impl DemoSize {
    fn pixels(self) -> (u32, u32) {
        match self {
            Self::Hd720 => (1280, 720),
            Self::Hd1080 => (1920, 1080),
        }
    }
}

fn interval_millis(text: &str) -> Result<u32, String> {
    let secs =
        text.parse().ok().filter(|secs| (MIN_INTERVAL_SECS..=MAX_INTERVAL_SECS).contains(secs));
    // Between 100 and 60,000 after the check above.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    secs.map(|secs: f64| (secs * 1_000.0).round() as u32)
        .ok_or_else(|| format!("it takes seconds from {MIN_INTERVAL_SECS} to {MAX_INTERVAL_SECS}"))
}
