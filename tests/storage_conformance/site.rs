//! One storage and its parts.
#![allow(dead_code)] // Each test binary uses its own part of it.

use std::path::PathBuf;
use std::sync::Arc;

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use stream_processor::config::{StorageBackend, StorageConfig, StoragePlace};
use stream_processor::model::Secret;
use stream_processor::store::{Store, StoreSettings};
use tempfile::TempDir;

use super::servers::azure::AzureServer;
use super::servers::gcs::GcsServer;
use super::servers::s3::S3Server;
use super::store_fixture::{self, roomy_base};

/// A storage, and how tests put things there as other programs do.
pub struct Site {
    name: &'static str,
    config: StorageConfig,
    bucket: Option<Arc<dyn ObjectStore>>,
    folder: Arc<TempDir>,
}

impl Site {
    pub fn folder() -> Self {
        let folder = Arc::new(roomy_base());
        let config = StorageConfig::folder(folder.path());
        Self { name: "folder", config, bucket: None, folder }
    }

    /// Segments in a folder, frames where `other` is.
    pub fn folder_with_frames_on(other: &Self) -> Self {
        let mut site = Self::folder();
        site.name = "folder and bucket";
        site.config.frames = Some(other.config.streams.clone());
        site.bucket = other.bucket.clone();
        site
    }

    pub fn s3(server: &S3Server) -> Self {
        let backend = StorageBackend::S3 {
            bucket: server.bucket().into(),
            region: Some(server.region().into()),
            endpoint_url: Some(server.endpoint()),
            access_key_id: Some(server.access_key().into()),
            secret_access_key: Some(Secret::new(server.secret())),
        };
        let client = server.client(server.bucket()).build().expect("a client");
        Self::bucket("S3", backend, Arc::new(client))
    }

    pub fn gcs(server: &GcsServer) -> Self {
        let backend = StorageBackend::Gcs {
            bucket: server.bucket().into(),
            endpoint_url: Some(server.endpoint()),
            credentials_file: None,
        };
        let client = server.client(server.bucket()).build().expect("a client");
        Self::bucket("Google Cloud Storage", backend, Arc::new(client))
    }

    pub fn azure(server: &AzureServer) -> Self {
        let backend = StorageBackend::Azure {
            account: server.account().into(),
            container: server.container().into(),
            endpoint_url: Some(server.endpoint()),
            access_key: Some(Secret::new(server.access_key())),
        };
        let client = server.client(server.container()).build().expect("a client");
        Self::bucket("Azure", backend, Arc::new(client))
    }

    fn bucket(name: &'static str, backend: StorageBackend, bucket: Arc<dyn ObjectStore>) -> Self {
        let streams = StoragePlace { backend, base_path: "/fleet".into() };
        let config = StorageConfig { streams, frames: None };
        Self { name, config, bucket: Some(bucket), folder: Arc::new(roomy_base()) }
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    pub fn config(&self) -> &StorageConfig {
        &self.config
    }

    /// A part of the storage that nobody else uses.
    pub fn part(&self, name: &str) -> Part {
        let mut config = self.config.clone();
        let below = |place: &mut StoragePlace| place.base_path = place.base_path.join(name);
        below(&mut config.streams);
        if matches!(config.streams.backend, StorageBackend::Filesystem) {
            std::fs::create_dir_all(&config.streams.base_path).expect("a folder");
        }
        config.frames.as_mut().map(below);
        Part { config, bucket: self.bucket.clone(), _folder: self.folder.clone() }
    }
}

/// A part of a storage.
pub struct Part {
    pub config: StorageConfig,
    bucket: Option<Arc<dyn ObjectStore>>,
    _folder: Arc<TempDir>,
}

impl Part {
    /// The store as another process has it: nothing is remembered.
    pub fn store(&self) -> Store {
        self.store_with(store_fixture::settings())
    }

    pub fn store_with(&self, settings: StoreSettings) -> Store {
        Store::connect(&self.config, settings).expect("a store")
    }

    /// What a command has to be told to work with it; of a folder and of S3.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let place = &self.config.streams;
        let mut variables = vec![("STORAGE_BASE_PATH", place.base_path.display().to_string())];
        if let StorageBackend::S3 {
            bucket,
            region: Some(region),
            endpoint_url: Some(endpoint_url),
            access_key_id: Some(access_key_id),
            secret_access_key: Some(secret),
        } = &place.backend
        {
            variables.extend([
                ("STORAGE_TYPE", "s3".to_owned()),
                ("STORAGE_S3_BUCKET", bucket.clone()),
                ("STORAGE_S3_REGION", region.clone()),
                ("STORAGE_S3_ENDPOINT_URL", endpoint_url.clone()),
                ("STORAGE_S3_ACCESS_KEY_ID", access_key_id.clone()),
                ("STORAGE_S3_SECRET_ACCESS_KEY", secret.expose().to_owned()),
            ]);
        }
        variables
    }

    /// Where its files are, if it is a folder.
    pub fn folder(&self) -> Option<PathBuf> {
        let place = &self.config.streams;
        matches!(place.backend, StorageBackend::Filesystem).then(|| place.base_path.clone())
    }

    /// Writes a file below the base path of the frames, as the ingest service does.
    pub async fn put(&self, path: &str, bytes: &[u8]) {
        let place = self.config.frames.as_ref().unwrap_or(&self.config.streams);
        let full = place.base_path.join(path);
        if matches!(place.backend, StorageBackend::Filesystem) {
            std::fs::create_dir_all(full.parent().expect("a folder")).expect("a folder");
            std::fs::write(full, bytes).expect("a file");
            return;
        }
        let bucket = self.bucket.as_ref().expect("a bucket");
        let key = full.to_str().expect("UTF-8").trim_start_matches('/');
        let location = Path::parse(key).expect("a key");
        bucket.put(&location, bytes.to_vec().into()).await.expect("it is put");
    }
}
