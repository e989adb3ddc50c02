//! The broker by `pulsar+ssl://`.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::broker::Broker;
use crate::certificates::Authority;
use crate::program;

/// How long may pass until it is so.
const PATIENCE: Duration = Duration::from_secs(30);

/// A worker; killed when it is dropped.
struct Worker {
    child: Child,
    port: u16,
}

impl Worker {
    fn start(folder: &Path, broker: &Broker, topic: &str, trusted: Option<&Path>) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = std::fs::File::create(folder.join("worker.log")).unwrap();
        let child = program(folder, &["consumer"])
            .env("STORAGE_BASE_PATH", folder)
            .env("PULSAR_SERVICE_URL", &broker.tls_url)
            .env("PULSAR_TOPIC", topic)
            .env("METRICS_ADDRESS", "127.0.0.1")
            .env("METRICS_PORT", port.to_string())
            .envs(trusted.map(|file| ("PULSAR_TLS_TRUST_CERTS_FILE", file)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the worker starts");
        Self { child, port }
    }

    /// What it says of its readiness, once that is or holds what is waited for.
    async fn says(&self, what: impl Fn(u16, &str) -> bool) -> String {
        let begun = Instant::now();
        loop {
            let url = format!("http://127.0.0.1:{}/readyz", self.port);
            let answer = reqwest::get(url).await;
            let (status, text) = match answer {
                Ok(answer) => (answer.status().as_u16(), answer.text().await.unwrap_or_default()),
                Err(error) => (0, error.to_string()),
            };
            if what(status, &text) {
                return text;
            }
            assert!(begun.elapsed() < PATIENCE, "{status}: {text}");
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
        let text = worker.says(|status, text| status == 503 && text.contains("certificate")).await;
        assert!(text.contains("PULSAR_TLS_TRUST_CERTS_FILE"), "{text}");
    }
    let own = broker.folder.join("ca.pem");
    let worker = Worker::start(folder.path(), broker, &topic, Some(&own));
    worker.says(|status, _| status == 200).await;
}
