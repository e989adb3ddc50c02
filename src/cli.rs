//! The command line: which commands there are, and each setting as a flag. Owns the words of
//! the help; reads no source but the arguments and decides nothing about values of settings.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Args, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::config::{Group, Setting, Takes};

/// The first argument of a helper process. It is looked at before anything else is done, and
/// is no command for people.
pub const ENCODE_HELPER: &str = "encode-helper";

/// Seconds between two clean-ups of archives: they are kept for days.
pub const ARCHIVE_CLEANUP_SECS: u64 = 3_600;

/// Seconds between two looks at which devices are due.
pub const OFFLINE_CHECK_SECS: u64 = 10;

/// Most cameras of a demonstration.
const MAX_CAMERAS: i64 = 1_000;

/// The longest interval between two frames of the demonstration's cameras.
const MAX_INTERVAL_SECS: f64 = 60.0;

/// The shortest.
const MIN_INTERVAL_SECS: f64 = 0.1;

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
    /// What to put before it, such as https://streams.example.com.
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

/// A day is 24 hours here, whatever the clocks do.
fn lasting(text: &str) -> Result<Duration, String> {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u32>().ok());
    let other = || text.parse::<jiff::SignedDuration>().ok()?.try_into().ok();
    days.map(|days| Duration::from_secs(u64::from(days) * 86_400))
        .or_else(other)
        .filter(|lasts: &Duration| !lasts.is_zero())
        .ok_or_else(|| "it takes a duration such as 30m, 1h or 7d".into())
}

fn interval_millis(text: &str) -> Result<u32, String> {
    let secs =
        text.parse().ok().filter(|secs| (MIN_INTERVAL_SECS..=MAX_INTERVAL_SECS).contains(secs));
    // Between 100 and 60,000 after the check above.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    secs.map(|secs: f64| (secs * 1_000.0).round() as u32)
        .ok_or_else(|| format!("it takes seconds from {MIN_INTERVAL_SECS} to {MAX_INTERVAL_SECS}"))
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

/// The groups of settings that a command uses: only these are in its help.
pub trait SettingScope {
    /// Which.
    const GROUPS: &'static [Group];
}

/// Everything.
#[derive(Clone, Copy, Debug)]
pub struct AllSettings;

impl SettingScope for AllSettings {
    const GROUPS: &'static [Group] = Group::ALL;
}

/// What looks after streams that workers write.
#[derive(Clone, Copy, Debug)]
pub struct UpkeepSettings;

impl SettingScope for UpkeepSettings {
    const GROUPS: &'static [Group] = &[
        Group::Storage,
        Group::Processing,
        Group::Metrics,
        Group::Log,
        Group::Redis,
        Group::Archive,
    ];
}

/// What the demonstration uses.
#[derive(Clone, Copy, Debug)]
pub struct DemoSettings;

impl SettingScope for DemoSettings {
    const GROUPS: &'static [Group] = &[Group::Processing, Group::Watermark, Group::Log];
}

/// What commands that only read use.
#[derive(Clone, Copy, Debug)]
pub struct ReadingSettings;

impl SettingScope for ReadingSettings {
    const GROUPS: &'static [Group] = &[Group::Storage, Group::Log];
}

/// What the clean-up of streams uses.
#[derive(Clone, Copy, Debug)]
pub struct CleanupSettings;

impl SettingScope for CleanupSettings {
    const GROUPS: &'static [Group] = &[
        Group::Storage,
        Group::Processing,
        Group::Archive,
        Group::Retention,
        Group::Metrics,
        Group::Log,
    ];
}

/// What the reset of a device uses.
#[derive(Clone, Copy, Debug)]
pub struct ResetDeviceSettings;

impl SettingScope for ResetDeviceSettings {
    const GROUPS: &'static [Group] = &[
        Group::Storage,
        Group::Processing,
        Group::Archive,
        Group::Retention,
        Group::Redis,
        Group::Log,
    ];
}

/// What the clean-up of archives uses.
#[derive(Clone, Copy, Debug)]
pub struct ArchiveCleanupSettings;

impl SettingScope for ArchiveCleanupSettings {
    const GROUPS: &'static [Group] = &[Group::Storage, Group::Archive, Group::Metrics, Group::Log];
}

/// What serving uses.
#[derive(Clone, Copy, Debug)]
pub struct ServeSettings;

impl SettingScope for ServeSettings {
    const GROUPS: &'static [Group] = &[Group::Serve, Group::Storage, Group::Metrics, Group::Log];
}

/// What signing uses.
#[derive(Clone, Copy, Debug)]
pub struct SignUrlSettings;

impl SettingScope for SignUrlSettings {
    const GROUPS: &'static [Group] = &[Group::Serve, Group::Log];
}

/// What the operator uses.
#[derive(Clone, Copy, Debug)]
pub struct OperatorSettings;

impl SettingScope for OperatorSettings {
    const GROUPS: &'static [Group] = &[Group::Operator, Group::Metrics, Group::Log];
}

/// The settings that were given as flags, not yet judged. Made from the tables in
/// [`crate::config`], so that a flag and its variable cannot differ.
#[derive(Clone)]
pub struct SettingFlags<S> {
    /// Values by the variable's name.
    pub values: BTreeMap<&'static str, String>,
    /// The file to read instead of `.env`.
    pub env_file: Option<PathBuf>,
    scope: PhantomData<S>,
}

impl<S> std::fmt::Debug for SettingFlags<S> {
    /// The names alone: a value may be a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

impl<S> SettingFlags<S> {
    /// These flags, and `weaker` where they say nothing.
    pub fn or<W>(mut self, weaker: SettingFlags<W>) -> Self {
        for (variable, value) in weaker.values {
            self.values.entry(variable).or_insert(value);
        }
        self.env_file = self.env_file.or(weaker.env_file);
        self
    }
}

impl<S: SettingScope> FromArgMatches for SettingFlags<S> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let values = S::GROUPS
            .iter()
            .flat_map(|group| group.settings())
            .filter_map(|s| Some((s.variable, matches.get_one::<String>(s.variable)?.clone())))
            .collect();
        let env_file = matches.get_one::<PathBuf>(ENV_FILE).cloned();
        Ok(Self { values, env_file, scope: PhantomData })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl<S: SettingScope> Args for SettingFlags<S> {
    fn augment_args(command: clap::Command) -> clap::Command {
        let env_file = Arg::new(ENV_FILE)
            .long(ENV_FILE)
            .value_name("FILE")
            // As the settings themselves: --help has room for it.
            .hide_short_help(true)
            .value_parser(clap::value_parser!(PathBuf))
            .help("File of NAME=value lines to read instead of .env in the working folder");
        S::GROUPS.iter().fold(command.arg(env_file), |command, group| {
            command.args(group.settings().iter().map(|setting| flag(*group, setting)))
        })
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

const ENV_FILE: &str = "env-file";

fn flag(group: Group, setting: &'static Setting) -> Arg {
    let default = setting.default.map(|d| format!(" [default: {d}]")).unwrap_or_default();
    let help = format!(
        "{} It takes {}.\n[env: {}]{default}",
        setting.help, setting.takes, setting.variable
    );
    let arg = Arg::new(setting.variable)
        .long(setting.flag)
        .value_name(setting.takes.placeholder())
        .help(help)
        .help_heading(group.title())
        .hide_short_help(true)
        .action(ArgAction::Set);
    match setting.takes {
        // `--redis-enabled` alone is yes; with `=` only, or it would swallow a command's name.
        Takes::Bool => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
        // So that a negative number gets the answer of its setting.
        Takes::Integer { .. } => arg.allow_negative_numbers(true),
        _ => arg,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn demo(args: &[&str]) -> Result<DemoArgs, clap::Error> {
        let cli = Cli::try_parse_from(["stream-processor", "demo"].iter().chain(args))?;
        match cli.command {
            Some(Command::Demo(command)) => Ok(command.demo),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn worker_is_another_name_of_the_consumer() {
        let cli = Cli::try_parse_from(["stream-processor", "worker"]).unwrap();
        assert!(matches!(cli.command, Some(Command::Consumer(_))));
    }

    #[test]
    fn the_offline_checker_looks_once_unless_it_is_told_to_go_on() {
        let parse = |args: &[&str]| {
            let all = ["stream-processor", "offline-checker"].iter().chain(args);
            match Cli::try_parse_from(all).map(|cli| cli.command) {
                Ok(Some(Command::OfflineChecker(command))) => Some(command.checker),
                _ => None,
            }
        };
        let once = parse(&[]).unwrap();
        assert!(!once.continuous && once.interval_secs == 10);
        let on = parse(&["--continuous", "--interval", "30"]).unwrap();
        assert!(on.continuous && on.interval_secs == 30);
        assert!(parse(&["--once", "--interval=5"]).is_some());
        assert!(parse(&["--once", "--continuous"]).is_none());
        assert!(parse(&["--interval=0"]).is_none());
    }

    #[test]
    fn a_flag_without_a_value_means_yes_and_does_not_swallow_the_command() {
        let args = ["stream-processor", "--redis-enabled", "consumer", "--metrics-enabled=false"];
        let cli = Cli::try_parse_from(args).unwrap();
        assert_eq!(cli.settings.values.get("REDIS_ENABLED").unwrap(), "true");
        let Some(Command::Consumer(command)) = cli.command else { panic!("no consumer") };
        assert_eq!(command.settings.values.get("METRICS_ENABLED").unwrap(), "false");
    }

    #[test]
    fn a_flag_behind_the_command_is_stronger_than_the_same_before_it() {
        let args = [
            "stream-processor",
            "--log-level=warn",
            "--log-format=json",
            "worker",
            "--log-level=debug",
        ];
        let cli = Cli::try_parse_from(args).unwrap();
        let Some(Command::Consumer(command)) = cli.command else { panic!("no consumer") };
        let merged = command.settings.or(cli.settings);
        assert_eq!(merged.values.get("LOG_LEVEL").unwrap(), "debug");
        assert_eq!(merged.values.get("LOG_FORMAT").unwrap(), "json");
    }

    #[test]
    fn the_demonstration_takes_a_size_or_width_and_height() {
        assert_eq!(demo(&[]).unwrap().picture_size(), (1280, 720));
        assert_eq!(demo(&["--size=1080p"]).unwrap().picture_size(), (1920, 1080));
        assert_eq!(demo(&["--width=640", "--height=360"]).unwrap().picture_size(), (640, 360));
        assert!(demo(&["--width=640"]).is_err());
        assert!(demo(&["--size=720p", "--width=640", "--height=360"]).is_err());
    }

    #[test]
    fn the_demonstration_takes_fractions_of_a_second_between_frames() {
        assert_eq!(demo(&["--interval-secs=0.25"]).unwrap().interval_millis, 250);
        for bad in ["0", "-1", "61", "NaN", "inf", "soon"] {
            assert!(demo(&[&format!("--interval-secs={bad}")]).is_err(), "{bad}");
        }
    }

    #[test]
    fn passwords_on_the_command_line_are_not_in_the_debug_form() {
        let args = ["stream-processor", "--pulsar-auth-token=hunter2"];
        let shown = format!("{:?}", Cli::try_parse_from(args).unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
