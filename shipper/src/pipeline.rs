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
use crate::record::block::Block;
use crate::record::{Container, ContainerId, Item, Position, Stream};
use crate::tenants::{Lane, PerLane, Tenants};
use crate::window::glance::Glance;
use crate::window::shared::Window;
use crate::window::{Outside, Verdict};

/// `limits:` in the config.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Lines between the sources and the pipeline.
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
        let mut full = Vec::new();
        for item in burst.drain(..) {
            match item {
                Item::Lines { block, room } => {
                    drop(room);
                    self.admit(block, moment, &mut full);
                }
                Item::Passed { container, position } => {
                    let followed = self.follow(&container);
                    let (lane, ticket) = (followed.lane, followed.numbering.take());
                    full.extend(self.batchers[lane].settle(settled(ticket, &container, position), moment.at));
                }
                Item::Gone(container) => full.extend(self.forget(container, moment.at)),
            }
        }
        full
    }

    fn admit(&mut self, block: Block, moment: Moment, full: &mut Vec<Batch>) {
        self.pipeline.metrics.queue_lines.dec_by(signed(block.len()));
        let container = block.container().clone();
        let followed = self.follow(&container);
        let (lane, lines) = (followed.lane, signed(block.len()).unsigned_abs());
        let tickets = followed.numbering.take_many(lines);
        let (block, dropped) = filtered(&self.pipeline.filter, block);
        let dropped = dropped.into_iter().chain(std::iter::repeat(false));
        let [mut stdout, mut stderr] = [None, None];
        for ((line, ticket), dropped) in block.into_lines().zip(tickets).zip(dropped) {
            let output = match line.stream() {
                Stream::Stdout => &mut stdout,
                Stream::Stderr => &mut stderr,
            };
            let (labels, glance) = output.get_or_insert_with(|| {
                let labels = self.labels(lane, &container, line.stream(), moment.at);
                let glance = self.pipeline.windows[lane].glance(&labels.text, moment);
                (labels, glance)
            });
            let entry = Entry { time_ns: line.time_ns(), clamped_from_ns: None, line, ticket };
            let is_long = entry.line.text_bytes() as u64 > self.pipeline.limits.max_line.as_u64();
            if !dropped && !is_long && glance.keeps(entry.time_ns) {
                let from = (&container, &*labels, entry.line.stream());
                full.extend(self.batchers[lane].add(from, entry, moment.at));
                continue;
            }
            let window = &self.pipeline.windows[lane];
            // It judges by what it knows of.
            glance.kept_ns.into_iter().for_each(|kept_ns| window.admit(&labels.text, kept_ns));
            full.extend(self.judge((lane, &container, labels), entry, dropped, moment));
            *glance = self.pipeline.windows[lane].glance(&labels.text, moment);
        }
        for (labels, Glance { kept_ns, .. }) in [stdout, stderr].into_iter().flatten() {
            kept_ns.into_iter().for_each(|kept_ns| self.pipeline.windows[lane].admit(&labels.text, kept_ns));
        }
    }

    /// What becomes of a line with which there is something.
    fn judge(
        &mut self,
        (lane, container, labels): (Lane, &Arc<Container>, &Arc<Labels>),
        mut entry: Entry,
        is_dropped: bool,
        moment: Moment,
    ) -> Option<Batch> {
        let now = moment.at;
        let window = &self.pipeline.windows[lane];
        let batcher = &mut self.batchers[lane];
        let verdict = window.judge(&labels.text, entry.time_ns, moment);
        let settled = |entry: &Entry| settled(entry.ticket, container, entry.line.position());
        if let Verdict::Drop(outside) = verdict {
            count_dropped(&self.pipeline.metrics, outside);
            return batcher.settle(settled(&entry), now);
        }
        if is_dropped {
            self.pipeline.metrics.lines.dropped(DropReason::Pattern, 1);
            return batcher.settle(settled(&entry), now);
        }
        let too_long = entry.line.text_bytes() as u64 > self.pipeline.limits.max_line.as_u64();
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
                    entry.clamped_from_ns = Some(entry.time_ns);
                    entry.time_ns = to_ns;
                    self.pipeline.metrics.timestamps_clamped.get_or_create(&direction).inc();
                }
                window.admit(&labels.text, entry.time_ns);
                let stream = entry.line.stream();
                batcher.add((container, labels, stream), entry, now)
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

/// The lines as they may go on, and which of them go nowhere; none, if there is no filter.
fn filtered(filter: &Filter, block: Block) -> (Block, Vec<bool>) {
    if filter.is_empty() {
        return (block, Vec::new());
    }
    let dropped = block.texts().map(|text| filter.drops(text)).collect();
    (block.rewritten(|text| filter.redacted(text)), dropped)
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
    use crate::source::inlet::queue;
    use crate::window::{self, Policy};
    use std::time::Duration;

    const NOW: i64 = 1_800_000_000_000_000_000;

    enum Sent {
        Line(i64, &'static str),
        Item(Item),
    }

    fn line(time_ns: i64, text: &'static str) -> Sent {
        Sent::Line(time_ns, text)
    }

    async fn one_batch(window: window::Config, items: Vec<Sent>) -> (Batch, Arc<Metrics>) {
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
        let (inlet, receiver) = queue(items.len());
        for item in items {
            match item {
                Sent::Item(item) => inlet.send(item).await.unwrap(),
                Sent::Line(time_ns, text) => {
                    metrics.lines.read(1);
                    let mut block = Block::of_api(container());
                    block.push(Stream::Stdout, time_ns, text, Position::Api { time_ns, seen: 1 });
                    inlet.room(1).await.unwrap().fill(block);
                }
            }
        }
        drop(inlet);
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
            .map(|entry| (entry.time_ns, entry.clamped_from_ns, &*entry.line))
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
        let gone = Sent::Item(Item::Gone(container().id.clone()));
        let position = Position::Api { time_ns: 9, seen: 1 };
        let passed = Sent::Item(Item::Passed { container: container(), position });
        let (batch, metrics) = one_batch(window::Config::default(), vec![line(NOW, "a"), passed, gone]).await;
        let mut ledger = crate::ledger::Ledger::default();
        for settled in batch.settled.clone() {
            assert_eq!(ledger.settle(settled), None);
        }
        let entry = &batch.groups[0].entries[0];
        let settled = settled(entry.ticket, &container(), entry.line.position());
        assert_eq!(ledger.settle(settled), Some(crate::ledger::Commit::Remove));
        // Its line is not there yet, so the window still knows the stream; then nothing is left of it.
        assert_eq!(metrics.window_streams.get(), 1);
        drop(batch);
        assert_eq!(metrics.window_streams.get(), 0);
    }
}
