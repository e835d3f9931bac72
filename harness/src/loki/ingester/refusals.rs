//! What the ingester says of entries that it refused: one list for each stream.

use std::fmt::Write;

use jiff::Timestamp;

use super::Refusal;
use crate::audit::ledger::Fate;
use crate::loki::discard;
use crate::loki::forms::{go_time, rfc3339, size_text};
use crate::loki::labels::Labels;

/// Loki's `ingester.max-ignored-stream-errors`.
const ENTRIES_LISTED_MAX: usize = 10;

/// Why an entry is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    TooFarBehind { oldest: Timestamp },
    TooFast { limit: usize, bytes: usize },
}

/// What was refused of one stream: the first ones with their reasons, the others as a number.
pub(super) struct Refused {
    reached: usize,
    count: usize,
    listed: Vec<(Timestamp, Reason)>,
    last: Option<Reason>,
}

impl Refused {
    /// None yet, of those that are accepted so far.
    pub(super) fn of(fates: &[Fate]) -> Self {
        let reached = fates.iter().filter(|fate| **fate == Fate::Accepted).count();
        Self { reached, count: 0, listed: Vec::new(), last: None }
    }

    pub(super) fn add(&mut self, time: Timestamp, reason: Reason) {
        self.count += 1;
        self.last = Some(reason);
        if self.listed.len() < ENTRIES_LISTED_MAX {
            self.listed.push((time, reason));
        }
    }

    /// The last entry's reason gives the status of all.
    pub(super) fn refusal(&self, tenant: &str, labels: &Labels) -> Option<Refusal> {
        let status = match self.last? {
            Reason::TooFarBehind { .. } => 400,
            Reason::TooFast { .. } => 429,
        };
        let mut text = String::new();
        for (time, reason) in &self.listed {
            let (full, reason) = (go_time(*time), reason.words(*time, labels));
            // Writing into a String can't fail.
            writeln!(text, "entry with timestamp {full} ignored, reason: '{reason}',").unwrap_or_default();
        }
        let (count, reached) = (self.count, self.reached);
        write!(text, "user '{tenant}', total ignored: {count} out of {reached} for stream: {labels}")
            .unwrap_or_default();
        Some(Refusal { status, text })
    }
}

impl Reason {
    pub(super) fn fate(self) -> Fate {
        match self {
            Self::TooFarBehind { .. } => discard::TOO_FAR_BEHIND,
            Self::TooFast { .. } => discard::STREAM_RATE_LIMITED,
        }
    }

    fn words(self, time: Timestamp, labels: &Labels) -> String {
        match self {
            Self::TooFarBehind { oldest } => {
                let (time, oldest) = (rfc3339(time), rfc3339(oldest));
                format!(
                    "entry too far behind, entry timestamp is: {time}, oldest acceptable timestamp is: {oldest}"
                )
            }
            Self::TooFast { limit, bytes } => {
                let (limit, bytes) = (size_text(limit), size_text(bytes));
                format!(
                    "Per stream rate limit exceeded (limit: {limit}/sec) while attempting to ingest for stream \
                     '{labels}' totaling {bytes}, consider splitting a stream via additional labels or contact \
                     your Loki administrator to see if the limit can be increased"
                )
            }
        }
    }
}

pub(super) fn too_many_streams(labels: &Labels, tenant: &str) -> Refusal {
    let text = format!(
        "maximum active stream limit exceeded when trying to create stream {labels}, reduce the number of \
         active streams (reduce labels or reduce label values), or contact your Loki administrator to see if \
         the limit can be increased, user: '{tenant}'"
    );
    Refusal { status: 429, text }
}
