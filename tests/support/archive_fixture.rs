//! A device with sessions, and an archiver whose clock is moved by hand, for the tests of
//! archives.
#![allow(dead_code)] // Each test binary uses its own part of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use stream_processor::archive::document::Document;
use stream_processor::archive::{ArchiveSettings, Archiver, Database, Ledger, Outcome};
use stream_processor::model::{ManualClock, SessionId, UtcMillis};
use stream_processor::store::layout::{ARCHIVE_FILE, ARCHIVED_FILE, PLAYLIST_FILE, Place};
use stream_processor::store::{DeviceFolder, Listed, NewSegment, Store, StoreError};

use super::store_fixture::*;

pub const HOUR: Duration = Duration::from_secs(3_600);
pub const DAY: Duration = Duration::from_secs(86_400);

/// The defaults of the settings.
pub fn archive_settings() -> ArchiveSettings {
    ArchiveSettings {
        enabled: true,
        min_duration: Duration::from_secs(60),
        keep: 7 * DAY,
        stream_retention: DAY,
    }
}

/// The name of the session that begins with this segment.
pub fn session(first: u64) -> SessionId {
    SessionId::of(starts_at(first), first)
}

/// One device of a store, with a clock.
#[derive(Clone)]
pub struct Camera {
    pub store: Store,
    pub clock: Arc<ManualClock>,
    pub settings: ArchiveSettings,
}

impl Camera {
    pub fn of(store: Store) -> Self {
        let clock = Arc::new(ManualClock::new(START));
        Self { store, clock, settings: archive_settings() }
    }

    /// The same device with another process's store.
    pub fn seen_by(&self, store: Store) -> Self {
        Self { store, ..self.clone() }
    }

    /// Commits segments until there are `until` of them; those with the numbers `marks` begin
    /// sessions. The clock goes along.
    pub async fn film(&self, until: u64, marks: &[u64]) {
        self.film_as(until, marks, |_| {}).await;
    }

    pub async fn film_as(&self, until: u64, marks: &[u64], change: impl Fn(&mut NewSegment)) {
        let mut state = self.store.open(&key()).await.unwrap();
        while state.next_segment < until {
            let number = state.next_segment;
            let mut next = segment(number);
            next.begins_session = marks.contains(&number);
            change(&mut next);
            let (timeline, now) = (timeline(number), commits_at(number));
            state = self.store.commit(&key(), &state, vec![next], timeline, now).await.unwrap();
            self.clock.set(now);
        }
    }

    /// Ends the session that the device is in.
    pub async fn end_session(&self) {
        let state = self.store.open(&key()).await.unwrap();
        let open = state.session.expect("a session");
        assert!(self.store.end_session(&key(), &open.id, open.last_frame_at).await.unwrap());
    }

    pub fn archiver(&self) -> Archiver {
        self.archiver_with(None)
    }

    pub fn archiver_with(&self, database: Option<Arc<Database>>) -> Archiver {
        Archiver::new(self.store.clone(), self.settings, self.clock.clone(), database)
    }

    /// One run.
    pub async fn run(&self) -> Outcome {
        self.archiver().run_device(&key()).await.unwrap()
    }

    /// What `work` says of the device's files.
    pub async fn on<T: Send + 'static>(
        &self,
        work: impl FnOnce(&DeviceFolder) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        self.store.on_device(&key(), work).await.unwrap()
    }

    pub async fn ledger(&self) -> Ledger {
        let read = self.on(|folder| folder.read_json(Place::Hls, ARCHIVED_FILE)).await;
        read.expect("a ledger").0
    }

    pub async fn document(&self, id: &SessionId) -> Option<Document> {
        let id = id.clone();
        let read = self.on(move |folder| folder.read_json(Place::Archive(&id), ARCHIVE_FILE)).await;
        read.map(|(document, _)| document)
    }

    pub async fn vod(&self, id: &SessionId) -> String {
        let id = id.clone();
        let read = self.on(move |folder| folder.read(Place::Archive(&id), PLAYLIST_FILE)).await;
        String::from_utf8(read.expect("a playlist").bytes.to_vec()).unwrap()
    }

    /// The names of all archives' folders, in order.
    pub async fn archives(&self) -> Vec<String> {
        names(self.on(|folder| folder.list(Place::Archives)).await)
    }

    /// The names of an archive's media files, in order.
    pub async fn media(&self, id: &SessionId) -> Vec<String> {
        let id = id.clone();
        names(self.on(move |folder| folder.list(Place::ArchiveSegments(&id))).await)
    }

    /// Removes a media file of the stream.
    pub async fn lose(&self, number: u64) {
        let name = media_name(number);
        assert!(self.on(move |folder| folder.remove(Place::Segments, &name)).await);
    }

    pub fn advance(&self, duration: Duration) {
        self.clock.advance(duration);
    }
}

fn names(listed: Vec<Listed>) -> Vec<String> {
    let mut names: Vec<_> = listed.into_iter().map(|listed| listed.name).collect();
    names.sort_unstable();
    names
}

pub fn media_name(number: u64) -> String {
    format!("seg_{number:06}.ts")
}

pub fn media_names(numbers: impl IntoIterator<Item = u64>) -> Vec<String> {
    numbers.into_iter().map(media_name).collect()
}

/// Media files that lie elsewhere for a while.
pub struct Away {
    segments: PathBuf,
    elsewhere: PathBuf,
    names: Vec<String>,
}

/// Moves the media files of these segments out of the stream.
pub fn put_away(base: &Path, numbers: impl IntoIterator<Item = u64>) -> Away {
    let segments = hls(base).join("segments");
    let away = Away { segments, elsewhere: base.join("away"), names: media_names(numbers) };
    std::fs::create_dir(&away.elsewhere).unwrap();
    away.shift(&away.segments, &away.elsewhere);
    away
}

impl Away {
    /// Moves them back.
    pub fn bring_back(self) {
        self.shift(&self.elsewhere, &self.segments);
    }

    fn shift(&self, from: &Path, to: &Path) {
        for name in &self.names {
            std::fs::rename(from.join(name), to.join(name)).unwrap();
        }
    }
}

/// The folder of the device.
pub fn device_folder(base: &Path) -> PathBuf {
    base.join("client_ids/client-1/device_id/camera-1")
}

pub fn archives_folder(base: &Path) -> PathBuf {
    device_folder(base).join("archives")
}

/// Copies a folder and all below it.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, target).unwrap();
        }
    }
}

/// Milliseconds since 1970 for a child process.
pub fn as_number(at: UtcMillis) -> String {
    at.0.to_string()
}
