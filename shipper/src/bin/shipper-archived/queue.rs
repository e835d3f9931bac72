//! What the post-mortem proposed for its #2: one owner, at most fifty items, the oldest dropped and
//! counted, and no second attempt for what Loki refuses for good.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use shipper::batch::{Group, lines};
use shipper::delivery::backoff::Backoff;
use shipper::loki::answer::{Outcome, judge};
use shipper::loki::client::Answer;
use shipper::metrics::Metrics;
use shipper::metrics::labels::DropReason;
use tokio::time::Instant;

use crate::item::Item;
use crate::lane::{Failure, Lane};

const ITEMS_MAX: usize = 50;
const INITIAL: Duration = Duration::from_secs(1);
const MAX: Duration = Duration::from_secs(60);

/// Batches that wait, the oldest first; while it is refused the others wait behind it.
#[derive(Debug)]
pub(crate) struct Queue {
    lane: Arc<Lane>,
    items: VecDeque<Item>,
    backoff: Backoff,
    due: Instant,
}

impl Queue {
    pub(crate) fn new(lane: Arc<Lane>) -> Self {
        lane.metrics.retry_queue_capacity.set(i64::try_from(ITEMS_MAX).unwrap_or(i64::MAX));
        Self { lane, items: VecDeque::new(), backoff: Backoff::new(INITIAL, MAX), due: Instant::now() }
    }

    /// Judges what became of a first attempt.
    pub(crate) async fn first_attempt(&mut self, groups: Vec<Group>, result: &Result<Answer, Failure>) {
        if settled(&groups, result, &self.lane.metrics) {
            self.lane.books.done(&groups).await;
        } else {
            self.add(groups).await;
        }
    }

    async fn add(&mut self, groups: Vec<Group>) {
        if self.items.is_empty() {
            self.wait();
        }
        self.items.push_back(Item::new(groups, &self.lane.metrics));
        if self.items.len() > ITEMS_MAX
            && let Some(oldest) = self.items.pop_front()
        {
            self.lane.metrics.lines.dropped(DropReason::RetryQueueFull, lines(&oldest.groups));
            self.lane.books.done(&oldest.groups).await;
        }
    }

    fn wait(&mut self) {
        self.due = Instant::now() + self.backoff.next_delay(None);
    }

    /// When the next attempt is due, if any item waits.
    pub(crate) fn due(&self) -> Option<Instant> {
        (!self.items.is_empty()).then_some(self.due)
    }

    /// Tries the oldest item again.
    pub(crate) async fn attempt(&mut self) {
        let Some(item) = self.items.front() else { return };
        let result = self.lane.push(&item.groups).await;
        if settled(&item.groups, &result, &self.lane.metrics) {
            self.lane.books.done(&item.groups).await;
            self.items.pop_front();
            self.backoff = Backoff::new(INITIAL, MAX);
            self.due = Instant::now();
        } else {
            self.lane.complain(&result);
            self.wait();
        }
    }
}

/// Whether nothing is left to do for a batch; if so its lines are counted.
fn settled(groups: &[Group], result: &Result<Answer, Failure>, metrics: &Metrics) -> bool {
    let outcome = match result {
        Ok(answer) => judge(answer.status, answer.retry_after, &answer.body),
        Err(Failure::Push(_) | Failure::Ending(_)) => return false,
        Err(Failure::Encode(_)) => Outcome::Refused,
    };
    let all = lines(groups);
    let refused = match outcome {
        Outcome::Delivered => 0,
        Outcome::Partial(refusal) => {
            let of_group = |group: &Group| {
                group.entries.iter().filter(|entry| refusal.fits(&group.labels.text, entry)).count() as u64
            };
            match groups.iter().map(of_group).sum() {
                // Refused, and no word of which.
                0 => all,
                some => some,
            }
        }
        Outcome::Refused | Outcome::Split => all,
        Outcome::Retry { .. } | Outcome::Limited { .. } | Outcome::Hold => return false,
    };
    metrics.lines.delivered(all - refused);
    metrics.lines.dropped(DropReason::Refused, refused);
    true
}
