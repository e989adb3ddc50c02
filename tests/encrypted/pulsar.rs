//! The broker by `pulsar+ssl://`: what a worker that cannot reach one says, and that it heals.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use stream_processor::source::pulsar::{Backlog, PulsarAdmin, PulsarSettings};

use crate::broker::Broker;
use crate::certificates::Authority;
use crate::program;
use crate::tunnel::Tunnel;

/// How long may pass until it is so, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a worker says of trouble with the broker, and of its end.
const TROUBLE: &str = "no frames come from the broker";
const REACHED: &str = "the broker is reached again";

/// A worker; killed when it is dropped.
struct Worker {
    child: Child,
    port: u16,
    log: PathBuf,
}

impl Worker {
    fn start(folder: &Path, url: &str, topic: &str, more: &[(&str, &Path)]) -> Self {
        let port = free_port();
        let log = folder.join("worker.log");
        let file = std::fs::File::create(&log).unwrap();
        let child = program(folder, &["consumer"])
            .env("STORAGE_BASE_PATH", folder)
            .env("PULSAR_SERVICE_URL", url)
            .env("PULSAR_TOPIC", topic)
            .env("METRICS_ADDRESS", "127.0.0.1")
            .env("METRICS_PORT", port.to_string())
            .envs(more.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .expect("the worker starts");
        Self { child, port, log }
    }

    /// Waits until it answers so whether it is ready, with all these words.
    async fn is(&self, status: u16, words: &[&str]) {
        let begun = Instant::now();
        loop {
            let url = format!("http://127.0.0.1:{}/readyz", self.port);
            let (mut found, mut said) = (0, String::new());
            if let Ok(answer) = reqwest::get(url).await {
                found = answer.status().as_u16();
                said = answer.text().await.unwrap_or_default();
            }
            if found == status && words.iter().all(|word| said.contains(word)) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{found} {said}: {}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until it has been tried often enough to be said again, if that were done.
    async fn tries_again(&self) {
        tokio::time::sleep(Duration::from_secs(2)).await;
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// The lines with these words.
    fn lines(&self, words: &str) -> Vec<String> {
        self.log().lines().filter(|line| line.contains(words)).map(Into::into).collect()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn an_encrypted_broker_is_used_if_its_authority_is_trusted() {
    const TRUST: &str = "PULSAR_TLS_TRUST_CERTS_FILE";
    let broker = Broker::shared().await;
    let (folder, another) = (tempfile::tempdir().unwrap(), Authority::new());
    let (topic, url) = (broker.topic("encrypted"), broker.tls_url.as_str());
    for stranger in [None, Some(another.trusted())] {
        let stranger: Vec<_> = stranger.iter().map(|file| (TRUST, file.as_path())).collect();
        let worker = Worker::start(folder.path(), url, &topic, &stranger);
        worker.is(503, &["is not trusted", url, TRUST]).await;
        worker.tries_again().await;
        worker.is(503, &["is not trusted", url, TRUST]).await;
        let told = worker.lines(TROUBLE);
        assert_eq!(told.len(), 1, "{}", worker.log());
        for word in ["WARN", "untrusted_certificate", url, TRUST] {
            assert!(told[0].contains(word), "{}", told[0]);
        }
        assert!(worker.lines("fatal").is_empty(), "{}", worker.log());
    }
    let own = broker.folder.join("ca.pem");
    let worker = Worker::start(folder.path(), url, &topic, &[(TRUST, &own)]);
    worker.is(200, &[]).await;
    assert!(worker.lines(TROUBLE).is_empty(), "{}", worker.log());

    let elsewhere = url.replace("127.0.0.1", "localhost");
    let worker = Worker::start(folder.path(), &elsewhere, &topic, &[(TRUST, &own)]);
    worker.is(503, &["another name", &elsewhere, "PULSAR_SERVICE_URL"]).await;
}

#[tokio::test]
async fn the_encrypted_admin_api_is_asked_if_its_authority_is_trusted() {
    let broker = Broker::shared().await;
    let authority = Authority::new();
    let listens = broker.admin_url.rsplit(':').next().unwrap().parse().unwrap();
    let tunnel = Tunnel::to(listens, &authority).await;
    let mut settings =
        PulsarSettings::new("pulsar://127.0.0.1:1", broker.topic("asked"), "nobody", "admin");
    settings.admin_url = Some(format!("https://127.0.0.1:{}", tunnel.port));
    broker.create_partitioned(&settings.topic, 2).await;
    let backlog = async |settings: &PulsarSettings| {
        PulsarAdmin::new(settings).await?.expect("an admin URL is set").backlog().await
    };
    let refused = backlog(&settings).await.unwrap_err().to_string();
    assert!(refused.contains("certificate"), "{refused}");
    settings.tls.trust_certs_file = Some(authority.trusted());
    assert_eq!(backlog(&settings).await.unwrap(), Backlog::default());
    settings.tls.trust_certs_file = Some("/nowhere/ca.pem".into());
    let missing = backlog(&settings).await.unwrap_err().to_string();
    assert!(missing.contains("/nowhere/ca.pem"), "{missing}");
}

#[tokio::test]
async fn a_worker_that_is_not_let_in_says_so() {
    let broker = Broker::shared().await;
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "no.such.token").unwrap();
    let setting = [("PULSAR_AUTH_TOKEN_FILE", token.as_path())];
    let topic = broker.topic("stranger");
    let worker = Worker::start(folder.path(), &broker.service_url, &topic, &setting);
    let words = ["does not let the worker in", &broker.service_url, "PULSAR_AUTH_TOKEN_FILE"];
    worker.is(503, &words).await;
    assert!(!worker.log().contains("no.such.token"), "{}", worker.log());
    // The file is read again whenever it is tried.
    std::fs::copy(broker.folder.join("token"), &token).unwrap();
    worker.is(200, &[]).await;
    assert_eq!(worker.lines(TROUBLE).len(), 1, "{}", worker.log());
    assert_eq!(worker.lines(REACHED).len(), 1, "{}", worker.log());
}

#[tokio::test]
async fn an_address_where_no_broker_listens_is_told_from_one_of_another_form() {
    let broker = Broker::shared().await;
    let folder = tempfile::tempdir().unwrap();
    let (host, plain) = ("127.0.0.1", broker.service_url.as_str());
    let nobody = format!("pulsar://{host}:{}", free_port());
    let unknown = "pulsar://no-such-broker.invalid:6650";
    let wrapped = plain.replace("pulsar:", "pulsar+ssl:");
    let bare = broker.tls_url.replace("pulsar+ssl:", "pulsar:");
    for (url, reason, remedy) in [
        (nobody.as_str(), "nothing listens", "PULSAR_SERVICE_URL"),
        (unknown, "is not known here", "PULSAR_SERVICE_URL"),
        (&wrapped, "does not speak TLS", "pulsar:// is the form"),
        (&bare, "does not answer as a broker", "pulsar+ssl:// is the form"),
    ] {
        let worker = Worker::start(folder.path(), url, "persistent://public/default/none", &[]);
        worker.is(503, &[reason, url, remedy]).await;
        assert_eq!(worker.lines(TROUBLE).len(), 1, "{}", worker.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_heals_when_its_broker_comes_and_says_so_once() {
    let broker = Broker::shared().await;
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let url = format!("pulsar://127.0.0.1:{port}");
    let worker = Worker::start(folder.path(), &url, &broker.topic("late"), &[]);
    worker.is(503, &["nothing listens", &url]).await;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let to = broker.port;
    tokio::spawn(async move {
        while let Ok((mut worker, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut broker = tokio::net::TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut worker, &mut broker).await;
            });
        }
    });
    worker.is(200, &[]).await;
    assert_eq!(worker.lines(TROUBLE).len(), 1, "{}", worker.log());
    assert_eq!(worker.lines(REACHED).len(), 1, "{}", worker.log());
}
