//! The one task from batches to outcomes. It owns the lanes with their pushes under way, and the books, so
//! that none of them needs a lock.
//!
//! All that comes is taken at once; what its lane can't begin with waits there, and closes the gate before that
//! tenant's sources. So while Loki does not take what one tenant has, nobody else waits for it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::books::Books;
use super::checkpoint;
use super::dead_letters::Reason;
use super::lane::Lane;
use crate::batch::Batch;
use crate::loki::encode::{Encoder, Encoding};
use crate::metrics::Metrics;
use crate::metrics::labels::TaskKind;
use crate::shutdown::Shutdown;
use crate::tenants::PerLane;

const SAVE_EVERY: Duration = Duration::from_secs(1);

/// The task's state.
#[derive(Debug)]
pub struct Deliver {
    lanes: PerLane<Lane>,
    books: Books,
    encoder: Encoder,
    metrics: Arc<Metrics>,
}

/// What was left when delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Lines read and not settled. A next start reads them again …
    pub lines: i64,
    /// … but for those of containers that Docker has removed, so many, where the disk took no dead letters.
    pub gone_containers: usize,
}

impl Deliver {
    /// Nothing is sent yet.
    #[must_use]
    pub fn new(lanes: PerLane<Lane>, books: Books, encoding: Encoding, metrics: Arc<Metrics>) -> Self {
        metrics.retry_queue_capacity.set(sum(&lanes, Lane::retries_max));
        Self { lanes, books, encoder: Encoder::new(encoding), metrics }
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
        let _task = self.metrics.task(TaskKind::Delivery);
        let mut pushes = FuturesUnordered::new();
        let mut save = interval(SAVE_EVERY);
        save.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut more, mut stopping) = (true, false);
        loop {
            for (id, lane) in self.lanes.enumerate_mut() {
                while let Some(push) =
                    lane.next_push((&mut self.books, &mut self.encoder), &shutdown.give_up).await
                {
                    pushes.push(async move { (id, push.await) });
                }
            }
            self.show();
            let disk = self.books.disk_retry_at();
            if !more && disk.is_none() && self.lanes.iter().all(Lane::is_idle) {
                break;
            }
            let wake = self.lanes.iter().filter_map(Lane::wakes_at).min();
            tokio::select! {
                () = shutdown.give_up.cancelled() => break,
                () = shutdown.stop.cancelled(), if !stopping => {
                    stopping = true;
                    self.lanes.iter_mut().for_each(Lane::hurry);
                    self.books.hurry();
                }
                Some((id, pushed)) = pushes.next() => self.lanes[id].finish(pushed, &mut self.books).await,
                batch = batches.recv(), if more && disk.is_none() => match batch {
                    Some(batch) => self.take(batch).await,
                    None => more = false,
                },
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
                () = sleep_until(disk.unwrap_or_else(Instant::now)), if disk.is_some() => {
                    self.books.settle_buried().await;
                }
                _ = save.tick() => self.books.tick().await,
            }
        }
        while let Some((id, pushed)) = pushes.next().await {
            self.lanes[id].finish(pushed, &mut self.books).await;
        }
        // The pipeline ends soon after the sources: this takes what it still had.
        while let Ok(batch) = batches.try_recv() {
            self.take(batch).await;
        }
        for lane in self.lanes.iter_mut() {
            lane.give_up(&mut self.books).await;
        }
        self.books.save().await?;
        self.show();
        Ok(Left { lines: self.metrics.lines.in_flight(), gone_containers: self.books.gone_unsettled() })
    }

    /// Settles what needs no push, whatever its lane waits for; what does waits there for its turn.
    async fn take(&mut self, mut batch: Batch) {
        let lane = &mut self.lanes[batch.lane];
        for (reason, group) in batch.refused.drain(..) {
            self.books.bury(lane.tenant(), vec![group], Reason { reason, answer: None }).await;
        }
        for settled in batch.settled.drain(..) {
            self.books.settle(settled);
        }
        lane.arrive(batch);
    }

    fn show(&self) {
        let (lanes, metrics) = (&self.lanes, &self.metrics);
        metrics.retry_queue_items.set(sum(lanes, Lane::retries));
        metrics.retry_queue_bytes.set(sum(lanes, Lane::retry_bytes));
        metrics.push_in_flight.set(sum(lanes, Lane::under_way));
        metrics.push_waiting_turn.set(sum(lanes, Lane::waiting));
        metrics.loki_held.set(sum(lanes, |lane| usize::from(lane.is_held())));
    }
}

fn sum(lanes: &PerLane<Lane>, of: impl Fn(&Lane) -> usize) -> i64 {
    i64::try_from(lanes.iter().map(of).sum::<usize>()).unwrap_or(i64::MAX)
}
