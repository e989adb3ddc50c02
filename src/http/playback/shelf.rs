//! What was read of late, once for all who ask for it.
//!
//! Each file has a place of its own. Who asks while somebody reads it waits for that one; who
//! asks soon after gets the same bytes; later the storage is asked whether it has changed. What
//! nobody asked for the longest goes first when there is no room.

use std::collections::HashMap;
use std::future::Future;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::time::Instant;

use crate::model::DeviceKey;
use crate::store::{About, Fetched, StoreError, StreamFile};

/// What a place costs besides its bytes.
const PLACE_BYTES: u64 = 512;

/// Whose file.
pub type FileKey = (DeviceKey, StreamFile);

/// One version of a file.
#[derive(Debug)]
pub struct Content {
    /// What is known of it.
    pub about: About,
    /// Its bytes; not all of them if there are more than were asked for.
    pub bytes: Bytes,
    /// The same compressed, where that was asked for.
    pub gzip: Option<Bytes>,
}

/// What a look at the storage has found.
#[derive(Debug)]
pub enum Looked {
    /// No such file.
    Absent,
    /// The version that is known.
    Unchanged,
    /// Another one.
    New(Content),
}

impl Looked {
    /// Keeps what was fetched as it is.
    pub fn plain(fetched: Fetched) -> Self {
        match fetched {
            Fetched::Absent => Self::Absent,
            Fetched::Unchanged => Self::Unchanged,
            Fetched::Read(about, bytes) => Self::New(Content { about, bytes, gzip: None }),
        }
    }
}

impl Content {
    /// Whether these are all bytes of the file.
    pub fn is_whole(&self) -> bool {
        self.bytes.len() as u64 == self.about.len_bytes
    }

    fn cost_bytes(&self) -> u64 {
        let gzip = self.gzip.as_ref().map_or(0, Bytes::len);
        (self.bytes.len() + gzip) as u64 + PLACE_BYTES
    }
}

/// The bytes in gzip (RFC 1952); none if that does not make them fewer. Takes a few
/// milliseconds for a day's playlist.
pub fn gzip(bytes: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::default());
    encoder.write_all(bytes).ok()?;
    let packed = encoder.finish().ok()?;
    (packed.len() < bytes.len()).then(|| packed.into())
}

/// A bounded number of bytes of files.
pub struct Shelf {
    max_bytes: u64,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    clock: u64,
    bytes: u64,
    places: HashMap<FileKey, Place>,
}

struct Place {
    used: u64,
    cost_bytes: u64,
    file: Arc<File>,
}

#[derive(Default)]
struct File {
    /// Held by the one who reads.
    reading: tokio::sync::Mutex<()>,
    version: Mutex<Option<(Arc<Content>, Instant)>>,
}

impl File {
    fn fresh(&self, fresh_for: Duration) -> Option<Arc<Content>> {
        let version = lock(&self.version);
        let (content, checked_at) = version.as_ref()?;
        (checked_at.elapsed() < fresh_for).then(|| content.clone())
    }
}

impl Shelf {
    /// With room for so many bytes.
    pub fn new(max_bytes: u64) -> Self {
        Self { max_bytes, held: Mutex::default() }
    }

    /// The file's content, at most `fresh_for` old; none if there is no such file. `look` gets
    /// the tag of the version that is known, and is called once for all who ask at the same
    /// time.
    ///
    /// # Errors
    /// What `look` says.
    pub async fn get<L: Future<Output = Result<Looked, StoreError>>>(
        &self,
        key: FileKey,
        fresh_for: Duration,
        look: impl FnOnce(Option<String>) -> L,
    ) -> Result<Option<Arc<Content>>, StoreError> {
        let file = self.place(&key);
        if let Some(content) = file.fresh(fresh_for) {
            return Ok(Some(content));
        }
        let asked_at = Instant::now();
        let _reading = file.reading.lock().await;
        let known = lock(&file.version).clone();
        // Somebody has looked while we waited: however short the time, that is no older than
        // our own question.
        if let Some((content, _)) = known.as_ref().filter(|(_, checked)| *checked >= asked_at) {
            return Ok(Some(content.clone()));
        }
        let tag = known.as_ref().map(|(content, _)| content.about.tag.clone());
        let looked_at = Instant::now();
        let content = match look(tag).await {
            Ok(Looked::New(content)) => Arc::new(content),
            Ok(Looked::Unchanged) => match known {
                Some((content, _)) => content,
                None => return Ok(None),
            },
            Ok(Looked::Absent) => {
                *lock(&file.version) = None;
                self.forget(&key, &file);
                return Ok(None);
            }
            Err(error) => {
                self.forget_empty(&key, &file);
                return Err(error);
            }
        };
        *lock(&file.version) = Some((content.clone(), looked_at));
        self.keep(&key, &file, content.cost_bytes());
        Ok(Some(content))
    }

    /// How many bytes are held.
    pub fn held_bytes(&self) -> u64 {
        lock(&self.held).bytes
    }

    fn place(&self, key: &FileKey) -> Arc<File> {
        let mut held = lock(&self.held);
        held.clock += 1;
        let used = held.clock;
        if let Some(place) = held.places.get_mut(key) {
            place.used = used;
            return place.file.clone();
        }
        let file = Arc::<File>::default();
        held.places.insert(key.clone(), Place { used, cost_bytes: 0, file: file.clone() });
        file
    }

    /// Counts what a file costs now, and makes room for it.
    fn keep(&self, key: &FileKey, file: &Arc<File>, cost_bytes: u64) {
        let mut held = lock(&self.held);
        let Some(place) = held.places.get_mut(key).filter(|place| Arc::ptr_eq(&place.file, file))
        else {
            // It has been forgotten meanwhile, and is gone with who has it.
            return;
        };
        let before = std::mem::replace(&mut place.cost_bytes, cost_bytes);
        held.bytes = held.bytes.saturating_sub(before).saturating_add(cost_bytes);
        while held.bytes > self.max_bytes {
            let stalest = held.places.iter().filter(|(_, place)| place.cost_bytes > 0);
            let stalest = stalest.min_by_key(|(_, place)| place.used);
            let Some(stalest) = stalest.map(|(key, _)| key.clone()) else { return };
            held.remove(&stalest);
        }
    }

    fn forget(&self, key: &FileKey, file: &Arc<File>) {
        let mut held = lock(&self.held);
        if held.places.get(key).is_some_and(|place| Arc::ptr_eq(&place.file, file)) {
            held.remove(key);
        }
    }

    /// A place that nothing was ever put in is not kept: names that do not exist cost nothing.
    fn forget_empty(&self, key: &FileKey, file: &Arc<File>) {
        if lock(&file.version).is_none() {
            self.forget(key, file);
        }
    }
}

impl Held {
    fn remove(&mut self, key: &FileKey) {
        if let Some(place) = self.places.remove(key) {
            self.bytes = self.bytes.saturating_sub(place.cost_bytes);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::UtcMillis;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const SECOND: Duration = Duration::from_secs(1);

    fn key(name: &str) -> FileKey {
        (DeviceKey::new("c", name).unwrap(), StreamFile::Playlist)
    }

    fn new(tag: &str, bytes: Bytes) -> Looked {
        let len_bytes = bytes.len() as u64;
        let about = About { len_bytes, modified: UtcMillis(0), tag: tag.into() };
        Looked::plain(Fetched::Read(about, bytes))
    }

    /// A storage with one file, which counts how often it is read and asked.
    struct Storage {
        tag: &'static str,
        reads: AtomicUsize,
        looks: AtomicUsize,
    }

    impl Storage {
        async fn look(&self, tag: Option<String>) -> Result<Looked, StoreError> {
            self.looks.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(50)).await;
            if tag.as_deref() == Some(self.tag) {
                return Ok(Looked::Unchanged);
            }
            self.reads.fetch_add(1, Ordering::Relaxed);
            Ok(new(self.tag, Bytes::from_static(b"abc")))
        }

        fn counts(&self) -> (usize, usize) {
            (self.reads.load(Ordering::Relaxed), self.looks.load(Ordering::Relaxed))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn many_viewers_cost_one_look_a_second_and_one_read_a_version() {
        let mut storage = Storage { tag: "1", reads: 0.into(), looks: 0.into() };
        let shelf = Shelf::new(1 << 20);
        let all = async |storage: &Storage| {
            let ask = || shelf.get(key("a"), SECOND, |tag| storage.look(tag));
            let answers = futures::future::join_all((0..200).map(|_| ask())).await;
            let tag = |answer: Result<Option<Arc<Content>>, StoreError>| {
                answer.unwrap().unwrap().about.tag.clone()
            };
            let tags: Vec<_> = answers.into_iter().map(tag).collect();
            assert!(tags.iter().all(|tag| tag == storage.tag), "{tags:?}");
        };
        all(&storage).await;
        assert_eq!(storage.counts(), (1, 1));
        tokio::time::advance(SECOND / 2).await;
        all(&storage).await;
        assert_eq!(storage.counts(), (1, 1));
        tokio::time::advance(SECOND).await;
        all(&storage).await;
        assert_eq!(storage.counts(), (1, 2));
        storage.tag = "2";
        tokio::time::advance(SECOND).await;
        all(&storage).await;
        assert_eq!(storage.counts(), (2, 3));
    }

    #[tokio::test]
    async fn what_was_not_asked_for_goes_when_there_is_no_room() {
        let shelf = Shelf::new(3 * (PLACE_BYTES + 1_000));
        let put = async |name: &str| {
            let look = |_| async { Ok(new("t", vec![0; 1_000].into())) };
            shelf.get(key(name), Duration::MAX, look).await.unwrap().unwrap();
        };
        let has = |name: &str| lock(&shelf.held).places.contains_key(&key(name));
        for name in ["a", "b", "c", "a", "d"] {
            put(name).await;
        }
        assert!(has("a") && !has("b") && has("c") && has("d"));
        assert_eq!(shelf.held_bytes(), 3 * (PLACE_BYTES + 1_000));
    }

    #[tokio::test]
    async fn a_file_that_is_not_there_takes_no_place() {
        let shelf = Shelf::new(1_000_000);
        for name in ["a", "b"] {
            let absent = |_| async { Ok(Looked::Absent) };
            assert!(shelf.get(key(name), SECOND, absent).await.unwrap().is_none());
        }
        let broken = |_| async {
            Err(StoreError::io("read", "x".into(), std::io::ErrorKind::TimedOut.into()))
        };
        assert!(shelf.get(key("c"), SECOND, broken).await.is_err());
        assert!(lock(&shelf.held).places.is_empty());
    }

    #[test]
    fn a_compressed_text_reads_back_and_noise_is_not_compressed() {
        use std::io::Read;
        let text = "#EXTINF:30.000,\nsegments/seg_000001.ts\n".repeat(100);
        let packed = gzip(text.as_bytes()).unwrap();
        let mut read = String::new();
        flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut read).unwrap();
        assert_eq!(read, text);
        assert!(gzip(&[7]).is_none());
    }
}
