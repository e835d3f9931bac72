//! One target as a container of the run's Docker Engine. Each life is a container of its own. The process in it is one of
//! this machine, so that it is looked at and judged as any; its end is told by the kernel, and how it ended by the engine.

use std::fs::File;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use procfs::ProcError;
use procfs::process::Process;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::result::Allowance;
use crate::target::ended::Ended;
use crate::target::process::{LAST_LINES, Place, ProcessError};
use crate::target::ready::until_ready;
use crate::target::spec::{Filled, Ready};
use crate::world::engine::program::{Exit, ProgramImage, ProgramSpec};
use crate::world::engine::{Access, Engine, EngineError};
use crate::world::memory_group::MemoryGroup;

/// How exactly an end is timed. It is read off the process: the engine, asked so often, would have its work.
const BEAT: Duration = Duration::from_millis(50);
/// From SIGKILL until the engine has told how it ended.
const KILLED_WITHIN: Duration = Duration::from_secs(20);
/// Docker's exit code of one that a signal has ended, without the signal.
const SIGNALLED: i64 = 128;
/// Signals have numbers up to here (signal(7)).
const SIGNAL_MAX: i64 = 64;

/// All that it takes to run a target in containers, beside what any target needs.
#[derive(Clone, Debug)]
pub struct Means {
    /// Who runs them.
    pub engine: Engine,
    /// What is in them.
    pub image: ProgramImage,
    /// The program's path in the image.
    pub program: PathBuf,
    /// Its environment, `NAME=value` each.
    pub environment: Vec<String>,
    /// What of this machine is at the same path inside.
    pub mounts: Vec<(PathBuf, Access)>,
    /// What each may use.
    pub allowed: Allowance,
}

/// A target's container. It is removed when its program has ended; one that is dropped before goes with the run's others,
/// by their label.
#[derive(Debug)]
pub struct Container {
    target: String,
    engine: Engine,
    id: String,
    pid: u32,
    memory: Option<MemoryGroup>,
    end: watch::Receiver<Option<Ended>>,
    /// One task; it ends with its owner.
    _waiting: JoinSet<()>,
}

impl Means {
    /// Has the engine make such a container and remove it, so that what it refuses is told before anything runs.
    ///
    /// # Errors
    /// [`ProcessError`].
    pub async fn prove(&self, target: &str, filled: &Filled, place: &Place) -> Result<(), ProcessError> {
        let id = self.create(target, filled, place).await?;
        self.engine.remove(&id).await.map_err(of(target))
    }

    async fn create(&self, target: &str, filled: &Filled, place: &Place) -> Result<String, ProcessError> {
        place.prepare(target, filled)?;
        let program = self.program.display().to_string();
        let spec = ProgramSpec {
            name: format!("flatline-target-{}-{target}", place.run_id),
            image: self.image.name.clone(),
            command: [program].into_iter().chain(filled.command.iter().skip(1).cloned()).collect(),
            environment: self.environment.clone(),
            mounts: self.mounts.clone(),
            allowed: self.allowed.clone(),
        };
        // An earlier life is gone by now; what the engine could not remove then goes here.
        self.engine.remove(&spec.name).await.map_err(of(target))?;
        self.engine.create_program(spec).await.map_err(of(target))
    }
}

impl Container {
    /// Writes the target's config file and starts a container within the target's limits.
    ///
    /// # Errors
    /// [`ProcessError`]; no container is left then.
    pub async fn start(
        target: &str,
        filled: &Filled,
        place: &Place,
        means: &Means,
    ) -> Result<Self, ProcessError> {
        let id = means.create(target, filled, place).await?;
        let engine = &means.engine;
        match Self::begin(target, place, engine, &id).await {
            Ok(container) => Ok(container),
            Err(error) => {
                // Why it did not start is what matters; the run's end removes what is left.
                engine.remove(&id).await.unwrap_or_default();
                Err(error)
            }
        }
    }

    async fn begin(target: &str, place: &Place, engine: &Engine, id: &str) -> Result<Self, ProcessError> {
        engine.start(id).await.map_err(of(target))?;
        let pid = engine.main_process(id).await.map_err(of(target))?;
        let process = match pid {
            Some(pid) => process_of(pid, id).map_err(|source| watch_failed(target, source))?,
            None => None,
        };
        if process.is_none() && engine.exit_of(id).await.map_err(of(target))?.is_none() {
            return Err(ProcessError::Elsewhere { target: target.to_owned(), pid: pid.unwrap_or(0) });
        }
        let memory = pid.and_then(MemoryGroup::of);
        let log = place.open_log(target)?;
        let (tell, end) = watch::channel(None);
        let mut waiting = JoinSet::new();
        waiting.spawn(wait(engine.clone(), id.to_owned(), (process, memory.clone()), log, tell));
        Ok(Self {
            target: target.to_owned(),
            engine: engine.clone(),
            id: id.to_owned(),
            // 0 is nobody's.
            pid: pid.unwrap_or(0),
            memory,
            end,
            _waiting: waiting,
        })
    }

    /// The process id of its program, on this machine.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What holds it to its memory, and counts that.
    #[must_use]
    pub fn memory(&self) -> Option<&MemoryGroup> {
        self.memory.as_ref()
    }

    /// Waits until it says that it collects.
    ///
    /// # Errors
    /// [`ProcessError::EndedEarly`] or [`ProcessError::NotReady`], with the end of its log.
    pub async fn wait_ready(&mut self, ready: &Ready, place: &Place) -> Result<(), ProcessError> {
        let Err(unready) = until_ready(ready, || self.ended()).await else { return Ok(()) };
        let mut said = Vec::new();
        let last_lines = match self.engine.said_by(&self.id, Some(LAST_LINES), &mut said).await {
            Ok(()) if !said.is_empty() => String::from_utf8_lossy(&said).lines().map(str::to_owned).collect(),
            // It has ended, and its log was taken.
            _ => crate::target::process::last_lines(&place.log),
        };
        Err(ProcessError::unready(&self.target, ready, unready, &last_lines))
    }

    /// How it ended, if it has: then its log was taken, and it is removed.
    #[must_use]
    pub fn ended(&self) -> Option<Ended> {
        self.end.borrow().clone()
    }

    /// SIGTERM, then SIGKILL where it has not ended within `grace`.
    pub async fn stop(mut self, grace: Duration) -> Ended {
        if let Some(ended) = self.ended() {
            return ended;
        }
        // One that can't be told to end does not, and is killed.
        let _told = self.engine.signal(&self.id, "SIGTERM").await;
        match timeout(grace, self.end()).await {
            Ok(ended) => ended.after_sigterm(),
            Err(_) => Ended::killed_after(grace, self.kill_now().await.err()),
        }
    }

    /// SIGKILL, as planned. Answers where it had ended before, unasked.
    ///
    /// # Errors
    /// [`ProcessError::Engine`]: it may still run.
    pub async fn kill(mut self) -> Result<Option<Ended>, ProcessError> {
        let ended = self.ended();
        if ended.is_none() {
            self.kill_now().await.map_err(of(&self.target))?;
        }
        Ok(ended)
    }

    async fn kill_now(&mut self) -> Result<(), EngineError> {
        self.engine.signal(&self.id, "SIGKILL").await?;
        // It has ended by then; how, the engine may take its time to say.
        drop(timeout(KILLED_WITHIN, self.end()).await);
        Ok(())
    }

    async fn end(&mut self) -> Ended {
        let told = self.end.wait_for(Option::is_some).await.map(|ended| ended.clone());
        told.ok().flatten().unwrap_or_else(|| Ended::new("can't tell how: nobody waited for it", false))
    }
}

fn of(target: &str) -> impl FnOnce(EngineError) -> ProcessError + use<> {
    let target = target.to_owned();
    move |source| ProcessError::Engine { target, source }
}

fn watch_failed(target: &str, source: ProcError) -> ProcessError {
    ProcessError::Watch { target: target.to_owned(), source }
}

/// The process of a container: whoever gets its id after it is not taken for it. None where it has ended by now, or is
/// another's, as on another machine.
fn process_of(pid: u32, id: &str) -> Result<Option<Process>, ProcError> {
    let found = i32::try_from(pid).ok().map_or(Err(ProcError::NotFound(None)), Process::new);
    let found = found.and_then(|process| Ok((process.cgroups()?, process)));
    match found {
        // The kernel names the container in its control groups, from before the program begins.
        Ok((groups, process)) => {
            let is_its = groups.0.iter().any(|group| group.pathname.contains(id));
            Ok(is_its.then_some(process))
        }
        Err(ProcError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Until the program has ended; then its log is taken, the container removed, and its end told.
async fn wait(
    engine: Engine,
    id: String,
    (process, memory): (Option<Process>, Option<MemoryGroup>),
    mut log: File,
    tell: watch::Sender<Option<Ended>>,
) {
    while process.as_ref().is_some_and(Process::is_alive) {
        sleep(BEAT).await;
    }
    // The group goes with the container: this may be too late, and the engine says it as well.
    let killed = memory.and_then(|group| group.killed()).is_some_and(|killed| killed > 0);
    let mut exit = loop {
        match engine.exit_of(&id).await {
            Ok(Some(exit)) => break exit,
            // It is about to know, or it is down and will be back.
            Ok(None) | Err(_) => sleep(BEAT).await,
        }
    };
    match engine.said_by(&id, None, &mut log).await {
        Ok(()) => {}
        Err(error) if error.is_of_what_is_gone() => exit = Exit::Removed,
        Err(error) => writeln!(log, "flatline: what it said last is lost: {error}").unwrap_or_default(),
    }
    // What can't be removed now goes before the next life, or with the run.
    engine.remove(&id).await.unwrap_or_default();
    let told = described(exit);
    let out_of_memory = told.out_of_memory || killed;
    tell.send_replace(Some(Ended { out_of_memory, ..told }));
}

/// Docker tells a signal as an exit code; one that a program chooses itself can't be told from it.
fn described(exit: Exit) -> Ended {
    let Exit::Program { code, out_of_memory } = exit else {
        return Ended::new("its container was removed by somebody else", false);
    };
    let signal = code - SIGNALLED;
    let raw = if (1..=SIGNAL_MAX).contains(&signal) { signal } else { (code & 0xff) << 8 };
    let status = ExitStatus::from_raw(i32::try_from(raw).unwrap_or(-1));
    Ended { out_of_memory, ..Ended::with(status) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_code_of_docker_is_told_as_a_process_is() {
        let told = |code| described(Exit::Program { code, out_of_memory: false });
        assert_eq!(told(0), Ended::new("exit status 0", true));
        assert_eq!(told(3), Ended::new("exit status 3", false));
        assert_eq!(told(137), Ended::new("signal 9 (SIGKILL)", false));
        assert_eq!(told(139).words, "signal 11 (SIGSEGV)");
        assert_eq!(told(255).words, "exit status 255");
        assert_eq!(told(128).words, "exit status 128");
        assert!(described(Exit::Program { code: 137, out_of_memory: true }).out_of_memory);
        assert!(described(Exit::Removed).words.contains("removed by somebody else"));
    }

    #[tokio::test]
    async fn a_process_that_is_no_containers_is_not_taken_for_one() {
        let own = std::process::id();
        assert!(process_of(own, "no container's id, to be sure").unwrap().is_none());
        assert!(process_of(0, "").unwrap().is_none());
        // The kernel names every process's groups so.
        assert!(process_of(own, "/").unwrap().is_some());
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        assert!(process_of(pid, "/").unwrap().is_none(), "it has ended");
    }
}
