use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::encode::{Corner, Watermark};
use crate::media::{Container, Playback};
use crate::pipeline::captions::CaptionZone;
use crate::source::pulsar::PulsarAuth;

/// Sources with `environment` alone.
fn environment(variables: &[(&str, &str)]) -> Sources {
    let environment = variables.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    Sources { environment, ..Sources::default() }
}

fn resolve(sources: &Sources) -> Result<Resolved, ConfigError> {
    Config::resolve(sources, Group::ALL, "host-1")
}

fn config(variables: &[(&str, &str)]) -> Config {
    resolve(&environment(variables)).unwrap().config
}

fn notices(variables: &[(&str, &str)]) -> Vec<String> {
    resolve(&environment(variables)).unwrap().notices
}

fn problems(variables: &[(&str, &str)]) -> Vec<Problem> {
    match resolve(&environment(variables)) {
        Err(ConfigError::Invalid(problems)) => problems,
        other => panic!("{variables:?}: {other:?}"),
    }
}

/// What no setting of this kind takes.
fn bad_value(takes: &Takes) -> &'static str {
    match takes {
        Takes::Integer { .. } => "fifty",
        Takes::Bool => "maybe",
        Takes::Name => "two words",
        Takes::Text | Takes::File | Takes::Folder | Takes::TimeFormat => "two\nlines",
        Takes::TimeZoneOr(_) => "America/São Paulo",
        _ => "nonsense!",
    }
}

#[test]
fn with_nothing_given_the_contract_s_defaults_hold() {
    let config = config(&[]);
    assert_eq!(config.pulsar.service_url, "pulsar://localhost:6650");
    assert_eq!(config.pulsar.topic, "persistent://streamhub/stream/frames");
    assert_eq!(config.pulsar.subscription, "stream-processor");
    assert_eq!(config.pulsar.consumer_name, "host-1");
    assert!(matches!(config.pulsar.auth, PulsarAuth::None));
    assert!(matches!(config.storage.streams.backend, StorageBackend::Filesystem));
    assert_eq!(config.storage.streams.base_path, PathBuf::from("/storage/streams"));
    assert_eq!(config.processing.max_workers, 50);
    assert_eq!(config.processing.segment_duration_secs, 30);
    assert_eq!(config.processing.frames_per_segment, 6);
    assert_eq!(config.processing.retention_hours, 24);
    assert_eq!(config.processing.video_width, 1920);
    assert_eq!(config.processing.container, Container::Ts);
    assert_eq!(config.processing.playback, Playback::Realtime);
    assert!(!config.redis.enabled && !config.redis.playlist_enabled);
    assert!(config.metrics.enabled);
    assert_eq!(config.metrics.listen, "0.0.0.0:9090".parse().unwrap());
    assert!(config.archive.enabled);
    assert_eq!(config.archive.retention_days, 7);
    assert_eq!(config.archive.max_session_duration, Some(Duration::from_secs(7200)));
    assert!(!config.watermark.enabled);
    assert_eq!(config.watermark.look, Watermark { position: Corner::TopRight, font_size_px: 24 });
    let captions = config.watermark.captions;
    assert_eq!((captions.format.as_str(), captions.show_zone), ("%Y-%m-%d %H:%M:%S", true));
    assert_eq!(captions.zone, CaptionZone::Fixed(jiff::tz::TimeZone::UTC));
    assert_eq!(config.log.filter, LogFilter::Level("info"));
    assert!(resolve(&Sources::default()).unwrap().notices.is_empty());
}

#[test]
fn every_default_is_a_value_that_its_setting_takes() {
    for setting in settings() {
        if let Some(default) = setting.default {
            assert!(setting.takes.accepts(default), "{setting:?}");
        }
    }
}

#[test]
fn every_flag_is_called_like_its_variable_and_no_name_is_there_twice() {
    let mut seen = std::collections::BTreeSet::new();
    for setting in settings() {
        assert_eq!(setting.flag, setting.variable.to_lowercase().replace('_', "-"));
        assert!(seen.insert(setting.variable), "{} twice", setting.variable);
    }
}

#[test]
fn a_bad_value_names_its_variable_its_flag_what_was_given_and_what_it_takes() {
    for setting in settings() {
        let bad = bad_value(&setting.takes);
        let problems = problems(&[(setting.variable, bad)]);
        let [problem] = problems.as_slice() else {
            panic!("{}: {problems:?}", setting.variable);
        };
        let text = problem.to_string();
        assert!(text.starts_with(&format!("{} (--{})", setting.variable, setting.flag)), "{text}");
        assert!(text.contains(&setting.takes.to_string()), "{text}");
        assert_eq!(text.contains(&format!("{bad:?}")), !setting.secret, "{text}");
    }
}

#[test]
fn every_word_that_a_setting_lists_means_something() {
    for setting in settings() {
        let Takes::OneOf(words) = setting.takes else { continue };
        for word in words {
            // Other problems may follow from it: a bucket that is missing.
            let result = resolve(&environment(&[(setting.variable, &word.to_uppercase())]));
            if let Err(ConfigError::Invalid(problems)) = result {
                let by_itself = |p: &Problem| matches!(p, Problem::Value { .. });
                assert!(!problems.iter().any(by_itself), "{problems:?}");
            }
        }
    }
}

#[test]
fn all_bad_values_are_told_at_once() {
    let problems = problems(&[
        ("PROCESSING_MAX_WORKERS", "0"),
        ("METRICS_PORT", "65536"),
        ("LOG_FORMAT", "xml"),
    ]);
    assert_eq!(problems.len(), 3, "{problems:?}");
    let text = ConfigError::Invalid(problems).to_string();
    assert!(text.starts_with("3 settings are not right:\n"), "{text}");
}

#[test]
fn a_flag_beats_the_environment_which_beats_the_file_which_beats_the_command() {
    let file = EnvFile::parse(Path::new(".env"), "PULSAR_TOPIC=persistent://a/b/file").unwrap();
    let mut sources = Sources {
        command_defaults: &[("PULSAR_TOPIC", "persistent://a/b/command")],
        ..Sources::default()
    };
    let topic = |sources: &Sources| resolve(sources).unwrap().config.pulsar.topic;
    assert_eq!(topic(&sources), "persistent://a/b/command");
    sources.file = Some(file);
    assert_eq!(topic(&sources), "persistent://a/b/file");
    sources.environment.insert("PULSAR_TOPIC".into(), "persistent://a/b/environment".into());
    assert_eq!(topic(&sources), "persistent://a/b/environment");
    sources.flags = BTreeMap::from([("PULSAR_TOPIC", "persistent://a/b/flag".into())]);
    assert_eq!(topic(&sources), "persistent://a/b/flag");
}

#[test]
fn an_empty_value_leaves_the_word_to_the_weaker_source() {
    let mut sources = environment(&[("PULSAR_SUBSCRIPTION", " "), ("REDIS_URL", "")]);
    assert_eq!(resolve(&sources).unwrap().config.pulsar.subscription, "stream-processor");
    sources.file = Some(EnvFile::parse(Path::new("x"), "PULSAR_SUBSCRIPTION=two").unwrap());
    let config = resolve(&sources).unwrap().config;
    assert_eq!(config.pulsar.subscription, "two");
    assert!(config.redis.url.is_none());
    sources.file = Some(EnvFile::parse(Path::new("x"), "PULSAR_SUBSCRIPTION=\n").unwrap());
    assert_eq!(resolve(&sources).unwrap().config.pulsar.subscription, "stream-processor");
}

#[test]
fn the_complaint_says_which_source_is_to_be_mended() {
    let file = EnvFile::parse(Path::new("conf/.env"), "LOG_FORMAT=xml").unwrap();
    let mut sources = Sources { file: Some(file), ..Sources::default() };
    let text = |sources: &Sources| resolve(sources).unwrap_err().to_string();
    assert!(text(&sources).contains("conf/.env says \"xml\""), "{}", text(&sources));
    sources.environment.insert("LOG_FORMAT".into(), "yml".into());
    assert!(text(&sources).contains("the environment says \"yml\""), "{}", text(&sources));
}

#[test]
fn a_line_of_the_file_that_means_nothing_is_named_by_number_and_never_shown() {
    let error = EnvFile::parse(Path::new(".env"), "LOG_LEVEL=INFO\n\nhunter2 is it\n").unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(text.contains("line 3 of .env") && !text.contains("hunter2"), "{text}");
}

#[test]
fn a_file_with_a_byte_order_mark_and_quotes_is_read() {
    let text = "\u{feff}WATERMARK_FORMAT='%Y-%m-%d %H:%M'\r\nLOG_LEVEL=debug # more\r\n";
    let file = EnvFile::parse(Path::new(".env"), text).unwrap();
    assert_eq!(file.variables["WATERMARK_FORMAT"], "%Y-%m-%d %H:%M");
    assert_eq!(file.variables["LOG_LEVEL"], "debug");
}

#[cfg(unix)]
#[test]
fn a_value_that_is_not_text_is_a_bad_value() {
    use std::os::unix::ffi::OsStringExt;
    let bytes = std::ffi::OsString::from_vec(vec![0xff, 0xfe]);
    let mut sources = Sources::default();
    sources.environment.insert("STORAGE_BASE_PATH".into(), bytes);
    let text = resolve(&sources).unwrap_err().to_string();
    assert!(text.contains("STORAGE_BASE_PATH") && text.contains("not text"), "{text}");
}

#[test]
fn an_unknown_variable_is_warned_about_wherever_it_is() {
    let file = EnvFile::parse(Path::new(".env"), "STORAGE_BASEPATH=/x\nOTHERS=1").unwrap();
    let mut sources = environment(&[("PROCESSING_MAX_WORKER", "3"), ("HOME", "/root")]);
    sources.file = Some(file);
    assert_eq!(
        resolve(&sources).unwrap().notices,
        [
            "PROCESSING_MAX_WORKER is not known; did you mean PROCESSING_MAX_WORKERS?",
            "STORAGE_BASEPATH in .env is not known; did you mean STORAGE_BASE_PATH?",
        ]
    );
}

#[test]
fn what_kubernetes_sets_for_services_called_like_our_groups_changes_nothing() {
    let links = [
        ("REDIS_PORT", "tcp://10.96.0.7:6379"),
        ("REDIS_SERVICE_HOST", "10.96.0.7"),
        ("REDIS_PORT_6379_TCP_ADDR", "10.96.0.7"),
        ("METRICS_PORT", "tcp://10.96.0.8:9090"),
        ("PULSAR_PORT", "tcp://10.96.0.9:6650"),
    ];
    assert_eq!(config(&links).metrics.listen.port(), 9090);
    assert!(notices(&links).is_empty(), "{:?}", notices(&links));
}

#[test]
fn a_command_is_not_stopped_by_settings_that_it_does_not_use() {
    let sources = environment(&[("STORAGE_TYPE", "s3"), ("PULSAR_TOPIK", "x"), ("LOG_LEVEL", "x")]);
    let result = Config::resolve(&sources, &[Group::Processing], "host-1").unwrap();
    assert!(result.notices.is_empty(), "{:?}", result.notices);
    assert!(matches!(result.config.storage.streams.backend, StorageBackend::Filesystem));
}

#[test]
fn secrets_are_neither_in_the_debug_form_nor_in_complaints() {
    let secret = [
        ("PULSAR_AUTH_TOKEN", "hunter2"),
        ("REDIS_URL", "redis://:hunter2@redis:6379/0"),
        ("ARCHIVE_DATABASE_URL", "postgres://me:hunter2@db/archive"),
        ("STORAGE_S3_SECRET_ACCESS_KEY", "hunter2"),
    ];
    let sources = environment(&secret);
    let resolved = resolve(&sources).unwrap();
    let shown = format!("{resolved:?} {sources:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
    let PulsarAuth::Token(token) = resolved.config.pulsar.auth else { panic!("no token") };
    assert_eq!(token.expose(), "hunter2");

    for (variable, bad) in [
        ("REDIS_URL", "hunter2://x"),
        ("PULSAR_SERVICE_URL", "http://me:hunter2@broker:6650"),
        ("PULSAR_ADMIN_URL", "http://me:hunter2@broker:8080"),
        ("PULSAR_AUTH_TOKEN", "hunter2\nhunter2"),
    ] {
        let text = ConfigError::Invalid(problems(&[(variable, bad)]));
        assert!(!format!("{text} {text:?}").contains("hunter2"), "{text}");
    }
}

/// Settings that do not go together, and what the complaint has to name.
type Rule = (&'static [(&'static str, &'static str)], &'static [&'static str]);

const RULES: &[Rule] = &[
    (
        &[("ARCHIVE_DATABASE_URL", "postgres://db/archive?sslmode=maybe")],
        &["ARCHIVE_DATABASE_URL", "sslmode"],
    ),
    (
        &[("PULSAR_AUTH_TOKEN", "t"), ("PULSAR_AUTH_TOKEN_FILE", "/t")],
        &["PULSAR_AUTH_TOKEN", "PULSAR_AUTH_TOKEN_FILE"],
    ),
    (
        &[("PULSAR_OAUTH2_ISSUER_URL", "https://issuer")],
        &["PULSAR_OAUTH2_ISSUER_URL", "PULSAR_OAUTH2_CREDENTIALS_FILE"],
    ),
    (
        &[("PROCESSING_MAX_FRAMES_HELD", "100")],
        &["PROCESSING_MAX_FRAMES_HELD_PER_DEVICE (600)", "PROCESSING_MAX_FRAMES_HELD (100)"],
    ),
    (
        &[("PROCESSING_MAX_FRAMES_HELD_PER_DEVICE", "5")],
        &["PROCESSING_FRAMES_PER_SEGMENT (6)", "PROCESSING_MAX_FRAMES_HELD_PER_DEVICE (5)"],
    ),
    (
        &[("PROCESSING_DEVICE_IDLE_SECONDS", "60"), ("PROCESSING_SEGMENT_DURATION_SECONDS", "90")],
        &["PROCESSING_SEGMENT_DURATION_SECONDS (90)", "PROCESSING_DEVICE_IDLE_SECONDS (60)"],
    ),
    (
        &[("ARCHIVE_MIN_SESSION_DURATION_SECONDS", "8000")],
        &["ARCHIVE_MIN_SESSION_DURATION_SECONDS (8000)", "(7200)"],
    ),
    (&[("REDIS_ENABLED", "true")], &["REDIS_ENABLED", "REDIS_URL"]),
    (&[("STORAGE_FRAMES_TYPE", "s3")], &["STORAGE_S3_BUCKET", "STORAGE_FRAMES_TYPE"]),
    (
        &[("STORAGE_FRAMES_TYPE", "azure"), ("STORAGE_FRAMES_BUCKET", "c")],
        &["STORAGE_AZURE_ACCOUNT"],
    ),
    (&[("STORAGE_TYPE", "gcs")], &["STORAGE_GCS_BUCKET", "STORAGE_TYPE"]),
];

#[test]
fn settings_that_do_not_go_together_are_refused_by_name() {
    for (given, named) in RULES {
        let text = ConfigError::Invalid(problems(given)).to_string();
        assert!(named.iter().all(|name| text.contains(name)), "{given:?}: {text}");
    }
}

#[test]
fn a_bad_value_brings_no_second_complaint_about_what_nobody_gave() {
    let problems = problems(&[
        ("PROCESSING_MAX_FRAMES_HELD_PER_DEVICE", "many"),
        ("PROCESSING_MAX_FRAMES_HELD", "100"),
    ]);
    assert_eq!(problems.len(), 1, "{problems:?}");
}

#[test]
fn a_session_that_is_never_cut_goes_with_any_shortest_one() {
    let config = config(&[
        ("ARCHIVE_MIN_SESSION_DURATION_SECONDS", "8000"),
        ("ARCHIVE_MAX_SESSION_DURATION_SECONDS", "0"),
    ]);
    assert_eq!(config.archive.max_session_duration, None);
}

#[test]
fn frames_are_where_segments_go_unless_they_are_said_to_be_elsewhere() {
    let s3 = [("STORAGE_TYPE", "s3"), ("STORAGE_S3_BUCKET", "b"), ("STORAGE_BASE_PATH", "/fleet")];
    let storage = config(&s3).storage;
    assert_eq!(
        (storage.streams.to_string().as_str(), storage.frames.is_none()),
        ("s3://b/fleet", true)
    );
    let of = |more: &[(&str, &str)]| {
        let given: Vec<_> = s3.iter().chain(more).copied().collect();
        config(&given).storage.frames.map(|place| place.to_string())
    };
    assert_eq!(of(&[("STORAGE_FRAMES_TYPE", "same")]), None);
    assert_eq!(of(&[("STORAGE_FRAMES_BUCKET", "jpegs")]).as_deref(), Some("s3://jpegs/fleet"));
    let folder = [("STORAGE_FRAMES_TYPE", "filesystem"), ("STORAGE_FRAMES_BASE_PATH", "/jpegs")];
    assert_eq!(of(&folder).as_deref(), Some("/jpegs"));
    let gcs = [("STORAGE_FRAMES_TYPE", "gcs"), ("STORAGE_FRAMES_BUCKET", "g")];
    assert_eq!(of(&gcs).as_deref(), Some("gs://g/fleet"));
}

#[test]
fn a_watermark_is_where_and_in_the_zone_that_was_asked_for() {
    let watermark = config(&[
        ("WATERMARK_ENABLED", "true"),
        ("WATERMARK_POSITION", "bottom_left"),
        ("WATERMARK_FONT_SIZE", "200"),
        ("WATERMARK_TIMEZONE", "america/santiago"),
        ("WATERMARK_SHOW_TIMEZONE", "no"),
    ])
    .watermark;
    assert!(watermark.enabled && !watermark.captions.show_zone);
    assert_eq!(watermark.look, Watermark { position: Corner::BottomLeft, font_size_px: 200 });
    let CaptionZone::Fixed(zone) = watermark.captions.zone else { panic!("not a zone") };
    assert_eq!(zone.iana_name(), Some("America/Santiago"));
    let frame = config(&[("WATERMARK_TIMEZONE", "Frame")]).watermark.captions.zone;
    assert_eq!(frame, CaptionZone::Frame);
}

#[test]
fn a_time_zone_that_nobody_knows_is_told_at_the_start() {
    let text = ConfigError::Invalid(problems(&[("WATERMARK_TIMEZONE", "America/Atlantis")]));
    let text = text.to_string();
    assert!(text.contains("WATERMARK_TIMEZONE") && text.contains("\"America/Atlantis\""), "{text}");
}

#[test]
fn a_timelapse_has_its_frame_rate() {
    let given = [("PROCESSING_PLAYBACK", "timelapse"), ("PROCESSING_TIMELAPSE_FRAME_RATE", "25")];
    assert_eq!(config(&given).processing.playback, Playback::Timelapse { frame_rate: 25 });
}

#[test]
fn each_way_to_log_in_is_understood() {
    let file = config(&[("PULSAR_AUTH_TOKEN_FILE", "/run/token")]).pulsar.auth;
    assert!(matches!(file, PulsarAuth::TokenFile(path) if path == Path::new("/run/token")));
    let oauth2 = config(&[
        ("PULSAR_OAUTH2_ISSUER_URL", "https://issuer"),
        ("PULSAR_OAUTH2_CREDENTIALS_FILE", "/run/key.json"),
        ("PULSAR_OAUTH2_AUDIENCE", "urn:frames"),
    ]);
    let PulsarAuth::OAuth2 { audience, scope, .. } = oauth2.pulsar.auth else { panic!("none") };
    assert_eq!((audience.as_deref(), scope), (Some("urn:frames"), None));
}
