//! What `flatline bench` found: `bench.json`, and all that its table and its picture show.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::{Audit, Machine};

/// A bench, whole or cut short.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bench {
    /// [`super::SCHEMA`].
    pub schema: u32,
    /// Name of its scenario.
    pub scenario: String,
    /// Wall time of its start, RFC 3339.
    pub started_at: String,
    /// The command line that repeats it.
    pub command: Vec<String>,
    /// The harness's version.
    pub version: String,
    /// The commit that it was built from.
    pub commit: String,
    /// The machine's kernel.
    pub kernel: String,
    /// The machine.
    pub machine: Machine,
    /// Who ran the containers.
    pub engine: String,
    /// Seed of everything that is drawn by chance.
    pub seed: u64,
    /// How often each case was to be repeated for each target.
    pub repeats: u32,
    /// Whether it was shortened by `--quick`.
    pub quick: bool,
    /// Whether it was stopped before its time: what is here was measured, and the rest is not.
    pub cut_short: bool,
    /// How many lines a second the sink takes when nobody but a loop pushes into it; `None` where that was not measured.
    pub sink_alone: Option<SinkAlone>,
    /// Targets that could not be run since their program is not there.
    pub missing: Vec<MissingTarget>,
    /// In the order of the scenario.
    pub cases: Vec<BenchCase>,
}

/// The sink, pushed into by a loop: what limits every target.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SinkAlone {
    /// Lines a second.
    pub lines_per_second: f64,
    /// Bytes of a line.
    pub line_bytes: u64,
}

/// A target whose program is not on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingTarget {
    /// Its name.
    pub name: String,
    /// What was looked for.
    pub program: String,
    /// How to get it, if its file says so.
    pub install: Option<String>,
    /// Whether the bench is incomplete without it: it was asked for.
    pub is_wanted: bool,
}

impl MissingTarget {
    /// In a sentence.
    #[must_use]
    pub fn words(&self) -> String {
        let how = self.install.as_ref().map_or_else(String::new, |how| format!(" (to install it: {how})"));
        format!("{} was not run: no program {}{how}", self.name, self.program)
    }
}

/// One piece of work, done by each target over and over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BenchCase {
    /// Its name.
    pub name: String,
    /// Which sort of work.
    pub work: WorkKind,
    /// What is to be done, in words.
    pub about: String,
    /// By target, in the order of the scenario.
    pub targets: IndexMap<String, CaseResult>,
    /// Each target against the first one, from the repeats that both did.
    pub versus: Vec<CaseVersus>,
}

/// The sorts of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "kebab-case")]
pub enum WorkKind {
    /// Read a backlog of logs on disk to its end
    CatchUp,
    /// Start and deliver a first line
    StartUp,
    /// Keep up with containers that log at a set rate, the sink in order
    Steady,
    /// The same while the sink refuses, or is gone for a while
    Trouble,
    /// Wait beside containers that log nothing
    Idle,
    /// The highest rate that is held without falling behind
    HighestRate,
}

/// How one target did one case.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CaseResult {
    /// Trials that ended.
    pub trials: u32,
    /// Of these, in how many the sink had no more than a tenth of its time to spare, so that it may have been the limit.
    pub sink_busy: u32,
    /// By measure.
    pub figures: BTreeMap<Measure, Estimated>,
    /// All trials' lines together.
    pub audit: Audit,
    /// What went wrong in trials, in words.
    pub troubles: Vec<String>,
    /// What else is to be known of them.
    pub notes: Vec<String>,
}

/// A figure of several trials: the median, and an interval of it that supposes no distribution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimated {
    /// Half of the trials had no less.
    pub median: f64,
    /// The interval's lower end: one of the values.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// How sure it is that the median of endless trials lies within: 0.9375 for the least and the greatest of five.
    pub confidence: f64,
    /// Each trial's, in order.
    pub values: Vec<f64>,
}

/// One target against another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaseVersus {
    /// Who is compared.
    pub target: String,
    /// With whom.
    pub base: String,
    /// By which measure.
    pub measure: Measure,
    /// The base's figure by the target's where less is better, else the target's by the base's, repeat by repeat: above 1
    /// the target is better.
    pub times_better: Estimated,
}

/// What is measured. Its key carries the unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Processor seconds of the target for a million lines that were accepted.
    CpuSecondsPerMillionLines,
    /// Lines accepted for each processor second of the target.
    LinesPerCpuSecond,
    /// Lines accepted for each second from the target's start to the last one.
    LinesPerSecond,
    /// Bytes of log files for each such second.
    LogBytesPerSecond,
    /// Processor seconds of the target.
    CpuSeconds,
    /// Seconds on the clock.
    WallSeconds,
    /// Processor time of the target by time on the clock: 1 is one core.
    CpuShare,
    /// Processor seconds of the engine for a million lines.
    EngineCpuSecondsPerMillionLines,
    /// The most that was resident, bytes.
    RssPeakBytes,
    /// What was resident at the end, bytes.
    RssBytes,
    /// Threads at the end.
    Threads,
    /// Open file descriptors at the end.
    Fds,
    /// Asynchronous tasks at the end, by the target's own count.
    Tasks,
    /// Bytes of pushes' bodies for each line accepted.
    WireBytesPerLine,
    /// Pushes answered for a million lines accepted.
    PushesPerMillionLines,
    /// Seconds from the start of the process until it said that it was ready.
    ReadySeconds,
    /// Seconds from the start of the process until its first line was accepted.
    FirstLineSeconds,
    /// Half of the lines took no longer from written to accepted, seconds.
    LatencyP50Seconds,
    /// 99 of 100 took no longer.
    LatencyP99Seconds,
    /// The slowest took so long.
    LatencyMaxSeconds,
    /// The highest rate that was held, lines a second.
    RateHeldPerSecond,
    /// Processor time of the sink's one thread by time on the clock.
    SinkShare,
}

impl Measure {
    /// Whether less is better.
    #[must_use]
    pub fn is_cost(self) -> bool {
        !matches!(
            self,
            Self::LinesPerCpuSecond
                | Self::LinesPerSecond
                | Self::LogBytesPerSecond
                | Self::RateHeldPerSecond
        )
    }
}

/// One trial: a row of `trials.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Name of the case.
    pub case: String,
    /// Who.
    pub target: String,
    /// Which repeat, from 0.
    pub repeat: u32,
    /// What was measured; what could not be is left out.
    pub figures: BTreeMap<Measure, f64>,
    /// What became of its lines; `None` where there were none, or they could not be accounted for.
    pub audit: Option<Audit>,
    /// What went wrong, in words.
    pub troubles: Vec<String>,
    /// What else is to be known.
    pub notes: Vec<String>,
}

impl Bench {
    /// Whether a target lost or altered a line in any trial.
    #[must_use]
    pub fn has_losses(&self) -> bool {
        let mut results = self.cases.iter().flat_map(|case| case.targets.values());
        results.any(|result| result.audit.lost + result.audit.altered + result.audit.altered_copies > 0)
    }

    /// Whether every target that was asked for was there and did all its trials.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let is_missing = self.missing.iter().any(|missing| missing.is_wanted);
        let mut results = self.cases.iter().flat_map(|case| case.targets.values());
        !is_missing && results.all(|result| result.troubles.is_empty() && result.trials > 0)
    }
}
