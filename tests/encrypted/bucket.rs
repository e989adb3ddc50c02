//! S3 by `https://`.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::certificates::Authority;
use crate::servers::s3::S3Server;
use crate::tunnel::Tunnel;
use crate::{program, ran};

/// How long a bucket may be tried that is not trusted: it is not tried again for long.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_bucket_is_used_if_its_authority_is_trusted() {
    let (folder, authority, server) =
        (tempfile::tempdir().unwrap(), Authority::new(), S3Server::start().await);
    let tunnel = Tunnel::to(server.process.port(), &authority).await;
    let clean = |trusted: Option<&Path>| {
        let mut command = program(folder.path(), &["cleanup", "--dry-run"]);
        command
            .env("STORAGE_TYPE", "s3")
            .env("STORAGE_S3_BUCKET", server.bucket())
            .env("STORAGE_S3_REGION", server.region())
            .env("STORAGE_S3_ENDPOINT_URL", format!("https://127.0.0.1:{}", tunnel.port))
            .env("STORAGE_S3_ACCESS_KEY_ID", server.access_key())
            .env("STORAGE_S3_SECRET_ACCESS_KEY", server.secret())
            .env("METRICS_ENABLED", "false")
            .envs(trusted.map(|file| ("SSL_CERT_FILE", file)));
        ran(&mut command)
    };
    let another = Authority::new();
    for stranger in [None, Some(another.trusted())] {
        let begun = Instant::now();
        let (well, said) = clean(stranger.as_deref());
        assert!(!well, "{said}");
        assert!(said.contains("certificate") && said.contains("SSL_CERT_FILE"), "{said}");
        assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    }
    let (well, said) = clean(Some(&authority.trusted()));
    assert!(well, "{said}");
}
