//! One container's log: which file of it is open, which is next, and which lines wait.

use std::path::PathBuf;
use std::sync::Arc;

use shipper::clock::Clock;
use shipper::delivery::checkpoint::Positions;
use shipper::ledger::Numbering;
use shipper::record::ContainerId;
use shipper::window;

use crate::batch::Waiting;
use crate::books::Books;
use crate::buffer::Buffer;
use crate::config::{self, Defects};
use crate::engine::Engine;
use crate::monitor::Monitor;
use crate::start::{self, Next};
use crate::tail::{OpenFile, Tail};
use crate::watch::Watch;

/// What the reader is given.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) containers_root: PathBuf,
    pub(crate) batch: config::Batch,
    pub(crate) window: window::Config,
    pub(crate) defects: Defects,
    pub(crate) engine: Engine,
    pub(crate) clock: Clock,
    pub(crate) books: Books,
    /// From when on history is wanted, if at all.
    pub(crate) since_ns: Option<i64>,
    /// Where an earlier process left off.
    pub(crate) saved: Positions,
}

/// One container's log.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) monitor: Arc<Monitor>,
    pub(crate) path: PathBuf,
    pub(crate) open: Option<(Tail, Option<Watch>)>,
    /// The open file gets no more lines: it is given up once it is read to its end.
    pub(crate) ended: bool,
    pub(crate) running: bool,
    pub(crate) removed: bool,
    /// Lines before this time were not asked for.
    pub(crate) since_ns: i64,
    /// What is opened when nothing is open.
    pub(crate) next: Next,
    pub(crate) buffer: Buffer,
    pub(crate) numbers: Numbering,
    pub(crate) waiting: Waiting,
}

impl Log {
    /// Of a container that was not seen before. `life` must be new; `history` is whether it was there before
    /// the first run.
    pub(crate) fn new(id: &ContainerId, history: bool, life: u64, settings: &mut Settings) -> Self {
        let (name, defects) = (id.as_str(), settings.defects);
        let saved = settings.saved.remove(id);
        let next = start::first(defects, saved.as_ref(), history, settings.since_ns);
        Self {
            monitor: Monitor::new(id.clone(), settings.engine.clone()),
            path: settings.containers_root.join(name).join(format!("{name}-json.log")),
            open: None,
            ended: false,
            running: false,
            removed: false,
            since_ns: if let Next::Since(since_ns) = next { since_ns } else { i64::MIN },
            next,
            buffer: Buffer::new(defects.mixed_streams),
            numbers: Numbering::new(life),
            waiting: Waiting::default(),
        }
    }
}

/// What a file that is not given back keeps.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) watch: Option<Watch>,
    pub(crate) _file: OpenFile,
    pub(crate) _monitor: Arc<Monitor>,
}
