//! Clips and stills of a real stream, by the commands that a person types.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may panic.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use stream_processor::model::{DeviceKey, UtcMillis};
use stream_processor::store::{SegmentRecord, Store, StoreSettings};

/// A demonstration's streams, kept; removed when dropped.
struct Streams {
    folder: PathBuf,
}

impl Streams {
    fn film() -> Self {
        let output = command()
            .args(["demo", "--cameras=2", "--duration=14", "--port=0", "--keep"])
            .args(["--interval-secs=0.5", "--width=320", "--height=180"])
            .output()
            .expect("the demonstration");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let folder = said.lines().find_map(|line| line.strip_prefix("The streams are in "));
        Self { folder: folder.unwrap_or_else(|| panic!("{said}")).into() }
    }

    async fn records(&self, key: &DeviceKey) -> Vec<SegmentRecord> {
        let store = Store::at(&self.folder, StoreSettings::default()).unwrap();
        store.committed_segments(key).await.unwrap()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        command().args(arguments).env("STORAGE_BASE_PATH", &self.folder).output().expect("it runs")
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stream-processor"));
    let path = std::env::var("PATH").unwrap_or_default();
    command.env_clear().env("PATH", path).current_dir(std::env::temp_dir());
    command
}

/// What the video lasts, in seconds.
fn duration_secs(file: &Path) -> f64 {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v:0", "-show_entries", "stream=duration"])
        .args(["-of", "csv=p=0"])
        .arg(file)
        .output()
        .expect("ffprobe");
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().unwrap_or_else(|_| panic!("{text}"))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn a_piece_of_a_stream_is_a_file_exact_to_the_frame() {
    let streams = Streams::film();
    let store = Store::at(&streams.folder, StoreSettings::default()).unwrap();
    let key = store.devices().await.unwrap().remove(0);
    let (client, device) = (key.client.as_str(), key.device.as_str());
    let records = streams.records(&key).await;
    assert!(records.len() >= 3, "{} segments", records.len());
    let out = tempfile::tempdir().unwrap();

    // From the second frame of the first segment into the third one.
    let from = records[0].frames[1].captured_at;
    let to = records[2].captured_at.plus(Duration::from_millis(300));
    let clip = out.path().join("clip.mp4");
    let clip_path = clip.to_str().unwrap();
    let (from_text, to_text) = (from.to_string(), to.to_string());
    let arguments =
        ["export", client, device, "--from", &from_text, "--to", &to_text, "-o", clip_path];
    let output = streams.run(&arguments);
    assert!(output.status.success(), "{}", said(&output));
    let expected = to.since(from).as_secs_f64();
    assert!((duration_secs(&clip) - expected).abs() < 0.15, "{} s", duration_secs(&clip));

    // It is not overwritten by accident, and nothing is left of the try.
    let output = streams.run(&arguments);
    assert!(!output.status.success() && said(&output).contains("--force"), "{}", said(&output));
    let forced: Vec<_> = arguments.iter().copied().chain(["--force"]).collect();
    assert!(streams.run(&forced).status.success());
    assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 1);

    let still = out.path().join("still.jpg");
    let wanted = &records[1].frames[2];
    let nearby = wanted.captured_at.plus(Duration::from_millis(100)).to_string();
    let output =
        streams.run(&["still", client, device, "--at", &nearby, "-o", still.to_str().unwrap()]);
    assert!(output.status.success(), "{}", said(&output));
    let frames = streams.folder.join(format!("client_ids/{client}/device_id/{device}/frames"));
    let uploaded = std::fs::read(frames.join(format!("{}.jpg", wanted.event_id))).unwrap();
    assert_eq!(std::fs::read(&still).unwrap(), uploaded);
}

#[tokio::test]
async fn what_cannot_be_cut_out_is_told_with_what_there_is() {
    let base = tempfile::tempdir().unwrap();
    let streams = Streams { folder: base.path().to_owned() };
    let out = base.path().join("x.mp4");
    let out = out.to_str().unwrap();
    let output = streams.run(&["export", "c", "d", "--from", "-10m", "-o", out]);
    assert!(said(&output).contains("nothing is kept of device"), "{}", said(&output));
    let output = streams.run(&["export", "c", "d", "--from", "yesterday", "-o", out]);
    assert!(said(&output).contains("--from takes an instant"), "{}", said(&output));
    let output = streams.run(&["export", "..", "d", "--from", "-10m", "-o", out]);
    assert!(said(&output).contains("is no device"), "{}", said(&output));
    let output = streams.run(&["still", "c", "d", "--at", "now", "-o", out]);
    assert!(said(&output).contains("no frame"), "{}", said(&output));
    assert!(!Path::new(out).exists());

    let store = Store::at(base.path(), StoreSettings::default()).unwrap();
    let key = DeviceKey::new("c", "d").unwrap();
    let state = store.open(&key).await.unwrap();
    let start = UtcMillis(1_769_846_400_000);
    let frame = |index: i64| stream_processor::store::FrameRecord {
        event_id: stream_processor::model::EventId::new(&format!("e{index}")).unwrap(),
        captured_at: start.plus_millis(index * 5_000),
        file: None,
    };
    let segment = stream_processor::store::NewSegment {
        media: bytes::Bytes::from_static(b"no media"),
        init: None,
        duration_millis: 30_000,
        captured_at: start,
        discontinuity: false,
        begins_session: true,
        frame_bytes: 0,
        frames: (0..6).map(frame).collect(),
    };
    store.commit(&key, &state, vec![segment], None, start.plus_millis(30_700)).await.unwrap();
    let text = said(&streams.run(&["export", "c", "d", "--from", "-10m", "-o", out]));
    assert!(
        text.contains("kept from 2026-01-31T08:00:00.000Z to 2026-01-31T08:00:30.000Z"),
        "{text}"
    );
    let damaged = ["export", "c", "d", "--from", "2026-01-31T08:00:00Z", "-o", out];
    let text = said(&streams.run(&damaged));
    assert!(text.contains("08:00:00") && !Path::new(out).exists(), "{text}");
}
