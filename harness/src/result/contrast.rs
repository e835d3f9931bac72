//! A candidate set against a baseline: what differs, whether that is sure, whether it matters.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Measure, Sort};

/// What a difference carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The candidate is worse, for sure and by so much that it matters.
    Worse,
    /// It is better, for sure and by so much that it matters.
    Better,
    /// There is no difference that matters.
    Same,
    /// The figures carry none of these.
    Open,
}

impl Direction {
    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Worse => "worse",
            Self::Better => "better",
            Self::Same => "no difference that matters",
            Self::Open => "can't tell",
        }
    }
}

/// Both sides compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contrast {
    /// [`SCHEMA`](super::SCHEMA).
    pub schema: u32,
    /// What it comes to.
    pub direction: Direction,
    /// Why, in one sentence.
    pub sentence: String,
    /// What is known to be good.
    pub baseline: Party,
    /// What is held against it.
    pub candidate: Party,
    /// In what the sides' environments differ; empty unless that was allowed.
    pub across: Vec<Fact>,
    /// The smallest difference that matters: growth per minute of a run, the others as a share of the baseline's.
    pub matters: BTreeMap<Sort, f64>,
    /// Each target that is on both sides.
    pub targets: BTreeMap<String, TargetContrast>,
    /// Targets that the baseline alone has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only_in_baseline: Vec<String>,
    /// Targets that the candidate alone has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only_in_candidate: Vec<String>,
}

/// One side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Party {
    /// Its runs.
    pub runs: Vec<Run>,
}

/// A run of a side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its id.
    pub run_id: String,
    /// When it began.
    pub started_at: Timestamp,
    /// The revision of what was tested, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// How it ended.
    pub ended: String,
}

/// In what two environments differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// What: `kernel`, `engine`, `scenario: phases.load`.
    pub what: String,
    /// The baseline's.
    pub baseline: String,
    /// The candidate's.
    pub candidate: String,
}

/// One target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetContrast {
    /// Whether it weighs in the whole: not of a control, which must leak or lose.
    pub weighed: bool,
    /// What its rows come to.
    pub direction: Direction,
    /// Each measure that one side has at least.
    pub rows: BTreeMap<Measure, Row>,
}

/// One measure of one target. Its unit is the [`Measure`]'s.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The baseline's.
    pub baseline: Option<Figure>,
    /// The candidate's.
    pub candidate: Option<Figure>,
    /// The candidate's less the baseline's.
    pub difference: Option<f64>,
    /// Lower end of its interval, which holds for all rows together with 99 %.
    pub ci_low: Option<f64>,
    /// Upper end of that interval.
    pub ci_high: Option<f64>,
    /// The smallest difference that matters here.
    pub matters: f64,
    /// Whether the interval excludes zero; `None` where there is none.
    pub significant: Option<bool>,
    /// Whether the difference is as large as matters.
    pub relevant: bool,
    /// What that carries.
    pub direction: Direction,
    /// Why it carries no more, where it can't be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A side's value, with its own 90 % interval where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// The mean of its runs.
    pub value: f64,
    /// Lower end of its interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ci_low: Option<f64>,
    /// Upper end of its interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ci_high: Option<f64>,
}
