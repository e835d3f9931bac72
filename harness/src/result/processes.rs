//! How each process of a run grew: the targets', the engine's and the harness's own.

use serde::{Deserialize, Serialize};

use super::Verdict;

/// What is counted of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessCount {
    /// Asynchronous tasks.
    Tasks,
    /// Threads.
    Threads,
    /// Open file descriptors; of the harness, without those that its sinks' clients hold open.
    Fds,
    /// Resident memory, bytes.
    RssBytes,
}

impl ProcessCount {
    /// All of them, in the order in which reports show them.
    pub const ALL: [Self; 4] = [Self::Tasks, Self::Threads, Self::Fds, Self::RssBytes];
}

/// The growth of one count of a process under load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessGrowth {
    /// Count when the load began.
    pub first: u64,
    /// Count when the load ended.
    pub last: u64,
    /// Per minute, after warm-up; `None` where it can't be computed.
    pub growth_per_min: Option<f64>,
    /// Lower end of its 90 % interval, per minute.
    pub ci_low: Option<f64>,
    /// Upper end of its 90 % interval, per minute.
    pub ci_high: Option<f64>,
    /// Whether it is above zero at 1 in 1,000.
    pub confirmed: bool,
    /// What was decided, where that decides something: of the harness, whose growth makes a run invalid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// The verdict's reason in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
