//! Authorities and what they vouch for, made by OpenSSL.

use std::path::{Path, PathBuf};
use std::process::Command;

/// An authority of a test's own, which has made one certificate, for 127.0.0.1.
pub struct Authority {
    folder: tempfile::TempDir,
}

impl Authority {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = ["-subj", "/CN=an authority of a test", "-keyout", "ca.key"];
        create(folder.path(), &[&authority[..], &["-out", "ca.pem"]].concat());
        let server = ["-subj", "/CN=a server of a test", "-CA", "ca.pem", "-CAkey", "ca.key"];
        let names = ["-addext", "subjectAltName=IP:127.0.0.1"];
        let role = ["-addext", "basicConstraints=critical,CA:FALSE"];
        let files = ["-keyout", "key.pem", "-out", "cert.pem"];
        create(folder.path(), &[&server[..], &names, &role, &files].concat());
        Self { folder }
    }

    /// What those have to trust who trust it.
    pub fn trusted(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The server's certificate.
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    /// The server's key.
    pub fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }
}

fn create(folder: &Path, arguments: &[&str]) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-nodes", "-days", "30"])
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("openssl");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}
