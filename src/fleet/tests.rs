//! The fleet over a real folder, on a clock that the test moves.

use super::*;
use crate::http::page::Presence;
use crate::model::{EventId, ManualClock};
use crate::store::{FrameRecord, NewSegment, StoreSettings};

const START: UtcMillis = UtcMillis(1_769_846_400_000);

struct Rig {
    _base: tempfile::TempDir,
    path: std::path::PathBuf,
    store: Store,
    clock: Arc<ManualClock>,
    fleet: Fleet,
}

impl Rig {
    fn new() -> Self {
        let base = tempfile::tempdir().unwrap();
        let store = Store::at(base.path(), StoreSettings::default()).unwrap();
        let clock = Arc::new(ManualClock::new(START));
        let settings =
            FleetSettings { looks_per_second: 100, offline_after: Duration::from_secs(60) };
        let fleet = Fleet::new(store.clone(), clock.clone(), settings);
        Self { path: base.path().to_owned(), _base: base, store, clock, fleet }
    }

    async fn commit(&self, name: &str) {
        let key = DeviceKey::new("acme", name).unwrap();
        let state = self.store.open(&key).await.unwrap();
        let now = self.clock.now();
        let captured_at = now.plus_millis(-31_000);
        let number = state.next_segment;
        let event_id = EventId::new(&format!("{name}-{number}")).unwrap();
        let segment = NewSegment {
            media: vec![0x47; 188].into(),
            init: None,
            duration_millis: 30_000,
            captured_at,
            discontinuity: false,
            begins_session: false,
            frame_bytes: 1,
            frames: vec![FrameRecord { event_id, captured_at, file: None }],
        };
        self.store.commit(&key, &state, vec![segment], None, now).await.unwrap();
    }

    async fn settle(&self) {
        self.fleet.list().await.unwrap();
        self.fleet.look(1_000).await;
    }

    fn presence(&self, name: &str) -> Option<Presence> {
        self.view(name).map(|view| view.presence)
    }

    fn view(&self, name: &str) -> Option<DeviceView> {
        *self.fleet.0.view.lock().unwrap() = None;
        let views = self.fleet.devices();
        views.iter().find(|view| view.name == name).cloned()
    }

    fn show(&self, name: &str) {
        let view = self.view(name).unwrap();
        self.fleet.shown(&[&view]);
    }
}

#[tokio::test]
async fn a_device_goes_through_all_states_as_its_storage_says() {
    let rig = Rig::new();
    std::fs::create_dir_all(rig.path.join("client_ids/acme/device_id/new/frames")).unwrap();
    rig.commit("gate").await;
    rig.settle().await;
    assert_eq!(rig.presence("new"), Some(Presence::Starting));
    assert_eq!(rig.presence("gate"), Some(Presence::Live));
    assert_eq!(rig.view("gate").unwrap().segment_count, 1);
    for (secs, presence) in [(60, Presence::Late), (200, Presence::Offline)] {
        rig.clock.advance(Duration::from_secs(secs));
        rig.show("gate");
        rig.settle().await;
        assert_eq!(rig.presence("gate"), Some(presence), "{secs}");
    }
    rig.commit("gate").await;
    rig.clock.advance(Duration::from_secs(20));
    rig.show("gate");
    rig.settle().await;
    assert_eq!(rig.presence("gate"), Some(Presence::Live));
    std::fs::remove_dir_all(rig.path.join("client_ids/acme/device_id/gate")).unwrap();
    rig.settle().await;
    assert_eq!(rig.presence("gate"), None);
}

#[tokio::test]
async fn a_state_that_cannot_be_read_is_told_and_the_other_devices_are_shown() {
    let rig = Rig::new();
    rig.commit("good").await;
    let hls = rig.path.join("client_ids/acme/device_id/bad/hls");
    std::fs::create_dir_all(&hls).unwrap();
    std::fs::write(hls.join("state.json"), "{").unwrap();
    rig.settle().await;
    assert!(rig.view("bad").unwrap().error.is_some());
    assert_eq!(rig.presence("good"), Some(Presence::Live));
    assert!(rig.view("good").unwrap().error.is_none());
}

#[tokio::test]
async fn who_is_shown_is_looked_at_often_and_who_is_gone_rarely() {
    let rig = Rig::new();
    rig.commit("live").await;
    rig.commit("gone").await;
    rig.settle().await;
    let looks = async |secs: u64, shown: Option<&str>| {
        let mut looks = 0;
        for _ in 0..secs {
            rig.clock.advance(Duration::from_secs(1));
            if let Some(name) = shown {
                rig.show(name);
            }
            looks += rig.fleet.look(10).await;
        }
        looks
    };
    let unseen = looks(600, None).await;
    assert!((8..=30).contains(&unseen), "{unseen}");
    // By now both are gone; after a day they are hardly looked at.
    rig.clock.advance(Duration::from_secs(86_400));
    rig.fleet.look(10).await;
    let gone = looks(1_800, None).await;
    assert_eq!(gone, 4);
    rig.commit("live").await;
    rig.show("live");
    let shown = looks(300, Some("live")).await;
    assert!((15..=40).contains(&shown), "{shown}");
    assert_eq!(rig.presence("live"), Some(Presence::Offline));
}

#[tokio::test]
async fn never_more_are_looked_at_than_is_allowed() {
    let rig = Rig::new();
    for index in 0..30 {
        let folder = rig.path.join(format!("client_ids/acme/device_id/d{index}"));
        std::fs::create_dir_all(folder).unwrap();
    }
    rig.fleet.list().await.unwrap();
    assert_eq!(rig.fleet.look(7).await, 7);
    assert_eq!(rig.fleet.look(100).await, 23);
    assert_eq!(rig.fleet.look(100).await, 0);
}
