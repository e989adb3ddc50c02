//! No secret is in what the program says, however much it is asked to say: whether whoever the
//! secret is for takes it, refuses it, or is not there.

use std::net::TcpListener;
use std::process::Stdio;
use std::time::{Duration, Instant};

use stream_processor::config::Group;

use crate::broker::Broker;
use crate::program;
use crate::servers::redis::RedisServer;
use crate::servers::s3::S3Server;

/// What every secret of the test holds, and nothing else does.
const MARK: &str = "hush";

/// Everything that the crates of the house would ever say, ours first.
const ALL_THERE_IS: &str = "trace,pulsar=trace,reqwest=trace,hyper=trace,hyper_util=trace,h2=trace,rustls=trace,\
     oauth2=trace,tower_http=trace,tokio_util=trace,mio=trace";

/// How long a command is listened to that does not end by itself.
const LISTENED: Duration = Duration::from_secs(4);

/// Each secret that there is, as a wrong one would be given.
fn secrets(redis_port: u16) -> Vec<(&'static str, String)> {
    vec![
        ("ARCHIVE_DATABASE_URL", "postgres://tester:hush-database@127.0.0.1:9/postgres".into()),
        ("PULSAR_AUTH_TOKEN", "aHVzaA.hush-broker.hush".into()),
        ("REDIS_URL", format!("redis://:hush-mirror@127.0.0.1:{redis_port}")),
        ("SERVE_SIGNING_KEY", "hush-signing-0123456789-0123456789-0123456789".into()),
        ("STORAGE_S3_SECRET_ACCESS_KEY", "hush-bucket".into()),
        ("STORAGE_AZURE_ACCESS_KEY", "hushhushhushhushhushhushhushhushhushhushhus=".into()),
    ]
}

#[test]
fn every_setting_that_is_secret_is_listened_for() {
    let settings = Group::ALL.iter().flat_map(|group| group.settings());
    let secret = settings.filter(|setting| setting.secret);
    let mut known: Vec<_> = secret.map(|setting| setting.variable).collect();
    let mut given: Vec<_> = secrets(1).into_iter().map(|(variable, _)| variable).collect();
    known.sort_unstable();
    given.sort_unstable();
    assert_eq!(given, known);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_says_a_secret() {
    let broker = Broker::shared().await;
    let (bucket, redis) = (S3Server::start().await, RedisServer::start_with(Some("x"), &[]).await);
    let folder = tempfile::tempdir().unwrap();
    let on_disk = [("STORAGE_TYPE", "filesystem".to_owned())];
    let on_disk = [&on_disk[..], &[("STORAGE_BASE_PATH", folder.path().display().to_string())]];
    let on_disk = on_disk.concat();
    let in_s3 = vec![
        ("STORAGE_TYPE", "s3".to_owned()),
        ("STORAGE_S3_BUCKET", bucket.bucket().to_owned()),
        ("STORAGE_S3_REGION", bucket.region().to_owned()),
        ("STORAGE_S3_ENDPOINT_URL", bucket.endpoint()),
        ("STORAGE_S3_ACCESS_KEY_ID", bucket.access_key().to_owned()),
    ];
    let in_azure = vec![
        ("STORAGE_TYPE", "azure".to_owned()),
        ("STORAGE_AZURE_ACCOUNT", "tester".to_owned()),
        ("STORAGE_AZURE_CONTAINER", "streams".to_owned()),
        ("STORAGE_AZURE_ENDPOINT_URL", "http://127.0.0.1:9/tester".to_owned()),
    ];
    type Case<'a> = (&'a [&'a str], &'a [(&'a str, String)]);
    let cases: [Case; 6] = [
        (&["consumer", "--with-cleanup"], &on_disk),
        (&["archive-cleanup", "--rebuild-database"], &on_disk),
        (&["serve"], &on_disk),
        (&["reset-device", "acme", "a", "--dry-run"], &on_disk),
        (&["consumer"], &in_s3),
        (&["cleanup", "--dry-run"], &in_azure),
    ];
    for (arguments, storage) in cases {
        let log = folder.path().join("said.log");
        let file = std::fs::File::create(&log).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut child = program(folder.path(), arguments)
            .envs(secrets(redis.process.port()))
            .envs(storage.iter().map(|(variable, value)| (variable, value)))
            .env("PULSAR_SERVICE_URL", &broker.service_url)
            .env("PULSAR_TOPIC", broker.topic("quiet"))
            .env("REDIS_ENABLED", "true")
            .env("SERVE_ADDRESS", "127.0.0.1")
            .env("SERVE_PORT", port.to_string())
            .env("SERVE_AUTH", "signed")
            .env("METRICS_ADDRESS", "127.0.0.1")
            .env("METRICS_PORT", port.to_string())
            .env("LOG_LEVEL", ALL_THERE_IS)
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .expect("the program runs");
        let begun = Instant::now();
        let mut answers = String::new();
        while begun.elapsed() < LISTENED && child.try_wait().unwrap().is_none() {
            for path in ["metrics", "readyz", "healthz", "", "api/devices"] {
                let answer = reqwest::get(format!("http://127.0.0.1:{port}/{path}")).await;
                if let Ok(answer) = answer {
                    answers += &answer.text().await.unwrap_or_default();
                }
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let _ = child.kill();
        child.wait().unwrap();
        let said = std::fs::read_to_string(&log).unwrap() + &answers;
        assert!(said.len() > 100, "{arguments:?} says something: {said}");
        let told = said.lines().find(|line| line.contains(MARK));
        assert_eq!(told, None, "{arguments:?}");
        println!("{arguments:?}: {} bytes, no secret", said.len());
    }
}
