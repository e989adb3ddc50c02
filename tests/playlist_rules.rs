//! Random lives of a playlist: every version keeps the rules, by a checker that shares no code
//! with it, and is read back as it was.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may panic.

#[path = "support/history.rs"]
mod history;

use std::time::Duration;

use history::HistoryChecker;
use proptest::prelude::*;
use stream_processor::media::Container;
use stream_processor::model::UtcMillis;
use stream_processor::playlist::{NewEntry, Window};

const TARGET_SECS: u32 = 10;

/// One segment: how long it is, the silence before it, how late it is committed.
#[derive(Clone, Debug)]
struct Step {
    duration_millis: u32,
    silence_millis: i64,
    drift_millis: i64,
    late_millis: i64,
    format: Option<u8>,
    trim: bool,
}

fn step() -> impl Strategy<Value = Step> {
    (
        // Longer than two drifts: capture times ascend from segment to segment.
        1_000_u32..=10_499,
        prop_oneof![4 => Just(0_i64), 1 => 1_000_i64..100_000],
        prop_oneof![3 => -99_i64..=99, 1 => -400_i64..=400],
        prop_oneof![3 => 0_i64..50_000, 1 => 0_i64..90_000_000],
        0_u8..20,
        any::<bool>(),
    )
        .prop_map(
            |(duration_millis, silence_millis, drift_millis, late_millis, format, trim)| Step {
                duration_millis,
                silence_millis,
                drift_millis,
                late_millis,
                format: (format < 2).then_some(format),
                trim,
            },
        )
}

/// Lives through `steps` and hands every version to `see`.
fn live(steps: &[Step], retention: Duration, mut see: impl FnMut(&Window)) {
    let mut window = Window::new(TARGET_SECS, 7, 3);
    let mut end = UtcMillis(1_769_846_400_000);
    let (mut now, mut format) = (end, 0);
    for step in steps {
        let discontinuity = step.silence_millis > 0 || step.format.is_some();
        format = step.format.unwrap_or(format);
        let start = end.plus_millis(step.silence_millis);
        end = start.plus_millis(i64::from(step.duration_millis));
        now = now.max(end.plus_millis(step.late_millis));
        let new = NewEntry {
            number: window.next_number(),
            container: Container::Fmp4,
            init: Some(format!("init_{format}.mp4").into()),
            duration_millis: step.duration_millis,
            discontinuity,
            captured_at: start.plus_millis(step.drift_millis),
            committed_at: now,
        };
        window.push(new).unwrap();
        if step.trim {
            window.trim(now, retention);
        }
        see(&window);
    }
}

proptest! {
    #[test]
    fn every_version_of_a_random_life_keeps_the_rules(
        steps in prop::collection::vec(step(), 1..80),
        retention_secs in 0_u64..400,
    ) {
        let mut checker = HistoryChecker::of_texts();
        live(&steps, Duration::from_secs(retention_secs), |window| checker.feed(&window.render()));
        checker.assert_clean();
    }

    #[test]
    fn every_version_of_a_random_life_is_read_back_as_it_was(
        steps in prop::collection::vec(step(), 1..60),
        retention_secs in 0_u64..400,
    ) {
        live(&steps, Duration::from_secs(retention_secs), |window| {
            let text = window.render();
            let read = Window::parse(&text).unwrap();
            assert_eq!(&read, window);
            assert_eq!(read.render(), text);
        });
    }

    #[test]
    fn whatever_is_read_is_what_we_would_have_written(
        steps in prop::collection::vec(step(), 1..20),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut text = String::new();
        live(&steps, Duration::from_secs(100), |window| text = window.render());
        let mut bytes = text.into_bytes();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let text = String::from_utf8_lossy(&bytes);
        if let Ok(window) = Window::parse(&text) {
            assert_eq!(window.render(), text);
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "(?s).{0,400}", lines in prop::collection::vec(
        "#EXTM3U|#EXT-X-VERSION:6|#EXT-X-TARGETDURATION:[0-9]{1,20}|#EXT-X-MEDIA-SEQUENCE:[0-9]{1,20}\
         |#EXT-X-DISCONTINUITY-SEQUENCE:[0-9]{1,20}|#EXT-X-INDEPENDENT-SEGMENTS\
         |#EXT-X-DISCONTINUITY|#EXT-X-MAP:URI=\"[a-z/._]{0,20}\"|#EXTINF:[0-9.]{1,14},\
         |#EXT-X-PROGRAM-DATE-TIME:[-+0-9TZ:.]{0,30}|#SP-COMMITTED:-?[0-9]{1,20}\
         |segments/seg_[0-9]{1,22}\\.(ts|m4s)", 0..20)
    ) {
        let _ = Window::parse(&text);
        let _ = Window::parse(&(lines.join("\n") + "\n"));
        let head = "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:10\n\
                    #EXT-X-MEDIA-SEQUENCE:18446744073709551614\n#EXT-X-DISCONTINUITY-SEQUENCE:0\n\
                    #EXT-X-INDEPENDENT-SEGMENTS\n";
        let _ = Window::parse(&(head.to_owned() + &lines.join("\n") + "\n"));
    }
}
