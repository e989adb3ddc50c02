//! Amazon S3's interface on loopback: versitygw, which keeps objects as files.

use std::process::Command;

use axum::http::{Method, Request};
use object_store::aws::{AmazonS3Builder, AwsAuthorizer, AwsCredential};
use object_store::client::{HttpConnector, HttpRequestBody, ReqwestConnector};
use object_store::{ClientOptions, RetryConfig};

use super::builds;
use super::process::{Plan, Process, answers_http};

const ACCESS_KEY: &str = "tester";
const SECRET: &str = "not-a-secret";
const REGION: &str = "us-east-1";
const BUCKET: &str = "streams";

/// Where it says what it was asked, if it does.
const ACCESS_LOG: &str = "access.log";

/// A running server, which keeps its objects when it is killed.
pub struct S3Server {
    /// To kill it and to start it again.
    pub process: Process,
}

impl S3Server {
    /// Starts one that has [`Self::bucket`].
    pub async fn start() -> Self {
        Self::start_as(false).await
    }

    /// The same; it keeps account of what it was [`Self::asked`].
    pub async fn start_logging() -> Self {
        Self::start_as(true).await
    }

    async fn start_as(logs: bool) -> Self {
        let program = builds::go_program("github.com/versity/versitygw/cmd/versitygw").await;
        let folder = Plan::folder("s3-");
        let (data, accounts) = (folder.path().join("data"), folder.path().join("accounts"));
        for folder in [&data, &accounts] {
            std::fs::create_dir(folder).expect("a folder");
        }
        let log = logs.then(|| folder.path().join(ACCESS_LOG));
        let command = move |port| {
            let mut command = Command::new(&program);
            command.env("ROOT_ACCESS_KEY", ACCESS_KEY).env("ROOT_SECRET_KEY", SECRET);
            command.arg("--port").arg(format!("127.0.0.1:{port}"));
            command.args(["--region", REGION, "--health", "/healthz", "--keep-alive"]);
            if let Some(log) = &log {
                command.arg("--access-log").arg(log);
            }
            // Without accounts it would say that what is asked for is missing, not who asks.
            command.arg("--iam-dir").arg(&accounts).arg("posix").arg(&data);
            command
        };
        let answers = |port| answers_http(port, "/healthz");
        let plan = Plan { name: "versitygw", folder, command: Box::new(command), answers };
        let server = Self { process: Process::start(plan).await };
        server.create_bucket(BUCKET).await;
        server
    }

    /// The kind of every request so far: `GetObject` and so on.
    pub fn asked(&self) -> Vec<String> {
        let log = self.process.folder().join(ACCESS_LOG);
        let text = std::fs::read_to_string(log).expect("an access log");
        let kind = |line: &str| line.split(" s3_").nth(1)?.split(' ').next().map(str::to_owned);
        text.lines().filter_map(kind).collect()
    }

    /// `http://…`
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.process.port())
    }

    /// The bucket that it begins with.
    pub fn bucket(&self) -> &'static str {
        BUCKET
    }

    /// The access key that it knows.
    pub fn access_key(&self) -> &'static str {
        ACCESS_KEY
    }

    /// The secret that belongs to the access key.
    pub fn secret(&self) -> &'static str {
        SECRET
    }

    /// The region that it is in.
    pub fn region(&self) -> &'static str {
        REGION
    }

    /// Creates one more bucket.
    pub async fn create_bucket(&self, name: &str) {
        let credential = AwsCredential {
            key_id: ACCESS_KEY.to_owned(),
            secret_key: SECRET.to_owned(),
            token: None,
        };
        let request = Request::builder()
            .method(Method::PUT)
            .uri(format!("{}/{name}", self.endpoint()))
            .body(HttpRequestBody::empty());
        let mut request = request.expect("a request");
        let authorizer = AwsAuthorizer::new(&credential, "s3", REGION);
        authorizer.try_authorize(&mut request, None).expect("a signature");
        let options = ClientOptions::new().with_allow_http(true);
        let client = ReqwestConnector::default().connect(&options).expect("a client");
        let answer = client.execute(request).await.expect("an answer");
        assert!(answer.status().is_success(), "{name}: {}", answer.status());
    }

    /// A client of a bucket that asks once, to be changed as a test needs.
    pub fn client(&self, bucket: &str) -> AmazonS3Builder {
        AmazonS3Builder::new()
            .with_endpoint(self.endpoint())
            .with_bucket_name(bucket)
            .with_region(REGION)
            .with_access_key_id(ACCESS_KEY)
            .with_secret_access_key(SECRET)
            .with_allow_http(true)
            .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
    }
}
