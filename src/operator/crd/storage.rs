//! `spec.storage`: where frames are and streams go.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::{AccountKeySecretRef, GoogleKeySecretRef, S3SecretRef};

/// Kinds of storage.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum StorageType {
    /// A folder that all pods share.
    #[default]
    Filesystem,
    /// Amazon S3, or what speaks like it.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azure,
}

impl StorageType {
    /// As the settings spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Filesystem => "filesystem",
            Self::S3 => "s3",
            Self::Gcs => "gcs",
            Self::Azure => "azure",
        }
    }
}

/// Where frames are and streams go.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.type != 'filesystem' || has(self.filesystem)").message(
        "type filesystem needs to know where: write filesystem.claimName, a PersistentVolumeClaim that all pods can mount"
    ),
    validation = Rule::new("self.type != 's3' || has(self.s3)").message(
        "type s3 needs to know where: write s3.bucket"
    ),
    validation = Rule::new("self.type != 'gcs' || has(self.gcs)").message(
        "type gcs needs to know where: write gcs.bucket"
    ),
    validation = Rule::new("self.type != 'azure' || has(self.azure)").message(
        "type azure needs to know where: write azure.account and azure.container"
    ),
    validation = Rule::new("self.type == 'filesystem' || !has(self.filesystem)").message(
        "filesystem has no effect with this type: remove it, or write type: filesystem"
    ),
    validation = Rule::new("self.type == 's3' || !has(self.s3)").message(
        "s3 has no effect with this type: remove it, or write type: s3"
    ),
    validation = Rule::new("self.type == 'gcs' || !has(self.gcs)").message(
        "gcs has no effect with this type: remove it, or write type: gcs"
    ),
    validation = Rule::new("self.type == 'azure' || !has(self.azure)").message(
        "azure has no effect with this type: remove it, or write type: azure"
    )
)]
pub struct StorageSpec {
    /// What kind of storage.
    #[serde(rename = "type", default)]
    pub kind: StorageType,
    /// A folder that all pods share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filesystem: Option<FilesystemSpec>,
    /// Amazon S3, or what speaks like it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Spec>,
    /// Google Cloud Storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gcs: Option<GcsSpec>,
    /// Azure Blob Storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub azure: Option<AzureSpec>,
}

/// A folder that all pods share.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.claimName) != has(self.hostPath)").message(
    "write one of filesystem.claimName (a PersistentVolumeClaim) and filesystem.hostPath (a folder of the node, for a cluster of one node)"
))]
pub struct FilesystemSpec {
    /// The PersistentVolumeClaim, in the same namespace. With pods on several nodes its access
    /// mode has to be ReadWriteMany.
    #[schemars(length(min = 1, max = 253))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim_name: Option<String>,
    /// A folder of the node, which has to exist. For a cluster of one node; the restricted Pod
    /// Security Standard does not allow it.
    #[schemars(length(max = 500))]
    #[x_kube(validation = Rule::new("self.startsWith('/') && !self.contains('..')").message(
        "write filesystem.hostPath as an absolute path such as /srv/streams"
    ))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_path: Option<String>,
    /// The folder within the claim under which everything is. Without it the claim's root.
    #[schemars(length(min = 1, max = 500))]
    #[x_kube(validation = Rule::new("!self.startsWith('/') && !self.contains('..')").message(
        "write filesystem.subPath as a relative path such as streams"
    ))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub_path: Option<String>,
}

/// Amazon S3, or what speaks like it.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct S3Spec {
    /// The bucket.
    #[schemars(length(min = 1, max = 255))]
    #[x_kube(validation = Rule::new("!self.contains('/')").message(
        "write s3.bucket as the bucket's name alone, and what follows as s3.prefix"
    ))]
    pub bucket: String,
    /// What stands before every name in the bucket.
    #[schemars(length(max = 500))]
    #[serde(default = "prefix")]
    pub prefix: String,
    /// The bucket's region, such as sa-east-1.
    #[schemars(length(min = 1, max = 255))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Where a server other than Amazon's listens.
    #[schemars(length(max = 500))]
    #[x_kube(validation = Rule::new("self.matches('^https?://[^@ ]+$')").message(
        "write s3.endpoint as https://host, without user"
    ))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The credentials. Without them those of the pod's service account or node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<S3SecretRef>,
}

/// Google Cloud Storage.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GcsSpec {
    /// The bucket.
    #[schemars(length(min = 1, max = 255))]
    #[x_kube(validation = Rule::new("!self.contains('/')").message(
        "write gcs.bucket as the bucket's name alone, and what follows as gcs.prefix"
    ))]
    pub bucket: String,
    /// What stands before every name in the bucket.
    #[schemars(length(max = 500))]
    #[serde(default = "prefix")]
    pub prefix: String,
    /// Where a server other than Google's listens.
    #[schemars(length(max = 500))]
    #[x_kube(validation = Rule::new("self.matches('^https?://[^@ ]+$')").message(
        "write gcs.endpoint as https://host, without user"
    ))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The credentials. Without them those of the pod's service account or node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<GoogleKeySecretRef>,
}

/// Azure Blob Storage.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AzureSpec {
    /// The storage account.
    #[schemars(length(min = 1, max = 255))]
    pub account: String,
    /// The blob container.
    #[schemars(length(min = 1, max = 255))]
    #[x_kube(validation = Rule::new("!self.contains('/')").message(
        "write azure.container as the container's name alone, and what follows as azure.prefix"
    ))]
    pub container: String,
    /// What stands before every name in the container.
    #[schemars(length(max = 500))]
    #[serde(default = "prefix")]
    pub prefix: String,
    /// Where a server other than Microsoft's listens, the account's path included.
    #[schemars(length(max = 500))]
    #[x_kube(validation = Rule::new("self.matches('^https?://[^@ ]+$')").message(
        "write azure.endpoint as https://host/account, without user"
    ))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The account's key. Without it the identity of the pod or node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<AccountKeySecretRef>,
}

fn prefix() -> String {
    "streams".into()
}
