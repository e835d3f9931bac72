//! The sink: a mock Loki that listens, answers, counts and keeps the books of one target.
//!
//! wiremock serves it: one thread of its own for each sink, on which requests are read at the same time
//! but handled one after the other, under a lock. So a sink uses at most one core, what it is pushed has
//! one order, and a slow push delays all behind it (a real Loki would not be delayed). wiremock reads a
//! body whole before it shows it, so a single body is bounded by nothing but the client, and no answer
//! comes before the body's end. Measured on two shared cores in a release build, with lines of 200 bytes:
//! 580,000 entries/s in pushes of 1,000 as protobuf, 330,000 as JSON, 8,300 pushes/s of 10 lines. What it keeps of answered requests is let go of by `forget`.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::Serialize;
use tokio::task::JoinSet;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate, matchers};

use super::answer::Answer;
use super::forget::{self, Forgetter};
use super::ingester::Ingester;
use super::judge::{Judged, judge};
use super::limits::Limits;
use super::push::{self, Headers, Stream, Version};
use crate::audit::ledger::{Fate, Ledger};
use crate::clock;

/// How a sink behaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkConfig {
    /// What it refuses.
    pub limits: Limits,
}

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

/// What a sink has counted so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Pushes answered, whatever the answer.
    pub pushes: u64,
    /// The same by status.
    pub pushes_by_status: BTreeMap<u16, u64>,
    /// Entries stored.
    pub entries_accepted: u64,
    /// Entries that were read and not stored, whatever the status said. Of a push that could not be read
    /// no entries are known.
    pub entries_refused: u64,
}

/// What there is to say of a sink at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Pushes and entries.
    #[serde(flatten)]
    pub counters: Counters,
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
}

/// A mock Loki that runs until it is dropped.
pub struct Sink {
    server: Arc<MockServer>,
    desk: Arc<Desk>,
    /// The runner of the renewals; ends with the sink.
    _renewals: JoinSet<()>,
}

impl Sink {
    /// Starts one on `listen`, or on a free port of the loopback. It answers from then on.
    ///
    /// # Errors
    /// [`SinkError::Listen`] where the address can't be had.
    pub async fn start(listen: Option<SocketAddr>, config: SinkConfig) -> Result<Self, SinkError> {
        let address = listen.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let listener = TcpListener::bind(address).map_err(|source| SinkError::Listen { address, source })?;
        let server = MockServer::builder().listener(listener).disable_request_recording().start().await;
        let server = Arc::new(server);
        let desk = Arc::new(Desk { config, ..Desk::default() });
        let responder = Responder(Arc::clone(&desk));
        responder.mock().mount(&server).await;
        desk.forgetter.arm(Arc::clone(&server), responder.mock());
        let mut renewals = JoinSet::new();
        let (watched, mock) = (Arc::downgrade(&server), move || responder.mock());
        renewals.spawn(forget::run(Arc::clone(&desk.forgetter), watched, mock));
        Ok(Self { server, desk, _renewals: renewals })
    }

    /// Its base address, `http://127.0.0.1:…`, without a path.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.uri()
    }

    /// What it has counted so far; cheap, for sampling.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.desk.tally.counters()
    }

    /// A copy of its book as it stands.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        self.desk.books().ledger.clone()
    }

    /// All of it in a few figures.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let ledger = self.ledger();
        let sum = |figure: fn(&crate::audit::ledger::Sequence) -> u64| {
            ledger.sequences().map(|(_, s)| figure(s)).sum()
        };
        Summary {
            counters: self.counters(),
            sequences: sum(|_| 1),
            lines_delivered: sum(|sequence| sequence.accepted.count()),
            lines_duplicated: sum(|sequence| sequence.duplicated),
            lines_out_of_order: sum(|sequence| sequence.out_of_order),
            lines_altered: ledger.altered,
            lines_foreign: ledger.foreign,
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.desk.forgetter.close();
    }
}

/// What stands behind the answers.
#[derive(Default)]
struct Desk {
    config: SinkConfig,
    forgetter: Arc<Forgetter>,
    tally: Tally,
    books: Mutex<Books>,
}

#[derive(Default)]
struct Books {
    ingester: Ingester,
    ledger: Ledger,
}

impl Desk {
    fn books(&self) -> MutexGuard<'_, Books> {
        // A panic while the books are open leaves them as they are: every entry is entered whole.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, request: &Request) -> Answer {
        let (method, path) = (request.method.as_str(), request.url.path());
        match (method, path) {
            ("POST", "/loki/api/v1/push") => self.push(Version::V1, request),
            ("POST", "/api/prom/push") => self.push(Version::V0, request),
            ("GET", "/ready") => Answer::text(200, "ready"),
            (_, "/loki/api/v1/push" | "/api/prom/push" | "/ready") => Answer::METHOD_NOT_ALLOWED,
            _ => Answer::text(404, "404 page not found"),
        }
    }

    fn push(&self, version: Version, request: &Request) -> Answer {
        let header =
            |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
        let headers =
            Headers { content_type: header("content-type"), content_encoding: header("content-encoding") };
        let answer = match push::read(version, headers, &request.body) {
            Ok(streams) => self.store(&streams),
            Err(error) => Answer::from(&error),
        };
        self.tally.pushed(answer.status);
        answer
    }

    fn store(&self, streams: &[Stream]) -> Answer {
        let now = Timestamp::from_nanosecond(i128::from(clock::now_ns())).unwrap_or_default();
        let mut books = self.books();
        let Judged { refusal, stored } = judge(&self.config.limits, &mut books.ingester, streams, now);
        for (stream, stored) in streams.iter().zip(&stored) {
            for (entry, &stored) in stream.entries.iter().zip(stored) {
                let fate = if stored { Fate::Accepted } else { Fate::Refused };
                books.ledger.record(&String::from_utf8_lossy(&entry.line), fate);
                self.tally.entry(fate);
            }
        }
        refusal.into()
    }
}

/// wiremock asks it for every answer.
struct Responder(Arc<Desk>);

impl Responder {
    /// One mock for every request: the routes are ours, as Loki's differ from wiremock's.
    fn mock(&self) -> Mock {
        Mock::given(matchers::any()).respond_with(Self(Arc::clone(&self.0)))
    }
}

impl Respond for Responder {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let answer = self.0.answer(request).template();
        self.0.forgetter.handled(request.body.len());
        answer
    }
}

/// Every status that this mock answers a push with; a status beyond them would count as a push only.
const STATUSES: [u16; 5] = [204, 400, 413, 422, 429];

#[derive(Default)]
struct Tally {
    pushes: AtomicU64,
    by_status: [AtomicU64; STATUSES.len()],
    accepted: AtomicU64,
    refused: AtomicU64,
}

impl Tally {
    fn pushed(&self, status: u16) {
        self.pushes.fetch_add(1, Ordering::Relaxed);
        let of_status = STATUSES.iter().zip(&self.by_status).find(|(known, _)| **known == status);
        if let Some((_, count)) = of_status {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn entry(&self, fate: Fate) {
        let count = match fate {
            Fate::Accepted => &self.accepted,
            Fate::Refused => &self.refused,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    fn counters(&self) -> Counters {
        let counts = STATUSES.iter().zip(&self.by_status);
        let counts = counts.map(|(&status, count)| (status, count.load(Ordering::Relaxed)));
        Counters {
            pushes: self.pushes.load(Ordering::Relaxed),
            pushes_by_status: counts.filter(|&(_, count)| count > 0).collect(),
            entries_accepted: self.accepted.load(Ordering::Relaxed),
            entries_refused: self.refused.load(Ordering::Relaxed),
        }
    }
}
