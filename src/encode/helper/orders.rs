//! What tests can order a helper to do; compiled out of releases.

use std::io;
use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

use crate::encode::EncodeJob;

/// Does what a frame's bytes say, if they say anything: dies, hangs, or dawdles over it.
pub(super) fn obey(job: &EncodeJob, index: usize) {
    let Some(frame) = job.frames.get(index) else { return };
    let says = |order: &[u8]| frame.jpeg.windows(order.len()).any(|bytes| bytes == order);
    if says(b"failpoint:abort") {
        std::process::abort();
    }
    if says(b"failpoint:hang") {
        loop {
            std::thread::sleep(Duration::from_secs(1));
        }
    }
    if says(b"failpoint:dawdle") {
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Tries what the sandbox forbids: each thing's name and the error that stopped it.
pub(super) fn probe() -> Vec<(String, Option<String>)> {
    let tried: [(&str, io::Result<()>); 6] = [
        ("read a file", std::fs::read("/proc/self/status").map(drop)),
        ("write a file", std::fs::write("/tmp/stream-processor-probe", "x")),
        ("listen", TcpListener::bind("127.0.0.1:0").map(drop)),
        ("send", UdpSocket::bind("127.0.0.1:0").map(drop)),
        ("run a program", std::process::Command::new("/bin/true").status().map(drop)),
        ("start a thread", std::thread::Builder::new().spawn(|| ()).map(drop)),
    ];
    tried
        .into_iter()
        .map(|(what, how)| (what.to_owned(), how.err().map(|e| e.to_string())))
        .collect()
}
