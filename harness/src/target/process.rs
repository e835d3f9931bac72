//! One target as a process of this machine: started, stopped in order, its end described.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf, absolute};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::orphans::RUN_VARIABLE;
use crate::result::bench::MissingTarget;
use crate::target::confine::Confinement;
use crate::target::ended::Ended;
use crate::target::ready::{READY_WITHIN, Unready, until_ready};
use crate::target::spec::{Filled, Ready, Spec};
use crate::world::engine::EngineError;
use crate::world::image::OWN_PROGRAM;

/// How many are told of one that ended.
pub(super) const LAST_LINES: usize = 20;
const LAST_BYTES: u64 = 16 * 1024;

/// Why a target could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// Its files could not be written.
    #[error("can't write {path} for the target {target}: {source}")]
    Files {
        /// Which target.
        target: String,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// No such program, or it may not be run.
    #[error(
        "can't start the target {target}: {program}: {source}\n  \
         The program is looked for beside flatline itself, then in PATH; `cargo build --release` builds both."
    )]
    Spawn {
        /// Which target.
        target: String,
        /// Its program.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// The engine would not run its container.
    #[error("the container of the target {target}: {source}")]
    Engine {
        /// Which target.
        target: String,
        /// What the engine says.
        source: EngineError,
    },
    /// Its container runs, and its process can't be seen.
    #[error(
        "the target {target} runs in a container whose process {pid} is not one of this machine's that are seen here\n  \
         Run flatline where the Docker Engine runs, and not in a container of its own (or in one with --pid=host)."
    )]
    Elsewhere {
        /// Which target.
        target: String,
        /// Its process id, as the engine says.
        pid: u32,
    },
    /// Nobody may look at it.
    #[error("can't look at the process of the target {target}: {source}")]
    Watch {
        /// Which target.
        target: String,
        /// Why.
        source: procfs::ProcError,
    },
    /// It ended before it was ready.
    #[error("the target {target} ended before it was ready ({ended}); its last words:\n{last_words}")]
    EndedEarly {
        /// Which target.
        target: String,
        /// How it ended.
        ended: String,
        /// The end of its log.
        last_words: String,
    },
    /// It runs, but never said that it is ready.
    #[error("the target {target} was not ready after {} s ({asked}); its last words:\n{last_words}", READY_WITHIN.as_secs())]
    NotReady {
        /// Which target.
        target: String,
        /// Where it was asked, or looked for.
        asked: String,
        /// The end of its log.
        last_words: String,
    },
}

impl ProcessError {
    /// Of a target that did not become ready, with where it was asked and what it said last.
    pub(super) fn unready(target: &str, ready: &Ready, unready: Unready, last_lines: &[String]) -> Self {
        let (target, last_words) = (target.to_owned(), last_lines.join("\n"));
        match unready {
            Unready::Ended(ended) => Self::EndedEarly { target, ended: ended.words, last_words },
            Unready::Late => {
                let asked = match ready {
                    Ready::Url(at) | Ready::File(at) => at.clone(),
                    Ready::Started => String::new(),
                };
                Self::NotReady { target, asked, last_words }
            }
        }
    }
}

/// Where a target's files go.
#[derive(Clone, Debug)]
pub struct Place {
    /// Config file.
    pub config: PathBuf,
    /// Everything that it writes to its outputs.
    pub log: PathBuf,
    /// Its state; made here.
    pub state_dir: PathBuf,
    /// The run's id.
    pub run_id: String,
}

impl Place {
    /// Writes the config file and makes the state folder.
    ///
    /// # Errors
    /// [`ProcessError::Files`].
    pub(super) fn prepare(&self, target: &str, filled: &Filled) -> Result<(), ProcessError> {
        fs::create_dir_all(&self.state_dir).map_err(failed(target, &self.state_dir))?;
        fs::write(&self.config, &filled.config).map_err(failed(target, &self.config))
    }

    /// The log, to be written on: a second life goes on where the first has left it.
    ///
    /// # Errors
    /// [`ProcessError::Files`].
    pub(super) fn open_log(&self, target: &str) -> Result<File, ProcessError> {
        File::options().append(true).create(true).open(&self.log).map_err(failed(target, &self.log))
    }
}

fn failed(target: &str, path: &Path) -> impl FnOnce(std::io::Error) -> ProcessError + use<> {
    let (target, path) = (target.to_owned(), path.to_owned());
    move |source| ProcessError::Files { target, path, source }
}

/// A running target. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    target: String,
    child: Child,
    pid: u32,
    log: PathBuf,
}

impl Process {
    /// Writes its config file and starts it within its limits, in a process group of its own: a Ctrl-C at the terminal is
    /// for the harness, which then stops its targets in order.
    ///
    /// # Errors
    /// [`ProcessError::Files`] or [`ProcessError::Spawn`].
    pub fn start(
        target: &str,
        filled: &Filled,
        place: &Place,
        confinement: &Confinement,
    ) -> Result<Self, ProcessError> {
        place.prepare(target, filled)?;
        let log = place.open_log(target)?;
        let log_too = log.try_clone().map_err(failed(target, &place.log))?;
        let program = find_program(filled.command.first().map_or("", String::as_str));
        let child = within(confinement, &program)
            .args(filled.command.iter().skip(1))
            .env(RUN_VARIABLE, &place.run_id)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(log_too)
            .process_group(0)
            .kill_on_drop(true)
            .spawn();
        let spawn = |source| ProcessError::Spawn {
            target: target.to_owned(),
            program: program.display().to_string(),
            source,
        };
        let child = child.map_err(spawn)?;
        let pid = child.id().ok_or_else(|| spawn(std::io::Error::other("it has no process id")))?;
        Ok(Self { target: target.to_owned(), child, pid, log: place.log.clone() })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Where its outputs go.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Waits until it says that it collects.
    ///
    /// # Errors
    /// [`ProcessError::EndedEarly`] or [`ProcessError::NotReady`], with the end of its log.
    pub async fn wait_ready(&mut self, ready: &Ready) -> Result<(), ProcessError> {
        let waited = until_ready(ready, || self.ended()).await;
        waited.map_err(|unready| ProcessError::unready(&self.target, ready, unready, &self.last_log_lines()))
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<Ended> {
        match self.child.try_wait() {
            Ok(Some(status)) => Some(Ended::with(status)),
            Ok(None) => None,
            Err(error) => Some(Ended::new(format!("can't tell how: {error}"), false)),
        }
    }

    /// SIGTERM, then SIGKILL where it has not ended within `grace`.
    pub async fn stop(mut self, grace: Duration) -> Ended {
        if let Some(ended) = self.ended() {
            return ended;
        }
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        // One that can't be told to end does not, and is killed.
        let _told = pid.map(|pid| kill_process(pid, Signal::TERM));
        match timeout(grace, self.child.wait()).await {
            Ok(Ok(status)) => Ended::with(status).after_sigterm(),
            Ok(Err(error)) => Ended::new(format!("can't tell how: {error}"), false),
            Err(_) => Ended::killed_after(grace, self.child.kill().await.err()),
        }
    }

    /// SIGKILL, as planned. Answers where it had ended before, unasked.
    pub async fn kill(mut self) -> Option<Ended> {
        let ended = self.ended();
        if ended.is_none() {
            // It can't be told apart from one that ends at this very moment.
            drop(self.child.kill().await);
        }
        ended
    }

    /// The last lines of its log.
    #[must_use]
    pub fn last_log_lines(&self) -> Vec<String> {
        last_lines(&self.log)
    }
}

/// The last lines of a log file; none where it can't be read.
#[must_use]
pub fn last_lines(log: &Path) -> Vec<String> {
    let text = end_of(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(LAST_LINES)).map(|line| (*line).to_owned()).collect()
}

/// However long the log is, however long its lines are, and whatever bytes are in it.
fn end_of(log: &Path) -> std::io::Result<String> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LAST_BYTES)))?;
    let mut end = Vec::new();
    file.take(LAST_BYTES).read_to_end(&mut end)?;
    Ok(String::from_utf8_lossy(&end).into_owned())
}

/// Where a target's program is, as an absolute path; `None` where it is not.
#[must_use]
pub fn path_of(program: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&paths).map(|path| path.join(program));
    let in_path = in_path.filter(|_| !program.contains('/'));
    let found = [find_program(program)].into_iter().chain(in_path).find(|path| path.is_file())?;
    absolute(found).ok()
}

/// A target whose program is not on this machine. One that a template makes is taken for there.
#[must_use]
pub fn missing(spec: &Spec) -> Option<MissingTarget> {
    let program = spec.kind.command.first()?;
    let is_there = program.contains("{{") || path_of(program).is_some();
    (!is_there).then(|| MissingTarget {
        name: spec.name.clone(),
        program: program.clone(),
        install: spec.kind.install.clone(),
        is_wanted: true,
    })
}

/// Where there are limits, this very program takes them on and becomes the other one.
fn within(confinement: &Confinement, program: &Path) -> Command {
    if confinement.is_none() {
        return Command::new(program);
    }
    let mut command = Command::new(OWN_PROGRAM);
    command.arg("confine").args(confinement.options()).arg("--").arg(program);
    command
}

fn find_program(program: &str) -> PathBuf {
    let beside = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.join(program)));
    match beside {
        Some(path) if !program.contains('/') && path.is_file() => path,
        _ => PathBuf::from(program),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(script: &str, folder: &Path) -> Process {
        let command = vec!["sh".into(), "-c".into(), script.into()];
        let filled = Filled {
            command,
            config: String::new(),
            ready: Ready::Started,
            metrics_url: None,
            dead_letters: None,
            mounts: vec![],
        };
        let place = Place {
            config: folder.join("config"),
            log: folder.join("log"),
            state_dir: folder.join("state"),
            run_id: "test".into(),
        };
        Process::start("sleeper", &filled, &place, &Confinement::default()).unwrap()
    }

    #[test]
    fn the_end_of_a_log_is_told_though_it_is_long_and_not_utf_8() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut bytes = b"early \xff\n".repeat(10_000);
        bytes.extend(b"odd \xff byte\nlast");
        fs::write(&log, bytes).unwrap();
        let lines = last_lines(&log);
        assert_eq!(lines.len(), LAST_LINES);
        assert_eq!(lines.last().unwrap(), "last");
    }

    #[tokio::test]
    async fn a_target_that_ends_at_once_is_reported_with_its_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = start("echo no such key >&2; exit 2", folder.path());
        let nobody = Ready::Url("http://127.0.0.1:9/ready".to_owned());
        let error = process.wait_ready(&nobody).await.unwrap_err().to_string();
        assert!(error.contains("exit status 2") && error.contains("no such key"), "{error}");
    }

    #[tokio::test]
    async fn a_target_is_ready_once_its_file_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let script = format!("read first < {0}.go; touch {0}; while :; do sleep 1; done", socket.display());
        let go = folder.path().join("socket.go");
        assert!(std::process::Command::new("mkfifo").arg(&go).status().unwrap().success());
        let mut process = start(&script, folder.path());
        let told = std::thread::spawn(move || fs::write(go, "go\n").unwrap());
        process.wait_ready(&Ready::File(socket.display().to_string())).await.unwrap();
        assert!(socket.exists());
        told.join().unwrap();
    }

    #[tokio::test]
    async fn a_target_that_ignores_sigterm_is_killed_and_that_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let process = start("trap '' TERM; echo set; while :; do read x < /dev/zero; done", folder.path());
        while process.last_log_lines() != ["set"] {
            tokio::task::yield_now().await;
        }
        let ended = process.stop(Duration::from_millis(200)).await;
        assert!(!ended.clean && ended.words.starts_with("killed"), "{ended:?}");
    }

    #[tokio::test]
    async fn a_target_that_obeys_sigterm_ends_clean() {
        let folder = tempfile::tempdir().unwrap();
        let process = start("trap 'exit 0' TERM; echo set; while :; do sleep 0.01; done", folder.path());
        while process.last_log_lines() != ["set"] {
            tokio::task::yield_now().await;
        }
        let ended = process.stop(Duration::from_secs(20)).await;
        assert_eq!(ended, Ended::new("exit status 0 after SIGTERM", true));
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let filled = Filled {
            command: vec!["no-such-shipper".into()],
            config: String::new(),
            ready: Ready::Started,
            metrics_url: None,
            dead_letters: None,
            mounts: vec![],
        };
        let place = Place {
            config: folder.path().join("c"),
            log: folder.path().join("l"),
            state_dir: folder.path().join("s"),
            run_id: "test".into(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let error =
            runtime.block_on(async { Process::start("ghost", &filled, &place, &Confinement::default()) });
        let error = error.unwrap_err().to_string();
        assert!(error.contains("target ghost") && error.contains("no-such-shipper"), "{error}");
    }
}
