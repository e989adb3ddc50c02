//! Clean-up and reset: what goes is gone on every storage, and nothing else.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use stream_processor::model::{DeviceKey, ManualClock};
use stream_processor::playlist::{Window, media_file_number};
use stream_processor::retention::{
    Cleaner, Outcome, Reset, Resetter, RetentionSettings, Run, Watch,
};
use stream_processor::store::layout::Place;
use stream_processor::store::{Store, StoreError, StoreSettings, StreamFile};

use super::site::Part;
use super::store_fixture::*;

const GRACE: Duration = Duration::from_secs(300);
/// Twenty segments of it are listed.
const RETENTION: Duration = Duration::from_secs(600);

fn retention() -> RetentionSettings {
    RetentionSettings {
        retention: RETENTION,
        grace: GRACE,
        archives: false,
        idle_after: Duration::from_secs(86_400),
        device_max_bytes: None,
        total_max_bytes: None,
        unencoded_frames: None,
    }
}

fn store_of(part: &Part) -> Store {
    part.store_with(StoreSettings { retention: RETENTION, ..settings() })
}

/// No device may fail.
#[derive(Default)]
struct Failures(Mutex<Vec<String>>);

impl Watch for Failures {
    fn begun(&self, _: usize) {}

    fn device(&self, _: &DeviceKey, result: &Result<Outcome, StoreError>) {
        self.0.lock().unwrap().extend(result.as_ref().err().map(ToString::to_string));
    }
}

async fn clean(store: &Store, clock: &Arc<ManualClock>, run: &Run) -> Outcome {
    let cleaner = Cleaner::new(store.clone(), retention(), clock.clone());
    let failures = Failures::default();
    let report = cleaner.run(run, &failures).await.unwrap();
    assert_eq!(*failures.0.lock().unwrap(), Vec::<String>::new());
    report.done
}

/// A stream of thirty segments with their frames, ten of which have left the playlist.
async fn stream(part: &Part) -> (Store, Arc<ManualClock>) {
    let store = store_of(part);
    fill(&store, 30).await;
    for number in [0, 1, 9, 10, 29] {
        for frame in frames(number) {
            let path =
                format!("client_ids/client-1/device_id/camera-1/frames/{}.jpg", frame.event_id);
            part.put(&path, b"a frame").await;
        }
    }
    (store, Arc::new(ManualClock::new(commits_at(29))))
}

async fn names(store: &Store, place: Place<'static>) -> Vec<String> {
    let listed = store.on_device(&key(), move |folder| folder.list(place)).await.unwrap();
    listed.into_iter().map(|listed| listed.name).collect()
}

async fn media(store: &Store) -> Vec<u64> {
    let names = names(store, Place::Segments).await;
    let mut numbers: Vec<_> = names.iter().filter_map(|name| media_file_number(name)).collect();
    numbers.sort_unstable();
    numbers
}

pub async fn what_has_left_the_playlist_goes_with_its_frames_after_the_grace(part: Part) {
    let (store, clock) = stream(&part).await;
    assert_eq!(clean(&store, &clock, &Run::default()).await, Outcome::default());
    assert_eq!(media(&store).await.len(), 30);
    clock.advance(GRACE);
    let dry = Run { dry_run: true, ..Run::default() };
    let said = clean(&store_of(&part), &clock, &dry).await;
    assert_eq!(media(&store).await.len(), 30);
    let did = clean(&store_of(&part), &clock, &Run::default()).await;
    assert_eq!(said, did);
    assert_eq!(did.segments.files, 10);
    assert_eq!(media(&store).await, (10..30).collect::<Vec<_>>());
    assert_eq!(names(&store, Place::Frames).await.len(), 12, "of 10 and 29");
    let sweep = Run { orphans_now: true, ..Run::default() };
    let swept = clean(&store_of(&part), &clock, &sweep).await;
    assert_eq!((swept.orphans.files, swept.unencoded.files), (0, 0));
    assert_eq!(media(&store).await.len(), 20);
    assert_eq!(names(&store, Place::Frames).await.len(), 12);
    let left = store.committed_segments(&key()).await.unwrap();
    assert!(left[0].number <= 10 && left.last().unwrap().number == 29);
    fill(&store, 31).await;
}

pub async fn clean_ups_at_once_take_nothing_that_is_listed(part: Part) {
    let (store, clock) = stream(&part).await;
    clean(&store, &clock, &Run::default()).await;
    clock.advance(GRACE);
    let run = Run { orphans_now: true, ..Run::default() };
    let stores: Vec<_> = (0..3).map(|_| store_of(&part)).collect();
    let committing = async {
        fill(&store_of(&part), 34).await;
    };
    let cleaning = stores.iter().map(|store| clean(store, &clock, &run));
    tokio::join!(futures::future::join_all(cleaning), committing);
    clean(&store, &clock, &Run::default()).await;
    let playlist = store.read(&key(), StreamFile::Playlist).await.unwrap().unwrap();
    let window = Window::parse(std::str::from_utf8(&playlist).unwrap()).unwrap();
    let media = media(&store).await;
    assert!((window.media_sequence..34).all(|number| media.contains(&number)), "{media:?}");
    assert!(media.iter().all(|number| *number >= 10), "{media:?}");
}

pub async fn a_reset_leaves_nothing_of_the_stream_and_its_numbers_go_on(part: Part) {
    let (store, clock) = stream(&part).await;
    for is_lost in [false, true] {
        if is_lost {
            let cut = |folder: &stream_processor::store::DeviceFolder| {
                folder.remove(Place::Hls, "state.json")
            };
            store.on_device(&key(), cut).await.unwrap();
        }
        clock.advance(Duration::from_secs(120));
        let resetter = Resetter::new(store_of(&part), clock.clone(), retention(), GRACE / 5, 30);
        let how = Reset { with_frames: true, ..Reset::default() };
        let report = resetter.reset(&key(), how).await.unwrap();
        assert_eq!(report.state_was_lost, is_lost);
        assert_eq!(media(&store).await, Vec::<u64>::new());
        assert_eq!(names(&store, Place::History).await, Vec::<String>::new());
        assert_eq!(names(&store, Place::Frames).await, Vec::<String>::new());
        let next = report.next_segment;
        assert!(next >= 30, "{next}");
        let state = fill(&store_of(&part), next + 1).await;
        clock.set(state.recent[0].committed_at);
        assert_eq!(media(&store).await, [next]);
    }
}
