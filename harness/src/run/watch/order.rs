//! What is asked of a watch, what it found, and why it may fail.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::record::files::RecordError;
use crate::report::ReportError;
use crate::result::KindGrowths;
use crate::run::analyze::{Analysis, Question};
use crate::run::progress::Show;
use crate::run::table::TableError;
use crate::run::watch::columns::ColumnError;
use crate::run::watch::page::Page;
use crate::run::watch::target::Whom;
use crate::target::process::ProcessError;
use crate::world::engine::EngineError;

/// What is asked of a watch.
#[derive(Debug)]
pub struct Order {
    /// Whom to watch.
    pub whom: Whom,
    /// Whether its descendants are counted with it.
    pub children: bool,
    /// Whether resident memory is listed by class: for that the kernel walks the page tables of the process.
    pub smaps: bool,
    /// Where it says how many tasks it has, if it does.
    pub page: Option<Page>,
    /// From sample to sample.
    pub every: Duration,
    /// How long; `None` until it is stopped or the process ends.
    pub length: Option<Duration>,
    /// What is judged, and how.
    pub question: Question,
    /// Whether it ends with the first leak that is called.
    pub fail_fast: bool,
    /// The folder for samples, kinds, events, the plot and the verdicts; it must not hold a run yet.
    pub out: PathBuf,
    /// The run's id, unique on the machine.
    pub run_id: String,
    /// How to show progress.
    pub show: Show,
}

/// What was found.
#[derive(Debug)]
pub struct Watched {
    /// What `watch.json` says.
    pub found: Found,
    /// How the watch ended, in words.
    pub ended: String,
    /// Whether a command ended by itself and not in order.
    pub failed: bool,
}

/// What was found of a process: `watch.json`, and `watch --json` prints it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Found {
    /// The verdicts, as of any recorded series.
    #[serde(flatten)]
    pub analysis: Analysis,
    /// What leaks how fast and which kind of it, in sentences; and which memory grows.
    pub leaks: Vec<String>,
    /// First, last and worst count of each kind, and its growth.
    pub kinds: KindGrowths,
}

/// Why a watch failed.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// What is asked for is not counted.
    #[error(transparent)]
    Column(#[from] ColumnError),
    /// Nobody has this process id.
    #[error("there is no process {pid} that this user can see; `pgrep -a NAME` finds one by its name")]
    NoProcess {
        /// Which.
        pid: u32,
    },
    /// It has ended, and its parent has taken no note.
    #[error(
        "process {pid} has ended and waits for its parent to take note (a zombie): there is nothing to watch"
    )]
    Unwaited {
        /// Which.
        pid: u32,
    },
    /// It is the kernel's.
    #[error(
        "process {pid} ({name}) is a thread of the kernel: it holds nothing of its own that could be watched"
    )]
    OfKernel {
        /// Which.
        pid: u32,
        /// Its name.
        name: String,
    },
    /// It is no process.
    #[error("{thread} is a thread of process {process}: watch that")]
    Thread {
        /// The thread.
        thread: u32,
        /// Whose it is.
        process: u32,
    },
    /// `/proc` hides it.
    #[error("process {pid} may not be looked at by this user; watch it as its own user, or as root")]
    Denied {
        /// Which.
        pid: u32,
    },
    /// The container's process is not on this machine.
    #[error(
        "the engine at {host} may be on another machine, whose processes can't be seen from here: run flatline there"
    )]
    Elsewhere {
        /// Its address.
        host: String,
    },
    /// The container is there and has no process.
    #[error("the container {name} does not run; start it (`docker start {name}`)")]
    NotRunning {
        /// Which.
        name: String,
    },
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The command would not start.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The metrics page does not answer.
    #[error("no metrics page answers at {url} within {seconds} s; is the address right?")]
    NoPage {
        /// Its address.
        url: String,
        /// How long it was asked.
        seconds: u64,
    },
    /// The metrics page lacks the gauge.
    #[error("the page at {url} has no {gauge}: name the gauge of its tasks with --tasks-metric NAME")]
    NoGauge {
        /// Its address.
        url: String,
        /// What was looked for.
        gauge: String,
    },
    /// The process ended before there was anything to see.
    #[error("the process ended before its metrics page answered ({words})\n{last_words}")]
    Ended {
        /// How.
        words: String,
        /// The end of its log, if it has one.
        last_words: String,
    },
    /// The folder.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// What was written can't be read back.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The picture.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// Not a failure: somebody asked it to stop.
    #[error("stopped before there was anything to judge")]
    Stopped,
}
