//! Named instants at which a test can have the process killed. Rooms name theirs in a file
//! `steps.rs`; without the feature `failpoints` nothing of it is compiled in.

/// Passes a named instant: with the fail point set to `return`, the process dies here as by
/// `kill -9`.
pub(crate) fn reached(step: &'static str) {
    #[cfg(feature = "failpoints")]
    fail::fail_point!(step, |_| die());
    #[cfg(not(feature = "failpoints"))]
    let _ = step;
}

#[cfg(feature = "failpoints")]
fn die() {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    // The signal is on its way; nothing may happen before it arrives.
    loop {
        std::thread::park();
    }
}
