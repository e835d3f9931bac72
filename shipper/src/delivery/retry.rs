//! What waits for another attempt. Bounded in items and in bytes; one owner, no task per item. Pure: the
//! time and the chance are arguments.

use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::parcel::Parcel;
use crate::units;

/// `retry:` in the config.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How many batches of one tenant may wait.
    pub max_items: usize,
    /// How many bytes they may hold.
    pub max_bytes: ByteSize,
    /// The first delay.
    #[serde(with = "units")]
    pub initial: Duration,
    /// The longest delay.
    #[serde(with = "units")]
    pub max: Duration,
    /// For how long a batch is tried before it goes to the dead letters. For ever, if `null`: the log file
    /// is the buffer.
    #[serde(with = "units::optional")]
    pub budget: Option<Duration>,
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
            budget: None,
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

#[derive(Debug)]
struct Waiting {
    due: Instant,
    parcel: Parcel,
}

/// The queue, in the order in which batches came.
#[derive(Debug)]
pub struct Queue {
    config: Config,
    items: Vec<Waiting>,
    bytes: usize,
    /// Loki has asked for a pause until then. It asks the sender, not the batch.
    paused_until: Option<Instant>,
}

impl Queue {
    /// An empty one.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { config, items: Vec::new(), bytes: 0, paused_until: None }
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

    /// All that wait.
    pub fn parcels(&self) -> impl Iterator<Item = &Parcel> {
        self.items.iter().map(|item| &item.parcel)
    }

    /// The end: all that wait.
    pub fn give_up(&mut self) -> impl Iterator<Item = Parcel> + use<> {
        self.bytes = 0;
        std::mem::take(&mut self.items).into_iter().map(|item| item.parcel)
    }

    /// How many bytes wait.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a new batch may be taken while `under_way` others, of so many bytes, could all come back.
    #[must_use]
    pub fn has_room(&self, under_way: usize, under_way_bytes: usize, now: Instant) -> bool {
        !self.is_paused(now)
            && (self.config.when_full != WhenFull::Pause
                || (self.len() + under_way < self.config.max_items
                    && self.bytes + under_way_bytes < self.max_bytes()))
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
        let mut due = now + parcel.backoff.next_delay(asked);
        if let Some(asked) = asked {
            self.paused_until = self.paused_until.max(Some(now + asked));
        } else if let Some(last) = parcel.give_up_at(self.config.budget) {
            due = due.min(last);
        }
        self.bytes += parcel.bytes();
        self.items.push(Waiting { due, parcel });
        let mut evicted = Vec::new();
        while self.config.when_full != WhenFull::Pause && self.is_over() {
            evicted.extend(self.remove(self.victim(chance)));
        }
        evicted
    }

    /// Lets what was one parcel go on at once. It stands where that stood, within its bytes, so nothing has
    /// to make room.
    pub fn put_back(&mut self, parcels: impl DoubleEndedIterator<Item = Parcel>, now: Instant) {
        for parcel in parcels.rev() {
            self.bytes += parcel.bytes();
            self.items.insert(0, Waiting { due: now, parcel });
        }
    }

    /// The parcel whose time has come, the oldest first.
    pub fn take_due(&mut self, now: Instant) -> Option<Parcel> {
        if self.is_paused(now) {
            return None;
        }
        let place = self.items.iter().position(|item| item.due <= now)?;
        self.remove(place)
    }

    /// When the next is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.items.iter().map(|item| item.due).min().max(self.paused_until.filter(|_| !self.is_empty()))
    }

    /// Loki takes batches again: the oldest need not wait any longer, and its success calls the next.
    /// One at a time, so that a Loki that has just come back is not buried.
    pub fn hurry_one(&mut self, now: Instant) {
        if let Some(item) = self.items.first_mut() {
            item.due = item.due.min(now);
        }
    }

    /// The end is near: each gets one more attempt at once.
    pub fn hurry_all(&mut self, now: Instant) {
        self.paused_until = None;
        self.items.iter_mut().for_each(|item| item.due = item.due.min(now));
    }

    /// Loki lets us in again: what could not even be tried has its whole budget ahead.
    pub fn restart_budgets(&mut self) {
        self.items.iter_mut().for_each(|item| item.parcel.restart_budget());
    }

    /// Whether Loki has asked for a pause that is not over.
    #[must_use]
    pub fn is_paused(&self, now: Instant) -> bool {
        self.paused_until.is_some_and(|until| now < until)
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
        self.bytes -= parcel.bytes();
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
                assert!(queue.has_room(9, 9, Instant::now()));
                evicted.extend(queue.put(parcel(&config, line), None, now, chance));
            }
            assert_eq!(evicted.iter().map(text).collect::<Vec<_>>(), [victim], "{policy:?}");
        }
    }

    #[test]
    fn pausing_counts_what_is_under_way() {
        let config = config(WhenFull::Pause);
        let mut queue = Queue::new(config.clone());
        assert!(queue.has_room(1, 0, Instant::now()));
        assert!(!queue.has_room(2, 0, Instant::now()));
        assert!(queue.put(parcel(&config, "a"), None, Instant::now(), 0).is_empty());
        assert!(!queue.has_room(1, 0, Instant::now()));
    }

    #[test]
    fn success_calls_the_oldest_but_not_while_loki_has_asked_for_a_pause() {
        let (config, now) = (config(WhenFull::Pause), Instant::now());
        let mut queue = Queue::new(config.clone());
        assert!(queue.put(parcel(&config, "a"), None, now, 0).is_empty());
        assert!(queue.take_due(now).is_none());
        queue.hurry_one(now);
        assert_eq!(queue.take_due(now).as_ref().map(text), Some("a"));

        let pause = Duration::from_secs(90);
        assert!(queue.put(parcel(&config, "asked"), Some(pause), now, 0).is_empty());
        queue.hurry_one(now);
        assert!(queue.take_due(now).is_none() && !queue.has_room(0, 0, now));
        assert_eq!(queue.next_due(), Some(now + pause));
        assert!(queue.has_room(0, 0, now + pause));
        queue.hurry_all(now);
        assert_eq!(queue.take_due(now).as_ref().map(text), Some("asked"));
        assert_eq!((queue.len(), queue.bytes()), (0, 0));
    }

    #[test]
    fn the_last_attempt_is_at_the_end_of_the_budget() {
        let hour = Duration::from_secs(3600);
        let config =
            Config { initial: hour, max: hour, budget: Some(Duration::from_secs(9)), ..Config::default() };
        let (mut queue, now) = (Queue::new(config.clone()), Instant::now());
        let mut parcel = parcel(&config, "a");
        parcel.failed(None, now);
        assert!(queue.put(parcel, None, now, 0).is_empty());
        assert_eq!(queue.next_due(), Some(now + Duration::from_secs(9)));
    }

    #[test]
    fn what_is_put_back_comes_first_and_in_order() {
        let (config, now) = (Config::default(), Instant::now());
        let mut queue = Queue::new(config.clone());
        assert!(queue.put(parcel(&config, "c"), None, now, 0).is_empty());
        queue.put_back([parcel(&config, "a"), parcel(&config, "b")].into_iter(), now);
        queue.hurry_all(now);
        let order: Vec<_> =
            std::iter::from_fn(|| queue.take_due(now)).map(|parcel| text(&parcel).to_owned()).collect();
        assert_eq!(order, ["a", "b", "c"]);
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
