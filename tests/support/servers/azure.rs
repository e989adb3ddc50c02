//! Azure Blob Storage on loopback: Azurite, which keeps blobs in memory.

use std::process::Command;

use axum::http::{Method, Request};
use object_store::azure::{
    AzureAccessKey, AzureAuthorizer, AzureCredential, MicrosoftAzureBuilder,
};
use object_store::client::{HttpConnector, HttpRequestBody, ReqwestConnector};
use object_store::{ClientOptions, RetryConfig};

use super::builds;
use super::process::{Plan, Process, answers_http};

const ACCOUNT: &str = "devstoreaccount1";
/// The key that every Azurite has, as its documentation gives it: no secret.
const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
const CONTAINER: &str = "streams";

/// A running server, which has nothing when it is started again.
pub struct AzureServer {
    /// To kill it and to start it again.
    pub process: Process,
}

impl AzureServer {
    /// Starts one that has [`Self::container`].
    pub async fn start() -> Self {
        let program = builds::azurite().await.join("dist/src/blob/main.js");
        let folder = Plan::folder("azure-");
        let location = folder.path().to_owned();
        let command = move |port: u16| {
            let mut command = Command::new("node");
            command.arg(&program).args(["--blobHost", "127.0.0.1"]);
            command.args(["--blobPort", &port.to_string(), "--disableTelemetry"]);
            // object_store may be newer than the newest version that it knows.
            command.args(["--inMemoryPersistence", "--skipApiVersionCheck"]).current_dir(&location);
            command
        };
        let answers = |port| answers_http(port, "/");
        let plan = Plan { name: "Azurite", folder, command: Box::new(command), answers };
        let server = Self { process: Process::start(plan).await };
        server.create_container(CONTAINER).await;
        server
    }

    /// `http://…`, with the account.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}/{ACCOUNT}", self.process.port())
    }

    /// The container that it begins with.
    pub fn container(&self) -> &'static str {
        CONTAINER
    }

    /// The account that it has.
    pub fn account(&self) -> &'static str {
        ACCOUNT
    }

    /// The key of the account.
    pub fn access_key(&self) -> &'static str {
        KEY
    }

    /// Creates one more container.
    pub async fn create_container(&self, name: &str) {
        let key = AzureAccessKey::try_new(KEY).expect("a key");
        let credential = AzureCredential::AccessKey(key);
        let request = Request::builder()
            .method(Method::PUT)
            .uri(format!("{}/{name}?restype=container", self.endpoint()))
            .header("content-length", "0")
            .body(HttpRequestBody::empty());
        let mut request = request.expect("a request");
        let authorizer = AzureAuthorizer::new(&credential, ACCOUNT);
        authorizer.try_authorize(&mut request).expect("a signature");
        let options = ClientOptions::new().with_allow_http(true);
        let client = ReqwestConnector::default().connect(&options).expect("a client");
        let answer = client.execute(request).await.expect("an answer");
        assert!(answer.status().is_success(), "{name}: {}", answer.status());
    }

    /// A client of a container that asks once, to be changed as a test needs.
    pub fn client(&self, container: &str) -> MicrosoftAzureBuilder {
        MicrosoftAzureBuilder::new()
            .with_endpoint(self.endpoint())
            .with_account(ACCOUNT)
            .with_access_key(KEY)
            .with_container_name(container)
            .with_allow_http(true)
            .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
    }
}
