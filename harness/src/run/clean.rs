//! `flatline clean`: what a killed run has left goes.

use std::io;
use std::path::PathBuf;

use crate::orphans;
use crate::world::engine::{self, Engine, EngineError};
use crate::world::own_engine;
use crate::world::small_disk::{self, DiskError};

/// What could not be removed.
#[derive(Debug, thiserror::Error)]
pub enum CleanError {
    /// The process table can't be read.
    #[error("can't look for processes: {0}")]
    Processes(#[from] io::Error),
    /// A small disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The folder of an engine of a run's own.
    #[error("can't remove {}: {source}", folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Removes what runs have left that are over. Answers with what was removed, in words, and with why Docker's containers
/// were not looked for, where it is here and does not answer.
///
/// # Errors
/// [`CleanError`].
pub async fn clean() -> Result<(String, Option<EngineError>), CleanError> {
    let is_over = |run_id: &str| !orphans::is_live(run_id);
    let processes = orphans::end_processes(is_over)?;
    let disks = small_disk::unmount_all(is_over)?;
    let mut engines = 0;
    for (_, folder) in own_engine::folders().into_iter().filter(|(run_id, _)| is_over(run_id)) {
        own_engine::remove(&folder).map_err(|source| CleanError::Folder { folder, source })?;
        engines += 1;
    }
    let ended = format!(
        "ended {}; removed {} of a run's own, {}",
        counted(processes, "process", "processes"),
        counted(engines, "engine", "engines"),
        counted(disks, "small disk", "small disks"),
    );
    let removed = async {
        let engine = Engine::connect(&engine::default_host(), "clean").await?;
        engine.remove_runs(is_over).await
    };
    Ok(match removed.await {
        Ok(containers) => {
            let containers = counted(containers, "container", "containers");
            (format!("{ended}, {containers} and the images of their runs"), None)
        }
        Err(_) if !engine::is_there() => {
            (format!("{ended}; there is no Docker here, whose containers could be left"), None)
        }
        // What is done is told also where no engine answers.
        Err(error) => (ended, Some(error)),
    })
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
