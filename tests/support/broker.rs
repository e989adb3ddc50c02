//! A real Pulsar broker for tests: started by `broker/run.sh` unless it runs, shared by the
//! tests of a session, ended with it. Every test uses topics of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use pulsar::compression::{Compression, CompressionZstd};
use pulsar::consumer::{InitialPosition, Message as ConsumedMessage};
use pulsar::producer::{Message, ProducerOptions};
use pulsar::routing_policy::RoutingPolicy;
use pulsar::{Consumer, ConsumerOptions, Producer, Pulsar, TokioExecutor};
use serde_json::Value;
use tokio::sync::OnceCell;

static SHARED: OnceCell<Broker> = OnceCell::const_new();
static TOPICS: AtomicU32 = AtomicU32::new(0);

/// A running broker.
#[derive(Clone, Debug)]
pub struct Broker {
    name: String,
    /// `pulsar://…`
    pub service_url: String,
    /// `pulsar+ssl://…`
    pub tls_url: String,
    /// The folder with `ca.pem`, which `tls_url` is trusted by, and `token`, which is taken.
    pub folder: PathBuf,
    /// `http://…`
    pub admin_url: String,
    /// The port of `service_url`.
    pub port: u16,
}

/// What the broker counts for one subscription, over all partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    /// Entries that are not acknowledged.
    pub backlog: i64,
    /// Messages of these that are with consumers.
    pub unacked: i64,
    /// Consumers that are connected.
    pub consumers: usize,
}

impl Broker {
    /// The broker that tests share.
    pub async fn shared() -> &'static Broker {
        SHARED.get_or_init(|| Broker::own("shared")).await
    }

    /// A broker of that name, for a test that disturbs it.
    pub async fn own(name: &str) -> Broker {
        let (name, owner) = (name.to_owned(), owner());
        blocking(move || Broker::at(&name, &script(&["start", &name, &owner]))).await
    }

    /// Kills it as a power cut would.
    pub async fn crash(&self) {
        let name = self.name.clone();
        blocking(move || script(&["crash", &name])).await;
    }

    /// Starts it again on the same ports and data.
    pub async fn resume(&self) {
        let name = self.name.clone();
        blocking(move || script(&["resume", &name, &owner()])).await;
    }

    /// Stops it in its tracks: its connections stand, and nothing answers.
    pub async fn freeze(&self) {
        let name = self.name.clone();
        blocking(move || script(&["freeze", &name])).await;
    }

    /// Lets it go on.
    pub async fn thaw(&self) {
        let name = self.name.clone();
        blocking(move || script(&["thaw", &name])).await;
    }

    /// Its process, which its address file names.
    pub fn pid(&self) -> Option<u32> {
        let address = std::fs::read_to_string(self.folder.join("address")).ok()?;
        address.lines().find_map(|line| line.strip_prefix("PID="))?.parse().ok()
    }

    /// Ends it and removes its data.
    pub async fn stop(self) {
        blocking(move || script(&["stop", &self.name])).await;
    }

    fn at(name: &str, address_file: &str) -> Broker {
        let text = std::fs::read_to_string(address_file.trim()).expect("the address file");
        let port = |key: &str| -> u16 {
            let line = text.lines().find_map(|line| line.strip_prefix(key));
            line.and_then(|value| value.parse().ok()).expect("a port in the address file")
        };
        let broker_port = port("BROKER_PORT=");
        Broker {
            name: name.to_owned(),
            service_url: format!("pulsar://127.0.0.1:{broker_port}"),
            tls_url: format!("pulsar+ssl://127.0.0.1:{}", port("TLS_PORT=")),
            folder: Path::new(address_file.trim()).parent().expect("a folder").to_owned(),
            admin_url: format!("http://127.0.0.1:{}", port("ADMIN_PORT=")),
            port: broker_port,
        }
    }

    /// A topic name that nobody else uses.
    pub fn topic(&self, hint: &str) -> String {
        let number = TOPICS.fetch_add(1, Ordering::Relaxed);
        let started = std::time::SystemTime::now();
        let millis = started.duration_since(std::time::UNIX_EPOCH).expect("a clock").as_millis();
        format!("persistent://public/default/{hint}-{}-{millis}-{number}", std::process::id())
    }

    /// Makes the topic a partitioned one.
    pub async fn create_partitioned(&self, topic: &str, partitions: u32) {
        self.admin("PUT", &format!("{}/partitions", path(topic)), partitions.into()).await;
    }

    /// Adds partitions, up to this number.
    pub async fn set_partitions(&self, topic: &str, partitions: u32) {
        self.admin("POST", &format!("{}/partitions", path(topic)), partitions.into()).await;
    }

    /// Creates the subscription, from the oldest message on.
    pub async fn create_subscription(&self, topic: &str, subscription: &str) {
        let earliest = serde_json::json!({"ledgerId": -1, "entryId": -1});
        self.admin("PUT", &format!("{}/subscription/{subscription}", path(topic)), earliest).await;
    }

    /// Rewinds the subscription to what was published since that many milliseconds before now.
    pub async fn rewind(&self, topic: &str, subscription: &str, back_millis: u128) {
        let now = std::time::SystemTime::now();
        let now = now.duration_since(std::time::UNIX_EPOCH).expect("a clock").as_millis();
        let to = format!(
            "{}/subscription/{subscription}/resetcursor/{}",
            path(topic),
            now.saturating_sub(back_millis)
        );
        self.admin("POST", &to, Value::Null).await;
    }

    /// Unloads the topic: its consumers and producers are closed by the broker.
    pub async fn unload(&self, topic: &str) {
        self.admin("PUT", &format!("{}/unload", path(topic)), Value::Null).await;
    }

    /// Ends the topic: it takes no more messages.
    pub async fn terminate(&self, topic: &str) {
        self.admin("POST", &format!("{}/terminate", path(topic)), Value::Null).await;
    }

    /// Deletes the topic with its subscriptions.
    pub async fn delete(&self, topic: &str) {
        self.admin("DELETE", &format!("{}?force=true", path(topic)), Value::Null).await;
    }

    /// What the broker counts; zeros where there is no such topic or subscription.
    pub async fn counters(&self, topic: &str, subscription: &str) -> Counters {
        let partitions = self.ask(&format!("{}/partitions", path(topic))).await;
        let partitioned = partitions.is_some_and(|p| p["partitions"].as_u64() > Some(0));
        let kind = if partitioned { "partitioned-stats" } else { "stats" };
        let stats = self.ask(&format!("{}/{kind}", path(topic))).await.unwrap_or(Value::Null);
        let found = &stats["subscriptions"][subscription];
        Counters {
            backlog: found["msgBacklog"].as_i64().unwrap_or(0),
            unacked: found["unackedMessages"].as_i64().unwrap_or(0),
            consumers: found["consumers"].as_array().map_or(0, Vec::len),
        }
    }

    /// Waits until the broker's counters are as wanted.
    pub async fn wait_for(
        &self,
        topic: &str,
        subscription: &str,
        wanted: impl Fn(&Counters) -> bool,
    ) -> Counters {
        let patience = Instant::now() + Duration::from_secs(20);
        loop {
            let counters = self.counters(topic, subscription).await;
            if wanted(&counters) {
                return counters;
            }
            assert!(Instant::now() < patience, "{topic} stays at {counters:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A JSON answer of the admin API at a path below `/admin/v2/`; none if it says no.
    pub async fn ask(&self, path: &str) -> Option<Value> {
        let answer = reqwest::get(format!("{}/admin/v2/{path}", self.admin_url)).await.ok()?;
        if !answer.status().is_success() {
            return None;
        }
        answer.json().await.ok()
    }

    /// Has the admin API do something.
    pub async fn admin(&self, method: &str, path: &str, body: Value) {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let url = format!("{}/admin/v2/{path}", self.admin_url);
        let mut request = reqwest::Client::new().request(method, &url);
        request = match body {
            Value::Null => request.header("content-type", "application/json"),
            body => request.json(&body),
        };
        let answer = request.send().await.expect("the admin API answers");
        let status = answer.status();
        let text = answer.text().await.unwrap_or_default();
        assert!(status.is_success(), "{url}: {status} {text}");
    }

    /// Every message that a topic holds, to its end; none if there is no such topic.
    pub async fn everything_on(&self, topic: &str) -> Vec<ConsumedMessage<Vec<u8>>> {
        let inner = self.ask(&format!("{}/internalStats", path(topic))).await;
        let entries = inner.and_then(|inner| inner["numberOfEntries"].as_u64()).unwrap_or(0);
        if entries == 0 {
            return Vec::new();
        }
        let options = ConsumerOptions::default().with_initial_position(InitialPosition::Earliest);
        let client = self.client().await;
        let built = client.consumer().with_topic(topic).with_subscription("look");
        let built = built.with_options(options.durable(false)).build().await;
        let mut consumer: Consumer<Vec<u8>, TokioExecutor> = built.expect("a consumer");
        let mut messages = Vec::new();
        while (messages.len() as u64) < entries {
            let message = tokio::time::timeout(Duration::from_secs(20), consumer.next()).await;
            let message = message.expect("what the topic holds comes");
            messages.push(message.expect("a message").expect("no error"));
        }
        messages
    }

    /// A client of the broker.
    pub async fn client(&self) -> Pulsar<TokioExecutor> {
        Pulsar::builder(&self.service_url, TokioExecutor).build().await.expect("a client")
    }

    /// Publishes each message as an entry of its own.
    pub async fn publisher(&self, topic: &str) -> Publisher {
        self.publisher_with(topic, ProducerOptions::default()).await
    }

    /// Publishes in entries of exactly `size` messages.
    pub async fn batching_publisher(&self, topic: &str, size: u32) -> Publisher {
        let options = ProducerOptions { batch_size: Some(size), ..ProducerOptions::default() };
        self.publisher_with(topic, options).await
    }

    /// Publishes each message compressed, as an entry of its own.
    pub async fn compressing_publisher(&self, topic: &str) -> Publisher {
        let compression = Some(Compression::Zstd(CompressionZstd::default()));
        self.publisher_with(topic, ProducerOptions { compression, ..Default::default() }).await
    }

    async fn publisher_with(&self, topic: &str, options: ProducerOptions) -> Publisher {
        let options = ProducerOptions {
            routing_policy: Some(RoutingPolicy::RoundRobin),
            block_queue_if_full: true,
            ..options
        };
        let client = self.client().await;
        let producer = client.producer().with_topic(topic).with_options(options).build().await;
        Publisher(producer.expect("a producer"))
    }
}

/// A producer that waits for its receipts.
pub struct Publisher(Producer<TokioExecutor>);

impl Publisher {
    /// Publishes texts, each with its key.
    pub async fn publish<'a>(&mut self, messages: impl IntoIterator<Item = (&'a str, String)>) {
        let with_key = |(key, text): (&str, String)| Message {
            payload: text.into_bytes(),
            partition_key: Some(key.to_owned()),
            properties: [("camera".to_owned(), key.to_owned())].into(),
            ..Message::default()
        };
        self.publish_messages(messages.into_iter().map(with_key)).await;
    }

    /// Publishes messages as they are.
    pub async fn publish_messages(&mut self, messages: impl IntoIterator<Item = Message>) {
        let mut receipts = Vec::new();
        for message in messages {
            receipts.push(self.0.send_non_blocking(message).await.expect("a message is sent"));
        }
        for receipt in receipts {
            receipt.await.expect("a receipt");
        }
    }
}

fn path(topic: &str) -> String {
    topic.replacen("://", "/", 1)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("the script was run")
}

/// The process that the broker is to end with: the whole test run where there is one.
fn owner() -> String {
    let parent = std::os::unix::process::parent_id();
    let name = std::fs::read_to_string(format!("/proc/{parent}/comm")).unwrap_or_default();
    let is_run = matches!(name.trim(), "cargo" | "cargo-nextest" | "make");
    if is_run { parent.to_string() } else { std::process::id().to_string() }
}

fn script(arguments: &[&str]) -> String {
    let run: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/broker/run.sh");
    let output =
        Command::new(run).args(arguments).stdin(Stdio::null()).output().expect("run.sh can be run");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "run.sh {arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("run.sh writes text")
}
