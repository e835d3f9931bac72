//! The results model: everything that a report sees, and nothing that a report has to compute.
//!
//! `run` fills it from what was measured; `report` renders it; `verdict.json` is a part of it. Its
//! serialised form is versioned by [`SCHEMA`].

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod allowance;
pub mod bench;
mod comparison;
mod compression;
pub mod contrast;
mod digest;
mod drain;
mod exhaustion;
mod figures;
mod follow;
mod kinds;
mod lines;
mod listings;
mod machine;
mod measure;
mod part;
mod processes;
mod rows;
mod run_in;
mod samples;
mod segments;
mod stability;
pub mod selftest;
mod shard;
mod stopped_early;
mod terms;
pub mod trend;

pub use allowance::{Allowance, cpu_list};
pub use comparison::{Basis, Comparison, Estimate, Pair};
pub use compression::Compression;
pub use digest::{Digest, Error, Ground, MachineClass, Measured, TargetDigest};
pub use drain::DrainResult;
pub use exhaustion::{Exhausted, Exhaustion, Foretold};
pub use figures::{Bar, Figure, FigureResult};
pub use follow::{EventGrowth, EventKind};
pub use kinds::{KeptKind, KindCount, KindGrowth, KindGrowths, Kinds, MappedBytes, Missed};
pub use lines::{Audit, Latency, SequenceAudit, is_zero};
pub use listings::{Counts, Listing, Listings};
pub use machine::Machine;
pub use measure::{Measure, Sort};
pub use part::Part;
pub use processes::{ProcessCount, ProcessGrowth};
pub use rows::{Event, Sample};
pub use run_in::RunIn;
pub use samples::{Count, Moment, Samples, Series};
pub use segments::{Phase, Segment, Unaccounted};
pub use shard::{InvalidShard, Shard};
pub use stability::{Stability, Unasked};
pub use stopped_early::StoppedEarly;
pub use terms::Terms;

/// Version of the serialised form.
pub const SCHEMA: u32 = 1;

/// A counted resource of a process that must stay flat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// Asynchronous tasks that are alive (`tokio_alive_tasks`).
    Tasks,
    /// Threads of the process.
    Threads,
    /// Open file descriptors of the process.
    Fds,
}

impl Resource {
    /// All of them, in the order in which reports show them.
    pub const ALL: [Self; 3] = [Self::Tasks, Self::Threads, Self::Fds];

    /// Its key in files and on the command line.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Tasks => "tasks",
            Self::Threads => "threads",
            Self::Fds => "fds",
        }
    }

    /// Its name for people.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Tasks => "Tasks",
            Self::Threads => "Threads",
            Self::Fds => "File descriptors",
        }
    }
}

/// What is said of one resource of one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The whole interval lies below the limit.
    Pass,
    /// The whole interval lies above the limit.
    Fail,
    /// The interval holds the limit: this run can't tell.
    Inconclusive,
    /// The samples can't be trusted.
    Invalid,
}

impl Verdict {
    /// Its word in files.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Inconclusive => "inconclusive",
            Self::Invalid => "invalid",
        }
    }
}

/// Growth of one resource of one target, and what it means. Counts per minute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// The slope over the load phase after warm-up, per minute. `None` where it can't be computed.
    pub growth_per_min: Option<f64>,
    /// Lower end of its 90 % interval (one-sided 95 %), per minute.
    pub ci_low: Option<f64>,
    /// Upper end of its 90 % interval (one-sided 95 %), per minute.
    pub ci_high: Option<f64>,
    /// The limit, per minute.
    pub limit_per_min: f64,
    /// What follows.
    pub verdict: Verdict,
    /// The slowest leak that this run could have told from none, per minute.
    pub floor_per_min: Option<f64>,
    /// The verdict's reason in words.
    pub reason: String,
    /// How much was cut from the start as warm-up, in seconds.
    pub warmup_s: f64,
    /// When a live run would have stopped on this verdict, in seconds; `None` for no such moment.
    pub decided_at_s: Option<f64>,
}

/// The fitted line that a plot draws, from the first to the last judged sample.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedLine {
    /// First judged moment, seconds since the run's start.
    pub from_s: f64,
    /// Last judged moment, seconds since the run's start.
    pub to_s: f64,
    /// The line's count at `from_s`.
    pub from_count: f64,
    /// The line's count at `to_s`.
    pub to_count: f64,
}

/// What a growth would come to, if it went on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Projection {
    /// Added after one hour.
    pub after_1h: f64,
    /// Added after a day.
    pub after_24h: f64,
    /// The process's own limit (`RLIMIT_NOFILE` for descriptors, `RLIMIT_NPROC` or `threads-max` for threads), if there is one.
    pub process_limit: Option<u64>,
    /// When that limit is reached, seconds from the end of the run; `None` where nothing grows or nothing limits.
    pub exhausted_in_s: Option<f64>,
}

/// One resource of one target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResourceResult {
    /// What was decided.
    #[serde(flatten)]
    pub judgement: Judgement,
    /// The line through the judged samples.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<FittedLine>,
    /// The growth with its error, for comparisons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Estimate>,
    /// Where it would lead.
    pub projection: Projection,
    /// The count before the load (median of the warm-up's idle end), and at the end of the drain.
    pub drain: Option<DrainResult>,
    /// Its kinds over the load, those that changed most first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<KindGrowth>,
    /// Its growth set against each event; empty where it does not leak.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<EventGrowth>,
}

/// What a target is expected to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Expect {
    /// Every resource passes and no line is lost.
    Flat,
    /// A control: the resources that it names must fail.
    Leak,
    /// A control of the audit: it must lose lines, or deliver them altered.
    Lose,
}

/// One target's part of the result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetResult {
    /// `pool`, `hybrid`, `archived`, or another shipper's design.
    pub design: String,
    /// What it should do.
    pub expect: Expect,
    /// Whether it did.
    pub met: bool,
    /// Why, in one sentence.
    pub reason: String,
    /// Judged resources by key (`tasks`, `threads`, `fds`).
    pub resources: BTreeMap<Resource, ResourceResult>,
    /// What leaks how fast and which kind of it, in one sentence; `None` where nothing leaks or no kind accounts for
    /// most of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaks: Option<String>,
    /// Its inotify watches over the load: no descriptors, but bounded by the kernel as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watches: Option<KindGrowth>,
    /// Bytes that it has mapped, by class of mapping, over the load: nothing is judged by them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub memory: Vec<KindGrowth>,
    /// What it did beside growing, as far as it was sampled.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub figures: BTreeMap<Figure, FigureResult>,
    /// Its lines; `None` where the run did not come to the end, at which they are accounted for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<Audit>,
    /// How long they took; `None` where none came that counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// Its process.
    pub stability: Stability,
    /// Which of its limits it reached, and what had been foretold of that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exhausted: Vec<Exhaustion>,
}

/// The whole run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every expectation met. Exit code 0.
    Met,
    /// A target that should be flat leaked or lost lines. Exit code 1.
    Missed,
    /// Something is not decided, or the control's leak was not seen. Exit code 3.
    Undecided,
    /// The run can't be trusted. Exit code 3.
    Invalid,
}

/// `verdict.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VerdictFile {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The outcome.
    pub outcome: Outcome,
    /// Why, in one sentence.
    pub reason: String,
    /// Whether the run was cut short (Ctrl-C, a crash): what is judged is what was seen until then.
    pub cut_short: bool,
    /// Why the run ended before its time, where `--fail-fast` has ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_early: Option<StoppedEarly>,
    /// Whose lines no audit covers: those of segments that did not come to their end. The audits are of the last one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unaccounted: Vec<Unaccounted>,
    /// By name, in the scenario's order when read in order of the names.
    pub targets: BTreeMap<String, TargetResult>,
    /// The targets compared in each resource; empty where there are no two to compare.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub comparisons: BTreeMap<Resource, Comparison>,
    /// How each process grew, by its name among the samples: the targets, `dockerd`, `containerd`, and `flatline`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub processes: BTreeMap<String, BTreeMap<ProcessCount, ProcessGrowth>>,
}

impl VerdictFile {
    /// Whether nobody has accounted for any target's lines: no end of the run was recorded, as it was killed or goes on.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        !self.targets.is_empty() && self.targets.values().all(|target| target.audit.is_none())
    }
}

/// `run.json`: what ran, where, and how it ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The run's own id, also its containers' label.
    pub run_id: String,
    /// When it began, RFC 3339 in UTC.
    pub started_at: String,
    /// The command line that repeats it.
    pub command: Vec<String>,
    /// The scenario's name.
    pub scenario: String,
    /// The scenario as it ran, after `--set` and `--targets`, as YAML.
    pub scenario_yaml: String,
    /// Seed of everything that is drawn by chance.
    pub seed: u64,
    /// Version of flatline.
    pub version: String,
    /// Commit it was built from, or `unknown`.
    pub commit: String,
    /// The revision of what is tested, where somebody said (`--revision`, or a CI's variable).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// `docker` or `embedded`, and the engine's version.
    pub engine: String,
    /// The kernel's release.
    pub kernel: String,
    /// The processor's model, the number of its cores, and the memory in bytes.
    pub machine: Machine,
    /// The stretches of the run.
    pub phases: Vec<Phase>,
    /// Limits per minute by resource.
    pub limits: BTreeMap<Resource, f64>,
    /// By how much time was compressed, if it was: durations, rates and limits are those of the run, as it took place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// The sink's window: what is older is refused. Seconds.
    pub window_s: f64,
    /// The targets' names in the scenario's order.
    pub targets: Vec<String>,
    /// Which of several machines' shares these targets are (`--shard`); `None` where they are all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<Shard>,
    /// Those that were asked for and could not be run, since their program is not there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing_targets: Vec<bench::MissingTarget>,
    /// What each target is held to.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub terms: BTreeMap<String, Terms>,
    /// The image of each target that ran in a container: its id on the engine.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, String>,
    /// Containers started in all.
    pub containers_started: u64,
    /// How it ended: `running`, `finished`, `stopped early`, `interrupted`, `failed: …`. Only a run that was killed is
    /// said to be `running` and is not.
    pub ended: String,
    /// What the sampling missed.
    #[serde(default)]
    pub missed: Missed,
    /// The stretches between which it was killed; one for a run that was not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segments: Vec<Segment>,
    /// The runs that it was joined from (`flatline merge`); none for a run that took place as one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
}

impl Manifest {
    /// How a run has ended that has not.
    pub const RUNNING: &str = "running";

    /// Notes how and when it ended.
    pub fn end(&mut self, ended: String, at_s: f64) {
        if let Some(segment) = self.segments.last_mut() {
            segment.to_s = at_s;
            segment.ended.clone_from(&ended);
        }
        self.ended = ended;
    }
}

/// All that a report is drawn from.
#[derive(Clone, Debug, PartialEq)]
pub struct RunResult {
    /// `run.json`.
    pub manifest: Manifest,
    /// `verdict.json`.
    pub verdict: VerdictFile,
    /// `samples.csv`.
    pub samples: Samples,
    /// `events.csv`, in order of time.
    pub events: Vec<Event>,
    /// How it stands against what is known, where it was held against that.
    pub against: Option<contrast::Contrast>,
}
