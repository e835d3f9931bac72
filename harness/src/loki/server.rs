//! The sink: a mock Loki that listens, answers, counts and keeps the books of one target.
//!
//! wiremock serves it: one thread of its own for each sink, on which requests are read at the same time
//! but handled one after the other, under a lock. So a sink uses at most one core, what it is pushed has
//! one order, and a slow push delays all behind it (a real Loki would not be delayed).
//!
//! What wiremock 0.6 does not let us do, as Loki does it:
//! - bound a body before it is in memory. It collects a body whole (`Request::from_hyper`) before anything of
//!   ours is asked, so a single body is bounded by nothing but the client, and a 413 comes after its end.
//!   What a body says of itself once it is there (bombs, counts) is bounded: `push`, `push/encoding`.
//! - send the reason phrase `status code 260`, and bodies of more than 2048 bytes in chunks.
//!
//! A server on hyper itself, with `http_body_util::Limited`, would do all of it and need no `forget`, which
//! lets go of what wiremock keeps of answered requests.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use tokio::task::JoinSet;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate, matchers};

use super::answer::Answer;
use super::config::Config;
use super::forget::{self, Forgetter};
use super::judge::{Court, Judged, judge};
use super::kept::Kept;
use super::life::Life;
use super::limits::Limits;
use super::push::{self, Headers, Push, Terms, Version};
use super::query::Query;
use super::tally::Tally;
use super::tenant;
use super::tenants::Tenants;
use crate::audit::ledger::{Fate, Ledger};
use crate::clock;

pub use super::tally::Counters;

/// What a real Loki said of itself: the one whose answers are copied.
const BUILD: &str = r#"{"version":"main-65e30f8","revision":"65e30f8","branch":"main","buildUser":"","buildDate":"","goVersion":"go1.26.6"}"#;

/// How a sink behaves.
#[derive(Clone, Debug)]
pub struct SinkConfig {
    /// How its Loki is set up.
    pub loki: Config,
    /// How many of the last stored entries it keeps for queries.
    pub keep: usize,
    /// The zone in which it prints what Loki prints in the server's.
    pub zone: TimeZone,
}

impl Default for SinkConfig {
    fn default() -> Self {
        Self { loki: Config::default(), keep: 0, zone: TimeZone::UTC }
    }
}

impl SinkConfig {
    /// The sink of a run: ready at once, and it takes whatever rate comes, since the targets are measured
    /// and not what a tenant has bought. What is older than `max_age` is refused.
    #[must_use]
    pub fn for_run(max_age: Duration) -> Self {
        const NO_RATE: usize = 1 << 50;
        let mut sink = Self::default();
        sink.loki.ingester.lifecycler.min_ready_duration = Duration::ZERO;
        sink.loki.limits_config = Limits {
            reject_old_samples_max_age: max_age,
            ingestion_rate_mb: 1e9,
            ingestion_burst_size_mb: 1e9,
            per_stream_rate_limit: NO_RATE,
            per_stream_rate_limit_burst: NO_RATE,
            ..Limits::default()
        };
        sink
    }
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
        let desk = Arc::new(Desk::new(config));
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

    /// From now on it says that it is stopping, and takes no push any more. To be dropped a little later.
    pub fn stop(&self) {
        self.desk.life.stop();
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
struct Desk {
    config: SinkConfig,
    life: Life,
    forgetter: Arc<Forgetter>,
    tally: Tally,
    books: Mutex<Books>,
}

struct Books {
    tenants: Tenants,
    ledger: Ledger,
    kept: Kept,
}

impl Desk {
    fn new(config: SinkConfig) -> Self {
        let kept = Kept::last(config.keep);
        Self {
            life: Life::begin(config.loki.ingester.lifecycler.min_ready_duration),
            config,
            forgetter: Arc::default(),
            tally: Tally::default(),
            books: Mutex::new(Books { tenants: Tenants::default(), ledger: Ledger::default(), kept }),
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // A panic while the books are open leaves them as they are: every entry is entered whole.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, request: &Request) -> Answer {
        match (request.method.as_str(), request.url.path()) {
            ("POST", "/loki/api/v1/push") => self.push(Version::V1, request),
            ("POST", "/api/prom/push") => self.push(Version::V0, request),
            ("GET", "/ready") => self.life.ready(),
            ("GET", "/loki/api/v1/query_range") => self.query(request).unwrap_or_else(|refusal| refusal),
            ("GET", "/loki/api/v1/status/buildinfo") => Answer::json(BUILD),
            ("GET" | "POST", "/flush") => {
                self.books().tenants.flush(now());
                Answer::NO_CONTENT
            }
            (
                _,
                "/loki/api/v1/push"
                | "/api/prom/push"
                | "/ready"
                | "/loki/api/v1/query_range"
                | "/loki/api/v1/status/buildinfo"
                | "/flush",
            ) => Answer::METHOD_NOT_ALLOWED,
            _ => Answer::text(404, "404 page not found"),
        }
    }

    fn tenant<'a>(&self, request: &'a Request) -> Result<&'a str, Answer> {
        let header = request.headers.get("x-scope-orgid").map(http::HeaderValue::as_bytes);
        tenant::named(self.config.loki.auth_enabled, header)
    }

    fn push(&self, version: Version, request: &Request) -> Answer {
        let answer = match self.tenant(request) {
            Ok(tenant) => self.push_of(tenant, version, request),
            Err(refusal) => refusal,
        };
        self.tally.push(answer.status);
        answer
    }

    fn push_of(&self, tenant: &str, version: Version, request: &Request) -> Answer {
        if self.life.is_stopping() {
            return Answer::text(500, "empty ring");
        }
        let header =
            |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
        let headers = Headers {
            content_type: header("content-type"),
            content_encoding: header("content-encoding"),
            backfill_shard: header("x-loki-backfill-shard"),
        };
        let loki = &self.config.loki;
        let terms = Terms {
            body_bytes_max: loki.distributor.max_recv_msg_size,
            discover_service_name: &loki.limits_of(tenant).discover_service_name,
        };
        match push::read(version, headers, terms, &request.body) {
            Ok(push) => self.store(tenant, push),
            Err(error) => Answer::from(&error),
        }
    }

    fn store(&self, tenant: &str, mut push: Push) -> Answer {
        let court = Court { config: &self.config.loki, tenant, now: now(), zone: &self.config.zone };
        let mut books = self.books();
        let Judged { refusal, stored } = judge(court, &mut books.tenants, &mut push);
        let (mut accepted, mut refused) = (0, 0);
        for (stream, stored) in push.streams.iter().zip(&stored) {
            for (entry, &stored) in stream.entries.iter().zip(stored) {
                let (fate, count) =
                    if stored { (Fate::Accepted, &mut accepted) } else { (Fate::Refused, &mut refused) };
                books.ledger.record(&String::from_utf8_lossy(&entry.line), fate);
                *count += 1;
            }
        }
        if books.kept.is_on() {
            let tenant = Arc::from(tenant);
            for (stream, stored) in push.streams.iter().zip(&stored) {
                books.kept.add(&tenant, stream, stored);
            }
        }
        self.tally.entries(accepted, refused);
        refusal.into()
    }

    fn query(&self, request: &Request) -> Result<Answer, Answer> {
        let tenant = self.tenant(request)?;
        let books = self.books();
        if !books.kept.is_on() {
            return Err(Answer::text(400, "nothing is kept: start the mock Loki with --keep N"));
        }
        let parameters: Vec<(String, String)> = request.url.query_pairs().into_owned().collect();
        let limits = self.config.loki.limits_of(tenant);
        let query = Query::parse(&parameters, now(), limits.max_entries_limit_per_query);
        let query = query.map_err(|why| Answer::text(400, why))?;
        Ok(Answer::json(books.kept.answer(&query, tenant, limits)))
    }
}

fn now() -> Timestamp {
    Timestamp::from_nanosecond(i128::from(clock::now_ns())).unwrap_or_default()
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
