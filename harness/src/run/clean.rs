//! `flatline clean`: what a killed run has left goes.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::timeout;

use crate::orphans;
use crate::world::engine::{self, Engine, EngineError};
use crate::world::memory_group::{self, GroupError};
use crate::world::own_engine;
use crate::world::small_disk::{self, DiskError};

/// An engine that hangs must not hang those who can do without it.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// What could not be removed.
#[derive(Debug, thiserror::Error)]
pub enum CleanError {
    /// The process table can't be read.
    #[error("can't look for processes: {0}")]
    Processes(#[from] io::Error),
    /// A small disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// What held a target to its memory.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// The folder of an engine of a run's own.
    #[error("can't remove {}: {source}", folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What was removed.
#[derive(Debug)]
pub struct Removed {
    processes: usize,
    engines: usize,
    disks: usize,
    groups: usize,
    /// Containers of Docker; or why they were not looked for.
    containers: Result<usize, Why>,
}

/// Why Docker's containers were not looked for.
#[derive(Debug)]
enum Why {
    NotHere,
    Silent(EngineError),
}

/// Removes what runs have left that are over.
///
/// # Errors
/// [`CleanError`].
pub async fn clean() -> Result<Removed, CleanError> {
    remove(|run_id| !orphans::is_live(run_id), &engine::default_host()).await
}

/// Removes what the runs have left of which `of` says so, from this machine and from the engine at `host`.
pub(super) async fn remove(of: impl Fn(&str) -> bool, host: &str) -> Result<Removed, CleanError> {
    let processes = orphans::end_processes(&of)?;
    let disks = small_disk::unmount_all(&of)?;
    let groups = memory_group::remove_all(&of).await?;
    let mut engines = 0;
    for (_, folder) in own_engine::folders().into_iter().filter(|(run_id, _)| of(run_id)) {
        own_engine::remove(&folder).map_err(|source| CleanError::Folder { folder, source })?;
        engines += 1;
    }
    let connected = timeout(ANSWERS_WITHIN, Engine::connect(host, "clean")).await;
    let silent = || {
        let why = format!("no answer within {} s", ANSWERS_WITHIN.as_secs());
        Err(EngineError::Unreachable { host: host.to_owned(), why })
    };
    let containers = async { connected.unwrap_or_else(|_| silent())?.remove_runs(&of).await };
    let containers = containers.await.map_err(|error| match engine::is_there(host) {
        true => Why::Silent(error),
        false => Why::NotHere,
    });
    Ok(Removed { processes, engines, disks, groups, containers })
}

impl Removed {
    /// Whether there was nothing.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.processes
            + self.engines
            + self.disks
            + self.groups
            + self.containers.as_ref().map_or(0, |count| *count)
            == 0
    }

    /// Why Docker's containers were not looked for, where it is here and does not answer.
    #[must_use]
    pub fn silent(self) -> Option<EngineError> {
        match self.containers {
            Err(Why::Silent(error)) => Some(error),
            _ => None,
        }
    }
}

impl fmt::Display for Removed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "ended {}; removed {} of a run's own, {}, {}",
            counted(self.processes, "process", "processes"),
            counted(self.engines, "engine", "engines"),
            counted(self.disks, "small disk", "small disks"),
            counted(self.groups, "control group", "control groups"),
        )?;
        match &self.containers {
            Ok(count) => {
                write!(f, ", {} and the images of their runs", counted(*count, "container", "containers"))
            }
            Err(Why::NotHere) => f.write_str("; there is no Docker here, whose containers could be left"),
            // What is done is told also where no engine answers.
            Err(Why::Silent(_)) => Ok(()),
        }
    }
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
