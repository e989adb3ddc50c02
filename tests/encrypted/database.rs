//! PostgreSQL with `sslmode=require`.

use std::path::Path;

use crate::certificates::Authority;
use crate::servers::postgres::PostgresServer;
use crate::{program, ran};

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_database_is_written_if_its_authority_is_trusted() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let server = PostgresServer::start_encrypted(&authority.certificate(), &authority.key()).await;
    let write = |trusted: Option<&Path>| {
        let mut command = program(folder.path(), &["archive-cleanup", "--rebuild-database"]);
        command
            .env("STORAGE_BASE_PATH", folder.path())
            .env("ARCHIVE_DATABASE_URL", format!("{}?sslmode=require", server.url()))
            .env("METRICS_ENABLED", "false")
            .envs(trusted.map(|file| ("SSL_CERT_FILE", file)));
        ran(&mut command)
    };
    let another = Authority::new();
    for stranger in [None, Some(another.trusted())] {
        let (well, said) = write(stranger.as_deref());
        assert!(!well, "{said}");
        assert!(said.contains("certificate") && said.contains("SSL_CERT_FILE"), "{said}");
    }
    let (well, said) = write(Some(&authority.trusted()));
    assert!(well, "{said}");
}
