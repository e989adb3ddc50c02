//! A storage of many devices, made of one that the store, the archiver and the clean-up have
//! written themselves.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use stream_processor::archive::Archiver;
use stream_processor::model::{ManualClock, UtcMillis};
use stream_processor::retention::{Cleaner, RetentionSettings, Run};
use stream_processor::store::layout::{LOCK_FILE, UPKEEP_LOCK_FILE};
use stream_processor::store::{Store, StoreSettings};

use super::archive_fixture::{Camera, archive_settings, media_name};
use super::footage::Failure;
use super::store_fixture::{FRAMES, SEGMENT_MILLIS, commits_at, frame, hls, key, roomy_base};

/// Segments of a session: two hours, as the settings have it.
const SESSION: usize = 240;

/// A device whose window is full, with `doomed` segments that have just left it.
pub struct Original {
    base: tempfile::TempDir,
    /// How many segments its playlist lists.
    pub listed: u64,
    /// The segments below have left the playlist.
    pub doomed: u64,
}

impl Original {
    /// Commits `listed` and `doomed` segments, has the finished sessions archived, and has the
    /// clean-up see what the playlist lists.
    pub async fn film(listed: u64, doomed: u64) -> Result<Self, Failure> {
        // Made in memory, where syncing costs nothing.
        let base = roomy_base();
        let original = Self { base, listed, doomed };
        let settings = StoreSettings { retention: retention(listed), ..Default::default() };
        let store = Store::at(original.base.path(), settings)?;
        let camera = Camera::of(store.clone());
        let marks: Vec<u64> = (0..listed + doomed).step_by(SESSION).collect();
        camera.film(listed + doomed, &marks).await;
        let clock = Arc::new(ManualClock::new(original.seen_at()));
        Archiver::new(store.clone(), archive_settings(), clock.clone(), None)
            .run_device(&key())
            .await?;
        let cleaner = Cleaner::new(store, retention_settings(listed), clock);
        cleaner.clean_device(&key(), &Run::default()).await?;
        Ok(original)
    }

    /// When the clean-up saw what the playlist lists: right after the last commit.
    pub fn seen_at(&self) -> UtcMillis {
        commits_at(self.listed + self.doomed - 1)
    }

    /// Makes that many devices below `base` that have been through the same. What describes a
    /// stream is never written in place, so they all have the same files under their own names.
    /// Of the media and frames only those are there that are to go; they are empty.
    pub fn multiply(&self, base: &Path, devices: usize) -> Result<(), Failure> {
        let seeds = tempfile::Builder::new().prefix("seeds-").tempdir_in(base)?;
        let mut files = Vec::new();
        for folder in ["", "history"] {
            for entry in fs::read_dir(hls(self.base.path()).join(folder))? {
                let entry = entry?;
                let is_lock = [LOCK_FILE, UPKEEP_LOCK_FILE].iter().any(|n| entry.file_name() == *n);
                if entry.file_type()?.is_file() && !is_lock {
                    let name = Path::new(folder).join(entry.file_name());
                    let seed = seeds.path().join(files.len().to_string());
                    fs::copy(entry.path(), &seed)?;
                    files.push((seed, name));
                }
            }
        }
        for number in 0..devices {
            let device = folder_of(base, number);
            for folder in ["hls/segments", "hls/history", "frames"] {
                fs::create_dir_all(device.join(folder))?;
            }
            fs::File::create(device.join("hls").join(LOCK_FILE))?;
            files
                .iter()
                .try_for_each(|(seed, name)| fs::hard_link(seed, device.join("hls").join(name)))?;
            self.add_doomed(&device)?;
        }
        Ok(())
    }

    fn add_doomed(&self, device: &Path) -> io::Result<()> {
        for number in 0..self.doomed {
            fs::File::create(device.join("hls/segments").join(media_name(number)))?;
            for index in 0..FRAMES {
                let name = format!("{}.jpg", frame(number, index).event_id);
                fs::File::create(device.join("frames").join(name))?;
            }
        }
        Ok(())
    }
}

fn retention(listed: u64) -> Duration {
    Duration::from_millis(listed * u64::from(SEGMENT_MILLIS))
}

/// As they are by default, for playlists of that many segments.
pub fn retention_settings(listed: u64) -> RetentionSettings {
    RetentionSettings {
        retention: retention(listed),
        grace: Duration::from_secs(300),
        archives: true,
        idle_after: Duration::from_secs(300),
        device_max_bytes: None,
        total_max_bytes: None,
        unencoded_frames: None,
    }
}

/// The name of the device with that number.
pub fn name_of(number: usize) -> String {
    format!("camera-{number:05}")
}

fn folder_of(base: &Path, number: usize) -> PathBuf {
    base.join("client_ids/bench/device_id").join(name_of(number))
}
