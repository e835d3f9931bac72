//! What a killed run leaves: processes that carry its id in their environment, containers that carry it
//! as a label. A run that is still going on is left alone.

use std::fs;
use std::io;
use std::path::Path;

use procfs::process::Process;
use rustix::process::{Pid, Signal, kill_process};

use crate::environment::boot_id;

/// In the environment of everything that a run starts: how `flatline clean` finds what a killed run left.
pub const RUN_VARIABLE: &str = "FLATLINE_RUN";
/// In the environment of a run that is to leave what dead runs have left, where somebody wants to look at it: `off`.
pub const SWEEP_VARIABLE: &str = "FLATLINE_SWEEP";
/// What the kernel calls a process that runs a scenario (proc(5), `comm`).
pub const NAME: &str = "flatline";

/// The id of a run that this process begins: a time for people, where it runs, and the process's own id, by which others
/// there can see whether the run is still alive.
#[must_use]
pub fn run_id(started: &str) -> String {
    format!("{}-{}-{}", started.to_ascii_lowercase(), place(), std::process::id())
}

/// Where process ids mean the same: this life of this machine, and in it this table of processes. An engine may be shared
/// by machines, and by containers of one machine.
fn place() -> String {
    let table = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let place = format!("{} {}", boot_id(), table.display());
    format!("{:08x}", crc32fast::hash(place.as_bytes()))
}

/// The process that began this run.
#[must_use]
pub fn process_of(run_id: &str) -> Option<i32> {
    run_id.rsplit_once('-')?.1.parse().ok()
}

/// Whether this run was begun where this process runs, and is over for sure.
#[must_use]
pub fn is_orphan(run_id: &str) -> bool {
    let at = run_id.rsplit_once('-').and_then(|(before, _)| before.rsplit_once('-'));
    at.is_some_and(|(_, at)| at == place()) && !is_live(run_id)
}

/// Lets others see that this process is a run, whatever its file was renamed to.
///
/// # Errors
/// The kernel would not take the name.
pub fn be_known() -> io::Result<()> {
    fs::write("/proc/self/comm", NAME)
}

/// Whether the process that began this run still runs. One that was killed keeps its name in `/proc` until
/// somebody has waited for it (proc(5), state Z), and has left all the same.
#[must_use]
pub fn is_live(run_id: &str) -> bool {
    let stat = process_of(run_id).and_then(|pid| Process::new(pid).and_then(|process| process.stat()).ok());
    stat.is_some_and(|stat| stat.comm == NAME && !matches!(stat.state, 'Z' | 'X'))
}

/// Ends (SIGKILL) every process of a run of which `of` says so. Answers with how many there were.
///
/// # Errors
/// The process table can't be read.
pub fn end_processes(of: impl Fn(&str) -> bool) -> io::Result<usize> {
    let mut ended = 0;
    for entry in fs::read_dir("/proc")? {
        let folder = entry?.path();
        let Some(pid) = folder.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok())
        else {
            continue;
        };
        if run_of(&folder).is_some_and(|run_id| of(&run_id))
            && Pid::from_raw(pid).is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok())
        {
            ended += 1;
        }
    }
    Ok(ended)
}

/// The run that a process was started by; none for a process of somebody else.
fn run_of(folder: &Path) -> Option<String> {
    let environment = fs::read(folder.join("environ")).ok()?;
    let mut variables =
        environment.split(|byte| *byte == 0).filter_map(|variable| std::str::from_utf8(variable).ok());
    variables.find_map(|variable| Some(variable.strip_prefix(RUN_VARIABLE)?.strip_prefix('=')?.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_of_a_dead_run_is_found_by_its_environment() {
        let mut child =
            Command::new("sleep").arg("60").env(RUN_VARIABLE, "20260101t000000z-0").spawn().unwrap();
        let folder = format!("/proc/{}", child.id());
        // The kernel shows a new program's environment a moment after it has started it.
        let run = loop {
            assert_eq!(child.try_wait().unwrap(), None, "it ended before its environment was seen");
            if let Some(run) = run_of(Path::new(&folder)) {
                break run;
            }
            std::thread::yield_now();
        };
        assert_eq!(run, "20260101t000000z-0");
        assert!(!is_live("20260101t000000z-0"));
        assert!(end_processes(|run_id| run_id == "20260101t000000z-0").unwrap() >= 1);
        assert!(!child.wait().unwrap().success());
    }

    #[test]
    fn a_run_that_was_killed_and_that_nobody_has_waited_for_is_dead() {
        let name_itself = format!("printf {NAME} > /proc/$$/comm; read wait");
        let mut child = Command::new("sh")
            .args(["-c", &name_itself])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let run_id = format!("20260101t000000z-{}", child.id());
        while !is_live(&run_id) {
            assert_eq!(child.try_wait().unwrap(), None, "it ended before it had its name");
            std::thread::yield_now();
        }
        kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
        // Not `wait`, which would take it away: as long as nobody does, the kernel shows it with its name.
        let stat = format!("/proc/{}/stat", child.id());
        while !fs::read_to_string(&stat).unwrap().contains(") Z ") {
            std::thread::yield_now();
        }
        assert!(!is_live(&run_id));
        child.wait().unwrap();
    }

    #[test]
    fn an_id_names_its_process() {
        let run_id = run_id("20260101T000000Z");
        assert_eq!(process_of(&run_id), i32::try_from(std::process::id()).ok());
        assert_eq!(process_of("no id"), None);
    }

    #[test]
    fn only_what_was_begun_here_is_an_orphan_for_sure() {
        // No process has this id (proc(5), `pid_max`).
        let pid = i32::MAX;
        assert!(is_orphan(&format!("20260101t000000z-{}-{pid}", place())));
        for elsewhere in [format!("20260101t000000z-00000000-{pid}"), format!("20260101t000000z-{pid}")] {
            assert!(!is_orphan(&elsewhere) && !is_live(&elsewhere), "{elsewhere}");
        }
    }
}
