//! What is asked of a run, and why one fails.

use std::path::PathBuf;

use crate::loki::server::SinkError;
use crate::record::files::RecordError;
use crate::report;
use crate::run::attach::AttachError;
use crate::run::progress::Show;
use crate::scenario::Loaded;
use crate::world::dockerd::DockerdError;
use crate::world::engine::EngineError;
use crate::world::image::ImageError;
use crate::world::small_disk::DiskError;
use crate::world::truth::TruthError;

/// What is to be run.
#[derive(Debug)]
pub struct Order {
    /// The scenario and its targets.
    pub loaded: Loaded,
    /// The run's id, unique on the machine.
    pub run_id: String,
    /// The run directory, which must not hold a run yet.
    pub out: PathBuf,
    /// Address of the Docker Engine.
    pub docker_host: String,
    /// The command line that repeats the run.
    pub command: Vec<String>,
    /// Whether a leak that is called at a look under load ends the run.
    pub fail_fast: bool,
    /// How to show progress.
    pub show: Show,
}

/// Why a run failed: the environment's fault, never a target's.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The Docker Engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The run directory.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The generator's image.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A sink.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// A target.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The engine of the run's own.
    #[error(transparent)]
    Dockerd(#[from] DockerdError),
    /// The file system of a target's state folder.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The generators' counters.
    #[error(transparent)]
    Truth(#[from] TruthError),
    /// The report.
    #[error(transparent)]
    Report(#[from] report::ReportError),
    /// Not a failure: somebody asked the run to stop.
    #[error("stopped before anything ran")]
    Stopped,
}
