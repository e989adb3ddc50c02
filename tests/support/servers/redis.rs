//! A Redis on loopback, from Debian's package.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

use futures::future::BoxFuture;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::process::{Plan, Process};

/// A running server. What it has acknowledged it still has when it is killed and started again.
pub struct RedisServer {
    /// To kill it and to start it again.
    pub process: Process,
    password: Option<&'static str>,
}

impl RedisServer {
    /// Starts one that asks for no password.
    pub async fn start() -> Self {
        Self::start_with(None, &[]).await
    }

    /// Starts one with a password, and with more arguments, such as `["--maxmemory", "2mb"]`.
    pub async fn start_with(
        password: Option<&'static str>,
        arguments: &'static [&'static str],
    ) -> Self {
        let folder = Plan::folder("redis-");
        let data = folder.path().join("data");
        fs::create_dir(&data).expect("a folder");
        let command = move |port: u16| {
            let mut command = program();
            command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir"]).arg(&data);
            // Each change is in the log's file before it is acknowledged.
            command.args(["--save", "", "--appendonly", "yes", "--appendfsync", "no"]);
            if let Some(password) = password {
                command.args(["--requirepass", password]);
            }
            command.args(arguments);
            command
        };
        let plan = Plan { name: "Redis", folder, command: Box::new(command), answers };
        Self { process: Process::start(plan).await, password }
    }

    /// `redis://…`, with the password.
    pub fn url(&self) -> String {
        let user = self.password.map(|password| format!(":{password}@")).unwrap_or_default();
        format!("redis://{user}127.0.0.1:{}", self.process.port())
    }

    /// Starts it again on the same port, without what it had.
    pub async fn restart_empty(&self) {
        self.process.kill();
        let data = self.process.folder().join("data");
        fs::remove_dir_all(&data).expect("the data are removed");
        fs::create_dir(&data).expect("a folder");
        self.process.restart().await;
    }
}

/// Debian has the server in `redis-tools`, under the name of a part of it; what that part is
/// called by decides. `redis-server` adds the name, and a service that nobody here wants.
fn program() -> Command {
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .any(|folder| folder.join("redis-server").is_file());
    if found {
        return Command::new("redis-server");
    }
    let mut command = Command::new("redis-check-rdb");
    command.arg0("redis-server");
    command
}

/// It answers when it has read its data; that it wants a password first is an answer as well.
fn answers(port: u16) -> BoxFuture<'static, bool> {
    let ask = async move {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(b"PING\r\n").await?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    Box::pin(async move {
        ask.await.is_ok_and(|answer| answer.starts_with("+PONG") || answer.starts_with("-NOAUTH"))
    })
}
