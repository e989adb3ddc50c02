//! What a test can do to the process: have it killed at a named instant, have a step of the
//! storage fail, have its clock step. Rooms name their instants in a file `steps.rs`; without the
//! feature `failpoints` nothing of it is compiled in.

use std::io;

/// Opening and reading a file.
pub(crate) const READ: &str = "storage.read";
/// Writing a file's bytes.
pub(crate) const WRITE: &str = "storage.write";
/// Making a file's bytes durable.
pub(crate) const SYNC: &str = "storage.sync";
/// Giving a file its name.
pub(crate) const RENAME: &str = "storage.rename";
/// Making names durable.
pub(crate) const SYNC_FOLDER: &str = "storage.sync_folder";

/// Passes a named instant: with the fail point set to `return`, the process dies here as by
/// `kill -9`.
pub(crate) fn reached(step: &'static str) {
    #[cfg(feature = "failpoints")]
    fail::fail_point!(step, |_| die());
    #[cfg(not(feature = "failpoints"))]
    let _ = step;
}

/// Passes a step of the storage that a test may have fail: with the fail point set to
/// `return(28)`, as if the system had said errno 28, and with `return` errno 5, EIO.
#[cfg_attr(not(feature = "failpoints"), inline(always))]
pub(crate) fn works(step: &'static str) -> io::Result<()> {
    #[cfg(feature = "failpoints")]
    fail::fail_point!(step, |errno: Option<String>| {
        let errno = errno.and_then(|errno| errno.parse().ok());
        Err(io::Error::from_raw_os_error(errno.unwrap_or(rustix::io::Errno::IO.raw_os_error())))
    });
    #[cfg(not(feature = "failpoints"))]
    let _ = step;
    Ok(())
}

/// By how many milliseconds a test has the clock stepped: `return(-60000)` is a minute back.
#[cfg(feature = "failpoints")]
pub(crate) fn clock_step_millis() -> i64 {
    fail::fail_point!("clock.step", |step: Option<String>| {
        step.and_then(|step| step.parse().ok()).unwrap_or(0)
    });
    0
}

/// Sets fail points while the process runs, as the file that `FAILPOINTS_FILE` names says, a
/// `name=action` a line; it is looked at ten times a second, and what it names no more is off.
#[cfg(feature = "failpoints")]
pub fn follow_file() {
    let Some(path) = std::env::var_os("FAILPOINTS_FILE") else { return };
    std::thread::spawn(move || {
        let mut last = String::new();
        loop {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            if text != last {
                let named = |line: &str| Some(line.split_once('=')?.0.to_owned());
                last.lines().filter_map(named).for_each(fail::remove);
                for (name, action) in text.lines().filter_map(|line| line.split_once('=')) {
                    if let Err(error) = fail::cfg(name, action) {
                        tracing::error!(name, action, error, "a fail point cannot be set");
                    }
                }
                last = text;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    });
}

#[cfg(feature = "failpoints")]
fn die() {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    // The signal is on its way; nothing may happen before it arrives.
    loop {
        std::thread::park();
    }
}
