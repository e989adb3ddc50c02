//! What is wrong is told, and nothing is guessed.

use std::error::Error;

use stream_processor::config::{StorageBackend, StorageConfig};
use stream_processor::model::Secret;
use stream_processor::store::layout::Place;
use stream_processor::store::{Store, StoreError};

use super::site::{Part, Site};
use super::store_fixture::{fill, key, settings};
use super::streams::tamper;

pub async fn a_state_that_was_cut_is_never_guessed(part: Part) {
    let store = part.store();
    fill(&store, 3).await;
    tamper(&store, Place::Hls, "state.json", b"{\"format\":1,\"generation\":").await;
    let error = part.store().open(&key()).await.unwrap_err();
    assert!(matches!(error, StoreError::Unreadable { .. }), "{error}");
    assert!(error.to_string().contains("reset-device"), "{error}");
    store
        .on_device(&key(), |folder| folder.remove(Place::Hls, "state.json").map(|_| ()))
        .await
        .unwrap();
    let error = part.store().open(&key()).await.unwrap_err();
    assert!(matches!(error, StoreError::Unreadable { .. }), "{error}");
}

pub async fn a_storage_that_works_is_found_to_work(part: Part) {
    let store = part.store();
    store.check().await.unwrap();
    store.check_readable().await.unwrap();
    assert!(store.devices().await.unwrap().is_empty(), "nothing is left of it");
}

/// The whole chain of what an error says.
fn sentence(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

pub async fn wrong_settings_are_told_with_what_the_server_says(site: &Site) {
    let complaint = async |change: &dyn Fn(&mut StorageBackend)| {
        let mut config: StorageConfig = site.config().clone();
        change(&mut config.streams.backend);
        let store = Store::connect(&config, settings()).expect("nothing has been asked yet");
        let text = sentence(&store.check().await.expect_err("it cannot work"));
        assert!(!text.contains("c2VjcmV0"), "{text}");
        text.to_lowercase()
    };
    let no_bucket = complaint(&|backend| match backend {
        StorageBackend::S3 { bucket, .. }
        | StorageBackend::Gcs { bucket, .. }
        | StorageBackend::Azure { container: bucket, .. } => *bucket = "no-such-bucket".into(),
        StorageBackend::Filesystem => {}
    });
    let text = no_bucket.await;
    assert!(
        text.contains("no-such-bucket")
            || text.contains("nosuchbucket")
            || text.contains("not found"),
        "{text}"
    );
    if !matches!(site.config().streams.backend, StorageBackend::Gcs { .. }) {
        let wrong = complaint(&|backend| match backend {
            StorageBackend::S3 { secret_access_key, .. } => {
                *secret_access_key = Some(Secret::new("c2VjcmV0"));
            }
            StorageBackend::Azure { access_key, .. } => *access_key = Some(Secret::new("c2VjcmV0")),
            _ => {}
        });
        let text = wrong.await;
        assert!(
            text.contains("403")
                || text.contains("denied")
                || text.contains("privileges")
                || text.contains("signature"),
            "{text}"
        );
    }
}
