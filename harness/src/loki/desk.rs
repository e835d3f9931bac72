//! What stands behind the answers: the routes, the books of one target, and how both behave. Knows requests
//! and answers, and nothing of connections.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use jiff::tz::TimeZone;
use reqwest::Url;

use super::answer::Answer;
use super::config::{Config, Said};
use super::judge::{Court, Judged, judge};
use super::kept::Kept;
use super::life::Life;
use super::limits::Limits;
use super::push::{self, Headers, Push, Terms, Version};
use super::query::Query;
use super::reply::{Faults, How, Reply};
use super::tally::Tally;
use super::tenant;
use super::tenants::Tenants;
use super::weather::Tampered;
use crate::audit::ledger::{Fate, Ledger};
use crate::clock;
use crate::faults::Plan;

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
    /// What goes wrong, and when.
    pub faults: Plan,
}

impl Default for SinkConfig {
    fn default() -> Self {
        Self { loki: Config::default(), keep: 0, zone: TimeZone::UTC, faults: Plan::default() }
    }
}

impl SinkConfig {
    /// The sink of a run: ready at once, and it takes whatever rate comes, since the targets are measured
    /// and not what a tenant has bought. What is older than `max_age` is refused. `said` lies over all that.
    #[must_use]
    pub fn for_run(max_age: Duration, faults: Plan, said: &Said) -> Self {
        const NO_RATE: usize = 1 << 50;
        let mut sink = Self { faults, ..Self::default() };
        sink.loki.ingester.lifecycler.min_ready_duration = Duration::ZERO;
        sink.loki.limits_config = Limits {
            reject_old_samples_max_age: max_age,
            ingestion_rate_mb: 1e9,
            ingestion_burst_size_mb: 1e9,
            per_stream_rate_limit: NO_RATE,
            per_stream_rate_limit_burst: NO_RATE,
            ..Limits::default()
        };
        sink.loki = said.over(&sink.loki);
        sink
    }
}

/// What is asked.
pub(super) struct Request {
    pub(super) method: Method,
    /// Of which only path and query matter.
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// What stands behind the answers.
pub(super) struct Desk {
    config: SinkConfig,
    pub(super) life: Life,
    pub(super) tally: Tally,
    pub(super) faults: Faults,
    books: Mutex<Books>,
}

struct Books {
    tenants: Tenants,
    ledger: Ledger,
    tampered: Tampered,
    kept: Kept,
}

impl Desk {
    pub(super) fn new(mut config: SinkConfig) -> Self {
        let kept = Kept::last(config.keep);
        Self {
            life: Life::begin(config.loki.ingester.lifecycler.min_ready_duration),
            faults: Faults::new(std::mem::take(&mut config.faults)),
            config,
            tally: Tally::default(),
            books: Mutex::new(Books {
                tenants: Tenants::default(),
                ledger: Ledger::default(),
                tampered: Tampered::default(),
                kept,
            }),
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // A panic while the books are open leaves them as they are: every entry is entered whole.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much of a body is read: a byte more than Loki reads is enough to know that it is too long.
    pub(super) fn body_bytes_max(&self) -> usize {
        self.config.loki.distributor.max_recv_msg_size
    }

    /// The times of its faults, and of lines, count from now on.
    pub(super) fn begin(&self, done: Duration) {
        self.faults.begin(done);
        self.books().ledger.latencies.count_from(clock::now_ns());
    }

    /// A copy of the audit's book as it stands.
    pub(super) fn ledger(&self) -> Ledger {
        self.books().ledger.clone()
    }

    /// What was done to lines on their way so far, as far as it came to something.
    pub(super) fn tampered(&self) -> Tampered {
        self.books().tampered
    }

    pub(super) fn reply(&self, request: &Request) -> Reply {
        let version = match (request.method.as_str(), request.url.path()) {
            ("POST", "/loki/api/v1/push") => Version::V1,
            ("POST", "/api/prom/push") => Version::V0,
            _ => return self.faults.at_once(self.answer(request)),
        };
        let reply = self.faults.reply(|| self.push(version, request));
        match &reply.how {
            How::Answer(answer) | How::Trickle(answer, _) => self.tally.push(answer.status, &request.body),
            How::Never | How::Break(_) => self.tally.unanswered(),
        }
        reply
    }

    fn answer(&self, request: &Request) -> Answer {
        match (request.method.as_str(), request.url.path()) {
            ("GET", "/ready") => self.life.ready(),
            ("GET", "/loki/api/v1/query_range") => self.query(request).unwrap_or_else(|refusal| refusal),
            ("GET", "/loki/api/v1/status/buildinfo") => Answer::json(BUILD),
            ("GET" | "POST", "/flush") => {
                self.books().tenants.flush(clock::now());
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
        match self.tenant(request) {
            Ok(tenant) => self.push_of(tenant, version, request),
            Err(refusal) => refusal,
        }
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
        let weather = self.faults.weather(&push);
        let deeds = weather.tamper(&mut push);
        let (config, zone) = (&self.config.loki, &self.config.zone);
        let now_ns = clock::now_ns();
        let court = Court { config, tenant, now: clock::now(), zone, weather: &weather };
        let mut books = self.books();
        let Judged { refusal, fates } = judge(court, &mut books.tenants, &mut push);
        let (mut accepted, mut refused) = (0, 0);
        for (stream, fates) in push.streams.iter().zip(&fates) {
            for (entry, fate) in stream.entries.iter().zip(fates) {
                books.ledger.record(&String::from_utf8_lossy(&entry.line), *fate, now_ns);
                *if *fate == Fate::Accepted { &mut accepted } else { &mut refused } += 1;
            }
        }
        books.tampered.add(deeds.counted(&fates, refusal.is_none()));
        if books.kept.is_on() {
            let tenant = Arc::from(tenant);
            for (stream, fates) in push.streams.iter().zip(&fates) {
                books.kept.add(&tenant, stream, fates);
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
        let query = Query::parse(&parameters, clock::now(), limits.max_entries_limit_per_query);
        let query = query.map_err(|why| Answer::text(400, why))?;
        Ok(Answer::json(books.kept.answer(&query, tenant, limits)))
    }
}
