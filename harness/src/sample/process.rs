//! A process as the kernel shows it (proc(5)): threads, open file descriptors, memory, CPU time, its own limits, and
//! which one it is.

use std::fs;

use procfs::process::{LimitValue, Process, Stat};
use procfs::{ProcError, WithCurrentSystemInfo};

use crate::result::Resource;

/// What one look at a process gives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// Threads.
    pub threads: u64,
    /// Open file descriptors; `None` where they may not be looked at.
    pub fds: Option<u64>,
    /// Resident memory, bytes.
    pub rss_bytes: u64,
    /// User and system time since its start, seconds.
    pub cpu_seconds: f64,
}

/// Limits that the kernel sets a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// `RLIMIT_NOFILE`, soft.
    pub open_files: Option<u64>,
    /// `RLIMIT_NPROC`, soft, which counts threads.
    pub processes: Option<u64>,
}

impl Limits {
    /// The one on this resource.
    #[must_use]
    pub fn on(self, resource: Resource) -> Option<u64> {
        match resource {
            Resource::Tasks => None,
            Resource::Threads => self.processes,
            Resource::Fds => self.open_files,
        }
    }
}

/// Looks once.
///
/// # Errors
/// [`ProcError`] where the process is gone or may not be looked at.
pub fn read(pid: u32) -> Result<Reading, ProcError> {
    let process = open(pid)?;
    let stat = living(&process)?;
    let ticks = stat.utime + stat.stime;
    Ok(Reading {
        threads: u64::try_from(stat.num_threads).unwrap_or(0),
        fds: match count_fds(pid, &process) {
            Err(ProcError::PermissionDenied(_)) => None,
            counted => Some(counted?),
        },
        rss_bytes: stat.rss_bytes().get(),
        cpu_seconds: ticks as f64 / procfs::ticks_per_second() as f64,
    })
}

/// proc(5): a zombie has ended and waits for its parent; what it shows are no counts.
fn living(process: &Process) -> Result<Stat, ProcError> {
    let stat = process.stat()?;
    if matches!(stat.state, 'Z' | 'X') { Err(ProcError::NotFound(None)) } else { Ok(stat) }
}

/// When the process with this id started, in ticks since the machine did. An id is given again once its process has
/// ended; the id together with this moment is one process's alone, whatever program it runs.
///
/// # Errors
/// As [`read`].
pub fn started_ticks(pid: u32) -> Result<u64, ProcError> {
    Ok(living(&open(pid)?)?.starttime)
}

/// What the kernel calls the process, without what a terminal would obey.
///
/// # Errors
/// As [`read`].
pub fn name(pid: u32) -> Result<String, ProcError> {
    Ok(living(&open(pid)?)?.comm.replace(char::is_control, "?"))
}

/// Whether its descriptors can be listed one by one; to be counted they need not be, on recent kernels.
#[must_use]
pub fn can_list_fds(pid: u32) -> bool {
    fs::read_dir(format!("/proc/{pid}/fd")).is_ok()
}

/// Since Linux 6.2 the size of `/proc/PID/fd` is the number of open descriptors, which costs the same
/// for ten and for ten thousand; older kernels say 0 and are counted one by one.
fn count_fds(pid: u32, process: &Process) -> Result<u64, ProcError> {
    let size = fs::metadata(format!("/proc/{pid}/fd")).map_or(0, |folder| folder.len());
    if size > 0 { Ok(size) } else { process.fd_count().map(|count| count as u64) }
}

/// The process's own limits; those that are unlimited or can't be read are left out.
#[must_use]
pub fn limits(pid: u32) -> Limits {
    let Ok(limits) = open(pid).and_then(|process| process.limits()) else { return Limits::default() };
    let value = |limit: LimitValue| match limit {
        LimitValue::Value(value) => Some(value),
        LimitValue::Unlimited => None,
    };
    Limits {
        open_files: value(limits.max_open_files.soft_limit),
        processes: value(limits.max_processes.soft_limit),
    }
}

pub(super) fn open(pid: u32) -> Result<Process, ProcError> {
    let pid = i32::try_from(pid).map_err(|_| ProcError::NotFound(None))?;
    Process::new(pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_has_ended_and_was_not_waited_for_shows_no_counts() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let process = open(child.id()).unwrap();
        while process.stat().unwrap().state != 'Z' {
            std::thread::yield_now();
        }
        assert!(read(child.id()).is_err());
        child.wait().unwrap();
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        assert!(read(u32::MAX).is_err() && started_ticks(u32::MAX).is_err() && name(u32::MAX).is_err());
    }

    #[test]
    fn a_process_is_told_from_others_by_when_it_started() {
        let own = started_ticks(std::process::id()).unwrap();
        assert_eq!(started_ticks(std::process::id()).unwrap(), own);
        assert!(started_ticks(1).unwrap() < own);
        assert!(can_list_fds(std::process::id()) && !can_list_fds(u32::MAX));
    }
}
