//! One tenant's way to Loki: what waits for its turn, the pushes under way, what waits for another attempt,
//! and what Loki's answers mean for it. No lane waits for another.

use std::collections::VecDeque;
use std::sync::Arc;

use prometheus_client::metrics::gauge::Gauge;
use tokio::time::Instant;

use super::attempt::Attempt;
use super::books::Books;
use super::dead_letters::Reason;
use super::parcel::Parcel;
use super::retry::{self, Queue};
use super::turns::{Turn, Turns};
use crate::batch::{Batch, Group, lines, spans};
use crate::clock::{Clock, Moment};
use crate::complaint::Complaint;
use crate::credit::Gate;
use crate::loki::answer::Outcome;
use crate::loki::client::{Answer, Client, PushError};
use crate::metrics::Metrics;
use crate::metrics::labels::Tenant;
use crate::window::shared::Window;

mod again;
mod next;

/// Pushes of one tenant under way at once: enough to hide the time on the wire, few enough to be gentle.
const PUSHES_MAX: usize = 4;
/// While so many batches can't be begun with, nothing is read for this tenant.
const INBOX_MAX: usize = 2;

/// What a lane works with.
#[derive(Clone, Debug)]
pub struct Deps {
    /// Sends the pushes, for this tenant.
    pub client: Client,
    /// What may be sent, and what Loki's answers say of that.
    pub window: Window,
    /// Closed while this lane has more than it can begin with.
    pub gate: Gate,
    /// How failed ones are tried again.
    pub retry: retry::Config,
    /// For the age of lines.
    pub clock: Clock,
    /// All is counted.
    pub metrics: Arc<Metrics>,
}

/// A lane's state.
#[derive(Debug)]
pub struct Lane {
    deps: Deps,
    tenant: Option<Arc<str>>,
    /// Came while it could begin with none.
    inbox: VecDeque<Batch>,
    turns: Turns,
    queue: Queue,
    under_way: usize,
    held: Gauge,
    about_loki: Complaint,
}

/// A push that is over, with what was pushed.
#[derive(Debug)]
pub struct Pushed {
    turn: Turn,
    sent: Moment,
    attempt: Attempt,
}

impl Lane {
    /// Nothing is sent yet; `tenant` is named to Loki and in the dead letters.
    #[must_use]
    pub fn new(tenant: Option<&str>, deps: Deps) -> Self {
        Self {
            tenant: tenant.map(Arc::from),
            inbox: VecDeque::new(),
            turns: Turns::default(),
            queue: Queue::new(deps.retry.clone()),
            under_way: 0,
            held: deps.metrics.tenant_held.get_or_create_owned(&Tenant::of(tenant)),
            about_loki: Complaint::default(),
            deps,
        }
    }

    /// Whose lines it has.
    #[must_use]
    pub fn tenant(&self) -> Option<&Arc<str>> {
        self.tenant.as_ref()
    }

    /// Whether nothing is left to do.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.under_way == 0 && self.inbox.is_empty() && self.turns.waiting() == 0 && self.queue.is_empty()
    }

    /// Whether Loki refuses this tenant: then one push at a time asks whether it still does, and all else waits.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.held.get() != 0
    }

    /// How many pushes are under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.under_way
    }

    /// How many batches wait for their first turn.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.inbox.len() + self.turns.waiting()
    }

    /// How many wait for another attempt.
    #[must_use]
    pub fn retries(&self) -> usize {
        self.queue.len()
    }

    /// How many may.
    #[must_use]
    pub fn retries_max(&self) -> usize {
        self.deps.retry.max_items
    }

    /// How many bytes wait for another attempt.
    #[must_use]
    pub fn retry_bytes(&self) -> usize {
        self.queue.bytes()
    }

    /// When something that waits for another attempt is due.
    #[must_use]
    pub fn wakes_at(&self) -> Option<Instant> {
        self.queue.next_due().filter(|_| self.under_way < self.pushes_max())
    }

    /// The end is near: each gets one more attempt at once.
    pub fn hurry(&mut self) {
        self.queue.hurry_all(Instant::now());
    }

    /// The end: what nobody can read again goes to the dead letters, all else is for the next start to read.
    pub async fn give_up(&mut self, books: &mut Books) {
        let new = self.inbox.drain(..).flat_map(|batch| batch.probes.into_iter().chain(batch.groups));
        let new: Vec<Parcel> = new.map(|group| Parcel::new(vec![group], &self.deps.retry)).collect();
        for mut parcel in self.queue.give_up().chain(self.turns.give_up()).chain(new) {
            parcel.groups.retain(|group| books.is_gone(group));
            self.bury(parcel, "given_up", books).await;
        }
    }

    /// New lines. They wait here while none can be begun with; what is in the queue before the gate comes too.
    pub fn arrive(&mut self, batch: Batch) {
        if !batch.groups.is_empty() || !batch.probes.is_empty() {
            self.inbox.push_back(batch);
        }
    }

    fn pushes_max(&self) -> usize {
        if self.is_held() { 1 } else { PUSHES_MAX }
    }

    /// Follows what Loki has answered.
    pub async fn finish(&mut self, pushed: Pushed, books: &mut Books) {
        let Pushed { mut turn, sent, attempt } = pushed;
        self.under_way -= 1;
        self.turns.over(&mut turn, attempt.is_accepted(), Instant::now());
        let mut parcel = turn.parcel;
        let now_ns = self.deps.clock.now_ns();
        parcel.groups.iter_mut().for_each(|group| group.tried.note(now_ns));
        match attempt {
            Attempt::Answered(answer, outcome) => self.follow(parcel, sent, (&answer, outcome), books).await,
            Attempt::Unanswered(PushError::Closed(_)) if parcel.may_reconnect() => {
                self.queue.put_back([parcel].into_iter(), Instant::now());
            }
            Attempt::Unanswered(error) => {
                self.complain(&error.to_string());
                self.try_again(parcel, None, None, books).await;
            }
            Attempt::GivenUp => self.queue.put_back([parcel].into_iter(), Instant::now()),
            Attempt::Unencodable(error) => {
                tracing::error!(%error, "a batch goes to the dead letters");
                let why = Reason { reason: "unencodable", answer: None };
                books.bury(self.tenant(), parcel.groups, why).await;
            }
        }
    }

    async fn follow(
        &mut self,
        mut parcel: Parcel,
        sent: Moment,
        (answer, outcome): (&Answer, Outcome),
        books: &mut Books,
    ) {
        if let Some(date_ns) = answer.date.and_then(|date| i64::try_from(date.as_nanosecond()).ok()) {
            let refused = matches!(&outcome, Outcome::Partial(refusal) if refusal.is_for_time());
            self.deps.window.dated(date_ns, (sent, self.deps.clock.moment()), refused);
        }
        let held = outcome == Outcome::Hold;
        if self.is_held() && !held {
            tracing::info!(tenant = self.tenant.as_deref(), "Loki lets us in again");
            self.queue.restart_budgets();
        }
        if held && !self.is_held() {
            // Also where something else was just complained about.
            self.about_loki = Complaint::default();
        }
        self.held.set(i64::from(held));
        if outcome != Outcome::Delivered {
            self.complain(&format!("{}: {}", answer.status, answer.head()));
        }
        match outcome {
            Outcome::Delivered => {
                self.delivered(&parcel.groups, sent, books);
                self.queue.hurry_one(Instant::now());
            }
            Outcome::Retry { after } => self.try_again(parcel, after, Some(answer), books).await,
            Outcome::Limited { limit, after } => self.limited(parcel, limit, (after, answer), books).await,
            Outcome::Hold => {
                parcel.restart_budget();
                self.try_again(parcel, None, Some(answer), books).await;
            }
            Outcome::Partial(refusal) => self.divide(parcel, &refusal, (sent, answer), books).await,
            Outcome::Refused => books.bury(self.tenant(), parcel.groups, why("refused", answer)).await,
            Outcome::Split => self.halve(parcel, why("too_large", answer), books).await,
        }
    }

    fn delivered(&self, groups: &[Group], sent: Moment, books: &mut Books) {
        self.deps.window.accepted(&spans(groups), sent, self.deps.clock.moment());
        self.deps.metrics.lines.delivered(lines(groups));
        groups.iter().for_each(|group| books.settle_group(group));
    }

    fn complain(&mut self, what: &str) {
        if let Some(withheld) = self.about_loki.may_speak(Instant::now()) {
            let (tenant, waiting, held) = (self.tenant.as_deref(), self.queue.len(), self.is_held());
            tracing::warn!(tenant, waiting, held, withheld, "delivery: {what}");
        }
    }
}

fn why<'a>(reason: &'a str, answer: &'a Answer) -> Reason<'a> {
    Reason { reason, answer: Some((answer.status, &answer.body)) }
}
