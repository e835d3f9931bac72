//! Groups lines by stream, under limits of size and age. Pure: the driver is in `pipeline`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::labels::Labels;
use crate::ledger::{Settled, Ticket};
use crate::record::block::Line;
use crate::record::{Container, Stream};
use crate::tenants::Lane;
use crate::units;
use crate::window::shared::Span;

/// `batch:` in the config.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Encoded and not compressed. Loki takes 4 MiB, whatever its HTTP limit says: the push travels
    /// on by gRPC inside of it.
    pub max_bytes: ByteSize,
    /// How long the first line of a batch waits for others.
    #[serde(with = "units")]
    pub max_wait: Duration,
}

impl Config {
    /// The most that `max_bytes` may be: Loki's 4 MiB less a margin for its own framing.
    pub const MAX_BYTES: ByteSize = ByteSize::kib(3584);
}

impl Default for Config {
    fn default() -> Self {
        Self { max_bytes: ByteSize::mib(1), max_wait: Duration::from_secs(1) }
    }
}

/// One line on its way.
#[derive(Debug)]
pub struct Entry {
    /// The time that Loki is told.
    pub time_ns: i64,
    /// The line's own time, if it was clamped.
    pub clamped_from_ns: Option<i64>,
    /// The text, and where to go on behind it.
    pub line: Line,
    /// Its number for the ledger.
    pub ticket: Ticket,
}

/// What an entry costs on the wire beside its text: time, lengths, the container's id. An upper bound.
const ENTRY_OVERHEAD_BYTES: usize = 128;

impl Entry {
    /// An upper bound of what it adds to a push, before compression.
    #[must_use]
    pub fn cost_bytes(&self) -> usize {
        self.line.text_bytes() + ENTRY_OVERHEAD_BYTES
    }
}

/// The lines of one container's stream.
#[derive(Debug)]
pub struct Group {
    /// Whose lines.
    pub container: Arc<Container>,
    /// Their labels.
    pub labels: Arc<Labels>,
    /// At least one, the oldest first.
    pub entries: Vec<Entry>,
    /// What was tried to deliver them.
    pub tried: Tried,
}

/// The attempts to deliver some lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    /// How many.
    pub attempts: u32,
    /// When the first of them had failed, in nanoseconds since the epoch.
    pub first_failure_ns: Option<i64>,
}

impl Tried {
    /// Counts one more. If it went well, nobody asks for this again.
    pub fn note(&mut self, now_ns: i64) {
        self.attempts = self.attempts.saturating_add(1);
        self.first_failure_ns.get_or_insert(now_ns);
    }
}

impl Group {
    /// Lines that were never tried.
    #[must_use]
    pub fn new(container: Arc<Container>, labels: Arc<Labels>, entries: Vec<Entry>) -> Self {
        Self { container, labels, entries, tried: Tried::default() }
    }

    /// The time of its oldest line; entries stand in the order of time.
    #[must_use]
    pub fn oldest_ns(&self) -> i64 {
        self.entries.first().map_or(i64::MAX, |entry| entry.time_ns)
    }

    /// The time of its newest line.
    #[must_use]
    pub fn newest_ns(&self) -> i64 {
        self.entries.last().map_or(i64::MIN, |entry| entry.time_ns)
    }

    /// An empty one of the same stream.
    #[must_use]
    pub fn like(&self) -> Self {
        Self {
            container: self.container.clone(),
            labels: self.labels.clone(),
            entries: Vec::new(),
            tried: self.tried,
        }
    }
}

/// What travels from the pipeline to delivery in one piece.
#[derive(Debug)]
pub struct Batch {
    /// Whose lines.
    pub lane: Lane,
    /// To push.
    pub groups: Vec<Group>,
    /// Refused by the window: for the dead letters, with the reason.
    pub refused: Vec<(&'static str, Group)>,
    /// To push, each alone: lines of a kind that Loki has refused, to see whether it still does.
    pub probes: Vec<Group>,
    /// Settled already: skipped lines, stretches without a line, containers that are gone.
    pub settled: Vec<Settled>,
}

impl Batch {
    fn new(lane: Lane) -> Self {
        let (groups, refused, probes, settled) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { lane, groups, refused, probes, settled }
    }

    /// How many lines are to be pushed.
    #[must_use]
    pub fn lines(&self) -> u64 {
        lines(&self.groups)
    }

    fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.refused.is_empty() && self.probes.is_empty() && self.settled.is_empty()
    }
}

/// An upper bound of what a line adds to a push, before compression.
#[must_use]
pub fn line_cost_bytes(line: &str) -> usize {
    line.len() + ENTRY_OVERHEAD_BYTES
}

/// Their streams, each once.
#[must_use]
pub fn spans(groups: &[Group]) -> Vec<Span<'_>> {
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut spans: Vec<Span<'_>> = Vec::new();
    for group in groups {
        let (labels, oldest_ns, newest_ns) =
            (group.labels.text.as_str(), group.oldest_ns(), group.newest_ns());
        let place = *places.entry(labels).or_insert(spans.len());
        match spans.get_mut(place) {
            None => spans.push(Span { labels, oldest_ns, newest_ns }),
            Some(span) => {
                span.oldest_ns = span.oldest_ns.min(oldest_ns);
                span.newest_ns = span.newest_ns.max(newest_ns);
            }
        }
    }
    spans
}

/// How many lines these groups hold.
#[must_use]
pub fn lines(groups: &[Group]) -> u64 {
    groups.iter().map(|group| group.entries.len() as u64).sum()
}

/// An upper bound of their size in a push, before compression.
#[must_use]
pub fn cost_bytes(groups: &[Group]) -> usize {
    groups
        .iter()
        .map(|group| group.labels.text.len() + group.entries.iter().map(Entry::cost_bytes).sum::<usize>())
        .sum()
}

/// Fills one batch after the other, of one lane.
#[derive(Debug)]
pub struct Batcher {
    config: Config,
    batch: Batch,
    index: HashMap<(u64, Stream), usize>,
    /// Where the last line went: most go to the same place.
    last: Option<((u64, Stream), usize)>,
    bytes: usize,
    due: Option<Instant>,
}

impl Batcher {
    /// An empty one.
    #[must_use]
    pub fn new(config: Config, lane: Lane) -> Self {
        Self { config, batch: Batch::new(lane), index: HashMap::new(), last: None, bytes: 0, due: None }
    }

    /// Adds a line; hands out the batch before it, when the line does not fit in.
    #[must_use]
    pub fn add(
        &mut self,
        from: (&Arc<Container>, &Arc<Labels>, Stream),
        entry: Entry,
        now: Instant,
    ) -> Option<Batch> {
        let (container, labels, stream) = from;
        let full = self.make_room(entry.cost_bytes() + labels.text.len());
        self.start(now);
        let groups = &mut self.batch.groups;
        let whose = (entry.ticket.life(), stream);
        let known = self.last.filter(|(last, _)| *last == whose).map(|(_, place)| place);
        let place = known.unwrap_or_else(|| {
            *self.index.entry(whose).or_insert_with(|| {
                self.bytes += labels.text.len();
                groups.push(Group::new(container.clone(), labels.clone(), Vec::new()));
                groups.len() - 1
            })
        });
        self.last = Some((whose, place));
        self.bytes += entry.cost_bytes();
        if let Some(group) = groups.get_mut(place) {
            group.entries.push(entry);
        }
        full
    }

    /// Adds a line that goes to the dead letters; as [`Batcher::add`].
    #[must_use]
    pub fn refuse(&mut self, reason: &'static str, group: Group, now: Instant) -> Option<Batch> {
        let full = self.add_group(&group, now);
        self.batch.refused.push((reason, group));
        full
    }

    /// Adds a line that is pushed alone; as [`Batcher::add`].
    #[must_use]
    pub fn probe(&mut self, group: Group, now: Instant) -> Option<Batch> {
        let full = self.add_group(&group, now);
        self.batch.probes.push(group);
        full
    }

    /// Adds what is settled already; as [`Batcher::add`].
    #[must_use]
    pub fn settle(&mut self, settled: Settled, now: Instant) -> Option<Batch> {
        let full = self.make_room(ENTRY_OVERHEAD_BYTES);
        self.start(now);
        self.bytes += ENTRY_OVERHEAD_BYTES;
        self.batch.settled.push(settled);
        full
    }

    /// When the batch must go, however small.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The batch as it is, if there is anything in it.
    pub fn take(&mut self) -> Option<Batch> {
        self.index.clear();
        self.last = None;
        self.bytes = 0;
        self.due = None;
        let next = Batch::new(self.batch.lane);
        let mut batch = std::mem::replace(&mut self.batch, next);
        // Loki checks "too far behind" in the order sent: oldest first passes, newest first fails.
        batch.groups.iter_mut().for_each(|group| group.entries.sort_by_key(|entry| entry.time_ns));
        (!batch.is_empty()).then_some(batch)
    }

    fn add_group(&mut self, group: &Group, now: Instant) -> Option<Batch> {
        let cost = cost_bytes(std::slice::from_ref(group));
        let full = self.make_room(cost);
        self.start(now);
        self.bytes += cost;
        full
    }

    fn make_room(&mut self, cost: usize) -> Option<Batch> {
        let limit = usize::try_from(self.config.max_bytes.as_u64()).unwrap_or(usize::MAX);
        if self.bytes + cost > limit { self.take() } else { None }
    }

    fn start(&mut self, now: Instant) {
        self.due.get_or_insert(now + self.config.max_wait);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::ledger::Numbering;
    use crate::record::{ContainerId, Position};
    use crate::tenants::Tenants;
    use proptest::prelude::*;

    pub(crate) fn container() -> Arc<Container> {
        Arc::new(Container {
            id: ContainerId::parse(&"c".repeat(64)).unwrap(),
            name: "web".to_owned(),
            image: "generator".to_owned(),
            labels: std::collections::BTreeMap::default(),
            log_driver: "json-file".to_owned(),
            log_path: None,
            log_max_bytes: None,
            tty: false,
        })
    }

    /// One stream with these lines.
    pub(crate) fn group(lines: &[(i64, &str)]) -> Group {
        let container = container();
        let mut numbers = Numbering::new(0);
        let entries = lines.iter().map(|(time_ns, line)| entry(&mut numbers, *time_ns, line)).collect();
        let labels = Labels::of(&container, Stream::Stdout);
        Group::new(container, labels, entries)
    }

    fn entry(numbers: &mut Numbering, time_ns: i64, line: &str) -> Entry {
        let position = Position::Api { time_ns, seen: 1 };
        let line = Line::alone(container(), Stream::Stdout, time_ns, line, position);
        Entry { time_ns, clamped_from_ns: None, line, ticket: numbers.take() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_is_due_after_its_first_line_has_waited() {
        let mut batcher = Batcher::new(Config::default(), Tenants::default().own_lane());
        let (container, now) = (container(), Instant::now());
        let labels = Labels::of(&container, Stream::Stdout);
        let mut numbers = Numbering::new(0);
        assert_eq!(batcher.due(), None);
        for wait in [0, 300] {
            let at = now + Duration::from_millis(wait);
            assert!(
                batcher.add((&container, &labels, Stream::Stdout), entry(&mut numbers, 1, "a"), at).is_none()
            );
        }
        assert_eq!(batcher.due(), Some(now + Duration::from_secs(1)));
        assert_eq!(batcher.take().unwrap().lines(), 2);
        assert!(batcher.take().is_none());
    }

    proptest! {
        #[test]
        fn no_line_is_lost_and_no_batch_is_too_large(sizes in proptest::collection::vec(0..600_usize, 1..80)) {
            let max_bytes = ByteSize::b(2000);
            let mut batcher = Batcher::new(Config { max_bytes, ..Config::default() }, Tenants::default().own_lane());
            let (container, now) = (container(), Instant::now());
            let labels = Labels::of(&container, Stream::Stdout);
            let mut numbers = Numbering::new(0);
            let mut batches = Vec::new();
            for size in &sizes {
                let entry = entry(&mut numbers, 0, &"x".repeat(*size));
                batches.extend(batcher.add((&container, &labels, Stream::Stdout), entry, now));
            }
            batches.extend(batcher.take());
            for batch in &batches {
                prop_assert!(cost_bytes(&batch.groups) <= 2000);
            }
            let sent: Vec<usize> =
                batches.iter().flat_map(|b| &b.groups).flat_map(|g| &g.entries).map(|e| e.line.len()).collect();
            prop_assert_eq!(sent, sizes);
        }
    }
}
