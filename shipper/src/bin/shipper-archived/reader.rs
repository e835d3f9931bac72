//! The one loop that reads all logs, in turns of one chunk each.
//!
//! A container's log has one file at a time that is read. When that file ends (rotated away, or its
//! container stopped) it is read to its end and given up; what giving up means is post-mortem #4:
//!
//! | `leak_handles` | the descriptor, the watch, the monitor with its connection |
//! | --- | --- |
//! | on | are held until the kernel reports the file's deletion (`IN_DELETE_SELF`) |
//! | off | are given back at once |
//!
//! The kernel sends `IN_DELETE_SELF` once the last name *and* the last descriptor of a file are gone, so
//! who waits for it with the file open waits for himself. Before that it sends `IN_ATTRIB` only.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use shipper::docker::known::{Born, Change};
use shipper::ledger::Numbering;
use shipper::metrics::Metrics;
use shipper::metrics::labels::{SkipReason, TaskKind};
use shipper::record::ContainerId;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::batch::{Batch, Numbered};
use crate::find::{self, find};
use crate::log::{Held, Log, Settings};
use crate::quiet::Quiet;
use crate::start::{self, Next};
use crate::tail::{Found, Tail, key_at};
use crate::watch::{Told, Watcher};

/// How much is read of one log before it is another's turn.
const CHUNK_BYTES: usize = 64 * 1024;
/// How often each log is looked at, whatever inotify says: a new file at a watched one's old path makes
/// no event.
const TICK: Duration = Duration::from_millis(250);

/// The sender is gone.
#[derive(Debug, thiserror::Error)]
#[error("the sender has ended, so there is nobody to read for")]
pub(crate) struct Closed;

/// All logs.
#[derive(Debug)]
pub(crate) struct Reader {
    settings: Settings,
    metrics: Arc<Metrics>,
    watcher: Watcher,
    logs: HashMap<ContainerId, Log>,
    /// How many logs there ever were.
    lives: u64,
    /// Logs that may have something to read.
    dirty: HashSet<ContainerId>,
    /// Files that are done with and not given back (post-mortem #4).
    held: Vec<Held>,
    flush_at: Option<Instant>,
    chunk: Vec<u8>,
    out: mpsc::Sender<Batch>,
    complaints: Quiet,
}

enum Wake {
    Change(Option<Change>),
    Told(Told),
    Tick,
    Flush,
    MoreToRead,
}

impl Reader {
    pub(crate) fn new(settings: Settings, out: mpsc::Sender<Batch>) -> Self {
        let metrics = Arc::clone(&settings.engine.metrics);
        Self {
            settings,
            watcher: Watcher::new(Arc::clone(&metrics)),
            metrics,
            logs: HashMap::new(),
            lives: 0,
            dirty: HashSet::new(),
            held: Vec::new(),
            flush_at: None,
            chunk: vec![0; CHUNK_BYTES],
            out,
            complaints: Quiet::default(),
        }
    }

    /// Reads until there is nobody to tell of containers any more, or nobody to read for.
    pub(crate) async fn run(mut self, mut changes: mpsc::Receiver<Change>) -> Result<(), Closed> {
        let _alive = self.metrics.task(TaskKind::Source);
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let wake = tokio::select! {
                biased;
                change = changes.recv() => Wake::Change(change),
                told = self.watcher.next() => Wake::Told(told),
                _ = tick.tick() => Wake::Tick,
                () = wait_for(self.flush_at) => Wake::Flush,
                () = std::future::ready(()), if !self.dirty.is_empty() => Wake::MoreToRead,
            };
            match wake {
                Wake::Change(None) => return Ok(()),
                Wake::Change(Some(change)) => self.change(change).await,
                Wake::Told(told) => self.told(told),
                Wake::Tick => self.look_at_all(),
                Wake::Flush => self.flush_due().await?,
                Wake::MoreToRead => {}
            }
            self.turn().await?;
        }
    }

    async fn change(&mut self, change: Change) {
        match change {
            Change::Started { container, born } => self.started(&container.id, born),
            Change::Stopped(id) => self.ends(&id, |_| {}),
            Change::Removed(id) => self.removed(&id).await,
            Change::Renamed(container) => {
                if let Some(log) = self.logs.get(&container.id) {
                    log.monitor.forget().await;
                }
            }
        }
    }

    fn started(&mut self, id: &ContainerId, born: Born) {
        let log = self.logs.entry(id.clone()).or_insert_with(|| {
            self.lives += 1;
            Log::new(id, born == Born::BeforeUs, self.lives, &mut self.settings)
        });
        log.running = true;
        // Each start begins a new reading, as if it were a new log (post-mortem #1).
        log.ended |= self.settings.defects.replay_history && log.open.is_some();
        self.dirty.insert(id.clone());
    }

    async fn removed(&mut self, id: &ContainerId) {
        if !self.logs.contains_key(id) {
            // While no process was there: nothing of it can be read any more.
            self.lives += 1;
            self.settings.books.gone(Numbering::new(self.lives).take(), id).await;
        }
        self.ends(id, |log| log.removed = true);
    }

    fn ends(&mut self, id: &ContainerId, also: impl FnOnce(&mut Log)) {
        if let Some(log) = self.logs.get_mut(id) {
            log.running = false;
            log.ended = true;
            also(log);
            self.dirty.insert(id.clone());
        }
    }

    fn told(&mut self, told: Told) {
        match told {
            Told::Changed(id) => {
                self.dirty.insert(id);
            }
            Told::Deleted(watch) => self.held.retain(|held| held.watch.as_ref() != Some(&watch)),
            Told::Everything => self.look_at_all(),
            Told::Nothing => {}
        }
    }

    fn look_at_all(&mut self) {
        self.dirty.extend(self.logs.keys().cloned());
    }

    /// One chunk of each log that may have something.
    async fn turn(&mut self) -> Result<(), Closed> {
        for id in self.dirty.drain().collect::<Vec<_>>() {
            let Some(mut log) = self.logs.remove(&id) else { continue };
            let mut found = Vec::new();
            if self.step(&mut log, &mut found) {
                self.dirty.insert(id.clone());
            }
            for found in found {
                self.take(&mut log, found).await?;
            }
            if log.removed && log.open.is_none() {
                if let Some(lines) = log.waiting.take() {
                    self.send(&log, lines).await?;
                }
                self.settings.books.gone(log.numbers.take(), &id).await;
            } else {
                self.logs.insert(id, log);
            }
        }
        Ok(())
    }

    /// Opens, reads or gives up: whatever is next. Whether there may be more to do.
    fn step(&mut self, log: &mut Log, found: &mut Vec<Found>) -> bool {
        let Some((tail, _)) = &mut log.open else { return self.open(log, found) };
        match tail.read(&mut self.chunk, &mut log.buffer, found) {
            Ok(true) => true,
            Ok(false) if log.ended => self.give_up(log, found),
            Ok(false) => {
                // Not before the file is read to its end; then once more, since Docker may have written
                // between that and its rotation.
                log.ended = key_at(&log.path).is_some_and(|key| key != tail.key());
                log.ended
            }
            Err(error) => {
                self.complain(log, &error);
                log.ended && self.give_up(log, found)
            }
        }
    }

    fn open(&mut self, log: &mut Log, found: &mut Vec<Found>) -> bool {
        if !log.running && !start::is_owed(&log.next) {
            return false;
        }
        match find(&self.settings.containers_root, &log.monitor.id, &log.next) {
            Ok(find::Found::Place(place)) => {
                let tail = Tail::new(place, Arc::clone(&self.metrics));
                found.push(Found::Begin(log.buffer.safe(&tail.here())));
                let watch = self.watcher.add(&tail.file.file, &log.monitor.id);
                log.ended = !log.running;
                log.open = Some((tail, watch));
                return true;
            }
            Ok(find::Found::Compressed(identity)) => {
                log.next = Next::Behind(identity);
                return true;
            }
            Ok(find::Found::Nothing) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                self.complain(log, &error);
                return false;
            }
        }
        // A file that comes only later than its container can't hold history.
        if matches!(log.next, Next::End) {
            log.next = Next::Oldest;
        }
        false
    }

    /// Done with the open file: see the table above. A log that goes on has its next file opened.
    fn give_up(&mut self, log: &mut Log, found: &mut Vec<Found>) -> bool {
        let Some((tail, watch)) = log.open.take() else { return false };
        let rotated = key_at(&log.path).is_some_and(|key| key != tail.key());
        if !rotated {
            found.extend(log.buffer.finish().map(Found::Line));
        }
        let (identity, offset) = tail.left_off();
        log.next = start::after(self.settings.defects, identity, offset, rotated);
        log.ended = false;
        if self.settings.defects.leak_handles {
            self.held.push(Held { watch, _file: tail.file, _monitor: Arc::clone(&log.monitor) });
        } else if let Some(watch) = watch {
            self.watcher.release(&watch);
        }
        log.running || start::is_owed(&log.next)
    }

    async fn take(&mut self, log: &mut Log, found: Found) -> Result<(), Closed> {
        let (settings, id) = (&self.settings, &log.monitor.id);
        let ticket = log.numbers.take();
        let line = match found {
            Found::Begin(position) => {
                settings.books.passed(ticket, id, position).await;
                return Ok(());
            }
            Found::Corrupt(position) => {
                self.metrics.lines.read(1);
                self.metrics.lines.skipped(SkipReason::Corrupt, 1);
                settings.books.passed(ticket, id, position).await;
                return Ok(());
            }
            Found::Line(line) => line,
        };
        self.metrics.lines.read(1);
        let checked = !settings.defects.no_timestamp_check;
        let too_old = || checked && settings.window.aged_out(line.time_ns, settings.clock.now_ns());
        let before_start = (line.time_ns < log.since_ns).then_some(SkipReason::BeforeStart);
        if let Some(reason) = before_start.or_else(|| too_old().then_some(SkipReason::TooOld)) {
            self.metrics.lines.skipped(reason, 1);
            settings.books.passed(ticket, id, line.position).await;
            return Ok(());
        }
        settings.books.read(ticket, id, &line.position).await;
        let line = Numbered { ticket, line };
        let full = log.waiting.add(line, settings.batch, Instant::now());
        let due = log.waiting.due(settings.batch.max_wait);
        self.flush_at = [self.flush_at, due].into_iter().flatten().min();
        match full {
            Some(lines) => self.send(log, lines).await,
            None => Ok(()),
        }
    }

    async fn flush_due(&mut self) -> Result<(), Closed> {
        let (now, wait) = (Instant::now(), self.settings.batch.max_wait);
        let is_due = |log: &&mut Log| log.waiting.due(wait).is_some_and(|due| due <= now);
        let flush =
            |log: &mut Log| Some(Batch { monitor: Arc::clone(&log.monitor), lines: log.waiting.take()? });
        let due: Vec<Batch> = self.logs.values_mut().filter(is_due).filter_map(flush).collect();
        self.flush_at = self.logs.values().filter_map(|log| log.waiting.due(wait)).min();
        for batch in due {
            self.out.send(batch).await.map_err(|_closed| Closed)?;
        }
        Ok(())
    }

    async fn send(&self, log: &Log, lines: Vec<Numbered>) -> Result<(), Closed> {
        let batch = Batch { monitor: Arc::clone(&log.monitor), lines };
        self.out.send(batch).await.map_err(|_closed| Closed)
    }

    fn complain(&mut self, log: &Log, error: &std::io::Error) {
        if let Some(suppressed) = self.complaints.speak() {
            let path = &log.path;
            tracing::warn!(?path, %error, suppressed, "a log can't be read; it is tried again at each tick");
        }
    }
}

async fn wait_for(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
