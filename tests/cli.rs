//! The binary as a person meets it: help, version, complaints.

// The lint knows test functions, but not what they call.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};

use stream_processor::config::settings;

/// The binary in an empty folder with an empty environment.
fn stream_processor(folder: &Path, args: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_stream-processor"))
        .args(args)
        .env_clear()
        .envs(environment.iter().copied())
        .current_dir(folder)
        .output()
        .unwrap()
}

fn run(args: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let output = stream_processor(folder.path(), args, environment);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn help_explains_every_setting_and_lists_the_commands_that_exist() {
    let (code, help, _) = run(&["--help"], &[]);
    assert_eq!(code, Some(0));
    for setting in settings() {
        assert!(help.contains(&format!("--{}", setting.flag)), "{}", setting.flag);
        assert!(help.contains(&format!("[env: {}]", setting.variable)), "{}", setting.variable);
    }
    assert!(help.contains("consumer") && help.contains("worker") && help.contains("demo"));
    assert!(!help.contains("encode-helper"), "{help}");
}

#[test]
fn short_help_fits_on_a_screen() {
    let (code, help, _) = run(&["-h"], &[]);
    assert_eq!(code, Some(0));
    assert!(help.lines().count() <= 24, "{help}");
    assert!(help.contains("--help"), "{help}");
}

#[test]
fn the_demonstration_s_help_shows_only_what_it_uses() {
    let (code, help, _) = run(&["demo", "--help"], &[]);
    assert_eq!(code, Some(0));
    assert!(help.contains("--cameras") && help.contains("--processing-quality"), "{help}");
    assert!(!help.contains("--pulsar-topic"), "{help}");
}

#[test]
fn the_clean_up_of_archives_explains_itself_and_its_own_settings_alone() {
    let (code, help, _) = run(&["archive-cleanup", "--help"], &[]);
    assert_eq!(code, Some(0));
    assert!(help.contains("--dry-run") && help.contains("--archive-database-url"), "{help}");
    assert!(!help.contains("--pulsar-topic"), "{help}");
    let (code, _, complaint) = run(&["archive-cleanup", "--dry-run", "--rebuild-database"], &[]);
    assert_eq!(code, Some(2), "{complaint}");
    let url = "postgres://me:hunter2@db/archive?sslmode=maybe";
    let (code, _, complaint) = run(&["archive-cleanup"], &[("ARCHIVE_DATABASE_URL", url)]);
    assert_eq!(code, Some(2), "{complaint}");
    assert!(complaint.contains("sslmode") && !complaint.contains("hunter2"), "{complaint}");
}

#[test]
fn version_says_what_the_codecs_mean_for_the_licence() {
    let (code, version, _) = run(&["--version"], &[]);
    assert_eq!(code, Some(0));
    assert!(version.contains(env!("CARGO_PKG_VERSION")) && version.contains("GPL"), "{version}");
    let (_, short, _) = run(&["-V"], &[]);
    assert_eq!(short.trim(), concat!("stream-processor ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn bad_values_from_all_sources_are_told_together_and_end_with_2() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(".env"), "LOG_FORMAT=xml\n").unwrap();
    let output = stream_processor(
        folder.path(),
        &["consumer", "--processing-max-workers", "fifty"],
        &[("METRICS_PORT", "-1")],
    );
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{complaint}");
    for part in [
        "PROCESSING_MAX_WORKERS (--processing-max-workers)",
        "a whole number from 1 to 1024; the flag says \"fifty\"",
        "METRICS_PORT (--metrics-port)",
        "the environment says \"-1\"",
        "LOG_FORMAT (--log-format)",
        ".env says \"xml\"",
    ] {
        assert!(complaint.contains(part), "{part}: {complaint}");
    }
}

#[test]
fn a_file_that_was_asked_for_has_to_be_there() {
    let (code, _, complaint) = run(&["--env-file", "missing.env"], &[]);
    assert_eq!(code, Some(2));
    assert!(complaint.contains("missing.env"), "{complaint}");
}

#[test]
fn a_file_that_was_asked_for_is_read_instead_of_the_usual_one() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(".env"), "LOG_FORMAT=xml\n").unwrap();
    std::fs::write(folder.path().join("other.env"), "LOG_FORMAT=yml\n").unwrap();
    let output = stream_processor(folder.path(), &["--env-file", "other.env"], &[]);
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.contains("yml") && !complaint.contains("xml"), "{complaint}");
}

#[test]
fn an_unknown_command_ends_with_2() {
    let (code, _, complaint) = run(&["consume"], &[]);
    assert_eq!(code, Some(2));
    assert!(complaint.contains("consumer"), "{complaint}");
}
