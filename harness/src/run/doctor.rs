//! `flatline doctor`: what this machine lacks for a run, and what to do about it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use procfs::process::all_processes;
use rustix::fs::statvfs;
use rustix::process::{Resource, geteuid, getrlimit};
use tokio::time::timeout;

use crate::environment;
use crate::faults::Fault;
use crate::orphans;
use crate::record::bound;
use crate::result::RunIn;
use crate::run::order::EngineChoice;
use crate::scenario::Loaded;
use crate::target::confine::Confinement;
use crate::target::process::missing;
use crate::target::spec::Spec;
use crate::world::engine::Engine;

pub mod findings;

use findings::Facts;

/// How long an engine may take to answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// What is known of this machine, for a run of this scenario of whose load `done` is over. The engine is left open.
#[must_use]
pub fn facts(loaded: &Loaded, out: &Path, done: Duration) -> Facts {
    let scenario = &loaded.scenario;
    let has = |fault: &Fault| scenario.faults.iter().any(|timed| timed.fault == *fault);
    let of_root = [("disk_full", Fault::DiskFull), ("docker_restart", Fault::DockerRestart)];
    let needs_root = of_root.iter().find(|(_, fault)| has(fault)).map(|(name, _)| (*name).to_owned());
    let missing = loaded.targets.iter().filter_map(missing).map(|gone| (gone.name, gone.program));
    let unkept = |spec: &Spec| {
        let checked = Confinement::new(&spec.kind.resources, None).check(spec.kind.run_in);
        checked.err().map(|why| (spec.name.clone(), why.to_string()))
    };
    let there = there(out);
    Facts {
        out: out.display().to_string(),
        in_the_way: there.as_deref().filter(|there| !there.is_dir()).map(|file| file.display().to_string()),
        free_bytes: there.as_deref().and_then(free_bytes),
        writes_bytes: bound::bytes(&findings::volume(scenario, done)),
        // Without a limit there is none to run into.
        descriptors: Some(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)),
        instances: number("/proc/sys/fs/inotify/max_user_instances"),
        watches: number("/proc/sys/fs/inotify/max_user_watches"),
        containers: scenario.containers.count as u64,
        targets: loaded.targets.len() as u64,
        engine: None,
        may_embed: !has(&Fault::DockerRestart)
            && loaded.targets.iter().all(|spec| spec.kind.run_in == RunIn::Process),
        is_root: geteuid().is_root(),
        needs_root,
        is_synchronised: is_synchronised(),
        load: load(),
        cores: environment::machine().cores,
        other_runs: other_runs(),
        missing_programs: missing.collect(),
        unkept: loaded.targets.iter().filter_map(unkept).collect(),
    }
}

/// The same, the engine asked.
pub async fn facts_with_engine(loaded: &Loaded, out: &Path, choice: EngineChoice, host: &str) -> Facts {
    let facts = facts(loaded, out, Duration::ZERO);
    let engine = match choice {
        EngineChoice::Embedded if !facts.may_embed => {
            Err("the embedded engine runs no target in a container and is not restarted".to_owned())
        }
        EngineChoice::Embedded => Ok("the embedded one".to_owned()),
        EngineChoice::Auto | EngineChoice::Docker => {
            match timeout(ANSWERS_WITHIN, Engine::connect(host, "doctor")).await {
                Ok(Ok(engine)) => Ok(engine.version().to_owned()),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err(format!("{host} does not answer within {} s", ANSWERS_WITHIN.as_secs())),
            }
        }
    };
    Facts { engine: Some(engine), may_embed: facts.may_embed && choice == EngineChoice::Auto, ..facts }
}

/// What is there already of the way to a folder.
fn there(out: &Path) -> Option<PathBuf> {
    let out = std::path::absolute(out).ok()?;
    out.ancestors().find(|ancestor| ancestor.exists()).map(Path::to_owned)
}

fn free_bytes(there: &Path) -> Option<u64> {
    let disk = statvfs(there).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// As systemd's own time service says; others leave no trace that all of them share.
fn is_synchronised() -> Option<bool> {
    let folder = Path::new("/run/systemd/timesync");
    folder.is_dir().then(|| folder.join("synchronized").exists())
}

fn load() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

fn other_runs() -> u64 {
    let own = std::process::id().cast_signed();
    let runs = all_processes().into_iter().flatten().flatten().filter(|process| {
        process.pid != own && process.stat().is_ok_and(|stat| stat.comm == orphans::NAME && stat.state != 'Z')
    });
    runs.count() as u64
}
