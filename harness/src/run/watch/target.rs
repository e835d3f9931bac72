//! Who is watched: found, told from whoever gets its process id after it, followed over restarts, ended.

use std::path::Path;
use std::time::Duration;

use procfs::ProcError;
use procfs::process::Stat;
use tokio::time::{Instant, timeout};

use crate::run::watch::WatchError;
use crate::sample::process;
use crate::target::confine::Confinement;
use crate::target::ended::Ended;
use crate::target::process::{Place, Process};
use crate::target::spec::{Filled, Ready};
use crate::world::engine::Engine;

/// A container that does not run for so long ends the watch: nobody starts it again.
const AGAIN_WITHIN: Duration = Duration::from_secs(30);
/// An engine that does not answer by then is asked again at the next beat.
const ENGINE_WITHIN: Duration = Duration::from_secs(3);
/// From SIGTERM to SIGKILL.
const STOP_WITHIN: Duration = Duration::from_secs(12);

/// Whom to watch.
#[derive(Clone, Debug)]
pub enum Whom {
    /// A process that runs.
    Pid(u32),
    /// The first process of a container, whichever it is at the time.
    Container {
        /// Its name or id.
        name: String,
        /// The engine's address.
        docker_host: String,
    },
    /// A command line, which is started and ended.
    Command(Vec<String>),
}

/// What became of it since the last look.
#[derive(Debug, PartialEq)]
pub(super) enum State {
    /// It is the same process.
    Same,
    /// It is the same process, under another name: it gave itself one, or nobody may see whether it runs another program.
    Renamed(String),
    /// It runs another program: its threads and its memory are new, and of its descriptors those that it passed on.
    Exec(String),
    /// It was started again: another process from now on.
    Again,
    /// It does not run, and may be started again.
    Away,
    /// It has ended.
    Ended(Ended),
}

/// A watched process.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) name: String,
    pub(super) pid: u32,
    life: Life,
    kind: Kind,
}

/// What tells a process from whoever gets its id after it, and its program from those that it runs later.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Life {
    started_ticks: u64,
    /// Where its stack begins, drawn by chance for each program (proc(5), `startstack`); 0 where nobody may know.
    stack: u64,
    comm: String,
}

impl Life {
    fn of(stat: &Stat) -> Self {
        Self { started_ticks: stat.starttime, stack: stat.startstack, comm: process::name_of(stat) }
    }

    /// What became of it by then, where it is the same process.
    fn went_on(&self, now: &Self) -> State {
        let words = || format!("{} is now {}", self.comm, now.comm);
        match () {
            () if now.stack != self.stack => State::Exec(words()),
            () if now.comm != self.comm => State::Renamed(words()),
            () => State::Same,
        }
    }
}

#[derive(Debug)]
enum Kind {
    Pid,
    Container { engine: Engine, away_since: Option<Instant> },
    // In a box: it is larger than the others by far.
    Command(Box<Process>),
}

impl Target {
    /// Finds a process that runs.
    ///
    /// # Errors
    /// [`WatchError`]: there is none, or it may not be looked at.
    pub(super) fn process(pid: u32) -> Result<Self, WatchError> {
        let life = found(pid)?;
        Ok(Self { name: life.comm.clone(), pid, life, kind: Kind::Pid })
    }

    /// Finds a container's first process.
    ///
    /// # Errors
    /// [`WatchError`]: no engine answers, or no such container runs there.
    pub(super) async fn container(name: &str, docker_host: &str) -> Result<Self, WatchError> {
        if !docker_host.starts_with("unix://") {
            return Err(WatchError::Elsewhere { host: docker_host.to_owned() });
        }
        let engine = Engine::connect(docker_host, "watch").await?;
        let pid = engine.main_process(name).await?;
        let pid = pid.ok_or_else(|| WatchError::NotRunning { name: name.to_owned() })?;
        let life = found(pid)?;
        let kind = Kind::Container { engine, away_since: None };
        Ok(Self { name: name.to_owned(), pid, life, kind })
    }

    /// Starts a command. What it writes goes into `folder`.
    ///
    /// # Errors
    /// [`WatchError`]: it can't be started, or ended at once.
    pub(super) fn command(command: &[String], folder: &Path, run_id: &str) -> Result<Self, WatchError> {
        let program = Path::new(command.first().map_or("", String::as_str)).file_name();
        let name = program.map_or_else(|| "command".to_owned(), |name| name.to_string_lossy().into_owned());
        let place = Place {
            config: folder.join("command.config"),
            log: folder.join("command.log"),
            state_dir: folder.to_owned(),
            run_id: run_id.to_owned(),
        };
        let filled = Filled {
            command: command.to_vec(),
            config: String::new(),
            ready: Ready::Started,
            metrics_url: None,
            dead_letters: None,
            mounts: Vec::new(),
        };
        let process = Process::start(&name, &filled, &place, &Confinement::default())?;
        let pid = process.pid();
        // One that has ended already is found to have at the first look: it is not waited for before.
        let life = process::stat(pid).map(|stat| Life::of(&stat)).unwrap_or_default();
        Ok(Self { name, pid, life, kind: Kind::Command(Box::new(process)) })
    }

    /// What has become of it by now.
    pub(super) async fn state(&mut self) -> State {
        let now = process::stat(self.pid).ok().map(|stat| Life::of(&stat));
        let same = now.as_ref().filter(|now| now.started_ticks == self.life.started_ticks);
        let went_on = same.map(|now| self.life.went_on(now));
        if let Some(same) = same {
            self.life = same.clone();
        }
        match &mut self.kind {
            Kind::Command(process) => {
                process.ended().map_or_else(|| went_on.unwrap_or(State::Same), State::Ended)
            }
            Kind::Pid => went_on.unwrap_or_else(|| State::Ended(ended(now.as_ref()))),
            Kind::Container { engine, away_since } => {
                if let Some(went_on) = went_on {
                    *away_since = None;
                    return went_on;
                }
                let pid = timeout(ENGINE_WITHIN, engine.main_process(&self.name)).await;
                // Where it is gone or the engine is, somebody may be about to bring it back.
                let pid = pid.ok().and_then(Result::ok).flatten();
                if let Some((pid, stat)) = pid.and_then(|pid| Some((pid, process::stat(pid).ok()?))) {
                    *away_since = None;
                    (self.pid, self.life) = (pid, Life::of(&stat));
                    return State::Again;
                }
                let since = *away_since.get_or_insert_with(Instant::now);
                if since.elapsed() < AGAIN_WITHIN {
                    return State::Away;
                }
                let words = format!("it was not started again within {} s", AGAIN_WITHIN.as_secs());
                State::Ended(Ended::new(words, true))
            }
        }
    }

    /// The last words of a command.
    pub(super) fn last_words(&self) -> String {
        match &self.kind {
            Kind::Command(process) => process.last_log_lines().join("\n"),
            Kind::Pid | Kind::Container { .. } => String::new(),
        }
    }

    /// Ends a command in order; who was there before the watch is left alone. Answers how it ended.
    pub(super) async fn leave(self) -> Option<Ended> {
        match self.kind {
            Kind::Command(process) => Some(process.stop(STOP_WITHIN).await),
            Kind::Pid | Kind::Container { .. } => None,
        }
    }
}

fn ended(who_has_its_id: Option<&Life>) -> Ended {
    let words = who_has_its_id.map_or_else(
        || "it has ended".to_owned(),
        |other| format!("it has ended, and its id is another's by now: {}", other.comm),
    );
    Ended::new(words, true)
}

/// A process that can be watched.
fn found(pid: u32) -> Result<Life, WatchError> {
    let stat = process::stat(pid).map_err(|error| {
        if matches!(error, ProcError::PermissionDenied(_)) {
            WatchError::Denied { pid }
        } else if process::is_there(pid) {
            WatchError::Unwaited { pid }
        } else {
            WatchError::NoProcess { pid }
        }
    })?;
    if process::is_of_kernel(&stat) {
        return Err(WatchError::OfKernel { pid, name: process::name_of(&stat) });
    }
    match process::of_whom(pid) {
        Some(process) if process != pid => Err(WatchError::Thread { thread: pid, process }),
        _ => Ok(Life::of(&stat)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_is_the_same_until_another_has_its_id() {
        let mut own = Target::process(std::process::id()).unwrap();
        assert_eq!(own.state().await, State::Same);
        own.life.started_ticks -= 1;
        let State::Ended(ended) = own.state().await else { panic!("the id was given again") };
        assert!(ended.words.contains("its id is another's by now"), "{ended:?}");
    }

    #[tokio::test]
    async fn who_is_not_there_is_named_with_what_to_do() {
        let message = Target::process(u32::MAX).unwrap_err().to_string();
        assert!(message.contains(&u32::MAX.to_string()) && message.contains("pgrep"), "{message}");
        let message = Target::container("web", "tcp://10.0.0.1:2375").await.unwrap_err().to_string();
        assert!(message.contains("tcp://10.0.0.1:2375"), "{message}");
    }

    #[test]
    fn another_program_is_told_from_another_name() {
        let life = |stack, comm: &str| Life { started_ticks: 7, stack, comm: comm.into() };
        let went_on = |now| life(4096, "sh").went_on(&now);
        assert_eq!(went_on(life(4096, "sh")), State::Same);
        assert_eq!(went_on(life(4096, "idle")), State::Renamed("sh is now idle".into()));
        assert_eq!(went_on(life(8192, "sh")), State::Exec("sh is now sh".into()), "it runs itself again");
        let hidden = life(0, "sh").went_on(&life(0, "nginx"));
        assert_eq!(hidden, State::Renamed("sh is now nginx".into()));
    }

    #[test]
    fn what_is_no_process_to_watch_is_told_what_it_is() {
        assert!(matches!(found(2), Err(WatchError::OfKernel { .. })), "{:?}", found(2));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        while process::stat(child.id()).is_ok() {
            std::thread::yield_now();
        }
        assert!(matches!(found(child.id()), Err(WatchError::Unwaited { .. })), "{:?}", found(child.id()));
        child.wait().unwrap();
        std::thread::scope(|scope| {
            let (end, ended) = std::sync::mpsc::channel::<()>();
            let (says, said) = std::sync::mpsc::channel();
            scope.spawn(move || {
                says.send(std::fs::read_link("/proc/thread-self").unwrap()).unwrap();
                ended.recv().unwrap_err();
            });
            let thread = said.recv().unwrap().file_name().unwrap().to_str().unwrap().parse().unwrap();
            assert!(matches!(found(thread), Err(WatchError::Thread { .. })), "{:?}", found(thread));
            drop(end);
        });
    }
}
