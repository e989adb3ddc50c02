//! The system calls of this room that no safe wrapper in reach has: the room's only unsafe
//! code.

use std::os::fd::RawFd;

/// The first file descriptor after stdin, stdout and stderr.
const FIRST_INHERITED: RawFd = 3;

/// CPU time that this process has spent, in microseconds; zero when the kernel does not say.
pub(super) fn cpu_micros() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock id is a constant and `time` is valid for writes of its type.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    if failed != 0 {
        return 0;
    }
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000).saturating_add(nanos / 1_000)
}

/// Closes every file descriptor besides stdin, stdout and stderr, so that nothing a parent
/// left open by mistake is in reach. Returns whether the kernel could (Linux 5.9).
///
/// Only for the first act of a helper process, when the process itself has opened nothing.
pub(super) fn close_inherited() -> bool {
    let first = libc::c_long::from(FIRST_INHERITED);
    let last = libc::c_long::from(libc::c_int::MAX);
    // SAFETY: takes three integers and no memory. Nothing in the process owns a descriptor
    // from 3 on: they could only have come through exec, and no code has adopted one since.
    unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) == 0 }
}
