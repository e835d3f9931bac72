//! A control group that holds a process, and all that it starts, to so much memory (cgroups(7)): of version 1 or 2,
//! whichever has the memory controller here.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use procfs::process::{MountInfo, Process};
use tokio::time::sleep;

/// Every folder of such a group begins so; a run's id follows, a dot, and whose it is.
const PREFIX: &str = "flatline-target-";
/// How the kernel calls those that it killed for want of memory, in groups and on the machine.
const OOM_KILLS: &str = "oom_kill ";
/// What has been killed leaves its group a moment later.
const BEAT: Duration = Duration::from_millis(20);
const BEATS: u32 = 150;

/// Why memory can't be limited.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// No hierarchy with the memory controller in which a group may be made.
    #[error(
        "can't limit the memory of {whose}: no control group can be made here: {why}\n  \
         Run as root outside a container (or in one with --privileged --cgroupns=host), or leave \
         `resources.memory` out."
    )]
    None {
        /// Whose memory.
        whose: String,
        /// What was tried.
        why: String,
    },
    /// It is there, and can't be used or removed.
    #[error("can't {what} the control group {}: {source}", folder.display())]
    Use {
        /// `limit` or `remove`.
        what: &'static str,
        /// Its folder.
        folder: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
}

/// Which files it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// A group without a process yet, or with some.
#[derive(Clone, Debug)]
pub struct MemoryGroup {
    folder: PathBuf,
    version: Version,
}

impl MemoryGroup {
    /// Makes one for a run, limited to so many bytes, swap included. It stays until [`remove_all`].
    ///
    /// # Errors
    /// [`GroupError`].
    pub fn make(run_id: &str, whose: &str, bytes: u64) -> Result<Self, GroupError> {
        let none = |why: String| GroupError::None { whose: whose.to_owned(), why };
        let (parent, version) = parent().map_err(none)?;
        let folder = parent.join(format!("{PREFIX}{run_id}.{whose}"));
        fs::create_dir(&folder).map_err(|error| none(format!("{}: {error}", folder.display())))?;
        let group = Self { folder, version };
        match group.limit(bytes) {
            Ok(()) => Ok(group),
            Err(source) => {
                let folder = group.folder.clone();
                fs::remove_dir(&folder).unwrap_or_default();
                Err(GroupError::Use { what: "limit", folder, source })
            }
        }
    }

    /// The one that a process is in already; `None` where it is not seen here.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let found = hierarchies().into_iter().filter_map(|(mount, version)| {
            let name = path_in(&groups, version)?.trim_start_matches('/');
            let folder = mount.join(name);
            folder.is_dir().then_some(Self { folder, version })
        });
        // Where both versions are mounted, the first has the memory controller.
        found.min_by_key(|group| group.version == Version::Two)
    }

    /// Its folder; who writes its process id into `cgroup.procs` there is in it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// How many processes the kernel has killed in it because they needed more; `None` where it does not say.
    #[must_use]
    pub fn killed(&self) -> Option<u64> {
        let file = match self.version {
            Version::One => "memory.oom_control",
            Version::Two => "memory.events",
        };
        value(&fs::read_to_string(self.folder.join(file)).ok()?, OOM_KILLS)
    }

    /// Memory in it that can't be given back by forgetting what stands in a file, bytes.
    #[must_use]
    pub fn anon_bytes(&self) -> Option<u64> {
        let name = match self.version {
            Version::One => "total_rss ",
            Version::Two => "anon ",
        };
        value(&fs::read_to_string(self.folder.join("memory.stat")).ok()?, name)
    }

    fn limit(&self, bytes: u64) -> io::Result<()> {
        // With swap to go to it would grow slow and not end. A kernel without swap accounting has no such file.
        let (memory, swap, swap_bytes) = match self.version {
            Version::One => ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", bytes),
            Version::Two => ("memory.max", "memory.swap.max", 0),
        };
        fs::write(self.folder.join(memory), bytes.to_string())?;
        match fs::write(self.folder.join(swap), swap_bytes.to_string()) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            // A file can't be made there.
            Err(error) if error.kind() == ErrorKind::PermissionDenied && !self.folder.join(swap).exists() => {
                Ok(())
            }
            result => result,
        }
    }
}

/// Where a process is in a hierarchy (cgroups(7), `/proc/PID/cgroup`).
fn path_in(groups: &str, version: Version) -> Option<&str> {
    let mut lines = groups.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
    let (_, path) = lines.find(|(controllers, _)| match version {
        Version::One => controllers.split(',').any(|controller| controller == "memory"),
        Version::Two => controllers.is_empty(),
    })?;
    Some(path)
}

/// The same of the whole machine, since it was started.
#[must_use]
pub fn killed_on_machine() -> Option<u64> {
    value(&fs::read_to_string("/proc/vmstat").ok()?, OOM_KILLS)
}

/// Of a file with a name and a number in each line.
fn value(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
}

/// Removes the groups of runs for which `of` says so; their processes have been ended. Answers with how many there were.
///
/// # Errors
/// [`GroupError::Use`]: somebody is still in one.
pub async fn remove_all(of: impl Fn(&str) -> bool) -> Result<usize, GroupError> {
    let mut count = 0;
    for folder in hierarchies().into_iter().flat_map(|(mount, _)| below(&mount)) {
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let run_id =
            name.strip_prefix(PREFIX).and_then(|name| name.split_once('.')).map(|(run_id, _)| run_id);
        if run_id.is_some_and(&of) {
            remove(&folder).await.map_err(|source| GroupError::Use { what: "remove", folder, source })?;
            count += 1;
        }
    }
    Ok(count)
}

async fn remove(folder: &Path) -> io::Result<()> {
    for _ in 0..BEATS {
        match fs::remove_dir(folder) {
            Err(error) if error.kind() == ErrorKind::ResourceBusy => sleep(BEAT).await,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            result => return result,
        }
    }
    fs::remove_dir(folder)
}

/// All groups below a folder that are a run's.
fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let (own, others): (Vec<PathBuf>, Vec<PathBuf>) = folders
        .map(|entry| entry.path())
        .partition(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX)));
    own.into_iter().chain(others.iter().flat_map(|folder| below(folder))).collect()
}

/// Where control groups with a memory controller may be: the mounts of such hierarchies.
fn hierarchies() -> Vec<(PathBuf, Version)> {
    let mounts = Process::myself().and_then(|own| own.mountinfo()).map(|mounts| mounts.0).unwrap_or_default();
    let version = |mount: &MountInfo| match mount.fs_type.as_str() {
        "cgroup" if mount.super_options.contains_key("memory") => Some(Version::One),
        "cgroup2" => Some(Version::Two),
        _ => None,
    };
    mounts.iter().filter_map(|mount| Some((mount.mount_point.clone(), version(mount)?))).collect()
}

/// Where a group can be made, or in words why nowhere.
fn parent() -> Result<(PathBuf, Version), String> {
    let hierarchies = hierarchies();
    if let Some((mount, version)) = hierarchies.iter().find(|(_, version)| *version == Version::One) {
        return Ok((mount.clone(), *version));
    }
    let Some((mount, version)) = hierarchies.into_iter().next() else {
        return Err("no cgroup file system is mounted".to_owned());
    };
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let own = mount.join(own);
    // A group that has processes can't share its memory out among groups below it: not this process's own, then, but
    // one above that does.
    let above =
        own.ancestors().skip(usize::from(own != mount)).take_while(|folder| folder.starts_with(&mount));
    let shares = |folder: &&Path| {
        let shared = fs::read_to_string(folder.join("cgroup.subtree_control")).unwrap_or_default();
        shared.split_whitespace().any(|controller| controller == "memory")
    };
    let found = above.into_iter().find(shares).map(|folder| (folder.to_owned(), version));
    found.ok_or_else(|| {
        format!("no group from {} up shares out `memory` (cgroup.subtree_control)", own.display())
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn kills_are_counted_in_the_words_of_either_version() {
        assert_eq!(value("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", OOM_KILLS), Some(3));
        assert_eq!(value("low 0\nhigh 0\nmax 12\noom 2\noom_kill 1\noom_group_kill 0\n", OOM_KILLS), Some(1));
        assert_eq!(value("oom 2\n", OOM_KILLS), None);
    }

    #[test]
    fn a_process_is_found_in_the_group_that_counts_its_memory() {
        let one = "12:cpuset,cpu:/a\n9:memory:/docker/0af1\n0::/user.slice\n";
        assert_eq!(path_in(one, Version::One), Some("/docker/0af1"));
        assert_eq!(path_in(one, Version::Two), Some("/user.slice"));
        let two = "0::/system.slice/docker-0af1.scope\n";
        assert_eq!(path_in(two, Version::Two), Some("/system.slice/docker-0af1.scope"));
        assert_eq!((path_in(two, Version::One), path_in("", Version::Two)), (None, None));
        assert!(MemoryGroup::of(u32::MAX).is_none());
    }

    #[tokio::test]
    async fn who_needs_more_than_its_group_has_is_killed_and_that_is_counted() {
        let run_id = format!("20260101t000000z-test{}", std::process::id());
        let group = MemoryGroup::make(&run_id, "hog", 16 << 20).expect("this test needs root and cgroups");
        assert_eq!((group.killed(), group.anon_bytes()), (Some(0), Some(0)));
        let join = format!("echo $$ > {}/cgroup.procs && exec tail /dev/zero", group.folder().display());
        let status = Command::new("sh").args(["-c", &join]).status().unwrap();
        assert!(!status.success());
        assert_eq!(group.killed(), Some(1));
        assert_eq!(remove_all(|of| of == run_id).await.unwrap(), 1);
        assert!(!group.folder().exists());
        assert_eq!(remove_all(|of| of == run_id).await.unwrap(), 0);
    }
}
