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
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use shipper::clock::Clock;
use shipper::docker::known::{Born, Change};
use shipper::metrics::Metrics;
use shipper::metrics::labels::{SkipReason, TaskKind};
use shipper::record::ContainerId;
use shipper::source::join::Line;
use shipper::window;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::batch::{Batch, Waiting};
use crate::config::{self, Defects};
use crate::engine::Engine;
use crate::monitor::Monitor;
use crate::quiet::Quiet;
use crate::start::{Key, Opening};
use crate::tail::{Found, OpenFile, Tail, key_at};
use crate::watch::{Told, Watch, Watcher};

/// How much is read of one log before it is another's turn.
const CHUNK_BYTES: usize = 64 * 1024;
/// How often each log is looked at, whatever inotify says: a new file at a watched one's old path makes
/// no event.
const TICK: Duration = Duration::from_millis(250);

/// What the reader is given.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) containers_root: PathBuf,
    pub(crate) batch: config::Batch,
    pub(crate) window: window::Config,
    pub(crate) defects: Defects,
    pub(crate) engine: Engine,
    pub(crate) clock: Clock,
}

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
    /// Logs that may have something to read.
    dirty: HashSet<ContainerId>,
    /// Files that are done with and not given back (post-mortem #4).
    held: Vec<Held>,
    flush_at: Option<Instant>,
    chunk: Vec<u8>,
    out: mpsc::Sender<Batch>,
    complaints: Quiet,
}

/// One container's log.
#[derive(Debug)]
struct Log {
    monitor: Arc<Monitor>,
    path: PathBuf,
    open: Option<(Tail, Option<Watch>)>,
    /// The open file gets no more lines: it is given up once it is read to its end.
    ended: bool,
    running: bool,
    removed: bool,
    /// It was there before us and was not looked at yet.
    history: bool,
    left_off: Option<(Key, u64)>,
    waiting: Waiting,
}

/// What a file that is not given back keeps.
#[derive(Debug)]
struct Held {
    watch: Option<Watch>,
    _file: OpenFile,
    _monitor: Arc<Monitor>,
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
            Change::Removed(id) => self.ends(&id, |log| log.removed = true),
            Change::Renamed(container) => {
                if let Some(log) = self.logs.get(&container.id) {
                    log.monitor.forget().await;
                }
            }
        }
    }

    fn started(&mut self, id: &ContainerId, born: Born) {
        let defects = self.settings.defects;
        let log = self.logs.entry(id.clone()).or_insert_with(|| {
            let name = id.as_str();
            Log {
                monitor: Monitor::new(id.clone(), self.settings.engine.clone()),
                path: self.settings.containers_root.join(name).join(format!("{name}-json.log")),
                open: None,
                ended: false,
                running: false,
                removed: false,
                history: born == Born::BeforeUs,
                left_off: None,
                waiting: Waiting::default(),
            }
        });
        log.running = true;
        // Each start begins a new reading, as if it were a new log (post-mortem #1).
        log.ended |= defects.replay_history && log.open.is_some();
        self.dirty.insert(id.clone());
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
            } else {
                self.logs.insert(id, log);
            }
        }
        Ok(())
    }

    /// Opens, reads or gives up: whatever is next. Whether there may be more to do.
    fn step(&mut self, log: &mut Log, found: &mut Vec<Found>) -> bool {
        let Some((tail, _)) = &mut log.open else { return self.open(log) };
        match tail.read(&mut self.chunk, found) {
            Ok(true) => true,
            Ok(false) if log.ended => self.give_up(log, found),
            Ok(false) => {
                // Not before the file is read to its end; then once more, since Docker may have written
                // between that and its rotation.
                log.ended = key_at(&log.path).is_some_and(|key| key != tail.file.key);
                log.ended
            }
            Err(error) => {
                self.complain(log, &error);
                log.ended && self.give_up(log, found)
            }
        }
    }

    fn open(&mut self, log: &mut Log) -> bool {
        if !log.running {
            return false;
        }
        // A file that comes only later than its container can't hold history.
        let history = std::mem::take(&mut log.history);
        match OpenFile::open(&log.path, Arc::clone(&self.metrics)) {
            Ok((file, size)) => {
                let opening = Opening { key: file.key, size, history, left_off: log.left_off };
                let replay = self.settings.defects.replay_history;
                let offset = if replay { opening.replayed() } else { opening.resumed() };
                let watch = self.watcher.add(&file.file, &log.monitor.id);
                log.ended = false;
                log.open = Some((Tail::new(file, offset), watch));
                true
            }
            Err(error) => {
                if error.kind() != std::io::ErrorKind::NotFound {
                    self.complain(log, &error);
                }
                false
            }
        }
    }

    /// Done with the open file: see the table above. A log that goes on has its next file opened.
    fn give_up(&mut self, log: &mut Log, found: &mut Vec<Found>) -> bool {
        let Some((mut tail, watch)) = log.open.take() else { return false };
        tail.finish(found);
        log.left_off = Some(tail.left_off());
        log.ended = false;
        if self.settings.defects.leak_handles {
            self.held.push(Held { watch, _file: tail.file, _monitor: Arc::clone(&log.monitor) });
        } else if let Some(watch) = watch {
            self.watcher.release(&watch);
        }
        log.running
    }

    async fn take(&mut self, log: &mut Log, found: Found) -> Result<(), Closed> {
        self.metrics.lines.read(1);
        let Found::Line(line) = found else {
            self.metrics.lines.skipped(SkipReason::Corrupt, 1);
            return Ok(());
        };
        let settings = &self.settings;
        let checked = !settings.defects.no_timestamp_check;
        if checked && settings.window.aged_out(line.time_ns, settings.clock.now_ns()) {
            self.metrics.lines.skipped(SkipReason::TooOld, 1);
            return Ok(());
        }
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

    async fn send(&self, log: &Log, lines: Vec<Line>) -> Result<(), Closed> {
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
