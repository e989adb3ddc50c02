//! Where frames are and where segments go.

use std::fmt;
use std::path::PathBuf;

use super::reader::Reader;
use super::setting::{Setting, Takes};
use crate::model::Secret;

pub(super) static TYPE: Setting = Setting {
    variable: "STORAGE_TYPE",
    flag: "storage-type",
    default: Some("filesystem"),
    takes: Takes::OneOf(&["filesystem", "s3", "gcs", "azure"]),
    secret: false,
    help: "Where frames and segments are kept. filesystem is a folder that the ingest service \
           and all workers share.",
};

static BASE_PATH: Setting = Setting {
    variable: "STORAGE_BASE_PATH",
    flag: "storage-base-path",
    default: Some("/storage/streams"),
    takes: Takes::Folder,
    secret: false,
    help: "The folder (or the bucket's prefix) under which everything is; nothing outside of \
           it is ever read or written.",
};

static S3_BUCKET: Setting = Setting {
    variable: "STORAGE_S3_BUCKET",
    flag: "storage-s3-bucket",
    default: None,
    takes: Takes::Name,
    secret: false,
    help: "The S3 bucket. Needed with STORAGE_TYPE=s3.",
};

static S3_REGION: Setting = Setting {
    variable: "STORAGE_S3_REGION",
    flag: "storage-s3-region",
    default: None,
    takes: Takes::Name,
    secret: false,
    help: "The region of the S3 bucket, for example sa-east-1.",
};

static S3_ENDPOINT_URL: Setting = Setting {
    variable: "STORAGE_S3_ENDPOINT_URL",
    flag: "storage-s3-endpoint-url",
    default: None,
    takes: Takes::Url(&["https", "http"]),
    secret: false,
    help: "Where an S3 server other than Amazon's listens.",
};

static S3_ACCESS_KEY_ID: Setting = Setting {
    variable: "STORAGE_S3_ACCESS_KEY_ID",
    flag: "storage-s3-access-key-id",
    default: None,
    takes: Takes::Text,
    secret: false,
    help: "The S3 access key. Without it the credentials of the pod or machine.",
};

static S3_SECRET_ACCESS_KEY: Setting = Setting {
    variable: "STORAGE_S3_SECRET_ACCESS_KEY",
    flag: "storage-s3-secret-access-key",
    default: None,
    takes: Takes::Text,
    secret: true,
    help: "What belongs to the S3 access key.",
};

static GCS_BUCKET: Setting = Setting {
    variable: "STORAGE_GCS_BUCKET",
    flag: "storage-gcs-bucket",
    default: None,
    takes: Takes::Name,
    secret: false,
    help: "The Google Cloud Storage bucket. Needed with STORAGE_TYPE=gcs.",
};

static GCS_CREDENTIALS_FILE: Setting = Setting {
    variable: "STORAGE_GCS_CREDENTIALS_FILE",
    flag: "storage-gcs-credentials-file",
    default: None,
    takes: Takes::File,
    secret: false,
    help: "JSON key file of a Google service account. Without it the credentials of the pod \
           or machine.",
};

static GCS_ENDPOINT_URL: Setting = Setting {
    variable: "STORAGE_GCS_ENDPOINT_URL",
    flag: "storage-gcs-endpoint-url",
    default: None,
    takes: Takes::Url(&["https", "http"]),
    secret: false,
    help: "Where a Cloud Storage server other than Google's listens. Without a credentials \
           file, nothing is signed for it.",
};

static AZURE_ACCOUNT: Setting = Setting {
    variable: "STORAGE_AZURE_ACCOUNT",
    flag: "storage-azure-account",
    default: None,
    takes: Takes::Name,
    secret: false,
    help: "The Azure storage account. Needed with STORAGE_TYPE=azure.",
};

static AZURE_CONTAINER: Setting = Setting {
    variable: "STORAGE_AZURE_CONTAINER",
    flag: "storage-azure-container",
    default: None,
    takes: Takes::Name,
    secret: false,
    help: "The Azure blob container. Needed with STORAGE_TYPE=azure.",
};

static AZURE_ACCESS_KEY: Setting = Setting {
    variable: "STORAGE_AZURE_ACCESS_KEY",
    flag: "storage-azure-access-key",
    default: None,
    takes: Takes::Text,
    secret: true,
    help: "The access key of the Azure account. Without it the identity of the pod or \
           machine.",
};

static AZURE_ENDPOINT_URL: Setting = Setting {
    variable: "STORAGE_AZURE_ENDPOINT_URL",
    flag: "storage-azure-endpoint-url",
    default: None,
    takes: Takes::Url(&["https", "http"]),
    secret: false,
    help: "Where a blob server other than Microsoft's listens, its account's path included.",
};

static FRAMES_TYPE: Setting = Setting {
    variable: "STORAGE_FRAMES_TYPE",
    flag: "storage-frames-type",
    default: Some("same"),
    takes: Takes::OneOf(&["same", "filesystem", "s3", "gcs", "azure"]),
    secret: false,
    help: "Where the frames are, if not where the segments go. A cloud's endpoint, region, \
           account and credentials are those of STORAGE_S3_, STORAGE_GCS_ and STORAGE_AZURE_.",
};

static FRAMES_BASE_PATH: Setting = Setting {
    variable: "STORAGE_FRAMES_BASE_PATH",
    flag: "storage-frames-base-path",
    default: None,
    takes: Takes::Folder,
    secret: false,
    help: "The folder (or the bucket's prefix) under which the frames are. Without it \
           STORAGE_BASE_PATH.",
};

static FRAMES_BUCKET: Setting = Setting {
    variable: "STORAGE_FRAMES_BUCKET",
    flag: "storage-frames-bucket",
    default: None,
    takes: Takes::Name,
    secret: false,
    help: "The bucket or container of the frames. Without it that of the segments.",
};

/// The table of this concern.
pub(super) static SETTINGS: &[&Setting] = &[
    &TYPE,
    &BASE_PATH,
    &S3_BUCKET,
    &S3_REGION,
    &S3_ENDPOINT_URL,
    &S3_ACCESS_KEY_ID,
    &S3_SECRET_ACCESS_KEY,
    &GCS_BUCKET,
    &GCS_CREDENTIALS_FILE,
    &GCS_ENDPOINT_URL,
    &AZURE_ACCOUNT,
    &AZURE_CONTAINER,
    &AZURE_ACCESS_KEY,
    &AZURE_ENDPOINT_URL,
    &FRAMES_TYPE,
    &FRAMES_BASE_PATH,
    &FRAMES_BUCKET,
];

/// Where segments go and where frames are.
#[derive(Clone, Debug)]
pub struct StorageConfig {
    /// Where segments go; frames too, unless they are elsewhere.
    pub streams: StoragePlace,
    /// Where frames are, if elsewhere.
    pub frames: Option<StoragePlace>,
}

impl StorageConfig {
    /// A folder for everything.
    pub fn folder(base_path: impl Into<PathBuf>) -> Self {
        let backend = StorageBackend::Filesystem;
        Self { streams: StoragePlace { backend, base_path: base_path.into() }, frames: None }
    }
}

/// A storage and the part of it that is ours.
#[derive(Clone, Debug)]
pub struct StoragePlace {
    /// What kind of storage.
    pub backend: StorageBackend,
    /// The folder, or the bucket's prefix.
    pub base_path: PathBuf,
}

/// As a person would name it: no credentials.
impl fmt::Display for StoragePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.base_path.display().to_string();
        let prefix = path.trim_matches('/');
        match &self.backend {
            StorageBackend::Filesystem => f.write_str(&path),
            StorageBackend::S3 { bucket, .. } => write!(f, "s3://{bucket}/{prefix}"),
            StorageBackend::Gcs { bucket, .. } => write!(f, "gs://{bucket}/{prefix}"),
            StorageBackend::Azure { account, container, .. } => {
                write!(f, "azure://{account}/{container}/{prefix}")
            }
        }
    }
}

/// What kind of storage, and what it takes to reach it.
#[derive(Clone, Debug)]
pub enum StorageBackend {
    /// A folder.
    Filesystem,
    /// Amazon S3 or what speaks like it.
    S3 {
        /// The bucket.
        bucket: String,
        /// Its region.
        region: Option<String>,
        /// Where a server other than Amazon's listens.
        endpoint_url: Option<String>,
        /// The access key.
        access_key_id: Option<String>,
        /// What belongs to it.
        secret_access_key: Option<Secret>,
    },
    /// Google Cloud Storage.
    Gcs {
        /// The bucket.
        bucket: String,
        /// Where a server other than Google's listens.
        endpoint_url: Option<String>,
        /// A service account's key file.
        credentials_file: Option<PathBuf>,
    },
    /// Azure Blob Storage.
    Azure {
        /// The account.
        account: String,
        /// The container.
        container: String,
        /// Where a server other than Microsoft's listens, the account's path included.
        endpoint_url: Option<String>,
        /// The account's key.
        access_key: Option<Secret>,
    },
}

/// The kinds, before what they need is known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Filesystem,
    S3,
    Gcs,
    Azure,
}

fn kind_of(word: &str) -> Option<Kind> {
    match word {
        "filesystem" => Some(Kind::Filesystem),
        "s3" => Some(Kind::S3),
        "gcs" => Some(Kind::Gcs),
        "azure" => Some(Kind::Azure),
        _ => None,
    }
}

/// Reads this concern's settings.
pub(super) fn read(reader: &mut Reader<'_>) -> StorageConfig {
    let kind = reader.choice(&TYPE, Kind::Filesystem, kind_of);
    let base_path = reader.path(&BASE_PATH).unwrap_or_default();
    let frames_kind = reader.choice(&FRAMES_TYPE, None, |word| match word {
        "same" => Some(None),
        other => kind_of(other).map(Some),
    });
    let frames_path = reader.path(&FRAMES_BASE_PATH);
    let frames_bucket = reader.optional(&FRAMES_BUCKET);
    // All are read, whatever the kind, so that a bad value is found before it is needed.
    let clouds = Clouds::read(reader);
    let streams = StoragePlace {
        backend: clouds.backend(reader, &TYPE, kind, None),
        base_path: base_path.clone(),
    };
    let given = frames_path.is_some() || frames_bucket.is_some();
    let frames = match frames_kind {
        None if !given => None,
        kind_of_frames => Some(StoragePlace {
            backend: match kind_of_frames {
                None => clouds.backend(reader, &TYPE, kind, frames_bucket),
                Some(kind) => clouds.backend(reader, &FRAMES_TYPE, kind, frames_bucket),
            },
            base_path: frames_path.unwrap_or(base_path),
        }),
    };
    StorageConfig { streams, frames }
}

/// What it takes to reach each cloud.
struct Clouds {
    s3_bucket: Option<String>,
    s3_region: Option<String>,
    s3_endpoint_url: Option<String>,
    s3_access_key_id: Option<String>,
    s3_secret_access_key: Option<Secret>,
    gcs_bucket: Option<String>,
    gcs_endpoint_url: Option<String>,
    gcs_credentials_file: Option<PathBuf>,
    azure_account: Option<String>,
    azure_container: Option<String>,
    azure_endpoint_url: Option<String>,
    azure_access_key: Option<Secret>,
}

impl Clouds {
    fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            s3_bucket: reader.optional(&S3_BUCKET),
            s3_region: reader.optional(&S3_REGION),
            s3_endpoint_url: reader.optional(&S3_ENDPOINT_URL),
            s3_access_key_id: reader.optional(&S3_ACCESS_KEY_ID),
            s3_secret_access_key: reader.secret(&S3_SECRET_ACCESS_KEY),
            gcs_bucket: reader.optional(&GCS_BUCKET),
            gcs_endpoint_url: reader.optional(&GCS_ENDPOINT_URL),
            gcs_credentials_file: reader.path(&GCS_CREDENTIALS_FILE),
            azure_account: reader.optional(&AZURE_ACCOUNT),
            azure_container: reader.optional(&AZURE_CONTAINER),
            azure_endpoint_url: reader.optional(&AZURE_ENDPOINT_URL),
            azure_access_key: reader.secret(&AZURE_ACCESS_KEY),
        }
    }

    /// A storage of this kind, in `bucket` if that is given. What the kind needs and nobody
    /// gave is a problem of `because`, which chose the kind.
    fn backend(
        &self,
        reader: &mut Reader<'_>,
        because: &'static Setting,
        kind: Kind,
        bucket: Option<String>,
    ) -> StorageBackend {
        let mut needed = |setting: &'static Setting, value: Option<String>| {
            reader.rule(&[because, setting], value.is_some(), || {
                format!(
                    "{} (--{}) is needed with this {}; it takes {}",
                    setting.variable, setting.flag, because.variable, setting.takes
                )
            });
            value.unwrap_or_default()
        };
        match kind {
            Kind::Filesystem => StorageBackend::Filesystem,
            Kind::S3 => StorageBackend::S3 {
                bucket: needed(&S3_BUCKET, bucket.or_else(|| self.s3_bucket.clone())),
                region: self.s3_region.clone(),
                endpoint_url: self.s3_endpoint_url.clone(),
                access_key_id: self.s3_access_key_id.clone(),
                secret_access_key: self.s3_secret_access_key.clone(),
            },
            Kind::Gcs => StorageBackend::Gcs {
                bucket: needed(&GCS_BUCKET, bucket.or_else(|| self.gcs_bucket.clone())),
                endpoint_url: self.gcs_endpoint_url.clone(),
                credentials_file: self.gcs_credentials_file.clone(),
            },
            Kind::Azure => StorageBackend::Azure {
                account: needed(&AZURE_ACCOUNT, self.azure_account.clone()),
                container: needed(
                    &AZURE_CONTAINER,
                    bucket.or_else(|| self.azure_container.clone()),
                ),
                endpoint_url: self.azure_endpoint_url.clone(),
                access_key: self.azure_access_key.clone(),
            },
        }
    }
}
