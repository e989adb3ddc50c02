//! The storages that streams are served from: a folder, and a bucket on a server that speaks S3.

use tokio::sync::OnceCell;

use super::servers::s3::S3Server;
use super::site::{Part, Site};

/// Ends with the test run.
static S3: OnceCell<S3Server> = OnceCell::const_new();

/// A part of each that is this test's own.
pub async fn storages(test: &str) -> Vec<Part> {
    let s3 = S3.get_or_init(S3Server::start).await;
    [Site::folder(), Site::s3(s3)].iter().map(|site| site.part(test)).collect()
}
