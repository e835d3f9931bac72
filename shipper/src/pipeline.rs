//! The one task from records to batches: numbers each item for the ledger, asks the window about its
//! time, gives it its stream's labels, and hands on what is full or due.
//!
//! Handing on waits when delivery is busy; nothing is read meanwhile, and so the sources wait too.

use std::collections::HashMap;
use std::sync::Arc;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::batch::{Batch, Batcher, Config as BatchConfig, Entry, Group};
use crate::clock::{Clock, Moment};
use crate::complaint::Complaint;
use crate::filter::Filter;
use crate::labels::streams::Streams;
use crate::labels::{Labels, Scheme};
use crate::ledger::{Numbering, Settled, What};
use crate::metrics::Metrics;
use crate::metrics::labels::{DropReason, SkipReason, TaskKind};
use crate::record::{Container, ContainerId, Item, Position, Record, Stream};
use crate::tenants::{Lane, PerLane, Tenants};
use crate::window::shared::Window;
use crate::window::{Outside, Verdict};

/// `limits:` in the config.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Items between the sources and the pipeline.
    pub queue_lines: usize,
    /// What one container may have on its way, from where it is read until Loki has taken it: how far it
    /// can run ahead of Loki, and at the expense of others.
    pub container_bytes: ByteSize,
    /// How much of one container is read in a second, in the long run; the rest waits in its log. No limit, if
    /// `null`.
    pub container_bytes_per_s: Option<ByteSize>,
    /// Loki's `max_line_size`: a longer line goes to the dead letters.
    pub max_line: ByteSize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queue_lines: 2048,
            container_bytes: ByteSize::mib(4),
            container_bytes_per_s: None,
            max_line: ByteSize::kib(256),
        }
    }
}

/// Items looked at before the next look at the time.
const BURST: usize = 256;

/// What the pipeline works with.
#[derive(Debug)]
pub struct Pipeline {
    /// Whose lines are whose.
    pub tenants: Arc<Tenants>,
    /// Which times pass.
    pub windows: PerLane<Window>,
    /// How streams are labelled.
    pub scheme: Scheme,
    /// How many streams there may be.
    pub streams_max: usize,
    /// Which lines pass, and what of them.
    pub filter: Filter,
    /// How long a line may be.
    pub limits: Limits,
    /// For the age of lines.
    pub clock: Clock,
    /// All is counted.
    pub metrics: Arc<Metrics>,
}

/// Delivery has ended before the pipeline; it has given up.
struct DeliveryEnded;

impl Pipeline {
    /// Batches `items` until they end; flushes the last batch then.
    pub async fn run(
        self,
        batch: BatchConfig,
        mut items: mpsc::Receiver<Item>,
        batches: mpsc::Sender<Batch>,
    ) {
        let _task = self.metrics.task(TaskKind::Pipeline);
        let capacity = i64::try_from(items.max_capacity()).unwrap_or(i64::MAX);
        self.metrics.queue_lines_capacity.set(capacity);
        let mut desk = Desk::new(self, &batch);
        let mut burst = Vec::with_capacity(BURST);
        loop {
            let due = desk.due();
            let full = tokio::select! {
                taken = items.recv_many(&mut burst, BURST) => {
                    if taken == 0 {
                        break;
                    }
                    desk.pipeline.metrics.queue_lines.set(i64::try_from(items.len()).unwrap_or(i64::MAX));
                    desk.admit_all(&mut burst)
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    desk.take(|batcher| batcher.due().is_some_and(|due| due <= Instant::now()))
                }
            };
            if send_all(&batches, full).await.is_err() {
                return;
            }
        }
        // Delivery may have given up already; then the lines stay unacknowledged, as they should.
        drop(send_all(&batches, desk.take(|_| true)).await);
    }
}

async fn send_all(batches: &mpsc::Sender<Batch>, full: Vec<Batch>) -> Result<(), DeliveryEnded> {
    for batch in full {
        batches.send(batch).await.map_err(|_| DeliveryEnded)?;
    }
    Ok(())
}

/// Where the lines are sorted. What it knows of a container goes when the container has gone.
struct Desk {
    pipeline: Pipeline,
    batchers: PerLane<Batcher>,
    followed: HashMap<ContainerId, Followed>,
    streams: Streams,
    complaint: Complaint,
    lives: u64,
}

struct Followed {
    lane: Lane,
    numbering: Numbering,
    container: Arc<Container>,
    stdout: Option<Joined>,
    stderr: Option<Joined>,
}

/// A stream that a container writes to.
struct Joined {
    labels: Arc<Labels>,
    /// Whether it is counted: not that of the others.
    own: bool,
}

impl Followed {
    fn new(lane: Lane, life: u64, container: Arc<Container>) -> Self {
        Self { lane, numbering: Numbering::new(life), container, stdout: None, stderr: None }
    }

    /// A renamed container has new labels, and so new streams.
    fn refresh(&mut self, container: &Arc<Container>, streams: &mut Streams) {
        if !Arc::ptr_eq(&self.container, container) && self.container != *container {
            self.leave(streams);
            self.container = container.clone();
        }
    }

    fn leave(&mut self, streams: &mut Streams) {
        for joined in [self.stdout.take(), self.stderr.take()].into_iter().flatten() {
            if joined.own {
                streams.leave(&joined.labels);
            }
        }
    }
}

impl Desk {
    fn new(pipeline: Pipeline, batch: &BatchConfig) -> Self {
        let batchers = pipeline.tenants.lanes(|lane, _| Batcher::new(batch.clone(), lane));
        let streams = Streams::new(pipeline.streams_max);
        pipeline.metrics.streams_capacity.set(signed(pipeline.streams_max));
        let (followed, complaint) = (HashMap::new(), Complaint::default());
        Self { pipeline, batchers, followed, streams, complaint, lives: 0 }
    }

    /// When the next batch must go.
    fn due(&self) -> Option<Instant> {
        self.batchers.iter().filter_map(Batcher::due).min()
    }

    fn take(&mut self, which: impl Fn(&Batcher) -> bool) -> Vec<Batch> {
        self.batchers.iter_mut().filter(|batcher| which(batcher)).filter_map(Batcher::take).collect()
    }

    fn admit_all(&mut self, burst: &mut Vec<Item>) -> Vec<Batch> {
        let moment = self.pipeline.clock.moment();
        burst.drain(..).filter_map(|item| self.admit(item, moment)).collect()
    }

    fn admit(&mut self, item: Item, moment: Moment) -> Option<Batch> {
        let now = moment.at;
        match item {
            Item::Line(record) => self.admit_line(record, moment),
            Item::Passed { container, position } => {
                let followed = self.follow(&container);
                let (lane, ticket) = (followed.lane, followed.numbering.take());
                self.batchers[lane].settle(settled(ticket, &container, position), now)
            }
            Item::Gone(container) => self.forget(container, now),
        }
    }

    fn admit_line(&mut self, record: Record, moment: Moment) -> Option<Batch> {
        let Record { container, stream, time_ns, line, position, share } = record;
        let now = moment.at;
        let followed = self.follow(&container);
        let (lane, ticket) = (followed.lane, followed.numbering.take());
        let labels = self.labels(lane, &container, stream, now);
        let window = &self.pipeline.windows[lane];
        let batcher = &mut self.batchers[lane];
        let verdict = window.judge(&labels.text, time_ns, moment);
        let settled = |position| settled(ticket, &container, position);
        if let Verdict::Drop(outside) = verdict {
            count_dropped(&self.pipeline.metrics, outside);
            return batcher.settle(settled(position), now);
        }
        let Some(line) = self.pipeline.filter.pass(line) else {
            self.pipeline.metrics.lines.dropped(DropReason::Pattern, 1);
            return batcher.settle(settled(position), now);
        };
        let too_long = line.len() as u64 > self.pipeline.limits.max_line.as_u64();
        let mut entry = Entry { time_ns, clamped_from_ns: None, line, ticket, position, share };
        let alone = |entry| Group::new(container.clone(), labels.clone(), vec![entry]);
        match verdict {
            Verdict::DeadLetter(outside) => batcher.refuse(outside.as_str(), alone(entry), now),
            Verdict::Keep | Verdict::Probe | Verdict::Clamp { .. } if too_long => {
                batcher.refuse("line_too_long", alone(entry), now)
            }
            Verdict::Probe => {
                self.pipeline.metrics.window_probes.inc();
                batcher.probe(alone(entry), now)
            }
            Verdict::Keep | Verdict::Clamp { .. } | Verdict::Drop(_) => {
                if let Verdict::Clamp { to_ns, direction } = verdict {
                    entry.clamped_from_ns = Some(time_ns);
                    entry.time_ns = to_ns;
                    self.pipeline.metrics.timestamps_clamped.get_or_create(&direction).inc();
                }
                window.admit(&labels.text, entry.time_ns);
                batcher.add((&container, &labels, stream), entry, now)
            }
        }
    }

    fn follow(&mut self, container: &Arc<Container>) -> &mut Followed {
        let (lives, tenants) = (&mut self.lives, &self.pipeline.tenants);
        let followed = self.followed.entry(container.id.clone()).or_insert_with(|| {
            *lives += 1;
            let lane = tenants.lane_of(container).unwrap_or(tenants.own_lane());
            Followed::new(lane, *lives, container.clone())
        });
        followed.refresh(container, &mut self.streams);
        followed
    }

    /// The labels of a container's output, from its first line on.
    fn labels(
        &mut self,
        lane: Lane,
        container: &Arc<Container>,
        stream: Stream,
        now: Instant,
    ) -> Arc<Labels> {
        let followed = self.followed.get_mut(&container.id);
        let slot = followed.map(|followed| match stream {
            Stream::Stdout => &mut followed.stdout,
            Stream::Stderr => &mut followed.stderr,
        });
        if let Some(Some(joined)) = &slot {
            return joined.labels.clone();
        }
        let (scheme, metrics) = (&self.pipeline.scheme, &self.pipeline.metrics);
        let mut labels = scheme.of(container, stream);
        let own = self.streams.join(&labels);
        metrics.streams.set(signed(self.streams.len()));
        if !own {
            labels = scheme.of_other(container, stream);
            metrics.streams_over_capacity.inc();
            if let Some(withheld) = self.complaint.may_speak(now) {
                let (name, max) = (&container.name, self.pipeline.streams_max);
                tracing::warn!(
                    name,
                    max,
                    withheld,
                    "labels.max_streams is reached: its lines go to container=\"other\""
                );
            }
        }
        let labels = labels.seated(&self.pipeline.windows[lane]);
        if let Some(slot) = slot {
            *slot = Some(Joined { labels: labels.clone(), own });
        }
        labels
    }

    /// Also for a container of which nothing was read in this run: its checkpoint is to go.
    fn forget(&mut self, container: ContainerId, now: Instant) -> Option<Batch> {
        let mut followed = self.followed.remove(&container);
        if let Some(followed) = &mut followed {
            followed.leave(&mut self.streams);
            self.pipeline.metrics.streams.set(signed(self.streams.len()));
        }
        let (lane, mut numbering) = followed.map_or_else(
            || {
                self.lives += 1;
                (self.pipeline.tenants.own_lane(), Numbering::new(self.lives))
            },
            |followed| (followed.lane, followed.numbering),
        );
        self.batchers[lane].settle(Settled { ticket: numbering.take(), container, what: What::Gone }, now)
    }
}

/// Old lines are passed over before anything is done with them; the others cost some work.
fn count_dropped(Metrics { lines, .. }: &Metrics, outside: Outside) {
    match outside {
        Outside::TooOld => lines.skipped(SkipReason::TooOld, 1),
        Outside::TooNew => lines.dropped(DropReason::TooNew, 1),
        Outside::TooFarBehind => lines.dropped(DropReason::TooFarBehind, 1),
    }
}

fn signed(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn settled(ticket: crate::ledger::Ticket, container: &Container, position: Position) -> Settled {
    Settled { ticket, container: container.id.clone(), what: What::Read(position) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::tests::container;
    use crate::clock::duration_ns;
    use crate::credit::Share;
    use crate::window::{self, Policy};
    use std::time::Duration;

    const NOW: i64 = 1_800_000_000_000_000_000;

    fn line(time_ns: i64, text: &str) -> Item {
        Item::Line(Record {
            container: container(),
            stream: Stream::Stdout,
            time_ns,
            line: text.to_owned(),
            position: Position::Api { time_ns, seen: 1 },
            share: Share::default(),
        })
    }

    async fn one_batch(window: window::Config, items: Vec<Item>) -> (Batch, Arc<Metrics>) {
        let metrics = Metrics::new();
        let limits = Limits { max_line: ByteSize::b(10), ..Limits::default() };
        let tenants = Arc::new(Tenants::default());
        let windows = tenants.lanes(|_, name| Window::new(window, name, metrics.clone()));
        let clock = Clock::manual(NOW);
        let (scheme, filter) = (Scheme::default(), Filter::default());
        let pipeline = Pipeline {
            tenants,
            windows,
            scheme,
            streams_max: 10,
            filter,
            limits,
            clock,
            metrics: metrics.clone(),
        };
        let (sender, receiver) = mpsc::channel(items.len());
        for item in items {
            metrics.lines.read(u64::from(matches!(item, Item::Line(_))));
            sender.try_send(item).unwrap();
        }
        drop(sender);
        let (batches, mut out) = mpsc::channel(1);
        pipeline.run(BatchConfig::default(), receiver, batches).await;
        (out.recv().await.unwrap(), metrics)
    }

    #[tokio::test]
    async fn each_line_goes_where_the_window_says() {
        let day = duration_ns(Duration::from_secs(86_400));
        let items = vec![
            line(NOW, "kept"),
            line(NOW + day, "future"),
            line(NOW - 8 * day, "old"),
            line(NOW, "far too long"),
        ];
        let (batch, metrics) = one_batch(window::Config::default(), items).await;
        let pushed: Vec<(i64, Option<i64>, &str)> = batch.groups[0]
            .entries
            .iter()
            .map(|entry| (entry.time_ns, entry.clamped_from_ns, entry.line.as_str()))
            .collect();
        assert_eq!(pushed, [(NOW, None, "kept"), (NOW, Some(NOW + day), "future")]);
        let refused: Vec<&str> = batch.refused.iter().map(|(reason, _)| *reason).collect();
        assert_eq!(refused, ["too_old", "line_too_long"]);
        assert_eq!(metrics.lines.balance(), 0);
    }

    #[tokio::test]
    async fn what_is_dropped_is_counted_and_settled() {
        let window =
            window::Config { too_old: Policy::Drop, too_new: Policy::Drop, ..window::Config::default() };
        let (batch, metrics) = one_batch(window, vec![line(0, "old"), line(i64::MAX, "new")]).await;
        assert!(batch.groups.is_empty());
        assert_eq!(batch.settled.len(), 2);
        assert_eq!((metrics.lines.in_flight(), metrics.lines.balance()), (0, 0));
        let page = metrics.render().unwrap();
        assert!(page.contains("shipper_lines_skipped_total{reason=\"too_old\"} 1\n"));
        assert!(page.contains("shipper_lines_dropped_total{reason=\"too_new\"} 1\n"));
    }

    #[tokio::test]
    async fn a_container_that_is_gone_is_settled_behind_its_lines() {
        let gone = Item::Gone(container().id.clone());
        let passed = Item::Passed { container: container(), position: Position::Api { time_ns: 9, seen: 1 } };
        let (batch, metrics) = one_batch(window::Config::default(), vec![line(NOW, "a"), passed, gone]).await;
        let mut ledger = crate::ledger::Ledger::default();
        for settled in batch.settled.clone() {
            assert_eq!(ledger.settle(settled), None);
        }
        let group = &batch.groups[0];
        assert_eq!(
            ledger.settle(group.entries[0].settled(&group.container)),
            Some(crate::ledger::Commit::Remove)
        );
        // Its line is not there yet, so the window still knows the stream; then nothing is left of it.
        assert_eq!(metrics.window_streams.get(), 1);
        drop(batch);
        assert_eq!(metrics.window_streams.get(), 0);
    }
}
