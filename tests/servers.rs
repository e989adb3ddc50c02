//! What the store needs of each server, proven of the ones that its tests use. Against a server
//! that did not do this, the store's own tests would prove nothing.

#![allow(clippy::expect_used, clippy::panic, reason = "a failed expectation fails the test")]

#[path = "servers/databases.rs"]
mod databases;
#[path = "servers/lives.rs"]
mod lives;
#[path = "servers/objects.rs"]
mod objects;
#[path = "support/servers/mod.rs"]
mod servers;

use std::sync::atomic::{AtomicU32, Ordering};

use object_store::aws::S3CopyIfNotExists;
use objects::Bucket;
use servers::azure::AzureServer;
use servers::gcs::GcsServer;
use servers::s3::S3Server;
use tokio::sync::OnceCell;

async fn s3_server() -> &'static S3Server {
    static SHARED: OnceCell<S3Server> = OnceCell::const_new();
    SHARED.get_or_init(S3Server::start).await
}

async fn gcs_server() -> &'static GcsServer {
    static SHARED: OnceCell<GcsServer> = OnceCell::const_new();
    SHARED.get_or_init(GcsServer::start).await
}

async fn azure_server() -> &'static AzureServer {
    static SHARED: OnceCell<AzureServer> = OnceCell::const_new();
    SHARED.get_or_init(AzureServer::start).await
}

/// A bucket's name that no other test has.
fn new_name() -> String {
    static NAMES: AtomicU32 = AtomicU32::new(0);
    format!("test-{}", NAMES.fetch_add(1, Ordering::Relaxed))
}

async fn s3_bucket() -> Bucket {
    let (server, name) = (s3_server().await, new_name());
    server.create_bucket(&name).await;
    let client = server.client(&name).with_copy_if_not_exists(S3CopyIfNotExists::Multipart);
    Bucket::new(client.build().expect("a client"))
}

async fn gcs_bucket() -> Bucket {
    let (server, name) = (gcs_server().await, new_name());
    server.create_bucket(&name).await;
    Bucket::new(server.client(&name).build().expect("a client"))
}

async fn azure_bucket() -> Bucket {
    let (server, name) = (azure_server().await, new_name());
    server.create_container(&name).await;
    Bucket::new(server.client(&name).build().expect("a client"))
}

/// A test of each behaviour for one server.
macro_rules! of_one {
    ($server:ident, $bucket:ident: $($behaviour:ident)+) => {
        mod $server {
            $(
                #[tokio::test]
                async fn $behaviour() {
                    crate::objects::$behaviour(crate::$bucket().await).await;
                }
            )+
        }
    };
}

macro_rules! of_all {
    ($($behaviour:ident)+) => {
        of_one!(s3, s3_bucket: $($behaviour)+);
        of_one!(gcs, gcs_bucket: $($behaviour)+);
        of_one!(azure, azure_bucket: $($behaviour)+);
    };
}

of_all! {
    gives_back_what_it_was_given
    refuses_to_create_an_object_that_exists
    lets_one_of_many_creators_win
    replaces_only_the_version_it_was_told
    lets_one_of_many_updaters_win
    tells_contents_apart_by_their_etag
    reads_only_what_has_changed
    reads_ranges
    copies_on_the_server
    refuses_to_copy_onto_an_object
    lists_folders_and_objects
    lists_page_by_page
    lists_from_an_offset
    keeps_names_as_they_are
    deletes_one_and_many
    says_that_an_object_is_missing
}

#[tokio::test]
async fn s3_says_that_a_bucket_is_missing() {
    let client = s3_server().await.client(&new_name());
    objects::says_that_the_bucket_is_missing(client.build()).await;
}

#[tokio::test]
async fn gcs_says_that_a_bucket_is_missing() {
    let client = gcs_server().await.client(&new_name());
    objects::says_that_the_bucket_is_missing(client.build()).await;
}

#[tokio::test]
async fn azure_says_that_a_container_is_missing() {
    let client = azure_server().await.client(&new_name());
    objects::says_that_the_bucket_is_missing(client.build()).await;
}

#[tokio::test]
async fn s3_refuses_a_wrong_secret() {
    let server = s3_server().await;
    let client = server.client(server.bucket()).with_secret_access_key("wrong");
    objects::refuses_the_credentials(client.build()).await;
}

#[tokio::test]
async fn s3_refuses_an_access_key_that_it_does_not_know() {
    let server = s3_server().await;
    let client = server.client(server.bucket()).with_access_key_id("unknown");
    objects::refuses_the_credentials(client.build()).await;
}

#[tokio::test]
async fn azure_refuses_a_wrong_key() {
    let server = azure_server().await;
    let client = server.client(server.container()).with_access_key("d3Jvbmc=");
    objects::refuses_the_credentials(client.build()).await;
}
