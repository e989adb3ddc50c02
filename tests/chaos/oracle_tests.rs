//! The oracle is tested by results that a pipeline could have left if it were broken: a true one
//! is made by the real encoder and the real store, and then broken in one way.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use stream_processor::demo::Scene;
use stream_processor::encode::{EncodeJob, EncoderPool, JobFrame, StreamSoFar};
use stream_processor::model::{DeviceKey, EventId, UtcMillis};
use stream_processor::store::layout::hls_folder;
use stream_processor::store::{FrameRecord, NewSegment, Store, StoreSettings};

use super::encoder::{encode_settings, pool_settings};
use super::history::HistoryChecker;
use super::oracle::acks::{Acked, owed, too_early};
use super::oracle::frames::Letters;
use super::oracle::ledger::{Ledger, Published};
use super::oracle::{Evidence, Finding, Wrong};

const INTERVAL_MILLIS: i64 = 5_000;
const SEGMENTS: i64 = 6;
const FRAMES: i64 = 3;
/// Before the fourth segment the camera was silent for this long.
const SILENCE_MILLIS: i64 = 60_000;
const START: UtcMillis = UtcMillis(1_795_000_000_000);

/// A result, and what was published.
struct Result {
    base: tempfile::TempDir,
    device: DeviceKey,
    ledger: Ledger,
    letters: Letters,
    /// Every version of the playlist.
    versions: Vec<String>,
}

impl Result {
    /// A true one.
    async fn new() -> Self {
        let base = tempfile::tempdir().unwrap();
        let store = Store::at(base.path(), StoreSettings::default()).unwrap();
        let pool = EncoderPool::start(pool_settings(1, encode_settings())).await.unwrap();
        let device = DeviceKey::new("acme", "gate").unwrap();
        let scene = Scene::new(1, 160, 90, false).unwrap();
        let mut result = Self {
            base,
            device: device.clone(),
            ledger: Ledger::default(),
            letters: Letters::new(),
            versions: Vec::new(),
        };
        let mut state = store.open(&device).await.unwrap();
        for number in 0..SEGMENTS {
            let silence = if number >= 3 { SILENCE_MILLIS } else { 0 };
            let at = |index: i64| {
                START.plus_millis((number * FRAMES + index) * INTERVAL_MILLIS + silence)
            };
            let frames = (0..FRAMES).map(|index| JobFrame {
                captured_at: at(index),
                jpeg: Bytes::from(scene.jpeg(at(index), "gate").unwrap()),
                caption: None,
            });
            let stream = StreamSoFar { timeline: state.timeline, max_segment_millis: u32::MAX };
            let job = EncodeJob { stream, frames: frames.collect() };
            let outcome = pool.encode(job).await.unwrap();
            let [segment] = <[_; 1]>::try_from(outcome.segments).unwrap();
            let records: Vec<_> = (0..FRAMES)
                .map(|index| FrameRecord {
                    event_id: EventId::new(&format!("e{:02}", number * FRAMES + index)).unwrap(),
                    captured_at: at(index),
                    file: None,
                })
                .collect();
            for (index, record) in records.iter().enumerate() {
                let published = Arc::new(Published {
                    device: device.clone(),
                    event_id: record.event_id.clone(),
                    captured_at: record.captured_at,
                    published_at: record.captured_at.plus_millis(100),
                });
                let entry = (7, number * FRAMES + i64::try_from(index).unwrap());
                result.ledger.events.push(Arc::clone(&published));
                result.ledger.entries.insert(entry, vec![published]);
            }
            let segment = NewSegment {
                media: segment.media,
                init: segment.init,
                duration_millis: segment.duration_millis,
                captured_at: segment.captured_at,
                discontinuity: segment.discontinuity,
                begins_session: number == 0,
                frame_bytes: 0,
                frames: records,
            };
            let now = at(FRAMES);
            let committed = store.commit(&device, &state, vec![segment], outcome.timeline, now);
            state = committed.await.unwrap();
            result.versions.push(std::fs::read_to_string(result.hls("playlist.m3u8")).unwrap());
        }
        pool.close().await;
        result
    }

    fn hls(&self, file: &str) -> PathBuf {
        self.base.path().join(hls_folder(&self.device)).join(file)
    }

    /// Changes what the state says of the newest segments.
    fn change_records(&self, change: impl FnOnce(&mut Vec<Value>)) {
        let file = self.hls("state.json");
        let mut state: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        change(state["recent"].as_array_mut().unwrap());
        std::fs::write(file, serde_json::to_vec(&state).unwrap()).unwrap();
    }

    /// What the oracle finds.
    async fn judged(&self) -> Vec<Finding> {
        // A store of its own, that has nothing in memory.
        let store = Store::at(self.base.path(), StoreSettings::default()).unwrap();
        let mut playlists = HistoryChecker::of_folder(&self.hls(""));
        self.versions.iter().for_each(|version| playlists.feed(version));
        let evidence = Evidence {
            device: self.device.clone(),
            published: self.ledger.of(&self.device),
            records: store.committed_segments(&self.device).await.unwrap(),
            playlists,
            interval_millis: INTERVAL_MILLIS,
        };
        evidence.judge(&self.letters)
    }
}

/// The kinds that were found, and the ids of the first.
fn shown(findings: &[Finding]) -> (Vec<Wrong>, Vec<String>) {
    let mut kinds: Vec<_> = findings.iter().map(|finding| finding.wrong).collect();
    kinds.dedup();
    (kinds, findings.first().map_or_else(Vec::new, |finding| finding.ids.clone()))
}

fn ids(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test]
async fn nothing_is_found_where_nothing_is_wrong() {
    let result = Result::new().await;
    assert_eq!(result.judged().await, []);
    assert!(result.versions[5].contains("#EXT-X-DISCONTINUITY\n"), "there was a silence");
}

#[tokio::test]
async fn a_frame_that_no_segment_shows_is_lost() {
    let result = Result::new().await;
    result.change_records(|records| {
        records[1]["frames"].as_array_mut().unwrap().remove(1);
    });
    let findings = result.judged().await;
    assert_eq!(shown(&findings), (vec![Wrong::Lost], ids(&["e04"])));
    assert_eq!(findings[0].at, result.ledger.events[4].published_at);
}

#[tokio::test]
async fn a_frame_that_is_shown_twice_is_found() {
    let result = Result::new().await;
    result.change_records(|records| {
        let again = records[1]["frames"][2].clone();
        records[2]["frames"].as_array_mut().unwrap().insert(0, again);
    });
    let (kinds, which) = shown(&result.judged().await);
    assert!(kinds.contains(&Wrong::Duplicated), "{kinds:?}");
    assert_eq!(which, ids(&["e05"]));
}

#[tokio::test]
async fn a_frame_that_is_shown_and_refused_is_a_frame_too_many() {
    let mut result = Result::new().await;
    let id = result.ledger.events[7].event_id.clone();
    result.letters.insert(id, "late_frame: it is late".into());
    assert_eq!(shown(&result.judged().await), (vec![Wrong::Duplicated], ids(&["e07"])));
}

#[tokio::test]
async fn a_frame_that_is_refused_is_found_with_the_reason() {
    let mut result = Result::new().await;
    result.change_records(|records| {
        records[5]["frames"].as_array_mut().unwrap().remove(2);
    });
    let id = result.ledger.events[17].event_id.clone();
    result.letters.insert(id, "late_frame: it is late".into());
    let findings = result.judged().await;
    assert_eq!(shown(&findings), (vec![Wrong::Refused], ids(&["e17"])));
    assert!(findings[0].detail.starts_with("late_frame"), "{findings:?}");
}

#[tokio::test]
async fn frames_that_change_places_are_out_of_order() {
    let result = Result::new().await;
    result.change_records(|records| {
        let (one, other) = (records[1]["frames"][2].clone(), records[2]["frames"][0].clone());
        records[1]["frames"][2] = other;
        records[2]["frames"][0] = one;
    });
    let (kinds, which) = shown(&result.judged().await);
    assert_eq!((kinds[0], which), (Wrong::OutOfOrder, ids(&["e05", "e06"])));
}

#[tokio::test]
async fn a_frame_that_nobody_published_is_found() {
    let result = Result::new().await;
    result.change_records(|records| records[4]["frames"][1]["id"] = json!("another"));
    let (kinds, which) = shown(&result.judged().await);
    assert_eq!(kinds, [Wrong::Invented, Wrong::Lost]);
    assert_eq!(which, ids(&["another"]));
}

/// Every way in which a media file can be broken and still be there.
#[tokio::test]
async fn media_that_do_not_play_are_found() {
    let result = Result::new().await;
    let file = result.hls("segments/seg_000002.ts");
    let whole = std::fs::read(&file).unwrap();
    let other = std::fs::read(result.hls("segments/seg_000004.ts")).unwrap();
    let half = whole[..whole.len() / 2].to_vec();
    let mut scrambled = whole.clone();
    let from = whole.len() / 2;
    scrambled[from..from + 40].iter_mut().for_each(|byte| *byte ^= 0xff);
    for (what, media) in [
        ("half of it", half),
        ("another segment", other),
        ("scrambled", scrambled),
        ("without its first picture", headless(&file, &whole)),
        ("no video", b"not a video".to_vec()),
    ] {
        assert_ne!(media, whole, "{what}");
        std::fs::write(&file, media).unwrap();
        let findings = result.judged().await;
        assert!(findings.iter().any(|finding| finding.wrong == Wrong::Unplayable), "{what}");
        std::fs::write(&file, &whole).unwrap();
    }
}

/// The segment from its second picture on, which needs the first.
fn headless(file: &Path, whole: &[u8]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let cut = folder.path().join("cut.ts");
    let status = std::process::Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(file)
        .args(["-c", "copy", "-bsf:v", "noise=drop=eq(n\\,0)", "-copyts", "-f", "mpegts"])
        .arg(&cut)
        .status()
        .unwrap();
    assert!(status.success());
    let cut = std::fs::read(cut).unwrap();
    assert!(cut.len() > 188 && cut != whole);
    cut
}

#[tokio::test]
async fn a_silence_without_a_discontinuity_is_a_gap() {
    let mut result = Result::new().await;
    for version in &mut result.versions {
        // The tag, and the date that stands with it.
        let lines: Vec<_> = version.lines().collect();
        let mut kept = String::new();
        let mut after = false;
        for line in lines {
            let is_tag = line == "#EXT-X-DISCONTINUITY";
            if !(is_tag || after && line.starts_with("#EXT-X-PROGRAM-DATE-TIME")) {
                kept += line;
                kept.push('\n');
            }
            after = is_tag;
        }
        *version = kept;
    }
    let findings = result.judged().await;
    assert_eq!(findings[0].wrong, Wrong::Gap, "{findings:?}");
    assert_eq!(findings[0].ids[..2], ["seg_000003.ts", "e09"]);
}

#[tokio::test]
async fn a_silence_within_a_segment_is_a_gap() {
    let mut result = Result::new().await;
    // The third frame of the second segment was taken long after the second, and the next later.
    let late = |at: UtcMillis| if at.0 >= START.0 + 25_000 { at.plus_millis(20_000) } else { at };
    result.change_records(|records| {
        for frame in records.iter_mut().flat_map(|r| r["frames"].as_array_mut().unwrap()) {
            let at = frame["at"].as_i64().unwrap();
            frame["at"] = json!(late(UtcMillis(at)).0);
        }
    });
    result.letters.clear();
    let findings = result.judged().await;
    let first = findings.iter().find(|finding| finding.wrong == Wrong::Gap).expect("a gap");
    assert_eq!(first.ids[0], "seg_000001.ts");
}

#[tokio::test]
async fn a_playlist_that_breaks_a_rule_is_found_with_the_moment() {
    let mut result = Result::new().await;
    // The last two versions change places: the playlist steps back.
    result.versions.swap(4, 5);
    let findings = result.judged().await;
    assert!(findings.iter().any(|finding| finding.wrong == Wrong::PlaylistRule), "{findings:?}");
    assert!(findings.iter().all(|finding| finding.at.0 > 0));
    let named = Result::new().await;
    std::fs::remove_file(named.hls("segments/seg_000001.ts")).unwrap();
    let findings = named.judged().await;
    assert!(findings.iter().any(|finding| finding.wrong == Wrong::PlaylistRule), "{findings:?}");
}

/// The broker's figures for one subscription of one topic.
fn acked(up_to: &str, and: &str) -> Vec<Acked> {
    let cursor = json!({"markDeletePosition": up_to, "individuallyDeletedMessages": and});
    let stats = json!({"ledgers": [{"ledgerId": 7}], "cursors": {"workers": cursor}});
    vec![Acked::of(&stats, "workers").unwrap()]
}

#[tokio::test]
async fn what_is_acknowledged_before_it_is_durable_is_found() {
    let result = Result::new().await;
    // Three segments are durable, and the tenth frame is not.
    let is_durable = |id: &EventId| id.as_str() < "e09";
    let seen_at = UtcMillis(5);
    let early = |acked: Vec<Acked>| too_early(&result.ledger, &acked, is_durable, seen_at);
    assert_eq!(early(acked("7:8", "[]")), []);
    let findings = early(acked("7:8", "[(7:10..7:11]]"));
    assert_eq!(shown(&findings), (vec![Wrong::AckedTooEarly], ids(&["e11"])));
    assert_eq!((findings.len(), findings[0].at), (1, seen_at));
    assert_eq!(early(acked("7:9", "[]")).len(), 1);
}

#[tokio::test]
async fn what_the_broker_still_waits_for_is_found() {
    let result = Result::new().await;
    assert_eq!(owed(&result.ledger, &acked("7:17", "[]"), UtcMillis(5)), []);
    let findings = owed(&result.ledger, &acked("7:15", "[(7:16..7:17]]"), UtcMillis(5));
    assert_eq!(shown(&findings), (vec![Wrong::NotAcked], ids(&["e16"])));
}
