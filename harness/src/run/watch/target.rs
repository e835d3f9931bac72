//! Who is watched: found, told from whoever gets its process id after it, followed over restarts, ended.

use std::path::Path;
use std::time::Duration;

use procfs::ProcError;
use tokio::time::{Instant, timeout};

use crate::run::watch::WatchError;
use crate::sample::process;
use crate::target::process::{Ended, Place, Process};
use crate::target::spec::Filled;
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
    started_ticks: u64,
    kind: Kind,
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
        let (name, started_ticks) = found(pid)?;
        Ok(Self { name, pid, started_ticks, kind: Kind::Pid })
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
        let (_, started_ticks) = found(pid)?;
        let kind = Kind::Container { engine, away_since: None };
        Ok(Self { name: name.to_owned(), pid, started_ticks, kind })
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
            ready_url: String::new(),
            metrics_url: String::new(),
            dead_letters: None,
        };
        let process = Process::start(&name, &filled, &place)?;
        let pid = process.pid();
        // One that has ended already is found to have at the first look: it is not waited for before.
        let started_ticks = process::started_ticks(pid).unwrap_or_default();
        Ok(Self { name, pid, started_ticks, kind: Kind::Command(Box::new(process)) })
    }

    /// What has become of it by now.
    pub(super) async fn state(&mut self) -> State {
        let is_same = process::started_ticks(self.pid).is_ok_and(|ticks| ticks == self.started_ticks);
        match &mut self.kind {
            Kind::Command(process) => process.ended().map_or(State::Same, State::Ended),
            Kind::Container { away_since, .. } if is_same => {
                *away_since = None;
                State::Same
            }
            Kind::Pid if is_same => State::Same,
            Kind::Pid => State::Ended(ended("it has ended")),
            Kind::Container { engine, away_since } => {
                let pid = timeout(ENGINE_WITHIN, engine.main_process(&self.name)).await;
                // Where it is gone or the engine is, somebody may be about to bring it back.
                let pid = pid.ok().and_then(Result::ok).flatten();
                if let Some((pid, ticks)) = pid.and_then(|pid| Some((pid, process::started_ticks(pid).ok()?)))
                {
                    *away_since = None;
                    (self.pid, self.started_ticks) = (pid, ticks);
                    return State::Again;
                }
                let since = *away_since.get_or_insert_with(Instant::now);
                if since.elapsed() < AGAIN_WITHIN {
                    return State::Away;
                }
                let words = format!("it was not started again within {} s", AGAIN_WITHIN.as_secs());
                State::Ended(ended(&words))
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

fn ended(words: &str) -> Ended {
    Ended { words: words.to_owned(), clean: true }
}

/// The name of a process and when it started.
fn found(pid: u32) -> Result<(String, u64), WatchError> {
    let found = process::name(pid).and_then(|name| Ok((name, process::started_ticks(pid)?)));
    found.map_err(|error| match error {
        ProcError::PermissionDenied(_) => WatchError::Denied { pid },
        ProcError::NotFound(_)
        | ProcError::Incomplete(_)
        | ProcError::Io(..)
        | ProcError::Other(_)
        | ProcError::InternalError(_) => WatchError::NoProcess { pid },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_is_the_same_until_another_has_its_id() {
        let mut own = Target::process(std::process::id()).unwrap();
        assert_eq!(own.state().await, State::Same);
        own.started_ticks -= 1;
        assert!(matches!(own.state().await, State::Ended(_)), "the id was given again");
    }

    #[tokio::test]
    async fn who_is_not_there_is_named_with_what_to_do() {
        let message = Target::process(u32::MAX).unwrap_err().to_string();
        assert!(message.contains(&u32::MAX.to_string()) && message.contains("pgrep"), "{message}");
        let message = Target::container("web", "tcp://10.0.0.1:2375").await.unwrap_err().to_string();
        assert!(message.contains("tcp://10.0.0.1:2375"), "{message}");
    }
}
