//! CPU time and memory of processes, as the kernel counts them. CPU time is what is compared:
//! unlike the wall's it does not depend on who else is using the machine.

use std::fs;
use std::time::Duration;

/// CPU time of this process so far: all threads, ended ones too.
pub fn own_cpu() -> Duration {
    clock(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// CPU time of another process so far, without its children; zero when there is none.
pub fn cpu_of(pid: u32) -> Duration {
    let Ok(pid) = libc::pid_t::try_from(pid) else { return Duration::ZERO };
    let mut id = 0;
    // SAFETY: `id` is valid for writes of its type; the pid is only looked up.
    match unsafe { libc::clock_getcpuclockid(pid, &raw mut id) } {
        0 => clock(id),
        _ => Duration::ZERO,
    }
}

/// CPU time of those processes together.
pub fn cpu_of_all(pids: &[u32]) -> Duration {
    pids.iter().map(|pid| cpu_of(*pid)).sum()
}

fn clock(id: libc::clockid_t) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writes of its type; a wrong id is an error that is returned.
    match unsafe { libc::clock_gettime(id, &raw mut time) } {
        0 => Duration::new(
            u64::try_from(time.tv_sec).unwrap_or(0),
            u32::try_from(time.tv_nsec).unwrap_or(0),
        ),
        _ => Duration::ZERO,
    }
}

/// CPU time of the children of this process that have ended and were waited for.
pub fn ended_children_cpu() -> Duration {
    // SAFETY: the structure is plain numbers, for which zeros are good, and valid for writes.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage);
        usage
    };
    let duration = |time: libc::timeval| {
        Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0))
            + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or(0))
    };
    duration(usage.ru_utime) + duration(usage.ru_stime)
}

/// The children that a process has now.
pub fn children_of(parent: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| parent_of(*pid) == Some(parent)).collect()
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may hold anything (proc_pid_stat(5)).
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

/// Memory of a process in KiB.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// What is resident, shared pages in full.
    pub rss_kib: f64,
    /// The same with shared pages divided by how many share them.
    pub pss_kib: f64,
}

/// What a process has now; zeros where the kernel does not say.
pub fn memory_of(pid: u32) -> Memory {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0.0)
    };
    Memory { rss_kib: field("Rss:"), pss_kib: field("Pss:") }
}

/// Bytes that this process has read so far by `read(2)` and the like, from wherever: what is
/// linked or copied by the kernel is not among them (proc_pid_io(5), `rchar`).
pub fn read_bytes() -> u64 {
    let text = fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("rchar: "));
    line.and_then(|bytes| bytes.trim().parse().ok()).unwrap_or(0)
}

/// Ticks of all cores since the machine was started.
#[derive(Clone, Copy, Debug)]
pub struct MachineTicks {
    busy: u64,
    all: u64,
}

impl MachineTicks {
    pub fn now() -> Self {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        let line = text.lines().next().unwrap_or_default();
        // user, nice, system, idle, iowait, irq, softirq, steal (proc_stat(5)).
        let ticks: Vec<u64> =
            line.split_whitespace().skip(1).take(8).filter_map(|n| n.parse().ok()).collect();
        let all = ticks.iter().sum();
        let idle: u64 = ticks.iter().skip(3).take(2).sum();
        Self { busy: all - idle, all }
    }

    /// The share of all cores' time that was used since `earlier`, 0 to 1.
    pub fn busy_since(self, earlier: Self) -> f64 {
        ratio(
            self.busy.saturating_sub(earlier.busy) as f64,
            self.all.saturating_sub(earlier.all) as f64,
        )
    }
}

/// The middle one; of an even number the mean of the two in the middle.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.get(middle), sorted.len().is_multiple_of(2)) {
        (Some(upper), true) => (sorted.get(middle.wrapping_sub(1)).unwrap_or(upper) + upper) / 2.0,
        (Some(value), false) => *value,
        (None, _) => 0.0,
    }
}

/// Zero where there is nothing to divide by.
pub fn ratio(numerator: f64, denominator: f64) -> f64 {
    if denominator == 0.0 { 0.0 } else { numerator / denominator }
}
