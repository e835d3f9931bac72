//! Where lines come from. Two designs with one interface: `pool` reads Docker's log API over a bounded
//! number of connections, `hybrid` tails the files of the json-file driver.
//!
//! A source takes [`Change`]s and makes [`Item`]s. It ends at once when told to stop: what it has not
//! handed on is read again at the next start. What it waits for downstream is back-pressure: it stops
//! reading, and Docker's log is the buffer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::complaint::Complaint;
use crate::credit::Credit;
use crate::docker::known::Change;
use crate::metrics::Metrics;
use crate::metrics::labels::SkipReason;
use crate::record::block::Block;
use crate::record::{Container, Item, Position};

pub mod position;
pub mod inlet;
pub mod allowance;
pub mod join;
mod unreadable;
pub mod pool;
pub mod hybrid;
pub mod auto;

use allowance::Allowance;
pub use inlet::Closed;
use inlet::{Inlet, Room};
use join::Line;
use position::{Resume, Start};

/// A line longer than this is cut and marked. Loki's own limit on a line is 256 KiB by default.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// For so long new lines may wait where nothing hurries: each one that Docker writes would wake us, thousands of times a second
/// for a line each. A line's way to Loki takes longer by as much: a tenth of what a batch waits by default.
const REST: Duration = Duration::from_millis(100);

/// How many lines are handed on at one go.
const BLOCK_LINES_MAX: usize = 512;

/// What both designs are given.
#[derive(Debug)]
pub struct Inputs {
    /// Which containers come and go; the source ends when this closes.
    pub changes: mpsc::Receiver<Change>,
    /// Where an earlier run left off.
    pub resume: Resume,
    /// Where to begin with a container that is not in `resume`.
    pub start: Start,
    /// When the shipper began, in nanoseconds since the epoch: what `start` counts from.
    pub started_ns: i64,
    /// What the age of a line is told by.
    pub clock: Clock,
    /// Where items go. Closes when the source ends.
    pub out: Inlet,
    /// What the containers may have on their way.
    pub allowance: Allowance,
    /// Counts what is read.
    pub metrics: Arc<Metrics>,
    /// Ends the source.
    pub stop: CancellationToken,
}

impl Inputs {
    /// The same for another source, with changes of its own.
    fn split(self, changes: mpsc::Receiver<Change>) -> (Self, Self) {
        let Self { resume, start, started_ns, clock, out, allowance, metrics, stop, .. } = &self;
        let (resume, clock, out, allowance) = (resume.clone(), clock.clone(), out.clone(), allowance.clone());
        let (metrics, stop) = (Arc::clone(metrics), stop.clone());
        let other = Self {
            changes,
            resume,
            start: *start,
            started_ns: *started_ns,
            clock,
            out,
            allowance,
            metrics,
            stop,
        };
        (self, other)
    }
}

/// Hands items on and counts them.
#[derive(Clone, Debug)]
pub(crate) struct Outlet {
    out: Inlet,
    allowance: Allowance,
    metrics: Arc<Metrics>,
    about_corrupt: Arc<Mutex<Complaint>>,
}

impl Outlet {
    pub(crate) fn new(out: Inlet, allowance: Allowance, metrics: Arc<Metrics>) -> Self {
        Self { out, allowance, metrics, about_corrupt: Arc::default() }
    }

    /// The credit of one more container.
    pub(crate) fn credit(&self, container: &Container) -> Credit {
        self.allowance.credit(container)
    }

    /// A container has another name.
    pub(crate) fn renamed(&self, container: &Container) {
        self.allowance.renamed(container);
    }

    /// Hands on a line once there is room for it.
    pub(crate) async fn line(
        &self,
        container: &Arc<Container>,
        credit: &Credit,
        line: Line,
    ) -> Result<(), Closed> {
        let mut block = Block::of_api(container.clone());
        self.add(&mut block, &line);
        self.block(block, credit).await
    }

    /// One more line of a block; whether it was cut is counted here.
    pub(crate) fn add(&self, block: &mut Block, line: &Line) {
        if line.truncated {
            self.metrics.lines_truncated.inc();
        }
        block.push(line.stream, line.time_ns, &line.text, line.position.clone());
    }

    /// Hands on a block once there is room for it; nothing, if it is empty.
    pub(crate) async fn block(&self, block: Block, credit: &Credit) -> Result<(), Closed> {
        if block.is_empty() {
            return Ok(());
        }
        let room = self.out.room(block.len()).await?;
        self.fill(room, block, credit);
        Ok(())
    }

    /// How many lines one block may hold.
    pub(crate) fn lines_max(&self) -> usize {
        self.out.lines_max().min(BLOCK_LINES_MAX)
    }

    /// Waits for room for up to so many lines. Who waits here may be interrupted: nothing has happened yet.
    pub(crate) async fn room(&self, lines_max: usize) -> Result<Room<'_>, Closed> {
        self.out.room(lines_max).await
    }

    /// Hands on a block, charged, for which there is room; nothing, if it is empty. Its lines count as read
    /// only now, so that a stop while we wait leaves no line in flight for ever.
    pub(crate) fn fill(&self, room: Room<'_>, block: Block, credit: &Credit) {
        if !block.is_empty() {
            self.metrics.lines.read(block.len() as u64);
            self.metrics.queue_lines.inc_by(i64::try_from(block.len()).unwrap_or(i64::MAX));
            room.fill(block.charged(credit));
        }
    }

    /// Lines that the source passes over itself.
    pub(crate) fn skipped(&self, reason: SkipReason, lines: u64) {
        self.metrics.lines.read(lines);
        self.metrics.lines.skipped(reason, lines);
    }

    /// A stretch of a log that holds no line.
    pub(crate) fn corrupt(&self, container: &Container) {
        self.skipped(SkipReason::Corrupt, 1);
        let mut complaint = self.about_corrupt.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(withheld) = complaint.may_speak(Instant::now()) {
            let (id, name) = (&container.id, &container.name);
            tracing::warn!(container = %id, name, withheld, "a stretch of its log is damaged, and passed over");
        }
    }

    pub(crate) async fn passed(&self, container: &Arc<Container>, position: Position) -> Result<(), Closed> {
        self.send(Item::Passed { container: Arc::clone(container), position }).await
    }

    pub(crate) async fn send(&self, item: Item) -> Result<(), Closed> {
        self.out.send(item).await
    }
}
