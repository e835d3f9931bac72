//! Design B: reads the files of Docker's json-file driver.
//!
//! One task for all containers. Containers with something to read stand in one queue and get a bounded
//! turn each, so that a noisy one can't starve the others. One that has used up its credit stands aside until
//! it has regained some; a full pipeline holds the whole loop. In both cases the files are the buffer. Files are read in this task: a log that is being followed lies in the page
//! cache, and a thread pool for it would cost more than the reads (and grow and shrink with the load).

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::Semaphore;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::docker::known::{Born, Change};
use crate::metrics::labels::TaskKind;
use crate::record::{Container, ContainerId, Item, Position};
use crate::source::position::{self, Begin, Resume, Start};
use crate::source::unreadable::{NO_DRIVER, Unreadable};
use crate::source::{Closed, Inputs, Outlet};

pub mod files;
pub mod identity;
pub mod archive;
pub mod content;
pub mod chain;
pub mod json_line;
mod open;
mod rest;
pub mod tail;
pub mod watch;

use files::Folder;
use rest::Rest;
pub use tail::held::Limits;
use tail::{Desk, Life, Tail, Turn, held};
use watch::{Signal, Watch};

/// The driver whose files are read here.
pub(super) const DRIVER: &str = "json-file";
/// How much one container may read in one turn. Docker cuts lines at 16 KiB, which JSON can make six
/// times as long: a line always fits.
const TURN_BYTES: usize = 256 << 10;
/// How often a log is looked at whose folder can't be watched.
const POLL: Duration = Duration::from_secs(1);
/// How many archives are read at the same time: each takes a page and the window of its compression.
const ARCHIVES_MAX: usize = 16;

/// What `hybrid` needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Docker's folder of containers, usually `/var/lib/docker/containers`.
    pub containers_root: PathBuf,
    /// How often everything is looked at, whatever inotify says: the kernel may have dropped an event.
    pub reconcile: Duration,
    /// How long and how much of what is deleted is read.
    pub limits: Limits,
}

/// Why it can't go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Docker's folder can't be opened.
    #[error("can't read Docker's log files in {path:?} ({source}): run as root, or use `design: pool`")]
    Folder {
        /// Which folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Nobody takes the lines.
    #[error(transparent)]
    Closed(#[from] Closed),
}

/// Reads all containers' logs until `inputs.stop`, or until discovery ends.
///
/// # Errors
/// [`Error`]
pub async fn run(config: Config, inputs: Inputs) -> Result<(), Error> {
    let _alive = inputs.metrics.task(TaskKind::Source);
    let folder = open(&config)?;
    let stop = inputs.stop.clone();
    let hybrid = Hybrid::new(&config, folder, inputs);
    tokio::select! {
        () = stop.cancelled() => Ok(()),
        ended = hybrid.follow() => ended.map_err(Error::Closed),
    }
}

/// Docker's folder.
///
/// # Errors
/// When it can't be read.
pub(super) fn open(config: &Config) -> Result<Folder, Error> {
    Folder::open(&config.containers_root)
        .map_err(|source| Error::Folder { path: config.containers_root.clone(), source })
}

struct Hybrid {
    changes: tokio::sync::mpsc::Receiver<Change>,
    resume: Resume,
    start: Start,
    started_ns: i64,
    tails: HashMap<ContainerId, Tail>,
    ready: VecDeque<ContainerId>,
    /// Those that wait for a place to read an archive.
    waiting: VecDeque<ContainerId>,
    /// Those without credit; each comes out when it has regained some.
    aside: FuturesUnordered<Pin<Box<dyn Future<Output = ContainerId> + Send>>>,
    watch: Watch,
    rest: Rest,
    unreadable: Unreadable,
    tick: Interval,
    poll: Interval,
    limits: Limits,
    desk: Desk,
    /// How much one turn reads of one container; its length is also the longest line that is decoded.
    page: Vec<u8>,
}

impl Drop for Hybrid {
    fn drop(&mut self) {
        for tail in self.tails.values_mut() {
            tail.close();
            self.watch.remove(&tail.container.id);
        }
    }
}

impl Hybrid {
    fn new(config: &Config, folder: Folder, inputs: Inputs) -> Self {
        let [mut tick, mut poll] = [interval(config.reconcile), interval(POLL)];
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let metrics = inputs.metrics;
        Self {
            changes: inputs.changes,
            resume: inputs.resume,
            start: inputs.start,
            started_ns: inputs.started_ns,
            tails: HashMap::new(),
            ready: VecDeque::new(),
            waiting: VecDeque::new(),
            aside: FuturesUnordered::new(),
            watch: Watch::new(Arc::clone(&metrics)),
            rest: Rest::default(),
            unreadable: Unreadable::new(Arc::clone(&metrics)),
            tick,
            poll,
            limits: config.limits.clone(),
            page: vec![0; TURN_BYTES],
            desk: Desk {
                folder,
                outlet: Outlet::new(inputs.out, inputs.allowance, Arc::clone(&metrics)),
                metrics,
                text: Vec::new(),
                archives: Arc::new(Semaphore::new(ARCHIVES_MAX)),
                started_ns: inputs.started_ns,
            },
        }
    }

    /// One loop: take what has happened, give the next container a turn, or wait.
    async fn follow(mut self) -> Result<(), Closed> {
        loop {
            let happened = if self.ready.is_empty() { Some(self.wait().await) } else { self.happened() };
            match happened {
                Some(Happened::Change(change)) => self.change(change).await?,
                Some(Happened::Signal(signal)) => self.told(signal),
                Some(Happened::Tick) => self.reconcile(),
                Some(Happened::Rested) => self.rest.end(),
                Some(Happened::Poll) => self.queue_polled(),
                Some(Happened::Credit(id)) => self.ready.push_back(id),
                Some(Happened::DiscoveryEnded) => return Ok(()),
                None => self.next_turn().await?,
            }
        }
    }

    /// A busy log changes a hundred times within a rest: what the kernel has to say is taken at one go.
    fn told(&mut self, signal: Signal) {
        let mut signal = Some(signal);
        while let Some(told) = signal {
            match told {
                Signal::Changed(id) => self.queue(&id),
                Signal::Everything => self.queue_all(),
            }
            signal = self.watch.try_next();
        }
    }

    async fn wait(&mut self) -> Happened {
        if self.rest.is_on() {
            self.watch.rest();
        }
        tokio::select! {
            change = self.changes.recv() => change.map_or(Happened::DiscoveryEnded, Happened::Change),
            signal = self.watch.next(), if !self.rest.is_on() => Happened::Signal(signal),
            () = self.rest.over(), if self.rest.is_on() => Happened::Rested,
            Some(id) = self.aside.next() => Happened::Credit(id),
            _ = self.tick.tick() => Happened::Tick,
            _ = self.poll.tick(), if self.watch.polled().next().is_some() => Happened::Poll,
        }
    }

    /// What has happened already.
    fn happened(&mut self) -> Option<Happened> {
        self.wait().now_or_never()
    }

    /// Also while nobody takes the lines, the tick comes: deleted files must not be held for ever.
    async fn next_turn(&mut self) -> Result<(), Closed> {
        let Some(id) = self.ready.pop_front() else { return Ok(()) };
        let Some(tail) = self.tails.get_mut(&id) else { return Ok(()) };
        if !tail.credit.is_left() {
            self.rest.behind(&id, false);
            let credit = tail.credit.clone();
            self.aside.push(Box::pin(async move {
                credit.regained().await;
                id
            }));
            self.lend_place();
            return Ok(());
        }
        tail.queued = false;
        let turn = tokio::select! {
            biased;
            turn = tail.turn(&mut self.desk, &mut self.page) => turn?,
            _ = self.tick.tick() => {
                tail.queued = true;
                self.ready.push_front(id);
                self.reconcile();
                return Ok(());
            }
        };
        match turn {
            Turn::More => self.queue(&id),
            Turn::NoPlace => {
                tail.queued = true;
                self.waiting.push_back(id.clone());
            }
            Turn::Idle if tail.life == Life::Removed => self.part(&id).await?,
            Turn::Idle if tail.life == Life::Stopped => self.watch.remove(&id),
            Turn::Idle => {}
        }
        self.lend_place();
        let has_place = turn != Turn::NoPlace;
        let is_urgent = has_place && self.tails.get(&id).is_some_and(Tail::is_urgent);
        self.rest.behind(&id, is_urgent);
        // A turn over history may send nothing for long; let the other tasks of this thread run.
        tokio::task::yield_now().await;
        Ok(())
    }

    /// Gives a place for an archive to the next that waits for one. Who has no credit can't use his.
    fn lend_place(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        if self.desk.archives.available_permits() == 0
            && let Some(tail) = self.tails.values_mut().find(|tail| tail.has_idle_archive())
        {
            tail.close();
        }
        if self.desk.archives.available_permits() > 0 {
            self.ready.extend(self.waiting.pop_front());
        }
    }

    fn reconcile(&mut self) {
        for id in held::enforce(&self.limits, &mut self.tails, &self.desk.metrics) {
            self.queue(&id);
        }
        self.watch.retry();
        self.queue_all();
    }

    fn queue_polled(&mut self) {
        let polled: Vec<_> = self.watch.polled().cloned().collect();
        for id in polled {
            self.queue(&id);
        }
    }

    async fn change(&mut self, change: Change) -> Result<(), Closed> {
        match change {
            Change::Started { container, born } => self.start(container, born),
            Change::Renamed(container) => {
                self.desk.outlet.renamed(&container);
                if let Some(tail) = self.tails.get_mut(&container.id) {
                    tail.container = container;
                }
            }
            Change::Stopped(id) => self.set_life(&id, Life::Stopped),
            Change::Removed(id) if self.tails.contains_key(&id) => self.set_life(&id, Life::Removed),
            Change::Removed(id) => {
                self.unreadable.forget(&id);
                self.resume.remove(&id);
                self.desk.outlet.send(Item::Gone(id)).await?;
            }
        }
        Ok(())
    }

    fn start(&mut self, container: Arc<Container>, born: Born) {
        let id = container.id.clone();
        if container.log_driver != DRIVER {
            let advice = match container.log_driver.as_str() {
                NO_DRIVER => "its logging driver keeps nothing",
                _ => "`design: hybrid` reads json-file logs only; use `auto` or `pool`",
            };
            self.unreadable.note(&container, advice);
            return;
        }
        if !self.desk.folder.has(&id) {
            // Followed all the same: it may be there later.
            self.unreadable.note(&container, "its folder is not in docker.containers_root: is that right?");
        }
        self.watch.add(&id, &self.desk.folder.of(&id));
        let position = self.resume.remove(&id);
        let begin = match position::begin(position, born, self.start, self.started_ns) {
            // Left by design A: its place in the file is unknown, its time is not.
            Begin::At(Position::Api { time_ns, .. }) => Begin::Since(time_ns),
            begin @ (Begin::At(_) | Begin::Beginning | Begin::End | Begin::Since(_)) => begin,
        };
        let tail = self.tails.entry(id.clone());
        let tail = tail
            .or_insert_with(|| Tail::new(Arc::clone(&container), self.desk.outlet.credit(&container), begin));
        tail.container = container;
        tail.life = Life::Running;
        self.queue(&id);
    }

    fn set_life(&mut self, id: &ContainerId, life: Life) {
        if let Some(tail) = self.tails.get_mut(id) {
            tail.life = life;
            self.queue(id);
        }
    }

    /// The container is gone and its last line was sent: give everything back.
    async fn part(&mut self, id: &ContainerId) -> Result<(), Closed> {
        self.watch.remove(id);
        if let Some(mut tail) = self.tails.remove(id) {
            tail.close();
        }
        self.desk.outlet.send(Item::Gone(id.clone())).await
    }

    fn queue(&mut self, id: &ContainerId) {
        if let Some(tail) = self.tails.get_mut(id)
            && !std::mem::replace(&mut tail.queued, true)
        {
            self.ready.push_back(id.clone());
        }
    }

    fn queue_all(&mut self) {
        for (id, tail) in &mut self.tails {
            if !tail.is_parked() && !std::mem::replace(&mut tail.queued, true) {
                self.ready.push_back(id.clone());
            }
        }
    }
}

enum Happened {
    Change(Change),
    Signal(Signal),
    Credit(ContainerId),
    Tick,
    Poll,
    Rested,
    DiscoveryEnded,
}
