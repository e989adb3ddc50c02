//! Google Cloud Storage on loopback: fake-gcs-server behind the XML API, which `go/gcs` has. It
//! keeps objects in memory and takes any credentials.

use std::process::Command;

use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::{ClientOptions, RetryConfig};
use serde_json::json;

use super::builds;
use super::process::{Plan, Process, answers_http};

const BUCKET: &str = "streams";

/// A running server, which has nothing when it is started again.
pub struct GcsServer {
    /// To kill it and to start it again.
    pub process: Process,
}

impl GcsServer {
    /// Starts one that has [`Self::bucket`].
    pub async fn start() -> Self {
        let program = builds::go_program("./gcs").await;
        let command = move |port| {
            let mut command = Command::new(&program);
            command.arg("-listen").arg(format!("127.0.0.1:{port}"));
            command
        };
        let answers = |port| answers_http(port, "/_internal/healthcheck");
        let folder = Plan::folder("gcs-");
        let plan = Plan { name: "gcs", folder, command: Box::new(command), answers };
        let server = Self { process: Process::start(plan).await };
        server.create_bucket(BUCKET).await;
        server
    }

    /// `http://…`
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.process.port())
    }

    /// The bucket that it begins with.
    pub fn bucket(&self) -> &'static str {
        BUCKET
    }

    /// The key file of a service account that makes a client come here, without asking for a
    /// token first.
    pub fn service_account_key(&self) -> String {
        json!({
            "gcs_base_url": self.endpoint(),
            "disable_oauth": true,
            "client_email": "",
            "private_key": "",
            "private_key_id": "",
        })
        .to_string()
    }

    /// Creates one more bucket.
    pub async fn create_bucket(&self, name: &str) {
        let url = format!("{}/storage/v1/b?project=test", self.endpoint());
        let request = reqwest::Client::new().post(url).json(&json!({"name": name}));
        let answer = request.send().await.expect("an answer");
        assert!(answer.status().is_success(), "{name}: {}", answer.status());
    }

    /// A client of a bucket that asks once, to be changed as a test needs.
    pub fn client(&self, bucket: &str) -> GoogleCloudStorageBuilder {
        GoogleCloudStorageBuilder::new()
            .with_service_account_key(self.service_account_key())
            .with_bucket_name(bucket)
            .with_client_options(ClientOptions::new().with_allow_http(true))
            .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
    }
}
