//! The one task from batches to outcomes. It owns the pushes under way, the retry queue, the dead
//! letters, the ledger and the checkpoint, so that none of them needs a lock.
//!
//! While Loki does not take what we have, nothing new is taken either (`when_full: pause`): the queues
//! behind fill up and the sources wait.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::attempt::Attempt;
use super::checkpoint::{self, Checkpoint, Store};
use super::dead_letters::{DeadLetters, Reason};
use super::parcel::Parcel;
use super::retry::{self, Queue};
use super::turns::{Turn, Turns};
use crate::batch::{Batch, Group, lines, spans};
use crate::clock::{Clock, Moment};
use crate::complaint::Complaint;
use crate::ledger::{Commit, Ledger, Settled};
use crate::loki::answer::Outcome;
use crate::loki::client::{Answer, Client, PushError};
use crate::loki::encode::Encoding;
use crate::metrics::Metrics;
use crate::metrics::labels::TaskKind;
use crate::shutdown::Shutdown;
use crate::window::shared::Window;

mod again;
mod next;

/// Pushes under way at once: enough to hide the time on the wire, few enough to be gentle.
const PUSHES_MAX: usize = 4;
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// What delivery works with.
#[derive(Debug)]
pub struct Deps {
    /// Sends the pushes.
    pub client: Client,
    /// How they are written.
    pub encoding: Encoding,
    /// How failed ones are tried again.
    pub retry: retry::Config,
    /// What may be sent, and what Loki's answers say of that.
    pub window: Window,
    /// For the age of lines.
    pub clock: Clock,
    /// All is counted.
    pub metrics: Arc<Metrics>,
    /// For what Loki will not take.
    pub dead_letters: DeadLetters,
    /// For what is settled.
    pub store: Store,
    /// As the checkpoint was at the start.
    pub checkpoint: Checkpoint,
}

/// The task's state.
#[derive(Debug)]
pub struct Deliver {
    deps: Deps,
    ledger: Ledger,
    queue: Queue,
    unsaved: bool,
    held: bool,
    turns: Turns,
    about_loki: Complaint,
    about_disk: Complaint,
}

/// What was left when delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Lines read and not settled. A next start reads them again …
    pub lines: i64,
    /// … but for those of containers that Docker has removed; this many.
    pub gone_containers: usize,
}

impl Deliver {
    /// Nothing is sent yet.
    #[must_use]
    pub fn new(deps: Deps) -> Self {
        let capacity = i64::try_from(deps.retry.max_items).unwrap_or(i64::MAX);
        deps.metrics.retry_queue_capacity.set(capacity);
        let queue = Queue::new(deps.retry.clone());
        let ledger = Ledger::default();
        // Unsaved, so that the time of a first run is on disk before anything else happens.
        let (about_loki, about_disk) = (Complaint::default(), Complaint::default());
        let turns = Turns::default();
        Self { deps, ledger, queue, turns, unsaved: true, held: false, about_loki, about_disk }
    }

    /// Delivers until `batches` ends and all is settled, or until `shutdown` gives up.
    ///
    /// # Errors
    /// When the last checkpoint can't be written.
    pub async fn run(
        mut self,
        mut batches: mpsc::Receiver<Batch>,
        shutdown: Shutdown,
    ) -> Result<Left, checkpoint::Error> {
        let _task = self.deps.metrics.task(TaskKind::Delivery);
        let mut pushes = FuturesUnordered::new();
        let mut save = interval(SAVE_EVERY);
        save.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut more, mut stopping) = (true, false);
        loop {
            while let Some(turn) = self.next_turn(pushes.len()).await {
                pushes.push(self.begin(turn));
            }
            self.show(pushes.len());
            let disk = self.deps.dead_letters.retry_at();
            let waiting = self.queue.len() + self.turns.waiting();
            if !more && pushes.is_empty() && waiting == 0 && disk.is_none() {
                break;
            }
            let wake = self.queue.next_due().filter(|_| pushes.len() < self.pushes_max());
            tokio::select! {
                () = shutdown.give_up.cancelled() => break,
                () = shutdown.stop.cancelled(), if !stopping => {
                    stopping = true;
                    self.queue.hurry_all(Instant::now());
                    self.deps.dead_letters.hurry();
                }
                Some((turn, sent, attempt)) = pushes.next() => self.finish(turn, sent, attempt).await,
                batch = batches.recv(), if more && self.may_take(pushes.len()) => match batch {
                    Some(batch) => self.take(batch).await,
                    None => more = false,
                },
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
                () = sleep_until(disk.unwrap_or_else(Instant::now)), if disk.is_some() => self.settle_buried().await,
                _ = save.tick() => {
                    self.save_or_complain().await;
                    self.deps.dead_letters.look_again().await;
                }
            }
        }
        drop(pushes);
        self.save().await?;
        self.show(0);
        Ok(Left { lines: self.deps.metrics.lines.in_flight(), gone_containers: self.ledger.gone_unsettled() })
    }

    fn pushes_max(&self) -> usize {
        if self.held { 1 } else { PUSHES_MAX }
    }

    fn may_take(&self, under_way: usize) -> bool {
        !self.held
            && self.deps.dead_letters.retry_at().is_none()
            && under_way < PUSHES_MAX
            && self.turns.waiting() < self.deps.retry.max_items
            && self.queue.has_room(under_way + self.turns.waiting(), self.turns.bytes(), Instant::now())
    }

    /// Settles what needs no push; what does waits for its turn.
    async fn take(&mut self, batch: Batch) {
        for (reason, group) in batch.refused {
            self.deps.dead_letters.put(group, Reason { reason, answer: None });
        }
        self.settle_buried().await;
        for settled in batch.settled {
            self.settle(settled);
        }
        for probe in batch.probes {
            self.turns.arrive(Parcel::probe(probe, &self.deps.retry));
        }
        if !batch.groups.is_empty() {
            self.turns.arrive(Parcel::new(batch.groups, &self.deps.retry));
        }
    }

    /// The push of one parcel; it carries the parcel and brings it back.
    fn begin(&self, turn: Turn) -> impl Future<Output = (Turn, Moment, Attempt)> + Send + use<> {
        let (client, encoding, metrics) =
            (self.deps.client.clone(), self.deps.encoding, self.deps.metrics.clone());
        let sent = self.deps.clock.moment();
        async move {
            let attempt = Attempt::make(&client, encoding, &turn.parcel.groups, &metrics).await;
            (turn, sent, attempt)
        }
    }

    async fn finish(&mut self, mut turn: Turn, sent: Moment, attempt: Attempt) {
        self.turns.over(&mut turn, attempt.is_accepted(), Instant::now());
        let mut parcel = turn.parcel;
        let now_ns = self.deps.clock.now_ns();
        parcel.groups.iter_mut().for_each(|group| group.tried.note(now_ns));
        match attempt {
            Attempt::Answered(answer, outcome) => self.follow(parcel, sent, &answer, outcome).await,
            Attempt::Unanswered(PushError::Closed(_)) if parcel.may_reconnect() => {
                self.queue.put_back([parcel].into_iter(), Instant::now());
            }
            Attempt::Unanswered(error) => {
                self.complain(&error.to_string());
                self.try_again(parcel, None, None).await;
            }
            Attempt::Unencodable(error) => {
                tracing::error!(%error, "a batch goes to the dead letters");
                self.bury_all(parcel, Reason { reason: "unencodable", answer: None }).await;
            }
        }
    }

    async fn follow(&mut self, mut parcel: Parcel, sent: Moment, answer: &Answer, outcome: Outcome) {
        let held = outcome == Outcome::Hold;
        if self.held && !held {
            tracing::info!("Loki lets us in again");
            self.queue.restart_budgets();
        }
        self.held = held;
        if outcome != Outcome::Delivered {
            self.complain(&format!("{}: {}", answer.status, answer.head()));
        }
        match outcome {
            Outcome::Delivered => {
                self.delivered(&parcel.groups, sent);
                self.queue.hurry_one(Instant::now());
            }
            Outcome::Retry { after } => self.try_again(parcel, after, Some(answer)).await,
            Outcome::Limited { limit, after } => self.limited(parcel, limit, (after, answer)).await,
            Outcome::Hold => {
                parcel.restart_budget();
                self.try_again(parcel, None, Some(answer)).await;
            }
            Outcome::Partial(refusal) => self.divide(parcel, &refusal, sent, answer).await,
            Outcome::Refused => self.bury_all(parcel, why("refused", answer)).await,
            Outcome::Split => self.halve(parcel, why("too_large", answer)).await,
        }
    }

    fn delivered(&mut self, groups: &[Group], sent: Moment) {
        self.deps.window.accepted(&spans(groups), sent, self.deps.clock.moment());
        self.deps.metrics.lines.delivered(lines(groups));
        groups.iter().for_each(|group| self.settle_group(group));
    }

    async fn bury_all(&mut self, parcel: Parcel, why: Reason<'_>) {
        for group in parcel.groups {
            self.deps.dead_letters.put(group, why);
        }
        self.settle_buried().await;
    }

    async fn bury(&mut self, group: Group, why: Reason<'_>) {
        self.deps.dead_letters.put(group, why);
        self.settle_buried().await;
    }

    /// Settles the dead letters that are on disk. Those that the disk does not take wait, and nothing new is
    /// taken until it does.
    async fn settle_buried(&mut self) {
        for group in self.deps.dead_letters.flush().await {
            self.deps.metrics.lines.dead_lettered(group.entries.len() as u64);
            self.settle_group(&group);
        }
    }

    /// Of one group's commits only the last counts.
    fn settle_group(&mut self, group: &Group) {
        let ledger = &mut self.ledger;
        let commits = group.entries.iter().filter_map(|entry| ledger.settle(entry.settled(&group.container)));
        if let Some(commit) = commits.last() {
            self.commit(&group.container.id.clone(), commit);
        }
    }

    fn settle(&mut self, settled: Settled) {
        let container = settled.container.clone();
        if let Some(commit) = self.ledger.settle(settled) {
            self.commit(&container, commit);
        }
    }

    fn commit(&mut self, container: &crate::record::ContainerId, commit: Commit) {
        match commit {
            Commit::Position(position) => {
                self.deps.checkpoint.containers.insert(container.clone(), position);
            }
            Commit::Remove => {
                self.deps.checkpoint.containers.remove(container);
            }
        }
        self.unsaved = true;
    }

    async fn save_or_complain(&mut self) {
        if let Err(error) = self.save().await {
            self.complain_of_disk(&error);
        }
    }

    async fn save(&mut self) -> Result<(), checkpoint::Error> {
        let metrics = &self.deps.metrics;
        if self.unsaved
            && let Err(error) = self.deps.store.save(&self.deps.checkpoint).await
        {
            metrics.checkpoint_failures.inc();
            metrics.checkpoint_failing.set(1);
            return Err(error);
        }
        self.unsaved = false;
        metrics.checkpoint_failing.set(0);
        metrics.checkpoint_age.up_to_date();
        metrics
            .checkpoint_entries
            .set(i64::try_from(self.deps.checkpoint.containers.len()).unwrap_or(i64::MAX));
        Ok(())
    }

    fn show(&self, under_way: usize) {
        let metrics = &self.deps.metrics;
        metrics.retry_queue_items.set(i64::try_from(self.queue.len()).unwrap_or(i64::MAX));
        metrics.retry_queue_bytes.set(i64::try_from(self.queue.bytes()).unwrap_or(i64::MAX));
        metrics.push_in_flight.set(i64::try_from(under_way).unwrap_or(i64::MAX));
        metrics.push_waiting_turn.set(i64::try_from(self.turns.waiting()).unwrap_or(i64::MAX));
        metrics.loki_held.set(i64::from(self.held));
    }

    fn complain(&mut self, what: &str) {
        if let Some(withheld) = self.about_loki.may_speak(Instant::now()) {
            tracing::warn!(waiting = self.queue.len(), held = self.held, withheld, "delivery: {what}");
        }
    }

    fn complain_of_disk(&mut self, error: &dyn std::error::Error) {
        if let Some(withheld) = self.about_disk.may_speak(Instant::now()) {
            tracing::error!(%error, withheld, "state_dir");
        }
    }
}

fn why<'a>(reason: &'a str, answer: &'a Answer) -> Reason<'a> {
    Reason { reason, answer: Some((answer.status, &answer.body)) }
}
