//! What a sink has counted.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

use crate::clock::Stopwatch;

/// What a sink has counted so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Pushes answered, whatever the answer.
    pub pushes: u64,
    /// The same by status.
    pub pushes_by_status: BTreeMap<u16, u64>,
    /// Pushes that were read and got no answer, as planned: `hang`, `reset`, `half_close`.
    pub pushes_unanswered: u64,
    /// Entries stored.
    pub entries_accepted: u64,
    /// Entries that were read and not stored, whatever the status said. Of a push that could not be read
    /// no entries are known.
    pub entries_refused: u64,
    /// Pushes that were answered with another status than 200 or 204, each counted once however often it came again.
    pub pushes_refused: u64,
    /// Pushes that had been refused before, byte for byte.
    pub pushes_repeated: u64,
    /// Connections that were taken.
    pub connections: u64,
    /// Those that are open.
    #[serde(skip)]
    pub connections_open: u64,
}

/// Refused pushes that are known again, the latest ones: two days of one a second, and some megabytes at most.
const REFUSED_MAX: usize = 1 << 17;

/// Tells a push that comes again from a new one.
#[derive(Default)]
struct Refusals {
    known: HashSet<u64>,
    order: VecDeque<u64>,
    refused: u64,
    repeated: u64,
}

impl Refusals {
    fn see(&mut self, body: &[u8], is_taken: bool) {
        if is_taken && self.known.is_empty() {
            return;
        }
        let mut hasher = DefaultHasher::new();
        body.hash(&mut hasher);
        let id = hasher.finish();
        if self.known.contains(&id) {
            self.repeated += 1;
        } else if !is_taken {
            self.refused += 1;
            self.known.insert(id);
            self.order.push_back(id);
        }
        if self.order.len() > REFUSED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

/// Counts. Statuses are few: those of Loki, and one of the config's.
pub(super) struct Tally {
    began: Stopwatch,
    /// When the first entry was stored, and the last, in microseconds since it began; 0 where there is none.
    first_us: AtomicU64,
    last_us: AtomicU64,
    body_bytes: AtomicU64,
    by_status: Mutex<BTreeMap<u16, u64>>,
    unanswered: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
    refusals: Mutex<Refusals>,
    connections: AtomicU64,
    closed: AtomicU64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            began: Stopwatch::start(),
            first_us: AtomicU64::default(),
            last_us: AtomicU64::default(),
            body_bytes: AtomicU64::default(),
            by_status: Mutex::default(),
            unanswered: AtomicU64::default(),
            accepted: AtomicU64::default(),
            refused: AtomicU64::default(),
            refusals: Mutex::default(),
            connections: AtomicU64::default(),
            closed: AtomicU64::default(),
        }
    }
}

impl Tally {
    pub(super) fn push(&self, status: u16, body: &[u8]) {
        self.body_bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
        let mut by_status = self.by_status.lock().unwrap_or_else(PoisonError::into_inner);
        *by_status.entry(status).or_default() += 1;
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.see(body, matches!(status, 200 | 204));
    }

    /// A connection is taken, and open until what this answers with is dropped.
    pub(super) fn connected(&self) -> Open<'_> {
        self.connections.fetch_add(1, Ordering::Relaxed);
        Open(self)
    }

    pub(super) fn unanswered(&self) {
        self.unanswered.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn entries(&self, accepted: u64, refused: u64) {
        if accepted > 0 {
            let now_us = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX).max(1);
            self.last_us.store(now_us, Ordering::Relaxed);
            // One that is there already stays.
            let _stays = self.first_us.compare_exchange(0, now_us, Ordering::Relaxed, Ordering::Relaxed);
        }
        self.accepted.fetch_add(accepted, Ordering::Relaxed);
        self.refused.fetch_add(refused, Ordering::Relaxed);
    }

    /// How long it has counted.
    pub(super) fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// When the first entry was stored, and when the last, by its age then.
    pub(super) fn stored(&self) -> Option<(Duration, Duration)> {
        let at = |us: &AtomicU64| Duration::from_micros(us.load(Ordering::Relaxed));
        let first = at(&self.first_us);
        (!first.is_zero()).then(|| (first, at(&self.last_us)))
    }

    /// Bytes of all pushes that were answered, as they came.
    pub(super) fn body_bytes(&self) -> u64 {
        self.body_bytes.load(Ordering::Relaxed)
    }

    /// Entries stored.
    pub(super) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    pub(super) fn counters(&self) -> Counters {
        let by_status = self.by_status.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        // In this order, so that what is taken and closed in between is not less than nothing.
        let closed = self.closed.load(Ordering::Relaxed);
        let connections = self.connections.load(Ordering::Relaxed);
        Counters {
            pushes: by_status.values().sum(),
            pushes_by_status: by_status,
            pushes_unanswered: self.unanswered.load(Ordering::Relaxed),
            entries_accepted: self.accepted.load(Ordering::Relaxed),
            entries_refused: self.refused.load(Ordering::Relaxed),
            pushes_refused: refusals.refused,
            pushes_repeated: refusals.repeated,
            connections,
            connections_open: connections.saturating_sub(closed),
        }
    }
}

/// A connection that is open.
pub(super) struct Open<'a>(&'a Tally);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.closed.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_that_comes_again_is_refused_once_and_repeated_as_often_as_it_came() {
        let tally = Tally::default();
        for (status, body) in
            [(204, "a"), (400, "b"), (429, "c"), (400, "b"), (204, "c"), (260, "d"), (204, "a")]
        {
            tally.push(status, body.as_bytes());
        }
        let counters = tally.counters();
        assert_eq!((counters.pushes, counters.pushes_refused, counters.pushes_repeated), (7, 3, 2));
    }

    #[test]
    fn of_refused_pushes_no_more_are_known_than_there_is_room_for() {
        let mut refusals = Refusals::default();
        for number in 0..=REFUSED_MAX as u64 {
            refusals.see(&number.to_le_bytes(), false);
        }
        assert_eq!((refusals.known.len(), refusals.order.len()), (REFUSED_MAX, REFUSED_MAX));
        refusals.see(&1_u64.to_le_bytes(), false);
        assert_eq!(refusals.repeated, 1);
        refusals.see(&0_u64.to_le_bytes(), false);
        assert_eq!(
            (refusals.repeated, refusals.refused),
            (1, REFUSED_MAX as u64 + 2),
            "the oldest was forgotten"
        );
    }

    #[test]
    fn connections_are_open_until_they_are_closed() {
        let tally = Tally::default();
        let (one, other) = (tally.connected(), tally.connected());
        drop(one);
        assert_eq!((tally.counters().connections, tally.counters().connections_open), (2, 1));
        drop(other);
        assert_eq!((tally.counters().connections, tally.counters().connections_open), (2, 0));
    }
}
