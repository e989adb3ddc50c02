//! The broker by `pulsar+ssl://`.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::broker::Broker;
use crate::certificates::Authority;
use crate::program;

/// How long may pass until it is so.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a worker tries to reach a broker that it does not trust: one that it trusts it
/// reaches sooner.
const LONG_ENOUGH: Duration = Duration::from_secs(3);

/// A worker; killed when it is dropped.
struct Worker {
    child: Child,
    port: u16,
    log: PathBuf,
}

impl Worker {
    fn start(folder: &Path, broker: &Broker, topic: &str, trusted: Option<&Path>) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = folder.join("worker.log");
        let file = std::fs::File::create(&log).unwrap();
        let child = program(folder, &["consumer"])
            .env("STORAGE_BASE_PATH", folder)
            .env("PULSAR_SERVICE_URL", &broker.tls_url)
            .env("PULSAR_TOPIC", topic)
            .env("METRICS_ADDRESS", "127.0.0.1")
            .env("METRICS_PORT", port.to_string())
            .envs(trusted.map(|file| ("PULSAR_TLS_TRUST_CERTS_FILE", file)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .expect("the worker starts");
        Self { child, port, log }
    }

    /// Waits until it answers so whether it is ready.
    async fn is(&self, status: u16) {
        let begun = Instant::now();
        loop {
            let url = format!("http://127.0.0.1:{}/readyz", self.port);
            let found = reqwest::get(url).await.map_or(0, |answer| answer.status().as_u16());
            if found == status {
                return;
            }
            let log = std::fs::read_to_string(&self.log).unwrap();
            assert!(begun.elapsed() < PATIENCE, "{found}: {log}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn an_encrypted_broker_is_used_if_its_authority_is_trusted() {
    let broker = Broker::shared().await;
    let (folder, another) = (tempfile::tempdir().unwrap(), Authority::new());
    let topic = broker.topic("encrypted");
    for stranger in [None, Some(another.trusted())] {
        let worker = Worker::start(folder.path(), broker, &topic, stranger.as_deref());
        worker.is(503).await;
        tokio::time::sleep(LONG_ENOUGH).await;
        worker.is(503).await;
    }
    let own = broker.folder.join("ca.pem");
    let worker = Worker::start(folder.path(), broker, &topic, Some(&own));
    worker.is(200).await;
}
