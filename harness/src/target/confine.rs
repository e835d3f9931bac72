//! A program started within limits: `flatline confine` takes them upon itself and then becomes the program, which keeps
//! its process id. So they hold from the program's first instruction on.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Resource, Rlimit, geteuid, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::result::{Allowance, RunIn, cpu_list};

/// What a process is held to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confinement {
    /// Open file descriptors at most.
    pub fds: Option<u64>,
    /// The processors that it may run on.
    pub cpus: Option<String>,
    /// The control group that it joins: its folder.
    pub group: Option<PathBuf>,
}

/// Why a program can't be started within its limits.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// The kernel does not grant so many.
    #[error("can't limit file descriptors to {fds}: {source}; above `ulimit -Hn` only root may go")]
    Fds {
        /// How many.
        fds: u64,
        /// What it says.
        source: io::Error,
    },
    /// Not all of these processors are here.
    #[error("can't keep it on the processors {cpus}: {why}")]
    Cpus {
        /// Which.
        cpus: String,
        /// Why not.
        why: String,
    },
    /// The control group can't be joined.
    #[error("can't join the control group {}: {source}", group.display())]
    Group {
        /// Its folder.
        group: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// No such program, or it may not be run.
    #[error("can't start {program}: {source}")]
    Program {
        /// Which.
        program: String,
        /// Why.
        source: io::Error,
    },
}

impl Confinement {
    /// By what a target may use, and the control group that holds it to its memory.
    #[must_use]
    pub fn new(allowed: &Allowance, group: Option<&Path>) -> Self {
        Self { fds: allowed.fds, cpus: allowed.cpus.clone(), group: group.map(Path::to_owned) }
    }

    /// Whether there is nothing to hold it to.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a target that runs there can be held to it on this machine: what can be told before a program is
    /// started.
    ///
    /// # Errors
    /// [`ConfineError`].
    pub fn check(&self, run_in: RunIn) -> Result<(), ConfineError> {
        match run_in {
            RunIn::Process => self.check_user(),
            // By the engine's leave; what it refuses beside that it says itself.
            RunIn::Container => self.check_machine(),
        }
    }

    /// Whether this user can.
    fn check_user(&self) -> Result<(), ConfineError> {
        self.check_machine()?;
        let most = getrlimit(Resource::Nofile).maximum;
        match (self.fds, most) {
            (Some(fds), Some(most)) if fds > most && !geteuid().is_root() => Err(too_many(fds, most)),
            _ => Ok(()),
        }
    }

    /// Whether anybody can, such as an engine that runs as root.
    fn check_machine(&self) -> Result<(), ConfineError> {
        // Where the system does not say, the program's start finds out.
        let online = fs::read_to_string("/sys/devices/system/cpu/online").ok();
        if let (Some(cpus), Some(online)) = (&self.cpus, online.and_then(|online| cpu_list(online.trim()))) {
            let wanted = cpu_list(cpus).unwrap_or_default();
            wanted.difference(&online).next().map_or(Ok(()), |missing| Err(not_here(cpus, *missing)))?;
        }
        // No limit may be above this one (proc(5), `fs.nr_open`).
        let most = fs::read_to_string("/proc/sys/fs/nr_open").ok().and_then(|most| most.trim().parse().ok());
        match (self.fds, most) {
            (Some(fds), Some(most)) if fds > most => Err(too_many(fds, most)),
            _ => Ok(()),
        }
    }

    /// This as options of `flatline confine`.
    #[must_use]
    pub fn options(&self) -> Vec<OsString> {
        let fds = self.fds.map(|fds| ("--fds", fds.to_string().into()));
        let cpus = self.cpus.as_ref().map(|cpus| ("--cpus", cpus.into()));
        let group = self.group.as_ref().map(|group| ("--group", group.into()));
        let options = [fds, cpus, group].into_iter().flatten();
        options.flat_map(|(name, value): (&str, OsString)| [name.into(), value]).collect()
    }

    /// Takes all of it upon this process and becomes the program.
    ///
    /// Only from the first thread, which alone stays when a process becomes another program. Returns only where that
    /// fails.
    #[must_use]
    pub fn run(&self, program: &[OsString]) -> ConfineError {
        if let Err(error) = self.take_on() {
            return error;
        }
        let (name, arguments) =
            program.split_first().map_or((OsString::new(), &[][..]), |(name, rest)| (name.clone(), rest));
        let source = Command::new(&name).args(arguments).exec();
        ConfineError::Program { program: name.to_string_lossy().into_owned(), source }
    }

    fn take_on(&self) -> Result<(), ConfineError> {
        if let Some(group) = &self.group {
            let joined = fs::write(group.join("cgroup.procs"), std::process::id().to_string());
            joined.map_err(|source| ConfineError::Group { group: group.clone(), source })?;
        }
        self.cpus.as_deref().map_or(Ok(()), keep_on)?;
        self.fds.map_or(Ok(()), |fds| {
            let limit = Rlimit { current: Some(fds), maximum: Some(fds) };
            let set = setrlimit(Resource::Nofile, limit);
            set.map_err(|errno| ConfineError::Fds { fds, source: errno.into() })
        })
    }
}

fn too_many(fds: u64, most: u64) -> ConfineError {
    ConfineError::Fds { fds, source: io::Error::other(format!("at most {most} are granted here")) }
}

/// The kernel passes over processors that are not there; here that is an error.
fn keep_on(cpus: &str) -> Result<(), ConfineError> {
    let failed = |why: String| ConfineError::Cpus { cpus: cpus.to_owned(), why };
    let wanted = cpu_list(cpus).ok_or_else(|| failed("that is no list of processors".to_owned()))?;
    let mut set = CpuSet::new();
    wanted.iter().filter(|cpu| **cpu < CpuSet::MAX_CPU).for_each(|cpu| set.set(*cpu));
    sched_setaffinity(None, &set).map_err(|errno| failed(errno.to_string()))?;
    let got = sched_getaffinity(None).map_err(|errno| failed(errno.to_string()))?;
    match wanted.into_iter().find(|cpu| *cpu >= CpuSet::MAX_CPU || !got.is_set(*cpu)) {
        Some(missing) => Err(not_here(cpus, missing)),
        None => Ok(()),
    }
}

fn not_here(cpus: &str, missing: usize) -> ConfineError {
    let why = format!("there is no processor {missing} here, or it may not be used");
    ConfineError::Cpus { cpus: cpus.to_owned(), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_limited_is_no_option() {
        let none = Confinement::new(&Allowance::default(), None);
        assert!(none.is_none() && none.options().is_empty());
        let allowed = Allowance { fds: Some(64), cpus: Some("0".into()), memory: None };
        let options = Confinement::new(&allowed, Some(Path::new("/g"))).options();
        assert_eq!(options, ["--fds", "64", "--cpus", "0", "--group", "/g"]);
    }

    #[test]
    fn a_processor_that_is_not_here_is_named_and_not_passed_over() {
        // In a thread of its own: what it is kept on ends with it.
        let error = std::thread::spawn(|| keep_on("0,1023").unwrap_err().to_string()).join().unwrap();
        assert!(error.contains("processors 0,1023") && error.contains("no processor 1023"), "{error}");
        assert!(std::thread::spawn(|| keep_on("0").is_ok()).join().unwrap());
        let check =
            |cpus: &str| Confinement { cpus: Some(cpus.into()), ..Confinement::default() }.check_user();
        assert!(check("0").is_ok() && check("0,1023").unwrap_err().to_string() == error);
    }

    #[test]
    fn more_descriptors_than_the_kernel_grants_anybody_are_refused() {
        let check = |fds| Confinement { fds: Some(fds), ..Confinement::default() }.check_machine();
        assert!(check(64).is_ok());
        let error = check(u64::MAX).unwrap_err().to_string();
        assert!(error.contains("are granted here") && error.contains(&u64::MAX.to_string()), "{error}");
    }
}
