//! Where a fleet's frames and streams are: a folder, or a bucket whose objects are files that
//! can be watched.

use std::path::{Path, PathBuf};

use stream_processor::config::{StorageBackend, StorageConfig, StoragePlace};
use stream_processor::model::Secret;
use stream_processor::store::{Store, StoreSettings};

/// The prefix in the bucket.
#[allow(dead_code, reason = "not every test binary has a bucket")]
const PREFIX: &str = "fleet";

/// A storage under test.
pub struct Place {
    /// Where its files lie for whoever looks at them from outside.
    pub base: PathBuf,
    /// What the worker has to be told.
    pub variables: Vec<(&'static str, String)>,
    /// To look at it with.
    pub store: Store,
    _folder: Option<tempfile::TempDir>,
}

impl Place {
    /// A folder that goes with it.
    #[allow(dead_code, reason = "not every test binary has a folder")]
    pub fn folder() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let place = Self::at(folder.path());
        Self { _folder: Some(folder), ..place }
    }

    /// A folder that is there already.
    #[allow(dead_code, reason = "not every test binary has a folder")]
    pub fn at(base: &Path) -> Self {
        Self {
            variables: vec![("STORAGE_BASE_PATH", base.display().to_string())],
            store: Store::at(base, StoreSettings::default()).expect("the storage"),
            base: base.to_owned(),
            _folder: None,
        }
    }

    /// A bucket on an S3 server that keeps its objects as files in `bucket_folder`.
    #[allow(dead_code, reason = "not every test binary has a bucket")]
    pub fn s3(bucket_folder: &Path, endpoint: &str, bucket: &str, keys: (&str, &str)) -> Self {
        let base = bucket_folder.join(PREFIX);
        std::fs::create_dir_all(&base).expect("a folder");
        let (access_key, secret) = keys;
        let variables = vec![
            ("STORAGE_TYPE", "s3".to_owned()),
            ("STORAGE_BASE_PATH", format!("/{PREFIX}")),
            ("STORAGE_S3_BUCKET", bucket.to_owned()),
            ("STORAGE_S3_REGION", "us-east-1".to_owned()),
            ("STORAGE_S3_ENDPOINT_URL", endpoint.to_owned()),
            ("STORAGE_S3_ACCESS_KEY_ID", access_key.to_owned()),
            ("STORAGE_S3_SECRET_ACCESS_KEY", secret.to_owned()),
        ];
        let backend = StorageBackend::S3 {
            bucket: bucket.to_owned(),
            region: Some("us-east-1".to_owned()),
            endpoint_url: Some(endpoint.to_owned()),
            access_key_id: Some(access_key.to_owned()),
            secret_access_key: Some(Secret::new(secret)),
        };
        let streams = StoragePlace { backend, base_path: PREFIX.into() };
        let config = StorageConfig { streams, frames: None };
        let store = Store::connect(&config, StoreSettings::default()).expect("the storage");
        Self { base, variables, store, _folder: None }
    }
}
