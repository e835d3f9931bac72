//! What a process has used so far, with all that descend from it: processor time as exactly as the kernel tells it, and
//! memory at its peak.

use std::fs;

use procfs::process::Stat;
use procfs::{ProcError, WithCurrentSystemInfo};

use super::process;

/// What was used until now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// User and system time, seconds; also that of children that were waited for.
    pub cpu_seconds: f64,
    /// Resident memory, bytes.
    pub rss_bytes: u64,
    /// The most that each has had resident (`VmHWM`), added up, bytes.
    pub rss_peak_bytes: u64,
    /// Threads.
    pub threads: u64,
    /// Open file descriptors; `None` where they may not be looked at.
    pub fds: Option<u64>,
}

/// Looks once.
///
/// # Errors
/// [`ProcError`] where the process is gone.
pub fn of(pid: u32) -> Result<Usage, ProcError> {
    let tree = process::tree(pid)?;
    let reading = tree.reading();
    let mut usage = Usage {
        rss_bytes: reading.rss_bytes,
        threads: reading.threads,
        fds: reading.fds,
        ..Usage::default()
    };
    for (pid, stat) in &tree.living {
        let waited_for = u64::try_from(stat.cutime + stat.cstime).unwrap_or(0);
        let children = waited_for as f64 / procfs::ticks_per_second() as f64;
        usage.cpu_seconds += children + cpu_seconds(*pid, stat);
        usage.rss_peak_bytes += rss_peak_bytes(*pid).unwrap_or_else(|| stat.rss_bytes().get());
    }
    Ok(usage)
}

/// Processor time of a process alone, seconds: without a look at who descends from it.
///
/// # Errors
/// [`ProcError`] where it is gone.
pub fn own(pid: u32) -> Result<f64, ProcError> {
    Ok(cpu_seconds(pid, &process::stat(pid)?))
}

/// The kernel keeps two accounts: in ticks, of all threads that a process ever had; and to the nanosecond, of those that
/// live. Neither says too much, so the greater one is nearer.
fn cpu_seconds(pid: u32, stat: &Stat) -> f64 {
    let ticks = (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64;
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let ids = threads.filter_map(|thread| thread.file_name().to_str()?.parse().ok());
    let nanos: u64 = ids.filter_map(|thread| ran_ns(pid, thread)).sum();
    ticks.max(nanos as f64 / 1e9)
}

/// For how long a thread has run, nanoseconds (`/proc/PID/task/TID/schedstat`, the first figure); `None` where it is gone
/// or the kernel does not count.
#[must_use]
pub fn ran_ns(pid: u32, thread: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{thread}/schedstat")).ok()?;
    text.split_ascii_whitespace().next()?.parse().ok()
}

fn rss_peak_bytes(pid: u32) -> Option<u64> {
    let status = process::open(pid).and_then(|process| process.status()).ok()?;
    Some(status.vmhwm? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_burnt_is_counted_to_less_than_a_tick_and_the_peak_stays() {
        // Of one thread: of threads that have ended, as those of tests, the kernel counts ticks alone.
        let folder = tempfile::tempdir().unwrap();
        let mut burner = std::process::Command::new("sh")
            .args(["-c", "while [ -e \"$0\" ]; do :; done"])
            .arg(folder.path())
            .spawn()
            .unwrap();
        let before = of(burner.id()).unwrap();
        let tick = 1.0 / procfs::ticks_per_second() as f64;
        let (mut after, mut is_finer) = (before, false);
        while after.cpu_seconds < before.cpu_seconds + 3.0 * tick {
            after = of(burner.id()).unwrap();
            let ticks = after.cpu_seconds / tick;
            is_finer |= (ticks - ticks.round()).abs() > 1e-6;
        }
        drop(folder);
        burner.wait().unwrap();
        assert!(after.rss_peak_bytes >= after.rss_bytes / 2 && after.rss_peak_bytes >= before.rss_peak_bytes);
        assert!(after.threads == 1 && after.fds.unwrap() >= 3);
        assert!(is_finer, "whole ticks alone: {after:?}");
    }

    #[test]
    fn a_childs_time_and_memory_are_its_parents() {
        // Until its folder is gone: a moment at which something is there could be missed, and the child go on for ever.
        let script = "while [ -e \"$0\" ]; do :; done & read wait";
        let folder = tempfile::tempdir().unwrap();
        let mut shell = std::process::Command::new("sh")
            .args(["-c", script])
            .arg(folder.path())
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        while of(shell.id()).unwrap().cpu_seconds < 0.05 {
            std::thread::yield_now();
        }
        assert_eq!(of(shell.id()).unwrap().threads, 2);
        drop(folder);
        drop(shell.stdin.take());
        shell.wait().unwrap();
        assert!(of(shell.id()).is_err());
    }
}
