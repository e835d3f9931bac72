//! What became of the lines of a target.

use serde::{Deserialize, Serialize};

/// Every line accounted for. Counts of lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// Written by the generators.
    pub sent: u64,
    /// Accepted by the sink, each counted once.
    pub delivered: u64,
    /// Accepted again.
    pub duplicated: u64,
    /// Accepted for the first time after a later one of the same output. Loki allows it; nothing is lost by it.
    #[serde(default)]
    pub out_of_order: u64,
    /// Stored not as they were written (each has a checksum), and never as they were.
    #[serde(default)]
    pub altered: u64,
    /// Other lines that are stored and altered: beside a good copy, or so much that nobody can say which line it was.
    #[serde(default)]
    pub altered_copies: u64,
    /// Refused by the sink at least once and never accepted.
    pub rejected: u64,
    /// Passed over by the target for a counted reason (older than the window, before its start).
    pub skipped: u64,
    /// Dropped by the target for a counted reason.
    pub dropped: u64,
    /// In the target's dead letters; where these can be read line by line, only what was not delivered as well.
    pub dead_lettered: u64,
    /// Still in the target when the run ended, by its own count.
    pub in_flight: u64,
    /// Accounted for by nobody.
    pub lost: u64,
}

/// What became of the lines of one output of one container. Figures that are zero are left out of files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SequenceAudit {
    /// The container's short name in the run.
    pub source: String,
    /// `stdout` or `stderr`.
    pub output: String,
    /// Written.
    pub sent: u64,
    /// Accepted by the sink, each counted once.
    pub delivered: u64,
    /// Accepted again.
    #[serde(skip_serializing_if = "is_zero")]
    pub duplicated: u64,
    /// Accepted for the first time after a later one.
    #[serde(skip_serializing_if = "is_zero")]
    pub out_of_order: u64,
    /// Stored, but not as they were written, and never as they were.
    #[serde(skip_serializing_if = "is_zero")]
    pub altered: u64,
    /// Refused at least once and never accepted.
    #[serde(skip_serializing_if = "is_zero")]
    pub rejected: u64,
    /// In the target's dead letters and never accepted.
    #[serde(skip_serializing_if = "is_zero")]
    pub dead_lettered: u64,
    /// Owed by nobody, since they were too old when the target attached, and never seen by the sink.
    #[serde(skip_serializing_if = "is_zero")]
    pub before_start: u64,
    /// Missing, so that only a count of the target can explain them: dropped, in flight.
    #[serde(skip_serializing_if = "is_zero")]
    pub missing: u64,
}

/// For `skip_serializing_if`.
#[must_use]
pub fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// How long lines took from where they were written to where the sink had stored them, in seconds. Of those
/// written since the load began.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// How many.
    pub lines: u64,
    /// Half of them took no longer.
    pub p50_s: f64,
    /// 99 of 100.
    pub p99_s: f64,
    /// 999 of 1000.
    pub p99_9_s: f64,
    /// All of them.
    pub max_s: f64,
}
