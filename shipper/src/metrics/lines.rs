//! The conservation law, kept where the counters are:
//! `read = delivered + skipped + dropped + dead-lettered + in flight`.
//!
//! The counters are private, so that no line can be read without being in flight, or settled without
//! leaving it. Both of a change's counters move under a lock that it shares with all other changes and that
//! a page takes for itself, so that no page shows half of one.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::labels::{DropReason, SkipReason};
use super::register::{closed, plain};

/// What became of the lines that were read.
///
/// A source calls [`Lines::read`] for each line when it hands it on, and [`Lines::read`] with
/// [`Lines::skipped`] for a stretch that it passes over itself. All else is the pipeline's and delivery's.
#[derive(Clone, Debug)]
pub struct Lines {
    read: Counter,
    delivered: Counter,
    skipped: Family<SkipReason, Counter>,
    dropped: Family<DropReason, Counter>,
    dead_lettered: Counter,
    in_flight: Gauge,
    /// Shared by those who change two counters, alone with whom all must be seen to agree.
    whole: Arc<RwLock<()>>,
}

impl Lines {
    pub(super) fn register(into: &mut Registry) -> Self {
        Self {
            read: plain(into, "shipper_lines_read", "Lines read from Docker"),
            delivered: plain(into, "shipper_lines_delivered", "Lines that Loki has acknowledged"),
            skipped: closed(
                into,
                SkipReason::ALL,
                "shipper_lines_skipped",
                "Lines passed over before work was spent",
            ),
            dropped: closed(into, DropReason::ALL, "shipper_lines_dropped", "Lines given up"),
            dead_lettered: plain(into, "shipper_lines_dead_lettered", "Lines settled by the dead letters"),
            in_flight: plain(into, "shipper_lines_in_flight", "Lines read and not settled"),
            whole: Arc::default(),
        }
    }

    /// Nothing changes while the guard lives. It holds nothing that a panic could have left half done.
    pub(super) fn still(&self) -> RwLockWriteGuard<'_, ()> {
        self.whole.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> RwLockReadGuard<'_, ()> {
        self.whole.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// `lines` more were read and are in flight.
    pub fn read(&self, lines: u64) {
        let _change = self.change();
        self.in_flight.inc_by(signed(lines));
        self.read.inc_by(lines);
    }

    /// Loki has acknowledged `lines` of them.
    pub fn delivered(&self, lines: u64) {
        let _change = self.change();
        self.delivered.inc_by(lines);
        self.in_flight.dec_by(signed(lines));
    }

    /// `lines` of them were passed over.
    pub fn skipped(&self, reason: SkipReason, lines: u64) {
        let _change = self.change();
        self.skipped.get_or_create(&reason).inc_by(lines);
        self.in_flight.dec_by(signed(lines));
    }

    /// `lines` of them were given up.
    pub fn dropped(&self, reason: DropReason, lines: u64) {
        let _change = self.change();
        self.dropped.get_or_create(&reason).inc_by(lines);
        self.in_flight.dec_by(signed(lines));
    }

    /// `lines` of them are safe in the dead letters.
    pub fn dead_lettered(&self, lines: u64) {
        let _change = self.change();
        self.dead_lettered.inc_by(lines);
        self.in_flight.dec_by(signed(lines));
    }

    /// Lines read and not settled.
    #[must_use]
    pub fn in_flight(&self) -> i64 {
        self.in_flight.get()
    }

    /// What the law leaves over: 0 at any moment.
    #[must_use]
    pub fn balance(&self) -> i64 {
        let _still = self.still();
        let skipped: u64 =
            SkipReason::ALL.iter().map(|reason| self.skipped.get_or_create(reason).get()).sum();
        let dropped: u64 =
            DropReason::ALL.iter().map(|reason| self.dropped.get_or_create(reason).get()).sum();
        let settled = self.delivered.get() + skipped + dropped + self.dead_lettered.get();
        signed(self.read.get()) - signed(settled) - self.in_flight.get()
    }
}

fn signed(lines: u64) -> i64 {
    i64::try_from(lines).unwrap_or(i64::MAX)
}
