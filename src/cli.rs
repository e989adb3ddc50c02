//! The command line: which commands there are, and each setting as a flag. Owns the words of
//! the help; reads no source but the arguments and decides nothing about values of settings.

mod demo;
mod settings;

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

pub use demo::{DemoArgs, DemoCommand, DemoSize};
pub use settings::{
    AllSettings, ArchiveCleanupSettings, CleanupSettings, DemoSettings, OperatorSettings,
    ReadingSettings, ResetDeviceSettings, ServeSettings, SettingFlags, SettingScope,
    SignUrlSettings, UpkeepSettings,
};

/// The first argument of a helper process. It is looked at before anything else is done, and
/// is no command for people.
pub const ENCODE_HELPER: &str = "encode-helper";

/// Seconds between two clean-ups of archives: they are kept for days.
pub const ARCHIVE_CLEANUP_SECS: u64 = 3_600;

/// Seconds between two looks at which devices are due.
pub const OFFLINE_CHECK_SECS: u64 = 10;

/// Turns the JPEG frames of camera fleets into rolling HLS streams, exactly once.
#[derive(Debug, Parser)]
#[command(
    name = "stream-processor",
    version,
    long_version = LONG_VERSION.as_str(),
    after_help = "Without a command it is the consumer. --help explains every setting.",
    after_long_help = "From strong to weak: flags, environment, .env, defaults. An empty value \
                       counts as none.\n\n\
                       Examples:\n  \
                       stream-processor demo --cameras 9\n  \
                       PULSAR_SERVICE_URL=pulsar://broker:6650 stream-processor\n  \
                       stream-processor consumer --storage-base-path /mnt/streams --log-level debug"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The consumer's settings, which may stand without its name.
    #[command(flatten)]
    pub settings: SettingFlags<AllSettings>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Turns frame events from Pulsar into streams (default).
    #[command(visible_alias = "worker")]
    Consumer(ConsumerCommand),
    /// Ends the sessions of devices that have gone silent.
    OfflineChecker(OfflineCheckerCommand),
    /// Removes archives whose time is over, and what is left of half-made ones.
    ArchiveCleanup(ArchiveCleanupCommand),
    /// Removes segments, frames and records that are past their retention.
    Cleanup(CleanupCommand),
    /// Begins a device's stream anew; its numbers go on.
    ResetDevice(ResetDeviceCommand),
    /// Cuts an MP4 out of a stream and its archives, exact to the frame.
    Export(ExportCommand),
    /// Saves the frame nearest to an instant, as it was uploaded.
    Still(StillCommand),
    /// Serves streams, archives, clips and a page of all cameras, from the storage alone.
    Serve(ServeCommand),
    /// Makes a link that opens a client's or one device's streams for a while.
    SignUrl(SignUrlCommand),
    /// Runs in Kubernetes what StreamProcessor objects ask for.
    Operator(OperatorCommand),
    /// Prints the definitions of StreamProcessor and DeviceSlice, for kubectl apply.
    Crds,
    /// Shows it all with made-up cameras and a page to watch them: no broker needed.
    Demo(DemoCommand),
}

/// `consumer`.
#[derive(Debug, Args)]
pub struct ConsumerCommand {
    /// What it does besides.
    #[command(flatten)]
    pub args: ConsumerArgs,
    /// Its settings.
    #[command(flatten)]
    pub settings: SettingFlags<AllSettings>,
}

/// What a worker does besides, or leaves.
#[derive(Clone, Copy, Debug, Default, Args)]
#[group(skip)]
pub struct ConsumerArgs {
    /// Tell Redis nothing, whatever REDIS_ENABLED says.
    #[arg(long)]
    pub no_redis: bool,
    /// Do what offline-checker, cleanup and archive-cleanup do as well, again and again.
    #[arg(long)]
    pub with_cleanup: bool,
}

/// `offline-checker`.
#[derive(Debug, Args)]
pub struct OfflineCheckerCommand {
    /// How it looks.
    #[command(flatten)]
    pub checker: OfflineCheckerArgs,
    /// Its settings.
    #[command(flatten)]
    pub settings: SettingFlags<UpkeepSettings>,
}

/// How the offline checker looks at devices.
#[derive(Clone, Debug, Args)]
#[group(skip)]
pub struct OfflineCheckerArgs {
    /// Go on looking until told to stop.
    #[arg(long, conflicts_with = "once")]
    pub continuous: bool,
    /// Look at every device once, then end (default). It takes a segment and a half longer when a
    /// session seems to be over: that is looked at twice.
    #[arg(long)]
    pub once: bool,
    /// Seconds between two looks at which devices are due, with --continuous.
    #[arg(long = "interval", value_name = "SECONDS", default_value_t = OFFLINE_CHECK_SECS,
          value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub interval_secs: u64,
}

/// `archive-cleanup`.
#[derive(Debug, Args)]
pub struct ArchiveCleanupCommand {
    /// What to do.
    #[command(flatten)]
    pub args: ArchiveCleanupArgs,
    /// Its settings.
    #[command(flatten)]
    pub settings: SettingFlags<ArchiveCleanupSettings>,
}

/// What the clean-up of archives does besides removing what has expired.
#[derive(Clone, Copy, Debug, Args)]
#[group(skip)]
pub struct ArchiveCleanupArgs {
    /// Change nothing; say what would be removed, and how much that is.
    #[arg(long, conflicts_with_all = ["rebuild_database", "continuous"])]
    pub dry_run: bool,
    /// Write the database's table anew from the archives.
    #[arg(long, conflicts_with = "continuous")]
    pub rebuild_database: bool,
    /// Go on until told to stop.
    #[arg(long)]
    pub continuous: bool,
    /// Seconds between two clean-ups, with --continuous.
    #[arg(long = "interval", value_name = "SECONDS", default_value_t = ARCHIVE_CLEANUP_SECS,
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub interval_secs: u64,
}

/// `cleanup`.
#[derive(Debug, Args)]
pub struct CleanupCommand {
    /// What to do.
    #[command(flatten)]
    pub args: CleanupArgs,
    /// Its settings.
    #[command(flatten)]
    pub settings: SettingFlags<CleanupSettings>,
}

/// How the clean-up is made.
#[derive(Clone, Copy, Debug, Args)]
#[group(skip)]
pub struct CleanupArgs {
    /// Change nothing; say what would be removed, and how much that is.
    #[arg(long, conflicts_with = "continuous")]
    pub dry_run: bool,
    /// Look for files that nothing lists at every device, not only at those whose day it is.
    #[arg(long, conflicts_with = "continuous")]
    pub orphans: bool,
    /// Go on until told to stop.
    #[arg(long)]
    pub continuous: bool,
    /// Seconds between two clean-ups, with --continuous [default: RETENTION_INTERVAL_SECONDS].
    #[arg(long = "interval", value_name = "SECONDS",
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub interval_secs: Option<u64>,
}

/// `reset-device`.
#[derive(Debug, Args)]
pub struct ResetDeviceCommand {
    /// Which device.
    #[command(flatten)]
    pub args: ResetDeviceArgs,
    /// Its settings.
    #[command(flatten)]
    pub settings: SettingFlags<ResetDeviceSettings>,
}

/// Which device begins anew, and what goes.
#[derive(Clone, Debug, Args)]
#[group(skip)]
pub struct ResetDeviceArgs {
    /// Whose device.
    pub client: String,
    /// Which one.
    pub device: String,
    /// Change nothing; say what would be removed.
    #[arg(long)]
    pub dry_run: bool,
    /// Also while a worker owns the device: it will go on with the new stream.
    #[arg(long)]
    pub force: bool,
    /// Remove its frames as well, also those that are still to be encoded.
    #[arg(long)]
    pub with_frames: bool,
    /// Remove its archives as well.
    #[arg(long)]
    pub with_archives: bool,
    /// Leave what Redis holds of it.
    #[arg(long)]
    pub skip_redis: bool,
    /// Remove what Redis holds of it, and nothing else.
    #[arg(long, conflicts_with_all = ["skip_redis", "force", "with_frames", "with_archives"])]
    pub skip_storage: bool,
}

/// `export`.
#[derive(Debug, Args)]
pub struct ExportCommand {
    /// What to cut out.
    #[command(flatten)]
    pub args: ExportArgs,
    /// Its settings.
    #[command(flatten)]
    pub settings: SettingFlags<ReadingSettings>,
}

/// What to cut out. An instant is RFC 3339 with a zone, `now`, or a time before now such as
/// `-10m`.
#[derive(Clone, Debug, Args)]
#[group(skip)]
pub struct ExportArgs {
    /// Whose device.
    pub client: String,
    /// Which one.
    pub device: String,
    /// The first instant shown: 2026-01-31T08:00:00Z, -10m, now.
    #[arg(long, value_name = "INSTANT", allow_hyphen_values = true)]
    pub from: String,
    /// The instant at which it ends.
    #[arg(long, value_name = "INSTANT", allow_hyphen_values = true, default_value = "now")]
    pub to: String,
    /// The file to write.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Replace the file if it is there already.
    #[arg(long)]
    pub force: bool,
}

/// `still`.
#[derive(Debug, Args)]
pub struct StillCommand {
    /// Which frame.
    #[command(flatten)]
    pub args: StillArgs,
    /// Its settings.
    #[command(flatten)]
    pub settings: SettingFlags<ReadingSettings>,
}

/// Which frame.
#[derive(Clone, Debug, Args)]
#[group(skip)]
pub struct StillArgs {
    /// Whose device.
    pub client: String,
    /// Which one.
    pub device: String,
    /// The instant: 2026-01-31T08:00:00Z, -10m, now.
    #[arg(long, value_name = "INSTANT", allow_hyphen_values = true)]
    pub at: String,
    /// The file to write.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Replace the file if it is there already.
    #[arg(long)]
    pub force: bool,
}

/// `serve`.
#[derive(Debug, Args)]
pub struct ServeCommand {
    /// Its settings.
    #[command(flatten)]
    pub settings: SettingFlags<ServeSettings>,
}

/// `sign-url`.
#[derive(Debug, Args)]
pub struct SignUrlCommand {
    /// What to open.
    #[command(flatten)]
    pub args: SignUrlArgs,
    /// Its settings.
    #[command(flatten)]
    pub settings: SettingFlags<SignUrlSettings>,
}

/// What a link opens, and for how long.
#[derive(Clone, Debug, Args)]
#[group(skip)]
pub struct SignUrlArgs {
    /// Whose devices.
    pub client: String,
    /// Which one; all of them if it is left out.
    pub device: Option<String>,
    /// How long it lasts: 30m, 1h, 7d.
    #[arg(long = "for", value_name = "DURATION", default_value = "1h", value_parser = lasting)]
    pub lasts: Duration,
    /// What to put before it, such as `https://streams.example.com`.
    #[arg(long, value_name = "URL", default_value = "", hide_default_value = true)]
    pub base_url: String,
}

/// `operator`.
#[derive(Debug, Args)]
pub struct OperatorCommand {
    /// Its settings.
    #[command(flatten)]
    pub settings: SettingFlags<OperatorSettings>,
}

/// A day is 24 hours here, whatever the clocks do.
fn lasting(text: &str) -> Result<Duration, String> {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u32>().ok());
    let other = || text.parse::<jiff::SignedDuration>().ok()?.try_into().ok();
    days.map(|days| Duration::from_secs(u64::from(days) * 86_400))
        .or_else(other)
        .filter(|lasts: &Duration| !lasts.is_zero())
        .ok_or_else(|| "it takes a duration such as 30m, 1h or 7d".into())
}

/// The version, and under which licence the linked codecs put the binary.
static LONG_VERSION: LazyLock<String> = LazyLock::new(|| {
    format!(
        "{}\n\nIts own code is under the MIT licence. It is linked with FFmpeg's libraries, here \
         under {}, and encodes with x264, which is under the GPL.",
        env!("CARGO_PKG_VERSION"),
        ffmpeg_next::util::license()
    )
});

#[cfg(test)]
mod tests;
