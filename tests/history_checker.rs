//! The checker of playlist histories is itself checked: a right history passes, and each rule
//! has a broken one that it must catch.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may panic.

#[path = "support/history.rs"]
mod history;

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use history::watch::Watcher;
use history::{HistoryChecker, Rule};

/// A playlist of segments `from..to`, 10 s each, every third one after a discontinuity.
fn version(from: u64, to: u64) -> String {
    let gone = (0..from).filter(|number| number % 3 == 0).count();
    let mut text = format!(
        "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:10\n#EXT-X-MEDIA-SEQUENCE:{from}\n\
         #EXT-X-DISCONTINUITY-SEQUENCE:{gone}\n#EXT-X-MAP:URI=\"init_a.mp4\"\n"
    );
    for number in from..to {
        if number % 3 == 0 {
            let (minute, second) = (number / 6, number % 6 * 10);
            let _ = write!(
                text,
                "#EXT-X-DISCONTINUITY\n\
                 #EXT-X-PROGRAM-DATE-TIME:2026-01-31T08:{minute:02}:{second:02}.000Z\n"
            );
        }
        let _ = write!(text, "#EXTINF:10.000,\nseg_{number}.m4s\n");
    }
    text
}

/// The rules that a history breaks.
fn broken(versions: &[String]) -> Vec<Rule> {
    let mut checker = HistoryChecker::of_texts();
    for text in versions {
        checker.feed(text);
    }
    checker.breaches().iter().map(|breach| breach.rule).collect()
}

/// Breaks one version of a right history by a replacement, at least one of which must be made.
fn edited(versions: &[String], index: usize, find: &str, put: &str) -> Vec<Rule> {
    let mut versions = versions.to_vec();
    let text = versions[index].replacen(find, put, 1);
    assert_ne!(text, versions[index], "{find:?} is not in version {index}");
    versions[index] = text;
    broken(&versions)
}

fn right() -> Vec<String> {
    vec![version(0, 4), version(0, 5), version(1, 6), version(4, 9), version(4, 9), version(5, 11)]
}

#[test]
fn a_right_history_passes() {
    assert_eq!(broken(&right()), []);
    let mut checker = HistoryChecker::of_texts();
    right().iter().for_each(|text| checker.feed(text));
    assert_eq!((checker.versions(), checker.listed().len()), (5, 11));
    checker.assert_clean();
}

#[test]
#[should_panic(expected = "no version of the playlist was seen")]
fn a_history_without_versions_does_not_pass() {
    HistoryChecker::of_texts().assert_clean();
}

#[test]
fn each_rule_of_a_single_version_is_caught() {
    for (find, put, rule) in [
        ("#EXTM3U\n", "", Rule::Syntax),
        ("#EXTINF:10.000,\nseg_2", "seg_2", Rule::Syntax),
        ("#EXT-X-TARGETDURATION:10\n", "", Rule::Syntax),
        ("seg_3.m4s\n", "", Rule::Syntax),
        ("#EXT-X-VERSION:6", "#EXT-X-VERSION:5", Rule::Version),
        ("#EXTINF:10.000", "#EXTINF:10.500", Rule::TooLong),
        ("#EXT-X-VERSION:6", "#EXT-X-VERSION:6\n#EXT-X-PLAYLIST-TYPE:EVENT", Rule::NotLive),
        ("seg_3.m4s\n", "seg_3.m4s\n#EXT-X-ENDLIST\n", Rule::NotLive),
        ("seg_3.m4s", "seg_2.m4s", Rule::Repeated),
        ("#EXT-X-PROGRAM-DATE-TIME:2026-01-31T08:00:30.000Z\n", "", Rule::DateTime),
        ("08:00:30.000Z", "08:00:30.000", Rule::DateTime),
        ("08:00:30.000Z", "08:00:30Z", Rule::DateTime),
        ("08:00:30.000Z", "08:00:15.000Z", Rule::Ascending),
    ] {
        assert_eq!(edited(&[version(0, 4)], 0, find, put).first(), Some(&rule), "{find:?}");
    }
    let undated = version(1, 3);
    assert_eq!(broken(&[undated]), [Rule::DateTime]);
}

#[test]
fn each_rule_between_versions_is_caught() {
    let right = right();
    for (index, find, put, rule) in [
        (1, "TARGETDURATION:10", "TARGETDURATION:11", Rule::TargetDuration),
        (1, "VERSION:6", "VERSION:7", Rule::Version),
        (1, "MEDIA-SEQUENCE:0", "MEDIA-SEQUENCE:1", Rule::DiscontinuitySequence),
        (2, "MEDIA-SEQUENCE:1", "MEDIA-SEQUENCE:0", Rule::DiscontinuitySequence),
        (2, "MEDIA-SEQUENCE:1", "MEDIA-SEQUENCE:9", Rule::MediaSequence),
        (2, "DISCONTINUITY-SEQUENCE:1", "DISCONTINUITY-SEQUENCE:0", Rule::DiscontinuitySequence),
        (2, "DISCONTINUITY-SEQUENCE:1", "DISCONTINUITY-SEQUENCE:2", Rule::DiscontinuitySequence),
        (1, "#EXTINF:10.000", "#EXTINF:9.900", Rule::Changed),
        (1, "seg_2.m4s", "seg_02.m4s", Rule::MediaSequence),
        (1, "init_a.mp4", "init_b.mp4", Rule::Changed),
        (1, "08:00:30.000Z", "08:00:30.001Z", Rule::Changed),
        (1, "#EXTINF:10.000", "#EXT-X-GAP\n#EXTINF:10.000", Rule::Changed),
        (4, "seg_8.m4s", "seg_3.m4s", Rule::MediaSequence),
    ] {
        let rules = edited(&right, index, find, put);
        assert!(rules.contains(&rule), "version {index}, {find:?}: {rules:?}");
    }
}

#[test]
fn a_step_back_a_shrinking_end_and_a_repeated_file_are_caught() {
    assert_eq!(broken(&[version(3, 9), version(2, 9)])[0], Rule::MediaSequence);
    assert_eq!(broken(&[version(0, 6), version(0, 5)]), [Rule::MediaSequence]);
    assert_eq!(broken(&[version(0, 6), version(7, 12)])[0], Rule::MediaSequence);
    let again = version(3, 8).replace("seg_7", "seg_1");
    assert_eq!(broken(&[version(0, 5), again]), [Rule::Repeated]);
}

#[test]
fn a_removal_that_leaves_less_than_three_target_durations_is_caught() {
    assert_eq!(broken(&[version(0, 5), version(3, 5)]), [Rule::TooShort]);
    assert_eq!(broken(&[version(0, 1), version(0, 2)]), [], "nothing was removed");
}

#[test]
fn missing_growing_and_mismeasured_files_are_caught() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: usize| {
        std::fs::write(folder.path().join(name), vec![0; bytes]).unwrap();
    };
    for name in ["init_a.mp4", "seg_0.m4s", "seg_1.m4s", "seg_2.m4s"] {
        file(name, 100);
    }
    let mut checker = HistoryChecker::of_folder(folder.path());
    checker.feed(&version(0, 3));
    assert_eq!(checker.breaches(), []);
    checker.expect_size("seg_0.m4s", 100);
    assert_eq!(checker.breaches(), []);
    checker.expect_size("seg_0.m4s", 101);
    assert_eq!(checker.breaches().len(), 1);
    checker.feed(&version(0, 4));
    assert_eq!(checker.breaches().len(), 2, "seg_3.m4s is missing");
    file("seg_1.m4s", 200);
    let breaches = checker.finish().breaches().to_vec();
    assert_eq!(breaches.len(), 3, "seg_1.m4s has grown: {breaches:?}");
    assert!(breaches.iter().all(|breach| breach.rule == Rule::File));
}

#[test]
fn the_watcher_sees_what_is_published() {
    let folder = tempfile::tempdir().unwrap();
    let watcher = Watcher::of(folder.path());
    for text in [version(0, 3), version(0, 2)] {
        std::fs::write(folder.path().join("next"), text).unwrap();
        std::fs::rename(folder.path().join("next"), folder.path().join("playlist.m3u8")).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let checker = watcher.stop();
    assert_eq!(checker.versions(), 2);
    assert!(checker.breaches().iter().any(|breach| breach.rule == Rule::MediaSequence));
}

/// A transport stream of three pictures, half a second each, from `start` on.
fn media(folder: &Path, name: &str, start: &str) {
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-f", "lavfi", "-i", "testsrc=size=64x64:rate=2"])
        .args(["-frames:v", "3", "-c:v", "libx264", "-preset", "ultrafast", "-bf", "0"])
        .args(["-output_ts_offset", start, "-muxdelay", "0", "-muxpreload", "0", "-f", "mpegts"])
        .arg(folder.join(name))
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn timestamps_that_jump_and_durations_that_are_not_the_files_are_caught() {
    let folder = tempfile::tempdir().unwrap();
    for (number, start) in ["10", "11.5", "13", "40"].into_iter().enumerate() {
        media(folder.path(), &format!("seg_{number}.ts"), start);
    }
    let judged = |last: &str, extinf: &str| {
        let mut text = String::from(
            "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n\
             #EXT-X-PROGRAM-DATE-TIME:2026-01-31T08:00:00.000Z\n",
        );
        for file in ["seg_0.ts", "seg_1.ts", last] {
            let _ = write!(text, "#EXTINF:{extinf},\n{file}\n");
        }
        let mut checker = HistoryChecker::of_folder(folder.path());
        checker.feed(&text);
        assert_eq!(checker.breaches(), []);
        checker.check_media();
        checker.breaches().iter().map(|breach| breach.rule).collect::<Vec<_>>()
    };
    assert_eq!(judged("seg_2.ts", "1.500"), []);
    assert_eq!(judged("seg_3.ts", "1.500"), [Rule::Timestamps]);
    assert!(judged("seg_2.ts", "1.400").contains(&Rule::Timestamps));
    assert!(judged("seg_2.ts", "1.800").contains(&Rule::Timestamps));
}
