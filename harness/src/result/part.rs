//! A run that is joined with others in one report.

use serde::{Deserialize, Serialize};

use super::{Machine, Outcome};

/// One of the runs of which a merged run consists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Its id.
    pub run_id: String,
    /// Its targets, by their names in the merged run.
    pub targets: Vec<String>,
    /// Its seed.
    pub seed: u64,
    /// When it began, RFC 3339 in UTC.
    pub started_at: String,
    /// How it ended.
    pub ended: String,
    /// What it came to by itself.
    pub outcome: Outcome,
    /// Why, in one sentence.
    pub reason: String,
    /// Its engine.
    pub engine: String,
    /// Its kernel's release.
    pub kernel: String,
    /// Its machine.
    pub machine: Machine,
    /// By how much its clock was moved, seconds, so that all loads begin at one moment.
    pub moved_s: f64,
}
