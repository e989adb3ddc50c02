//! What a helper gives up before it sees the first byte from a stranger.
//!
//! Every layer stands on its own and is taken where the kernel has it; what was taken is
//! reported, so that an operator sees a weak node.

use std::collections::BTreeMap;
use std::fmt;

use landlock::{ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetStatus};
use rustix::process::{Resource, Rlimit, Signal, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};
use serde::{Deserialize, Serialize};

/// Which layers a helper is behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Sandbox {
    /// A list of the few system calls it may make.
    pub seccomp: bool,
    /// No file and no port may be opened.
    pub landlock: bool,
    /// Limits on memory, files, processes and core dumps.
    pub rlimits: bool,
}

impl Sandbox {
    /// The layers that both are behind.
    pub(super) fn weaker(self, other: Self) -> Self {
        Self {
            seccomp: self.seccomp && other.seccomp,
            landlock: self.landlock && other.landlock,
            rlimits: self.rlimits && other.rlimits,
        }
    }
}

impl fmt::Display for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layers =
            [(self.seccomp, "seccomp"), (self.landlock, "landlock"), (self.rlimits, "rlimits")];
        let taken: Vec<&str> = layers.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect();
        f.write_str(if taken.is_empty() { "none" } else { "" })?;
        f.write_str(&taken.join("+"))
    }
}

/// What a process has mapped when nothing says how much: several times what the libraries take.
const UNKNOWN_MAPPED_BYTES: u64 = 2 << 30;

/// Locks the calling thread, which is the process's only one, in.
pub(super) fn enter(memory_limit_bytes: u64) -> Sandbox {
    // The helper ends with the thread that started it, whatever becomes of its pipes.
    let dies_with_parent =
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).is_ok();
    let no_new_privileges = rustix::thread::set_no_new_privs(true).is_ok();
    let mapped_bytes = mapped_bytes().unwrap_or(UNKNOWN_MAPPED_BYTES);
    // Landlock needs a file descriptor for a moment, so it comes before the limits.
    let landlock = deny_files_and_ports();
    let rlimits = limit(mapped_bytes.saturating_add(memory_limit_bytes));
    let seccomp = no_new_privileges && filter_system_calls();
    Sandbox { seccomp, landlock, rlimits: rlimits && dies_with_parent }
}

/// How much address space is in use (proc(5), VmSize), so that the limit need not know how many
/// libraries FFmpeg was built with.
fn mapped_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:"))?;
    let kibibytes: u64 = size.trim().strip_suffix(" kB")?.parse().ok()?;
    kibibytes.checked_mul(1_024)
}

fn deny_files_and_ports() -> bool {
    // The newest rights known here; the crate drops those that the kernel does not have.
    let abi = ABI::V5;
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(abi))
        .and_then(|ruleset| ruleset.handle_access(AccessNet::from_all(abi)))
        .and_then(Ruleset::create)
        .and_then(landlock::RulesetCreated::restrict_self);
    status.is_ok_and(|status| status.ruleset != RulesetStatus::NotEnforced)
}

fn limit(address_space_bytes: u64) -> bool {
    let limits = [
        (Resource::As, address_space_bytes),
        (Resource::Fsize, 0),
        (Resource::Nproc, 0),
        (Resource::Core, 0),
        // Stdin, stdout and stderr.
        (Resource::Nofile, 3),
    ];
    limits.into_iter().fold(true, |all, (resource, limit)| {
        let limit = Rlimit { current: Some(limit), maximum: Some(limit) };
        setrlimit(resource, limit).is_ok() && all
    })
}

/// What decoding, encoding, pipes, memory, clocks and dying need. Whatever else is called
/// fails with EPERM instead of killing: libraries that look for something optional cope.
const ALLOWED: &[libc::c_long] = &[
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

fn filter_system_calls() -> bool {
    system_call_filter().is_some_and(|filter| seccompiler::apply_filter(&filter).is_ok())
}

fn system_call_filter() -> Option<BpfProgram> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        ALLOWED.iter().map(|&call| (call, Vec::new())).collect();
    // Memory, but none that could hold injected code.
    let executable = u64::try_from(libc::PROT_EXEC).ok()?;
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        rules.insert(call, vec![argument(2, SeccompCmpOp::MaskedEq(executable), 0)?]);
    }
    // A signal to itself, which is how a process aborts.
    let own = u64::from(std::process::id());
    rules.insert(libc::SYS_tgkill, vec![argument(0, SeccompCmpOp::Eq, own)?]);
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Errno(u32::try_from(libc::EPERM).ok()?),
        SeccompAction::Allow,
        std::env::consts::ARCH.try_into().ok()?,
    );
    filter.ok()?.try_into().ok()
}

fn argument(index: u8, operator: SeccompCmpOp, value: u64) -> Option<SeccompRule> {
    let condition = SeccompCondition::new(index, SeccompCmpArgLen::Dword, operator, value).ok()?;
    SeccompRule::new(vec![condition]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_names_the_layers() {
        assert_eq!(Sandbox::default().to_string(), "none");
        let all = Sandbox { seccomp: true, landlock: true, rlimits: true };
        assert_eq!(all.to_string(), "seccomp+landlock+rlimits");
    }

    #[test]
    fn the_filter_compiles() {
        assert!(system_call_filter().is_some_and(|filter| !filter.is_empty()));
    }

    #[test]
    fn what_is_mapped_is_known() {
        assert!(mapped_bytes().unwrap() > 1 << 20);
    }
}
