//! The lines of one container until they are sent together, as the post-mortem's `SendBatch(entries)`. Pure.

use std::sync::Arc;
use std::time::Duration;

use shipper::ledger::Ticket;
use shipper::source::join::Line;
use tokio::time::Instant;

use crate::config;
use crate::monitor::Monitor;

/// A line, and what it goes by in the books.
#[derive(Debug)]
pub(crate) struct Numbered {
    pub(crate) ticket: Ticket,
    pub(crate) line: Line,
}

/// What the reader hands to the sender.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) monitor: Arc<Monitor>,
    /// At least one.
    pub(crate) lines: Vec<Numbered>,
}

/// Lines that wait for company.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    lines: Vec<Numbered>,
    since: Option<Instant>,
}

impl Waiting {
    /// Adds a line; hands all of them out when there are enough.
    pub(crate) fn add(
        &mut self,
        line: Numbered,
        limits: config::Batch,
        now: Instant,
    ) -> Option<Vec<Numbered>> {
        self.since.get_or_insert(now);
        self.lines.push(line);
        if self.lines.len() >= limits.max_lines { self.take() } else { None }
    }

    /// When the first of them has waited long enough.
    pub(crate) fn due(&self, max_wait: Duration) -> Option<Instant> {
        self.since.map(|since| since + max_wait)
    }

    /// All of them, if there are any.
    pub(crate) fn take(&mut self) -> Option<Vec<Numbered>> {
        self.since = None;
        let lines = std::mem::take(&mut self.lines);
        (!lines.is_empty()).then_some(lines)
    }
}
