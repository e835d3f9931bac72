//! An engine of a run's own, on a socket and in a folder of its own: a Docker Engine, which can be stopped and started
//! while its containers live on (`live-restore`), so that nobody's else is ever stopped; or the embedded one, where there
//! is no Docker.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use bollard::Docker;
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::orphans::{self, RUN_VARIABLE};
use crate::world::image::OWN_PROGRAM;

/// A busy machine needs some seconds for it.
const WITHIN: Duration = Duration::from_secs(60);
const BEAT: Duration = Duration::from_millis(50);
/// Every folder of such an engine begins so; a run's id follows.
const PREFIX: &str = "flatline-engine-";

/// Why there is no engine of the run's own.
#[derive(Debug, thiserror::Error)]
pub enum OwnEngineError {
    /// `dockerd` is not there or may not be run.
    #[error(
        "can't start a Docker Engine of the run's own, which `docker_restart` needs: dockerd: {0}\n  \
         Install Docker's daemon (`dockerd` in PATH) and run as root, or leave the fault out."
    )]
    NoDockerd(io::Error),
    /// This program can't be started once more.
    #[error("can't start the embedded engine, which is this very program: {0}")]
    NoEmbedded(io::Error),
    /// Its folder can't be made or removed.
    #[error("can't use {path} for an engine of the run's own: {source}")]
    Folder {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It does not answer, or does not end.
    #[error("the run's own engine does not {what}; its last words:\n{last_words}")]
    Stuck {
        /// `start` or `end`.
        what: &'static str,
        /// The end of its log.
        last_words: String,
    },
}

/// Which engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Docker's daemon.
    Docker,
    /// This program's own, `flatline engine`.
    Embedded,
}

/// It runs, or is down for a while.
#[derive(Debug)]
pub struct OwnEngine {
    kind: Kind,
    folder: PathBuf,
    run_id: String,
    daemon: Option<Child>,
}

impl OwnEngine {
    /// Starts one for a run and waits until it answers.
    ///
    /// # Errors
    /// [`OwnEngineError`]; nothing is left then.
    pub async fn start(kind: Kind, run_id: &str) -> Result<Self, OwnEngineError> {
        // Short: sockets lie below it, and their paths have at most 107 bytes (unix(7)).
        let folder = std::env::temp_dir().join(format!("{PREFIX}{run_id}"));
        let failed = |source| OwnEngineError::Folder { path: folder.clone(), source };
        fs::create_dir_all(folder.join("run")).map_err(failed)?;
        fs::write(folder.join("daemon.json"), "{}").map_err(failed)?;
        let mut engine = Self { kind, folder, run_id: run_id.to_owned(), daemon: None };
        match engine.up().await {
            Ok(()) => Ok(engine),
            Err(error) => {
                engine.end().await?;
                Err(error)
            }
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket_folder().join("docker.sock").display())
    }

    /// The folder in which it makes its socket, and nothing else.
    #[must_use]
    pub fn socket_folder(&self) -> PathBuf {
        self.folder.join("run")
    }

    /// Its process; `None` while it is down.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.daemon.as_ref().and_then(Child::id)
    }

    /// Starts it, where it is down.
    ///
    /// # Errors
    /// [`OwnEngineError`].
    pub async fn up(&mut self) -> Result<(), OwnEngineError> {
        if self.daemon.is_some() {
            return Ok(());
        }
        let log = OpenOptions::new().append(true).create(true).open(self.folder.join("log"));
        let log = log.map_err(|source| OwnEngineError::Folder { path: self.folder.clone(), source })?;
        let daemon = self.command().stderr(log).spawn().map_err(match self.kind {
            Kind::Docker => OwnEngineError::NoDockerd,
            Kind::Embedded => OwnEngineError::NoEmbedded,
        });
        let host = self.host();
        let daemon = self.daemon.insert(daemon?);
        let deadline = Instant::now() + WITHIN;
        while !answers(&host).await {
            if daemon.try_wait().is_ok_and(|ended| ended.is_some()) || Instant::now() > deadline {
                self.daemon = None;
                return Err(self.stuck("start"));
            }
            sleep(BEAT).await;
        }
        Ok(())
    }

    /// Stops it in order (SIGTERM) and waits until it has ended. Its containers live on.
    ///
    /// # Errors
    /// [`OwnEngineError::Stuck`].
    pub async fn down(&mut self) -> Result<(), OwnEngineError> {
        let Some(mut daemon) = self.daemon.take() else { return Ok(()) };
        let pid = daemon.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        // One that has ended by itself can't be told to; it is waited for all the same.
        let _told = pid.map(|pid| kill_process(pid, Signal::TERM));
        match timeout(WITHIN, daemon.wait()).await {
            Ok(_status) => Ok(()),
            Err(_late) => Err(self.stuck("end")),
        }
    }

    /// Ends it and everything that it has started, and removes its folder.
    ///
    /// # Errors
    /// [`OwnEngineError::Folder`].
    pub async fn end(mut self) -> Result<(), OwnEngineError> {
        // What does not end in order is killed below.
        drop(self.down().await);
        let failed = |source| OwnEngineError::Folder { path: self.folder.clone(), source };
        let deadline = Instant::now() + WITHIN;
        while orphans::end_processes(|run_id| run_id == self.run_id).map_err(failed)? > 0
            && Instant::now() < deadline
        {
            sleep(BEAT).await;
        }
        remove(&self.folder).map_err(failed)
    }

    fn command(&self) -> Command {
        let mut command = match self.kind {
            Kind::Docker => self.dockerd(),
            Kind::Embedded => self.embedded(),
        };
        command.env(RUN_VARIABLE, &self.run_id).stdin(Stdio::null()).stdout(Stdio::null());
        // A Ctrl-C at the terminal is for the harness.
        command.process_group(0).kill_on_drop(true);
        command
    }

    /// What keeps it to itself: no bridge, no rule of a firewall, nothing of the other engine's.
    fn dockerd(&self) -> Command {
        let mut command = Command::new("dockerd");
        for (option, name) in [
            ("--data-root", "data"),
            ("--exec-root", "exec"),
            ("--pidfile", "docker.pid"),
            ("--config-file", "daemon.json"),
        ] {
            command.arg(option).arg(self.folder.join(name));
        }
        command.args(["--host", &self.host(), "--live-restore"]);
        command.args(["--bridge=none", "--iptables=false", "--ip6tables=false"]);
        command
    }

    /// This very program, even if its file was replaced by a new build since.
    fn embedded(&self) -> Command {
        let mut command = Command::new(OWN_PROGRAM);
        command.args(["engine", "--listen", &self.host(), "--root"]).arg(self.folder.join("data"));
        command
    }

    fn stuck(&self, what: &'static str) -> OwnEngineError {
        let log = fs::read(self.folder.join("log")).unwrap_or_default();
        let end = log.len().saturating_sub(2000);
        let last_words = String::from_utf8_lossy(log.get(end..).unwrap_or_default()).into_owned();
        OwnEngineError::Stuck { what, last_words }
    }
}

async fn answers(host: &str) -> bool {
    match Docker::connect_with_host(host) {
        Ok(docker) => docker.ping().await.is_ok(),
        Err(_) => false,
    }
}

/// The folders of such engines, each with its run's id.
pub fn folders() -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(std::env::temp_dir()).into_iter().flatten().filter_map(Result::ok);
    let named = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        Some((name.strip_prefix(PREFIX)?.to_owned(), entry.path()))
    });
    named.collect()
}

/// Removes such a folder, with what is mounted in it.
///
/// # Errors
/// What the file system says.
pub fn remove(folder: &Path) -> io::Result<()> {
    let mounts = procfs::process::Process::myself().and_then(|own| own.mountinfo());
    let mounts = mounts.map(|mounts| mounts.0).unwrap_or_default();
    // The innermost first.
    for mount in mounts.iter().rev().filter(|mount| mount.mount_point.starts_with(folder)) {
        unmount(&mount.mount_point, UnmountFlags::DETACH)?;
    }
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
