//! The engine's own processes, `dockerd` and `containerd` or the embedded engine's, which a log that is followed may cost
//! as well: who they are, and who takes their place.

use std::io;
use std::os::unix::net::UnixStream;

use rustix::net::sockopt::socket_peercred;

use crate::sample::process::{self, started_ticks};
use crate::sample::sampler::Subject;

/// The engine's name among the series, and its process's.
pub const DOCKERD: &str = "dockerd";
/// The same of what runs its containers.
pub const CONTAINERD: &str = "containerd";
/// The same of the embedded engine; the kernel keeps no longer names.
pub const EMBEDDED: &str = "flatline-engine";
/// Names of their series, in the order in which they are shown.
pub const NAMES: [&str; 3] = [DOCKERD, CONTAINERD, EMBEDDED];

/// What became of one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was found.
    Found,
    /// It has ended, and another process has taken its place.
    Succeeded,
    /// It was not found, and is not looked for any more.
    NotFound {
        /// Why not.
        why: String,
    },
}

/// The engine's processes, as far as they are known.
#[derive(Debug)]
pub struct Daemons {
    host: String,
    daemons: Vec<Daemon>,
}

#[derive(Debug)]
struct Daemon {
    name: &'static str,
    who: Who,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    NotAsked,
    Process {
        pid: u32,
        started_ticks: u64,
    },
    /// It has ended.
    Gone,
    Unknown,
}

impl Daemons {
    /// Those of the engine that listens at `host`; none is looked for yet.
    #[must_use]
    pub fn of(host: &str, is_embedded: bool) -> Self {
        let names: &[_] = if is_embedded { &[EMBEDDED] } else { &[DOCKERD, CONTAINERD] };
        let daemon = |name: &&'static str| Daemon { name, who: Who::NotAsked };
        Self { host: host.to_owned(), daemons: names.iter().map(daemon).collect() }
    }

    /// Looks for those that are not known yet or have ended; answers with what is new of whom.
    pub fn refresh(&mut self) -> Vec<(&'static str, Change)> {
        let mut changes = Vec::new();
        let mut dockerd = None;
        for Daemon { name, who } in &mut self.daemons {
            if let Who::Process { pid, started_ticks } = *who
                && process::started_ticks(pid).ok() != Some(started_ticks)
            {
                *who = Who::Gone;
            }
            if matches!(who, Who::NotAsked | Who::Gone) {
                let found = if *name == CONTAINERD { runtime(dockerd) } else { engine(&self.host, name) };
                changes.extend(who.found(found).map(|change| (*name, change)));
            }
            dockerd = dockerd.or(who.pid());
        }
        changes
    }

    /// How to look at those that are there.
    #[must_use]
    pub fn subjects(&self) -> Vec<Subject> {
        let there = self.daemons.iter().filter_map(|daemon| Some((daemon.name, daemon.who.pid()?)));
        there.map(|(name, pid)| Subject { name: name.to_owned(), pid, tasks: None, memory: None }).collect()
    }
}

impl Who {
    fn pid(self) -> Option<u32> {
        if let Self::Process { pid, .. } = self { Some(pid) } else { None }
    }

    /// Takes what was found, or why nothing was. Who was there once is looked for again.
    fn found(&mut self, found: Result<u32, String>) -> Option<Change> {
        let found = found.and_then(|pid| {
            let started = started_ticks(pid).map_err(|error| error.to_string())?;
            Ok(Self::Process { pid, started_ticks: started })
        });
        let was_there = *self == Self::Gone;
        match found {
            Ok(process) => {
                *self = process;
                Some(if was_there { Change::Succeeded } else { Change::Found })
            }
            Err(_) if was_there => None,
            Err(why) => {
                *self = Self::Unknown;
                Some(Change::NotFound { why })
            }
        }
    }
}

/// Who listens at the engine's socket. Where the system's first process listens for it and hands the socket over, who
/// has its name.
fn engine(host: &str, expected: &str) -> Result<u32, String> {
    let Some(path) = host.strip_prefix("unix://") else {
        return Err(format!("the engine at {host} is not on a socket of this machine"));
    };
    let pid = peer(path).map_err(|error| format!("nobody can be asked at {path}: {error}"))?;
    if pid <= 1 {
        return only_one(named(expected)?, expected);
    }
    match process::name(pid) {
        Ok(name) if name == expected => Ok(pid),
        Ok(name) => Err(format!("it is {name} that listens at {path}")),
        Err(error) => Err(error.to_string()),
    }
}

fn peer(path: &str) -> io::Result<u32> {
    let peer = socket_peercred(UnixStream::connect(path)?)?;
    Ok(peer.pid.as_raw_nonzero().get().unsigned_abs())
}

/// The engine's child by this name, or the only process that has it and is no other engine's child.
fn runtime(dockerd: Option<u32>) -> Result<u32, String> {
    let dockerd = dockerd.ok_or("whose it would be, dockerd, is not known")?;
    let mut all = named(CONTAINERD)?;
    if let Some(child) = all.iter().find(|found| found.parent == dockerd) {
        return Ok(child.pid);
    }
    all.retain(|found| process::name(found.parent).is_ok_and(|parent| parent != DOCKERD));
    only_one(all, CONTAINERD)
}

#[derive(Clone, Copy, Debug)]
struct Named {
    pid: u32,
    parent: u32,
}

fn named(name: &str) -> Result<Vec<Named>, String> {
    let all = procfs::process::all_processes().map_err(|error| error.to_string())?;
    let stats = all.filter_map(|process| process.ok()?.stat().ok()).filter(|stat| stat.comm == name);
    Ok(stats.map(|stat| Named { pid: stat.pid.unsigned_abs(), parent: stat.ppid.unsigned_abs() }).collect())
}

fn only_one(found: Vec<Named>, name: &str) -> Result<u32, String> {
    match found.as_slice() {
        [one] => Ok(one.pid),
        [] => Err(format!("no process is named {name}")),
        several => {
            Err(format!("{} processes are named {name}, and none is the engine's child", several.len()))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::net::UnixListener;
    use std::process::{Command, Stdio};

    use rustix::process::{Pid, Signal, kill_process};

    use super::*;

    #[test]
    fn who_listens_at_the_socket_is_the_engine_if_it_is_dockerd() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docker.sock");
        let host = format!("unix://{}", path.display());
        assert!(engine(&host, DOCKERD).unwrap_err().contains("nobody can be asked at"), "there is no socket");
        let _listener = UnixListener::bind(&path).unwrap();
        assert_eq!(peer(&path.display().to_string()).unwrap(), std::process::id());
        assert!(engine(&host, DOCKERD).unwrap_err().contains(" that listens at "), "this is no dockerd");
        let own = process::name(std::process::id()).unwrap();
        assert_eq!(engine(&host, &own), Ok(std::process::id()));
        assert!(runtime(None).unwrap_err().contains("is not known"));
        assert!(
            engine("tcp://127.0.0.1:1", DOCKERD).unwrap_err().contains("not on a socket of this machine")
        );
    }

    #[test]
    fn of_several_processes_of_a_name_the_engines_child_is_meant() {
        let program = tempfile::tempdir().unwrap();
        let containerd = program.path().join(CONTAINERD);
        std::os::unix::fs::symlink("/bin/sleep", &containerd).unwrap();
        let mut children: Vec<_> =
            (0..2).map(|_| Command::new(&containerd).arg("60").spawn().unwrap()).collect();
        let found = runtime(Some(std::process::id()));
        let ours: Vec<u32> = children.iter().map(std::process::Child::id).collect();
        let several = runtime(Some(u32::MAX));
        // Another engine, with one of its own.
        let engine = program.path().join(DOCKERD);
        std::os::unix::fs::symlink("/bin/sh", &engine).unwrap();
        let mut other = Command::new(&engine)
            .args(["-c", &format!("{} 60 & echo $!; wait", containerd.display())])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut of_other = String::new();
        BufReader::new(other.stdout.as_mut().unwrap()).read_line(&mut of_other).unwrap();
        let of_other: u32 = of_other.trim().parse().unwrap();
        while process::name(of_other).unwrap() != CONTAINERD {
            std::thread::yield_now();
        }
        let counted = |found: Result<u32, String>| found.unwrap_err();
        assert_eq!(runtime(Some(other.id())), Ok(of_other));
        assert_eq!(
            counted(runtime(Some(u32::MAX))),
            counted(several.clone()),
            "another engine's child is not ours"
        );
        other.kill().unwrap();
        other.wait().unwrap();
        kill_process(Pid::from_raw(i32::try_from(of_other).unwrap()).unwrap(), Signal::KILL).unwrap();
        for child in &mut children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert!(ours.contains(&found.unwrap()), "a child of ours");
        assert!(several.unwrap_err().contains("processes are named containerd"));
    }

    #[test]
    fn who_has_ended_is_looked_for_again_and_who_never_was_there_is_not() {
        let mut who = Who::NotAsked;
        let own = std::process::id();
        assert_eq!(who.found(Ok(own)), Some(Change::Found));
        who = Who::Gone;
        assert_eq!((who.found(Err("down".to_owned())), who), (None, Who::Gone));
        assert_eq!(who.found(Ok(own)), Some(Change::Succeeded));
        let mut never = Who::NotAsked;
        let why = "down".to_owned();
        assert_eq!(never.found(Err(why.clone())), Some(Change::NotFound { why }));
        assert_eq!(never, Who::Unknown);
    }
}
