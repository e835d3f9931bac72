//! What a sink has counted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

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
}

/// Counts. Statuses are few: those of Loki, and one of the config's.
#[derive(Default)]
pub(super) struct Tally {
    by_status: Mutex<BTreeMap<u16, u64>>,
    unanswered: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
}

impl Tally {
    pub(super) fn push(&self, status: u16) {
        let mut by_status = self.by_status.lock().unwrap_or_else(PoisonError::into_inner);
        *by_status.entry(status).or_default() += 1;
    }

    pub(super) fn unanswered(&self) {
        self.unanswered.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn entries(&self, accepted: u64, refused: u64) {
        self.accepted.fetch_add(accepted, Ordering::Relaxed);
        self.refused.fetch_add(refused, Ordering::Relaxed);
    }

    pub(super) fn counters(&self) -> Counters {
        let by_status = self.by_status.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Counters {
            pushes: by_status.values().sum(),
            pushes_by_status: by_status,
            pushes_unanswered: self.unanswered.load(Ordering::Relaxed),
            entries_accepted: self.accepted.load(Ordering::Relaxed),
            entries_refused: self.refused.load(Ordering::Relaxed),
        }
    }
}
