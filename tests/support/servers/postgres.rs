//! A PostgreSQL on loopback, from Debian's package.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use futures::future::BoxFuture;
use tokio_postgres::NoTls;

use super::process::{Plan, Process};

const USER: &str = "tester";
const PASSWORD: &str = "not-a-secret";
const DATABASE: &str = "postgres";

/// A running server. What was committed it still has when it is killed and started again.
pub struct PostgresServer {
    /// To kill it and to start it again.
    pub process: Process,
}

impl PostgresServer {
    /// Starts one with an empty database.
    pub async fn start() -> Self {
        Self::start_as(None).await
    }

    /// The same; it speaks TLS with whoever wants to.
    pub async fn start_encrypted(certificate: &Path, key: &Path) -> Self {
        Self::start_as(Some((certificate, key))).await
    }

    async fn start_as(encrypted: Option<(&Path, &Path)>) -> Self {
        // Not below the project's folder, which the account may not be able to enter.
        let folder = tempfile::Builder::new().prefix("postgres-").tempdir().expect("a folder");
        let account = unprivileged_account();
        let data = folder.path().join("data");
        let made = {
            let (folder, data) = (folder.path().to_owned(), data.clone());
            tokio::task::spawn_blocking(move || create_cluster(&folder, &data, account))
        };
        made.await.expect("a cluster");
        if let Some((certificate, key)) = encrypted {
            give(&data.join("server.crt"), certificate, account);
            give(&data.join("server.key"), key, account);
        }
        let ssl = if encrypted.is_some() { "ssl=on" } else { "ssl=off" };
        let command = move |port: u16| {
            let mut command = as_account("postgres", account);
            command.arg("-D").arg(&data).args(["-h", "127.0.0.1", "-p", &port.to_string()]);
            // No socket beside the port, and no waiting for a disk: no power fails here.
            command.args(["-c", "unix_socket_directories=", "-c", "fsync=off", "-c", ssl]);
            command
        };
        let plan = Plan { name: "PostgreSQL", folder, command: Box::new(command), answers };
        Self { process: Process::start(plan).await }
    }

    /// `postgres://…`, with user, password and database.
    pub fn url(&self) -> String {
        url(self.process.port(), PASSWORD)
    }

    /// The same with a password that is not the user's.
    pub fn url_with_wrong_password(&self) -> String {
        url(self.process.port(), "wrong")
    }
}

fn url(port: u16, password: &str) -> String {
    format!("postgres://{USER}:{password}@127.0.0.1:{port}/{DATABASE}")
}

fn answers(port: u16) -> BoxFuture<'static, bool> {
    // It refuses while it recovers.
    Box::pin(async move { tokio_postgres::connect(&url(port, PASSWORD), NoTls).await.is_ok() })
}

/// User and group to run it as: it refuses to run as root. None for whoever runs the tests.
fn unprivileged_account() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    // Debian's package makes the account.
    let accounts = fs::read_to_string("/etc/passwd").expect("the accounts");
    let line = accounts.lines().find_map(|line| line.strip_prefix("postgres:"));
    let mut fields = line.expect("an account named postgres").split(':').skip(1);
    let mut number = || fields.next()?.parse().ok();
    number().zip(number())
}

/// Copies a file that nobody but the account may read: the server takes no other as its key.
fn give(to: &Path, from: &Path, account: Option<(u32, u32)>) {
    fs::copy(from, to).expect("a copy");
    fs::set_permissions(to, Permissions::from_mode(0o600)).expect("the file is closed to others");
    if let Some((user, group)) = account {
        chown(to, Some(user), Some(group)).expect("the file is given away");
    }
}

fn create_cluster(folder: &Path, data: &Path, account: Option<(u32, u32)>) {
    if let Some((user, group)) = account {
        chown(folder, Some(user), Some(group)).expect("the folder is given away");
    }
    let password = folder.join("password");
    fs::write(&password, PASSWORD).expect("a password file");
    let mut command = as_account("initdb", account);
    command.arg("-D").arg(data).args(["-U", USER, "--auth=scram-sha-256"]);
    command.arg(format!("--pwfile={}", password.display()));
    command.args(["--no-locale", "--encoding=UTF8", "--no-sync", "--no-instructions"]);
    let output = command.current_dir(folder).stdin(Stdio::null()).output();
    let output = output.expect("initdb can be run");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "initdb: {}\n{said}", output.status);
}

fn as_account(program: &str, account: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(installed(program));
    if let Some((user, group)) = account {
        command.uid(user).gid(group);
    }
    command
}

/// Debian keeps the server's programs out of the `PATH`, a folder for each version.
fn installed(program: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let programs = versions.map(|version| version.path().join("bin").join(program));
    programs.filter(|path| path.is_file()).max().unwrap_or_else(|| program.into())
}
