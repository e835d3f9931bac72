//! The sink: a mock Loki that listens, answers, counts and keeps the books of one target.
//!
//! Each has a thread of its own, so that it uses at most one core and what it is pushed has one order.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::thread::gettid;
use serde::Serialize;
use tokio::runtime;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::connection::{self, Place};
use super::desk::Desk;
use super::weather::Tampered;
use crate::audit::ledger::{Ledger, Sequence};
use crate::result::Latency;

pub use super::desk::SinkConfig;
pub use super::tally::Counters;

/// Why a sink does not start.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The address can't be had.
    #[error(
        "the mock Loki can't listen on {address}: {source}; choose another address, or stop what uses it"
    )]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
}

/// What there is to say of a sink at its end.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Pushes and entries.
    #[serde(flatten)]
    pub counters: Counters,
    /// What the plan of faults did to lines on their way.
    pub tampered: Tampered,
    /// Numbered sequences of lines (a container's output) that were seen.
    pub sequences: u64,
    /// Distinct numbered lines that were accepted.
    pub lines_delivered: u64,
    /// Numbered lines accepted again.
    pub lines_duplicated: u64,
    /// Numbered lines accepted for the first time after a later one.
    pub lines_out_of_order: u64,
    /// Numbered lines that were altered on their way.
    pub lines_altered: u64,
    /// Lines that no generator of ours wrote.
    pub lines_foreign: u64,
    /// Numbered lines of which nothing was written down, since there were too many sources or gaps: with any of
    /// them, the figures above are too low.
    pub lines_unrecorded: u64,
    /// How long numbered lines took.
    pub latency: Option<Latency>,
}

impl fmt::Display for Summary {
    /// In a line; of planned faults only where they did something.
    fn fmt(&self, into: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (counters, done) = (&self.counters, &self.tampered);
        write!(into, "{} pushes", counters.pushes)?;
        if counters.pushes_unanswered > 0 {
            write!(into, " answered, {} left without an answer", counters.pushes_unanswered)?;
        }
        let (accepted, refused) = (counters.entries_accepted, counters.entries_refused);
        write!(into, "; entries: {accepted} accepted, {refused} refused")?;
        if done.is_nothing() {
            return Ok(());
        }
        write!(
            into,
            "; tampered with: {} withheld, {} doubled, {} altered, {} put out of order",
            done.withheld, done.doubled, done.altered, done.reordered
        )
    }
}

/// A mock Loki that runs until it is dropped.
pub struct Sink {
    address: SocketAddr,
    desk: Arc<Desk>,
    stop: Option<DropGuard>,
    thread: Option<JoinHandle<()>>,
    thread_id: i32,
}

impl Sink {
    /// Starts one on `listen`, or on a free port of the loopback. It answers from then on.
    ///
    /// # Errors
    /// [`SinkError::Listen`] where the address can't be had.
    pub fn start(listen: Option<SocketAddr>, config: SinkConfig) -> Result<Self, SinkError> {
        let address = listen.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let failed = |source| SinkError::Listen { address, source };
        let place = Place::reserve(address).map_err(failed)?;
        let address = place.address();
        let (desk, stop) = (Arc::new(Desk::new(config)), CancellationToken::new());
        let (told, heard) = mpsc::sync_channel(1);
        let work = {
            let (desk, stop) = (Arc::clone(&desk), stop.clone());
            move || live(place, desk, stop, &told)
        };
        let thread = std::thread::Builder::new().name("mock-loki".to_owned()).spawn(work).map_err(failed)?;
        // A thread that ends without a word has panicked, and was heard on standard error.
        let ended = |_| Err(io::Error::other("its thread has ended"));
        let thread_id = heard.recv().unwrap_or_else(ended).map_err(failed)?;
        Ok(Self { address, desk, stop: Some(stop.drop_guard()), thread: Some(thread), thread_id })
    }

    /// The kernel's id of its one thread, by which can be told how busy it is.
    #[must_use]
    pub fn thread_id(&self) -> i32 {
        self.thread_id
    }

    /// How long it has been there.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.desk.tally.age()
    }

    /// When the first entry was stored, and when the last so far, by its age then; `None` where there is none.
    #[must_use]
    pub fn stored(&self) -> Option<(Duration, Duration)> {
        self.desk.tally.stored()
    }

    /// Bytes of the bodies of all pushes that were answered.
    #[must_use]
    pub fn body_bytes(&self) -> u64 {
        self.desk.tally.body_bytes()
    }

    /// Entries stored so far; cheaper than all counters.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.desk.tally.accepted()
    }

    /// Its base address, `http://127.0.0.1:…`, without a path.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The load begins: the times of its faults count from now on, and how long lines take that are written from
    /// now on.
    pub fn begin(&self) {
        self.begin_after(Duration::ZERO);
    }

    /// The same where so much of the load is over: a run that was killed goes on.
    pub fn begin_after(&self, done: Duration) {
        self.desk.begin(done);
    }

    /// From now on it says that it is stopping, and takes no push any more. To be dropped a little later.
    pub fn stop(&self) {
        self.desk.life.stop();
    }

    /// What it has counted so far; cheap, for sampling.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.desk.tally.counters()
    }

    /// How many lines were tampered with on their way, by the plan of faults.
    #[must_use]
    pub fn tampered(&self) -> Tampered {
        self.desk.tampered()
    }

    /// A copy of its book as it stands.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        self.desk.ledger()
    }

    /// All of it in a few figures.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let ledger = self.ledger();
        let sum = |figure: fn(&Sequence) -> u64| ledger.sequences().map(|(_, s)| figure(s)).sum();
        Summary {
            counters: self.counters(),
            tampered: self.tampered(),
            sequences: sum(|_| 1),
            lines_delivered: sum(|sequence| sequence.accepted.count()),
            lines_duplicated: sum(|sequence| sequence.duplicated),
            lines_out_of_order: sum(|sequence| sequence.out_of_order),
            lines_altered: ledger.altered,
            lines_foreign: ledger.foreign,
            lines_unrecorded: ledger.unrecorded,
            latency: ledger.latencies.figures(),
        }
    }
}

/// The thread of a sink; tells who it is once it listens.
fn live(place: Place, desk: Arc<Desk>, stop: CancellationToken, told: &mpsc::SyncSender<io::Result<i32>>) {
    let listening = runtime::Builder::new_current_thread().enable_all().build().and_then(|runtime| {
        let listener = runtime.block_on(async { place.listen() })?;
        Ok((runtime, listener))
    });
    // Nobody hears it where the caller is gone; then it stops at once.
    match listening {
        Ok((runtime, listener)) => {
            drop(told.send(Ok(gettid().as_raw_nonzero().get())));
            runtime.block_on(connection::serve(place, listener, desk, stop));
        }
        Err(error) => drop(told.send(Err(error))),
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        drop(self.stop.take());
        // It ends at once. A panic of its own was printed.
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
