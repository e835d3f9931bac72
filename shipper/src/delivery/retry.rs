//! What waits for another attempt. Bounded in items and in bytes; one owner, no task per item. Pure: the
//! time and the chance are arguments.

use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::backoff::Backoff;
use crate::batch::{Entry, Group, cost_bytes, lines};
use crate::units;

/// `retry:` in the config.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How many batches may wait.
    pub max_items: usize,
    /// How many bytes they may hold.
    pub max_bytes: ByteSize,
    /// The first delay.
    #[serde(with = "units")]
    pub initial: Duration,
    /// The longest delay.
    #[serde(with = "units")]
    pub max: Duration,
    /// What happens when no more fits in.
    pub when_full: WhenFull,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_items: 50,
            max_bytes: ByteSize::mib(64),
            initial: Duration::from_secs(1),
            max: Duration::from_secs(60),
            when_full: WhenFull::Pause,
        }
    }
}

/// What happens when the queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// Take nothing new: the sources wait, the log file is the buffer.
    Pause,
    /// The batch that waits longest goes to the dead letters.
    Oldest,
    /// The batch that came last goes there.
    Newest,
    /// Any one does.
    Random,
}

/// Lines under way to Loki, with the history of their attempts.
#[derive(Debug)]
pub struct Parcel {
    /// What is pushed.
    pub groups: Vec<Group>,
    /// The delays ahead.
    pub backoff: Backoff,
    /// Whether it has waited, so that its lines may have aged.
    pub waited: bool,
    bytes: usize,
}

impl Parcel {
    /// At its first attempt.
    #[must_use]
    pub fn new(groups: Vec<Group>, config: &Config) -> Self {
        let bytes = cost_bytes(&groups);
        Self { groups, backoff: Backoff::new(config.initial, config.max), waited: false, bytes }
    }

    /// Two parcels of half the lines each; only the parcel itself if it holds a single line.
    #[must_use]
    pub fn halves(mut self, config: &Config) -> (Self, Option<Self>) {
        let half = lines(&self.groups) / 2;
        if half == 0 {
            return (self, None);
        }
        let mut left = usize::try_from(half).unwrap_or(usize::MAX);
        let mut first = Vec::new();
        for group in &mut self.groups {
            let mut taken = group.like();
            taken.entries = group.entries.drain(..left.min(group.entries.len())).collect();
            left -= taken.entries.len();
            first.push(taken);
        }
        let parcel = |mut groups: Vec<Group>| {
            groups.retain(|group| !group.entries.is_empty());
            Self { waited: self.waited, ..Self::new(groups, config) }
        };
        (parcel(first), Some(parcel(std::mem::take(&mut self.groups))))
    }

    /// Whether `test` holds for any of its lines.
    pub fn any(&self, test: impl Fn(&Entry) -> bool) -> bool {
        self.groups.iter().flat_map(|group| &group.entries).any(test)
    }

    /// The lines for which `test` holds, and a parcel of the others, if there are any. Its backoff goes on.
    pub fn divide(self, config: &Config, test: impl Fn(&Entry) -> bool) -> (Vec<Group>, Option<Self>) {
        let (mut those, mut others) = (Vec::new(), Vec::new());
        for group in self.groups {
            let (mut that, mut other) = (group.like(), group.like());
            (that.entries, other.entries) = group.entries.into_iter().partition(|entry| test(entry));
            those.push(that);
            others.push(other);
        }
        those.retain(|group| !group.entries.is_empty());
        others.retain(|group| !group.entries.is_empty());
        let rest = Self { backoff: self.backoff, waited: self.waited, ..Self::new(others, config) };
        (those, (!rest.groups.is_empty()).then_some(rest))
    }

    /// An upper bound of its size on the wire.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[derive(Debug)]
struct Waiting {
    due: Instant,
    /// Loki has asked for this pause: the success of another batch does not end it.
    asked: bool,
    parcel: Parcel,
}

/// The queue, in the order in which batches came.
#[derive(Debug)]
pub struct Queue {
    config: Config,
    items: Vec<Waiting>,
    bytes: usize,
}

impl Queue {
    /// An empty one.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { config, items: Vec::new(), bytes: 0 }
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// How many bytes wait.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a new batch may be taken while `under_way` others, of so many bytes, could all come back.
    #[must_use]
    pub fn has_room(&self, under_way: usize, under_way_bytes: usize) -> bool {
        self.config.when_full != WhenFull::Pause
            || (self.len() + under_way < self.config.max_items
                && self.bytes + under_way_bytes < self.max_bytes())
    }

    /// Lets a parcel wait for its next attempt; hands out what had to make room for it.
    #[must_use]
    pub fn put(
        &mut self,
        mut parcel: Parcel,
        asked: Option<Duration>,
        now: Instant,
        chance: u64,
    ) -> Vec<Parcel> {
        let due = now + parcel.backoff.next_delay(asked);
        parcel.waited = true;
        self.bytes += parcel.bytes;
        self.items.push(Waiting { due, asked: asked.is_some(), parcel });
        let mut evicted = Vec::new();
        while self.config.when_full != WhenFull::Pause && self.is_over() {
            evicted.extend(self.remove(self.victim(chance)));
        }
        evicted
    }

    /// Lets halves of one parcel go on at once. They stand where it stood, within its bytes, so nothing
    /// has to make room.
    pub fn put_halves(&mut self, halves: [Parcel; 2], now: Instant) {
        for parcel in halves {
            self.bytes += parcel.bytes;
            self.items.insert(0, Waiting { due: now, asked: false, parcel });
        }
    }

    /// The parcel whose time has come, the oldest first.
    pub fn take_due(&mut self, now: Instant) -> Option<Parcel> {
        let place = self.items.iter().position(|item| item.due <= now)?;
        self.remove(place)
    }

    /// When the next is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.items.iter().map(|item| item.due).min()
    }

    /// Loki takes batches again: the oldest need not wait any longer, and its success calls the next.
    /// One at a time, so that a Loki that has just come back is not buried.
    pub fn hurry_one(&mut self, now: Instant) {
        if let Some(item) = self.items.iter_mut().find(|item| !item.asked) {
            item.due = item.due.min(now);
        }
    }

    /// The end is near: each gets one more attempt at once.
    pub fn hurry_all(&mut self, now: Instant) {
        self.items.iter_mut().for_each(|item| item.due = item.due.min(now));
    }

    fn is_over(&self) -> bool {
        self.len() > self.config.max_items || (self.len() > 1 && self.bytes > self.max_bytes())
    }

    fn max_bytes(&self) -> usize {
        usize::try_from(self.config.max_bytes.as_u64()).unwrap_or(usize::MAX)
    }

    fn victim(&self, chance: u64) -> usize {
        let last = self.items.len().saturating_sub(1);
        match self.config.when_full {
            WhenFull::Pause | WhenFull::Oldest => 0,
            WhenFull::Newest => last,
            WhenFull::Random => usize::try_from(chance % (last as u64 + 1)).unwrap_or(0),
        }
    }

    fn remove(&mut self, place: usize) -> Option<Parcel> {
        if place >= self.items.len() {
            return None;
        }
        let parcel = self.items.remove(place).parcel;
        self.bytes -= parcel.bytes;
        Some(parcel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::tests::group;
    use proptest::prelude::*;

    fn config(when_full: WhenFull) -> Config {
        Config { max_items: 2, when_full, ..Config::default() }
    }

    fn parcel(config: &Config, line: &str) -> Parcel {
        Parcel::new(vec![group(&[(0, line)])], config)
    }

    fn text(parcel: &Parcel) -> &str {
        &parcel.groups[0].entries[0].line
    }

    #[test]
    fn each_policy_gives_up_its_own_victim() {
        let now = Instant::now();
        for (policy, chance, victim) in
            [(WhenFull::Oldest, 0, "a"), (WhenFull::Newest, 0, "c"), (WhenFull::Random, 4, "b")]
        {
            let config = config(policy);
            let mut queue = Queue::new(config.clone());
            let mut evicted = Vec::new();
            for line in ["a", "b", "c"] {
                assert!(queue.has_room(9, 9));
                evicted.extend(queue.put(parcel(&config, line), None, now, chance));
            }
            assert_eq!(evicted.iter().map(text).collect::<Vec<_>>(), [victim], "{policy:?}");
        }
    }

    #[test]
    fn pausing_counts_what_is_under_way() {
        let config = config(WhenFull::Pause);
        let mut queue = Queue::new(config.clone());
        assert!(queue.has_room(1, 0));
        assert!(!queue.has_room(2, 0));
        assert!(queue.put(parcel(&config, "a"), None, Instant::now(), 0).is_empty());
        assert!(!queue.has_room(1, 0));
    }

    #[test]
    fn success_calls_the_oldest_unless_loki_has_asked_it_to_wait() {
        let (config, now) = (config(WhenFull::Pause), Instant::now());
        let mut queue = Queue::new(config.clone());
        let asked = Some(Duration::from_secs(90));
        assert!(queue.put(parcel(&config, "asked"), asked, now, 0).is_empty());
        assert!(queue.put(parcel(&config, "free"), None, now, 0).is_empty());
        assert!(queue.take_due(now).is_none());
        queue.hurry_one(now);
        assert_eq!(queue.take_due(now).as_ref().map(text), Some("free"));
        assert!(queue.take_due(now).is_none());
        queue.hurry_all(now);
        assert_eq!(queue.take_due(now).as_ref().map(text), Some("asked"));
        assert_eq!((queue.len(), queue.bytes()), (0, 0));
    }

    #[test]
    fn halves_hold_each_line_once_and_one_line_can_not_be_halved() {
        let config = Config::default();
        let groups = vec![group(&[(0, "a")]), group(&[(0, "b"), (0, "c"), (0, "d"), (0, "e")])];
        let (first, second) = Parcel::new(groups, &config).halves(&config);
        let second = second.unwrap();
        let texts = |parcel: &Parcel| {
            parcel.groups.iter().flat_map(|g| &g.entries).map(|e| e.line.clone()).collect::<String>()
        };
        assert_eq!((texts(&first), texts(&second)), ("ab".to_owned(), "cde".to_owned()));
        assert!(Parcel::new(vec![group(&[(0, "a")])], &config).halves(&config).1.is_none());
    }

    proptest! {
        #[test]
        fn the_bounds_hold_whatever_comes(
            policy in prop_oneof![Just(WhenFull::Oldest), Just(WhenFull::Newest), Just(WhenFull::Random)],
            sizes in proptest::collection::vec(0..1000_usize, 1..30),
            chance in any::<u64>(),
        ) {
            let config = Config { max_items: 4, max_bytes: ByteSize::b(2000), ..config(policy) };
            let mut queue = Queue::new(config.clone());
            let mut out = 0;
            for size in &sizes {
                out += queue.put(parcel(&config, &"x".repeat(*size)), None, Instant::now(), chance).len();
                prop_assert!(queue.len() <= 4 && (queue.bytes() <= 2000 || queue.len() == 1));
            }
            prop_assert_eq!(out + queue.len(), sizes.len());
        }
    }
}
