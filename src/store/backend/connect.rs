//! Reaches a bucket: the clients of the three clouds, with credentials from the settings or,
//! without any there, from where each cloud's own tools look (environment, pod identity,
//! metadata service).

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::{GcpCredential, GoogleCloudStorageBuilder};
use object_store::{
    BackoffConfig, ClientOptions, ObjectStore, RetryConfig, StaticCredentialProvider,
};

use crate::config::StorageBackend;

/// How often and how long a request is tried again before the pipeline is told; it tries again
/// by itself, with longer delays.
const MAX_RETRIES: usize = 5;
const RETRY_TIMEOUT: Duration = Duration::from_secs(20);

/// How long one request may take: a frame or a segment of some MiB over a slow line.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The bucket that the settings name; none for a file system. Nothing is asked of it yet.
///
/// # Errors
/// Settings that no client can be made of: a credentials file that cannot be read, say.
pub(in crate::store) fn connect(
    backend: &StorageBackend,
) -> object_store::Result<Option<Arc<dyn ObjectStore>>> {
    Ok(match backend {
        StorageBackend::Filesystem => None,
        StorageBackend::S3 { bucket, region, endpoint_url, access_key_id, secret_access_key } => {
            let mut builder = AmazonS3Builder::from_env()
                .with_bucket_name(bucket)
                .with_retry(retry())
                .with_client_options(client(endpoint_url.as_deref()));
            if let Some(region) = region {
                builder = builder.with_region(region);
            }
            if let Some(url) = endpoint_url {
                builder = builder.with_endpoint(url);
            }
            if let Some(key) = access_key_id {
                builder = builder.with_access_key_id(key);
            }
            if let Some(secret) = secret_access_key {
                builder = builder.with_secret_access_key(secret.expose());
            }
            Some(Arc::new(builder.build()?))
        }
        StorageBackend::Gcs { bucket, endpoint_url, credentials_file } => {
            let mut builder = GoogleCloudStorageBuilder::from_env()
                .with_bucket_name(bucket)
                .with_retry(retry())
                .with_client_options(client(endpoint_url.as_deref()));
            if let Some(url) = endpoint_url {
                builder = builder.with_base_url(url);
            }
            match credentials_file {
                Some(file) => {
                    builder = builder.with_service_account_path(file.display().to_string());
                }
                // Another server than Google's knows none of Google's identities.
                None if endpoint_url.is_some() => {
                    let nobody = GcpCredential { bearer: String::new() };
                    builder =
                        builder.with_credentials(Arc::new(StaticCredentialProvider::new(nobody)));
                }
                None => {}
            }
            Some(Arc::new(builder.build()?))
        }
        StorageBackend::Azure { account, container, endpoint_url, access_key } => {
            let mut builder = MicrosoftAzureBuilder::from_env()
                .with_account(account)
                .with_container_name(container)
                .with_retry(retry())
                .with_client_options(client(endpoint_url.as_deref()));
            if let Some(url) = endpoint_url {
                builder = builder.with_endpoint(url.clone());
            }
            if let Some(key) = access_key {
                builder = builder.with_access_key(key.expose());
            }
            Some(Arc::new(builder.build()?))
        }
    })
}

fn retry() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(5),
            base: 2.0,
        },
        max_retries: MAX_RETRIES,
        retry_timeout: RETRY_TIMEOUT,
    }
}

/// Plain HTTP only where the settings say so.
fn client(endpoint_url: Option<&str>) -> ClientOptions {
    ClientOptions::new()
        .with_allow_http(endpoint_url.is_some_and(|url| url.starts_with("http://")))
        .with_timeout(REQUEST_TIMEOUT)
        .with_connect_timeout(CONNECT_TIMEOUT)
}
