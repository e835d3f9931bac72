//! Design A: reads Docker's log API over a bounded number of connections.
//!
//! One mechanism for any number of containers: a lease of one connection. Its holder follows its log until
//! the stream ends, or until its time slice is over and another container waits for a connection. So while
//! there are connections enough nobody is ever interrupted, and beyond that all are served in turn, first
//! come first served; but containers that have stopped come before those that run, as Docker may remove them
//! with their logs at any moment. Whoever comes back goes on at his mark (see `cursor`).
//!
//! A stream that ends proves nothing: Docker also cuts it when the container stops, before its last lines
//! are out. So a container that has stopped is asked once more for all that is left.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::complaint::Complaint;
use crate::docker::api::{Api, ApiError};
use crate::docker::known::{Born, Change};
use crate::docker::logs::Until;
use crate::metrics::labels::TaskKind;
use crate::record::{Container, ContainerId, Item, Position};
use crate::source::position::{self, Begin, Resume, Start};
use crate::source::unreadable::{NO_DRIVER, Unreadable};
use crate::source::{Closed, Inputs, Outlet};

mod connected;
pub mod cursor;
pub mod frames;
pub mod lease;
pub mod queue;

use cursor::{Cursor, Mark};
use lease::{Ending, Lease, Reader};
use queue::Queue;

/// Docker's answer for a driver whose logs it can't read, and that keeps no copy that it could.
const NOT_IMPLEMENTED: u16 = 501;
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// What `pool` needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// How many log connections there may be at a time.
    pub connections_max: usize,
    /// How long a container keeps its connection while others wait.
    pub slice: Duration,
}

/// Why it can't go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody takes the lines.
    #[error(transparent)]
    Closed(#[from] Closed),
    /// A reader panicked.
    #[error("a reader of a container's log failed: {0}")]
    Reader(#[from] tokio::task::JoinError),
}

/// Reads all containers' logs until `inputs.stop`, or until discovery ends.
///
/// # Errors
/// [`Error`]
pub async fn run(config: Config, api: Api, inputs: Inputs) -> Result<(), Error> {
    let _alive = inputs.metrics.task(TaskKind::Source);
    let stop = inputs.stop.clone();
    inputs.metrics.docker_connections_max.set(i64::try_from(config.connections_max).unwrap_or(i64::MAX));
    let mut pool = Pool::new(config, api, inputs);
    let ended = tokio::select! {
        () = stop.cancelled() => Ok(()),
        ended = pool.follow() => ended,
    };
    pool.leases.shutdown().await;
    ended
}

struct Pool {
    config: Config,
    api: Api,
    changes: mpsc::Receiver<Change>,
    resume: Resume,
    start: Start,
    started_ns: i64,
    outlet: Outlet,
    clock: Clock,
    places: HashMap<ContainerId, Place>,
    waiting: Queue,
    /// One permit for each container that waits: a lease whose slice is over takes one and ends.
    claims: Arc<Semaphore>,
    leases: JoinSet<(ContainerId, Reader, Ending)>,
    unreadable: Unreadable,
    complaint: Complaint,
}

/// What is kept of a container.
struct Place {
    /// Also the present lease sees it change: a quiet log may keep its connection for days.
    container: watch::Sender<Arc<Container>>,
    life: Life,
    stage: Stage,
    backoff: Duration,
    /// Says to the present lease that the container has stopped: nothing more comes after a pause.
    stopping: CancellationToken,
}

impl Place {
    fn container(&self) -> Arc<Container> {
        Arc::clone(&self.container.borrow())
    }
}

/// What Docker says of the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Running,
    /// Whether all that is left was asked for since.
    Stopped {
        drained: bool,
    },
    Removed,
}

/// Where its reader is.
enum Stage {
    /// Here, and wants no connection.
    Idle(Reader),
    /// Here, and stands in the queue.
    Waiting(Reader),
    /// Here, and waits until it may try again.
    Resting(Reader, Instant),
    /// In a lease.
    Leased,
}

impl Pool {
    fn new(config: Config, api: Api, inputs: Inputs) -> Self {
        Self {
            config,
            api,
            changes: inputs.changes,
            resume: inputs.resume,
            start: inputs.start,
            started_ns: inputs.started_ns,
            outlet: Outlet::new(inputs.out, inputs.allowance, Arc::clone(&inputs.metrics)),
            unreadable: Unreadable::new(inputs.metrics),
            clock: inputs.clock,
            places: HashMap::new(),
            waiting: Queue::default(),
            claims: Arc::new(Semaphore::new(0)),
            leases: JoinSet::new(),
            complaint: Complaint::default(),
        }
    }

    async fn follow(&mut self) -> Result<(), Error> {
        loop {
            self.lend();
            let wake = self.next_rested();
            tokio::select! {
                change = self.changes.recv() => match change {
                    Some(change) => self.change(change).await?,
                    None => return Ok(()),
                },
                Some(ended) = self.leases.join_next() => {
                    let (id, reader, ending) = ended?;
                    self.take_back(id, reader, ending).await?;
                }
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => self.rested(),
            }
        }
    }

    /// Gives free connections to those who have waited longest, and tells the leases how many still wait.
    fn lend(&mut self) {
        while self.leases.len() < self.config.connections_max {
            let Some(id) = self.waiting.pop() else { break };
            let Some(place) = self.places.get_mut(&id) else { continue };
            match std::mem::replace(&mut place.stage, Stage::Leased) {
                Stage::Waiting(reader) => {
                    place.stopping = CancellationToken::new();
                    let lease = Lease {
                        api: self.api.clone(),
                        container: place.container.subscribe(),
                        until: if place.life == Life::Running { Until::Stopped } else { Until::Now },
                        slice: self.config.slice,
                        claims: Arc::clone(&self.claims),
                        stopping: place.stopping.clone(),
                        outlet: self.outlet.clone(),
                        clock: self.clock.clone(),
                    };
                    let alive = self.outlet.metrics.task(TaskKind::Reader);
                    self.leases.spawn(async move {
                        let _alive = alive;
                        let (reader, ending) = lease.read(reader).await;
                        (id, reader, ending)
                    });
                }
                stage @ (Stage::Idle(_) | Stage::Resting(..) | Stage::Leased) => place.stage = stage,
            }
        }
        let (wanted, offered) = (self.waiting.len(), self.claims.available_permits());
        if wanted > offered {
            self.claims.add_permits(wanted - offered);
        } else {
            self.claims.forget_permits(offered - wanted);
        }
    }

    async fn change(&mut self, change: Change) -> Result<(), Closed> {
        match change {
            Change::Started { container, born } => self.started(container, born).await?,
            Change::Renamed(container) => {
                self.outlet.renamed(&container);
                if let Some(place) = self.places.get_mut(&container.id) {
                    place.container.send_replace(container);
                }
            }
            Change::Stopped(id) => {
                self.set_life(&id, Life::Stopped { drained: false });
            }
            Change::Removed(id) => {
                self.unreadable.forget(&id);
                if !self.set_life(&id, Life::Removed) {
                    self.resume.remove(&id);
                    self.outlet.send(Item::Gone(id)).await?;
                }
                self.part().await?;
            }
        }
        Ok(())
    }

    async fn started(&mut self, container: Arc<Container>, born: Born) -> Result<(), Closed> {
        let id = container.id.clone();
        if container.log_driver == NO_DRIVER {
            self.unreadable.note(&container, "its logging driver keeps nothing");
            return Ok(());
        }
        if let Some(place) = self.places.get_mut(&id) {
            place.container.send_replace(container);
            self.set_life(&id, Life::Running);
            return Ok(());
        }
        let mark = self.first_mark(&id, born);
        let position = mark.position();
        let place = Place {
            container: watch::Sender::new(Arc::clone(&container)),
            life: Life::Running,
            stage: Stage::Idle(Reader::new(Cursor::new(mark), self.outlet.credit(&container), container.tty)),
            backoff: BACKOFF_MIN,
            stopping: CancellationToken::new(),
        };
        self.places.insert(id.clone(), place);
        self.queue(&id);
        // Also a container that stays silent must be read from here after a restart of ours.
        self.outlet.passed(&container, position).await
    }

    fn first_mark(&mut self, id: &ContainerId, born: Born) -> Mark {
        let position = self.resume.remove(id);
        let position = position.and_then(|position| match position {
            // Left by design B: its line is found by its time.
            Position::File { time_ns: Some(time_ns), .. } => Some(Position::Api { time_ns, seen: 1 }),
            Position::File { time_ns: None, .. } => {
                self.outlet.metrics.resume_lost.inc();
                tracing::warn!(container = %id, "its checkpoint tells no time: `start` says where to begin");
                None
            }
            Position::Api { .. } => Some(position),
        });
        match position::begin(position, born, self.start, self.started_ns) {
            Begin::At(Position::Api { time_ns, seen }) => Mark { time_ns, seen },
            Begin::At(Position::File { .. }) | Begin::End => Mark { time_ns: self.started_ns, seen: 0 },
            Begin::Beginning => Mark { time_ns: 0, seen: 0 },
            Begin::Since(time_ns) => Mark { time_ns, seen: 0 },
        }
    }

    /// Whether it is known.
    fn set_life(&mut self, id: &ContainerId, life: Life) -> bool {
        let Some(place) = self.places.get_mut(id) else { return false };
        place.life = life;
        place.backoff = BACKOFF_MIN;
        if life != Life::Running {
            place.stopping.cancel();
        }
        if matches!((life, &place.stage), (Life::Stopped { .. }, Stage::Waiting(_))) {
            self.waiting.leave(id);
            self.waiting.push(id.clone(), false);
        }
        self.queue(id);
        true
    }

    /// Lets a container stand in the queue, if it wants a connection and has none.
    fn queue(&mut self, id: &ContainerId) {
        let Some(place) = self.places.get_mut(id) else { return };
        let wants = matches!(place.life, Life::Running | Life::Stopped { drained: false })
            && !self.unreadable.contains(id);
        place.stage = match std::mem::replace(&mut place.stage, Stage::Leased) {
            Stage::Idle(reader) | Stage::Resting(reader, _) if wants => {
                self.waiting.push(id.clone(), place.life == Life::Running);
                Stage::Waiting(reader)
            }
            Stage::Idle(reader) | Stage::Resting(reader, _) => Stage::Idle(reader),
            stage @ (Stage::Waiting(_) | Stage::Leased) => stage,
        };
    }

    async fn take_back(&mut self, id: ContainerId, reader: Reader, ending: Ending) -> Result<(), Error> {
        if matches!(ending, Ending::Closed) {
            return Err(Error::Closed(Closed));
        }
        let Some(place) = self.places.get_mut(&id) else { return Ok(()) };
        let mut reader = reader;
        match (&ending, place.life) {
            // Unless it has lived and stopped once more since this lease asked.
            (Ending::Drained, Life::Stopped { .. }) if !place.stopping.is_cancelled() => {
                place.life = Life::Stopped { drained: true };
                reader.flush(&place.container(), &self.outlet).await?;
                place.stage = Stage::Idle(reader);
            }
            (Ending::Failed(ApiError::NoSuchContainer(_)), _) => place.stage = Stage::Idle(reader),
            (Ending::Failed(ApiError::Answer { status: NOT_IMPLEMENTED, .. }), _) => {
                self.unreadable.note(&place.container(), "Docker can't read what its logging driver wrote");
                place.stage = Stage::Idle(reader);
            }
            (_, Life::Removed) => place.stage = Stage::Idle(reader),
            (Ending::Cut, Life::Stopped { .. })
            | (Ending::Preempted | Ending::Again, _)
            | (Ending::Drained, Life::Running | Life::Stopped { .. }) => {
                place.backoff = BACKOFF_MIN;
                place.stage = Stage::Idle(reader);
                self.queue(&id);
            }
            (Ending::Cut | Ending::Failed(_) | Ending::Closed, _) => {
                if reader.has_progressed() {
                    place.backoff = BACKOFF_MIN;
                }
                if let Ending::Failed(error) = &ending
                    && let Some(withheld) = self.complaint.may_speak(Instant::now())
                {
                    let retry_in = place.backoff;
                    tracing::warn!(container = %id, %error, ?retry_in, withheld, "its log can't be read");
                }
                place.stage = Stage::Resting(reader, Instant::now() + place.backoff);
                place.backoff = (place.backoff * 2).min(BACKOFF_MAX);
            }
        }
        self.part().await?;
        Ok(())
    }

    /// Takes leave of the containers that are gone and whose reader is back.
    async fn part(&mut self) -> Result<(), Closed> {
        let gone = |place: &Place| place.life == Life::Removed && !matches!(place.stage, Stage::Leased);
        let ids: Vec<_> =
            self.places.iter().filter(|(_, place)| gone(place)).map(|(id, _)| id.clone()).collect();
        for id in ids {
            self.waiting.leave(&id);
            let removed = self.places.remove(&id).map(|place| (place.container(), place.stage));
            if let Some((container, stage)) = removed
                && let Stage::Idle(mut reader) | Stage::Waiting(mut reader) | Stage::Resting(mut reader, _) =
                    stage
            {
                reader.flush(&container, &self.outlet).await?;
            }
            self.outlet.send(Item::Gone(id)).await?;
        }
        Ok(())
    }

    fn next_rested(&self) -> Option<Instant> {
        let rests = self.places.values().filter_map(|place| match place.stage {
            Stage::Resting(_, until) => Some(until),
            Stage::Idle(_) | Stage::Waiting(_) | Stage::Leased => None,
        });
        rests.min()
    }

    fn rested(&mut self) {
        let now = Instant::now();
        let is_rested = |place: &Place| matches!(place.stage, Stage::Resting(_, until) if until <= now);
        let ids: Vec<_> =
            self.places.iter().filter(|(_, place)| is_rested(place)).map(|(id, _)| id.clone()).collect();
        for id in ids {
            // Only now it is known that the stream did not end because the container did.
            self.outlet.metrics.log_streams_broken.inc();
            self.queue(&id);
        }
    }
}
