//! How much faster one target of a run grows than another.

use serde::{Deserialize, Serialize};

/// A growth with its error, as it was estimated.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The estimate, per minute.
    pub per_min: f64,
    /// Its standard error, per minute.
    pub error_per_min: f64,
    /// Degrees of freedom of that error.
    pub degrees: f64,
}

/// What a comparison rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// One run: what varies between runs is not in the intervals.
    SingleRun,
    /// Several runs of the same load: of two targets of different runs, what varies between runs is in the difference and
    /// not in the intervals.
    RunsApart,
}

/// The targets of a run compared in one resource.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// What the figures carry, in one sentence; `None` where they carry none.
    pub sentence: Option<String>,
    /// What it rests on.
    pub basis: Basis,
    /// Each pair of targets.
    pub pairs: Vec<Pair>,
}

/// Two targets compared. Counts per minute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// The one.
    pub first: String,
    /// The other.
    pub second: String,
    /// The first's growth less the second's.
    pub difference_per_min: f64,
    /// Lower end of its 99 % interval, which holds for all pairs and resources of the run together.
    pub ci_low: f64,
    /// Upper end of that interval.
    pub ci_high: f64,
    /// How many times as fast the faster one grows at least, where that can be said.
    pub times_at_least: Option<f64>,
    /// What that carries.
    pub sentence: String,
}
