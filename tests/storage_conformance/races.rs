//! Several writers at a time, which all believe that they own the device.

use bytes::Bytes;
use sha2::{Digest, Sha256};
use stream_processor::playlist::Window;
use stream_processor::store::layout::{PLAYLIST_FILE, Place};
use stream_processor::store::{CommitError, NewSegment, Store, StoreError, StreamFile};

use super::site::Part;
use super::store_fixture::{commit_next, commits_at, fill, key, segment, timeline};
use super::streams::{playlist, tamper};

/// Every recorded media file is the one that its record's writer made.
async fn every_record_has_its_own_media(store: &Store) {
    for record in store.committed_segments(&key()).await.unwrap() {
        let file = StreamFile::Segment(record.file.clone());
        let media = store.read(&key(), file).await.unwrap().expect("a media file");
        let sha256: String =
            Sha256::digest(&media).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(sha256, record.sha256, "segment {} is another's", record.number);
    }
}

/// The next segment as this writer makes it: no two writers make the same bytes.
fn made_by(writer: usize, number: u64, round: usize) -> NewSegment {
    let mut media = segment(number).media.to_vec();
    media.extend(format!("writer {writer} round {round}").as_bytes());
    NewSegment { media: Bytes::from(media), ..segment(number) }
}

pub async fn a_fenced_writer_changes_nothing_that_a_state_names(part: Part) {
    let (first, second) = (part.store(), part.store());
    let stale = fill(&first, 12).await;
    commit_next(&second, &stale).await.unwrap();
    let before = playlist(&first).await;
    let made = vec![made_by(1, 12, 0)];
    let commit = first.commit(&key(), &stale, made, timeline(12), commits_at(12)).await;
    let error = commit.unwrap_err();
    assert!(matches!(error, CommitError::Fenced { ours: 12, .. }), "{error}");
    assert_eq!(playlist(&first).await, before);
    every_record_has_its_own_media(&first).await;
    let fresh = first.open(&key()).await.unwrap();
    assert_eq!(commit_next(&first, &fresh).await.unwrap().next_segment, 14);
}

pub async fn of_several_writers_one_wins_each_generation(part: Part) {
    const SEGMENTS: u64 = 24;
    // Names that a crash has taken before: each is fought for.
    for number in [3, 4, 11] {
        let name = format!("seg_{number:06}.ts");
        tamper(&part.store(), Place::Segments, &name, b"left by a crash").await;
    }
    let writers = (0..3).map(|writer| {
        let store = part.store();
        tokio::spawn(async move {
            let mut won = 0;
            let mut round = 0;
            let mut state = open(&store).await;
            while state.next_segment < SEGMENTS {
                let number = state.next_segment;
                round += 1;
                let made = vec![made_by(writer, number, round)];
                let at = commits_at(number);
                match store.commit(&key(), &state, made, timeline(number), at).await {
                    Ok(next) => {
                        won += 1;
                        state = next;
                    }
                    Err(
                        CommitError::Fenced { .. }
                        | CommitError::Store(StoreError::Overtaken { .. }),
                    ) => state = open(&store).await,
                    Err(error) => panic!("{error}"),
                }
            }
            won
        })
    });
    let mut won = 0;
    for writer in writers.collect::<Vec<_>>() {
        won += writer.await.unwrap();
    }
    // A commit that was overtaken at its playlist counts for nobody, and is there all the same.
    assert!((SEGMENTS / 2..=SEGMENTS).contains(&won), "{won}");
    let store = part.store();
    let records = store.committed_segments(&key()).await.unwrap();
    let numbers: Vec<_> = records.iter().map(|record| record.number).collect();
    assert_eq!(numbers, (0..SEGMENTS).collect::<Vec<_>>());
    every_record_has_its_own_media(&store).await;
    open(&store).await;
    let window = Window::parse(&playlist(&store).await).unwrap();
    assert_eq!(window.next_number(), SEGMENTS);
}

/// Opens, and again as long as another writer is faster.
async fn open(store: &Store) -> stream_processor::store::DeviceState {
    loop {
        match store.open(&key()).await {
            Err(StoreError::Overtaken { .. }) => tokio::task::yield_now().await,
            opened => return opened.unwrap(),
        }
    }
}

pub async fn what_a_crash_left_under_the_next_name_is_replaced(part: Part) {
    let store = part.store();
    tamper(&store, Place::Segments, "seg_000000.ts", b"left by a crash").await;
    let state = fill(&store, 3).await;
    tamper(&store, Place::Segments, "seg_000003.ts", b"left by a crash").await;
    let state = commit_next(&store, &state).await.unwrap();
    every_record_has_its_own_media(&store).await;
    assert_eq!(part.store().open(&key()).await.unwrap(), state);
    assert_eq!(commit_next(&store, &state).await.unwrap().next_segment, 5);
}

pub async fn a_playlist_never_steps_back_behind_a_slow_writer(part: Part) {
    let store = part.store();
    let state = fill(&store, 5).await;
    // As after a crash between the state and the playlist: it is one behind.
    let behind = playlist(&store).await;
    commit_next(&store, &state).await.unwrap();
    let ahead = playlist(&store).await;
    let leaked: &'static [u8] = Box::leak(behind.into_bytes().into_boxed_slice());
    tamper(&store, Place::Hls, PLAYLIST_FILE, leaked).await;
    let state = part.store().open(&key()).await.unwrap();
    assert_eq!(playlist(&store).await, ahead);
    let next = commit_next(&store, &state).await.unwrap();
    assert!(playlist(&store).await.starts_with(&ahead));
    assert_eq!(next.next_segment, 7);
}
