//! Where frames are and where segments go.

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
    &AZURE_ACCOUNT,
    &AZURE_CONTAINER,
    &AZURE_ACCESS_KEY,
];

/// Where frames are and where segments go.
#[derive(Clone, Debug)]
pub struct StorageConfig {
    /// What kind of storage.
    pub backend: StorageBackend,
    /// The folder, or the bucket's prefix.
    pub base_path: PathBuf,
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
        /// A service account's key file.
        credentials_file: Option<PathBuf>,
    },
    /// Azure Blob Storage.
    Azure {
        /// The account.
        account: String,
        /// The container.
        container: String,
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

/// Reads this concern's settings.
pub(super) fn read(reader: &mut Reader<'_>) -> StorageConfig {
    let kind = reader.choice(&TYPE, Kind::Filesystem, |word| match word {
        "filesystem" => Some(Kind::Filesystem),
        "s3" => Some(Kind::S3),
        "gcs" => Some(Kind::Gcs),
        "azure" => Some(Kind::Azure),
        _ => None,
    });
    let base_path = reader.path(&BASE_PATH).unwrap_or_default();
    // All are read, whatever the kind, so that a bad value is found before it is needed.
    let s3 = StorageBackend::S3 {
        bucket: needed(reader, &S3_BUCKET, kind == Kind::S3),
        region: reader.optional(&S3_REGION),
        endpoint_url: reader.optional(&S3_ENDPOINT_URL),
        access_key_id: reader.optional(&S3_ACCESS_KEY_ID),
        secret_access_key: reader.secret(&S3_SECRET_ACCESS_KEY),
    };
    let gcs = StorageBackend::Gcs {
        bucket: needed(reader, &GCS_BUCKET, kind == Kind::Gcs),
        credentials_file: reader.path(&GCS_CREDENTIALS_FILE),
    };
    let azure = StorageBackend::Azure {
        account: needed(reader, &AZURE_ACCOUNT, kind == Kind::Azure),
        container: needed(reader, &AZURE_CONTAINER, kind == Kind::Azure),
        access_key: reader.secret(&AZURE_ACCESS_KEY),
    };
    let backend = match kind {
        Kind::Filesystem => StorageBackend::Filesystem,
        Kind::S3 => s3,
        Kind::Gcs => gcs,
        Kind::Azure => azure,
    };
    StorageConfig { backend, base_path }
}

fn needed(reader: &mut Reader<'_>, setting: &'static Setting, is_needed: bool) -> String {
    let value = reader.optional(setting);
    reader.rule(&[&TYPE, setting], !is_needed || value.is_some(), || {
        format!(
            "{} (--{}) is needed with this {}; it takes {}",
            setting.variable, setting.flag, TYPE.variable, setting.takes
        )
    });
    value.unwrap_or_default()
}
