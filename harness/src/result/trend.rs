//! Nights in a row: what changed when, between which commits, and which nights did not run.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::contrast::Direction;
use super::{Measure, Outcome};

/// A history read as a whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trend {
    /// [`SCHEMA`](super::SCHEMA).
    pub schema: u32,
    /// `worse` where a change for the worse stands that nobody has acknowledged; `open` where one is suspected, or the
    /// last night is overdue; else `same`.
    pub direction: Direction,
    /// Why, in sentences.
    pub sentences: Vec<String>,
    /// Up to when nights are expected.
    pub until: Timestamp,
    /// How far apart they are expected, seconds; `None` where nobody said.
    pub every_s: Option<f64>,
    /// Each scenario by itself, in order of its name.
    pub scenarios: Vec<ScenarioTrend>,
    /// What of the file could not be read.
    pub skipped: Vec<Skipped>,
}

/// A line of the history that was passed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// The file: the history, or the acknowledgements beside it.
    pub file: String,
    /// Its number, from 1 on.
    pub line: usize,
    /// Why.
    pub why: String,
}

/// One scenario's nights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScenarioTrend {
    /// Its name.
    pub scenario: String,
    /// In order of time.
    pub nights: Vec<NightSeen>,
    /// Nights that did not run.
    pub gaps: Vec<Gap>,
    /// Each measure of each target that must stay flat, apart by what it was put through and, where that matters, by the
    /// machine.
    pub series: Vec<Series>,
}

/// One night.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NightSeen {
    /// Its run.
    pub run_id: String,
    /// When it began.
    pub started_at: Timestamp,
    /// What it came to.
    pub outcome: Outcome,
    /// How it ended.
    pub ended: String,
    /// The revision of what was tested, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// What of its environment is not as on the night before, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub new_ground: Vec<String>,
}

/// A stretch in which nights should have run and did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The night before it began then.
    pub from: Timestamp,
    /// The night after it; or up to when the history is read, if there is none yet.
    pub to: Timestamp,
    /// How many are missing.
    pub nights: u64,
    /// Whether there is none yet.
    pub is_open: bool,
}

/// One measure of one target over the nights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// The target.
    pub target: String,
    /// The measure.
    pub measure: Measure,
    /// On which ground, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ground: Option<String>,
    /// Its nights.
    pub points: Vec<Point>,
    /// Its changes, in order of time.
    pub changes: Vec<ChangeSeen>,
    /// Nights that stood apart alone, as places in the scenario's nights.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub apart: Vec<usize>,
}

/// A night's figure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The night, as a place in the scenario's nights.
    pub night: usize,
    /// The figure, in the measure's unit.
    pub value: f64,
    /// Lower end of its 90 % interval, where the run knows its error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ci_low: Option<f64>,
    /// Upper end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ci_high: Option<f64>,
}

/// What has become of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The next run decides.
    Suspected,
    /// It is confirmed, and the level stands.
    Stands,
    /// It is confirmed, and a later change took it back.
    Gone,
    /// It is confirmed, and somebody knows of it.
    Acknowledged,
}

/// A change of the level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChangeSeen {
    /// Its first night, as a place in the scenario's nights.
    pub night: usize,
    /// Its first run.
    pub run_id: String,
    /// When that began.
    pub started_at: Timestamp,
    /// The run that confirmed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed_by: Option<String>,
    /// Whether it is worse or better.
    pub direction: Direction,
    /// What became of it.
    pub state: State,
    /// The level before.
    pub before: f64,
    /// The level since.
    pub after: f64,
    /// The revision of the last night before it, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_revision: Option<String>,
    /// The revision of its first night: what brought it lies after the former, up to this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_to_revision: Option<String>,
    /// What of the environment changed together with it, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub with: Vec<String>,
    /// Why it was acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

/// A change that somebody knows of: a line of the file beside the history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ack {
    /// [`SCHEMA`](super::SCHEMA).
    pub schema: u32,
    /// The first run of the change.
    pub run_id: String,
    /// Of this target alone; else of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Of this measure alone; else of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measure: Option<Measure>,
    /// Why it is well.
    pub because: String,
    /// When it was acknowledged.
    #[schemars(with = "String")]
    pub at: Timestamp,
}
