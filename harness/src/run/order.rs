//! What is asked of a run, and why one fails.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

use crate::loki::server::SinkError;
use crate::record::files::RecordError;
use crate::report;
use crate::result::bench::MissingTarget;
use crate::result::{Manifest, Phase};
use crate::run::attach::AttachError;
use crate::run::clean::CleanError;
use crate::run::progress::Show;
use crate::run::segments;
use crate::scenario::Loaded;
use crate::world::engine::EngineError;
use crate::world::image::ImageError;
use crate::world::memory_group::GroupError;
use crate::world::own_engine::OwnEngineError;
use crate::world::replay::ReplayError;
use crate::world::small_disk::DiskError;
use crate::world::tempo::TempoError;
use crate::world::truth::TruthError;

/// Who runs the containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EngineChoice {
    /// Docker; and the embedded engine where no Docker answers
    Auto,
    /// A Docker Engine, at DOCKER_HOST or Docker's default socket
    Docker,
    /// The engine that is built in: containers are plain processes
    Embedded,
}

/// What is to be run.
#[derive(Debug)]
pub struct Order {
    /// The scenario and its targets.
    pub loaded: Loaded,
    /// The run's id, unique on the machine.
    pub run_id: String,
    /// The run directory, which must not hold a run yet.
    pub out: PathBuf,
    /// Who runs the containers.
    pub engine: EngineChoice,
    /// Address of the Docker Engine.
    pub docker_host: String,
    /// The command line that repeats the run.
    pub command: Vec<String>,
    /// The revision of what is tested, where somebody says.
    pub revision: Option<String>,
    /// Whether a leak that is called at a look under load ends the run.
    pub fail_fast: bool,
    /// How to show progress.
    pub show: Show,
    /// Those of its targets whose program is not there; filled in when it runs.
    pub missing: Vec<MissingTarget>,
    /// What it did before, where it goes on after it was killed.
    pub earlier: Option<Earlier>,
}

/// A run that was killed, as its directory says.
#[derive(Clone, Debug)]
pub struct Earlier {
    /// Its `run.json`.
    pub manifest: Manifest,
    /// Its phases until then.
    pub phases: Vec<Phase>,
    /// How its last segment ended.
    pub ended: String,
    /// The last moment of which anything is known, seconds since the run's start.
    pub last_s: f64,
    /// Containers that it started.
    pub containers_started: u64,
}

impl Order {
    /// How much of the load is over.
    #[must_use]
    pub fn load_done(&self) -> Duration {
        let phases = self.earlier.as_ref().map_or(&[][..], |earlier| &earlier.phases);
        segments::load_done(phases, self.loaded.scenario.phases.load.0)
    }

    /// How often it was begun before.
    #[must_use]
    pub fn segments_before(&self) -> u64 {
        self.earlier.as_ref().map_or(0, |earlier| earlier.manifest.segments.len() as u64)
    }
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
    /// A target that the engine can't run.
    #[error(
        "{place}: `container` needs a real Docker Engine: the embedded one runs programs of this machine as processes, in \
         no image and within no limits\n  Let the target run as a process (`run_in: process`), or run with --engine docker."
    )]
    ContainerNotEmbedded {
        /// Where that is asked for.
        place: String,
    },
    /// There is no engine that could run a target.
    #[error("{source}\n  {place}: `container` needs one.")]
    ContainerWithoutDocker {
        /// Where that is asked for.
        place: String,
        /// What came of looking for it.
        source: EngineError,
    },
    /// A fault that the engine has no means for.
    #[error(
        "{fault} needs a real Docker Engine: containers of the embedded engine are its children and end with it\n  \
         Leave the fault out, or run with --engine docker."
    )]
    NotEmbedded {
        /// Its name in the scenario.
        fault: &'static str,
    },
    /// The engine of the run's own.
    #[error(transparent)]
    OwnEngine(#[from] OwnEngineError),
    /// The file system of a target's state folder.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// What holds a target to its memory.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// The generators' counters.
    #[error(transparent)]
    Truth(#[from] TruthError),
    /// The generators' tempo.
    #[error(transparent)]
    Tempo(#[from] TempoError),
    /// There is no room for what it is bound to write.
    #[error("{0}\n  Free some space, or choose another place with --out DIR.")]
    NoRoom(String),
    /// What the killed run left can't be removed.
    #[error(transparent)]
    Clean(#[from] CleanError),
    /// The logs to replay.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The report.
    #[error(transparent)]
    Report(#[from] report::ReportError),
    /// Not a failure: somebody asked the run to stop.
    #[error("stopped before anything ran")]
    Stopped,
}
