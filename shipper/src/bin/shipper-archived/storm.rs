//! Post-mortem #2: a refused batch becomes a task that sleeps, sends again, and ends only when Loki
//! accepts. What Loki refuses for good is refused each time, so its task never ends; and nothing bounds
//! how many there are.

use std::sync::Arc;
use std::time::Duration;

use shipper::batch::{Group, lines};
use shipper::delivery::backoff::Backoff;
use shipper::metrics::labels::TaskKind;
use tokio::task::JoinSet;

use crate::item::Item;
use crate::lane::{Lane, accepted};

const INITIAL: Duration = Duration::from_secs(1);
const MAX: Duration = Duration::from_secs(60);

/// The unlimited list: each item in it is a task.
#[derive(Debug)]
pub(crate) struct Storm {
    lane: Arc<Lane>,
    tasks: JoinSet<()>,
}

impl Storm {
    pub(crate) fn new(lane: Arc<Lane>) -> Self {
        Self { lane, tasks: JoinSet::new() }
    }

    /// One more item, one more task.
    pub(crate) fn add(&mut self, groups: Vec<Group>) {
        let item = Item::new(groups, &self.lane.metrics);
        self.tasks.spawn(retry(item, Arc::clone(&self.lane)));
    }

    /// Waits for a task that has got its batch through. Never comes while there is none. Cancel safe.
    pub(crate) async fn got_through(&mut self) {
        match self.tasks.join_next().await {
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::error!(%error, "a retry failed"),
            None => std::future::pending().await,
        }
    }
}

async fn retry(item: Item, lane: Arc<Lane>) {
    let _alive = lane.metrics.task(TaskKind::Retry);
    let mut backoff = Backoff::new(INITIAL, MAX);
    loop {
        tokio::time::sleep(backoff.next_delay(None)).await;
        let result = lane.push(&item.groups).await;
        if accepted(&result) {
            lane.metrics.lines.delivered(lines(&item.groups));
            lane.books.done(&item.groups).await;
            return;
        }
        lane.complain(&result);
    }
}
