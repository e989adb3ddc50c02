//! What tests can order a helper to do; compiled out of releases.

use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
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
    if says(b"failpoint:hoard") {
        hoard();
    }
}

/// Takes memory until there is no more, which ends the process as it ends any that asks for more
/// than there is. Goes on as if nothing was if it gets far more than any limit.
fn hoard() {
    const CHUNK_BYTES: usize = 64 << 20;
    let mut taken: Vec<Vec<u8>> = Vec::new();
    for _ in 0..1_024 {
        let mut chunk = Vec::new();
        if chunk.try_reserve_exact(CHUNK_BYTES).is_err() {
            std::process::abort();
        }
        taken.push(chunk);
    }
    drop(std::hint::black_box(taken));
}

/// Tries what the sandbox forbids: each thing's name and the error that stopped it.
pub(super) fn probe() -> Vec<(String, Option<String>)> {
    let tried: [(&str, io::Result<()>); 7] = [
        ("read a file", std::fs::read("/proc/self/status").map(drop)),
        ("write a file", std::fs::write("/tmp/stream-processor-probe", "x")),
        ("listen", TcpListener::bind("127.0.0.1:0").map(drop)),
        ("send", UdpSocket::bind("127.0.0.1:0").map(drop)),
        ("connect", TcpStream::connect("127.0.0.1:9").map(drop)),
        ("run a program", std::process::Command::new("/bin/true").status().map(drop)),
        ("start a thread", std::thread::Builder::new().spawn(|| ()).map(drop)),
    ];
    let calls = CALLS.iter().map(|(what, call, arguments)| (*what, call_kernel(*call, *arguments)));
    tried
        .into_iter()
        .chain(calls)
        .map(|(what, how)| (what.to_owned(), how.err().map(|e| e.to_string())))
        .collect()
}

/// What is tried by the number of its system call: ways out that no library of ours goes. The
/// arguments are such that a kernel that lets it pass does it, or finds fault with the arguments:
/// either is told from a refusal.
const CALLS: [(&str, libc::c_long, [libc::c_long; 6]); 14] = [
    ("fork", libc::SYS_clone, [libc::SIGCHLD as libc::c_long, 0, 0, 0, 0, 0]),
    ("fork in the new way", libc::SYS_clone3, [0; 6]),
    ("leave for another namespace", libc::SYS_unshare, [0; 6]),
    ("kill its parent", libc::SYS_kill, [1, 0, 0, 0, 0, 0]),
    ("trace a process", libc::SYS_ptrace, [0; 6]),
    ("read a process's memory", libc::SYS_process_vm_readv, [1, 0, 0, 0, 0, 0]),
    ("take a process's file", libc::SYS_pidfd_open, [1, 0, 0, 0, 0, 0]),
    ("mount", libc::SYS_mount, [0; 6]),
    ("queue calls past the filter", libc::SYS_io_uring_setup, [0; 6]),
    ("load a program into the kernel", libc::SYS_bpf, [0; 6]),
    ("make a file in memory to run", libc::SYS_memfd_create, [0; 6]),
    ("raise a limit", libc::SYS_prlimit64, [0; 6]),
    ("map memory to run code in", libc::SYS_mmap, [0, 4_096, RUNNABLE, UNNAMED, -1, 0]),
    ("become another user", libc::SYS_setuid, [0; 6]),
];
const RUNNABLE: libc::c_long = (libc::PROT_READ | libc::PROT_EXEC) as libc::c_long;
const UNNAMED: libc::c_long = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as libc::c_long;

fn call_kernel(call: libc::c_long, a: [libc::c_long; 6]) -> io::Result<()> {
    // SAFETY: none of the calls of the table writes to this process's memory with its arguments;
    // whoever a fork makes leaves at once, below.
    let answer = unsafe { libc::syscall(call, a[0], a[1], a[2], a[3], a[4], a[5]) };
    if call == libc::SYS_clone && answer == 0 {
        // SAFETY: it ends the process that was just made and nothing else.
        unsafe { libc::_exit(0) };
    }
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
