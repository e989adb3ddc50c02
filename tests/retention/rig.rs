//! Devices with streams, frames and a clock to move, and what is there after a clean-up.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use stream_processor::model::{Clock, DeviceKey, ManualClock, UtcMillis};
use stream_processor::playlist::Window;
use stream_processor::retention::{Cleaner, Outcome, Report, RetentionSettings, Run, Watch};
use stream_processor::store::{DeviceState, NewSegment, Store, StoreError, StoreSettings};

use crate::store_fixture::{self, commits_at, frames, segment, timeline};

pub const MINUTE: Duration = Duration::from_secs(60);
pub const GRACE: Duration = Duration::from_secs(300);
/// How long segments stay listed in most tests: 20 of them.
pub const RETENTION: Duration = Duration::from_secs(600);
pub const DAY: Duration = Duration::from_secs(24 * 3_600);

pub fn settings() -> RetentionSettings {
    RetentionSettings {
        retention: RETENTION,
        grace: GRACE,
        archives: false,
        idle_after: 10 * MINUTE,
        device_max_bytes: None,
        total_max_bytes: None,
        unencoded_frames: None,
    }
}

pub fn store_settings() -> StoreSettings {
    StoreSettings { retention: RETENTION, ..StoreSettings::default() }
}

/// Files are in memory where that can be: syncing costs nothing there.
pub struct Rig {
    pub base: tempfile::TempDir,
    pub store: Store,
    pub clock: Arc<ManualClock>,
    pub settings: RetentionSettings,
}

impl Rig {
    pub fn new(settings: RetentionSettings) -> Self {
        let base = store_fixture::roomy_base();
        let store = Store::at(base.path(), store_settings()).unwrap();
        Self { base, store, clock: Arc::new(ManualClock::new(commits_at(0))), settings }
    }

    pub fn path(&self) -> &Path {
        self.base.path()
    }

    pub fn cleaner(&self) -> Cleaner {
        Cleaner::new(self.store.clone(), self.settings.clone(), self.clock.clone())
    }

    /// One run over all devices; none may fail.
    pub async fn clean(&self) -> Outcome {
        self.run(&Run::default()).await.done
    }

    pub async fn dry_run(&self) -> Outcome {
        self.run(&Run { dry_run: true, ..Run::default() }).await.done
    }

    /// One run that looks for what nothing lists.
    pub async fn sweep(&self) -> Outcome {
        self.run(&Run { orphans_now: true, ..Run::default() }).await.done
    }

    /// One run of which one device fails, with this in what is told.
    pub async fn clean_failing(&self, why: &str) -> Report {
        let told = Told::default();
        let report = self.cleaner().run(&Run::default(), &told).await.unwrap();
        let failures = told.failures();
        assert!(failures.len() == 1 && failures[0].contains(why), "{failures:?}");
        assert_eq!(report.failed, 1);
        report
    }

    pub async fn run(&self, run: &Run) -> Report {
        let told = Told::default();
        let report = self.cleaner().run(run, &told).await.unwrap();
        assert_eq!(told.failures(), Vec::<String>::new());
        report
    }

    /// Commits segments until the stream has `until` of them, with their frames' files; the
    /// clock goes along.
    pub async fn fill(&self, until: u64) -> DeviceState {
        self.fill_device(&store_fixture::key(), until, segment).await
    }

    pub async fn fill_device(
        &self,
        key: &DeviceKey,
        until: u64,
        make: impl Fn(u64) -> NewSegment,
    ) -> DeviceState {
        let mut state = self.store.open(key).await.unwrap();
        while state.next_segment < until {
            let number = state.next_segment;
            self.write_frames(key, number);
            self.clock.set(commits_at(number));
            let (made, now) = (make(number), self.clock.now());
            let committed = self.store.commit(key, &state, vec![made], timeline(number), now);
            state = committed.await.unwrap();
        }
        state
    }

    /// The files of a segment's frames, a thousand bytes each.
    pub fn write_frames(&self, key: &DeviceKey, number: u64) {
        let folder = self.frames_folder(key);
        std::fs::create_dir_all(&folder).unwrap();
        for frame in frames(number) {
            std::fs::write(folder.join(format!("{}.jpg", frame.event_id)), [0xd8; 1_000]).unwrap();
        }
    }

    pub fn device_folder(&self, key: &DeviceKey) -> PathBuf {
        self.path().join(format!("client_ids/{}/device_id/{}", key.client, key.device))
    }

    pub fn frames_folder(&self, key: &DeviceKey) -> PathBuf {
        self.device_folder(key).join("frames")
    }

    pub fn hls(&self) -> PathBuf {
        store_fixture::hls(self.path())
    }

    pub async fn state(&self) -> DeviceState {
        let key = store_fixture::key();
        self.store.on_device(&key, |folder| folder.state()).await.unwrap().unwrap()
    }

    /// The numbers of the media files that are there.
    pub fn media(&self) -> BTreeSet<u64> {
        let names = names(&self.hls().join("segments"));
        names.iter().filter_map(|n| stream_processor::playlist::media_file_number(n)).collect()
    }

    /// The numbers of the segments of which every frame's file is there; none may be in parts.
    pub fn framed(&self) -> BTreeSet<u64> {
        let there = names(&self.frames_folder(&store_fixture::key()));
        let by_segment = |n: &u64| {
            frames(*n).iter().filter(|f| there.contains(&format!("{}.jpg", f.event_id))).count()
        };
        let numbers: BTreeSet<u64> =
            there.iter().filter_map(|name| name.split('-').next()?.parse().ok()).collect();
        for number in &numbers {
            assert_eq!(by_segment(number), 6, "the frames of {number}");
        }
        numbers
    }

    pub fn window(&self) -> Window {
        Window::parse(&store_fixture::playlist(self.path())).unwrap()
    }

    pub fn history_files(&self) -> usize {
        names(&self.hls().join("history")).len()
    }

    pub fn cleaned(&self) -> serde_json::Value {
        let text = std::fs::read(self.hls().join("cleaned.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    pub fn write_archived(&self, archived: &serde_json::Value) {
        std::fs::write(self.hls().join("archived.json"), archived.to_string()).unwrap();
    }

    /// Everything that is stored, but for locks.
    pub fn everything(&self) -> std::collections::BTreeMap<PathBuf, Vec<u8>> {
        let mut all = store_fixture::everything(self.path());
        all.retain(|path, _| !path.to_string_lossy().ends_with(".lock"));
        all
    }
}

/// The names in a folder; none if there is no such folder.
pub fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// A segment in fMP4 whose init file has this content.
pub fn with_init(number: u64, init: &str) -> NewSegment {
    NewSegment { init: Some(Bytes::from(init.to_owned())), ..segment(number) }
}

/// Sets when a file was last written.
pub fn set_modified(path: &Path, at: UtcMillis) {
    let at = std::time::UNIX_EPOCH + Duration::from_millis(at.0.unsigned_abs());
    std::fs::File::options().write(true).open(path).unwrap().set_modified(at).unwrap();
}

/// Keeps what a run tells.
#[derive(Default)]
pub struct Told(Mutex<Vec<(DeviceKey, Result<Outcome, String>)>>);

impl Told {
    pub fn failures(&self) -> Vec<String> {
        let told = self.0.lock().unwrap();
        told.iter().filter_map(|(key, r)| Some(format!("{key}: {}", r.as_ref().err()?))).collect()
    }
}

impl Watch for Told {
    fn begun(&self, _: usize) {}

    fn device(&self, key: &DeviceKey, result: &Result<Outcome, StoreError>) {
        let result = result.as_ref().cloned().map_err(ToString::to_string);
        self.0.lock().unwrap().push((key.clone(), result));
    }
}
