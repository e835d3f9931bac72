//! A process as the kernel shows it (proc(5)): threads, open file descriptors, memory, CPU time, its own limits, which
//! one it is, and who descends from it.

use std::collections::BTreeMap;
use std::fs;

use procfs::process::{LimitValue, Process, Stat};
use procfs::{FromRead, ProcError, WithCurrentSystemInfo};

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
    let stat = stat(pid)?;
    Ok(reading(&stat, count_fds(pid)?, stat.utime + stat.stime))
}

fn reading(stat: &Stat, fds: Option<u64>, cpu_ticks: u64) -> Reading {
    Reading {
        threads: u64::try_from(stat.num_threads).unwrap_or(0),
        fds,
        rss_bytes: stat.rss_bytes().get(),
        cpu_seconds: cpu_ticks as f64 / procfs::ticks_per_second() as f64,
    }
}

/// What the kernel says of a process. One that has ended and waits for its parent (proc(5), state Z) shows no counts.
///
/// # Errors
/// As [`read`].
pub fn stat(pid: u32) -> Result<Stat, ProcError> {
    let stat = Stat::from_file(format!("/proc/{pid}/stat"))?;
    if has_ended(&stat) { Err(ProcError::NotFound(None)) } else { Ok(stat) }
}

/// Whether it has ended, though it was not waited for.
#[must_use]
pub fn has_ended(stat: &Stat) -> bool {
    matches!(stat.state, 'Z' | 'X')
}

/// When the process with this id started, in ticks since the machine did. An id is given again once its process has
/// ended; the id together with this moment is one process's alone, whatever program it runs.
///
/// # Errors
/// As [`read`].
pub fn started_ticks(pid: u32) -> Result<u64, ProcError> {
    Ok(stat(pid)?.starttime)
}

/// What the kernel calls the process, without what a terminal would obey.
///
/// # Errors
/// As [`read`].
pub fn name(pid: u32) -> Result<String, ProcError> {
    Ok(name_of(&stat(pid)?))
}

/// The same of one that was looked at.
#[must_use]
pub fn name_of(stat: &Stat) -> String {
    stat.comm.replace(char::is_control, "?")
}

/// A process and all that descend from it, each by the parent that it has now: a child that its parent leaves behind
/// belongs to somebody else from then on.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// Those that live, by id; the first one is among them.
    pub living: BTreeMap<u32, Stat>,
    /// Those that have ended and were not waited for yet.
    pub unwaited: BTreeMap<u32, Stat>,
}

/// Finds them by one look at every process of the machine, which costs less than to ask each thread for its children.
///
/// # Errors
/// [`ProcError`] where the first one is gone, or the process table can't be read.
pub fn tree(root: u32) -> Result<Tree, ProcError> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        // Whoever is gone by now has no part in it.
        let found = pid.and_then(|pid| Some((pid, Stat::from_file(format!("/proc/{pid}/stat")).ok()?)));
        all.extend(found);
    }
    descendants(root, all).ok_or(ProcError::NotFound(None))
}

fn descendants(root: u32, mut all: BTreeMap<u32, Stat>) -> Option<Tree> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (pid, stat) in &all {
        children.entry(u32::try_from(stat.ppid).unwrap_or(0)).or_default().push(*pid);
    }
    all.get(&root).filter(|root| !has_ended(root))?;
    let mut tree = Tree::default();
    let mut next = vec![root];
    while let Some(pid) = next.pop() {
        // Each is taken out once: two looks at a moving table may make a circle.
        let Some(stat) = all.remove(&pid) else { continue };
        next.extend(children.get(&pid).into_iter().flatten());
        if has_ended(&stat) {
            tree.unwaited.insert(pid, stat);
        } else {
            tree.living.insert(pid, stat);
        }
    }
    Some(tree)
}

impl Tree {
    /// All of them together. Memory that they share is counted for each. CPU time is also that of those that were waited
    /// for, so that it does not fall with a child's end.
    #[must_use]
    pub fn reading(&self) -> Reading {
        let mut sum = Reading { threads: 0, fds: Some(0), rss_bytes: 0, cpu_seconds: 0.0 };
        for (pid, stat) in &self.living {
            let waited_for = u64::try_from(stat.cutime + stat.cstime).unwrap_or(0);
            // Of one that has gone meanwhile there is none; of one that hides them nobody knows, nor of all together.
            let fds = count_fds(*pid).unwrap_or(Some(0));
            let own = reading(stat, fds, stat.utime + stat.stime + waited_for);
            sum = Reading {
                threads: sum.threads + own.threads,
                fds: sum.fds.zip(own.fds).map(|(sum, own)| sum + own),
                rss_bytes: sum.rss_bytes + own.rss_bytes,
                cpu_seconds: sum.cpu_seconds + own.cpu_seconds,
            };
        }
        sum
    }
}

/// Whether the id is anybody's: a process's, a thread's, or that of one that has ended and was not waited for.
#[must_use]
pub fn is_there(pid: u32) -> bool {
    fs::exists(format!("/proc/{pid}/stat")).unwrap_or(false)
}

/// Whether it is a part of the kernel (`PF_KTHREAD`), which holds nothing that could leak.
#[must_use]
pub fn is_of_kernel(stat: &Stat) -> bool {
    stat.flags & 0x0020_0000 != 0
}

/// The process that a thread belongs to; that of a process itself is its own id.
#[must_use]
pub fn of_whom(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Tgid:"))?.trim().parse().ok()
}

/// Whether its descriptors can be listed one by one; to be counted they need not be, on recent kernels.
#[must_use]
pub fn can_list_fds(pid: u32) -> bool {
    fs::read_dir(format!("/proc/{pid}/fd")).is_ok()
}

/// Since Linux 6.2 the size of `/proc/PID/fd` is the number of open descriptors, which costs the same for ten and for ten
/// thousand; older kernels say 0 and are counted one by one. `None` where they may not be looked at.
fn count_fds(pid: u32) -> Result<Option<u64>, ProcError> {
    let size = fs::metadata(format!("/proc/{pid}/fd")).map_or(0, |folder| folder.len());
    if size > 0 {
        return Ok(Some(size));
    }
    match open(pid).and_then(|process| process.fd_count()) {
        Err(ProcError::PermissionDenied(_)) => Ok(None),
        counted => Ok(Some(counted? as u64)),
    }
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
        assert!(read(child.id()).is_err() && tree(child.id()).is_err());
        assert!(tree(std::process::id()).unwrap().unwaited.contains_key(&child.id()));
        child.wait().unwrap();
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        assert!(read(u32::MAX).is_err() && stat(u32::MAX).is_err() && tree(u32::MAX).is_err());
    }

    #[test]
    fn a_process_is_told_from_others_by_when_it_started() {
        let started = |pid| started_ticks(pid).unwrap();
        let own = std::process::id();
        assert_eq!(started(own), started(own));
        assert!(started(1) < started(own));
        assert!(can_list_fds(own) && !can_list_fds(u32::MAX));
    }

    #[test]
    fn a_tree_is_all_who_descend_and_nobody_else() {
        let like = stat(std::process::id()).unwrap();
        let of = |parent: i32, state: char| {
            let mut stat = like.clone();
            (stat.ppid, stat.state) = (parent, state);
            stat
        };
        let all = BTreeMap::from([
            (10, of(1, 'S')),
            (11, of(10, 'S')),
            (12, of(11, 'R')),
            (13, of(10, 'Z')),
            (20, of(1, 'S')),
            (21, of(22, 'S')),
            (22, of(21, 'S')),
        ]);
        let tree = |root| {
            descendants(root, all.clone())
                .map(|tree| (tree.living.into_keys().collect(), tree.unwaited.len()))
        };
        assert_eq!(tree(10), Some((vec![10, 11, 12], 1)));
        assert_eq!(tree(21), Some((vec![21, 22], 0)), "a circle ends");
        assert_eq!((tree(13), tree(99)), (None, None));
    }

    #[test]
    fn a_tree_counts_for_all_of_its_own() {
        let mut shell = std::process::Command::new("sh")
            .args(["-c", "sleep 600 & read wait"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let both = loop {
            let tree = tree(shell.id()).unwrap();
            if tree.living.values().any(|stat| stat.comm == "sleep") {
                break tree;
            }
            std::thread::yield_now();
        };
        let each: Vec<Reading> = both.living.keys().map(|pid| read(*pid).unwrap()).collect();
        let sum = both.reading();
        assert_eq!((each.len(), sum.threads), (2, 2));
        assert_eq!(sum.fds, Some(each.iter().filter_map(|one| one.fds).sum()));
        assert_eq!(sum.rss_bytes, both.living.values().map(|stat| stat.rss_bytes().get()).sum::<u64>());
        let sleep = both.living.keys().find(|pid| **pid != shell.id()).unwrap();
        assert!(std::process::Command::new("kill").arg(sleep.to_string()).status().unwrap().success());
        drop(shell.stdin.take());
        shell.wait().unwrap();
    }
}
