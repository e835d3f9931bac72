//! A limit of the target's own that it reached, set against what its growth had foretold.

use serde::{Deserialize, Serialize};

/// What ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exhausted {
    /// File descriptors: `RLIMIT_NOFILE`.
    Fds,
    /// Memory: the limit of its control group.
    Memory,
}

/// That it reached the limit, in one of its lives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exhaustion {
    /// What ran out.
    pub what: Exhausted,
    /// The limit: a count of descriptors, or bytes.
    pub limit: u64,
    /// When it was first seen there, seconds since the run's start.
    pub at_s: f64,
    /// When it ended there; `None` where it lived on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at_s: Option<f64>,
    /// What was foretold; `None` where no growth had been called by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projected: Option<Foretold>,
    /// All of that in a sentence.
    pub sentence: String,
}

/// When the limit would be reached, from the samples up to a moment alone. Seconds since the run's start.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Foretold {
    /// With which sample it was foretold.
    pub made_at_s: f64,
    /// For when.
    pub at_s: f64,
}
