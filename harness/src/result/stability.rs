//! What became of a target's process, or of each of its processes where it was started again.

use serde::{Deserialize, Serialize};

use super::is_zero;

/// What became of a target's process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stability {
    /// How often it ended unasked.
    pub crashes: u32,
    /// How often it was started again after that, as the scenario has it (`restart`).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub restarts: u64,
    /// How it ended, in words (`exit status 0 after SIGTERM`, `signal 9 (SIGKILL) at 12.3 s, unasked`).
    pub ended: String,
    /// Its last log lines, where it crashed.
    pub last_log_lines: Vec<String>,
    /// Each time that it ended unasked; of many the first [`Stability::KEPT`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unasked: Vec<Unasked>,
}

impl Stability {
    /// A target that can't live crashes thousands of times in a long run.
    pub const KEPT: usize = 10;
}

/// An end that nobody asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unasked {
    /// When, seconds since the run's start.
    pub at_s: f64,
    /// How, in words: `exit status 3`, `signal 11 (SIGSEGV)`.
    pub how: String,
    /// Whether the kernel killed it because it needed more memory than it may have.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub out_of_memory: bool,
    /// Its last log lines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last_log_lines: Vec<String>,
}
