//! Parses the command line, gathers the settings, starts the log, runs one command.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use stream_processor::cli::{
    AllSettings, ArchiveCleanupArgs, ArchiveCleanupSettings, Cli, Command, ConsumerArgs, DemoArgs,
    DemoSettings, ENCODE_HELPER, OfflineCheckerArgs, ResetDeviceArgs, ResetDeviceSettings,
    SettingFlags, SettingScope, UpkeepSettings,
};
use stream_processor::cmd;
use stream_processor::config::{Config, Sources};
use stream_processor::logging;
use stream_processor::model::causes;

/// What `sysexits` calls wrong usage is 2 with clap; wrong settings are the same mistake.
const EXIT_USAGE: u8 = 2;

/// How long a file operation may take that is under way when a command has ended. What is cut off
/// then is as if the process had been killed, which every step allows.
const LAST_WORK: Duration = Duration::from_secs(3);

/// A demonstration has its page to look at: the log tells of trouble only.
const DEMO_DEFAULTS: &[(&str, &str)] = &[
    ("LOG_LEVEL", "WARN"),
    ("PROCESSING_SEGMENT_DURATION_SECONDS", "4"),
    ("PROCESSING_FRAMES_PER_SEGMENT", "4"),
];

/// Who asks for a file wants to read of trouble only.
const QUIET: &[(&str, &str)] = &[("LOG_LEVEL", "WARN")];

fn main() -> ExitCode {
    // Before anything else: a helper wants no threads, no settings and no log.
    if std::env::args_os().nth(1).is_some_and(|first| first == ENCODE_HELPER) {
        return cmd::encode_helper::run();
    }
    // Named crash points, set by FAILPOINTS and FAILPOINTS_FILE; only in builds for tests.
    #[cfg(feature = "failpoints")]
    let _points = fail::FailScenario::setup();
    #[cfg(feature = "failpoints")]
    stream_processor::follow_failpoints();
    let cli = Cli::parse();
    match cli.command {
        None => consumer(ConsumerArgs::default(), cli.settings),
        Some(Command::Consumer(command)) => {
            consumer(command.args, command.settings.or(cli.settings))
        }
        Some(Command::OfflineChecker(command)) => {
            offline_checker(command.checker, command.settings.or(cli.settings))
        }
        Some(Command::ArchiveCleanup(command)) => {
            archive_cleanup(command.args, command.settings.or(cli.settings))
        }
        Some(Command::Cleanup(command)) => {
            with(command.settings.or(cli.settings), &[], |c| cmd::cleanup::run(c, command.args))
        }
        Some(Command::ResetDevice(command)) => {
            reset_device(command.args, command.settings.or(cli.settings))
        }
        Some(Command::Export(command)) => {
            with(command.settings.or(cli.settings), QUIET, |c| cmd::export::run(c, command.args))
        }
        Some(Command::Still(command)) => {
            with(command.settings.or(cli.settings), QUIET, |c| cmd::export::still(c, command.args))
        }
        Some(Command::Serve(command)) => {
            with(command.settings.or(cli.settings), &[], cmd::serve::run)
        }
        Some(Command::SignUrl(command)) => {
            let args = command.args;
            with(command.settings.or(cli.settings), QUIET, |c| async move {
                cmd::sign_url::run(&c, &args)
            })
        }
        Some(Command::Operator(command)) => {
            with(command.settings.or(cli.settings), &[], cmd::operator::run)
        }
        Some(Command::Crds) => {
            cmd::crds::run().map_or_else(|e| fail(&e, 1), |()| ExitCode::SUCCESS)
        }
        Some(Command::Demo(command)) => demo(command.demo, command.settings.or(cli.settings)),
    }
}

fn consumer(args: ConsumerArgs, flags: SettingFlags<AllSettings>) -> ExitCode {
    match prepare(flags, &[]) {
        Ok(mut config) => {
            config.redis.enabled &= !args.no_redis;
            run(cmd::consumer::run(config, args))
        }
        Err(error) => fail(error.as_ref(), EXIT_USAGE),
    }
}

fn offline_checker(args: OfflineCheckerArgs, flags: SettingFlags<UpkeepSettings>) -> ExitCode {
    match prepare(flags, &[]) {
        Ok(config) => run(cmd::offline_checker::run(config, args)),
        Err(error) => fail(error.as_ref(), EXIT_USAGE),
    }
}

fn archive_cleanup(
    args: ArchiveCleanupArgs,
    flags: SettingFlags<ArchiveCleanupSettings>,
) -> ExitCode {
    match prepare(flags, &[]) {
        Ok(config) if args.rebuild_database && config.archive.database_url.is_none() => {
            let sentence =
                "--rebuild-database takes ARCHIVE_DATABASE_URL: there is no table without";
            fail(&cmd::CommandError::new(sentence), EXIT_USAGE)
        }
        Ok(config) => run(cmd::archive_cleanup::run(config, args)),
        Err(error) => fail(error.as_ref(), EXIT_USAGE),
    }
}

fn reset_device(args: ResetDeviceArgs, flags: SettingFlags<ResetDeviceSettings>) -> ExitCode {
    match prepare(flags, QUIET) {
        Ok(config) if args.skip_storage && !config.redis.enabled => {
            let sentence =
                "--skip-storage takes REDIS_ENABLED=true: there is nothing else to reset without";
            fail(&cmd::CommandError::new(sentence), EXIT_USAGE)
        }
        Ok(config) => run(cmd::reset_device::run(config, args)),
        Err(error) => fail(error.as_ref(), EXIT_USAGE),
    }
}

/// Runs a command with its settings.
fn with<S: SettingScope, R: Future<Output = Result<(), cmd::CommandError>>>(
    flags: SettingFlags<S>,
    defaults: &'static [(&'static str, &'static str)],
    command: impl FnOnce(Config) -> R,
) -> ExitCode {
    match prepare(flags, defaults) {
        Ok(config) => run(command(config)),
        Err(error) => fail(error.as_ref(), EXIT_USAGE),
    }
}

fn demo(args: DemoArgs, flags: SettingFlags<DemoSettings>) -> ExitCode {
    match prepare(flags, DEMO_DEFAULTS) {
        Ok(config) => run(cmd::demo::run(config, args)),
        Err(error) => fail(error.as_ref(), EXIT_USAGE),
    }
}

/// Valid settings, and a log that has told what is worth a warning about them.
fn prepare<S: SettingScope>(
    flags: SettingFlags<S>,
    defaults: &'static [(&'static str, &'static str)],
) -> Result<Config, Box<dyn Error>> {
    let sources = Sources::gather(flags.values, flags.env_file.as_deref(), defaults)?;
    let host_name = hostname::get()
        .map_err(|error| format!("cannot tell this machine's host name: {error}"))?
        .to_string_lossy()
        .into_owned();
    let resolved = Config::resolve(&sources, S::GROUPS, &host_name)?;
    logging::init(&resolved.config.log)?;
    for notice in &resolved.notices {
        tracing::warn!("{notice}");
    }
    Ok(resolved.config)
}

fn run(command: impl Future<Output = Result<(), cmd::CommandError>>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error, 1),
    };
    let result = runtime.block_on(command);
    // A storage that hangs must not keep the process.
    runtime.shutdown_timeout(LAST_WORK);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, 1),
    }
}

/// Says why, cause by cause.
fn fail(error: &dyn Error, code: u8) -> ExitCode {
    eprintln!("stream-processor: {}", causes(error));
    ExitCode::from(code)
}
