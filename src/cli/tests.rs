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
